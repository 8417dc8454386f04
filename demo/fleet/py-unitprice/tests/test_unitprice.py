from decimal import Decimal

from unitprice import per_unit


def test_grams_become_kilograms():
    assert per_unit("1.99", "250", "g") == (Decimal("7.96"), "kg")

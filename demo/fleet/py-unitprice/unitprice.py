"""Prices per unit, compared without binary fractions."""
from decimal import ROUND_HALF_UP, Decimal

_TO_BASE = {"g": ("kg", 1000), "kg": ("kg", 1), "ml": ("l", 1000), "l": ("l", 1)}


def per_unit(price: str, amount: str, unit: str) -> tuple[Decimal, str]:
    """Returns the price of one base unit, rounded to cents, and that unit."""
    base, divisor = _TO_BASE[unit]
    value = Decimal(price) * divisor / Decimal(amount)
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP), base

from tidetable import Extreme, level


def test_half_way_is_half_the_range():
    assert level(Extreme(2, 1.0), Extreme(8, 5.0), 5) == 3.0

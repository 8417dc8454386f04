"""Water level between two tide extremes by the rule of twelfths."""
from dataclasses import dataclass

_TWELFTHS = (0, 1, 3, 6, 9, 11, 12)


@dataclass(frozen=True)
class Extreme:
    """A high or low water: hours since midnight and metres above chart datum."""

    hours: float
    metres: float


def level(before: Extreme, after: Extreme, hours: float) -> float:
    """Returns the level in metres at `hours`, which must lie between the extremes."""
    if not before.hours <= hours <= after.hours:
        raise ValueError(f"{hours} h lies outside {before.hours}..{after.hours} h")
    part = (hours - before.hours) / (after.hours - before.hours) * 6
    step = min(int(part), 5)
    twelfths = _TWELFTHS[step] + (_TWELFTHS[step + 1] - _TWELFTHS[step]) * (part - step)
    return before.metres + (after.metres - before.metres) * twelfths / 12

"""Identifiers from one case to another."""
import re

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


def parts(name: str) -> list[str]:
    """Splits an identifier of any case into lower-case words."""
    return [word.lower() for word in _PART.findall(name)]


def snake(name: str) -> str:
    """Returns `name` as snake_case."""
    return "_".join(parts(name))


def camel(name: str) -> str:
    """Returns `name` as camelCase."""
    first, *rest = parts(name)
    return first + "".join(word.capitalize() for word in rest)

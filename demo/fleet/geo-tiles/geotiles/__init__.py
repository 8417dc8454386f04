"""Tiles of a web map in the usual numbering."""
import math


def tile(latitude: float, longitude: float, zoom: int) -> tuple[int, int]:
    """Returns the column and row of the tile that holds a point."""
    count = 2**zoom
    radians = math.radians(latitude)
    column = int((longitude + 180) / 360 * count)
    row = int((1 - math.asinh(math.tan(radians)) / math.pi) / 2 * count)
    return min(column, count - 1), min(max(row, 0), count - 1)

"""Prints the tile of a point: python -m geotiles LATITUDE LONGITUDE ZOOM."""
import sys

from geotiles import tile

latitude, longitude, zoom = sys.argv[1:4]
print("{0}/{1}/{2}".format(zoom, *tile(float(latitude), float(longitude), int(zoom))))

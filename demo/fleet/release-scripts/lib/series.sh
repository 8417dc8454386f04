#!/bin/sh
# Reads the release series out of the CI configuration, so that it is kept in one place.
release_series() {
  sed -n 's/.*RELEASE_SERIES=\([0-9.]*\).*/\1/p' "$(dirname "$0")/../.travis.yml"
}

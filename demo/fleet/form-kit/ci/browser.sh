#!/bin/sh
# Opens the built module in a headless browser and looks for its exports.
set -eu
page=$(mktemp)
trap 'rm -f "$page"' EXIT
printf '<script type="module">%s\ndocument.title = complaint("", [required]);</script>' "$(sed 's/^export //' dist/index.js)" >"$page"
"${CHROME:-google-chrome}" --headless --no-sandbox --dump-dom "file://$page" | grep -q 'must not be empty'

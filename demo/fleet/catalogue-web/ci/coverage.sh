#!/bin/sh
# Prints the covered share of the last run, if it left a report.
[ -f build/coverage.txt ] && sed -n 's/^ *Lines: */lines: /p' build/coverage.txt
exit 0

#!/bin/sh
# Prints the share of covered lines from the last report, if there is one.
report=target/site/jacoco/jacoco.csv
[ -f "$report" ] || { echo "no coverage report"; exit 0; }
awk -F, 'NR > 1 { missed += $8; covered += $9 } END { printf "%d %% of lines\n", covered * 100 / (missed + covered) }' "$report"

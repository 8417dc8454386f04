#!/bin/sh
# Runs the program named as first argument and compares its output.
got=$(printf 'a,"b,c"\nlonger,d\n' | "$1")
want=$(printf 'a       b,c\nlonger  d')
[ "$got" = "$want" ] || { printf 'got:\n%s\nwant:\n%s\n' "$got" "$want"; exit 1; }

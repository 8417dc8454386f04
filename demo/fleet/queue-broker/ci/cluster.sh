#!/bin/sh
# Starts three nodes on this machine and sends a message round.
set -eu
for node in broker-1 broker-2 broker-3; do
  erl -noshell -sname "$node" -detached
done
erl -noshell -sname probe -eval 'halt(length([N || N <- ["broker-1", "broker-2", "broker-3"], net_adm:ping(list_to_atom(N)) =:= pang])).'

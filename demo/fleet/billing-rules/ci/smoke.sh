#!/bin/sh
# Checks that need nothing but a POSIX shell: one line each, non-zero at the end if any failed.
cd "$(dirname "$0")/.." || exit 2
failed=0
ok() { echo "ok $1"; }
not_ok() { echo "not ok $1: $2"; failed=1; }
check() { # NAME WHY COMMAND...
  name=$1 why=$2
  shift 2
  if "$@" >/dev/null 2>&1; then ok "$name"; else not_ok "$name" "$why"; fi
}
# The CI configuration, whichever system runs this repository today.
ci=.github/workflows/ci.yml
[ -f "$ci" ] || ci=.travis.yml
config=" $(cat "$ci" 2>/dev/null) "
ci_names() { # NAME VALUE...: every value stands in the CI configuration as a whole word
  name=$1
  shift
  [ $# -gt 0 ] || { not_ok "$name" "nothing to look for"; return; }
  for value in "$@"; do
    case $config in
      *[!0-9A-Za-z.]"$value"[!0-9A-Za-z]*) ;;
      *) not_ok "$name" "$ci does not name $value"; return ;;
    esac
  done
  ok "$name"
}
ci_runs() { # NAME COMMAND: the CI configuration runs the command
  case $config in *"$2"*) ok "$1" ;; *) not_ok "$1" "$ci does not run '$2'" ;; esac
}

ci_names local-ruby-is-tested "$(sed -n 's/^ruby //p' .tool-versions)"
ci_names documented-rubies-are-tested $(sed -n 's/.*Ruby \([0-9.]*\) to \([0-9]\.[0-9]*\).*/\1 \2/p' README.md)
ci_runs both-gemfiles-are-tested gemfiles/sequel_edge.gemfile
ci_runs tests-run 'bundle exec rake test'
ci_runs database-is-created 'create database billing_test'
check steps-are-sorted "STEPS of reminder.rb do not rise" sh -c "sed -n 's/.*STEPS = //p' lib/reminder.rb | tr -cd '0-9,' | tr ',' '\n' | sort -nc"
exit $failed

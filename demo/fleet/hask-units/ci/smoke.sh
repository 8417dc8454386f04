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

ci_names tested-with-is-true $(sed -n 's/^tested-with: GHC //p' hask-units.cabal | tr -d '=|')
ci_runs tests-run 'cabal test --test-show-details=direct'
module=$(sed -n 's/^ *exposed-modules: //p' hask-units.cabal | tr . /)
check module-exists "src/$module.hs is missing" test -f "src/$module.hs"
exit $failed

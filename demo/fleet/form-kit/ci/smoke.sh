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

ci_names oldest-engine-is-tested $(sed -n 's/.*"node": ">=\([0-9]*\)".*/\1/p' package.json)
ci_runs types-are-checked 'npm run typecheck'
ci_runs tests-run 'npm run test:browser'
package=$(sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)
lock=$(sed -n 's/^  "version": "\(.*\)",/\1/p' package-lock.json)
check lock-is-current "package-lock.json has $lock, package.json $package" test "$package" = "$lock"
check output-is-published "package.json does not publish the folder of tsconfig.json" grep -q "\"files\": \[\"$(sed -n 's/.*"outDir": "\(.*\)".*/\1/p' tsconfig.json)\"\]" package.json
exit $failed

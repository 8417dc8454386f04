#!/bin/sh
# Checks that need nothing but a POSIX shell: one line each, non-zero at the end if any failed.
cd "$(dirname "$0")/.." || exit 2
failed=0
for file in migrations/*.md; do
  name=state-of-$(basename "$file" .md)
  case $(sed -n 's/^State: \(.*\)\.$/\1/p' "$file") in
    announced | running | done) echo "ok $name" ;;
    *) echo "not ok $name: $file says neither announced nor running nor done"; failed=1 ;;
  esac
done
if grep -q '^ubuntu-24.04 ' runners.txt; then
  echo "ok default-runner-is-listed"
else
  echo "not ok default-runner-is-listed: runners.txt lacks ubuntu-24.04"
  failed=1
fi
exit $failed

#!/bin/sh
# What an engineer would write instead: clone, script, check before and after, commit, push a branch;
# two at a time, without isolation, evidence or a memory of what was done.
#   xargs.sh FLEET WORK
# FLEET holds bare repositories NAME.git; WORK is an empty folder. Pushes are as durable as Nightcrew's.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export here FLEET="$1" WORK="$2"
# Objects and refs are on disk before a push returns: the settings of Nightcrew's forge.
export DURABLE="$here/durable.gitconfig" GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=bench GIT_AUTHOR_EMAIL=bench@example.org
export GIT_COMMITTER_NAME=bench GIT_COMMITTER_EMAIL=bench@example.org
find "$FLEET" -mindepth 1 -maxdepth 1 -name '*.git' -print0 | sort -z | xargs -0 -P2 -n1 sh -euc '
    name=${1##*/}
    tree=$WORK/${name%.git}
    git clone -q "$1" "$tree"
    cd "$tree"
    before=0; sh ci/smoke.sh >/dev/null 2>&1 || before=$?
    sh "$here/step.sh" >/dev/null
    after=0; sh ci/smoke.sh >/dev/null 2>&1 || after=$?
    if [ "$after" -ne 0 ] && [ "$before" -eq 0 ]; then echo "$name fails now" >&2; exit 0; fi
    git checkout -q -b bench/inventory
    git add -A
    git commit -q -m "Add an inventory"
    GIT_CONFIG_GLOBAL=$DURABLE git push -q origin bench/inventory
' sh

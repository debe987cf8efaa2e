#!/bin/sh
# The commit that a build is made from, for the program's results.
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
modified=false
[ -n "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] && modified=true
echo "STABLE_REPRO_COMMIT $commit"
echo "STABLE_REPRO_MODIFIED $modified"

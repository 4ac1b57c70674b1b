#!/usr/bin/env bash
# Plants known bugs, one at a time, and runs the tests that must notice them: is each bug caught, and does nothing cry wolf?
#   run.sh           every bug of operator/tests/seeded/; `make seeded-bugs`
#   run.sh P1 P9     these
#   run.sh --check   only whether every patch fits the sources and its tests are there; a part of `make test`
# A patch begins with lines `Bug:`, in a sentence, and `Test: BINARY NAME`, one for each test that must fail. It is applied
# to HEAD in a checkout of its own under target/seeded, so that no build has a switch for it.
set -euo pipefail
cd "$(dirname "$0")/../../.."
root=$PWD

# Prints what a patch says of itself: said WORD PATCH
said() { sed -n "s/^$1: //p" "$2"; }

patches=()
if [ $# -gt 0 ] && [ "$1" != --check ]; then
  for name in "$@"; do patches+=("operator/tests/seeded/$name.patch"); done
else
  mapfile -t patches < <(printf '%s\n' operator/tests/seeded/P*.patch | sort -V)
fi

check() {
  local patch test wrong=0
  for patch in "${patches[@]}"; do
    git apply -C1 --check "$patch" || { echo "$patch does not fit the sources"; wrong=1; }
    if [ -z "$(said Bug "$patch")" ] || [ -z "$(said Test "$patch")" ]; then
      echo "$patch lacks its bug or its test"
      wrong=1
    fi
    while read -r _ test; do
      grep -rq "fn $test(" operator/tests || { echo "$patch names test '$test', which does not exist"; wrong=1; }
    done < <(said Test "$patch")
  done
  return $wrong
}
check
[ "${1:-}" != --check ] || exit 0

PATH=$(cluster/cluster.sh tools kube-apiserver etcd helm):$PATH
export PATH
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/seeded
export CARGO_TARGET_DIR=$target/build
checkout=$target/checkout logs=$target/logs
mkdir -p "$logs"
git worktree remove --force "$checkout" 2>/dev/null || git worktree prune
git worktree add --quiet --detach "$checkout" HEAD
trap 'git worktree remove --force "$checkout"' EXIT
[ -z "$(git status --porcelain -- operator)" ] || echo "NOTE: what is not committed in operator/ is left out"

# Compiles a test's program: build BINARY LOG
build() { (cd "$checkout" && cargo test --package millrace-operator --locked --test "$1" --no-run) >"$2" 2>&1 </dev/null; }

# Runs a test: try BINARY NAME LOG
try() {
  (cd "$checkout" && cargo test --package millrace-operator --locked --test "$1" -- --include-ignored "$2") \
    >"$3" 2>&1 </dev/null
}

# Whether the end of a log counts tests that passed, or failed: counts WORD LOG
counts() { grep -Eq "^test result: .* [1-9][0-9]* $1;" "$2"; }

passed=0 failed=0
row() { printf '%-4s %-8s %-80s %s\n' "$@"; }
row BUG CAUGHT TEST "WHAT IS WRONG"
for patch in "${patches[@]}"; do
  bug=$(basename "$patch" .patch)
  while read -r binary test; do
    log=$logs/$bug-$test
    # Negative control: without the bug the test passes.
    if ! build "$binary" "$log.control.log"; then
      verdict='no build'
    elif ! try "$binary" "$test" "$log.control.log" || ! counts passed "$log.control.log"; then
      verdict='control'
    else
      git -C "$checkout" apply -C1 "$root/$patch"
      if ! build "$binary" "$log.log"; then
        verdict='no build'
      elif try "$binary" "$test" "$log.log" || ! counts failed "$log.log"; then
        verdict='NO'
      else
        verdict='yes'
      fi
      git -C "$checkout" apply -C1 -R "$root/$patch"
    fi
    row "$bug" "$verdict" "$binary $test" "$(said Bug "$patch")"
    if [ "$verdict" = yes ]; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "     see $log*.log"; fi
  done < <(said Test "$patch")
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

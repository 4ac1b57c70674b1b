#!/usr/bin/env bash
# An earlier version of Millrace, as an administrator has it before an upgrade: its chart, and its images on the nodes.
#
#   e2e/previous.sh [COMMIT]   prints the directory: source/charts/millrace, images.env. Without COMMIT: the newest release
#                              tag, else what landed last, else ten commits ago
#
# It is compiled in the usual target directory, where all dependencies are built already: some ten minutes the first time.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
readonly programs=(operator worker console sample-source)

previous() {
  local landed
  git describe --tags --abbrev=0 --match 'v*' 2>/dev/null && return
  landed=$(git merge-base HEAD origin/main 2>/dev/null || true)
  if [ -n "$landed" ] && [ "$landed" != "$(git rev-parse HEAD)" ]; then echo "$landed"; else git rev-parse HEAD~10; fi
}

main() {
  local commit directory program
  commit=$(git rev-parse --short "${1:-$(previous)}^{commit}")
  directory=$target/previous/$commit
  mkdir -p "$directory/bin" "$directory/source"
  if [ ! -x "$directory/bin/sample-source" ]; then
    git archive "$commit" | tar -x -C "$directory/source"
    (cd "$directory/source" && CARGO_TARGET_DIR=$target cluster/build-images.sh programs) >&2
    for program in "${programs[@]}"; do cp "$target/debug/$program" "$directory/bin/"; done
  fi
  MILLRACE_BINARIES=$directory/bin CARGO_TARGET_DIR=$directory "$directory/source/cluster/build-images.sh" >&2
  echo "$directory"
}

main "$@"; exit

#!/usr/bin/env bash
# Builds our own images from the workspace, puts them where the cluster finds them, and writes their names to
# target/images.env. A tag is the digest of the stripped program and its Dockerfile, so the same program is the
# same image, and an image whose tag is on the nodes already is left alone.
#   build-images.sh            all of that
#   build-images.sh programs   only compiles the programs
#   build-images.sh build      compiles and builds, leaves the nodes as they are, and writes to target/built-images.env
#
# The profile is cargo's `dev`, the one that the tests compile too; CARGO_PROFILE=release for another.
# MILLRACE_BINARIES names a directory with ready programs, to skip cargo.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$HERE/lib/progress.sh"
. "$HERE/lib/tools.sh"
. "$HERE/lib/images.sh"
. "$HERE/lib/registry.sh"
. "$HERE/lib/engine.sh"
. "$HERE/lib/kind.sh"

readonly PROGRAMS=(operator worker console sample-source)
# Beyond the base layer, which every node has anyway; programs that are not optimised for size are a tenth larger.
case ${CARGO_PROFILE:-dev} in
  release) readonly LARGEST=$((60 * 1000 * 1000)) ;;
  *) readonly LARGEST=$((66 * 1000 * 1000)) ;;
esac
readonly TARGET=${CARGO_TARGET_DIR:-$REPOSITORY/target}
NAMES=$TARGET/images.env
[ "${1:-}" != build ] || NAMES=$TARGET/built-images.env
readonly NAMES

build_images() { # all|build
  local program binaries loads=() names=()
  binaries=$(binary_directory)
  engine_answers || die "no Docker engine answers, and images are built by one" "make cluster"
  [ "$1" = build ] || need_cluster_up
  [ -n "${MILLRACE_BINARIES:-}" ] || step "cargo build" compile
  for program in "${PROGRAMS[@]}"; do
    [ -x "$binaries/$program" ] || die "there is no program $binaries/$program" "let cargo build it: a [[bin]] of that name in the workspace"
    image_of "$program" "$binaries/$program"
    names+=("$(tr 'a-z-' 'A-Z_' <<<"$program")_IMAGE=$image")
    [ "$1" = build ] || on_all_nodes "$image" || loads+=("$image")
  done
  if [ "$1" = build ]; then
    note "the images are built; the nodes stay as they are"
  elif ! nodes_exist; then
    note "there is no cluster: the images are built, and on no node"
  elif [ ${#loads[@]} -gt 0 ]; then
    step "${#loads[@]} images onto the nodes" load_images "${loads[@]}"
    for program in "${PROGRAMS[@]}"; do forget_old_images "$program"; done
  fi
  mkdir -p "$TARGET"
  printf '%s\n' "${names[@]}" >"$NAMES"
  cat "$NAMES"
}

# A cluster takes no images while it is stopped: said before minutes of cargo.
need_cluster_up() {
  if ! nodes_exist; then return; fi
  nodes_run && registry_answers ||
    die "there is a cluster, but its nodes or its registry do not run" "make cluster" "cluster/build-images.sh build   (leaves the cluster out)"
}

binary_directory() {
  local profile=${CARGO_PROFILE:-dev}
  [ "$profile" != dev ] || profile=debug
  echo "${MILLRACE_BINARIES:-$TARGET/$profile}"
}

# The whole workspace's features, so that tests and programs share what is compiled; of its programs, ours.
# shellcheck disable=SC2317 # called by step
compile() {
  local program wanted=() log=$LOGS/cargo.log
  for program in "${PROGRAMS[@]}"; do wanted+=(--bin "$program"); done
  need_rust
  have_compilers || need_packages gcc g++ make
  cd "$REPOSITORY" || return
  # cargo says how far it is only in the bar that it draws.
  with_progress "cargo build" crates "cargo_progress $log" env CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80 \
    cargo build --workspace --locked --profile "${CARGO_PROFILE:-dev}" "${wanted[@]}" 2>"$log" || failed=$?
  tr '\r' '\n' <"$log" | grep -v '^ *Building \[' || true
  return "${failed:-0}"
}

# Sets `image` to the name of the program's image, built if it is not there.
image_of() { # PROGRAM BINARY
  local directory dockerfile=$HERE/images/$1.Dockerfile size
  directory=$(fresh_directory "image-$1")
  strip -o "$directory/$1" "$2"
  image=$REGISTRY/millrace-$1:$(cat "$directory/$1" "$dockerfile" | sha256sum | cut -c1-12)
  docker image inspect "$image" >/dev/null 2>&1 ||
    build_image "$image" 1 "$directory" -q -f "$dockerfile" >"$LOGS/image-$1.log" 2>&1 ||
    die "the image of $1 does not build: $(tail -n 3 "$LOGS/image-$1.log")" "cluster/cluster.sh status"
  size=$(stat -c %s "$directory/$1")
  note "$(printf '%s: %d MB + base' "$image" $((size / 1000000)))"
  [ "$size" -le $LARGEST ] ||
    die "the image of $1 is larger than $((LARGEST / 1000000)) MB beyond its base layer" "look at what it links: cargo tree, cargo bloat"
}

on_all_nodes() { # IMAGE
  local node
  for node in "${NODES[@]}"; do
    [ -n "$(docker exec "$node" ctr -n k8s.io images ls -q "name==$1" 2>/dev/null)" ] || return 1
  done
}

# Every build leaves an image here and on each node. The last three stay, for pods that run them; a pod of an older
# one still finds it in the registry.
forget_old_images() { # PROGRAM
  local old node
  mapfile -t old < <(docker images "$REGISTRY/millrace-$1" --format '{{.Repository}}:{{.Tag}}' | tail -n +4)
  [ ${#old[@]} -gt 0 ] || return 0
  docker rmi "${old[@]}" >/dev/null 2>&1 || true
  for node in "${NODES[@]}"; do
    docker exec "$node" ctr -n k8s.io images rm "${old[@]}" >/dev/null 2>&1 || true
  done
}

case ${1:-all} in
  all) build_images all ;;
  build) build_images build ;;
  programs) step "cargo build" compile ;;
  *) sed -n '/^#   build-images.sh /s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

#!/usr/bin/env bash
# Owns the cluster of the demo and the tests: a kind cluster of three nodes with a local image registry and the
# store images on every node. It is the same cluster everywhere; what differs is who supplies the images. Where an
# image registry is reachable they are the official ones, elsewhere they are built from Go modules, Debian packages
# and Maven jars, and Docker itself comes from Debian. docs/cluster.md tells more.
#
#   up            makes the cluster, or brings it back, or leaves it as it is
#   stop          stops the nodes, and the Docker engine if we started it; up brings back what was there
#   down [--all]  removes cluster and registry; with --all also what they kept, and the Docker engine if we started it
#   status        what runs, and from which supplier
#   images        builds or pulls the images, without a cluster
#   load IMAGE... pushes images to the registry and pulls them on all nodes
#   push IMAGE... pushes images to the registry
#   older IMAGE... builds or pulls other versions of the stores, such as zookeeper:3.9.3, and loads them
#   tools NAME... builds programs of cluster/tools/ that are missing, and prints the directory that has them
#   env           shell lines for scripts: PATH, KUBECONFIG's context, supplier, whether NetworkPolicy is enforced
#   doctor        what this machine lacks, and how to fix it; changes nothing
#
# MILLRACE_SUPPLIER=official|built overrides the choice; MILLRACE_CACHE is where everything built is kept.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"
. "$HERE/lib/progress.sh"
. "$HERE/lib/engine.sh"
. "$HERE/lib/tools.sh"
. "$HERE/lib/images.sh"
. "$HERE/lib/stores.sh"
. "$HERE/lib/registry.sh"
. "$HERE/lib/kind.sh"
. "$HERE/lib/doctor.sh"
. "$HERE/built/debian.sh"
. "$HERE/built/node.sh"
. "$HERE/built/stores.sh"
. "$HERE/built/older.sh"

usage() { sed -n '/^#   up/,/^# MILLRACE/ s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

up() {
  local supplier
  alone
  step "Docker engine" engine_up
  supplier=$(choose_supplier)
  note "supplier of node and store images: $supplier"
  step "port, kubeconfig and disk" need_surroundings "$supplier"
  images "$supplier"
  step "three nodes" kind_up "$supplier"
  step "local registry" registry_up "$supplier"
  step "store images onto the nodes" load_images "${STORE_IMAGES[@]}"
  step "routes to pods and services" routes_up
  step "cluster ready" cluster_ready
  note "ready: context $CONTEXT, StorageClass standard, registry $REGISTRY"
}

# All that can be made beforehand, each part only if its recipe has changed.
images() { # SUPPLIER
  [ "$1" = official ] || step "Debian packages" packages_up
  step "programs" tools_up "$1"
  [ "$1" = official ] || step "node image" node_image_up
  step "registry image" registry_image_up "$1"
  step "store images" stores_up "$1"
  step "outdated images" forget_outdated_images
}

down() {
  alone
  if ! engine_answers; then
    is_root || need_engine_or_rights
    note "the Docker engine does not run, nor does anything in it"
    return
  fi
  step "nodes" nodes_down
  docker rm -f -v "$REGISTRY_NAME" >/dev/null 2>&1 || true
  if [ "${1:-}" = --all ]; then
    docker volume rm -f "$REGISTRY_NAME" >/dev/null
    step "Docker engine" engine_down
  fi
}

stop() {
  alone
  if ! engine_answers; then return; fi
  step "stopping the nodes" nodes_stop
  step "stopping the Docker engine" engine_down
}

older() { # IMAGE...
  local image supplier
  alone
  supplier=$(choose_supplier)
  for image; do
    if [ "$supplier" != official ]; then
      step "$image" build_older "$image"
    elif ! docker image inspect "$image" >/dev/null 2>&1; then
      step "$image" docker pull -q "$image"
    fi
  done
  step "loading $*" load_images "$@"
}

# One run at a time: a second one waits.
alone() {
  exec 9>"$CACHE/lock"
  take_lock 9 "$CACHE/lock"
}

# What would otherwise end the last steps, after minutes of builds.
need_surroundings() { # SUPPLIER
  need_registry_port
  need_kubeconfig
  [ "$1" = official ] || nodes_exist || need_disk 12 "$(docker info -f '{{.DockerRootDir}}')"
}

main() {
  local verb=${1:-}
  [ $# -eq 0 ] || shift
  case $verb in
    up) up ;;
    stop) stop ;;
    down) down "$@" ;;
    status) status ;;
    images) alone; step "Docker engine" engine_up; images "$(choose_supplier)" ;;
    load) step "loading $*" load_images "$@" ;;
    push) for image; do push_image "$image"; done ;;
    older) older "$@" ;;
    tools) step "programs: $*" some_tools_up "$@" >&2; echo "$BIN" ;;
    env) environment ;;
    doctor) doctor ;;
    *) usage; [ -z "$verb" ] || exit 2 ;;
  esac
}

# On one line, so that bash has read all of it: the file may change while it runs.
main "$@"; exit

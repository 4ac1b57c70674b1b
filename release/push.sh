#!/usr/bin/env bash
# Builds the images of operator, worker and console, pushes them to a registry, and prints the command that installs the
# chart with them. May be repeated: what is built or pushed already is left alone.
#   push.sh REGISTRY [TAG]    REGISTRY is host/path, such as registry.example.com/team
#
# By itself a tag is the digest of the program and its Dockerfile. Give each push a TAG of its own: nodes keep an image
# whose tag they have. MILLRACE_BINARIES names a directory with ready programs, to skip cargo.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../cluster/lib/base.sh"
. "$HERE/lib/progress.sh"
. "$HERE/lib/engine.sh"
. "$HERE/lib/images.sh"
. "$HERE/built/debian.sh"
. "$REPOSITORY/release/lib.sh"
. "$REPOSITORY/release/images.sh"

# Says what the nodes of kubectl's current context make of the images; they may be meant for another cluster.
advise() {
  local nodes=() advice
  command -v kubectl >/dev/null || return 0
  mapfile -t nodes < <(kubectl --request-timeout 5s get nodes -o jsonpath='{range .items[*]}{.status.nodeInfo.architecture}{"\n"}{end}' 2>/dev/null | sort -u)
  advice=$(nodes_advice "$(architecture)" "${nodes[@]}")
  [ -z "$advice" ] || note "NOTE: $advice"
}

main() {
  local registry=${1:-} tag=${2:-} program image tags=()
  refuse "$(registry_fault "$registry")"
  [ -z "$tag" ] || refuse "$(tag_fault "$tag")"
  need_engine
  release_images
  for program in "${IMAGES[@]}"; do
    image=${program^^}_IMAGE
    image=${!image}
    tags+=("${tag:-${image##*:}}")
    step "does $program start" need_start "$image"
    step "push of $program" push_as "$image" "$(remote_image "$registry" "$program" "${tags[-1]}")"
  done
  advise
  printf '\nInstall or upgrade Millrace with these images:\n\n'
  install_line "$registry" "${tags[@]}"
  printf '\nWith the console: add --set console.enabled=true. For a registry that wants a login: create a Secret with\n'
  printf 'kubectl create secret docker-registry NAME in millrace-system and in the namespace of each pipeline, and add\n'
  printf "%s\n" "--set 'imagePullSecrets[0].name=NAME' --set 'worker.imagePullSecrets[0]=NAME'"
}

# On one line, so that bash has read all of it: the file may change while it runs.
main "$@"; exit

# shellcheck shell=bash
# What push.sh and release.sh share of engine and registry: images of the release profile, their way to a registry, and what
# is said when it is barred. Needs base.sh, images.sh and engine.sh of cluster/lib, cluster/built/debian.sh, and lib.sh.

# What `make` was given is no business of the makes that cargo runs, such as librdkafka's, which would take it for their own.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES
export -n VERSION PUBLISH REGISTRY TAG

# This machine's architecture as images name it.
architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64 | arm64) echo arm64 ;;
    *) uname -m ;;
  esac
}

# Ends the script where a fault is given.
refuse() { # FAULT-TAB-FIX
  [ -z "$1" ] || die "${1%%$'\t'*}" "${1#*$'\t'}"
}

# An engine that builds images which the programs of this machine run in.
need_engine() {
  local engine
  command -v docker >/dev/null || die "there is no container engine: docker is not on PATH" "install Docker; on Debian, make cluster installs and starts it"
  engine_answers || die "the Docker engine does not answer" "start it: sudo systemctl start docker, or make cluster" \
    "let this user reach it: sudo usermod -aG docker $(id -un)"
  [ "$(uname -s)" = Linux ] || die "programs that are compiled on $(uname -s) do not run in images of Linux" "run this on Linux, or in a virtual machine of it"
  engine=$(docker version -f '{{.Server.Os}}/{{.Server.Arch}}')
  [ "$engine" = "linux/$(architecture)" ] ||
    die "the engine is $engine, and this machine compiles for linux/$(architecture)" "use an engine of this machine: unset DOCKER_HOST, docker context use default"
}

# The base of our images: pulled, or built from Debian's packages where no registry can be reached.
base_image() {
  docker image inspect debian:bookworm-slim >/dev/null 2>&1 || docker pull debian:bookworm-slim || debian_image
}

# Compiles the programs with the release profile, builds their images, and sets OPERATOR_IMAGE, WORKER_IMAGE and
# CONSOLE_IMAGE. Reports its own progress.
release_images() {
  step "base image" base_image
  CARGO_PROFILE=release "$HERE/build-images.sh" build
  # shellcheck source=/dev/null
  . "${CARGO_TARGET_DIR:-$REPOSITORY/target}/built-images.env"
}

# Whether the program of an image starts, and prints its version. A program that was linked with a newer C library than the
# image has ends at once.
need_start() { # IMAGE
  local said
  said=$(docker run --rm --network none "$1" --version 2>&1) && { echo "$1: $said"; return; }
  case $said in
    *GLIBC_*) die "the program in $1 wants a newer C library than Debian 12 has: $(tail -n 1 <<<"$said")" "compile on a system with glibc 2.36 or older, such as Debian 12 or Ubuntu 22.04" ;;
    *) die "the program in $1 does not start: $(tail -n 1 <<<"$said")" "docker run --rm $1 --version" ;;
  esac
}

# Pushes an image under another name, and prints `NAME DIGEST`.
push_as() { # IMAGE NAME
  local said digest
  docker tag "$1" "$2"
  said=$(docker push "$2" 2>&1) || refuse "$(push_fault "${2%/*}" "$said")"
  digest=$(grep -oE 'digest: sha256:[0-9a-f]{64}' <<<"$said" | tail -n 1)
  [ -n "$digest" ] || die "the engine does not report the digest of $2: $(tail -n 1 <<<"$said")" "docker push $2"
  note "$2 ${digest#digest: }"
  echo "$2 ${digest#digest: }"
}

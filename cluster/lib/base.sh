# shellcheck shell=bash
# What every part of cluster/ shares: versions, paths, and how a step, a failure and a wait are told.
# Sourced by cluster.sh, build-images.sh and contract-test.sh; changes nothing by itself.

# shellcheck disable=SC2034 # used by the files that source this one

# The set that is kept together; tools/go.mod pins what is built. kind 0.30's own node image carries Kubernetes
# 1.34.0, ours the newest patch whose Go modules agree with each other. kubeadm chooses the two tags.
readonly KUBERNETES_VERSION=1.34.4
readonly ETCD_TAG=3.6.5-0
readonly COREDNS_TAG=v1.12.1
readonly DEBIAN_RELEASE=bookworm
readonly OFFICIAL_NODE_IMAGE=kindest/node:v1.34.0
readonly BUILT_NODE_IMAGE=millrace/node:v$KUBERNETES_VERSION
readonly STORE_IMAGES=(apache/kafka:3.9.2 zookeeper:3.9.5 cassandra:5.0.9)

readonly CLUSTER_NAME=millrace
readonly NODES=(millrace-control-plane millrace-worker millrace-worker2)
readonly REGISTRY_NAME=millrace-registry
readonly REGISTRY_PORT=5001
readonly REGISTRY=localhost:$REGISTRY_PORT
# kubeadm's defaults, which kind keeps.
readonly SERVICE_CIDR=10.96.0.0/16

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPOSITORY=$(cd "$HERE/.." && pwd)
CACHE=${MILLRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/millrace}
BIN=$CACHE/bin
LOGS=$CACHE/log
WORK=$CACHE/work
readonly HERE REPOSITORY CACHE BIN LOGS WORK
mkdir -p "$BIN" "$LOGS" "$WORK"
export PATH=$BIN:$PATH

# The status of a failure that says by itself what is wrong.
readonly EXPLAINED=3

# Says what is wrong, then how to fix it, and ends the script.
die() { # WHAT FIX...
  printf '\nerror: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '  fix: %s\n' "$@" >&2
  exit $EXPLAINED
}

# One clock for all scripts of a command.
export MILLRACE_BEGAN=${MILLRACE_BEGAN:-$EPOCHSECONDS}
elapsed() { local seconds=$((EPOCHSECONDS - MILLRACE_BEGAN)); printf '%d:%02d' $((seconds / 60)) $((seconds % 60)); }

# A line for the person who waits, also from within a step.
note() { printf '[%5s]   %s\n' "$(elapsed)" "$*" >&"${TERMINAL:-1}"; }

# Runs a function with its output in a log, tells when it begins and how long it took, and on failure shows
# the end of that log. The function runs in a subshell, so that its `set -e` works and its `cd` ends with it.
step() { # NAME FUNCTION [ARGUMENT...]
  local name=$1 began=$SECONDS log status=0
  log=$LOGS/${2//_/-}.log
  shift
  printf '[%5s] %s\n' "$(elapsed)" "$name"
  set +e
  (set -e; TERMINAL=3; "$@") 3>&1 >"$log" 2>&1
  status=$?
  set -e
  if [ $status -eq $EXPLAINED ]; then
    tac "$log" | sed '/^error: /q' | tac >&2
    exit $status
  elif [ $status -ne 0 ]; then
    printf '\nerror: %s failed (status %d); the end of %s:\n' "$name" $status "$log" >&2
    tail -n 25 "$log" | sed 's/^/  | /' >&2
    exit $status
  fi
  printf '[%5s] %s: done in %d s\n' "$(elapsed)" "$name" $((SECONDS - began))
}

# Polls a command until it succeeds.
wait_for() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.3
  done
}

# The digest of a recipe: the names and contents of files, and any further words. File modes and times are
# left out, since a fresh checkout must give the same answer.
recipe() { # PATH... [-- WORD...]
  local paths=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do paths+=("$1"); shift; done
  {
    (cd "$HERE" && find "${paths[@]}" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
    printf '%s\n' "$@"
  } | sha256sum | cut -c1-12
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Installs Debian packages, or says which to install.
need_packages() { # PACKAGE...
  local missing=() package
  for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    die "these Debian packages are needed and this is not Debian: ${missing[*]}" "install their equivalents, or run where an image registry is reachable"
  is_root || die "these packages are missing: ${missing[*]}" "sudo apt-get install ${missing[*]}"
  apt-get update -q || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" ||
    die "apt-get could not install: ${missing[*]}" "see $LOGS, then: apt-get install ${missing[*]}"
}

need_disk() { # GIB PATH
  local free
  free=$(df --output=avail -BG "$2" | tail -1 | tr -dc 0-9)
  [ "$free" -ge "$1" ] ||
    die "only $free GiB are free on the disk of $2; this step needs $1 GiB" \
      "free some: docker system prune, cargo clean, or set MILLRACE_CACHE to a directory on a larger disk"
}

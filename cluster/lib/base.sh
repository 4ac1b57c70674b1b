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
export PATH=$BIN:$PATH

# The status of a failure that says by itself what is wrong.
readonly EXPLAINED=3

# Prints text in lines of at most 80 columns, the first with a prefix and the others as far in. Longer words stay whole.
tell() { # PREFIX TEXT
  awk -v prefix="$1" '{
    match($0, /^ */)
    line = prefix substr($0, 1, RLENGTH)
    gsub(/./, " ", prefix)
    words = split($0, word, " ")
    for (i = 1; i <= words; i++) {
      if (i > 1 && length(line) + 1 + length(word[i]) > 80) { print line; line = prefix word[i] }
      else line = line (i > 1 ? " " : "") word[i]
    }
    print line
  }' <<<"$2"
}

# Says what is wrong, then how to fix it, and ends the script. A fix stays on one line, to be copied.
die() { # WHAT FIX...
  { echo; tell "error: " "$1"; } >&2
  shift
  [ $# -eq 0 ] || printf '  fix: %s\n' "$@" >&2
  exit $EXPLAINED
}

# One clock for all scripts of a command.
export MILLRACE_BEGAN=${MILLRACE_BEGAN:-$EPOCHSECONDS}
elapsed() { local seconds=$((EPOCHSECONDS - MILLRACE_BEGAN)); printf '%d:%02d' $((seconds / 60)) $((seconds % 60)); }

# A line for the person who waits, also from within a step.
note() { tell "$(printf '[%5s]   ' "$(elapsed)")" "$*" >&"${TERMINAL:-1}"; }

# Runs a function with its output in a log, tells when it begins and how long it took, and on failure shows
# the end of that log. The function runs in a subshell, so that its `set -e` works and its `cd` ends with it.
step() { # NAME FUNCTION [ARGUMENT...]
  local name=$1 began=$SECONDS log status=0
  log=$LOGS/${2//_/-}.log
  shift
  tell "$(printf '[%5s] ' "$(elapsed)")" "$name"
  set +e
  (set -e; TERMINAL=3; "$@") 3>&1 >"$log" 2>&1
  status=$?
  set -e
  if [ $status -eq $EXPLAINED ]; then
    tac "$log" | sed '/^error: /q' | tac >&2
    exit $status
  elif [ $status -ne 0 ]; then
    {
      echo
      tell "error: " "$name failed (status $status); the end of $log:"
      tail -n 25 "$log" | sed 's/^/  | /'
      if grep -qi 'no space left on device' "$log"; then
        printf '  fix: %s\n' "${FREE_DISK[@]}"
      else
        echo "  fix: make cluster-doctor shows what is missing; finished steps are kept"
      fi
    } >&2
    exit $status
  fi
  tell "$(printf '[%5s] ' "$(elapsed)")" "$name: done in $((SECONDS - began)) s"
}

# Takes a lock that is open as a file descriptor, or says which processes have it, and waits.
take_lock() { # DESCRIPTOR FILE
  local holder holders self=$BASHPID
  flock -n "$1" && return
  holders=$(open_by_others "$2" "$self")
  note "another run is in progress, or a killed run left these processes:"
  for holder in $holders; do note "  $holder $(tr '\0' ' ' <"/proc/$holder/cmdline" 2>/dev/null | cut -c1-56)"; done
  note "waiting for them; to end them instead:"
  note "  kill $(xargs <<<"$holders")"
  flock "$1"
}

# Prints the processes, besides one, that have a file open.
open_by_others() { # FILE PID
  # What looks would otherwise have ours open, too.
  exec 8>&- 9>&-
  find /proc/[0-9]*/fd -lname "$(realpath "$1")" 2>/dev/null | cut -d/ -f3 | sort -un | grep -vx "$2" || true
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

missing_packages() { # PACKAGE...
  local package
  for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || echo "$package"
  done
}

# Dies where Debian packages are missing that we cannot install.
may_install() { # PACKAGE...
  local missing
  missing=$(missing_packages "$@" | xargs)
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || die "this system is not Debian, and needs these Debian packages: $missing" \
    "install their equivalents, or run with access to an image registry"
  is_root || die "these packages are missing, and only root can install them: $missing" "sudo apt-get install -y $missing"
}

# Installs Debian packages, or says which to install.
need_packages() { # PACKAGE...
  local missing
  may_install "$@"
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  export DEBIAN_FRONTEND=noninteractive
  # A run that was killed leaves packages half installed, and then apt-get installs no others.
  dpkg --configure -a || true
  apt-get update -q || true
  apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}" ||
    die "apt-get could not install: ${missing[*]}" "apt-get install -y ${missing[*]}"
}

# How to have room again.
readonly FREE_DISK=("docker system prune -f" "cargo clean" "export MILLRACE_CACHE=DIRECTORY   (on a larger disk)")

need_disk() { # GIB PATH
  local free path
  path=$(existing "$2")
  free=$(df --output=avail -BG "$path" | tail -1 | tr -dc 0-9)
  [ "$free" -ge "$1" ] || die "only $free GiB are free on the disk of $2, and this needs $1 GiB" "${FREE_DISK[@]}"
}

# Prints a path, or the nearest directory above it that is there.
existing() { # PATH
  local path=$1
  until [ -e "$path" ]; do path=$(dirname "$path"); done
  echo "$path"
}

# What `sudo make` leaves to root would fail one step after the other.
own_cache() {
  local foreign
  mkdir -p "$BIN" "$LOGS" "$WORK" 2>/dev/null ||
    die "cannot write to $CACHE" "sudo chown -R $(id -un) $CACHE" "export MILLRACE_CACHE=DIRECTORY   (a directory of your own)"
  foreign=$(find "$CACHE" "$LOGS" -maxdepth 1 ! -type l ! -writable -print -quit 2>/dev/null)
  [ -z "$foreign" ] || die "$foreign does not belong to this user, as after sudo make" "sudo chown -R $(id -un) $CACHE"
}
own_cache

# shellcheck shell=bash
# The Docker engine: found, or installed from Debian and started by us. Only an engine that we started is
# ever stopped here; which one that is, is written down by process id *and* start time in $ENGINE/started,
# since ids are used again. MILLRACE_ENGINE_DATA is where an engine that we start keeps its data, in place of Docker's
# own directory.

readonly ENGINE=$CACHE/engine

engine_answers() { timeout 10 docker info >/dev/null 2>&1; }

# Prints when a process began (clock ticks since boot); nothing if it has ended, also where nobody has asked how, as in
# containers.
process_began() { # PID
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'
}

runs_as() { # PID COMMAND
  [ -n "$(process_began "$1")" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]
}

# Prints the process id of the dockerd that we started and that still runs.
our_dockerd() {
  local pid began
  read -r pid began 2>/dev/null <"$ENGINE/started" || return 1
  [ -n "$began" ] && [ "$(process_began "$pid")" = "$began" ] && echo "$pid"
}

# Where root lacks CAP_SYS_RESOURCE (bit 24), no container may ask for it, as privileged ones do.
lacks_sys_resource() {
  local bounding
  bounding=$(sed -n 's/^CapBnd:\t*//p' /proc/self/status)
  ! ((16#$bounding >> 24 & 1))
}

engine_up() {
  if engine_answers; then return; fi
  need_engine_or_rights
  if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then need_packages docker.io iptables; fi
  if [ -d /run/systemd/system ]; then
    systemctl start docker || true
    wait_for 60 engine_answers || die "the Docker engine does not start" "journalctl -u docker -n 50   (shows why)" "systemctl restart docker"
  else
    start_dockerd
    wait_for 60 engine_answers && return
    die "the Docker engine does not answer; the end of $ENGINE/dockerd.log:"$'\n'"$(tail -n 5 "$ENGINE/dockerd.log" 2>/dev/null)" \
      "df -h /var/lib/docker   (if a full disk is the cause: free some)" \
      "mv /var/lib/docker /var/lib/docker.old   (if its store is corrupt)"
  fi
}

# Dies where no engine answers and this user cannot start one.
need_engine_or_rights() {
  local user join said
  if engine_answers; then return; fi
  # One that we start would be on this machine, and nobody would ask it.
  [ -z "${DOCKER_HOST:-}" ] || die "DOCKER_HOST is '$DOCKER_HOST', and no Docker engine answers there" "unset DOCKER_HOST"
  if is_root; then
    command -v dockerd >/dev/null || may_install docker.io iptables
    return
  fi
  user=$(id -un)
  join="sudo usermod -aG docker $user && newgrp docker"
  if ! command -v docker >/dev/null; then
    command -v apt-get >/dev/null || die "Docker is not installed, and only root can install it" "install Docker and start it, then:"$'\n'"       $join"
    die "Docker is not installed, and only root can install it" "sudo apt-get install -y docker.io"$'\n'"       $join"
  fi
  said=$(timeout 10 docker info 2>&1 || true)
  case $said in
    *"permission denied"*) die "user $user may not use the Docker engine" "$join" ;;
  esac
  if [ -d /run/systemd/system ]; then
    die "the Docker engine does not run, and only root can start it" "sudo systemctl start docker"
  fi
  die "the Docker engine does not run, and only root can start it" "sudo service docker start"
}

start_dockerd() {
  local pid options=()
  mkdir -p "$ENGINE"
  if pid=$(our_dockerd); then
    note "our dockerd ($pid) runs but does not answer: stopping it"
    stop_process "$pid"
  elif pid=$(cat /run/docker.pid 2>/dev/null) && runs_as "$pid" dockerd; then
    die "a dockerd that this script did not start (process $pid) runs but does not answer" "kill $pid   (then run this again; kill -9 if it does not end)"
  fi
  drop_stale_pid_file /run/docker.pid dockerd
  drop_stale_pid_file /run/docker/containerd/containerd.pid containerd
  if lacks_sys_resource; then
    need_packages jq
    install -m 755 "$HERE/node/runc-without-sys-resource" "$ENGINE/"
    options=(--add-runtime "limited=$ENGINE/runc-without-sys-resource" --default-runtime limited)
  fi
  [ -z "${MILLRACE_ENGINE_DATA:-}" ] || options+=(--data-root "$MILLRACE_ENGINE_DATA")
  # kind's three nodes run three systemds; the kernel's default of 128 inotify instances is too few for them.
  raise_limit /proc/sys/fs/inotify/max_user_instances 1024
  raise_limit /proc/sys/fs/inotify/max_user_watches 524288
  # Its own session, and none of our descriptors: it must outlive this script and hold none of its locks.
  setsid dockerd "${options[@]}" --log-opt max-size=10m >"$ENGINE/dockerd.log" 2>&1 </dev/null 3>&- 8>&- 9>&- &
  if wait_for 30 test -s /run/docker.pid; then
    pid=$(cat /run/docker.pid)
    echo "$pid $(process_began "$pid")" >"$ENGINE/started"
  fi
}

# A pid file that outlived its process makes dockerd refuse to start, or wait for a containerd that is gone.
drop_stale_pid_file() { # FILE COMMAND
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  runs_as "$pid" "$2" || rm -f "$1"
}

raise_limit() { # FILE MINIMUM
  [ "$(cat "$1")" -ge "$2" ] || echo "$2" >"$1" || note "could not raise $1 to $2"
}

stop_process() { # PID
  kill "$1" 2>/dev/null || return 0
  wait_for 30 eval "! kill -0 $1" || kill -9 "$1" 2>/dev/null || true
}

engine_down() {
  local pid
  if pid=$(our_dockerd); then
    stop_process "$pid"
    rm -f "$ENGINE/started"
  fi
}

# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set is for the tests that source this file
# A machine for tests of scripts: a copy of the checkout in which the scripts are real, with other places for what they name
# outside of it, and a PATH on which all programs beyond the usual small ones are played. A played program writes each call
# to $state/calls and keeps what it has made in $state. What is in the way is put there by files:
#
#   engine            a Docker engine runs; without it `docker info` fails with what `engine-fault` holds
#   uid               the user; 0 is root
#   free, memory      GiB of each disk, and of memory
#   nodes/NAME        a node's container, with its state; `stuck-NAME`: it does not start
#   registry          the state of the registry's container; while it runs, a real server has the port
#   publisher         a container of somebody else that has the port
#   packages          Debian packages that are installed; `apt-fails`: apt-get installs none
#   registry.pid      its server
#   hang              the beginning of a call that never ends; `hanging` appears once it is made
#   bare              the engine has no image
#   full              cargo finds the disk full
#   terminating       the demo's namespace is being removed; it is gone once it is waited for
#   pending           an earlier run of helm has not ended
#   pipeline          the demo's pipeline is there

# Programs of every Debian machine, which are real.
readonly REAL=(awk basename bash cat chmod cp cut date dirname echo env find flock grep head install ln ls make mkdir mv realpath
  rm sed setsid sha256sum sort ss stat tac tail tee timeout touch tr uname wc xargs)
# Processes that the tests have started; whatever happens, they end.
machine_processes=()
work=$(mktemp -d)
# Not by way of a shim, which needs more programs than the machine has.
python=$(python3 -c 'import sys; print(sys.executable)')
# The registry's: a free one.
port=$("$python" -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')

# A new machine in which nothing is in the way: a user with a Docker engine, and nothing built. Sets machine, state, cache.
new_machine() {
  local program
  end_processes
  machine=$(mktemp -d "$work/XXX")
  state=$machine/state
  cache=$machine/home/.cache/millrace
  mkdir -p "$machine"/{bin,home,run,inotify} "$state/nodes"
  for program in "${REAL[@]}"; do ln -s "$(type -P "$program")" "$machine/bin/$program"; done
  cp -r cluster examples Cargo.toml Makefile kind-config.yaml "$machine"
  # Waits are cut short: what is played is there at once, or never.
  sed -i -e "s#/run/docker#$machine/run/docker#g" -e "s#/run/systemd#$machine/run/systemd#g" \
    -e "s#/proc/sys/fs/inotify#$machine/inotify#g" -e "s#/proc/meminfo#$machine/meminfo#g" \
    -e "s/^readonly REGISTRY_PORT=.*/readonly REGISTRY_PORT=$port/" -e 's/wait_for [0-9]* /wait_for 5 /' \
    "$machine"/cluster/lib/*.sh
  echo 1 | tee "$machine"/inotify/max_user_{instances,watches} >/dev/null
  printf 'MemAvailable: %d kB\n' $((16 << 20)) >"$machine/meminfo"
  echo 1000 >"$state/uid"
  echo 100 >"$state/free"
  echo "docker.io iptables jq gcc g++ make libc6-dev mmdebstrap maven python3-pip" >"$state/packages"
  touch "$state/engine" "$state/calls"
  play_system
  play_builders
  play_cluster
  # Interrupts reach what runs here, also where the tests' own shell ignores them, as one in the background does.
  as_user=(env -i "--default-signal=INT,TERM,HUP" "PATH=$machine/bin" "HOME=$machine/home" MILLRACE_REPORT_SECONDS=1)
}

# Writes a program whose calls are noted, and may hang. Its body finds $state.
play() { # NAME; the body on standard input
  {
    printf '#!/bin/bash\nstate=%q\n' "$state"
    cat <<'HEAD'
call="${0##*/} $*"
echo "$call" >>"$state/calls"
if [ -s "$state/hang" ] && [[ $call == "$(<"$state/hang")"* ]]; then
  touch "$state/hanging"
  exec /bin/sleep 1000
fi
HEAD
    cat
  } >"$machine/bin/$1"
  chmod +x "$machine/bin/$1"
}

play_system() {
  # Not noted: they are called all the time.
  printf '#!/bin/bash\nexec /bin/sleep 0.05\n' >"$machine/bin/sleep"
  printf '#!/bin/bash\nif [ "$1" = -u ]; then cat %q; else echo alice; fi\n' "$state/uid" >"$machine/bin/id"
  printf '#!/bin/bash\nprintf "Avail\\n%%sG\\n" "$(<%q)"\n' "$state/free" >"$machine/bin/df"
  chmod +x "$machine"/bin/{sleep,id,df}
  play sudo <<<'shift; exec "$@"'
  play ip <<<''
  play systemctl <<<'exit 1'
  play dpkg <<<''
  play dpkg-query <<<'for package; do :; done; grep -qw -- "$package" "$state/packages" && echo "install ok installed"'
  play apt-get <<'BODY'
[ "$1" = install ] || exit 0
[ ! -e "$state/apt-fails" ] || exit 100
echo "$*" >>"$state/packages"
BODY
  play dockerd <<BODY
echo \$\$ >$machine/run/docker.pid
touch "\$state/engine"
# Not by exec: its name in the list of processes stays.
/bin/sleep 1000 & wait
BODY
  play python3 <<BODY
if [ "\$*" = "-m pip --version" ]; then grep -qw python3-pip "\$state/packages"; else exec $python "\$@"; fi
BODY
}

play_builders() {
  local program
  for program in cc c++; do play "$program" <<<''; done
  play go <<'BODY'
[ "$*" = "env GOVERSION" ] || { echo "the played go builds nothing" >&2; exit 1; }
echo go1.24.0
BODY
  play cargo <<'BODY'
[ "$1" != --version ] || { echo "cargo 1.99.0 (played)"; exit; }
if [ -e "$state/full" ]; then echo "error: No space left on device (os error 28)" >&2; exit 101; fi
printf '   Building [=====> ] 250/500: datafusion\r' >&2
mkdir -p target/debug
for program in operator worker console sample-source; do
  echo "$program" >"target/debug/$program"
  chmod +x "target/debug/$program"
done
BODY
  # strip -o TO FROM
  play strip <<<'cp "$3" "$2"'
}

# The engine, kind, kubectl and helm. There is an image of every name but those that the project builds.
play_cluster() {
  play docker <<'BODY'
[ -e "$state/engine" ] || { cat "$state/engine-fault" >&2 2>/dev/null; exit 1; }
name=${!#}
case "$*" in
  info) ;;
  "info -f "*) echo /var/lib/docker ;;
  "ps --filter publish="*) cat "$state/publisher" 2>/dev/null; exit 0 ;;
  "ps -a "*) ls "$state/nodes" ;;
  *" {{.State.Running}}"*"millrace-registry"*)
    [ -e "$state/registry" ] || exit 1
    running=false
    [ "$(<"$state/registry")" != running ] || running=true
    case "$*" in *.Image*) echo "$running sha256:1" ;; *) echo "$running" ;; esac ;;
  "image inspect -f {{.Id}} "*) echo sha256:1 ;;
  "image inspect "*millrace-*:*) [ -e "$state/image-${name##*/}" ] ;;
  "image inspect "*) [ ! -e "$state/bare" ] ;;
  *inspect*"{{.Config.Image}}"*) [ -e "$state/nodes/$name" ] && echo kindest/node:v1.34.0 ;;
  *inspect*"{{.Id}}"*) [ -e "$state/nodes/$name" ] && echo "id-of-$name" ;;
  *inspect*"{{.State.Status}}"*) cat "$state/nodes/$name" ;;
  *inspect*"{{.State.StartedAt}}"*) echo 2026-01-01T00:00:00Z ;;
  start\ *) [ ! -e "$state/stuck-$name" ] && echo running >"$state/nodes/$name" ;;
  "rm -f millrace-registry" | "rm -f -v millrace-registry")
    rm -f "$state/registry"
    [ ! -e "$state/registry.pid" ] || kill "$(<"$state/registry.pid")"
    rm -f "$state/registry.pid" ;;
  "run -d --name millrace-registry "*)
    echo running >"$state/registry"
    [[ $* =~ 127.0.0.1:([0-9]+): ]]
    setsid python3 -m http.server --bind 127.0.0.1 --directory "$state/served" "${BASH_REMATCH[1]}" >/dev/null 2>&1 3>&- 9>&- &
    echo $! >"$state/registry.pid" ;;
  build\ *)
    while [ "$1" != -t ]; do shift; done
    touch "$state/image-${2##*/}" ;;
  "images "* | "exec "*) ;;
  push* | tag* | image\ prune*) ;;
  *) echo "the played docker does not know: $*" >&2; exit 1 ;;
esac
BODY
  # What the registry serves.
  mkdir -p "$state/served/v2"
  play kind <<'BODY'
case "$*" in
  version*) echo "kind v0.30.0" ;;
  "create cluster "*) for node in millrace-control-plane millrace-worker millrace-worker2; do echo running >"$state/nodes/$node"; done ;;
  "delete cluster "*) rm -f "$state"/nodes/* ;;
  "export kubeconfig "*) mkdir -p "$HOME/.kube" && echo kind-millrace >"$HOME/.kube/config" ;;
esac
BODY
  play kubectl <<'BODY'
case "$*" in
  version*) echo "Client Version: v1.34.0"; exit ;;
  "config get-contexts "*) grep -qx "${!#}" "$HOME/.kube/config" 2>/dev/null; exit ;;
esac
# All that asks the cluster names it.
[ "$1 $2" = "--context kind-millrace" ] || { echo "without the cluster's context: $*" >&2; exit 1; }
if ! grep -qsx kind-millrace "$HOME/.kube/config" || [ "$(cat "$state"/nodes/* 2>/dev/null | sort -u)" != running ]; then
  echo "connection refused" >&2
  exit 1
fi
shift 2
[ "$1" != --request-timeout ] || shift 2
case "$*" in
  "get node "*) echo True ;;
  *" get lease "*) echo 2026-02-01T00:00:00Z ;;
  *" get pods -o jsonpath"*) printf 'True\nTrue\n' ;;
  "get nodes -o jsonpath"*) printf 'millrace-control-plane 10.244.0.0/24 172.18.0.2\n' ;;
  "get nodes") echo "NAME STATUS" ;;
  "get namespace millrace-demo "*) [ ! -e "$state/terminating" ] || printf Terminating ;;
  "wait --for=delete namespace/millrace-demo "*) rm "$state/terminating" ;;
  "get secret "*) [ ! -e "$state/pending" ] || echo secret/sh.helm.release.v1.millrace.v1 ;;
  "delete secret "*) rm -f "$state/pending" ;;
  "apply -n millrace-demo -f examples/demo.yaml") touch "$state/pipeline" ;;
  "get spl users -n millrace-demo") [ -e "$state/pipeline" ] ;;
  "get spl users -n millrace-demo -o jsonpath"*) printf 'WaitingForKafka: 0 of 1 brokers of this pipeline are registered with ZooKeeper, and the pod of broker 0 has not been scheduled yet' ;;
  "get pods -n millrace-demo -l "*) echo pod/users-processor-1 ;;
  "get --raw "*metrics) printf 'millrace_rows_written_total 1000\nmillrace_record_age_seconds_sum 1\nmillrace_record_age_seconds_count 10\n' ;;
  "exec "*) echo "(10 rows)" ;;
  "apply "* | "create "*) cat >/dev/null ;;
esac
BODY
  play helm <<'BODY'
case "$*" in
  version*) echo v3.19.0 ;;
  *" upgrade "*) [ ! -e "$state/pending" ] || { echo "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress" >&2; exit 1; } ;;
esac
BODY
}

# Runs a command on the machine. Sets `said` and `status`.
on_machine() { # COMMAND...
  status=0
  said=$(cd "$machine" && "${as_user[@]}" "$@" 2>&1 </dev/null) || status=$?
  wide "$said"
}

# The same beside the test, in a process group of its own as a terminal would have it. Sets `leader`; what it says goes to
# $machine/said.
beside() { # COMMAND...
  set -m
  (cd "$machine" && exec "${as_user[@]}" "$@" >"$machine/said" 2>&1 </dev/null) &
  leader=$!
  set +m
  machine_processes+=("-$leader")
}

# Sets `said` and `status` once it has ended.
ended() {
  until_so "what runs beside the test ends" is_gone "$leader"
  is_gone "$leader" || kill -KILL -- "-$leader"
  status=0
  { wait "$leader" || status=$?; } 2>/dev/null
  said=$(<"$machine/said")
  wide "$said"
}

is_gone() { # PID
  ! grep -qs '^State:.[^Z]' "/proc/$1/status"
}

# Waits until something is so, for half a minute at most.
until_so() { # WHAT COMMAND...
  local what=$1 deadline=$((SECONDS + 30))
  shift
  while [ $SECONDS -lt $deadline ]; do
    if "$@" >/dev/null 2>&1; then return; fi
    /bin/sleep 0.05
  done
  is "$what" "in half a minute" "not at all"
}

# A process of somebody else that listens on the registry's port. Sets `listener`.
take_port() {
  "$python" -c 'import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(1000)' "$port" &
  listener=$!
  machine_processes+=("$listener")
  until_so "the port is taken" bash -c "</dev/tcp/127.0.0.1/$port"
}

# Prints what the user has running, but for the registry.
left_running() {
  local process
  for process in $(grep -lzs "^HOME=$machine/home" /proc/[0-9]*/environ | cut -d/ -f3); do
    { tr '\0' ' ' <"/proc/$process/cmdline"; echo; } 2>/dev/null | grep -v -e http.server -e '^$' || true
  done
}

calls() { cat "$state/calls"; }

# No line is wider than the smallest terminal, but for what other programs have logged.
wide() { # TEXT
  is "no line is wider than 80 columns" "" "$(awk 'length > 80 && !/^  \| /' <<<"$1")"
}

end_processes() {
  local process
  for process in "${machine_processes[@]}"; do kill -KILL -- "$process" 2>/dev/null || true; done
  # Without the shell's word on each.
  wait 2>/dev/null
  for process in $(grep -lzs "^HOME=$work/" /proc/[0-9]*/environ | cut -d/ -f3); do kill -KILL "$process" 2>/dev/null || true; done
  machine_processes=()
}

end_machines() {
  end_processes
  rm -rf "$work"
}

#!/usr/bin/env bash
# What `make cluster`, `make images` and `make demo` say and do where something is in the way: no root, a port that is
# taken, an earlier start that was killed, a full disk. Each case has the same start with nothing in the way. The scripts
# are real, and what they call is played (tests/machine.sh): no engine, no cluster, no network. Every line that they print
# must fit into 80 columns. Ends with a line `N passed, N failed`. `.ci/test shell` runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. cluster/tests/checks.sh
. cluster/tests/machine.sh

trap end_machines EXIT

comes_up() { # NAME
  on_machine cluster/cluster.sh up
  is "$1: the cluster comes up" 0 "$status"
  has "$1: it says so" "ready: context kind-millrace" "$said"
}
shows_rows() { # NAME
  on_machine examples/demo.sh up
  is "$1: the demo ends well" 0 "$status"
  has "$1: it shows rows" "(10 rows)" "$said"
}
refuses() { # NAME COMMAND...
  local name=$1
  shift
  on_machine "$@"
  fails "$name is refused" [ "$status" = 0 ]
}

nothing_in_the_way() {
  new_machine
  comes_up "a new machine"
  lacks "nothing is made twice" "recreating the cluster" "$said"
  lacks "nobody is waited for" "another run" "$said"
  : >"$state/calls"
  comes_up "again"
  lacks "what is there stays" "kind create" "$(calls)"
  on_machine cluster/cluster.sh status
  has "status: ready" "cluster: ready" "$said"
  on_machine cluster/cluster.sh doctor
  is "the doctor finds nothing" "" "$(grep -v '^ok ' <<<"$said" || true)"
  shows_rows "a machine with a cluster"
  on_machine make
  has "make lists the commands" "make demo " "$said"
  is "a control of the width: a line of 81 is found" 81 "$(printf '%080d\n%081d\n' 0 0 | awk 'length > 80 { print length }')"
}

no_root() {
  new_machine
  rm "$state/engine"
  echo "permission denied while trying to connect to the Docker daemon socket" >"$state/engine-fault"
  refuses "an engine that is not this user's" cluster/cluster.sh up
  has "that user joins the group" "fix: sudo usermod -aG docker alice && newgrp docker" "$said"
  echo "Cannot connect to the Docker daemon. Is the docker daemon running?" >"$state/engine-fault"
  refuses "an engine that does not run" cluster/cluster.sh up
  has "it is started" "fix: sudo service docker start" "$said"
  mkdir -p "$machine/run/systemd/system"
  refuses "an engine that does not run under systemd" cluster/cluster.sh up
  has "systemd starts it" "fix: sudo systemctl start docker" "$said"
  refuses "an engine elsewhere" env DOCKER_HOST=tcp://127.0.0.1:1 cluster/cluster.sh up
  has "the variable is named" "fix: unset DOCKER_HOST" "$said"
  mv "$machine/bin/docker" "$machine/docker"
  refuses "no engine" cluster/cluster.sh up
  has "it is installed" "fix: sudo apt-get install -y docker.io"$'\n'"       sudo usermod -aG docker alice && newgrp docker" "$said"
  refuses "the demo without an engine" examples/demo.sh up
  has "the demo says the same" "fix: sudo apt-get install -y docker.io" "$said"
  lacks "nothing was built" "cargo build" "$(calls)"
  lacks "nothing was installed" "apt-get" "$(calls)"
  mv "$machine/docker" "$machine/bin/docker"
  touch "$state/engine"
  comes_up "with an engine that this user may use"

  new_machine
  sed -i 's/maven //; s/mmdebstrap //' "$state/packages"
  comes_up "what only builds of images take is not missed where images are pulled"
  touch "$state/bare"
  refuses "images that are built, without their packages" env MILLRACE_SUPPLIER=built cluster/cluster.sh up
  has "the packages are named" "fix: sudo apt-get install -y mmdebstrap maven" "$said"
  lacks "and before the programs are built" "programs" "$said"
  on_machine env MILLRACE_SUPPLIER=built cluster/cluster.sh doctor
  has "the doctor names them, too" "fix: sudo apt-get install -y mmdebstrap maven" "$said"
  echo "mmdebstrap maven" >>"$state/packages"
  refuses "what the played go does not build" env MILLRACE_SUPPLIER=built cluster/cluster.sh up
  has "with its packages it goes on to the programs" "programs failed" "$said"
}

root() {
  new_machine
  echo 0 >"$state/uid"
  rm "$state/engine"
  sed -i 's/docker.io //' "$state/packages"
  mv "$machine/bin/dockerd" "$machine/dockerd"
  touch "$state/apt-fails"
  refuses "a package that cannot be installed" cluster/cluster.sh up
  has "the command is named" "fix: apt-get install -y docker.io" "$said"
  is "what a killed run left half installed is set up first" "dpkg --configure -a" "$(calls | grep -E '^(dpkg|apt-get) ' | head -n 1)"
  rm "$state/apt-fails"
  mv "$machine/dockerd" "$machine/bin/dockerd"
  comes_up "with it"
  has "its engine was started" "started by us" "$(on_machine cluster/cluster.sh status; echo "$said")"

  new_machine
  echo 0 >"$state/uid"
  rm "$state/engine"
  mkdir -p "$machine/run/systemd/system"
  refuses "an engine that systemd does not start" cluster/cluster.sh up
  has "its log is named" "fix: journalctl -u docker -n 50" "$said"
}

# A directory that belongs to root cannot be played for root, who runs this in a container: a file where a directory should
# be is as closed to both.
files_of_root() {
  new_machine
  touch "$machine/home/.kube"
  refuses "a kubeconfig that cannot be written" cluster/cluster.sh up
  has "it is named" "fix: sudo chown -R alice $machine/home/.kube" "$said"
  lacks "before nodes are made" "kind create" "$(calls)"
  refuses "the demo with it" examples/demo.sh up
  lacks "before anything is built" "cargo build" "$(calls)"
  rm "$machine/home/.kube"
  comes_up "a kubeconfig that is not there yet"
  rm "$machine/home/.kube/config"
  on_machine cluster/cluster.sh status
  has "one that has gone is named" "kubeconfig: has no context kind-millrace (make cluster writes it)" "$said"
  comes_up "a kubeconfig that has gone"
  on_machine cluster/cluster.sh status
  has "it is written" "cluster: ready" "$said"

  new_machine
  touch "$machine/home/.cache"
  refuses "a cache that cannot be written" cluster/cluster.sh up
  has "its directory is named" "fix: sudo chown -R alice $cache" "$said"
}

port_is_taken() {
  new_machine
  take_port
  refuses "a port that another program has" cluster/cluster.sh up
  has "the program is named" "(process $listener)" "$said"
  has "and how it is ended" "fix: kill $listener" "$said"
  lacks "before the programs are built" "programs" "$said"
  refuses "the demo with it" examples/demo.sh up
  has "the demo says the same" "fix: kill $listener" "$said"
  lacks "before anything is built" "cargo build" "$(calls)"
  mv "$machine/bin/ss" "$machine/ss"
  play ss <<<"echo 'LISTEN 0 5 127.0.0.1:$port 0.0.0.0:*'"
  refuses "a port of another user's process" cluster/cluster.sh up
  has "what names it" "fix: sudo ss -ltnp 'sport = :$port'" "$said"
  mv "$machine/ss" "$machine/bin/ss"
  echo kind-registry >"$state/publisher"
  refuses "a port of a container" cluster/cluster.sh up
  has "the container is named" "fix: docker stop kind-registry" "$said"
  rm "$state/publisher"
  # As it says.
  kill "$listener"
  wait "$listener" || true
  comes_up "a port that is free again"

  # Once the cluster is there, and its registry was stopped.
  kill "$(<"$state/registry.pid")"
  rm "$state/registry.pid"
  until_so "the registry has ended" fails_to_connect
  echo exited >"$state/registry"
  take_port
  : >"$state/calls"
  refuses "a port that was taken while the registry stood still" cluster/cluster.sh up
  has "how it is ended" "fix: kill $listener" "$said"
  on_machine cluster/cluster.sh doctor
  has "the doctor says the same" "fix: kill $listener" "$said"
  lacks "the registry's container stays" "docker rm" "$(calls)"
  kill "$listener"
  wait "$listener" || true
  comes_up "a registry that was stopped"
}
fails_to_connect() { ! bash -c "</dev/tcp/127.0.0.1/$port"; }

engine_half_up() {
  local stray
  new_machine
  echo 0 >"$state/uid"
  rm "$state/engine"
  mkdir -p "$machine/run/docker/containerd"
  # The number of a process that has ended, and one that something else has by now.
  bash -c 'echo $$' >"$machine/run/docker.pid"
  echo $$ >"$machine/run/docker/containerd/containerd.pid"
  comes_up "pid files that outlived their processes"
  is "the file of containerd is gone" "" "$(ls "$machine/run/docker/containerd")"

  # It is the project's own, and hangs: it is replaced.
  stray=$(<"$machine/run/docker.pid")
  rm "$state/engine"
  comes_up "an engine of ours that hangs"
  fails "it was ended" kill -0 "$stray"

  # It is somebody else's.
  rm "$state/engine" "$cache/engine/started"
  stray=$(<"$machine/run/docker.pid")
  refuses "an engine of somebody else that hangs" cluster/cluster.sh up
  has "it is named" "fix: kill $stray" "$said"
  kill "$stray"
  until_so "it has ended" is_gone "$stray"
  comes_up "once it is ended"

  # It has ended, and is listed until its parent asks how.
  rm "$state/engine" "$cache/engine/started" "$machine/run/docker.pid"
  cp /bin/sleep "$machine/dockerd"
  "$python" -c 'import os, sys, time
child = os.fork()
if not child: os.execv(sys.argv[1], ["dockerd", "0"])
open(sys.argv[2], "w").write(str(child))
time.sleep(1000)' "$machine/dockerd" "$machine/run/docker.pid" &
  machine_processes+=($!)
  until_so "it is begun" test -s "$machine/run/docker.pid"
  stray=$(<"$machine/run/docker.pid")
  until_so "it has ended" is_gone "$stray"
  is "it is still listed" dockerd "$(<"/proc/$stray/comm")"
  comes_up "an engine that has ended and is still listed"
}

# What a killed run leaves: a process that has inherited a lock. Ended as the run that waits for it says.
lock_is_held() {
  local file holder
  new_machine
  comes_up "a lock that nobody has"
  mkdir -p "$cache/tools"
  for file in "$cache/lock" "$cache/tools/lock"; do
    bash -c 'exec 9>"$1"; flock 9; exec /bin/sleep 1000' - "$file" &
    holder=$!
    machine_processes+=("$holder")
    until_so "${file#"$cache"/} is taken" bash -c "! flock -n $file true"
    beside cluster/cluster.sh up
    until_so "it says what it waits for" grep -q "  kill" "$machine/said"
    has "who has ${file#"$cache"/} is named" "$holder /bin/sleep 1000" "$(<"$machine/said")"
    is "what to type" "kill $holder" "$(typed)"
    eval "$(typed)"
    ended
    is "it goes on" 0 "$status"
  done
}

# The last command that a run beside the test says is to be typed.
typed() { sed -n 's/^\[.*\]  *\(kill .*\)/\1/p' "$machine/said" | tail -n 1; }

nodes_half_there() {
  local node
  new_machine
  comes_up "a cluster"
  for node in millrace-control-plane millrace-worker millrace-worker2; do echo exited >"$state/nodes/$node"; done
  on_machine cluster/cluster.sh status
  has "stopped nodes are told" "cluster: does not answer (make cluster brings it back)" "$said"
  on_machine cluster/build-images.sh
  has "images for stopped nodes are refused" "fix: make cluster" "$said"
  lacks "before cargo" "cargo build" "$(calls)"
  refuses "a removal from stopped nodes" examples/demo.sh down
  has "what brings them back" "fix: make cluster" "$said"
  : >"$state/calls"
  comes_up "stopped nodes"
  is "they are started" 3 "$(calls | grep -c '^docker start')"
  lacks "and stay the same" "kind create" "$(calls)"
  on_machine cluster/build-images.sh
  is "images for nodes that run" 0 "$status"
  on_machine examples/demo.sh down
  is "a removal from them" 0 "$status"

  echo exited >"$state/nodes/millrace-worker"
  touch "$state/stuck-millrace-worker"
  comes_up "a node that does not start"
  has "it is named" "millrace-worker was exited and does not start" "$said"
  rm "$state/stuck-millrace-worker"

  rm "$state/nodes/millrace-worker2"
  comes_up "a node that was removed"
  has "that is told" "only some of the three nodes exist: recreating the cluster" "$said"

  rm "$cache/cluster-made"
  comes_up "a cluster that was made half"
  has "that is told" "the cluster is incomplete or from another recipe: recreating it" "$said"
}

disk_is_full() {
  new_machine
  echo 3 >"$state/free"
  refuses "a full disk" examples/demo.sh up
  has "how much is free" "only 3 GiB are free on the disk of $cache, and this needs 20 GiB" "$(tr -s "\n " " " <<<"$said")"
  has "what makes room" "fix: docker system prune -f" "$said"
  lacks "before anything is built" "cargo build" "$(calls)"
  printf 'MemAvailable: %d kB\n' $((5 << 20)) >"$machine/meminfo"
  on_machine cluster/cluster.sh doctor
  has "memory, too" "only 5 GiB of memory are free" "$said"
  echo 100 >"$state/free"
  printf 'MemAvailable: %d kB\n' $((16 << 20)) >"$machine/meminfo"
  touch "$state/full"
  refuses "a disk that becomes full" examples/demo.sh up
  has "what makes room" "fix: docker system prune -f" "$said"
  rm "$state/full"
  shows_rows "a disk with room"
  printf 'MemAvailable: %d kB\n' $((5 << 20)) >"$machine/meminfo"
  echo 5 >"$state/free"
  shows_rows "once all is built and runs, with less memory and room"
}

# Ctrl-C while a program is at work, and the same command again.
interrupted_at() { # CALL
  new_machine
  echo "$1" >"$state/hang"
  beside examples/demo.sh up
  until_so "$1 is at work" test -e "$state/hanging"
  kill -INT -- "-$leader"
  ended
  is "Ctrl-C at $1 ends the demo" 130 "$status"
  has "Ctrl-C at $1 is told" "interrupted; finished steps are kept: make demo continues from there" "$said"
  lacks "Ctrl-C at $1 is no error" "error:" "$said"
  is "Ctrl-C at $1 leaves nothing behind" "" "$(left_running)"
  : >"$state/hang"
  shows_rows "after Ctrl-C at $1"
  lacks "after Ctrl-C at $1 nobody is waited for" "another run" "$said"
}

interrupted() {
  local call
  for call in "cargo build" "kind create" "docker run -d --name millrace-registry" "docker build" "docker push" \
    "helm --kube-context kind-millrace upgrade" "kubectl --context kind-millrace rollout" \
    "kubectl --context kind-millrace apply -n millrace-demo -f examples/demo.yaml" "kubectl --context kind-millrace get --raw" \
    "kubectl --context kind-millrace wait"; do
    interrupted_at "$call"
  done

  # The control: where it is killed without a chance to tidy up, the next one says what is left.
  new_machine
  echo "kind create" >"$state/hang"
  beside examples/demo.sh up
  until_so "kind is at work" test -e "$state/hanging"
  kill -KILL "$leader"
  ended
  has "what is killed leaves something behind" "sleep 1000" "$(left_running)"
  : >"$state/hang"
  beside examples/demo.sh up
  until_so "it says what it waits for" grep -q "  kill" "$machine/said"
  eval "$(typed)"
  ended
  is "as it says, the next one goes on" 0 "$status"
}

broken_off() {
  new_machine
  shows_rows "a demo"
  lacks "nothing was broken off" "interrupted install" "$said"
  lacks "no removal is waited for" "still being removed" "$said"
  touch "$state/pending" "$state/terminating"
  shows_rows "an install that was killed, and a removal that goes on"
  has "the install is told" "operator: removing an interrupted install of an earlier run" "$said"
  has "the removal is waited for" "namespace millrace-demo is still being removed: waiting for it" "$said"
}

another_context() {
  new_machine
  shows_rows "a demo"
  is "the demo never works on kubectl's current context" "" \
    "$(calls | grep -E '^(kubectl|helm) ' | grep -vE '^(kubectl|helm) (--context|--kube-context|version|config)' || true)"
}

for case in nothing_in_the_way no_root root files_of_root port_is_taken engine_half_up lock_is_held nodes_half_there disk_is_full \
  interrupted broken_off another_context; do
  [ $# -gt 0 ] && [[ " $* " != *" $case "* ]] || "$case"
done
verdict

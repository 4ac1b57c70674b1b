# shellcheck shell=bash
# What is there and what is missing, for people and for scripts. Changes nothing.

# Shell lines; scripts say eval "$(cluster/cluster.sh env)".
environment() {
  # shellcheck disable=SC2016 # for the other shell to expand
  printf 'export PATH=%q:"$PATH"\n' "$BIN"
  printf 'export MILLRACE_CONTEXT=%q\n' "$CONTEXT"
  printf 'export MILLRACE_REGISTRY=%q\n' "$REGISTRY"
  printf 'export MILLRACE_NETWORK_POLICY=%q\n' "$(network_policy)"
}

status() {
  local node image
  if ! engine_answers; then
    echo "Docker engine: does not answer (make cluster starts it)"
    return 1
  fi
  if our_dockerd >/dev/null; then echo "Docker engine: started by us, process $(our_dockerd)"; else echo "Docker engine: not ours"; fi
  if ! nodes_exist; then
    echo "cluster: none (make cluster)"
    return 1
  fi
  echo "supplier: $(choose_supplier)"
  for node in "${NODES[@]}"; do
    echo "node $node: $(docker inspect -f '{{.State.Status}}' "$node" 2>/dev/null || echo missing)"
  done
  if registry_answers 2>/dev/null; then echo "registry $REGISTRY: answers"; else echo "registry $REGISTRY: does not answer"; fi
  for image in "${STORE_IMAGES[@]}"; do
    echo "image $image: on $(nodes_with "$(on_node "$image")") of ${#NODES[@]} nodes"
  done
  echo "NetworkPolicy: $(network_policy)"
  kube get nodes -o wide
  if system_ready >/dev/null 2>&1; then echo "cluster: ready"; else echo "cluster: not ready"; return 1; fi
}

nodes_with() { # IMAGE
  local node count=0
  for node in "${NODES[@]}"; do
    [ -z "$(docker exec "$node" ctr -n k8s.io images ls -q "name==$1" 2>/dev/null)" ] || count=$((count + 1))
  done
  echo $count
}

# One line for each need: met, or how to fix it.
doctor() {
  local failed=0
  check "Docker answers, or we are root on Debian and can install it" engine_possible "start Docker and let this user reach it (sudo usermod -aG docker $(id -un), then log in again), or run as root"
  check "Rust $(rust_version) or newer" need_rust "install it with rustup, and put its bin directory on PATH"
  check "C and C++ compilers and make, or apt-get to install them" compilers_or_root "apt-get install gcc g++ make"
  check "Go 1.24 or newer" need_go "install Go and put its bin directory on PATH"
  check "Maven, or apt-get to install it (built supplier only)" command_or_root mvn "apt-get install maven"
  check "Python's pip, or apt-get to install it (built supplier only)" command_or_root pip3 "apt-get install python3-pip"
  check "port $REGISTRY_PORT is free, or our registry has it" registry_port_usable "stop the process that holds it: ss -ltnp"
  check "$(disk_needed) GiB free for $CACHE" enough_disk "free some, or set MILLRACE_CACHE to a larger disk"
  check "8 GiB of memory free" enough_memory "three of each store need 4 GiB; end something large"
  return $failed
}

check() { # WHAT FUNCTION [ARGUMENT] FIX
  local what=$1 fix=${!#}
  shift
  if ("${@:1:$#-1}") >/dev/null 2>&1; then
    printf 'ok       %s\n' "$what"
  else
    printf 'missing  %s\n           fix: %s\n' "$what" "$fix"
    failed=1
  fi
}

engine_possible() { engine_answers || { is_root && command -v apt-get; }; }
compilers_or_root() { have_compilers || { is_root && command -v apt-get; }; }
command_or_root() { command -v "$1" || { is_root && command -v apt-get; }; }
registry_port_usable() { docker inspect "$REGISTRY_NAME" || need_port "$REGISTRY_PORT"; }
enough_disk() { need_disk "$(disk_needed)" "$CACHE"; }
# All that is built and fetched takes up to 20 GiB once; what is there needs no more room.
disk_needed() { if [ -e "$CACHE/cluster-made" ]; then echo 4; else echo 20; fi; }
enough_memory() { [ "$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)" -ge 8 ]; }

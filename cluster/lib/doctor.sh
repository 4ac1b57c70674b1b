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
    echo "node $node: $(docker container inspect -f '{{.State.Status}}' "$node" 2>/dev/null || echo missing)"
  done
  if registry_answers 2>/dev/null; then echo "registry $REGISTRY: answers"; else echo "registry $REGISTRY: does not answer"; fi
  for image in "${STORE_IMAGES[@]}"; do
    echo "image $image: on $(nodes_with "$(on_node "$image")") of ${#NODES[@]} nodes"
  done
  if ! kubectl config get-contexts "$CONTEXT" >/dev/null 2>&1; then
    echo "kubeconfig: has no context $CONTEXT (make cluster writes it)"
    return 1
  fi
  if ! kube get nodes; then
    echo "cluster: does not answer (make cluster brings it back)"
    return 1
  fi
  echo "NetworkPolicy: $(network_policy)"
  if system_ready >/dev/null 2>&1; then echo "cluster: ready"; else echo "cluster: not ready"; return 1; fi
}

nodes_with() { # IMAGE
  local node count=0
  for node in "${NODES[@]}"; do
    [ -z "$(docker exec "$node" ctr -n k8s.io images ls -q "name==$1" 2>/dev/null)" ] || count=$((count + 1))
  done
  echo $count
}

# One line for each need that is met; for the others what is wrong, and how to fix it.
doctor() {
  local failed=0
  check "a Docker engine, or rights to install and start one" need_engine_or_rights
  check "Rust $(rust_version) or newer" need_rust
  check "C and C++ compilers and make" need_compilers
  check "Go 1.24 or newer" need_go
  # An engine is asked who supplies the images. Where there is none, only root comes so far, and root installs packages.
  if engine_answers && [ "$(choose_supplier)" = built ]; then
    check "Debian packages for the images that are built" may_build_images
  fi
  check "port $REGISTRY_PORT for the local registry" need_registry_port
  check "a kubeconfig that this user can write" need_kubeconfig
  check "free disk space" need_room
  check "8 GiB of memory, in addition to a running cluster" need_memory
  return $failed
}

check() { # WHAT FUNCTION
  local said
  if said=$( ("$2") 2>&1 >/dev/null); then
    printf 'ok       %s\n' "$1"
  else
    printf 'missing  %s\n' "$1"
    sed -n '/^error: /,$ { s/^error: /       /; p }' <<<"$said"
    failed=1
  fi
}

need_compilers() { have_compilers || may_install gcc g++ make; }

# All that is built and fetched takes up to 20 GiB once; what is there needs no more room.
need_room() {
  local built=20
  [ ! -e "$MADE" ] || built=4
  need_disk $built "$CACHE"
  need_disk 4 "${CARGO_TARGET_DIR:-$REPOSITORY/target}"
  if engine_answers; then need_disk 4 "$(docker info -f '{{.DockerRootDir}}')"; fi
}

need_memory() {
  local free
  if nodes_run; then return; fi
  free=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
  [ "$free" -ge 8 ] ||
    die "only $free GiB of memory are free, and three of each store need 8" "ps -eo rss,pid,comm --sort -rss | head   (shows the largest processes)"
}

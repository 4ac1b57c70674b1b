# shellcheck shell=bash
# The nodes: made by kind, or found and brought back, or found broken or outdated and made again.

readonly NODE_FILES=$CACHE/node-etc
readonly KIND_CONFIG=$CACHE/kind-config.yaml
# The control-plane container and the recipe it was made from.
readonly MADE=$CACHE/cluster-made
readonly CONTEXT=kind-$CLUSTER_NAME

kube() { kubectl --context "$CONTEXT" --request-timeout 10s "$@"; }

# `official`, where kind's own node image is at hand or can be pulled; else `built`. A cluster keeps its supplier.
choose_supplier() {
  case ${MILLRACE_SUPPLIER:-} in
    official | built) echo "$MILLRACE_SUPPLIER"; return ;;
    '') ;;
    *) die "MILLRACE_SUPPLIER is '$MILLRACE_SUPPLIER'" "set it to official or built, or unset it" ;;
  esac
  local image
  image=$(docker inspect -f '{{.Config.Image}}' "${NODES[0]}" 2>/dev/null || true)
  if [ "$image" = "$BUILT_NODE_IMAGE" ]; then
    echo built
  elif [ -n "$image" ] || docker image inspect "$OFFICIAL_NODE_IMAGE" >/dev/null 2>&1 ||
    timeout 20 docker manifest inspect "$OFFICIAL_NODE_IMAGE" >/dev/null 2>&1; then
    echo official
  else
    echo built
  fi
}

kind_up() { # SUPPLIER
  local image=$OFFICIAL_NODE_IMAGE wanted
  [ "$1" = official ] || image=$BUILT_NODE_IMAGE
  render_config
  wanted="$(recipe "$KIND_CONFIG" "$NODE_FILES") $image $(recipe_of "$image" || true)"
  if nodes_exist && ! nodes_usable "$wanted"; then
    kind delete cluster --name "$CLUSTER_NAME"
  fi
  if ! nodes_exist; then
    [ "$1" = official ] || need_disk 12 "$(docker info -f '{{.DockerRootDir}}')"
    kind create cluster --name "$CLUSTER_NAME" --image "$image" --config "$KIND_CONFIG"
    echo "$(container_id "${NODES[0]}") $wanted" >"$MADE"
  fi
  kind export kubeconfig --name "$CLUSTER_NAME"
}

# kind-config.yaml with what depends on this machine. The nodes mount a copy of cluster/node/etc, since the
# checkout may be gone when they start again; the copy is filled in place, since they have it mounted.
render_config() {
  mkdir -p "$NODE_FILES"
  cp -r "$HERE/node/etc/." "$NODE_FILES"
  sed "s#hostPath: cluster/node/etc#hostPath: $NODE_FILES#" "$REPOSITORY/kind-config.yaml" >"$KIND_CONFIG"
  # containerd inside a node may not lower a process' OOM score either; see engine.sh.
  if lacks_sys_resource; then
    sed -i '/^containerdConfigPatches:/a\
- |-\
  [plugins."io.containerd.grpc.v1.cri"]\
    restrict_oom_score_adj = true' "$KIND_CONFIG"
  fi
}

container_id() { docker inspect -f '{{.Id}}' "$1" 2>/dev/null; }

nodes_found() { docker ps -a --filter "label=io.x-k8s.kind.cluster=$CLUSTER_NAME" --format '{{.Names}}' | sort; }

nodes_exist() { [ -n "$(nodes_found)" ]; }

nodes_run() {
  local node
  for node in "${NODES[@]}"; do
    [ "$(docker container inspect -f '{{.State.Status}}' "$node" 2>/dev/null)" = running ] || return 1
  done
}

# kind writes the cluster's context when all else is made: into the first file of KUBECONFIG that is there, or else its
# last, and beside it a lock.
need_kubeconfig() {
  local file files directory
  IFS=: read -ra files <<<"${KUBECONFIG:-$HOME/.kube/config}"
  for file in "${files[@]}"; do
    [ ! -e "$file" ] || break
  done
  directory=$(existing "$(dirname "$file")")
  if [ ! -d "$directory" ] || [ ! -w "$directory" ] || { [ -e "$file" ] && [ ! -w "$file" ]; }; then
    die "this user cannot write the kubeconfig, $file" "sudo chown -R $(id -un) $(dirname "$file")" \
      "export KUBECONFIG=FILE   (a file that you can write)"
  fi
}

# Whether the nodes there are can serve, once those that are stopped or paused run again.
nodes_usable() { # RECIPE
  local node state
  if [ "$(nodes_found)" != "$(printf '%s\n' "${NODES[@]}" | sort)" ]; then
    note "only some of the three nodes exist: recreating the cluster"
    return 1
  fi
  if [ "$(cat "$MADE" 2>/dev/null)" != "$(container_id "${NODES[0]}") $1" ]; then
    note "the cluster is incomplete or from another recipe: recreating it"
    return 1
  fi
  for node in "${NODES[@]}"; do
    state=$(docker inspect -f '{{.State.Status}}' "$node")
    case $state in
      running) continue ;;
      paused) docker unpause "$node" ;;
      *)
        if ! docker start "$node"; then
          note "$node was $state and does not start: recreating the cluster"
          return 1
        fi
        ;;
    esac
    note "$node was $state: started"
  done
  kind export kubeconfig --name "$CLUSTER_NAME" || return 1
  # Long, for a machine that is busy: to make the cluster again loses all that is in it.
  wait_for 240 nodes_ready && return
  note "the nodes do not become Ready within 240 s: recreating the cluster"
  return 1
}

# All nodes are Ready, and have said so since they were started: after a crash the API server repeats what it last
# heard.
nodes_ready() {
  local node ready renewed started
  for node in "${NODES[@]}"; do
    ready=$(kube get node "$node" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')
    [ "$ready" = True ] || return 1
    renewed=$(kube -n kube-node-lease get lease "$node" -o jsonpath='{.spec.renewTime}')
    started=$(docker inspect -f '{{.State.StartedAt}}' "$node")
    [ "$(date -d "$renewed" +%s)" -gt "$(date -d "$started" +%s)" ] || return 1
  done
}

# What pods need before they can run: addresses, names, volumes.
system_ready() {
  local namespace ready
  nodes_ready || return 1
  for namespace in kube-system local-path-storage; do
    ready=$(kube -n "$namespace" get pods -o jsonpath='{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}')
    [ -n "$ready" ] && ! grep -qvx True <<<"$ready" || return 1
  done
}

cluster_ready() {
  wait_for 120 system_ready || die "the cluster's own pods do not become ready" "kubectl --context $CONTEXT get pods -A" "make cluster-down cluster   (starts over)"
}

# Lets the host reach pods and services, as the tests do. Other hosts than Linux have no use for it.
routes_up() {
  local node cidr address
  [ "$(uname)" = Linux ] || return 0
  command -v ip >/dev/null || ! is_root || need_packages iproute2
  while read -r node cidr address; do
    add_route "$cidr" "$address"
    [ "$node" != "${NODES[0]}" ] || add_route "$SERVICE_CIDR" "$address"
  done < <(kube get nodes -o jsonpath='{range .items[*]}{.metadata.name} {.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}')
}

add_route() { # CIDR ADDRESS
  local route=(ip route replace "$1" via "$2")
  is_root || route=(sudo -n "${route[@]}")
  if ! "${route[@]}"; then
    note "no route to $1: tests that reach pods from the host will fail"
    note "  sudo ip route replace $1 via $2"
  fi
}

nodes_stop() { nodes_found | xargs -r docker stop; }

nodes_down() {
  # Also without kind on PATH, and with an engine that has forgotten half of them.
  nodes_found | xargs -r docker rm -f -v
  [ ! -x "$BIN/kind" ] || kind delete cluster --name "$CLUSTER_NAME"
  rm -f "$MADE"
}

# Both network plugins enforce NetworkPolicy: kind's own since its version 0.24, and podnet. Told by asking, since a
# cluster may have neither.
network_policy() {
  if kube -n kube-system get daemonset kindnet >/dev/null 2>&1 || kube -n kube-system get daemonset podnet >/dev/null 2>&1; then
    echo enforced
  else
    echo not-enforced
  fi
}

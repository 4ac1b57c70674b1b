# shellcheck shell=bash
# The local registry, a container beside the nodes, and the way of an image through it: the host pushes to
# localhost:5001, the nodes pull from it, each layer once. It also stands in for Docker Hub, so that
# `cassandra:5.0.9` in a pod means the image that we loaded. Its volume outlives the cluster.

# By HTTP: Docker's proxy accepts connections before the registry does.
registry_answers() {
  timeout 3 bash -c "exec 3<>/dev/tcp/127.0.0.1/$REGISTRY_PORT && printf 'GET /v2/ HTTP/1.0\r\n\r\n' >&3 && head -1 <&3 | grep -q ' 200 '"
}

registry_up() { # SUPPLIER
  local image
  image=$(registry_image "$1")
  if [ "$(docker inspect -f '{{.State.Running}} {{.Image}}' "$REGISTRY_NAME" 2>/dev/null)" != "true $(docker image inspect -f '{{.Id}}' "$image")" ] ||
    ! registry_answers; then
    docker rm -f "$REGISTRY_NAME" >/dev/null 2>&1 || true
    need_port "$REGISTRY_PORT"
    # Started by hand, after the nodes: on an engine that comes back first come takes the first addresses, and
    # the nodes should find theirs again.
    docker run -d --name "$REGISTRY_NAME" --network kind --restart no -p "127.0.0.1:$REGISTRY_PORT:5000" \
      -v "$REGISTRY_NAME:/var/lib/registry" "$image"
  fi
  wait_for 30 registry_answers || die "the registry at $REGISTRY does not answer" "docker logs $REGISTRY_NAME"
}

# Nobody else has the port of our registry, even while ours is stopped.
need_registry_port() {
  [ "$(docker container inspect -f '{{.State.Running}}' "$REGISTRY_NAME" 2>/dev/null)" = true ] || need_port "$REGISTRY_PORT"
}

need_port() { # PORT
  local container name pid why="image names contain the port, so it cannot change"
  timeout 1 bash -c "</dev/tcp/127.0.0.1/$1" 2>/dev/null || return 0
  container=$(docker ps --filter "publish=$1" --format '{{.Names}}' 2>/dev/null || true)
  [ -z "$container" ] || die "port $1 is taken by container $container; $why" "docker stop $container"
  # Of another user's process neither name nor number is shown.
  read -r name pid < <(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\),.*/\1 \2/p') || true
  [ -z "$pid" ] || die "port $1 is taken by $name (process $pid); $why" "kill $pid"
  die "port $1 is taken by another user's process; $why" "sudo ss -ltnp 'sport = :$1'   (shows it), then: sudo kill PID"
}

# The name under which an image stands in the registry: docker.io's library/ is implied in short names.
in_registry() { # IMAGE
  case $1 in
    "$REGISTRY"/*) echo "$1" ;;
    */*) echo "$REGISTRY/$1" ;;
    *) echo "$REGISTRY/library/$1" ;;
  esac
}

# The name under which a node knows an image.
on_node() { # IMAGE
  case $1 in
    "$REGISTRY"/*) echo "$1" ;;
    */*) echo "docker.io/$1" ;;
    *) echo "docker.io/library/$1" ;;
  esac
}

push_image() { # IMAGE
  local name
  name=$(in_registry "$1")
  [ "$name" = "$1" ] || docker tag "$1" "$name"
  docker push -q "$name"
}

# On this node, makes sure of the images. One exec for all, since an exec costs more than a look.
pull_on_node() { # NODE IMAGE...
  local node=$1
  shift
  # shellcheck disable=SC2016 # expands on the node
  docker exec "$node" bash -ec 'for image; do
      ctr -n k8s.io images pull --hosts-dir /etc/millrace/certs.d "$image" >/dev/null
    done' - "$@"
}

# Pushes images, and pulls them on all nodes at once, so that a pod that names them starts without waiting.
load_images() { # IMAGE...
  local image node names=() jobs=()
  for image; do
    push_image "$image"
    names+=("$(on_node "$image")")
  done
  for node in "${NODES[@]}"; do
    pull_on_node "$node" "${names[@]}" &
    jobs+=($!)
  done
  for node in "${jobs[@]}"; do wait "$node" || die "a node could not pull: ${names[*]}" "cluster/cluster.sh status; the log is in $LOGS"; done
}

# shellcheck shell=bash
# The kind node image, where the official one cannot be pulled: a Debian base with kind's own files, containerd
# and kubelet, and the control plane's images inside containerd's store. /var of a node is an anonymous volume
# that Docker fills from the image, so what is imported here is there when a node starts.

node_image_up() {
  local digest
  debian_image
  digest=$(recipe built/node built/node.sh tools -- "$(recipe_of debian:bookworm-slim)")
  [ "$(recipe_of "$BUILT_NODE_IMAGE")" != "$digest" ] || return 0
  need_packages jq gcc libc6-dev
  need_disk 8 "$CACHE"
  control_plane_images
  node_base_image
  fill_node_image "$digest"
}

control_plane_images() {
  local network=millrace/network:1 program
  build_image $network 1 - <"$HERE/built/node/network.Dockerfile"
  for program in kube-apiserver kube-controller-manager kube-scheduler; do
    program_image registry.k8s.io/"$program:v$KUBERNETES_VERSION" "$BIN/$program"
  done
  program_image registry.k8s.io/kube-proxy:"v$KUBERNETES_VERSION" "$BIN/kube-proxy" /usr/local/bin/kube-proxy $network
  program_image registry.k8s.io/"etcd:$ETCD_TAG" "$BIN/etcd"
  program_image registry.k8s.io/"coredns/coredns:$COREDNS_TAG" "$BIN/coredns" /coredns
  program_image millrace/local-path-provisioner:1 "$BIN/local-path-provisioner"
  program_image millrace/podnet:1 "$BIN/podnet" /usr/local/bin/podnet $network
  gcc -static -Os -o "$WORK/pause" "$HERE/built/node/pause.c"
  # containerd's configuration in kind names 3.10, kubeadm 3.10.1.
  program_image registry.k8s.io/pause:3.10.1 "$WORK/pause" /pause
  docker tag registry.k8s.io/pause:3.10.1 registry.k8s.io/pause:3.10
}

# One program in an otherwise empty image, as the control plane's official images are, or on a base with the
# commands that it calls. Written out, since a Dockerfile cannot spell ENTRYPOINT with a build argument.
program_image() { # IMAGE PROGRAM [PATH [BASE]]
  local directory path=${3:-/usr/local/bin/${2##*/}}
  directory=$(fresh_directory program)
  cp -L "$2" "$directory/program"
  cat >"$directory/Dockerfile" <<DOCKERFILE
FROM ${4:-scratch}
COPY program $path
ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
ENTRYPOINT ["$path"]
DOCKERFILE
  build_image "$1" 1 "$directory" -q
  images_of_node+=("$1")
}

node_base_image() {
  local directory kind
  kind=$(cd "$HERE/tools" && go list -m -f '{{.Dir}}' sigs.k8s.io/kind)
  directory=$(fresh_directory node)
  mkdir "$directory"/{bin,manifests}
  cp -r "$kind/images/base/files" "$directory/"
  chmod -R u+w "$directory/files"
  cp -L "$BIN"/{kubeadm,kubelet,kubectl} "$directory/bin/"
  cp "$HERE/built/node/default-cni.yaml" "$directory/manifests/"
  # kind keeps the manifest of its StorageClass in a Go constant, with the names of two images spliced in.
  # shellcheck disable=SC2016 # Go's quotes, not the shell's
  awk '/^const defaultStorageManifest = `/ { inside = 1; next } /^`/ { inside = 0 } inside' \
    "$kind/pkg/build/nodeimage/const_storage.go" |
    sed -e 's#` + storageProvisionerImage + `#docker.io/millrace/local-path-provisioner:1#' \
      -e 's#` + storageHelperImage + `#docker.io/library/debian:bookworm-slim#' \
      >"$directory/manifests/default-storage.yaml"
  build_image millrace/node-base:1 1 "$directory" -f "$HERE/built/node/Dockerfile" --build-arg "KUBERNETES_VERSION=$KUBERNETES_VERSION"
}

fill_node_image() { # RECIPE
  local filler=millrace-node-filler
  docker rm -f $filler >/dev/null 2>&1 || true
  docker run -d --privileged --name $filler --entrypoint containerd millrace/node-base:1
  wait_for 30 docker exec $filler ctr version
  docker save "${images_of_node[@]}" registry.k8s.io/pause:3.10 debian:bookworm-slim |
    docker exec -i $filler ctr -n k8s.io images import --no-unpack -
  docker stop $filler
  docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' --change 'CMD []' \
    --change "LABEL $RECIPE_LABEL=$1" $filler "$BUILT_NODE_IMAGE"
  docker rm -f $filler
}

# shellcheck shell=bash
# The programs in $BIN. With the official supplier: kind, kubectl and helm. With the built one also all that
# a Kubernetes node runs. They come from one Go module, tools/go.mod, so that what they share is compiled once.

readonly TOOLS_OFFICIAL=(kind kubectl helm)
readonly TOOLS_BUILT=(kind kubectl helm kubeadm kubelet kube-apiserver kube-controller-manager kube-scheduler
  kube-proxy etcd coredns local-path-provisioner podnet)

# The Go package that a program is built from.
package_of() { # PROGRAM
  case $1 in
    kind) echo sigs.k8s.io/kind ;;
    helm) echo helm.sh/helm/v3/cmd/helm ;;
    etcd) echo go.etcd.io/etcd/server/v3 ;;
    coredns | podnet) echo "./$1" ;;
    local-path-provisioner) echo github.com/rancher/local-path-provisioner ;;
    *) echo "k8s.io/kubernetes/cmd/$1" ;;
  esac
}

# Links every program into $BIN.
tools_up() { # SUPPLIER
  local program wanted=("${TOOLS_OFFICIAL[@]}")
  [ "$1" = official ] || wanted=("${TOOLS_BUILT[@]}")
  for program in "${wanted[@]}"; do tool_up "$program" "$1"; done
}

# Links some programs into $BIN, whatever the supplier of the cluster is.
some_tools_up() { # PROGRAM...
  local program
  for program; do
    case " ${TOOLS_OFFICIAL[*]} " in
      *" $program "*) tool_up "$program" official ;;
      *) tool_up "$program" built ;;
    esac
  done
}

# Links a program into $BIN: what this machine has and the official supplier can do with, or what was built.
tool_up() { # PROGRAM SUPPLIER
  local path
  if [ "$2" != official ] || ! path=$(installed "$1"); then
    path=$CACHE/tools/$1-$(tool_recipe "$1")
    [ -x "$path" ] || build_tool_alone "$1" "$path"
  fi
  ln -sfn "$path" "$BIN/$1"
}

# What a program is built from: the pinned modules, and its own folder if it is ours.
tool_recipe() { # PROGRAM
  local paths=(tools/go.mod tools/go.sum)
  [ ! -d "$HERE/tools/$1" ] || paths+=("tools/$1")
  recipe "${paths[@]}" -- "$KUBERNETES_VERSION"
}

# Prints the path of a program that this machine has, if it is new enough.
installed() { # PROGRAM
  local path version
  path=$(PATH=${PATH#"$BIN:"} command -v "$1") || return 1
  case $1 in
    kind) version=0.30.0 ;;
    kubectl) version=1.33.0 ;;
    helm) version=3.14.0 ;;
  esac
  { echo "$version"; "$path" version --client 2>/dev/null || "$path" version; } |
    grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -2 | sort -VC && echo "$path"
}

# One builder at a time: whoever waits finds it built.
build_tool_alone() { # PROGRAM PATH
  mkdir -p "$CACHE/tools"
  (
    flock 8
    [ -x "$2" ] || build_tool "$1" "$2"
  ) 8>"$CACHE/tools/$1.lock"
}

# Builds under a second name first: a program that is there is whole.
build_tool() { # PROGRAM PATH
  local began=$SECONDS version=k8s.io/component-base/version
  need_go
  need_disk 8 "$CACHE"
  (cd "$HERE/tools" && CGO_ENABLED=0 go build -trimpath \
    -ldflags "-s -w -X $version.gitVersion=v$KUBERNETES_VERSION -X $version.gitMajor=1 -X $version.gitMinor=34" \
    -o "$2.new" "$(package_of "$1")")
  mv "$2.new" "$2"
  note "$1 built in $((SECONDS - began)) s"
}

need_go() {
  local version
  version=$(go env GOVERSION 2>/dev/null | sed 's/^go//')
  [ -n "$version" ] && printf '1.24\n%s\n' "$version" | sort -VC && return
  die "Go 1.24 or newer is needed, and there is ${version:-none}" "install it and put its bin directory on PATH"
}

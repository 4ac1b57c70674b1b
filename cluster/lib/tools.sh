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
  if [ "$1" = official ]; then
    link_tools official "${TOOLS_OFFICIAL[@]}"
  else
    link_tools built "${TOOLS_BUILT[@]}"
  fi
}

# Links some programs into $BIN, whatever the supplier of the cluster is.
some_tools_up() { # PROGRAM...
  local program
  for program; do
    case " ${TOOLS_OFFICIAL[*]} " in
      *" $program "*) link_tools official "$program" ;;
      *) link_tools built "$program" ;;
    esac
  done
}

# Links programs into $BIN: what this machine has and the official supplier can do with, or what is built. One builder
# at a time: the next one finds them built.
link_tools() { # SUPPLIER PROGRAM...
  local supplier=$1 program missing=()
  shift
  mkdir -p "$CACHE/tools"
  exec 8>"$CACHE/tools/lock"
  take_lock 8 "$CACHE/tools/lock"
  for program; do
    [ -x "$(path_of "$supplier" "$program")" ] || missing+=("$program")
  done
  [ ${#missing[@]} -eq 0 ] || build_tools "${missing[@]}"
  exec 8>&-
  for program; do ln -sfn "$(path_of "$supplier" "$program")" "$BIN/$program"; done
}

path_of() { # SUPPLIER PROGRAM
  [ "$1" = official ] && installed "$2" || built_path "$2"
}

# Where a program that is built here lies.
built_path() { # PROGRAM
  echo "$CACHE/tools/$1-$(tool_recipe "$1")"
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

# Builds programs. The volume provisioner has a command of its own: it imports a logger whose path differs only in case
# from what the others import, and one command refuses both.
build_tools() { # PROGRAM...
  local program together=()
  need_go
  need_disk 8 "$CACHE"
  for program; do
    if [ "$program" != local-path-provisioner ]; then together+=("$program"); fi
  done
  cd "$HERE/tools" || return
  [ ${#together[@]} -eq 0 ] || go_build "${together[@]}"
  [ ${#together[@]} -eq $# ] || go_build local-path-provisioner
}

# Builds programs by one command, so that one is linked while others are compiled. In a directory of their own first:
# a program in the cache is whole.
go_build() { # PROGRAM...
  local began=$SECONDS program directory log=$LOGS/go-build.log packages=() version=k8s.io/component-base/version
  directory=$(fresh_directory go-build)
  for program; do packages+=("$(package_of "$program")"); done
  note "fetching Go modules"
  GO_PACKAGES=$(CGO_ENABLED=0 go list -deps "${packages[@]}" | wc -l)
  : >"$log"
  with_progress "go build" packages go_packages_built env CGO_ENABLED=0 go build -v -trimpath \
    -ldflags "-s -w -X $version.gitVersion=v$KUBERNETES_VERSION -X $version.gitMajor=1 -X $version.gitMinor=34" \
    -o "$directory/" "${packages[@]}" 2> >(tee "$log" >&2)
  for program; do mv "$directory/$(executable_of "$program")" "$(built_path "$program")"; done
  note "$# programs built in $((SECONDS - began)) s"
}

# The name that Go gives the executable of a package: its last element that is no version.
executable_of() { # PROGRAM
  local package
  package=$(package_of "$1")
  basename "${package%/v[0-9]}"
}

# How far `go build -v` is, by the packages that it names.
go_packages_built() {
  local built
  built=$(grep -cE '^[[:alnum:]][[:alnum:].-]*(/[^ ]+)*$' "$LOGS/go-build.log")
  # The last programs are linked when all packages are compiled.
  echo "$built $GO_PACKAGES $((90 * built / GO_PACKAGES))"
}

# The oldest Rust that the workspace takes.
rust_version() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$REPOSITORY/Cargo.toml"; }

need_rust() {
  local version
  version=$(cd "$REPOSITORY" && cargo --version 2>/dev/null | cut -d' ' -f2)
  [ -n "$version" ] && printf '%s\n' "$(rust_version)" "$version" | sort -VC && return
  die "Rust $(rust_version) or newer is needed; found: ${version:-none}" "install it with rustup, and put its bin directory on PATH"
}

have_compilers() { command -v cc && command -v c++ && command -v make; } >/dev/null

need_go() {
  local version
  version=$(go env GOVERSION 2>/dev/null | sed 's/^go//')
  [ -n "$version" ] && printf '1.24\n%s\n' "$version" | sort -VC && return
  die "Go 1.24 or newer is needed; found: ${version:-none}" "install it and put its bin directory on PATH"
}

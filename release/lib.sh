# shellcheck shell=bash
# What push.sh and release.sh decide without an engine, a registry or a clock: names, versions, notes, manifests. Texts in,
# texts out; release/test.sh tries each function. A function `…_fault` prints nothing where all is well, else what is wrong
# and how to fix it, with a tab between them.

# Programs that have an image, in the order of the chart's values.
# shellcheck disable=SC2034 # used by the files that source this one
readonly IMAGES=(operator worker console)

registry_fault() { # REGISTRY
  local component='[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*' host='[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?'
  case $1 in
    '') printf 'REGISTRY is missing\tname where images go: REGISTRY=registry.example.com/team\n'; return ;;
    *://*) printf "REGISTRY '%s' has a scheme\tleave it out: REGISTRY=%s\n" "$1" "${1#*://}"; return ;;
  esac
  if ! [[ $1 =~ ^$host(/$component)*$ ]]; then
    printf "REGISTRY '%s' is not a valid host/path\tuse lower case, no tag and no slash at the end: registry.example.com/team\n" "$1"
  elif [[ ${1%%/*} != localhost && ${1%%/*} != *[.:]* ]]; then
    printf "REGISTRY '%s' has no host\tname it: REGISTRY=docker.io/%s\n" "$1" "$1"
  fi
}

tag_fault() { # TAG
  [[ $1 =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] ||
    printf "TAG '%s' is not a valid tag\tuse letters, digits, '.', '_' and '-', at most 128: TAG=1.2.3\n" "$1"
}

# What a failed push means.
push_fault() { # REGISTRY OUTPUT
  local host=${1%%/*}
  case $2 in
    *denied* | *unauthorized* | *"authentication required"* | *"no basic auth credentials"*)
      printf '%s does not accept a push from this account\tdocker login %s, as an account that may write to %s\n' "$1" "$host" "$1" ;;
    *"server gave HTTP response to HTTPS client"*)
      printf '%s serves plain HTTP, which the engine refuses\tadd "%s" to insecure-registries in /etc/docker/daemon.json and restart Docker\n' "$host" "$host" ;;
    *x509:* | *"certificate signed by unknown authority"*)
      printf 'the engine does not trust the certificate of %s\tcopy its CA to /etc/docker/certs.d/%s/ca.crt\n' "$host" "$host" ;;
    *"no such host"* | *"connection refused"* | *"i/o timeout"* | *"network is unreachable"* | *"Client.Timeout"*)
      printf '%s cannot be reached by the engine\tcheck the name, and the network and proxy of the Docker engine\n' "$host" ;;
    *"name unknown"* | *"repository does not exist"*)
      printf '%s has no such repository\tcreate it there first: some registries do not create one at a push\n' "$1" ;;
    *) printf 'the push to %s failed: %s\trepeat it by hand: docker push\n' "$1" "$(tail -n 1 <<<"$2")" ;;
  esac
}

# Whether nodes of these architectures run images of one architecture. Prints advice; nothing if all nodes do.
nodes_advice() { # ARCHITECTURE NODE-ARCHITECTURE...
  local architecture=$1 node same=0 others=()
  shift
  for node; do
    if [ "$node" = "$architecture" ]; then same=1; else others+=("$node"); fi
  done
  [ ${#others[@]} -gt 0 ] || return 0
  if [ $same = 0 ]; then
    echo "the nodes of kubectl's current context are ${others[*]}, and the images are $architecture: they do not start there; run make push on a machine of that architecture"
  else
    echo "some nodes of kubectl's current context are ${others[*]}, and the images are $architecture: add --set-string 'nodeSelector.kubernetes\\.io/arch=$architecture', and the same to podTemplate of producer and processor"
  fi
}

# Whether a registry is on this machine and serves plain HTTP.
is_local() { # REGISTRY
  case ${1%%/*} in localhost | localhost:* | 127.0.0.1:*) return 0 ;; *) return 1 ;; esac
}

# The name of a program's image in a registry.
remote_image() { # REGISTRY PROGRAM TAG
  echo "$1/millrace-$2:$3"
}

# The command that installs the chart with images of a registry. Strings throughout: a tag may look like a number.
install_line() { # REGISTRY OPERATOR-TAG WORKER-TAG CONSOLE-TAG
  printf '%s \\\n' "helm upgrade --install millrace charts/millrace --namespace millrace-system --create-namespace --wait" \
    "  --set-string image.repository=$1/millrace-operator --set-string image.tag=$2" \
    "  --set-string worker.image.repository=$1/millrace-worker --set-string worker.image.tag=$3"
  printf '%s\n' "  --set-string console.image.repository=$1/millrace-console --set-string console.image.tag=$4"
}

workspace_version() { # DIRECTORY
  awk -F '"' '/^\[/ { on = $0 == "[workspace.package]" } on && /^version = / { print $2 }' "$1/Cargo.toml"
}

# Also what makes a version safe in paths.
version_fault() { # VERSION
  local number='(0|[1-9][0-9]*)'
  [[ $1 =~ ^$number\.$number\.$number(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$ ]] ||
    printf "'%s' is not a valid version\tuse one such as 1.2.3 or 1.2.3-rc.1\n" "$1"
}

# What in a checkout is of another version, a line each; nothing if all agree.
version_faults() { # DIRECTORY VERSION
  local found line chart=$1/charts/millrace/Chart.yaml
  found=$(workspace_version "$1")
  [ "$found" = "$2" ] || echo "Cargo.toml: workspace.package.version is ${found:-missing}, not $2"
  found=$(awk -F '"' '/^name = "millrace-operator"$/ { getline; print $2 }' "$1/Cargo.lock")
  [ "$found" = "$2" ] || echo "Cargo.lock: millrace-operator is ${found:-missing}, not $2; run cargo update --workspace"
  for line in version appVersion; do
    found=$(sed -n "s/^$line: *//p" "$chart" | tr -d '"')
    [ "$found" = "$2" ] || echo "charts/millrace/Chart.yaml: $line is ${found:-missing}, not $2"
  done
  while read -r found; do
    [ "${found##*:}" = "$2" ] || echo "charts/millrace/Chart.yaml: artifacthub.io/images has $found, not $2"
  done < <(sed -n 's/^ *image: *\(millrace\/.*\)$/\1/p' "$chart")
}

# The entries of a version (or of Unreleased) in the changelog, without its heading. Fails if there are none.
notes_of() { # CHANGELOG VERSION
  awk -v version="$2" '
    /^## / { on = $0 == "## " version || index($0, "## " version " - ") == 1; next }
    on && /^- / { entries++ }
    on && (started || !/^ *$/) { started = 1; text = text $0 "\n"; if (!/^ *$/) whole = text }
    END { printf "%s", whole; exit (entries == 0) }' "$1"
}

# Release notes on standard input → the annotation artifacthub.io/changes: the first sentence of each entry, without links.
changes_of() {
  sed -E 's/\[([^]]*)\]\([^)]*\)/\1/g' | awk '
    function flush() {
      if (entry == "") return
      sub(/\. [A-Z`].*/, ".", entry)
      gsub(/["\\]/, "\\\\&", entry)
      printf "    - kind: %s\n      description: \"%s\"\n", kind, entry
      entry = ""
    }
    BEGIN { print "  artifacthub.io/changes: |"; kind = "changed" }
    /^### / { flush(); kind = tolower($2); next }
    /^- / { flush(); entry = substr($0, 3); next }
    /^  / && entry != "" { entry = entry " " substr($0, 3); next }
    { flush() }
    END { flush() }'
}

# A file of the chart on standard input, with our images in a registry.
chart_for() { # REGISTRY
  sed -E "s#^( *(repository|image): )millrace/(operator|worker|console)#\1$1/millrace-\3#"
}

# The manifest for krew. Fails where a checksum is not one, or there is no platform.
render_krew() { # TEMPLATE VERSION DOWNLOADS ARCHITECTURE=SHA256...
  local template=$1 version=$2 downloads=$3 platform
  shift 3
  [ $# -gt 0 ] || return 1
  for platform; do [[ $platform =~ ^[a-z0-9]+=[0-9a-f]{64}$ ]] || return 1; done
  sed "/^  platforms:/q; s#@VERSION@#$version#g" "$template"
  for platform; do
    sed "1,/^  platforms:/d; s#@VERSION@#$version#g; s#@DOWNLOADS@#$downloads#g; s#@ARCHITECTURE@#${platform%%=*}#g; s#@SHA256@#${platform#*=}#g" "$template"
  done
}

# A Dockerfile of ours on standard input → one for another architecture, which runs nothing as it is built: the base by its
# digest, the CA certificates from the build's directory.
foreign_dockerfile() { # BASE
  awk -v base="$1" '
    running { running = /\\$/; next }
    /^FROM / { print "FROM " base; next }
    /^RUN / { print "COPY ca-certificates.crt /etc/ssl/certs/"; running = /\\$/; next }
    { print }'
}

triple_of() { # ARCHITECTURE
  case $1 in amd64) echo x86_64-unknown-linux-gnu ;; arm64) echo aarch64-unknown-linux-gnu ;; *) return 1 ;; esac
}

# The prefix of GNU's compilers for an architecture.
gnu_of() { # ARCHITECTURE
  case $1 in amd64) echo x86_64-linux-gnu ;; arm64) echo aarch64-linux-gnu ;; *) return 1 ;; esac
}

# What readelf calls an architecture.
machine_of() { # ARCHITECTURE
  case $1 in amd64) echo 'Advanced Micro Devices X86-64' ;; arm64) echo AArch64 ;; *) return 1 ;; esac
}

# shellcheck shell=bash
# Images that are built here. Each carries the digest of its recipe as a label, and is built again only when
# that digest changes; the digest covers the base image's, so a new base rebuilds what stands on it.

readonly RECIPE_LABEL=dev.millrace.recipe

# Prints an image's recipe (empty if it came from elsewhere), or fails if there is no such image.
recipe_of() { # IMAGE
  docker image inspect -f "{{index .Config.Labels \"$RECIPE_LABEL\"}}" "$1" 2>/dev/null
}

# The classic builder, since every Docker has it. On the host's network, since that is the one known to work.
build_image() { # IMAGE RECIPE DIRECTORY [OPTION...]
  local image=$1 digest=$2 directory=$3
  shift 3
  DOCKER_BUILDKIT=0 docker build --network host --force-rm --label "$RECIPE_LABEL=$digest" -t "$image" "$@" "$directory"
}

# What an earlier recipe made, once a newer image has taken its name.
forget_outdated_images() { docker image prune -f --filter "label=$RECIPE_LABEL"; }

# An empty directory to build in.
fresh_directory() { # NAME
  rm -rf "${WORK:?}/$1"
  mkdir -p "$WORK/$1"
  echo "$WORK/$1"
}

# The local registry: the official image or Debian's package of the same server.
registry_image() { # SUPPLIER
  if [ "$1" = official ]; then echo registry:2; else echo millrace/registry:2; fi
}

registry_image_up() { # SUPPLIER
  local image digest
  image=$(registry_image "$1")
  if [ "$1" = official ]; then
    docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image"
    return
  fi
  debian_image
  digest=$(recipe built/registry -- "$(recipe_of debian:bookworm-slim)")
  [ "$(recipe_of "$image")" = "$digest" ] || build_image "$image" "$digest" "$HERE/built/registry"
}

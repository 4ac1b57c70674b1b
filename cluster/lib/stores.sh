# shellcheck shell=bash
# The store images, with the official images' names and contract (docs/images.md): pulled, or built (built/stores.sh).

stores_up() { # SUPPLIER
  local image
  if [ "$1" = official ]; then
    for image in "${STORE_IMAGES[@]}"; do
      docker image inspect "$image" >/dev/null 2>&1 || docker pull -q "$image"
    done
  else
    build_stores
  fi
}

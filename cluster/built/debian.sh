# shellcheck shell=bash
# The base of every image that is built here, and the Debian packages that building takes.

# Dies where an image is still to be built, and packages are missing that we cannot install.
may_build_images() {
  local packages
  mapfile -t packages < <(packages_of_builds)
  may_install "${packages[@]}"
}

# The packages of all images at once, and not one after the other between builds of minutes.
packages_up() {
  local packages
  mapfile -t packages < <(packages_of_builds)
  need_packages "${packages[@]}"
}

# Prints the packages that the images take which are not there. An outdated image had its packages when it was built.
packages_of_builds() {
  local image
  has_debian_image || echo mmdebstrap
  recipe_of "$BUILT_NODE_IMAGE" >/dev/null || printf '%s\n' jq gcc libc6-dev
  for image in "${STORE_IMAGES[@]}"; do
    if recipe_of "$image" >/dev/null; then continue; fi
    command -v mvn >/dev/null || echo maven
    python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
    return
  done
}

# One that was pulled before the registry went out of reach does too.
has_debian_image() {
  case $(recipe_of debian:bookworm-slim || echo none) in
    "$(recipe built/debian)" | '') ;;
    *) return 1 ;;
  esac
}

# debian:bookworm-slim from Debian's packages.
debian_image() {
  local digest
  if has_debian_image; then return; fi
  digest=$(recipe built/debian)
  need_packages mmdebstrap
  need_disk 4 "$WORK"
  "$HERE/built/debian/build.sh" "$DEBIAN_RELEASE" "$WORK/debian.tar"
  docker import --change 'CMD ["bash"]' --change "LABEL $RECIPE_LABEL=$digest" "$WORK/debian.tar" debian:bookworm-slim
  rm -f "$WORK/debian.tar"
}

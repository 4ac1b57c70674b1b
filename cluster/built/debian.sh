# shellcheck shell=bash
# The base of every image that is built here.

# debian:bookworm-slim from Debian's packages. One that was pulled before the registry went out of reach does too.
debian_image() {
  local digest
  digest=$(recipe built/debian)
  case $(recipe_of debian:bookworm-slim || echo none) in
    "$digest" | '') return 0 ;;
  esac
  need_packages mmdebstrap
  need_disk 4 "$WORK"
  "$HERE/built/debian/build.sh" "$DEBIAN_RELEASE" "$WORK/debian.tar"
  docker import --change 'CMD ["bash"]' --change "LABEL $RECIPE_LABEL=$digest" "$WORK/debian.tar" debian:bookworm-slim
  rm -f "$WORK/debian.tar"
}

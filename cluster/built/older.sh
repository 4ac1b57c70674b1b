# shellcheck shell=bash
# Versions of the stores beside the current ones, for tests that upgrade: the current recipe with another version in its pom.

# Builds an image of another version, as build_store does the current one.
build_older() { # IMAGE
  local store=${1%%:*} version=${1##*:} current digest directory
  store=${store##*/}
  current=$(current_version "$store") || die "no store is called '$store'" "cluster/cluster.sh older zookeeper:3.9.3"
  digest=$(recipe "built/stores/$store" built/older.sh -- "$version" "$(recipe_of millrace/jre:17)")
  [ "$(recipe_of "$1")" != "$digest" ] || return 0
  directory=$(fresh_directory "$store-$version")
  cp -r "$HERE/built/stores/$store/." "$directory"
  sed -i "s|<version>$current</version>|<version>$version</version>|" "$directory/pom.xml"
  case $store in
    kafka) jars_into "$directory" libs ;;
    zookeeper) jars_into "$directory" lib ;;
    cassandra)
      jars_into "$directory" lib
      python_into "$directory" python
      ;;
  esac
  build_image "$1" "$digest" "$directory"
}

current_version() { # STORE
  local image
  for image in "${STORE_IMAGES[@]}"; do
    if [[ $image =~ (^|/)"$1": ]]; then echo "${image##*:}"; return; fi
  done
  return 1
}

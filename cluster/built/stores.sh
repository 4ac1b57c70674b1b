# shellcheck shell=bash
# The store images, built from Debian's Java, the servers' jars on Maven and the launchers in stores/.

build_stores() {
  local image jobs=() job
  debian_image
  build_if_changed millrace/jre:17 built/stores/jre debian:bookworm-slim
  for image in "${STORE_IMAGES[@]}"; do
    build_store "$image" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done
}

build_if_changed() { # IMAGE RECIPE-DIRECTORY BASE
  local digest
  digest=$(recipe "$2" -- "$(recipe_of "$3")")
  [ "$(recipe_of "$1")" = "$digest" ] || build_image "$1" "$digest" "$HERE/$2"
}

build_store() { # IMAGE
  local store=${1%%:*} digest directory
  store=${store##*/}
  digest=$(recipe "built/stores/$store" built/stores.sh -- "$(recipe_of millrace/jre:17)")
  [ "$(recipe_of "$1")" != "$digest" ] || return 0
  directory=$(fresh_directory "$store")
  cp -r "$HERE/built/stores/$store/." "$directory"
  # The jars lie where the official image has them: kafka/libs, cassandra/lib.
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

jars_into() { # DIRECTORY-WITH-POM SUBDIRECTORY
  command -v mvn >/dev/null || need_packages maven
  (cd "$1" && mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$2")
  # Native libraries of other systems.
  rm -f "$1/$2"/*-{osx,windows}-* "$1/$2"/*{aarch_64,riscv64}*
}

# For the image's Python (Debian 12 has 3.11), not for the one that runs here.
python_into() { # DIRECTORY-WITH-REQUIREMENTS SUBDIRECTORY
  local pip=(python3 -m pip)
  "${pip[@]}" --version >/dev/null 2>&1 || { need_packages python3-pip; pip=(/usr/bin/python3 -m pip); }
  "${pip[@]}" install -q --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux2014_x86_64 \
    --platform manylinux_2_28_x86_64 --target "$1/$2" -r "$1/requirements.txt"
}

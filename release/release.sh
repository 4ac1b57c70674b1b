#!/usr/bin/env bash
# Makes a release: programs, images, chart, SBOMs, the krew manifest, notes, checksums and signatures, all of it in
# target/releases/VERSION. docs/release.md has the steps that people take.
#   release.sh VERSION                      dry run: pushes to the cluster's local registry, and pulls and checks what it pushed
#   release.sh VERSION --publish REGISTRY   the same with a registry that others reach; refuses what a dry run only reports
#   release.sh VERSION --programs           only compiles this machine's programs, into target/release-programs, for a release that
#                                           is made on another
#
# RELEASE_PROGRAMS=ARCHITECTURE=DIRECTORY  programs that --programs made on a machine of the other architecture
# RELEASE_DOWNLOADS=URL                    where the files will be downloaded from, for the krew manifest
# COSIGN_PRIVATE_KEY, COSIGN_PASSWORD      the key that signs, as cosign writes it; a dry run without one makes a throw-away key
# GH_TOKEN, GITHUB_REPOSITORY              with --publish: where the files become a release on GitHub
# MILLRACE_BINARIES=DIRECTORY              ready programs of this architecture, to skip cargo
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/../cluster/lib/base.sh"
. "$HERE/lib/progress.sh"
. "$HERE/lib/engine.sh"
. "$HERE/lib/tools.sh"
. "$HERE/lib/images.sh"
. "$HERE/lib/registry.sh"
. "$HERE/built/debian.sh"
. "$REPOSITORY/release/lib.sh"
. "$REPOSITORY/release/images.sh"

# Served by the Go module proxy, and verified by its checksum database.
readonly SYFT=github.com/anchore/syft/cmd/syft@v1.57.1
readonly COSIGN=github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5
readonly RELEASE_TOOLS=$CACHE/release-tools
readonly TARGET=${CARGO_TARGET_DIR:-$REPOSITORY/target}

usage() { sed -n '4,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

# What this release lacks: a line now, and again at the end.
leave_out() { # WHAT
  note "NOTE: $1"
  echo "$1" >>"$WORKSHOP/left-out"
}

# --- checks ---

# What a dry run may still lack.
unfinished() {
  notes_of "$REPOSITORY/CHANGELOG.md" "$VERSION" >/dev/null || echo "CHANGELOG.md has no section '## $VERSION - YYYY-MM-DD' with entries"
  [ -z "$(git -C "$REPOSITORY" status --porcelain)" ] || echo "the tree has changes that are not committed: git status"
  git -C "$REPOSITORY" tag --points-at HEAD | grep -qFx "v$VERSION" || echo "HEAD does not have the tag v$VERSION"
}

check() {
  local found line
  found=$(version_faults "$REPOSITORY" "$VERSION")
  [ -z "$found" ] || die "this checkout is not version $VERSION:"$'\n'"$(sed 's/^/  - /' <<<"$found")" "docs/release.md, step 1"
  found=$(unfinished)
  [ -n "$found" ] || return 0
  [ -z "$PUBLISH" ] || die "version $VERSION is not finished:"$'\n'"$(sed 's/^/  - /' <<<"$found")" "docs/release.md, step 1"
  while read -r line; do leave_out "a release would be refused: $line"; done <<<"$found"
}

# --- programs ---

# The command, compiled after the images' programs: the same crates.
command_built() {
  [ -n "${MILLRACE_BINARIES:-}" ] || (cd "$REPOSITORY" && cargo build --locked --workspace --release --bin millrace)
}

# Copies programs to where the other steps find them. A directory that an archive was unpacked into may have lost the
# permission to run them.
collect() { # ARCHITECTURE DIRECTORY PROGRAM...
  local architecture=$1 directory=$2 program file
  shift 2
  for program; do
    file=$directory/$program
    [ -f "$file" ] || die "there is no program $file" "release/release.sh $VERSION --programs, on a machine of $architecture"
    readelf -h "$file" | grep -qF "$(machine_of "$architecture")" ||
      die "$file is not a program of $architecture" "compile it there: release/release.sh $VERSION --programs"
    strip_for "$architecture" "$file" "$PROGRAMS/$architecture/$program"
  done
}

# Programs of another machine are stripped already.
strip_for() { # ARCHITECTURE FROM TO
  install -D -m 755 "$2" "$3"
  [ "$1" != "$(architecture)" ] || strip "$3"
}

own_programs() {
  local directory=${MILLRACE_BINARIES:-$TARGET/release}
  collect "$(architecture)" "$directory" "${IMAGES[@]}" millrace
}

other_architecture() { if [ "$(architecture)" = amd64 ]; then echo arm64; else echo amd64; fi; }

# What this machine lacks to compile for an architecture.
cross_lacks() { # ARCHITECTURE
  local triple gnu
  triple=$(triple_of "$1") gnu=$(gnu_of "$1")
  [ -d "$(rustc --print target-libdir --target "$triple")" ] || echo "Rust's library for $triple (rustup target add $triple)"
  command -v "$gnu-g++" >/dev/null || echo "$gnu-g++ (Debian: g++-${gnu//_/-})"
}

# librdkafka's configure knows CC, CXX and AR only, so the programs of the build itself name their own.
cross_compile() { # ARCHITECTURE
  local triple gnu host bins=() program
  triple=$(triple_of "$1") gnu=$(gnu_of "$1") host=$(rustc -vV | sed -n 's/^host: //p')
  for program in "${IMAGES[@]}" millrace; do bins+=(--bin "$program"); done
  cd "$REPOSITORY" || return
  env "CC=$gnu-gcc" "CXX=$gnu-g++" "AR=$gnu-ar" "CC_${host//-/_}=cc" "CXX_${host//-/_}=c++" "AR_${host//-/_}=ar" \
    "CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$triple")_LINKER=$gnu-gcc" \
    cargo build --locked --workspace --release --target "$triple" "${bins[@]}"
  collect "$1" "$TARGET/$triple/release" "${IMAGES[@]}" millrace
}

# Sets nothing and may do nothing: whether there are programs of the other architecture is whether their directory is there.
other_programs() {
  local other lacks
  other=$(other_architecture)
  if [ -n "${RELEASE_PROGRAMS:-}" ]; then
    [ "${RELEASE_PROGRAMS%%=*}" = "$other" ] ||
      die "RELEASE_PROGRAMS is '$RELEASE_PROGRAMS', and this machine lacks $other" "RELEASE_PROGRAMS=$other=DIRECTORY"
    collect "$other" "${RELEASE_PROGRAMS#*=}" "${IMAGES[@]}" millrace
    return
  fi
  lacks=$(cross_lacks "$other" | paste -sd, | sed 's/,/, /g')
  if [ -n "$lacks" ]; then
    leave_out "no programs and images for $other: this machine lacks $lacks, and RELEASE_PROGRAMS is not set"
    return
  fi
  cross_compile "$other"
}

architectures() { ls "$PROGRAMS"; }

# --- images: millrace-PROGRAM:VERSION-ARCHITECTURE, in the engine alone ---

local_image() { echo "millrace-$1:$VERSION-$2"; } # PROGRAM ARCHITECTURE

own_images() {
  local program image said
  for program in "${IMAGES[@]}"; do
    image=${program^^}_IMAGE
    docker tag "${!image}" "$(local_image "$program" "$(architecture)")"
    said=$(need_start "${!image}")
    grep -qwF "$VERSION" <<<"$said" || [ -z "$PUBLISH" ] || die "the program is not version $VERSION: $said" "compile it anew"
    note "$said"
  done
}

# Nothing of another architecture runs as its image is built, so no emulation is needed: the base is taken by its digest,
# since its name stands for this machine's, and the CA certificates come from an image of ours.
other_images() {
  local other base program directory
  other=$(other_architecture)
  [ -d "$PROGRAMS/$other" ] || return 0
  base=$(docker manifest inspect debian:bookworm-slim 2>/dev/null |
    jq -r --arg arch "$other" '[.manifests[]? | select(.platform.os == "linux" and .platform.architecture == $arch)][0].digest // empty') || true
  if [ -z "$base" ] || ! docker pull "debian@$base"; then
    leave_out "no images for $other: their base, debian:bookworm-slim for $other, cannot be pulled from here"
    return
  fi
  for program in "${IMAGES[@]}"; do
    directory=$(fresh_directory "image-$other-$program")
    cp "$PROGRAMS/$other/$program" "$directory/"
    docker run --rm --network none --entrypoint cat "$(local_image "$program" "$(architecture)")" /etc/ssl/certs/ca-certificates.crt >"$directory/ca-certificates.crt"
    foreign_dockerfile "debian@$base" <"$HERE/images/$program.Dockerfile" >"$directory/Dockerfile"
    build_image "$(local_image "$program" "$other")" 1 "$directory" --platform "linux/$other"
    [ "$(docker image inspect -f '{{.Architecture}}' "$(local_image "$program" "$other")")" = "$other" ] ||
      die "the image of $program for $other came out for another architecture" "docker image inspect $(local_image "$program" "$other")"
    echo "$program $other" >>"$WORKSHOP/other-images"
  done
}

# The architectures that a program has an image for.
image_architectures() { # PROGRAM
  architecture
  sed -n "s/^$1 //p" "$WORKSHOP/other-images" 2>/dev/null || true
}

# --- chart ---

package_chart() {
  local chart=$WORKSHOP/chart/millrace file
  mkdir -p "$WORKSHOP/chart"
  cp -r "$REPOSITORY/charts/millrace" "$chart"
  for file in values.yaml Chart.yaml; do chart_for "$REGISTRY_PATH" <"$REPOSITORY/charts/millrace/$file" >"$chart/$file"; done
  changes_of <"$OUT/notes.md" >>"$chart/Chart.yaml"
  helm lint --quiet "$chart"
  helm package "$chart" --destination "$OUT"
  need_chart "$OUT/millrace-$VERSION.tgz"
}

# A packaged chart names our images where they will be, and in its own version.
need_chart() { # FILE
  local rendered program
  rendered=$(helm template millrace "$1" --set console.enabled=true)
  for program in "${IMAGES[@]}"; do
    grep -qF "$(remote_image "$REGISTRY_PATH" "$program" "$VERSION")" <<<"$rendered" ||
      die "the chart does not name $(remote_image "$REGISTRY_PATH" "$program" "$VERSION")" "helm template millrace $1, and chart_for in release/lib.sh"
  done
}

# --- tools, SBOMs ---

# Prints the path of a Go program of a pinned version, built where it is missing.
tool() { # PACKAGE@VERSION
  local name=${1%@*}
  name=${name##*/}
  local directory=$RELEASE_TOOLS/$name-${1##*@}
  if ! [ -x "$directory/$name" ]; then
    need_go
    need_disk 8 "$CACHE"
    env CGO_ENABLED=0 "GOBIN=$directory" go install -trimpath "$1" >&2
  fi
  echo "$directory/$name"
}

# What is in each image, and what the programs are made of: crates of Cargo.lock, those of tests among them, and packages of
# the console's page.
sboms() {
  local syft program architecture locks=$WORKSHOP/locks
  syft=$(tool "$SYFT")
  export SYFT_CHECK_FOR_APP_UPDATE=false
  for program in "${IMAGES[@]}"; do
    for architecture in $(image_architectures "$program"); do
      "$syft" scan "docker:$(local_image "$program" "$architecture")" -o "cyclonedx-json=$OUT/millrace-$program-$VERSION-$architecture.cdx.json"
    done
  done
  mkdir -p "$locks/console/web"
  cp "$REPOSITORY/Cargo.lock" "$locks/"
  cp "$REPOSITORY"/console/web/package{,-lock}.json "$locks/console/web/"
  "$syft" scan "dir:$locks" --source-name millrace --source-version "$VERSION" -o "cyclonedx-json=$OUT/millrace-$VERSION.cdx.json"
  # An SBOM that lacks what we know to be there is worse than none.
  for program in rdkafka kube uplot; do
    jq -e --arg name "$program" 'any(.components[]; .name == $name)' "$OUT/millrace-$VERSION.cdx.json" >/dev/null ||
      die "the SBOM does not have $program" "jq '.components[].name' $OUT/millrace-$VERSION.cdx.json"
  done
}

# --- files ---

# In the changelog's words. A dry run before the version has a section of its own takes what is not released yet.
write_notes() {
  notes_of "$REPOSITORY/CHANGELOG.md" "$VERSION" >"$OUT/notes.md" ||
    { [ -z "$PUBLISH" ] && notes_of "$REPOSITORY/CHANGELOG.md" Unreleased >"$OUT/notes.md"; } ||
    die "CHANGELOG.md has no entries for $VERSION" "docs/release.md, step 1"
}

# An archive of the command for each architecture; the same programs give the same archive.
archives() {
  local architecture
  for architecture in $(architectures); do
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git -C "$REPOSITORY" log -1 --format=%ct)" -cf - \
      -C "$PROGRAMS/$architecture" millrace -C "$REPOSITORY" LICENSE |
      gzip -n >"$OUT/millrace-$VERSION-linux-$architecture.tar.gz"
  done
}

krew_manifest() {
  local architecture platforms=() downloads=${RELEASE_DOWNLOADS:-}
  if [ -z "$downloads" ]; then
    if [ -n "$PUBLISH" ]; then
      leave_out "no krew manifest: RELEASE_DOWNLOADS does not say where the archives can be downloaded"
      return
    fi
    downloads=https://downloads.invalid/v$VERSION
    leave_out "the krew manifest names $downloads: RELEASE_DOWNLOADS is not set"
  fi
  for architecture in $(architectures); do
    platforms+=("$architecture=$(sha256sum "$OUT/millrace-$VERSION-linux-$architecture.tar.gz" | cut -d' ' -f1)")
  done
  render_krew "$REPOSITORY/release/krew.yaml" "$VERSION" "$downloads" "${platforms[@]}" >"$OUT/millrace.yaml"
}

checksums() { cd "$OUT" && sha256sum -- * >sha256sums.txt; }

# --- signatures ---

# Whether there is a key. Sets it up where cosign looks for it.
key_up() {
  if [ -n "${COSIGN_PRIVATE_KEY:-}" ]; then return 0; fi
  [ -z "$PUBLISH" ] || return 1
  [ -f "$WORKSHOP/throw-away.key" ] ||
    COSIGN_PASSWORD=throw-away "$(tool "$COSIGN")" generate-key-pair --output-key-prefix "$WORKSHOP/throw-away" >&2
  COSIGN_PRIVATE_KEY=$(cat "$WORKSHOP/throw-away.key") COSIGN_PASSWORD=throw-away
  export COSIGN_PRIVATE_KEY COSIGN_PASSWORD
}

sign_files() {
  local cosign
  if ! key_up; then
    leave_out "no signatures: COSIGN_PRIVATE_KEY is not set"
    return
  fi
  [ ! -f "$WORKSHOP/throw-away.key" ] || leave_out "the signatures are of a throw-away key: COSIGN_PRIVATE_KEY is not set"
  cosign=$(tool "$COSIGN")
  "$cosign" public-key --key env://COSIGN_PRIVATE_KEY >"$OUT/cosign.pub"
  # Without the public log of signatures: it would publish the names of private registries.
  "$cosign" sign-blob --yes --key env://COSIGN_PRIVATE_KEY --tlog-upload=false --output-signature "$OUT/sha256sums.txt.sig" "$OUT/sha256sums.txt"
  verify_blob "$OUT/sha256sums.txt"
  # Negative control: one more byte, and the signature does not hold.
  { cat "$OUT/sha256sums.txt"; echo; } >"$WORKSHOP/tampered"
  if verify_blob "$WORKSHOP/tampered" 2>/dev/null; then die "cosign accepts checksums that were changed" "$cosign verify-blob --help"; fi
}

verify_blob() { # FILE
  "$(tool "$COSIGN")" verify-blob --key "$OUT/cosign.pub" --insecure-ignore-tlog=true --signature "$OUT/sha256sums.txt.sig" "$1"
}

# Signs what was pushed, by its digest, and asks the registry for the signature.
sign_pushed() {
  local cosign name digest options=()
  key_up || return 0
  cosign=$(tool "$COSIGN")
  if is_local "$REGISTRY_PATH"; then options=(--allow-http-registry); fi
  while read -r name digest; do
    "$cosign" sign --yes --key env://COSIGN_PRIVATE_KEY --tlog-upload=false "${options[@]}" "${name%:*}@$digest"
    "$cosign" verify --key "$OUT/cosign.pub" --insecure-ignore-tlog=true "${options[@]}" "${name%:*}@$digest" >/dev/null
    note "signed: $name"
  done <"$WORKSHOP/pushed"
}

# --- registry ---

push_images() {
  local program architecture name parts options=()
  if is_local "$REGISTRY_PATH"; then options=(--insecure); fi
  for program in "${IMAGES[@]}"; do
    name=$(remote_image "$REGISTRY_PATH" "$program" "$VERSION")
    parts=()
    for architecture in $(image_architectures "$program"); do parts+=("$architecture"); done
    if [ ${#parts[@]} = 1 ]; then
      push_as "$(local_image "$program" "${parts[0]}")" "$name" >>"$WORKSHOP/pushed"
      continue
    fi
    for architecture in "${parts[@]}"; do
      push_as "$(local_image "$program" "$architecture")" "$name-$architecture" >>"$WORKSHOP/pushed"
    done
    # What an earlier run left under this name is no part of this one.
    docker manifest rm "$name" >/dev/null 2>&1 || true
    docker manifest create "${options[@]}" "$name" "${parts[@]/#/$name-}"
    echo "$name $(docker manifest push --purge "${options[@]}" "$name" | grep -oE 'sha256:[0-9a-f]{64}' | tail -n 1)" >>"$WORKSHOP/pushed"
    note "$name for ${parts[*]}"
  done
}

push_chart() {
  local said digest options=()
  if is_local "$REGISTRY_PATH"; then options=(--plain-http); fi
  said=$(helm push "$OUT/millrace-$VERSION.tgz" "oci://$REGISTRY_PATH" "${options[@]}" 2>&1) || refuse "$(push_fault "$REGISTRY_PATH" "$said")"
  digest=$(grep -oE 'sha256:[0-9a-f]{64}' <<<"$said" | tail -n 1)
  [ -n "$digest" ] || die "helm does not report the digest of the chart: $(tail -n 1 <<<"$said")" "helm push $OUT/millrace-$VERSION.tgz oci://$REGISTRY_PATH"
  note "$REGISTRY_PATH/millrace:$VERSION $digest"
  echo "$REGISTRY_PATH/millrace:$VERSION $digest" >>"$WORKSHOP/pushed"
}

# Pulls all that was pushed, and compares: programs by what they are, the chart by its bytes.
verify_pushed() {
  local program name directory pulled options=()
  if is_local "$REGISTRY_PATH"; then options=(--plain-http); fi
  directory=$(fresh_directory release-pulled)
  for program in "${IMAGES[@]}"; do
    name=$(remote_image "$REGISTRY_PATH" "$program" "$VERSION")
    docker rmi "$name" >/dev/null 2>&1 || true
    docker pull "$name"
    pulled=$(docker create "$name")
    docker cp "$pulled:/usr/local/bin/$program" "$directory/$program"
    docker rm "$pulled" >/dev/null
    cmp "$directory/$program" "$PROGRAMS/$(architecture)/$program" ||
      die "$name has another program than was built" "docker run --rm $name --version"
    need_start "$name"
    note "pulled: $name"
  done
  helm pull "oci://$REGISTRY_PATH/millrace" --version "$VERSION" --destination "$directory" "${options[@]}"
  cmp "$directory/millrace-$VERSION.tgz" "$OUT/millrace-$VERSION.tgz" || die "the chart in $REGISTRY_PATH is another" "helm pull oci://$REGISTRY_PATH/millrace --version $VERSION"
  need_chart "$directory/millrace-$VERSION.tgz"
  note "pulled: oci://$REGISTRY_PATH/millrace, version $VERSION"
}

forget_local_images() {
  local program architecture
  for program in "${IMAGES[@]}"; do
    for architecture in $(image_architectures "$program"); do docker rmi "$(local_image "$program" "$architecture")" || true; done
  done
}

# Files where people download them. May be repeated.
publish_files() {
  if [ -z "${GH_TOKEN:-}" ] || [ -z "${GITHUB_REPOSITORY:-}" ] || ! command -v gh >/dev/null; then
    leave_out "the files are in $OUT only: without gh, GH_TOKEN and GITHUB_REPOSITORY there is no place to publish them"
    return
  fi
  gh release view "v$VERSION" --repo "$GITHUB_REPOSITORY" >/dev/null 2>&1 ||
    gh release create "v$VERSION" --repo "$GITHUB_REPOSITORY" --verify-tag --title "Millrace $VERSION" --notes-file "$OUT/notes.md"
  gh release upload "v$VERSION" --repo "$GITHUB_REPOSITORY" --clobber "$OUT"/*
}

# --- the road ---

only_programs() {
  CARGO_PROFILE=release "$HERE/build-images.sh" programs
  step "the command" command_built
  step "programs for $(architecture)" own_programs
  note "copy $PROGRAMS/$(architecture) to the machine that makes the release, and name it there: RELEASE_PROGRAMS=$(architecture)=DIRECTORY"
}

main() {
  VERSION=${1:-} PUBLISH='' REGISTRY_PATH=$REGISTRY/release
  VERSION=${VERSION#v}
  case $#:${2:-} in
    1: | 2:--programs) ;;
    3:--publish) PUBLISH=$3 REGISTRY_PATH=$3; refuse "$(registry_fault "$3")" ;;
    *) usage ;;
  esac
  refuse "$(version_fault "$VERSION")"
  cd "$REPOSITORY"
  OUT=$TARGET/releases/$VERSION
  WORKSHOP=$(fresh_directory release)
  PROGRAMS=$WORKSHOP/programs
  [ "${2:-}" != --programs ] || PROGRAMS=$TARGET/release-programs
  readonly VERSION PUBLISH REGISTRY_PATH OUT WORKSHOP PROGRAMS
  rm -rf "$PROGRAMS"
  step "checks" check
  if [ "${2:-}" = --programs ]; then only_programs; return; fi
  rm -rf "$OUT"
  mkdir -p "$OUT"
  need_engine
  [ -n "$PUBLISH" ] || registry_answers || die "the local registry at $REGISTRY does not answer" "make cluster"
  "$HERE/cluster.sh" tools helm >/dev/null
  command -v jq >/dev/null || need_packages jq

  release_images
  step "the command" command_built
  step "programs for $(architecture)" own_programs
  step "programs for $(other_architecture)" other_programs
  step "images for $(architecture)" own_images
  step "images for $(other_architecture)" other_images
  step "notes" write_notes
  step "chart" package_chart
  step "SBOMs" sboms
  step "archives" archives
  step "krew manifest" krew_manifest
  step "checksums" checksums
  step "signatures of files" sign_files

  step "images to $REGISTRY_PATH" push_images
  step "chart to $REGISTRY_PATH" push_chart
  step "pulling what was pushed" verify_pushed
  step "signatures in $REGISTRY_PATH" sign_pushed
  step "tidying" forget_local_images
  [ -z "$PUBLISH" ] || step "files to GitHub" publish_files

  printf '\n%s %s, in %s:\n' "$([ -n "$PUBLISH" ] && echo released || echo "dry run of")" "$VERSION" "$OUT"
  (cd "$OUT" && ls -lh | tail -n +2 | awk '{ printf "  %6s  %s\n", $5, $9 }')
  printf 'in %s:\n' "$REGISTRY_PATH"
  sed 's/^/  /' "$WORKSHOP/pushed"
  if [ -s "$WORKSHOP/left-out" ]; then printf 'left out, or to be known:\n'; sort -u "$WORKSHOP/left-out" | sed 's/^/  /'; fi
  printf '\nhelm install millrace oci://%s/millrace --version %s --namespace millrace-system --create-namespace --wait\n' "$REGISTRY_PATH" "$VERSION"
}

# On one line, so that bash has read all of it: the file may change while it runs.
main "$@"; exit

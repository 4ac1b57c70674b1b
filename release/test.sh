#!/usr/bin/env bash
# Tests of what push.sh and release.sh decide (lib.sh), each with what must be refused. No engine, no network; ends with a
# line `N passed, N failed`. `.ci/test release` runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. release/lib.sh
. cluster/tests/checks.sh

readonly SHA=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

registries() {
  local good bad
  for good in localhost:5001 registry.example.com registry.example.com:5000/team docker.io/acme registry.example.com/a/b_c/d-e; do
    is "the registry $good is valid" "" "$(registry_fault "$good")"
  done
  has "a missing registry" "REGISTRY is missing" "$(registry_fault '')"
  has "a scheme is refused with the name without it" $'\tleave it out: REGISTRY=registry.example.com/team' "$(registry_fault https://registry.example.com/team)"
  has "a registry without a host is Docker Hub's, and named so" $'\tname it: REGISTRY=docker.io/acme' "$(registry_fault acme)"
  for bad in registry.example.com/team/ registry.example.com/Team registry.example.com/team:1.2 "registry.example.com/te am" /team registry.example.com//team; do
    has "the registry '$bad' is refused" "is not a valid host/path" "$(registry_fault "$bad")"
  done
}

tags() {
  is "a usual tag is valid" "" "$(tag_fault 1.2.3-rc_1)"
  for bad in '' -1 1+2 'a b' "$(printf 'a%.0s' {1..129})"; do has "the tag '$bad' is refused" "is not a valid tag" "$(tag_fault "$bad")"; done
}

# What Docker prints, by its own documentation and issues.
pushes() {
  local registry=registry.example.com/team
  has "no rights" $'does not accept a push from this account\tdocker login registry.example.com,' "$(push_fault $registry 'denied: requested access to the resource is denied')"
  has "no login" "does not accept a push" "$(push_fault $registry 'unauthorized: authentication required')"
  has "plain HTTP" "insecure-registries" "$(push_fault $registry 'Get "https://registry.example.com/v2/": http: server gave HTTP response to HTTPS client')"
  has "a certificate" "certs.d/registry.example.com/ca.crt" "$(push_fault $registry 'Get "https://registry.example.com/v2/": x509: certificate signed by unknown authority')"
  has "no such host" "cannot be reached" "$(push_fault $registry 'dial tcp: lookup registry.example.com: no such host')"
  has "no such repository" "has no such repository" "$(push_fault $registry "name unknown: The repository with name 'team/x' does not exist")"
  has "anything else is shown by its last line" "failed: the disk is full" "$(push_fault $registry $'line\nthe disk is full')"
}

nodes() {
  is "nodes of the images' architecture need no advice" "" "$(nodes_advice amd64 amd64)"
  is "no cluster needs no advice" "" "$(nodes_advice amd64)"
  has "no node runs them" "they do not start there" "$(nodes_advice amd64 arm64)"
  has "some nodes run them" "kubernetes\\.io/arch=amd64" "$(nodes_advice amd64 amd64 arm64)"
}

# The values that the line sets are values of the chart.
install_lines() {
  local line known name
  line=$(install_line registry.example.com/team 1 2 3)
  is "the line sets six values" 6 "$(grep -oE -- '--set-string' <<<"$line" | wc -l)"
  has "the worker's tag is the second" "worker.image.repository=registry.example.com/team/millrace-worker --set-string worker.image.tag=2" "$line"
  known=$(awk -f charts/values-table.awk charts/millrace/values.yaml)
  for name in $(grep -oE '[a-zA-Z.]+=' <<<"$line" | tr -d =); do has "the chart has $name" "| \`$name\` |" "$known"; done
  bash -n <<<"$line" && is "the line is one command" 1 "$(grep -vc '\\$' <<<"$line")"
}

# A checkout of version 1.2.3, as far as versions go.
checkout() {
  mkdir -p "$work/charts/millrace"
  printf '[workspace]\nversion = "9"\n[workspace.package]\nversion = "1.2.3"\n[x]\nversion = "9"\n' >"$work/Cargo.toml"
  printf '[[package]]\nname = "millrace-operator"\nversion = "1.2.3"\n' >"$work/Cargo.lock"
  printf 'version: 1.2.3\nappVersion: "1.2.3"\nannotations:\n  x: |\n    - image: millrace/operator:1.2.3\n      image: millrace/worker:1.2.3\n' >"$work/charts/millrace/Chart.yaml"
}

versions() {
  local file pattern
  is "a release candidate is a version" "" "$(version_fault 1.2.3-rc.1)"
  for bad in '' 1.2 v1.2.3 01.2.3 1.2.3- 1.2.3+x ../.. 1.2.3/..; do has "'$bad' is refused" "is not a valid version" "$(version_fault "$bad")"; done
  checkout
  is "a checkout that agrees" "" "$(version_faults "$work" 1.2.3)"
  is "another version is in every place" 5 "$(version_faults "$work" 1.2.4 | wc -l)"
  while read -r file pattern; do
    checkout
    sed -i "$pattern" "$work/$file"
    has "$file disagrees alone" "$file: " "$(version_faults "$work" 1.2.3)"
    is "$file: one line" 1 "$(version_faults "$work" 1.2.3 | wc -l)"
  done <<'PLACES'
Cargo.toml 4s/1.2.3/1.2.4/
Cargo.lock s/1.2.3/1.2.4/
charts/millrace/Chart.yaml s/^version: .*/version: 1.2.4/
charts/millrace/Chart.yaml s/^appVersion: .*/appVersion: 1.2.30/
charts/millrace/Chart.yaml s/worker:1.2.3/worker:1.2.4/
PLACES
  is "this checkout agrees with itself" "" "$(version_faults . "$(workspace_version .)")"
}

notes() {
  local changelog=$work/CHANGELOG.md
  printf '%s\n' '# Changelog' '' '## Unreleased' '' '## 1.2.3 - 2026-12-01' '' '### Added' '' '- One thing ([page](docs/x.md)). And more of it,' \
    '  on two lines.' '' '### Fixed' '' '- A "quoted" path C:\x.' '' '## 1.2.3-rc.1 - 2026-11-30' '' '- Its candidate.' '' '## 0.1.2.3' '' '- Another.' >"$changelog"
  is "a version's section, without heading and blank ends" "$(sed -n '7,14p' "$changelog")" "$(notes_of "$changelog" 1.2.3)"
  is "a candidate is not its release" "- Its candidate." "$(notes_of "$changelog" 1.2.3-rc.1)"
  fails "a version without a section" notes_of "$changelog" 1.2.4
  fails "a part of a version" notes_of "$changelog" 1.2
  fails "a section without entries" notes_of "$changelog" Unreleased
  is "entries as the chart lists them" '  artifacthub.io/changes: |
    - kind: added
      description: "One thing (page)."
    - kind: fixed
      description: "A \"quoted\" path C:\\x."' "$(notes_of "$changelog" 1.2.3 | changes_of)"
  is "the changelog's own entries all come through" "$(notes_of CHANGELOG.md Unreleased | grep -c '^- ')" \
    "$(notes_of CHANGELOG.md Unreleased | changes_of | grep -cE '^    - kind: (added|changed|deprecated|removed|fixed|security)$')"
}

krew() {
  local manifest
  manifest=$(render_krew release/krew.yaml 1.2.3 https://downloads.example.com/v1.2.3 "amd64=$SHA" "arm64=${SHA//0/f}")
  has "the version has a v" "version: v1.2.3" "$manifest"
  has "an archive's address" "uri: https://downloads.example.com/v1.2.3/millrace-1.2.3-linux-arm64.tar.gz" "$manifest"
  is "a checksum for each platform" "$(printf '%s\n' "$SHA" "${SHA//0/f}")" "$(sed -n 's/^    sha256: "\(.*\)"/\1/p' <<<"$manifest")"
  is "one list of platforms" 1 "$(grep -c 'platforms:$' <<<"$manifest")"
  is "nothing is left to fill in" 0 "$(grep -c '@[A-Z0-9]*@' <<<"$manifest")"
  fails "a checksum that is not one" render_krew release/krew.yaml 1.2.3 https://x "amd64=${SHA%f}"
  fails "no platform" render_krew release/krew.yaml 1.2.3 https://x
}

charts() {
  local values chart
  values=$(chart_for registry.example.com/team <charts/millrace/values.yaml)
  is "the chart's three images are in the registry" "$(printf '%s\n' registry.example.com/team/millrace-{operator,worker,console})" \
    "$(sed -n 's/^ *repository: //p' <<<"$values")"
  is "and nothing else changes" 3 "$(diff charts/millrace/values.yaml - <<<"$values" | grep -c '^>')"
  chart=$(chart_for registry.example.com/team <charts/millrace/Chart.yaml)
  is "Artifact Hub is told the same" "$(printf '%s\n' "registry.example.com/team/millrace-"{operator,worker,console}":$(workspace_version .)")" \
    "$(sed -n 's/^ *image: //p' <<<"$chart")"
  is "annotations are last, so that changes can follow" annotations: "$(grep -E '^[A-Za-z]' charts/millrace/Chart.yaml | tail -n 1)"
  is "changes have no other place" 0 "$(grep -c 'artifacthub.io/changes:' charts/millrace/Chart.yaml)"
}

dockerfiles() {
  local program text
  for program in "${IMAGES[@]}"; do
    text=$(foreign_dockerfile debian@sha256:1 <"cluster/images/$program.Dockerfile" | grep -v '^#')
    is "$program for another architecture runs nothing as it is built" "FROM debian@sha256:1
COPY ca-certificates.crt /etc/ssl/certs/
$(grep -E '^(COPY|USER|ENTRYPOINT) ' "cluster/images/$program.Dockerfile")" "$text"
  done
  is "a RUN of several lines goes as a whole" "$(printf '%s\n' 'FROM b' 'COPY ca-certificates.crt /etc/ssl/certs/' 'USER 1')" \
    "$(printf '%s\n' 'FROM a' 'RUN x \' '  && y \' '  && z' 'USER 1' | foreign_dockerfile b)"
}

registries
tags
pushes
nodes
install_lines
versions
notes
krew
charts
dockerfiles
verdict

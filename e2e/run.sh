#!/usr/bin/env bash
# The end-to-end scenarios on the cluster that `make cluster` made: installs the chart from this checkout and calls their
# program, which ends with a line `N passed, N failed`.
#
#   e2e/run.sh              the core, what is affected by the changed paths, what has not passed since they were changed, and
#                           a part that rotates (e2e/scenarios.toml)
#   e2e/run.sh NAME...      only the scenarios whose name contains one of these
#   e2e/run.sh --plan       prints which those are, and runs nothing
#
# MILLRACE_SKIP_IMAGES=1  keeps the images that target/images.env names
# MILLRACE_SKIP_CHART=1   keeps the release as it is
# E2E_FULL=1              all scenarios with the long waits; noted in docs/full-runs.jsonl
# E2E_BASE=COMMIT         what landed last; by itself where this and origin/main part, or the parent of the newest commit
# E2E_IDLE_SECONDS=120    how long the idle scenario watches; 600 in the full run
# E2E_INJECTED_SECONDS=60 how long a pipeline beside a mutating webhook is watched; 600 in the full run
# E2E_CHAOS_SEED=N        chooses faults and moments; by itself the number of commits
# E2E_CHAOS_SECONDS=60    how long faults go on; 300 in the full run. `make chaos-data` asks for many
# E2E_CHAOS_KILLS=10      how many processors are killed after that; 50 in the full run
# E2E_SCHEDULED_RUNS=24   how many runs of a schedule there are while operators are killed; 60 in the full run
# E2E_ROLLS=3             how often stores are rolled under load; 50 in the full run
# E2E_AWAY_SECONDS=30     how long a store is away while a console's page is open; 60 in the full run
# E2E_NODE_AWAY_SECONDS=60 how long a node stands still; 360 in the full run, so that its pods are given up
# E2E_DEADLINE=SECONDS    since 1970: all but the core is put off where too little time is left; then the run stops, names what is
#                         left, and fails if the core is. Without it there is no end: what has not passed may take hours
# E2E_KEEP=1              keeps the namespace of a failed scenario
# E2E_ATTACH=NAMESPACE    scenarios that share a set of one of each use the pipeline of this namespace, which is made the
#                         first time, and stays
# E2E_BACKTRACE=1         errors with backtraces
#
# Each scenario has its own log in target/e2e-logs; target/minutes.jsonl says what each took.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-target}
logs=$target/e2e-logs
readonly release=millrace home=millrace-system source_home=e2e-source
kube() { kubectl --context "$MILLRACE_CONTEXT" "$@"; }

say() { printf '[%2d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"; }

images() {
  [ -n "${MILLRACE_SKIP_IMAGES:-}" ] || cluster/build-images.sh
  # shellcheck source=/dev/null
  . "$target/images.env"
}

# Two operators, one to lose and one to take over; sources may reach the demo's and the tests' sample source, and pipelines
# each other's stores.
install() {
  [ -z "${MILLRACE_SKIP_CHART:-}" ] || return 0
  say "installing the chart"
  helm --kube-context "$MILLRACE_CONTEXT" upgrade --install "$release" charts/millrace \
    --namespace "$home" --create-namespace --take-ownership --values examples/demo-values.yaml \
    --set "image.tag=${OPERATOR_IMAGE##*:}" --set "worker.image.tag=${WORKER_IMAGE##*:}" \
    --set "console.image.tag=${CONSOLE_IMAGE##*:}" \
    --set replicaCount=2 --set-json 'worker.env={}' \
    --set "sources.allowedHosts={sample-source.millrace-demo.svc,sample-source.$source_home.svc}" \
    --set "externalStores.allowed={*.svc}" \
    --wait --timeout 3m >"$logs/helm.log" 2>&1 || { cat "$logs/helm.log"; return 1; }
}

sample_source() {
  kube create namespace "$source_home" --dry-run=client -o yaml | kube apply --server-side --force-conflicts -f - >/dev/null
  sed "s#\${SAMPLE_SOURCE_IMAGE}#$SAMPLE_SOURCE_IMAGE#" examples/demo-source.yaml | kube apply -n "$source_home" -f - >/dev/null
  kube -n "$source_home" rollout status deployment/sample-source --timeout 120s >/dev/null
}

# The scenarios' program and the command that they run, compiled.
program() {
  cargo build -q --workspace --bin millrace
  cargo test -q --workspace --test cluster --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
}

main() {
  if [ "${1:-}" = --plan ]; then
    "$(program)" plan "${@:2}"
    return
  fi
  eval "$(cluster/cluster.sh env)"
  mkdir -p "$logs"
  rm -f "$logs"/*.log
  images
  say "compiling the scenarios"
  local program
  program=$(program)
  install
  sample_source
  # Errors say what they wait for; where in the harness they were made helps nobody.
  RUST_BACKTRACE=${E2E_BACKTRACE:-0} "$program" run "$@"
}

# On one line, so that bash has read all of it: the file may change while it runs.
main "$@"; exit

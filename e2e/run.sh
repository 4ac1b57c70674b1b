#!/usr/bin/env bash
# The end-to-end tests on the cluster that `make cluster` made: installs the chart from this checkout, runs every test
# of e2e/, and ends with a line `N passed, N failed`.
#
#   e2e/run.sh              all of them
#   e2e/run.sh NAME...      only the tests whose name contains one of these
#
# MILLRACE_SKIP_IMAGES=1  keeps the images that target/images.env names
# MILLRACE_SKIP_CHART=1   keeps the release as it is
# E2E_IDLE_SECONDS=600    how long the idle test watches
# E2E_CHAOS_SECONDS=150   how long faults go on, chosen by E2E_CHAOS_SEED=1; `make chaos-data` asks for many
# E2E_SCHEDULED_RUNS=24   how many runs of a schedule there are while operators are killed
# E2E_KEEP=1              keeps the namespace of a failed test
# E2E_BACKTRACE=1         errors with backtraces
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
eval "$(cluster/cluster.sh env)"
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

# Two operators, one to lose and one to take over; sources may reach the demo's and the tests' sample source.
install() {
  [ -z "${MILLRACE_SKIP_CHART:-}" ] || return 0
  say "installing the chart"
  helm --kube-context "$MILLRACE_CONTEXT" upgrade --install "$release" charts/millrace \
    --namespace "$home" --create-namespace --take-ownership --values examples/demo-values.yaml \
    --set "image.tag=${OPERATOR_IMAGE##*:}" --set "worker.image.tag=${WORKER_IMAGE##*:}" \
    --set "console.image.tag=${CONSOLE_IMAGE##*:}" \
    --set replicaCount=2 --set-json 'worker.env={}' \
    --set "sources.allowedHosts={sample-source.millrace-demo.svc,sample-source.$source_home.svc}" \
    --wait --timeout 3m >"$logs/helm.log" 2>&1 || { cat "$logs/helm.log"; return 1; }
}

sample_source() {
  kube create namespace "$source_home" --dry-run=client -o yaml | kube apply --server-side --force-conflicts -f - >/dev/null
  sed "s#\${SAMPLE_SOURCE_IMAGE}#$SAMPLE_SOURCE_IMAGE#" examples/demo-source.yaml | kube apply -n "$source_home" -f - >/dev/null
  kube -n "$source_home" rollout status deployment/sample-source --timeout 120s >/dev/null
}

# Whatever happens, no fault stays switched on.
# shellcheck disable=SC2317 # called by trap
restore() {
  if kube -n "$home" get deployment "$release" -o jsonpath='{.spec.template.spec.containers[0].args}' | grep -q MILLRACE_SABOTAGE; then
    say "switching the faults off again"
    helm --kube-context "$MILLRACE_CONTEXT" -n "$home" upgrade "$release" charts/millrace \
      --reset-values --values "$target/e2e-values.yaml" >/dev/null
  fi
  [ -z "${idle:-}" ] || kill "$idle" 2>/dev/null || true
}

# The tests are compiled once and their programs called, so that several can run beside each other.
program() {
  cargo build -q --workspace --bin millrace
  cargo test -q --workspace --test cluster --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
}

# Runs tests of a program and keeps what they print for the sum at the end. Errors tell what they wait for; where in
# the harness they were made helps nobody.
tests() { # LOG PROGRAM FILTER...
  local log=$logs/$1.log
  shift
  RUST_BACKTRACE=${E2E_BACKTRACE:-0} "$@" --ignored --nocapture --test-threads=1 2>&1 | tee "$log" | grep --line-buffered -Ev '^(running|test result|$)' || true
}

# Runs those of the named tests that are wanted, one after the other.
in_turn() { # LOG PROGRAM NAME...
  local log=$1 program=$2 name mine=()
  shift 2
  for name; do if wanted "$name"; then mine+=("$name"); fi; done
  [ ${#mine[@]} -eq 0 ] || tests "$log" "$program" "${mine[@]}"
}

wanted() { # NAME
  local name
  [ ${#names[@]} -gt 0 ] || return 0
  for name in "${names[@]}"; do [[ $1 != *"$name"* ]] || return 0; done
  return 1
}

main() {
  names=("$@")
  mkdir -p "$logs"
  rm -f "$logs"/*.log
  images
  say "compiling the tests"
  local program
  program=$(program)
  trap restore EXIT
  install
  sample_source

  # The idle test only watches for ten minutes; it counts what concerns its own namespace.
  if wanted an_idle_pipeline_is_left_alone; then
    tests idle "$program" an_idle_pipeline_is_left_alone &
    idle=$!
  fi
  in_turn heavy "$program" generated_records
  # Small pipelines, two at a time. Those that look at the operator, or end it, are in one row.
  in_turn small-1 "$program" one_of_each a_pipeline_survives a_guarded_pipeline helm_test &
  local row=$!
  in_turn small-2 "$program" a_foreign_object a_failure_is_dumped a_column_of_every_type a_pipeline_grows \
    runs_are_accounted the_command_shows
  wait "$row" || true
  # Requests that must come within seconds; and three servers, three brokers and three nodes are all that two cores can
  # carry at once.
  in_turn heavy-2 "$program" pushed_filed_and_copied full_and_slow_disks faults_at_random three_of_each
  [ -z "${idle:-}" ] || wait "$idle" || true
  idle=
  # Last and alone: they measure the operator, stop or kill it or the API server, and switch faults on for all pipelines.
  in_turn controls "$program" queries_with_sql scheduled_runs scope_of_one_namespace sabotage_is_noticed a_cut_off_leader \
    the_console
  sum "$program"
}

sum() { # PROGRAM
  local passed failed all
  passed=$(count passed)
  failed=$(count failed)
  # A test whose process was ended has said nothing.
  if [ ${#names[@]} -eq 0 ]; then
    all=$("$1" --list --ignored 2>/dev/null | grep -c ': test$')
    failed=$((all - passed))
  fi
  say "figures in $target/e2e-figures.json, logs in $logs"
  say "$passed passed, $failed failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}

count() { # WORD
  cat "$logs"/*.log | awk -v word="$1" '/^test result: / { for (i = 2; i <= NF; i++) if ($i == word ";") n += $(i - 1) } END { print n + 0 }'
}

# On one line, so that bash has read all of it: the file may change while it runs.
main "$@"; exit

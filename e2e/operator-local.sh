#!/usr/bin/env bash
# Runs this checkout's operator on this machine in place of the release's, until it is stopped with Ctrl-C: a change is
# tried against a pipeline that is kept, without images.
#
#   E2E_ATTACH=try e2e/run.sh one_of_each      makes the pipeline in namespace `try`, once, with the release's operator
#   e2e/operator-local.sh &                    compiles and runs this operator; again after each change
#   E2E_ATTACH=try MILLRACE_SKIP_IMAGES=1 MILLRACE_SKIP_CHART=1 e2e/run.sh one_of_each
#
# The release's operators have no replicas meanwhile, and two afterwards. The operator logs to
# target/operator-local.log. Scenarios that look at the operator's pods or end them need the release's.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
eval "$(cluster/cluster.sh env)"
target=${CARGO_TARGET_DIR:-target}
readonly release=millrace home=millrace-system port=18080
kube() { kubectl --context "$MILLRACE_CONTEXT" "$@"; }

# shellcheck disable=SC2317 # called by trap
restore() {
  kill "${operator:-}" 2>/dev/null || true
  kube -n "$home" scale deployment "$release" --replicas=2 >/dev/null
}

main() {
  cargo build -q --workspace --bin operator
  local arguments
  # Its own arguments, but for what only a pod has.
  mapfile -t arguments < <(kube -n "$home" get deployment "$release" -o json |
    jq -r '.spec.template.spec.containers[0].args[]' |
    sed "s/\$(POD_NAMESPACE)/$home/; s/^--http-port=.*/--http-port=$port/")
  kube config view --minify --flatten >"$target/operator-local.kubeconfig"
  trap restore EXIT
  kube -n "$home" scale deployment "$release" --replicas=0 >/dev/null
  KUBECONFIG=$target/operator-local.kubeconfig HOSTNAME=operator-local \
    "$target/debug/operator" "${arguments[@]}" >"$target/operator-local.log" 2>&1 &
  operator=$!
  until curl -fs "http://127.0.0.1:$port/readyz" >/dev/null; do
    kill -0 "$operator" 2>/dev/null || { tail -n 5 "$target/operator-local.log"; return 1; }
    sleep 0.3
  done
  printf 'the operator runs on this machine after %d s; its log is %s\n' "$SECONDS" "$target/operator-local.log"
  wait "$operator"
}

# On one line, so that bash has read all of it: the file may change while it runs.
main "$@"; exit

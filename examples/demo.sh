#!/usr/bin/env bash
# The demo: from nothing to rows in Cassandra. Brings the cluster up, installs the chart, applies examples/demo.yaml
# and its source, and shows what arrived: ten rows, records per second, latency, time to the first row.
#   demo.sh up     all of that; may be repeated
#   demo.sh down   removes pipeline, source and operator; volumes go with the namespace
set -euo pipefail
cd "$(dirname "$0")/.."
# kind, kubectl and helm of the cluster's own versions come first.
export PATH="${MILLRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/millrace}/bin:$PATH"

readonly NAMESPACE=millrace-demo SYSTEM=millrace-system PIPELINE=users
readonly TABLE=streams.created_users TARGET=${CARGO_TARGET_DIR:-target}
STARTED=$SECONDS

say() { printf '[%2d:%02d] %s\n' $(((SECONDS - STARTED) / 60)) $(((SECONDS - STARTED) % 60)) "$*"; }
now() { date +%s.%N; }
# Milliseconds between two times of `now`.
millis() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.0f", (b - a) * 1000 }'; }
cql() { kubectl exec -n "$NAMESPACE" "$PIPELINE-cassandra-r1-0" -c cassandra -- cqlsh -e "$1"; }
# The value of one metric, summed over its labels, from one worker's /metrics through the API server.
metric() { # COMPONENT METRIC
  local pod
  # No pod, or one that does not serve yet: nothing to sum.
  pod=$(kubectl get pods -n "$NAMESPACE" -l "app.kubernetes.io/component=$1,app.kubernetes.io/instance=$PIPELINE" -o name | head -1)
  { [ -z "$pod" ] || kubectl get --raw "/api/v1/namespaces/$NAMESPACE/pods/${pod#pod/}:8080/proxy/metrics" 2>/dev/null || true; } \
    | awk -v name="$2" '$1 == name || index($1, name "{") == 1 { sum += $2 } END { print sum + 0 }'
}

install() {
  # shellcheck source=/dev/null
  . "$TARGET/images.env"
  say "operator: helm upgrade --install millrace charts/millrace"
  helm upgrade --install millrace charts/millrace --namespace "$SYSTEM" --create-namespace --take-ownership \
    --values examples/demo-values.yaml --set "image.tag=${OPERATOR_IMAGE##*:},worker.image.tag=${WORKER_IMAGE##*:},console.image.tag=${CONSOLE_IMAGE##*:}" \
    --wait --timeout 3m >/dev/null
  say "source: a small server with the random-user API, in namespace $NAMESPACE"
  kubectl create namespace "$NAMESPACE" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl label namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted --overwrite >/dev/null
  # Who looks at the demo: an editor of its namespace.
  kubectl create serviceaccount console-demo -n "$NAMESPACE" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl create rolebinding console-demo -n "$NAMESPACE" --clusterrole=edit --serviceaccount="$NAMESPACE:console-demo" \
    --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  sed "s#\${SAMPLE_SOURCE_IMAGE}#$SAMPLE_SOURCE_IMAGE#" examples/demo-source.yaml | kubectl apply -n "$NAMESPACE" -f - >/dev/null
  kubectl rollout status -n "$NAMESPACE" deployment/sample-source --timeout 2m >/dev/null
}

# Prints the pipeline's condition Ready each time that it changes, until rows are written.
await_rows() {
  local said="" ready rows=0
  until [ "$rows" -gt 0 ]; do
    ready=$(kubectl get spl "$PIPELINE" -n "$NAMESPACE" \
      -o jsonpath='{range .status.conditions[?(@.type=="Ready")]}{.reason}: {.message}{end}')
    [ "$ready" = "$said" ] || say "  $ready"
    said=$ready
    rows=$(metric processor millrace_rows_written_total)
    [ $((SECONDS - STARTED)) -lt 1800 ] || { say "no row within 30 minutes; kubectl describe spl $PIPELINE -n $NAMESPACE"; exit 1; }
  done
}

show() {
  local before after seconds=10
  kubectl wait --for=condition=Ready "spl/$PIPELINE" -n "$NAMESPACE" --timeout 2m >/dev/null
  say "measuring for $seconds s"
  before=$(metric processor millrace_rows_written_total)
  sleep "$seconds"
  after=$(metric processor millrace_rows_written_total)
  echo
  cql "SELECT id, first_name, last_name, username, dob FROM $TABLE LIMIT 10"
  kubectl get spl -n "$NAMESPACE"
  echo
  echo "rows written:                 $after"
  echo "records per second:           $(awk -v a="$before" -v b="$after" -v s="$seconds" 'BEGIN { printf "%.0f", (b - a) / s }')"
  echo "produce to readable, mean:    $(awk -v s="$(metric processor millrace_record_age_seconds_sum)" -v c="$(metric processor millrace_record_age_seconds_count)" 'BEGIN { if (c) printf "%.0f ms", 1000 * s / c; else print "unknown" }')"
  [ -z "${FIRST_ROW:-}" ] || echo "apply to first readable row:  $(awk -v ms="$FIRST_ROW" 'BEGIN { printf "%.1f s", ms / 1000 }')"
  cat <<END

What to try next:
  kubectl get spl -n $NAMESPACE -w                          the pipeline, live
  kubectl describe spl $PIPELINE -n $NAMESPACE              conditions and events
  kubectl scale spl $PIPELINE -n $NAMESPACE --replicas=2    another processor
  kubectl edit spl $PIPELINE -n $NAMESPACE                  add a column, a topic, a source
  kubectl exec -it -n $NAMESPACE $PIPELINE-cassandra-r1-0 -c cassandra -- cqlsh
  make demo-down                                         remove it all; the cluster stays

The console: http://localhost:8080 while this runs
  kubectl port-forward -n $SYSTEM service/millrace-console 8080:80
and log in with a token; this one may change the demo's pipeline and see its records, for a day:
  kubectl create token console-demo -n $NAMESPACE --duration 24h
END
}

up() {
  local applied
  cluster/cluster.sh up
  cluster/build-images.sh
  install
  if kubectl get spl "$PIPELINE" -n "$NAMESPACE" >/dev/null 2>&1; then
    say "pipeline: kubectl apply -f examples/demo.yaml (it is there already)"
    kubectl apply -n "$NAMESPACE" -f examples/demo.yaml >/dev/null
    await_rows
  else
    say "pipeline: kubectl apply -f examples/demo.yaml"
    applied=$(now)
    kubectl apply -n "$NAMESPACE" -f examples/demo.yaml >/dev/null
    await_rows
    FIRST_ROW=$(millis "$applied" "$(now)")
    say "first row after $(awk -v ms="$FIRST_ROW" 'BEGIN { printf "%.1f", ms / 1000 }') s"
  fi
  show
}

down() {
  kubectl delete namespace "$NAMESPACE" --ignore-not-found
  helm uninstall millrace --namespace "$SYSTEM" --ignore-not-found
}

case "${1:-up}" in
up | down) "$1" ;;
*) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

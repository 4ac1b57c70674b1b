#!/usr/bin/env bash
# The demo: from nothing to rows in Cassandra. Builds the programs while the cluster comes up, installs the chart,
# applies examples/demo.yaml and its source, and shows what arrived: ten rows, records per second, latency, time to the
# first row. The figures also go to target/demo.json.
#   demo.sh up     all of that; may be repeated
#   demo.sh down   removes pipeline, source and operator; volumes go with the namespace
set -euo pipefail
cd "$(dirname "$0")/.."
. cluster/lib/base.sh

readonly NAMESPACE=millrace-demo SYSTEM=millrace-system PIPELINE=users
readonly TABLE=streams.created_users TARGET=${CARGO_TARGET_DIR:-target}
# Seconds from the pipeline's creation to its first row, and from that to Ready. Each is many times what it takes on two
# busy cores.
readonly FIRST_ROW_WITHIN=600 READY_WITHIN=300
# Seconds that a namespace may take to go.
readonly REMOVED_WITHIN=300

# The demo's own cluster, whatever kubectl's current context is.
kubectl() { command kubectl --context "kind-$CLUSTER_NAME" "$@"; }
helm() { command helm --kube-context "kind-$CLUSTER_NAME" "$@"; }

# What `build` runs beside this script.
jobs=()

say() { tell "$(printf '[%5s] ' "$(elapsed)")" "$*"; }
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
  end_what_was_broken_off
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

# A removal or an install that was broken off is in the way of the next one.
end_what_was_broken_off() {
  local pending='owner=helm,name=millrace,status in (pending-install,pending-upgrade,pending-rollback)'
  if [ "$(kubectl get namespace "$NAMESPACE" --ignore-not-found -o jsonpath='{.status.phase}')" = Terminating ]; then
    say "namespace $NAMESPACE is still being removed: waiting for it"
    kubectl wait --for=delete "namespace/$NAMESPACE" --timeout "${REMOVED_WITHIN}s" >/dev/null ||
      die "namespace $NAMESPACE is still being removed after $((REMOVED_WITHIN / 60)) minutes" "kubectl describe namespace $NAMESPACE   (shows why)"
  fi
  # Helm refuses a release whose newest revision is pending, also when nobody works on it any more. What that revision
  # has made stays, and is part of the next one.
  if [ -n "$(kubectl get secret -n "$SYSTEM" -l "$pending" -o name)" ]; then
    say "operator: removing an interrupted install of an earlier run"
    kubectl delete secret -n "$SYSTEM" -l "$pending" >/dev/null
  fi
}

ready_message() {
  kubectl get spl "$PIPELINE" -n "$NAMESPACE" \
    -o jsonpath='{range .status.conditions[?(@.type=="Ready")]}{.reason}: {.message}{end}'
}

# Prints the pipeline's condition Ready each time that it changes, until rows are written.
await_rows() {
  local said="" ready rows=0 deadline=$((SECONDS + FIRST_ROW_WITHIN))
  until [ "$rows" -gt 0 ]; do
    [ $SECONDS -lt $deadline ] || stuck "no row within $((FIRST_ROW_WITHIN / 60)) minutes of the pipeline's creation"
    ready=$(ready_message)
    [ "$ready" = "$said" ] || say "  $ready"
    said=$ready
    rows=$(metric processor millrace_rows_written_total)
  done
}

# Says what the pipeline and its pods say, and where to look.
stuck() { # WHAT
  say "$1"
  say "  $(ready_message)"
  kubectl get pods -n "$NAMESPACE" >&2 || true
  die "$1" "kubectl describe spl $PIPELINE -n $NAMESPACE" "kubectl logs -n $SYSTEM deployment/millrace" \
    "to start over: make demo-down demo"
}

show() {
  local before after rate age seconds=10 ready='.status.conditions[?(@.type=="Ready")]'
  kubectl wait --for=condition=Ready "spl/$PIPELINE" -n "$NAMESPACE" --timeout "${READY_WITHIN}s" >/dev/null ||
    stuck "the pipeline is not Ready $((READY_WITHIN / 60)) minutes after its first row"
  say "measuring for $seconds s"
  before=$(metric processor millrace_rows_written_total)
  sleep "$seconds"
  after=$(metric processor millrace_rows_written_total)
  echo
  # Columns that fit side by side into 80 characters, here and of the resource.
  cql "SELECT username, first_name, last_name, gender, post_code FROM $TABLE LIMIT 10"
  kubectl get spl -n "$NAMESPACE" -o custom-columns="NAME:.metadata.name,READY:$ready.status,REASON:$ready.reason,\
ZK:.status.zookeeper.ready,KAFKA:.status.kafka.ready,CASSANDRA:.status.cassandra.ready,LAG:.status.lag"
  echo
  rate=$(awk -v a="$before" -v b="$after" -v s="$seconds" 'BEGIN { printf "%.0f", (b - a) / s }')
  age=$(awk -v s="$(metric processor millrace_record_age_seconds_sum)" \
    -v c="$(metric processor millrace_record_age_seconds_count)" 'BEGIN { if (c) printf "%.0f", 1000 * s / c }')
  echo "rows written:                 $after"
  echo "records per second:           $rate"
  echo "produce to readable, mean:    ${age:-unknown}${age:+ ms}"
  [ -z "${FIRST_ROW:-}" ] || echo "apply to first readable row:  $(awk -v ms="$FIRST_ROW" 'BEGIN { printf "%.1f s", ms / 1000 }')"
  # Null is what this run could not measure.
  printf '{"seconds": %d, "rows_written": %d, "records_per_second": %d, "record_age_ms": %s, "first_row_ms": %s}\n' \
    $((EPOCHSECONDS - MILLRACE_BEGAN)) "$after" "$rate" "${age:-null}" "${FIRST_ROW:-null}" >"$TARGET/demo.json"
  cat <<END

What to try next:
  kubectl get spl -n $NAMESPACE -w                        the pipeline, live
  kubectl describe spl $PIPELINE -n $NAMESPACE            conditions and events
  kubectl scale spl $PIPELINE -n $NAMESPACE --replicas=2  another processor
  kubectl edit spl $PIPELINE -n $NAMESPACE                add a column, a topic
  kubectl exec -it -n $NAMESPACE $PIPELINE-cassandra-r1-0 -c cassandra -- cqlsh
  make demo-down                                         remove the demo

The console: http://localhost:8080 while this runs
  kubectl port-forward -n $SYSTEM service/millrace-console 8080:80
and log in with a token; this one is valid for a day, and may change the demo's
pipeline and see its records:
  kubectl create token console-demo -n $NAMESPACE --duration 24h
END
}

# What this machine lacks is said before half an hour of builds, not after.
preflight() {
  local lacks
  lacks=$(cluster/cluster.sh doctor | grep -v '^ok ' || true)
  if [ -n "$lacks" ]; then
    printf '\n%s\n' "$lacks" >&2
    die "this machine lacks something" "see above; make cluster-doctor lists all requirements"
  fi
}

# Compilers leave a core free again and again, and so does a cluster: both come up at the same time. Each in a process
# group of its own, which ends with this script, and both end when one fails.
build() {
  set -m
  cluster/build-images.sh programs </dev/null &
  jobs+=($!)
  # An engine that it starts outlives this script, and would keep what reads our output waiting.
  cluster/cluster.sh up </dev/null 4>&- &
  jobs+=($!)
  set +m
  trap end_jobs EXIT
  wait -n "${jobs[@]}"
  wait "${jobs[0]}"
  wait "${jobs[1]}"
  trap - EXIT
  jobs=()
  cluster/build-images.sh
}

# Returns when they have ended, so that the next run finds their locks free.
end_jobs() {
  local job
  for job in "${jobs[@]}"; do kill -- "-$job" 2>/dev/null || true; done
  wait
}

# Ctrl-C, or a terminal that is gone.
interrupted() {
  trap '' INT TERM HUP
  end_jobs
  trap - EXIT
  { echo; say "interrupted; finished steps are kept: make demo continues from there"; } >&4
  exit 130
}

up() {
  local applied
  # What is interrupted may have its own output elsewhere.
  exec 4>&1
  trap interrupted INT TERM HUP
  preflight
  [ -n "$(ls -A "$CACHE/tools" 2>/dev/null)" ] ||
    say "nothing is built yet: 25 to 45 minutes on two cores, two minutes the next time"
  build
  install
  if kubectl get spl "$PIPELINE" -n "$NAMESPACE" >/dev/null 2>&1; then
    say "pipeline: kubectl apply -f examples/demo.yaml (it exists already)"
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
  kubectl --request-timeout 10s get --raw /readyz >/dev/null 2>&1 ||
    die "the cluster does not answer" "make cluster   (brings it back, with the demo in it)" "make cluster-down   (removes all of it)"
  kubectl delete namespace "$NAMESPACE" --ignore-not-found
  helm uninstall millrace --namespace "$SYSTEM" --ignore-not-found
}

case "${1:-up}" in
up | down) "$1" ;;
*) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

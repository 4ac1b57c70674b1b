#!/usr/bin/env bash
# Tests of the chart that need no cluster: lint, what it renders over a matrix of values, and which values it refuses.
# Each check of rendered text has a negative control: it must fail on a text that breaks its rule.
set -uo pipefail
cd "$(dirname "$0")" || exit

chart=millrace
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED: %s\n' "$1" >&2; }
# Runs a command that must succeed, or with `refuses` must fail.
holds() { local what=$1; shift; if "$@" >"$work/out" 2>&1; then pass; else fail "$what"; sed 's/^/    /' "$work/out" >&2; fi; }
refuses() { local what=$1; shift; if "$@" >"$work/out" 2>&1; then fail "$what"; else pass; fi; }

render() { helm template m "$chart" --namespace home --kube-version 1.34.0 "$@"; }

# The documents of one kind, each ended by a line `---`.
documents() { # KIND FILE
  awk -v kind="$1" '
    function flush() { if (document ~ "(^|\n)kind: " kind "\n") printf "%s---\n", document; document = "" }
    /^---/ { flush(); next } { document = document $0 "\n" } END { flush() }' "$2"
}
count() { documents "$1" "$2" | grep -c '^---$'; }

# --- what must hold of every rendering; each takes the file

no_wildcard() { ! { for kind in Role ClusterRole; do documents $kind "$1"; done; } | grep -nE "[[:space:]\[\"',]\*([]\"',[:space:]]|$)"; }
# Whose token it is, the console may ask, and nobody else.
no_secrets() { ! { for kind in Role ClusterRole; do documents $kind "$1"; done; } | awk 'BEGIN { RS = ORS = "---\n" } /component: console/ { sub(/resources: \[tokenreviews\]/, "") } 1' | grep -niE 'secrets|impersonate|escalate|bind\b|pods/exec|tokenreview|nodes'; }
# The console changes nothing with its own account: it looks, and asks whose a token is.
console_only_looks() { ! { for kind in Role ClusterRole; do documents $kind "$1"; done; } | awk 'BEGIN { RS = "---\n" } /component: console/' | grep -E '^ *verbs:' | grep -vE 'verbs: \[(create|get|list, watch)\]$' && ! { for kind in Role ClusterRole; do documents $kind "$1"; done; } | awk 'BEGIN { RS = "---\n" } /component: console/' | grep -B1 'verbs: \[create\]' | grep resources: | grep -v tokenreviews; }
restricted() {
  local document line pods=0
  while IFS= read -r -d $'\x01' document; do
    [ -n "${document//[[:space:]]/}" ] || continue
    pods=$((pods + 1))
    for line in 'runAsNonRoot: true' 'type: RuntimeDefault' 'allowPrivilegeEscalation: false' \
      'readOnlyRootFilesystem: true' '- ALL'; do
      grep -qF -- "$line" <<<"$document" || { echo "a pod lacks '$line'"; return 1; }
    done
    ! grep -E 'hostPath|hostNetwork|hostPID|privileged: true|add:' <<<"$document" || return 1
    grep -q 'memory:' <<<"$document" || { echo 'a pod has no memory'; return 1; }
  done < <(for kind in Deployment Pod Job; do documents $kind "$1"; done | sed 's/^---$/\x01/')
  [ $pods -ge 1 ] || { echo 'no pod found'; return 1; }
}
leases_in_home_only() {
  local lease
  lease=$(for kind in Role ClusterRole; do documents $kind "$1"; done | awk 'BEGIN { RS = "---\n" } /leases/')
  [ "$(grep -c '^kind: Role$' <<<"$lease")" = 1 ] && grep -q '^  namespace: home$' <<<"$lease" && ! grep -q ClusterRole <<<"$lease"
}
parses_as_one_crd() { [ "$(count CustomResourceDefinition "$1")" = "$2" ]; }

# --- lint

holds 'helm lint' helm lint --quiet "$chart"
holds 'helm lint with every value set' helm lint --quiet "$chart" --values test-values.yaml
holds 'helm package' helm package "$chart" --destination "$work"

# --- the matrix

declare -A matrix=(
  [defaults]=''
  [namespace-scope]='--set scope=namespace'
  [namespaces]='--set scope=namespace,watchNamespaces={a,b}'
  [no-crds]='--set crds.install=false'
  [no-rbac]='--set rbac.create=false'
  [no-policy]='--set admissionPolicy.create=false'
  [no-account]='--set serviceAccount.create=false'
  [replicas]='--set replicaCount=3,podDisruptionBudget.enabled=true'
  [closed]='--set networkPolicy.enabled=true,metrics.service.enabled=false'
  [console]='--set console.enabled=true'
  [console-namespaces]='--set console.enabled=true,scope=namespace,watchNamespaces={a,b},networkPolicy.enabled=true'
  [everything]='--values test-values.yaml'
)
if [ -f ../examples/demo-values.yaml ]; then matrix[demo]='--values ../examples/demo-values.yaml --set image.tag=t,worker.image.tag=t,console.image.tag=t'; fi
for name in "${!matrix[@]}"; do
  file=$work/$name.yaml
  # shellcheck disable=SC2086
  if ! render ${matrix[$name]} >"$file" 2>"$work/error"; then fail "$name renders: $(cat "$work/error")"; continue; fi
  pass
  holds "$name: no wildcard" no_wildcard "$file"
  holds "$name: no right to Secrets, nodes or more rights" no_secrets "$file"
  holds "$name: pods are restricted" restricted "$file"
  holds "$name: the console only looks" console_only_looks "$file"
  if [ "$name" != no-rbac ]; then holds "$name: leases in the operator's namespace alone" leases_in_home_only "$file"; fi
done

# --- what single values do

says() { local name=$1; shift; holds "$name says $*" grep -qF -- "$*" "$work/$name.yaml"; }
lacks() { local name=$1; shift; refuses "$name lacks $*" grep -qF -- "$*" "$work/$name.yaml"; }
counts() { holds "$1 has $3 $2" test "$(count "$2" "$work/$1.yaml")" = "$3"; }

counts defaults CustomResourceDefinition 2
counts defaults ValidatingAdmissionPolicy 1
counts defaults ValidatingAdmissionPolicyBinding 1
counts defaults ClusterRole 3
counts defaults ClusterRoleBinding 1
counts defaults Deployment 1
counts defaults Service 1
counts defaults PodDisruptionBudget 0
counts defaults NetworkPolicy 0
says defaults 'helm.sh/resource-policy: keep'
says defaults 'image: "millrace/operator:0.1.0"'
says defaults '"--worker-image=millrace/worker:0.1.0"'
lacks defaults '--watch-namespace'
lacks defaults '--allowed-source-host'
counts no-crds CustomResourceDefinition 0
counts no-policy ValidatingAdmissionPolicy 0
counts no-rbac ClusterRole 0
counts no-account ServiceAccount 1 # that of the test alone
counts namespace-scope ClusterRoleBinding 0
says namespace-scope '"--watch-namespace=home"'
counts namespaces Role 4 # a, b, the lease, the test
says namespaces '"--watch-namespace=a"'
says namespaces '"--watch-namespace=b"'
says namespaces '"--namespace=a"'
counts replicas PodDisruptionBudget 1
says replicas 'replicas: 3'
counts closed NetworkPolicy 1
counts closed Service 0
says everything 'image: "registry.example.com/millrace/operator@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"'
says everything '"--worker-image=registry.example.com/millrace/worker:1.2.3"'
says everything '"--allowed-source-host=sample-source.demo.svc"'
says everything '"--image-pull-secret=pipelines"'
says everything '"--worker-env=RUST_LOG=debug"'
counts defaults Role 2 # the lease, the test
counts console Deployment 2
counts console ClusterRole 6
counts console ClusterRoleBinding 2
says console 'image: "millrace/console:0.1.0"'
lacks console '--masked-field'
lacks console '--secure-cookies'
counts console-namespaces ClusterRoleBinding 1
counts console-namespaces Role 6 # a and b twice, the lease, the test
counts console-namespaces NetworkPolicy 2
says everything '"--masked-field=email"'
says everything '--secure-cookies'
says everything '"--extra"'
says everything 'value: "info,kube=warn"'
lacks everything 'helm.sh/resource-policy: keep'
# shellcheck disable=SC2016
holds 'every value that can be set is used in the matrix' awk '
  /^ *#/ || /^ *$/ { next }
  { match($0, /^ */); depth = RLENGTH / 2; name = $1; sub(/:.*/, "", name) }
  FNR == NR && depth == 0 { wanted[name] = 1; next } FNR != NR && depth == 0 { delete wanted[name] }
  END { for (name in wanted) { print "test-values.yaml does not set " name; missing = 1 } exit missing }' \
  "$chart/values.yaml" test-values.yaml
holds 'the hooks of the test are not part of the release' \
  test "$(awk 'BEGIN { RS = "---\n" } /helm.sh\/hook: test/' "$work/defaults.yaml" | grep -c '^kind: ')" = 4
holds 'no rendered label is too long' \
  helm template "$(printf 'r%.0s' {1..53})" "$chart" --kube-version 1.34.0 --set nameOverride="$(printf 'n%.0s' {1..63})"

# --- which values are refused

for bad in repliccaCount=2 image.tga=1 image.pullPolicy=Sometimes scope=galaxy sources.allowedHost=x \
  sources.allowedHosts='{http://x}' crds.instal=true worker.env.A-B=1 tests.timeout=soon watchNamespaces='{a}' \
  resources.limit.memory=1Gi metrics.service.port=http image.digest=sha256:abc serviceAccount.nam=x \
  podDisruptionBudget.enabled=maybe console.enabled=yes-please console.maskedField=x console.maskedFields='{a\,b}' \
  console.service.port=0; do
  refuses "--set $bad is refused" render --set "$bad"
done

# --- the checks themselves: each must fail on what it forbids

sed 's/resources: \[streamingpipelines\]/resources: ["*"]/' "$work/defaults.yaml" >"$work/bad.yaml"
refuses 'negative control: a wildcard resource' no_wildcard "$work/bad.yaml"
sed 's/verbs: \[get, list, watch\]/verbs: [*]/' "$work/defaults.yaml" >"$work/bad.yaml"
refuses 'negative control: a wildcard verb' no_wildcard "$work/bad.yaml"
sed 's/resources: \[pods\]/resources: [pods, secrets]/' "$work/defaults.yaml" >"$work/bad.yaml"
refuses 'negative control: Secrets' no_secrets "$work/bad.yaml"
sed 's/verbs: \[list, watch\]/verbs: [list, watch, delete]/' "$work/console.yaml" >"$work/bad.yaml"
refuses 'negative control: a console that deletes' console_only_looks "$work/bad.yaml"
sed 's/resources: \[tokenreviews\]/resources: [pods]/' "$work/console.yaml" >"$work/bad.yaml"
refuses 'negative control: a console that creates pods' console_only_looks "$work/bad.yaml"
sed 's/verbs: \[get, list, watch\]/verbs: [create]/; s/resources: \[pods\]/resources: [tokenreviews]/' "$work/defaults.yaml" >"$work/bad.yaml"
refuses 'negative control: an operator that reviews tokens' no_secrets "$work/bad.yaml"
for line in 'runAsNonRoot: true' 'type: RuntimeDefault' 'allowPrivilegeEscalation: false' 'readOnlyRootFilesystem: true' '- ALL'; do
  # Out of the last pod only, so that the first one cannot stand in for it.
  tac "$work/defaults.yaml" | awk -v line="$line" '!done && index($0, line) { done = 1; next } 1' | tac >"$work/bad.yaml"
  refuses "negative control: a pod without '$line'" restricted "$work/bad.yaml"
done
render --set securityContext.privileged=true >"$work/bad.yaml"
refuses 'negative control: privileged' restricted "$work/bad.yaml"
refuses 'negative control: no pods at all' restricted /dev/null
sed 's/^  namespace: home$/  namespace: elsewhere/' "$work/defaults.yaml" >"$work/bad.yaml"
refuses 'negative control: a lease elsewhere' leases_in_home_only "$work/bad.yaml"

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]

# Every command a person may run. `make` alone lists them; a target is listed by the comment after its `##`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# kind, kubectl and helm of the cluster's own versions come first, in every recipe.
CACHE := $(or $(MILLRACE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millrace)
export PATH := $(CACHE)/bin:$(PATH)

.PHONY: help
help: ## lists these commands
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z0-9-]*:.*## / { \
	    line = sprintf("  make %-17s", $$1); words = split($$2, word, " "); \
	    for (i = 1; i <= words; i++) { \
	      if (length(line " " word[i]) > 80) { print line; line = sprintf("%24s", "") } \
	      line = line " " word[i] } \
	    print line }' $(MAKEFILE_LIST)

##@ Cluster (docs/cluster.md)

.PHONY: cluster cluster-down cluster-status cluster-doctor
cluster: ## brings up the three-node kind cluster, registry and store images; may be repeated
	@cluster/cluster.sh up

cluster-down: ## removes the cluster; what was built stays cached
	@cluster/cluster.sh down

cluster-status: ## shows what runs
	@cluster/cluster.sh status

cluster-doctor: ## shows what this machine lacks for it
	@cluster/cluster.sh doctor

##@ Images (docs/images.md)

.PHONY: images push test-images
images: ## builds our images, and puts them on the nodes if there is a cluster; tags in target/images.env
	@cluster/build-images.sh

push: ## builds and pushes our images to REGISTRY (host/path), and prints the helm command that uses them; TAG is optional
	@release/push.sh "$(REGISTRY)" "$(TAG)"

test-images: ## checks the store images against the contract that the operator relies on
	@cluster/contract-test.sh

##@ Command (docs/command.md)

.PHONY: install-command
install-command: ## installs `millrace` where cargo installs, and links it as `kubectl millrace`
	@cargo build --release --locked --workspace --bin millrace
	@install -D -m 755 "$${CARGO_TARGET_DIR:-target}/release/millrace" "$${CARGO_HOME:-$$HOME/.cargo}/bin/millrace"
	@ln -sf millrace "$${CARGO_HOME:-$$HOME/.cargo}/bin/kubectl-millrace"

##@ Release (docs/release.md)

.PHONY: release
release: ## tries a release of VERSION with the cluster's registry; with PUBLISH=host/path publishes it there
	@release/release.sh "$(VERSION)" $(if $(PUBLISH),--publish "$(PUBLISH)")

##@ Demo

.PHONY: demo demo-down fresh
demo: ## from nothing to rows in Cassandra: cluster, chart, pipeline, and what arrived
	@examples/demo.sh up

demo-down: ## removes the demo's pipeline, source and operator; the cluster stays
	@examples/demo.sh down

fresh: ## both of the README's commands from a clean clone with empty caches, and how long each step took; hours
	@.ci/fresh

##@ Benchmark (docs/benchmark.md)

.PHONY: bench bench-quick bench-report bench-operator bench-down
bench: ## measures the worker, its peers and the ceiling on the cluster's stores, and writes the page; takes an hour and a half
	@bench/bench.py run

bench-quick: ## the same with fewer records and peers, each once, in at most ten minutes; the page stays as it is
	@bench/bench.py run --quick --result bench/results/quick.json

bench-report: ## makes page and plots anew from the last results
	@bench/bench.py report

bench-operator: ## measures the operator with PIPELINES (1000) idle pipelines for IDLE_SECONDS (600) and under EDITS (200); needs no cluster
	@PATH=$$(cluster/cluster.sh tools kube-apiserver etcd helm):$$PATH \
	  cargo test --package millrace-operator --locked --test apiserver -- --ignored --nocapture figures::

bench-down: ## removes the benchmark's stores
	@bench/bench.py down

##@ Tests

.PHONY: test test-full seeded-bugs fuzz real-world test-fast test-e2e test-memtables chaos-data operator-local generate console-dev console-page
test: ## runs the tests, on the real cluster at the end, and says which scenarios it leaves out; what CI runs
	@.ci/test

test-full: ## runs every test with the long waits, and notes it in docs/full-runs.jsonl
	@E2E_FULL=1 .ci/test

fuzz: ## feeds each parser of foreign bytes for FUZZ_SECONDS (600) and prints how many inputs it took; takes hours
	@.ci/fuzz

seeded-bugs: ## plants each bug of operator/tests/seeded, one at a time, and prints which test caught it
	@operator/tests/seeded/run.sh

real-world: ## runs the tests that docs/real-world.md names, row by row; CLUSTER=1 runs those that need the cluster, too
	@.ci/real-world $(if $(CLUSTER),--cluster)

test-fast: ## runs the tests that need no cluster
	@.ci/test format shell release clippy docs generated unit

test-e2e: ## runs the tests that need the cluster
	@.ci/test cluster images chart e2e

test-memtables: ## compares trie memtables with skip lists on a real node, and whether writes go on at their limit; minutes
	@bench/memtables.py run

chaos-data: ## 500 faults under ten million records, another seed each day, every record compared; then a cut-off leader
	@E2E_CHAOS_FAULTS=$${E2E_CHAOS_FAULTS:-500} E2E_CHAOS_RECORDS=$${E2E_CHAOS_RECORDS:-10000000} \
	  E2E_CHAOS_RATE=$${E2E_CHAOS_RATE:-4000} E2E_CHAOS_KILLS=$${E2E_CHAOS_KILLS:-50} E2E_CHAOS_SEED=$${E2E_CHAOS_SEED:-$$(date +%Y%m%d)} \
	  e2e/run.sh faults_at_random a_cut_off_leader

operator-local: ## runs this checkout's operator on this machine in place of the release's; see docs/tests.md
	@e2e/operator-local.sh

console-dev: ## serves the console's page as its sources are, in front of a console (CONSOLE=http://localhost:8080)
	@cd console/web && npm ci --silent --no-audit --no-fund --prefer-offline && node dev.mjs $(CONSOLE)

console-page: ## writes the console's OpenAPI document, the page's types and the built page anew; wants Node
	@console/page.sh

generate: ## writes CRD, chart CRD and CRD reference anew from the Rust types
	@charts/generate.sh

#!/usr/bin/env python3
"""The benchmark of Kafka to Cassandra: Millrace's worker, its peers, and the ceiling, on the real cluster's stores.

  bench.py run [--quick]   builds the peers, brings the stores up, measures, and writes results/latest.json and the page
  bench.py compare FILE... shows rates and costs of several results side by side
  bench.py report          makes docs/benchmark.md and its plots anew from results/latest.json
  bench.py down            removes the stores

What is measured, and how sure it is, stands on the page itself (docs/benchmark.md).
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from millrace_bench import report
from millrace_bench.plan import MEMTABLES, QUICK, REPOSITORY, RESULT, WHOLE, Plan, cache, read_peers


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="measures and writes the page")
    run.add_argument("--quick", action="store_true", help="fewer records, fewer peers, each once: at most 10 minutes")
    run.add_argument("--peers", help="only these, separated by commas")
    run.add_argument("--records", type=int)
    run.add_argument("--repetitions", type=int)
    run.add_argument("--sweep-records", type=int, help="0: no sweep")
    run.add_argument("--latency-seconds", type=int, help="0: no latency")
    run.add_argument("--memtable", choices=[kind for kind in MEMTABLES if kind],
                     help="Cassandra's memtables; another kind than before restarts the node. Default: the operator's")
    run.add_argument("--result", type=Path, default=RESULT)
    run.add_argument("--resume", action="store_true",
                     help="goes on with a result that broke off: measures only what is not in it yet")
    # From here on with the harness' packages and the cluster's DNS.
    inside = verbs.add_parser("measure", help=argparse.SUPPRESS)
    inside.add_argument("plan")
    inside.add_argument("result", type=Path)
    inside.add_argument("--resume", action="store_true")
    compare = verbs.add_parser("compare", help="shows several results side by side")
    compare.add_argument("results", type=Path, nargs="+")
    verbs.add_parser("report", help="makes the page from the result")
    verbs.add_parser("down", help="removes the stores")
    return parser.parse_args()


def plan_of(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else WHOLE
    fields = ("records", "repetitions", "sweep_records", "latency_seconds", "memtable")
    given = {name: getattr(options, name) for name in fields}
    given["peers"] = tuple(options.peers.split(",")) if options.peers else None
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def run(options: argparse.Namespace) -> None:
    from millrace_bench import cluster, tools

    plan = plan_of(options)
    # The harness fills the topic with the worker, whether or not it competes.
    for peer in {peer.name: peer for peer in [*read_peers(("millrace",)), *read_peers(plan.peers)]}.values():
        print(f"building {peer.name}", flush=True)
        tools.build(peer)
    python = tools.venv_up()
    cluster.operator_up()
    cluster.stores_up(plan.memtable)
    # Kafka's advertised names are known to the cluster's DNS only; a mount of our own changes nothing for others.
    script = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    subprocess.run(["unshare", "--mount", *user, "bash", "-c", script, "bash", cluster.resolver_file(),
                    python, __file__, "measure", plan.to_json(), options.result.resolve(),
                    *(["--resume"] if options.resume else [])], check=True)
    if options.result == RESULT:
        report.write(RESULT, REPOSITORY / "docs")


def main() -> None:
    options = arguments()
    os.environ["PATH"] = f"{cache() / 'bin'}:{os.environ['PATH']}"
    match options.verb:
        case "run":
            run(options)
        case "measure":
            from millrace_bench.measure import measure
            measure(Plan.from_json(options.plan), options.result, options.resume)
        case "compare":
            print(report.compared({path.stem: json.loads(path.read_text()) for path in options.results}), end="")
        case "report":
            report.write(RESULT, REPOSITORY / "docs")
        case "down":
            from millrace_bench import cluster
            cluster.stores_down()


if __name__ == "__main__":
    sys.exit(main())

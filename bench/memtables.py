#!/usr/bin/env python3
"""Compares trie memtables with skip lists on a real node (docs/decisions/0031-trie-memtables.md).

  memtables.py run                                    both of the below, on nodes in containers
  memtables.py equal ADDRESS --nodetool COMMAND       the same random writes and deletions into a table of each kind
  memtables.py pressure ADDRESS skiplist|trie         writes into eight tables while memtables are at their limit

A node that is given by its address must have the configurations `skiplist` and `trie` (memtable_check/node.py).
"""

import argparse
import os
import random
import shlex
import sys
from pathlib import Path

from millrace_bench.tools import venv_up

# cluster/lib/base.sh has it, too.
IMAGE = "cassandra:5.0.9"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run")
    run.add_argument("--image", default=IMAGE)
    equal = verbs.add_parser("equal")
    equal.add_argument("address")
    equal.add_argument("--nodetool", type=shlex.split, required=True,
                       help="how to call it, such as 'docker exec NAME nodetool'")
    for verb in (run, equal):
        verb.add_argument("--operations", type=int, default=30_000)
        verb.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    pressure = verbs.add_parser("pressure")
    pressure.add_argument("address")
    pressure.add_argument("kind", choices=("skiplist", "trie"))
    for verb in (run, pressure):
        verb.add_argument("--seconds", type=int, default=120)
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    from memtable_check.equal import equal
    from memtable_check.node import PATIENT, TIGHT, node
    from memtable_check.pressure import STILL, pressure

    with node(options.image, PATIENT) as roomy:
        equal(roomy.address, roomy.nodetool, options.seed, options.operations)
        if errors := roomy.errors():
            sys.exit(f"the node's log has {len(errors)} errors, such as: {errors[0]}")
    with node(options.image, TIGHT) as tight:
        outcome = pressure(tight.address, "skiplist", options.seconds)
        print(f"skip lists: {outcome}", flush=True)
        if outcome.stood_still:
            sys.exit("writes into skip lists stood still: this says nothing about tries")
        outcome = pressure(tight.address, "skiplist", 2 * STILL, tight.paused)
        if not outcome.stood_still:
            sys.exit(f"negative control: {outcome}, while the node was paused, and nobody noticed")
        outcome = pressure(tight.address, "trie", options.seconds)
        print(f"tries: {outcome}", flush=True)
        if outcome.stood_still:
            sys.exit(f"writes into tries stood still; what the threads are at: {tight.dump_threads('memtables-trie')}")


def main() -> None:
    options = arguments()
    # The driver is among the harness' own packages.
    python = venv_up()
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), *sys.argv])
    match options.verb:
        case "run":
            run(options)
        case "equal":
            from memtable_check.equal import equal
            equal(options.address, options.nodetool, options.seed, options.operations)
        case "pressure":
            from memtable_check.pressure import pressure
            outcome = pressure(options.address, options.kind, options.seconds)
            print(outcome)
            sys.exit(outcome.stood_still)


if __name__ == "__main__":
    main()

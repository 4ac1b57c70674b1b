"""The order of a whole benchmark: warm-up, sweep, drains there and back, paced runs. Each result is kept at once."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

from . import cluster
from .drain import Bench, drain, probe
from .latency import paced
from .plan import DRAINED, FAULTS, MEMTABLES, Peer, Plan, cache, peer_cache, read_peers
from .stores import Cassandra, Expected, Kafka, fill

STARTED = time.time()


def say(text: str) -> None:
    seconds = int(time.time() - STARTED)
    print(f"[{seconds // 60:3d}:{seconds % 60:02d}] {text}", flush=True)


class Result:
    """What has been measured so far, on disk after every step, so that a run that breaks off is not lost."""

    def __init__(self, path: Path, plan: Plan, peers: list[Peer], stores: dict, resume: bool):
        self.path = path
        described = {peer.name: describe(peer) for peer in peers}
        self.content = {
            "plan": asdict(plan), "machine": cluster.machine(), "stores": stores, "peers": described, "sweep": [],
            "drains": [], "latencies": [], "failures": [], "resumed": [],
        }
        if resume:
            before = json.loads(path.read_text())
            kept = {name: before[name] for name in ("machine", "sweep", "drains", "latencies")}
            versions = {name: peer["versions"] for name, peer in described.items()
                        if peer["versions"] != before["peers"].get(name, peer)["versions"]}
            step = {"machine": self.content["machine"], "versions": versions}
            self.content |= kept | {"peers": before["peers"] | {
                name: peer for name, peer in described.items() if name not in before["peers"]},
                "resumed": [*before.get("resumed", []), step]}

    def of(self, kind: str, **wanted) -> list[dict]:
        """Returns what has been measured of a kind with these values."""
        return [entry for entry in self.content[kind] if all(entry.get(key) == value for key, value in wanted.items())]

    def add(self, kind: str, entry: dict) -> None:
        self.content[kind].append(entry)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.content, indent=1) + "\n")


def describe(peer: Peer) -> dict:
    """Returns what the page prints of a peer, with the versions that its build has noted."""
    versions = peer_cache(peer.name) / "versions.json"
    fields = {name: value for name, value in asdict(peer).items() if name != "name"}
    return {**fields, "versions": json.loads(versions.read_text()) if versions.exists() else {}}


def measure(plan: Plan, path: Path, resume: bool) -> None:
    """Runs the plan, or what of it is not in the result yet.

    A peer that fails is noted, left out from then on, and stops nobody else.
    """
    peers = read_peers(plan.peers)
    broker, node, keeper = (cluster.find(component) for component in ("kafka", "cassandra", "zookeeper"))
    stores = {"images": {"kafka": broker.image, "cassandra": node.image, "zookeeper": keeper.image},
              "configuration": cluster.configuration()}
    bench = Bench(Kafka(broker.address), Cassandra(node.address), broker, node, os.cpu_count() or 1,
                  cache() / "bench" / "logs")
    setting = "memtable_allocation_type"
    wanted, there = MEMTABLES[plan.memtable][setting], bench.cassandra.setting(setting)
    if wanted not in (None, there):
        raise SystemExit(f"the node runs with {setting} {there}, and not yet with {wanted}: run this again")
    result = Result(path, plan, peers, stores, resume)
    say(f"filling topic {DRAINED} with {plan.records} records")
    fill(bench.kafka, plan.records)
    expected = Expected(bench.kafka, DRAINED)
    Runs(plan, bench, expected, result, {peer.name: peer for peer in peers}).all()


class Runs:
    """The runs of a plan."""

    def __init__(self, plan: Plan, bench: Bench, expected: Expected, result: Result, peers: dict[str, Peer]):
        self.plan, self.bench, self.expected, self.result, self.peers = plan, bench, expected, result, peers
        self.best = {peer.name: peer.middle for peer in peers.values()}
        self.rates: dict[str, list[float]] = {name: [] for name in peers}

    def all(self) -> None:
        self.warm_up()
        if self.plan.sweep_records:
            for peer in list(self.peers.values()):
                self.guarded(peer, lambda: self.sweep(peer))
        for repetition in range(self.plan.repetitions):
            order = list(self.peers.values())
            for peer in order if repetition % 2 == 0 else reversed(order):
                self.guarded(peer, lambda: self.drain(peer, repetition))
        if self.plan.latency_seconds:
            for rate, share in [*((rate, None) for rate in self.plan.rates), *((None, share) for share in self.plan.shares)]:
                for peer in [peer for peer in self.peers.values() if not peer.ceiling]:
                    self.guarded(peer, lambda: self.paced(peer, rate, share))

    def warm_up(self) -> None:
        """Lets the first two peers, which write in different shapes, write in turn to JVMs that are cold as yet."""
        say(f"warm-up with {self.plan.warm_up_rows} rows, not counted")
        first = list(self.peers.values())[:2]
        for written in range(0, self.plan.warm_up_rows, self.plan.records):
            peer = first[written // self.plan.records % len(first)]
            if peer.name in self.peers:
                self.guarded(peer, lambda: probe(self.bench, peer, peer.middle, self.plan.records))

    def guarded(self, peer: Peer, step) -> None:
        try:
            step()
        except (Exception, SystemExit) as failure:
            say(f"{peer.name} FAILED and is left out from here on: {failure!r}")
            self.result.add("failures", {"peer": peer.name, "message": str(failure) or repr(failure)})
            self.peers.pop(peer.name, None)

    def sweep(self, peer: Peer) -> None:
        tried = self.result.of("sweep", peer=peer.name)
        for concurrency in peer.sweep[len(tried):]:
            entry = probe(self.bench, peer, concurrency, min(self.plan.sweep_records, self.plan.records))
            say(f"{peer.name} x{concurrency}: {entry['rows_per_second']:.0f} rows/s")
            self.result.add("sweep", {"peer": peer.name, **entry})
            tried.append(entry)
        self.best[peer.name] = max(tried, key=lambda entry: entry["rows_per_second"])["concurrency"]

    def drain(self, peer: Peer, repetition: int) -> None:
        done = self.result.of("drains", peer=peer.name, repetition=repetition)
        if done:
            self.rates[peer.name].append(done[0]["steady"]["rows_per_second"])
            return
        entry = drain(self.bench, peer, self.best[peer.name], self.plan.records, self.expected)
        steady = entry["steady"]
        self.rates[peer.name].append(steady["rows_per_second"])
        self.result.add("drains", {"repetition": repetition, **entry})
        costs = ", ".join(f"{name} {steady[f'{name}_micros']}" for name in ("client", "cassandra", "broker"))
        faults = ", ".join(f"{name} {entry[name]}" for name in FAULTS if name in entry)
        say(f"{peer.name} x{entry['concurrency']}: {steady['rows_per_second']:.0f} rows/s steady, "
            f"{entry['whole']['seconds']:.1f} s whole; µs a row: {costs}; others {steady['others_share']:.0%}; {faults}")

    def paced(self, peer: Peer, rate: int | None, share: float | None) -> None:
        if self.result.of("latencies", peer=peer.name, share=share, **({} if rate is None else {"rate": rate})):
            return
        rate = rate or max(int(median(self.rates[peer.name]) * share), 1)
        entry = paced(self.bench, peer, self.best[peer.name], rate, self.plan)
        self.result.add("latencies", {"peer": peer.name, "share": share, **entry})
        since = entry["since_due_ms"]
        of_maximum = "" if share is None else f" ({share:.0%})"
        say(f"{peer.name} at {rate} a second{of_maximum}: p50 {since['p50']} ms, p99 {since['p99']} ms, "
            f"p99.9 {since['p999']} ms since due")

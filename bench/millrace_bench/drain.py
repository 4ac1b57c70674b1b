"""One run over a full topic: an empty table, a fresh group, and a client that starts, drains and is stopped.

Progress is what the node itself counts as applied writes of this table, the same for every client however often it
commits; the end is when all rows are written. At least once means that the commit must follow: the run waits for that,
too, and then reads the whole table back and compares every cell with the record.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from .cluster import Store
from .figures import Sample, summary
from .plan import DATACENTER, DRAINED, KEYSPACE, TABLE, Peer, peer_cache
from .processes import Client, cpu_of, machine_cpu
from .stores import Cassandra, Expected, Kafka

# Between two looks while no row is there, and afterwards.
FIRST_ROW_STEP, STEP = 0.005, 0.2
# Without one more row or commit for so long, a client is stuck.
STUCK_AFTER = 90
# A group without any commit this long after the last row does not use Kafka's, as Spark, which has a checkpoint.
NO_COMMIT = 15
# From the last commit until the resting memory is read.
REST = 3
# Before a run, Cassandra's flushes and compactions of the last one must have ended: its CPU share of a core.
QUIET, QUIET_WITHIN = 0.15, 60


@dataclass(frozen=True)
class Bench:
    """What every run shares."""

    kafka: Kafka
    cassandra: Cassandra
    broker: Store
    node: Store
    cores: int
    logs: Path


def start(bench: Bench, peer: Peer, topic: str, group: str, concurrency: int, records: int) -> Client:
    """Starts a client with what every peer is told."""
    environment = {
        "BENCH_CACHE": str(peer_cache(peer.name)), "BENCH_BROKERS": bench.kafka.bootstrap, "BENCH_TOPIC": topic,
        "BENCH_GROUP": group, "BENCH_CASSANDRA": bench.cassandra.address, "BENCH_DATACENTER": DATACENTER,
        "BENCH_KEYSPACE": KEYSPACE, "BENCH_TABLE": TABLE, "BENCH_CONCURRENCY": str(concurrency),
        # For the ceiling only: how many rows to make up.
        "BENCH_RECORDS": str(records),
    }
    return Client([peer.directory / "run"], environment, bench.logs / f"{group}.log")


def clean(bench: Bench) -> int:
    """Empties the table, waits until the node is quiet, and returns its count of writes."""
    bench.cassandra.truncate()
    deadline = time.time() + QUIET_WITHIN
    while time.time() < deadline:
        before = cpu_of(bench.node.pid)
        time.sleep(1)
        if cpu_of(bench.node.pid) - before < QUIET:
            break
    return bench.cassandra.writes()


class Watch:
    """Samples of a running client, all counted from its start."""

    def __init__(self, bench: Bench, client: Client, writes: int):
        self.bench, self.client, self.writes = bench, client, writes
        self.zero = (cpu_of(bench.node.pid), cpu_of(bench.broker.pid), *machine_cpu())
        self.samples: list[Sample] = []
        self.peak = 0

    def look(self) -> Sample:
        node, broker, busy, stolen = self.zero
        self.client.look()
        rows = self.bench.cassandra.writes() - self.writes
        busy_now, stolen_now = machine_cpu()
        sample = Sample(seconds=time.time() - self.client.started, rows=rows, client=self.client.cpu(),
                        cassandra=cpu_of(self.bench.node.pid) - node, broker=cpu_of(self.bench.broker.pid) - broker,
                        busy=busy_now - busy, stolen=stolen_now - stolen)
        self.samples.append(sample)
        self.peak = max(self.peak, self.client.memory()[1])
        return sample


def until_first_row(watch: Watch) -> float:
    """Returns the seconds from exec to the first row that a reader gets."""
    while not watch.bench.cassandra.any_row():
        if watch.client.ended:
            raise SystemExit(f"the client has ended before its first row:\n{watch.client.tail()}")
        if time.time() - watch.client.started > STUCK_AFTER:
            raise SystemExit(f"no row within {STUCK_AFTER} s:\n{watch.client.tail()}")
        time.sleep(FIRST_ROW_STEP)
    return time.time() - watch.client.started


def until_rows(watch: Watch, rows: int) -> None:
    """Looks again and again until that many rows are written; gives up when they stand still."""
    last, moved = 0, time.time()
    while (now := watch.look().rows) < rows:
        if now != last:
            last, moved = now, time.time()
        if time.time() - moved > STUCK_AFTER:
            raise SystemExit(f"stuck at {now} rows:\n{watch.client.tail()}")
        # The ceiling ends by itself, after its last row.
        if watch.client.ended and watch.client.process.returncode != 0:
            raise SystemExit(f"the client has ended at {now} rows:\n{watch.client.tail()}")
        time.sleep(STEP)


def until_committed(watch: Watch, group: str, records: int) -> float | None:
    """Returns the seconds from exec to the commit of all records; absent for a client that keeps offsets elsewhere."""
    written, last, moved = time.time(), 0, time.time()
    while (committed := watch.bench.kafka.committed(DRAINED, group)) < records:
        now = time.time()
        if committed == 0 and now - written > NO_COMMIT:
            return None
        if committed != last:
            last, moved = committed, now
        if now - moved > STUCK_AFTER:
            raise SystemExit(f"all rows are written, but only {committed} records committed:\n{watch.client.tail()}")
        time.sleep(STEP)
    return round(time.time() - watch.client.started, 3)


def drain(bench: Bench, peer: Peer, concurrency: int, records: int, expected: Expected) -> dict:
    """Runs a client over the whole topic and returns everything that was measured."""
    writes = clean(bench)
    group = f"{peer.name}-{time.time_ns() // 1_000_000}"
    watch = Watch(bench, client := start(bench, peer, DRAINED, group, concurrency, records), writes)
    try:
        watch.look()
        first_row = until_first_row(watch)
        until_rows(watch, records)
        result = {"peer": peer.name, "concurrency": concurrency, "first_row_seconds": round(first_row, 3),
                  **summary(watch.samples, records, bench.cores)}
        if peer.ceiling:
            client.process.wait(STUCK_AFTER)
            kept = {"lost": records - bench.cassandra.count()}
        else:
            result["committed_seconds"] = until_committed(watch, group, records)
            time.sleep(REST)
            client.look()
            result["resting_bytes"] = client.memory()[0]
            kept = expected.compare(bench.cassandra)
        twice = watch.look().rows - records
        result |= {"peak_bytes": watch.peak, **kept, "twice": twice}
    finally:
        code = client.stop()
    return {**result, "exit_code": code}


def probe(bench: Bench, peer: Peer, concurrency: int, records: int) -> dict:
    """Runs a client until some rows are written and returns rate and cost: a run of the sweep, nothing is compared."""
    writes = clean(bench)
    group = f"{peer.name}-sweep-{concurrency}-{time.time_ns() // 1_000_000}"
    watch = Watch(bench, client := start(bench, peer, DRAINED, group, concurrency, records), writes)
    try:
        watch.look()
        until_first_row(watch)
        until_rows(watch, records)
    finally:
        client.stop()
    return {"concurrency": concurrency, **summary(watch.samples, records, bench.cores)["steady"]}

"""Writes into several tables while memtables are at their limit: they may wait for flushes, but never for good.

In a Cassandra without CASSANDRA-21019 a write into a trie memtable waits for memory while it holds the lock of its shard.
A write that a flush waits for may queue behind it, and then neither ends.
"""

import random
import time
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock, Semaphore

from cassandra.cluster import NoHostAvailable, Session

from .equal import connect, empty_keyspace

KEYSPACE = "memtable_pressure"
TABLES, KEYS, BYTES = 8, 1_000, 16_384
# More than the node has threads that write, so that some always wait for the locks.
IN_FLIGHT = 512
# Without one acknowledged write for so long, writes stand still: they give up, and are tried again, every two seconds.
STILL = 30


@dataclass
class Outcome:
    """What became of the writes."""

    acknowledged: int = 0
    failed: int = 0
    # Longest time without an acknowledged write, in seconds.
    gap: float = 0.0

    @property
    def stood_still(self) -> bool:
        return self.gap > STILL

    def __str__(self) -> str:
        return (f"{self.acknowledged} writes acknowledged, {self.failed} given up, "
                f"at most {self.gap:.1f} s without an acknowledged one")


class Load:
    """Writes under way, counted as they end."""

    def __init__(self, session: Session, kind: str):
        self.session = session
        self.lock, self.room = Lock(), Semaphore(IN_FLIGHT)
        empty_keyspace(session, KEYSPACE)
        tables = [f"{KEYSPACE}.{kind}_{number}" for number in range(TABLES)]
        for table in tables:
            session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, value blob) WITH memtable = '{kind}'")
        self.inserts = [session.prepare(f"INSERT INTO {table} (id, value) VALUES (?, ?)") for table in tables]
        self.value = random.randbytes(BYTES)
        self.outcome, self.last = Outcome(), time.monotonic()

    def acknowledged(self, _rows) -> None:
        with self.lock:
            now = time.monotonic()
            self.outcome.gap = max(self.outcome.gap, now - self.last)
            self.outcome.acknowledged += 1
            self.last = now
        self.room.release()

    def failed(self, _failure) -> None:
        with self.lock:
            self.outcome.failed += 1
        self.room.release()

    def send(self) -> None:
        if not self.room.acquire(timeout=1):
            return
        try:
            future = self.session.execute_async(random.choice(self.inserts), (random.randrange(KEYS), self.value))
        except NoHostAvailable:
            self.failed(None)
            time.sleep(0.1)
            return
        future.add_callbacks(self.acknowledged, self.failed)

    def has_stood_still(self) -> bool:
        with self.lock:
            self.outcome.gap = max(self.outcome.gap, time.monotonic() - self.last)
            return self.outcome.stood_still


def pressure(address: str, kind: str, seconds: int, disturbed=nullcontext) -> Outcome:
    """Writes for so long, or until writes stand still; meanwhile the node may be disturbed."""
    load = Load(connect(address), kind)
    end = load.last + seconds
    try:
        with disturbed():
            while time.monotonic() < end and not load.has_stood_still():
                load.send()
    finally:
        load.session.cluster.shutdown()
    return load.outcome

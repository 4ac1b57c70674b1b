"""Kafka and Cassandra as the harness speaks to them: fill, truncate, count, read whole, compare."""

import json
import time
import uuid
from datetime import datetime
from functools import cached_property

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy
from cassandra.query import SimpleStatement, tuple_factory
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from .plan import COLUMNS, DATACENTER, DRAINED, KEYSPACE, MOMENTS, SEED, TABLE, peer_cache
from .processes import Client

PARTITIONS = range(6)
FULL_TABLE = f"{KEYSPACE}.{TABLE}"
PRODUCED_AT = "millrace-produced-at"


class Kafka:
    """The only broker."""

    def __init__(self, address: str):
        self.bootstrap = f"{address}:9092"
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self.groups: dict[str, Consumer] = {}

    def consumer(self, group: str) -> Consumer:
        """Returns a client that asks for a group's offsets and never joins it."""
        if group not in self.groups:
            settings = {"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False,
                        "fetch.queue.backoff.ms": 5}
            self.groups = {group: Consumer(settings)}
        return self.groups[group]

    def bounds(self, topic: str) -> list[tuple[int, int]]:
        consumer = self.consumer("bench-harness")
        partitions = [TopicPartition(topic, partition) for partition in PARTITIONS]
        return [consumer.get_watermark_offsets(partition, timeout=20) for partition in partitions]

    def length(self, topic: str) -> int:
        return sum(high - low for low, high in self.bounds(topic))

    def committed(self, topic: str, group: str) -> int:
        """Returns how many records the group has committed."""
        partitions = [TopicPartition(topic, partition) for partition in PARTITIONS]
        offsets = self.consumer(group).committed(partitions, timeout=20)
        return sum(max(partition.offset, 0) for partition in offsets)

    def clear(self, topic: str) -> None:
        """Deletes all records; the next ones keep counting from where these ended."""
        ends = [TopicPartition(topic, partition, high) for partition, (_, high) in enumerate(self.bounds(topic))]
        for future in self.admin.delete_records(ends).values():
            future.result(30)

    def read(self, topic: str):
        """Yields every record that the topic holds now."""
        bounds = self.bounds(topic)
        consumer = self.consumer(f"bench-harness-{time.time_ns()}")
        consumer.assign([TopicPartition(topic, partition, low) for partition, (low, _) in enumerate(bounds)])
        left = sum(high - low for low, high in bounds)
        while left > 0:
            for message in consumer.consume(min(left, 10_000), timeout=5):
                if message.error():
                    raise SystemExit(f"cannot read {topic}: {message.error()}")
                left -= 1
                yield message

    def first(self, topic: str, key: bytes, within: float = 30):
        """Waits for a record of this key at the topic's beginning."""
        bounds, deadline = self.bounds(topic), time.time() + within
        consumer = self.consumer(f"bench-harness-{time.time_ns()}")
        consumer.assign([TopicPartition(topic, partition, low) for partition, (low, _) in enumerate(bounds)])
        while time.time() < deadline:
            for message in consumer.consume(1_000, timeout=0.05):
                if message.key() == key:
                    return message
        raise SystemExit(f"no record {key.decode()} in {topic} within {within} s")


def produced_at(message) -> float:
    """Returns when the worker handed a record to Kafka, in seconds since the Unix epoch."""
    return int(dict(message.headers())[PRODUCED_AT]) / 1e3


PRODUCE = """\
pipeline: {{namespace: bench, name: bench}}
kafka: {{bootstrapServers: ["{bootstrap}"]}}
sources:
- name: made-up
  topic: {topic}
  key: id
  fields: {{}}
  origin: !generator {{seed: {seed}, count: {count}, recordsPerSecond: {rate}}}
replicas: 1
allowedSourceHosts: []
bufferMemory: 64Mi
drainTimeout: 10s
httpPort: 0
"""


def producer(kafka: Kafka, topic: str, seed: int, count: int, rate: int | None = None) -> Client:
    """Starts the worker's own road from a generator into a topic; without a rate as fast as Kafka takes it."""
    home = peer_cache("millrace")
    path = home / "produce.yaml"
    path.write_text(PRODUCE.format(bootstrap=kafka.bootstrap, topic=topic, seed=seed, count=count, rate=rate or "null"))
    return Client([home / "worker", "produce", "--settings", path, "--ordinal", "0"], {}, home / "produce.log")


def fill(kafka: Kafka, records: int) -> None:
    """Fills the drained topic, unless it holds exactly these records already."""
    if kafka.length(DRAINED) == records:
        return
    kafka.clear(DRAINED)
    client = producer(kafka, DRAINED, SEED, records)
    while kafka.length(DRAINED) < records:
        if client.ended:
            raise SystemExit(f"the producer has ended:\n{client.tail()}")
        time.sleep(0.5)
    client.stop()


class Cassandra:
    """The only node."""

    def __init__(self, address: str):
        profile = ExecutionProfile(load_balancing_policy=DCAwareRoundRobinPolicy(DATACENTER), row_factory=tuple_factory,
                                   consistency_level=ConsistencyLevel.LOCAL_ONE, request_timeout=120)
        self.address = f"{address}:9042"
        self.cluster = Cluster([address], execution_profiles={EXEC_PROFILE_DEFAULT: profile})
        self.session = self.cluster.connect()

    @cached_property
    def by_id(self):
        return self.session.prepare(f"SELECT id FROM {FULL_TABLE} WHERE id = ?")

    def setting(self, name: str) -> str | None:
        """Returns a setting that the node runs with."""
        row = self.session.execute("SELECT value FROM system_views.settings WHERE name = %s", (name,)).one()
        return row[0] if row else None

    def truncate(self) -> None:
        self.session.execute(f"TRUNCATE {FULL_TABLE}")

    def writes(self) -> int:
        """Returns how many writes the node has applied to the table since its start, repeated ones included."""
        query = "SELECT count FROM system_views.local_write_latency WHERE keyspace_name = %s AND table_name = %s"
        row = self.session.execute(query, (KEYSPACE, TABLE)).one()
        return row[0] if row else 0

    def any_row(self) -> bool:
        return self.session.execute(f"SELECT id FROM {FULL_TABLE} LIMIT 1").one() is not None

    def rows(self):
        """Yields every row."""
        statement = SimpleStatement(f"SELECT {', '.join(COLUMNS)} FROM {FULL_TABLE}", fetch_size=5_000)
        return iter(self.session.execute(statement))

    def count(self) -> int:
        statement = SimpleStatement(f"SELECT id FROM {FULL_TABLE}", fetch_size=10_000)
        return sum(1 for _ in self.session.execute(statement))


class Expected:
    """What every row must be, from the records themselves: one number for each id, so that a million fit in memory."""

    def __init__(self, kafka: Kafka, topic: str):
        self.values: dict[int, int] = {}
        for message in kafka.read(topic):
            record = json.loads(message.value())
            cells = tuple(moment(record[name]) if name in MOMENTS else record[name] for name in COLUMNS[1:])
            self.values[uuid.UUID(record["id"]).int] = hash(cells)

    def compare(self, cassandra: Cassandra) -> dict:
        """Reads the table whole: rows that are missing, that differ in any cell, and that nobody sent."""
        met = mixed = foreign = 0
        for row in cassandra.rows():
            expected = self.values.get(row[0].int)
            if expected is None:
                foreign += 1
            elif expected == hash(row[1:]):
                met += 1
            else:
                mixed += 1
        return {"lost": len(self.values) - met - mixed, "mixed": mixed, "foreign": foreign}


def moment(text: str) -> datetime:
    """Returns the moment as the driver gives it back, in UTC without saying so."""
    return datetime.fromisoformat(text.removesuffix("Z"))

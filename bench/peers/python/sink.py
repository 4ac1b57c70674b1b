"""Kafka to Cassandra, as a Python service is written for it: asynchronous writes with a bound, a process for each core.

Every process is a member of the group. Acknowledgements come on the driver's thread, which refills the window from a
queue; an offset is committed when all writes of its partition before it are acknowledged.
"""

import json
import logging
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections import deque
from datetime import datetime

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
from confluent_kafka import Consumer, KafkaException, TopicPartition

COLUMNS = ("id", "first_name", "last_name", "gender", "address", "post_code", "email", "username", "dob",
           "registered_date", "phone", "picture")
COMMIT_EVERY = 1.0
CHUNK = 500

logging.basicConfig(level=logging.WARNING, format="%(process)d %(message)s")


class Partition:
    """The offsets of one partition that are under way, in order, and how far they are written."""

    def __init__(self):
        self.under_way: deque[list] = deque()
        self.next_offset: int | None = None

    def add(self, offset: int) -> list:
        entry = [offset, False]
        self.under_way.append(entry)
        return entry

    def advance(self) -> None:
        while self.under_way and self.under_way[0][1]:
            self.next_offset = self.under_way.popleft()[0] + 1


class Sink:
    def __init__(self):
        nodes = TokenAwarePolicy(DCAwareRoundRobinPolicy(os.environ["BENCH_DATACENTER"]))
        profile = ExecutionProfile(consistency_level=ConsistencyLevel.LOCAL_ONE, load_balancing_policy=nodes)
        host, port = os.environ["BENCH_CASSANDRA"].split(":")
        cluster = Cluster([host], port=int(port), execution_profiles={EXEC_PROFILE_DEFAULT: profile})
        self.session = cluster.connect(os.environ["BENCH_KEYSPACE"])
        self.insert = self.session.prepare(f"INSERT INTO {os.environ['BENCH_TABLE']} ({', '.join(COLUMNS)}) "
                                           f"VALUES ({', '.join('?' * len(COLUMNS))})")
        self.insert.is_idempotent = True
        self.window = threading.BoundedSemaphore(max(int(os.environ["BENCH_CONCURRENCY"]) // (os.cpu_count() or 1), 1))
        self.partitions: dict[int, Partition] = {}
        self.topic = os.environ["BENCH_TOPIC"]
        self.consumer = Consumer({
            "bootstrap.servers": os.environ["BENCH_BROKERS"], "group.id": os.environ["BENCH_GROUP"],
            "auto.offset.reset": "earliest", "enable.auto.commit": False, "fetch.queue.backoff.ms": 10,
            "partition.assignment.strategy": "cooperative-sticky", "queued.max.messages.kbytes": 16384,
        })
        self.stopped = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopped", True))

    def run(self) -> None:
        self.consumer.subscribe([self.topic], on_revoke=self.revoked)
        committed = time.monotonic()
        while not self.stopped:
            for message in self.consumer.consume(CHUNK, timeout=0.02):
                if message.error():
                    logging.warning("%s", message.error())
                    continue
                self.write(message)
            if time.monotonic() - committed >= COMMIT_EVERY:
                committed = time.monotonic()
                self.commit(asynchronous=True)
        self.settle()
        self.commit(asynchronous=False)
        self.consumer.close()

    def write(self, message) -> None:
        record = json.loads(message.value())
        row = (uuid.UUID(record["id"]), *(record[name] for name in COLUMNS[1:8]), moment(record["dob"]),
               moment(record["registered_date"]), record["phone"], record["picture"])
        entry = self.partitions.setdefault(message.partition(), Partition()).add(message.offset())
        self.window.acquire()
        self.send(row, entry)

    def send(self, row: tuple, entry: list) -> None:
        self.session.execute_async(self.insert, row).add_callbacks(self.written, self.again, callback_args=(entry,),
                                                                   errback_args=(row, entry))

    def written(self, _, entry: list) -> None:
        entry[1] = True
        self.window.release()

    def again(self, error: Exception, row: tuple, entry: list) -> None:
        logging.warning("cannot write: %s", error)
        threading.Timer(0.1, self.send, (row, entry)).start()

    def settle(self) -> None:
        while any(not written for partition in self.partitions.values() for _, written in list(partition.under_way)):
            time.sleep(0.005)

    def commit(self, asynchronous: bool) -> None:
        for partition in self.partitions.values():
            partition.advance()
        offsets = [TopicPartition(self.topic, number, partition.next_offset)
                   for number, partition in self.partitions.items() if partition.next_offset is not None]
        if offsets:
            try:
                self.consumer.commit(offsets=offsets, asynchronous=asynchronous)
            except KafkaException as error:
                logging.warning("cannot commit: %s", error)

    def revoked(self, _, partitions: list) -> None:
        self.settle()
        self.commit(asynchronous=False)
        for partition in partitions:
            self.partitions.pop(partition.partition, None)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.removesuffix("Z"))


def main() -> None:
    members = [multiprocessing.Process(target=lambda: Sink().run()) for _ in range(os.cpu_count() or 1)]
    for member in members:
        member.start()
    signal.signal(signal.SIGTERM, lambda *_: [member.terminate() for member in members])
    for member in members:
        member.join()


if __name__ == "__main__":
    main()

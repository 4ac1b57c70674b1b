"""The same random changes to a table of each kind: both must answer alike, and as the model says, at any time.

Compared are whole reads, reversed ones, slices and pages, while rows are in memtables, while these are flushed, from
files, and after a compaction. Near the end a control: a change that one of the three does not get must be found.
"""

import copy
import subprocess
import sys
import time
from collections import deque

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionBusy
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.query import BatchStatement, BatchType, tuple_factory

from .changes import BUCKETS, HOMES, SHORT, Change, Writer
from .model import Model
from .reads import Different, Read, as_shown, judge, reads

KEYSPACE = "memtable_check"
KINDS = ("skiplist", "trie")
# Requests under way at once.
IN_FLIGHT = 16
# In changes. Every fifth flush begins while answers are compared, the others while changes go on.
COMPARE_EVERY, FLUSH_EVERY = 500, 800
# Share of the requests that add to a counter.
COUNTED = 0.05
# Rows of a page: fewer than a partition has.
PAGE = 7

TABLES = ("""
    CREATE TABLE {keyspace}.rows_{kind} (
      home text, bucket int, place text, shared text static, labels set<text> static,
      number int, words text, held frozen<list<int>>, tags set<text>, facts map<text, int>, steps list<int>,
      PRIMARY KEY (home, bucket, place)
    ) WITH CLUSTERING ORDER BY (bucket ASC, place DESC) AND memtable = '{kind}'""", """
    CREATE TABLE {keyspace}.counted_{kind} (home text, bucket int, hits counter, PRIMARY KEY (home, bucket))
    WITH memtable = '{kind}'""")


def connect(address: str) -> Session:
    profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([address]), row_factory=tuple_factory,
                               request_timeout=60)
    return Cluster([address], execution_profiles={EXEC_PROFILE_DEFAULT: profile}).connect()


def empty_keyspace(session: Session, name: str) -> None:
    """Makes a keyspace of one copy; one of this name is dropped."""
    session.execute(f"DROP KEYSPACE IF EXISTS {name}")
    session.execute(f"CREATE KEYSPACE {name} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}")


class Pair:
    """A table of each kind, a table of counters beside each, and what is under way to them."""

    def __init__(self, session: Session):
        self.session = session
        self.prepared: dict = {}
        self.under_way: deque = deque()
        # When something was last sent that expires soon.
        self.short_at = 0.0
        empty_keyspace(session, KEYSPACE)
        for table in TABLES:
            for kind in KINDS:
                session.execute(table.format(keyspace=KEYSPACE, kind=kind))

    def bound(self, text: str, arguments: list):
        if text not in self.prepared:
            self.prepared[text] = self.session.prepare(text)
        return self.prepared[text].bind(arguments)

    def request(self, change: Change, kind: str):
        statements = [self.bound(statement.text.format(table=f"{KEYSPACE}.rows_{kind}"), statement.arguments)
                      for statement in change.statements]
        if len(statements) == 1:
            return statements[0]
        batch = BatchStatement(BatchType.UNLOGGED)
        for statement in statements:
            batch.add(statement)
        return batch

    def send(self, change: Change, kinds: tuple[str, ...] = KINDS) -> None:
        self.start([self.request(change, kind) for kind in kinds])
        if change.passes:
            self.short_at = time.time()

    def hit(self, home: str, bucket: int, more: int) -> None:
        text = "UPDATE {keyspace}.counted_{kind} SET hits = hits + ? WHERE home = ? AND bucket = ?"
        self.start([self.bound(text.format(keyspace=KEYSPACE, kind=kind), [more, home, bucket]) for kind in KINDS])

    def start(self, requests: list) -> None:
        for request in requests:
            while len(self.under_way) >= IN_FLIGHT:
                self.await_oldest()
            self.under_way.append((request, self.session.execute_async(request)))

    def await_oldest(self) -> None:
        request, future = self.under_way.popleft()
        try:
            future.result()
        except NoHostAvailable as failure:
            # The connection was full at that moment, and the request was not sent.
            if not all(isinstance(error, ConnectionBusy) for error in failure.errors.values()):
                raise
            time.sleep(0.1)
            self.start([request])

    def settle(self) -> None:
        """Waits until all is written, and until what expires soon has: after its time, in whole seconds of the node."""
        while self.under_way:
            self.await_oldest()
        time.sleep(max(self.short_at + SHORT + 1.5 - time.time(), 0))

    def rows(self, read: Read, kind: str) -> list[tuple]:
        statement = self.bound(read.text.format(keyspace=KEYSPACE, kind=kind), read.arguments)
        statement.fetch_size = PAGE
        return [as_shown(row) for row in self.session.execute(statement)]

    def compare(self, model: Model, writer: Writer) -> None:
        """Raises `Different` unless both tables give the same, and what the model expects."""
        self.settle()
        for read in reads(model, writer.random):
            judge(read, lambda kind, read=read: self.rows(read, kind), KINDS)


class Flushes:
    """Calls of nodetool, of which one may run while changes go on."""

    def __init__(self, nodetool: list[str]):
        self.nodetool = nodetool
        self.running: subprocess.Popen | None = None

    def start(self) -> None:
        self.end()
        self.running = subprocess.Popen([*self.nodetool, "flush", KEYSPACE])

    def end(self) -> None:
        if self.running is not None and self.running.wait() != 0:
            raise SystemExit(f"{' '.join(self.nodetool)} flush failed")
        self.running = None

    def flush(self) -> None:
        self.start()
        self.end()

    def compact(self) -> None:
        subprocess.run([*self.nodetool, "compact", KEYSPACE], check=True)


def equal(address: str, nodetool: list[str], seed: int, operations: int) -> None:
    """Makes changes and compares; ends the program at the first difference."""
    print(f"{operations} changes from seed {seed}", flush=True)
    pair, flushes, writer, model = Pair(connect(address)), Flushes(nodetool), Writer(seed), Model()
    number = 0
    try:
        for number in range(1, operations + 1):
            step(pair, writer, model)
            if number % COMPARE_EVERY == 0:
                pair.settle()
            if number % FLUSH_EVERY == 0:
                flushes.start()
            if number % COMPARE_EVERY == 0:
                pair.compare(model, writer)
            if number % (COMPARE_EVERY * 10) == 0:
                print(f"{number} changes: the same", flush=True)
        flushes.flush()
        pair.compare(model, writer)
        control(pair, writer, model)
        flushes.flush()
        flushes.compact()
        pair.compare(model, writer)
    except Different as found:
        sys.exit(f"DIFFERENT after {number} changes from seed {seed}: {found}")
    print(f"the same after {number} changes, from files and compacted; each of three planted differences was found")


def step(pair: Pair, writer: Writer, model: Model) -> None:
    if writer.random.random() < COUNTED:
        home, bucket, more = writer.random.choice(HOMES), writer.random.choice(BUCKETS), writer.random.randint(-9, 9)
        pair.hit(home, bucket, more)
        model.hits[home, bucket] += more
    else:
        change = writer.change()
        pair.send(change)
        change.apply(model)


def control(pair: Pair, writer: Writer, model: Model) -> None:
    """Keeps a change that shows from each of the three in turn, and ends the program if that is not found."""
    for left_out in (*KINDS, "model"):
        change = one_that_shows(writer, model)
        pair.send(change, tuple(kind for kind in KINDS if kind != left_out))
        if left_out != "model":
            change.apply(model)
        try:
            pair.compare(model, writer)
        except Different:
            pass
        else:
            sys.exit(f"negative control: {left_out} did not get {change.statements[0].text}, and nobody noticed")
        # Then it gets it, too, and they must be the same again.
        if left_out == "model":
            change.apply(model)
        else:
            pair.send(change, (left_out,))
        pair.compare(model, writer)


def one_that_shows(writer: Writer, model: Model) -> Change:
    before = [model.rows(home) for home in HOMES]
    while True:
        change, after = Change((writer.one(),)), copy.deepcopy(model)
        change.apply(after)
        if [after.rows(home) for home in HOMES] != before:
            return change

"""One run at a rate: how long after a record is due can a reader get its row.

Open loop: the worker's producer lets go of records at a fixed rate, however slow the client is. The ids of a seed are
known beforehand, so every 200th record is asked for by its id from the moment it is due until it is there. A reading
ends when the answer arrives that has the row; the answer before it, without the row, was sent at most one pause
earlier, which bounds the error and is reported as `bracket`. The pause is a millisecond, and for a record that is late
already a twentieth of its age, so that asking costs the node little.

Two readings of each sample: since it was *due*, which no stalled producer can flatter, and since it was *produced*, the
header that the worker's producer sets in whole milliseconds when it hands the record to Kafka.
"""

import heapq
import time
from collections import deque
from dataclasses import dataclass, field

from .drain import Bench, Watch, clean, start
from .figures import latency
from .plan import PACED, SEED, Peer, Plan
from .profiles import due, profile_id
from .stores import produced_at, producer

EVERY = 200
# Samples are asked for from this long before they are due.
LEAD = 0.002
LEAST_PAUSE, PAUSE_OF_AGE = 0.001, 0.05
# A record that is not there after this long counts as this late, and the run as overloaded.
GIVE_UP = 20
# Records that a client must have written before the clock starts, so that it has joined and is connected.
GREETING, GREETING_WITHIN = 2_000, 120


@dataclass
class Asked:
    """A sample and what has been answered so far."""

    index: int
    id: object
    due: float
    # When the last answer without the row was asked for. 0: the first answer had it.
    missing_at: float = 0.0
    # When the answer arrived that had the row. 0: none yet.
    readable_at: float = 0.0
    asked_at: float = field(default=0.0, repr=False)


class Poller:
    """Asks for each sample until it is there. Answers come on the driver's own thread and only queue up."""

    def __init__(self, bench: Bench, samples: list[Asked]):
        self.bench = bench
        self.answers: deque[tuple[Asked, bool, float]] = deque()
        self.turns = [(sample.due - LEAD, sample.index, sample) for sample in samples]
        heapq.heapify(self.turns)
        self.open = len(samples)

    def run(self) -> None:
        while self.open:
            self.take_answers()
            while self.turns and self.turns[0][0] <= time.time():
                self.ask(heapq.heappop(self.turns)[2])
            # Not a busy loop: the clients and the stores need the cores.
            until_next = self.turns[0][0] - time.time() if self.turns else LEAST_PAUSE
            time.sleep(min(max(until_next, LEAST_PAUSE / 2), 2 * LEAST_PAUSE))

    def ask(self, sample: Asked) -> None:
        sample.asked_at = time.time()
        answer = self.bench.cassandra.session.execute_async(self.bench.cassandra.by_id, (sample.id,))
        answer.add_callbacks(lambda rows: self.answers.append((sample, bool(rows), time.time())),
                             lambda _: self.answers.append((sample, False, time.time())))

    def take_answers(self) -> None:
        while self.answers:
            sample, there, at = self.answers.popleft()
            if there or at - sample.due > GIVE_UP:
                sample.readable_at = at
                self.open -= 1
            else:
                sample.missing_at = sample.asked_at
                pause = max(LEAST_PAUSE, PAUSE_OF_AGE * (at - sample.due))
                heapq.heappush(self.turns, (at + pause, sample.index, sample))


def greet(bench: Bench, client, seed: int, writes: int) -> None:
    """Waits until the client writes what it is sent."""
    sender = producer(bench.kafka, PACED, seed, GREETING)
    deadline = time.time() + GREETING_WITHIN
    try:
        while bench.cassandra.writes() - writes < GREETING:
            if client.ended or time.time() > deadline:
                raise SystemExit(f"the client does not write what it is sent:\n{client.tail()}")
            time.sleep(0.2)
    finally:
        sender.stop()


def paced(bench: Bench, peer: Peer, concurrency: int, rate: int, plan: Plan) -> dict:
    """Runs a client at a rate and returns the latencies after the warm-up."""
    bench.kafka.clear(PACED)
    writes = clean(bench)
    moment = time.time_ns() // 1_000_000
    count = rate * (plan.latency_warm_up + plan.latency_seconds)
    client = start(bench, peer, PACED, f"{peer.name}-paced-{moment}", concurrency, 0)
    sender = None
    try:
        greet(bench, client, SEED + 2 * moment, writes)
        bench.kafka.clear(PACED)
        seed = SEED + 2 * moment + 1
        watch = Watch(bench, client, bench.cassandra.writes())
        sender = producer(bench.kafka, PACED, seed, count, rate)
        begin = produced_at(bench.kafka.first(PACED, str(profile_id(seed, 0)).encode()))
        first = -(-rate * plan.latency_warm_up // EVERY)
        samples = [Asked(index, profile_id(seed, index), begin + due(index, rate))
                   for index in range(first * EVERY, count, EVERY)]
        watch.look()
        Poller(bench, samples).run()
        watch.look()
        return {"rate": rate, "concurrency": concurrency, "samples": len(samples), **readings(bench, samples, watch)}
    finally:
        if sender:
            sender.stop()
        client.stop()


def readings(bench: Bench, samples: list[Asked], watch: Watch) -> dict:
    """Returns percentiles since due and since produced, how late the producer was, and how sure all of this is."""
    produced = {message.key().decode(): produced_at(message) for message in bench.kafka.read(PACED)}
    handed = [produced[str(sample.id)] for sample in samples]
    # The schedule began when its most punctual record says so: the first one may have been late itself.
    shift = min(at - sample.due for sample, at in zip(samples, handed))
    begin, end = watch.samples[0], watch.samples[-1]
    return {
        "since_due_ms": latency([sample.readable_at - sample.due - shift for sample in samples]),
        "since_produced_ms": latency([sample.readable_at - at for sample, at in zip(samples, handed)]),
        "producer_late_ms": latency([at - sample.due - shift for sample, at in zip(samples, handed)]),
        "bracket_ms": latency([sample.readable_at - sample.missing_at for sample in samples if sample.missing_at]
                              or [0.0]),
        "first_answer_share": round(sum(not sample.missing_at for sample in samples) / len(samples), 4),
        "given_up": sum(sample.readable_at - sample.due > GIVE_UP for sample in samples),
        "client_micros": round((end.client - begin.client) / max(end.rows - begin.rows, 1) * 1e6, 2),
    }

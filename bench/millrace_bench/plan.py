"""Which peers run, over how many records, how often: read from the command line and from each peer's own file."""

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
REPOSITORY = BENCH.parent
PEERS = BENCH / "peers"
RESULT = BENCH / "results" / "latest.json"

# As in pipeline.yaml.
NAMESPACE, PIPELINE, KEYSPACE, TABLE, DATACENTER = "millrace-bench", "bench", "bench", "profiles", "dc1"
DRAINED, PACED = "profiles", "paced"
COLUMNS = ("id", "first_name", "last_name", "gender", "address", "post_code", "email", "username", "dob",
           "registered_date", "phone", "picture")
MOMENTS = ("dob", "registered_date")
# What a row can be other than right, as a drain's comparison counts it.
FAULTS = ("lost", "mixed", "foreign", "twice")

# Settings of Cassandra for each kind of memtables. None: no setting.
MEMTABLES = {
    None: {"memtable": None, "memtable_allocation_type": None},
    # As Cassandra has them where nobody chooses.
    "skiplist": {"memtable": "{configurations: {default: {inherits: skiplist}}}",
                 "memtable_allocation_type": "heap_buffers"},
    "trie": {"memtable": "{configurations: {trie: {class_name: TrieMemtable}, default: {inherits: trie}}}",
             "memtable_allocation_type": "offheap_objects"},
}

# Seed of the records that are drained; paced runs count on from here, so that no two share an id.
SEED = 4


@dataclass(frozen=True)
class Plan:
    """A whole benchmark."""

    records: int = 1_000_000
    # Runs of each peer over the full topic; every second time round in reverse order, so an even number is fair.
    repetitions: int = 2
    # Rows after which a run of the sweep is stopped. 0: no sweep, the middle of the peer's list is taken.
    sweep_records: int = 200_000
    # Rows that are written before anything counts: a JVM that has not compiled what runs often is slower by half.
    warm_up_rows: int = 1_500_000
    # Seconds that are measured of each paced run. 0: none.
    latency_seconds: int = 30
    # Seconds before them that are not.
    latency_warm_up: int = 15
    # Records a second of paced runs: the same for all, and shares of each client's own maximum.
    rates: tuple[int, ...] = (2_500, 10_000)
    shares: tuple[float, ...] = (0.5, 0.8)
    # Peers that run, in order. Empty: all that there are.
    peers: tuple[str, ...] = ()
    # Kind of memtables, one of MEMTABLES. None: what the operator sets.
    memtable: str | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Plan":
        fields = json.loads(text)
        return Plan(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})


WHOLE = Plan()
QUICK = replace(WHOLE, records=200_000, repetitions=1, sweep_records=0, latency_seconds=12, latency_warm_up=4,
                warm_up_rows=1_000_000, shares=(), peers=("latte", "millrace", "go", "python"))


@dataclass(frozen=True)
class Peer:
    """A client that is compared: a directory with `build`, `run` and `peer.json`."""

    name: str
    title: str
    description: str
    # Values of BENCH_CONCURRENCY worth trying, ascending.
    sweep: tuple[int, ...]
    # Printed as they are.
    settings: dict = field(default_factory=dict)
    # Writes rows that it makes itself, as many as it is told, and ends; has no Kafka and no latency.
    ceiling: bool = False

    @property
    def directory(self) -> Path:
        return PEERS / self.name

    @property
    def middle(self) -> int:
        return self.sweep[len(self.sweep) // 2]


def cache() -> Path:
    """Returns where everything installed is kept; the same place as cluster/ uses."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MILLRACE_CACHE") or Path(home) / "millrace")


def peer_cache(name: str) -> Path:
    """Returns the BENCH_CACHE of one peer."""
    return cache() / "bench" / name


def read_peer(directory: Path) -> Peer:
    """Reads a peer's file; unknown fields are refused."""
    fields = json.loads((directory / "peer.json").read_text())
    return Peer(name=directory.name, **{**fields, "sweep": tuple(fields["sweep"])})


def read_peers(wanted: tuple[str, ...] = ()) -> list[Peer]:
    """Returns the wanted peers in the wanted order, or all by name, the ceiling first."""
    complete = [path for path in PEERS.iterdir() if all((path / f).exists() for f in ("build", "run", "peer.json"))]
    there = {path.name: read_peer(path) for path in complete}
    missing = [name for name in wanted if name not in there]
    if missing:
        raise SystemExit(f"no such peer: {', '.join(missing)}; there are {', '.join(sorted(there))}")
    return [there[name] for name in wanted] or sorted(there.values(), key=lambda peer: (not peer.ceiling, peer.name))

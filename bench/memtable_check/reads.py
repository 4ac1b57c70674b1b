"""What is asked of both tables, and when two answers differ."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from .changes import BUCKETS, HOMES, PLACES
from .model import SELECTED, Model


class Different(Exception):
    """Two of the three do not agree."""


class Read(NamedTuple):
    """A query of a table of any kind, and what the model expects; None: only that both tables give the same."""

    text: str
    arguments: list
    expected: list[tuple] | None = None


ROWS = f"SELECT {', '.join(SELECTED)} FROM {{keyspace}}.rows_{{kind}}"
BACKWARDS = "ORDER BY bucket DESC, place ASC"
COUNTED = "SELECT home, bucket, hits FROM {keyspace}.counted_{kind} WHERE home = ?"

# Over all partitions, in the order of their tokens, which is the same for both tables.
EVERYWHERE = [
    Read(ROWS, []),
    Read(f"{ROWS} PER PARTITION LIMIT 2", []),
    Read("SELECT DISTINCT home, shared FROM {keyspace}.rows_{kind}", []),
    Read("SELECT count(*) FROM {keyspace}.rows_{kind}", []),
]


def reads(model: Model, random: Random) -> list[Read]:
    """Returns all queries, with other slices each time."""
    of_homes = [read for home in HOMES for read in of_home(home, model, random)]
    return of_homes + EVERYWHERE


def of_home(home: str, model: Model, random: Random) -> list[Read]:
    rows = model.rows(home)
    low, high = sorted(random.sample(range(BUCKETS.stop + 1), 2))
    bucket, place, limit = random.choice(BUCKETS), random.choice(PLACES), random.randint(1, 5)
    # A slice has no row for a partition that has nothing but its static row.
    between = [row for row in rows if row[1] is not None and low <= row[1] < high]
    whole, sliced = f"{ROWS} WHERE home = ?", f"{ROWS} WHERE home = ? AND bucket >= ? AND bucket < ?"
    return [
        Read(whole, [home], rows),
        Read(f"{whole} {BACKWARDS}", [home], rows[::-1]),
        Read(sliced, [home, low, high], between),
        Read(f"{sliced} {BACKWARDS} LIMIT {limit}", [home, low, high], between[::-1][:limit]),
        Read(f"{whole} AND bucket = ? AND place > ? {BACKWARDS}", [home, bucket, place]),
        Read(f"{whole} AND bucket = ? AND place = ?", [home, bucket, place]),
        Read(f"{whole} AND bucket IN (?, ?) AND place <= ?", [home, bucket, low, place]),
        Read(COUNTED, [home], model.counted(home)),
    ]


def judge(read: Read, answer: Callable[[str], list[tuple]], kinds: tuple[str, ...]) -> None:
    """Raises unless the tables of all kinds give the same, and what the model expects."""
    answers = {kind: answer(kind) for kind in kinds}
    if read.expected is not None:
        answers["model"] = read.expected
    (first, rows), *others = answers.items()
    for other, other_rows in others:
        if rows != other_rows:
            raise Different(f"{read.text} {read.arguments}\n{told(first, rows, other_rows)}\n"
                            f"{told(other, other_rows, rows)}")


def told(name: str, rows: list[tuple], others: list[tuple]) -> str:
    """Says how many rows there are, and which is the first that the other answer does not have in its place."""
    its_own = next((row for index, row in enumerate(rows) if others[index:index + 1] != [row]), None)
    return f"  {name}: {len(rows)} rows; " + ("none more" if its_own is None else brief(its_own))


def brief(row: tuple) -> str:
    return repr(tuple(f"{cell[:8]}… of {len(cell)}" if isinstance(cell, str) and len(cell) > 40 else cell
                      for cell in row))


def as_shown(row: tuple) -> tuple:
    """Returns a row of the driver's as the model has it; rows with other columns have nothing that differs."""
    if len(row) != len(SELECTED):
        return tuple(row)
    home, bucket, place, shared, labels, number, words, held, tags, facts, steps, written, ttl = row
    return (home, bucket, place, shared, in_order(labels), number, words, held and tuple(held), in_order(tags),
            in_order(facts and facts.items()), in_order(steps), written, None if words is None else ttl is not None)


def in_order(elements) -> tuple | None:
    return tuple(sorted(elements)) or None if elements else None

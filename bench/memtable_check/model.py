"""What a table must hold after any changes, by Cassandra's own rules of which write wins.

Only timestamps matter, never the order in which changes arrive. So changes may be under way at the same time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

# What a cell is. Between equal timestamps the higher one wins, then the larger value.
LASTING, EXPIRING, DELETED = range(3)

# Of each row, in this order: what a query gives and `Model.rows` expects.
SELECTED = ("home", "bucket", "place", "shared", "labels", "number", "words", "held", "tags", "facts", "steps",
            "WRITETIME(number)", "TTL(words)")


class Cell(NamedTuple):
    """A value, or the word that it is gone."""

    timestamp: int
    kind: int
    value: object
    # Whether its time to live is over before anything is compared.
    passes: bool = False


@dataclass
class Row:
    """A row, or a partition's static one."""

    # What INSERT leaves beside the cells: a row that exists without any.
    born: Cell | None = None
    # Up to which timestamp all is deleted.
    deleted: int = 0
    # By column and element; the element of a plain column is None.
    cells: dict[tuple, Cell] = field(default_factory=dict)
    # Up to which timestamp a collection's elements are deleted.
    cleared: dict[str, int] = field(default_factory=dict)

    def bear(self, cell: Cell) -> None:
        self.born = max(cell, self.born or cell)

    def delete(self, timestamp: int) -> None:
        self.deleted = max(timestamp, self.deleted)

    def write(self, column: str, element, cell: Cell) -> None:
        self.cells[column, element] = max(cell, self.cells.get((column, element), cell))

    def clear(self, column: str, timestamp: int) -> None:
        self.cleared[column] = max(timestamp, self.cleared.get(column, 0))

    def exists(self, floor: int) -> bool:
        """Returns whether a reader finds the row, when all up to a timestamp is deleted."""
        is_born = self.born is not None and self.born.timestamp > floor and not self.born.passes
        return is_born or bool(self.seen(floor))

    def seen(self, floor: int) -> dict[str, dict]:
        """Returns the cells that a reader finds, by column and element."""
        found: dict[str, dict] = defaultdict(dict)
        for (column, element), cell in self.cells.items():
            is_hidden = cell.timestamp <= max(floor, self.cleared.get(column, 0))
            if cell.kind != DELETED and not cell.passes and not is_hidden:
                found[column][element] = cell
        return found


@dataclass
class Partition:
    """The rows under one key."""

    deleted: int = 0
    # Deletions of ranges, each with the function that says of bucket and place whether it is meant.
    ranges: list[tuple[int, Callable[[int, str], bool]]] = field(default_factory=list)
    static: Row = field(default_factory=Row)
    rows: dict[tuple[int, str], Row] = field(default_factory=lambda: defaultdict(Row))

    def delete(self, timestamp: int) -> None:
        self.deleted = max(timestamp, self.deleted)

    def floor(self, key: tuple[int, str]) -> int:
        ranges = [timestamp for timestamp, covers in self.ranges if covers(*key)]
        return max(self.deleted, self.rows[key].deleted, *ranges)


class Model:
    """The table, and the counters beside it."""

    def __init__(self):
        self.partitions: dict[str, Partition] = defaultdict(Partition)
        self.hits: Counter = Counter()

    def row(self, home: str, key: tuple[int, str]) -> Row:
        return self.partitions[home].rows[key]

    def rows(self, home: str) -> list[tuple]:
        """Returns a partition's rows as a query gives them: buckets ascending, places descending."""
        partition = self.partitions[home]
        static = partition.static.seen(partition.deleted)
        shared = (plain(static, "shared"), collected(static, "labels"))
        found = []
        for key, row in partition.rows.items():
            floor = partition.floor(key)
            if row.exists(floor):
                found.append((home, *key, *shared, *shown(row.seen(floor))))
        if not found and static:
            found = [(home, None, None, *shared, *shown({}))]
        found.sort(key=lambda row: row[2] or "", reverse=True)
        return sorted(found, key=lambda row: row[1] or 0)

    def counted(self, home: str) -> list[tuple]:
        """Returns a partition's counters."""
        return sorted((where, bucket, hits) for (where, bucket), hits in self.hits.items() if where == home)


def shown(cells: dict[str, dict]) -> tuple:
    number, words = cells.get("number", {}).get(None), cells.get("words", {}).get(None)
    return (plain(cells, "number"), plain(cells, "words"), plain(cells, "held"), collected(cells, "tags"),
            collected(cells, "facts"), collected(cells, "steps"), number and number.timestamp,
            None if words is None else words.kind == EXPIRING)


def plain(cells: dict[str, dict], column: str):
    cell = cells.get(column, {}).get(None)
    return cell and cell.value


def collected(cells: dict[str, dict], column: str) -> tuple | None:
    """Returns a collection's elements in a fixed order. None: there are none, which is the same for Cassandra."""
    elements = cells.get(column, {})
    match column:
        case "facts":
            return tuple(sorted((element, cell.value) for element, cell in elements.items())) or None
        # The order of a list is that in which its elements came, which is any here.
        case "steps":
            return tuple(sorted(cell.value for cell in elements.values())) or None
        case _:
            return tuple(sorted(elements)) or None

"""Random changes to few rows, so that most of them meet others: each as CQL, and as what it does to the model."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from .model import DELETED, EXPIRING, LASTING, Cell, Model, Row

# Keys that share beginnings, that are longer than what a trie descends by recursion (128 bytes), with a zero byte.
HOMES = ("a", "aa", "a\x00", "ab", "long" * 60, "long" * 60 + "er", "ü", "z")
BUCKETS = range(6)
PLACES = ("", "\x00", "p", "pp", "pq", "ü")
WORDS = ("red", "green", "blue", "", "black")
# Bytes of a text: none, some, more than an off-heap region starts with, and more than a region takes at all.
SIZES, LARGE = (0, 1, 12, 300, 4_000), 200_000
# Seconds to live: longer than any run, and over by the time that anything is compared.
LONG, SHORT = 1_000_000, 1
# Columns with one cell, and those with one for each element.
PLAIN, MULTIPLE = ("number", "words", "held"), ("tags", "facts", "steps")


class Moment(NamedTuple):
    """When a change is said to have been made, and how long it holds."""

    timestamp: int
    ttl: int = 0

    def cell(self, value) -> Cell:
        if value is None:
            return Cell(self.timestamp, DELETED, None)
        return Cell(self.timestamp, EXPIRING if self.ttl else LASTING, value, passes=self.ttl == SHORT)


class Assignment(NamedTuple):
    """One column of an UPDATE."""

    text: str
    arguments: list
    effect: Callable[[Row], None]


class Statement(NamedTuple):
    """CQL for a table of any name, and what it does."""

    text: str
    arguments: list
    effect: Callable[[Model], None]
    passes: bool = False


@dataclass(frozen=True)
class Change:
    """What is sent as one request: a statement, or an unlogged batch of several."""

    statements: tuple[Statement, ...]

    @property
    def passes(self) -> bool:
        """Whether some of it expires soon."""
        return any(statement.passes for statement in self.statements)

    def apply(self, model: Model) -> None:
        for statement in self.statements:
            statement.effect(model)


class Writer:
    """Makes changes; the same ones for the same seed."""

    def __init__(self, seed: int):
        self.random = Random(seed)
        self.clock = 1_000
        self.elements = 0
        self.waiting: deque[Change] = deque()
        # While a batch is made: which partition its statements share, if any; and no large value.
        self.home: str | None = None
        self.is_in_batch = False

    def change(self) -> Change:
        if self.waiting:
            return self.waiting.popleft()
        made = self.pick({self.batch: 9, self.delete_twice: 9, self.one: 82})()
        return made if isinstance(made, Change) else Change((made,))

    def one(self) -> Statement:
        return self.pick({
            self.insert: 25, self.update: 32, self.delete_cells: 9, self.delete_row: 12, self.delete_range: 5,
            self.delete_partition: 1, self.update_static: 5, self.delete_static: 2,
        })()

    def pick(self, weights: dict):
        return self.random.choices(list(weights), list(weights.values()))[0]

    def moment(self, may_expire: bool = True) -> Moment:
        """Returns a moment: now, some time ago, or one that has been.

        What expires does so in whole seconds of the node's clock, which decide between equal timestamps and may differ
        between two tables. So nothing that expires shares its timestamp with anything else that does.
        """
        ttl = self.pick({0: 80, LONG: 12, SHORT: 8}) if may_expire else 0
        if ttl or self.random.random() < 0.7:
            self.clock += 1
            return Moment(self.clock, ttl)
        return Moment(self.clock - self.random.choice((0, 0, self.random.randrange(1, 40))))

    def place(self) -> tuple[str, tuple[int, str]]:
        home = self.home or self.random.choice(HOMES)
        return home, (self.random.choice(BUCKETS), self.random.choice(PLACES))

    def text(self) -> str:
        if not self.is_in_batch and self.random.random() < 0.003:
            return self.random.choice("xyz") * LARGE
        return self.random.choice("xyz") * self.random.choice(SIZES)

    def words(self) -> list[str]:
        return self.random.sample(WORDS, self.random.randint(1, 3))

    def columns(self, least: int = 1) -> list[str]:
        """Returns some columns, always in the same order, so that there are not too many different statements."""
        chosen = self.random.sample(PLAIN + MULTIPLE, self.random.randint(least, 3))
        return [column for column in PLAIN + MULTIPLE if column in chosen]

    def insert(self) -> Statement:
        moment, (home, key) = self.moment(), self.place()
        columns = [self.overwrite(column, moment) for column in self.columns(least=0)]
        names = ["home", "bucket", "place", *(column.text for column in columns)]

        def effect(model: Model) -> None:
            row = model.row(home, key)
            row.bear(moment.cell(True))
            for column in columns:
                column.effect(row)

        text = (f"INSERT INTO {{table}} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
                "USING TIMESTAMP ? AND TTL ?")
        arguments = [home, *key, *(argument for column in columns for argument in column.arguments), *moment]
        return Statement(text, arguments, effect, moment.ttl == SHORT)

    def update(self) -> Statement:
        moment, (home, key) = self.moment(), self.place()
        return self.update_of(home, key, moment)

    def update_of(self, home: str, key: tuple[int, str], moment: Moment) -> Statement:
        assignments = [self.assignment(column, moment) for column in self.columns()]

        def effect(model: Model) -> None:
            for assignment in assignments:
                assignment.effect(model.row(home, key))

        text = (f"UPDATE {{table}} USING TIMESTAMP ? AND TTL ? SET {', '.join(each.text for each in assignments)} "
                "WHERE home = ? AND bucket = ? AND place = ?")
        arguments = [*moment, *(argument for each in assignments for argument in each.arguments), home, *key]
        return Statement(text, arguments, effect, moment.ttl == SHORT)

    def assignment(self, column: str, moment: Moment) -> Assignment:
        """Sets a column, or changes elements of it."""
        overwritten = self.overwrite(column, moment)
        overwritten = overwritten._replace(text=f"{column} = ?")
        if column in PLAIN or self.random.random() < 0.3:
            return overwritten
        if column == "steps":
            added, elements = self.elements_of(column)
            text = self.random.choice(("steps = steps + ?", "steps = ? + steps"))
            return Assignment(text, [added], writes(column, elements, moment))
        if column == "facts" and self.random.random() < 0.3:
            element, value = self.random.choice(WORDS), self.random.choice((None, self.random.randrange(100)))
            return Assignment("facts[?] = ?", [element, value], writes(column, {element: value}, moment))
        if self.random.random() < 0.4:
            removed = set(self.words())
            gone = dict.fromkeys(removed)
            return Assignment(f"{column} = {column} - ?", [removed], writes(column, gone, moment))
        added, elements = self.elements_of(column)
        return Assignment(f"{column} = {column} + ?", [added], writes(column, elements, moment))

    def overwrite(self, column: str, moment: Moment) -> Assignment:
        """Gives a column another value, or none; the text is its name."""
        is_null = self.random.random() < 0.15
        match column:
            case "number":
                value = self.random.randrange(1_000)
            case "words":
                value = self.text()
            case "shared":
                value = self.random.choice(WORDS)
            # Always two: Cassandra compares the length before the elements.
            case "held":
                value = (self.random.randrange(100), self.random.randrange(100))
            case _:
                return self.overwrite_collection(column, moment, is_null)
        value = None if is_null else value
        return Assignment(column, [value], writes(column, {None: value}, moment))

    def overwrite_collection(self, column: str, moment: Moment, is_null: bool) -> Assignment:
        value, elements = (None, {}) if is_null else self.elements_of(column)
        write = writes(column, elements, moment)

        def effect(row: Row) -> None:
            # What was there is deleted just before.
            row.clear(column, moment.timestamp - 1)
            write(row)

        return Assignment(column, [value], effect)

    def elements_of(self, column: str) -> tuple[object, dict]:
        """Returns some elements as CQL has them, and by what tells them apart."""
        match column:
            case "facts":
                value = {word: self.random.randrange(100) for word in self.words()}
                return value, value
            case "steps":
                value = [self.random.randrange(100) for _ in range(self.random.randint(1, 3))]
                self.elements += len(value)
                return value, {self.elements - index: step for index, step in enumerate(value)}
            case _:
                value = set(self.words())
                return value, dict.fromkeys(value, True)

    def delete_cells(self) -> Statement:
        moment, (home, key) = self.moment(may_expire=False), self.place()
        columns = self.columns()
        # One element of the map, or all of it.
        element = self.random.choice(WORDS) if "facts" in columns and self.random.random() < 0.5 else None
        names = [f"{name}[?]" if name == "facts" and element is not None else name for name in columns]

        def effect(model: Model) -> None:
            row = model.row(home, key)
            for name in columns:
                if name in PLAIN:
                    row.write(name, None, moment.cell(None))
                elif name == "facts" and element is not None:
                    row.write(name, element, moment.cell(None))
                else:
                    row.clear(name, moment.timestamp)

        text = (f"DELETE {', '.join(names)} FROM {{table}} USING TIMESTAMP ? "
                "WHERE home = ? AND bucket = ? AND place = ?")
        return Statement(text, [*([] if element is None else [element]), moment.timestamp, home, *key], effect)

    def delete_row(self) -> Statement:
        home, key = self.place()
        return delete_row(home, key, self.moment(may_expire=False).timestamp)

    def delete_twice(self) -> Change:
        """Deletes a row, writes below that deletion, and deletes again: alone and in one request (CASSANDRA-21390)."""
        home, key = self.place()
        timestamp = self.moment(may_expire=False).timestamp
        earlier = Moment(timestamp - self.random.randrange(1, 30))
        again = delete_row(home, key, self.random.choice((timestamp, timestamp, earlier.timestamp - 1)))
        self.is_in_batch = True
        late, late_too = self.update_of(home, key, earlier), self.update_of(home, key, earlier)
        self.is_in_batch = False
        self.waiting.extend([Change((late,)), Change((again,)), Change((late_too, again))])
        return Change((delete_row(home, key, timestamp),))

    def delete_range(self) -> Statement:
        moment, home = self.moment(may_expire=False), self.home or self.random.choice(HOMES)
        low, high = sorted(self.random.sample(BUCKETS, 2))
        first, last = sorted(self.random.sample(PLACES, 2))
        where, arguments, covers = self.random.choice((
            ("bucket = ?", [low], lambda bucket, _: bucket == low),
            ("bucket > ?", [low], lambda bucket, _: bucket > low),
            ("bucket >= ? AND bucket < ?", [low, high], lambda bucket, _: low <= bucket < high),
            ("bucket = ? AND place > ? AND place <= ?", [low, first, last],
             lambda bucket, place: bucket == low and first < place <= last),
        ))

        def effect(model: Model) -> None:
            model.partitions[home].ranges.append((moment.timestamp, covers))

        text = f"DELETE FROM {{table}} USING TIMESTAMP ? WHERE home = ? AND {where}"
        return Statement(text, [moment.timestamp, home, *arguments], effect)

    def delete_partition(self) -> Statement:
        moment, home = self.moment(may_expire=False), self.home or self.random.choice(HOMES)

        def effect(model: Model) -> None:
            model.partitions[home].delete(moment.timestamp)

        return Statement("DELETE FROM {table} USING TIMESTAMP ? WHERE home = ?", [moment.timestamp, home], effect)

    def update_static(self) -> Statement:
        moment, home = self.moment(), self.home or self.random.choice(HOMES)
        shared = self.overwrite("shared", moment)
        added, elements = self.elements_of("labels")
        write = writes("labels", elements, moment)

        def effect(model: Model) -> None:
            shared.effect(model.partitions[home].static)
            write(model.partitions[home].static)

        text = "UPDATE {table} USING TIMESTAMP ? AND TTL ? SET shared = ?, labels = labels + ? WHERE home = ?"
        return Statement(text, [*moment, *shared.arguments, added, home], effect, moment.ttl == SHORT)

    def delete_static(self) -> Statement:
        moment, home = self.moment(may_expire=False), self.home or self.random.choice(HOMES)

        def effect(model: Model) -> None:
            static = model.partitions[home].static
            static.write("shared", None, moment.cell(None))
            static.clear("labels", moment.timestamp)

        text = "DELETE shared, labels FROM {table} USING TIMESTAMP ? WHERE home = ?"
        return Statement(text, [moment.timestamp, home], effect)

    def batch(self) -> Change:
        self.is_in_batch = True
        self.home = self.random.choice(HOMES) if self.random.random() < 0.7 else None
        made = Change(tuple(self.one() for _ in range(self.random.randint(2, 6))))
        self.is_in_batch, self.home = False, None
        return made


def writes(column: str, elements: dict, moment: Moment) -> Callable[[Row], None]:
    """Returns what writing these elements does; one without a value is deleted."""

    def effect(row: Row) -> None:
        for element, value in elements.items():
            row.write(column, element, moment.cell(value))

    return effect


def delete_row(home: str, key: tuple[int, str], timestamp: int) -> Statement:
    def effect(model: Model) -> None:
        model.row(home, key).delete(timestamp)

    text = "DELETE FROM {table} USING TIMESTAMP ? WHERE home = ? AND bucket = ? AND place = ?"
    return Statement(text, [timestamp, home, *key], effect)

import unittest
from random import Random

from memtable_check.changes import HOMES, LONG, SHORT, Moment, Writer, delete_row
from memtable_check.model import Model
from memtable_check.reads import Different, Read, as_shown, judge, reads

HOME, KEY = "a", (1, "p")


def rows(*changes) -> list[tuple]:
    model = Model()
    for change in changes:
        change(model)
    return [row for home in HOMES for row in model.rows(home)]


def write(column: str, element, value, timestamp: int, ttl: int = 0):
    return lambda model: model.row(HOME, KEY).write(column, element, Moment(timestamp, ttl).cell(value))


def bear(timestamp: int, ttl: int = 0):
    return lambda model: model.row(HOME, KEY).bear(Moment(timestamp, ttl).cell(True))


def number(row: tuple):
    return row[5]


class TheModel(unittest.TestCase):
    def test_the_order_in_which_changes_arrive_plays_no_part(self):
        for seed in range(5):
            changes = list(made(seed, 600))
            orders = [changes, changes[::-1], Random(seed).sample(changes, len(changes))]
            first, *others = [rows(*(change.apply for change in order)) for order in orders]
            self.assertGreater(len(first), 20)
            self.assertEqual([other == first for other in others], [True, True])

    def test_between_equal_timestamps_a_deletion_wins_then_what_expires_then_the_larger_value(self):
        small, large = write("number", None, 3, 7), write("number", None, 5, 7)
        expiring, gone = write("number", None, 4, 7, LONG), write("number", None, None, 7)
        self.assertEqual([number(row) for row in rows(small, large)], [5])
        self.assertEqual([number(row) for row in rows(expiring, large)], [4])
        self.assertEqual(rows(expiring, large, gone), [])

    def test_a_deletion_hides_what_is_as_old_and_older(self):
        statement = delete_row(HOME, KEY, 7).effect
        self.assertEqual(rows(bear(7), write("number", None, 1, 6), statement), [])
        self.assertEqual([number(row) for row in rows(bear(7), write("number", None, 1, 8), statement)], [1])

    def test_what_expires_soon_is_gone_with_what_it_replaced(self):
        replaced = rows(bear(1), write("number", None, 1, 1), write("number", None, 2, 2, SHORT))
        self.assertEqual([number(row) for row in replaced], [None])
        self.assertEqual(rows(bear(1), bear(2, SHORT)), [])

    def test_a_collection_that_is_replaced_keeps_what_is_written_with_it(self):
        old, new = write("tags", "red", True, 6), write("tags", "blue", True, 7)
        replaced = rows(old, new, lambda model: model.row(HOME, KEY).clear("tags", 6))
        self.assertEqual([row[8] for row in replaced], [("blue",)])

    def test_a_partition_with_nothing_but_its_static_row_is_one_row(self):
        shared = rows(lambda model: model.partitions[HOME].static.write("shared", None, Moment(1).cell("red")))
        self.assertEqual(shared, [(HOME, None, None, "red", *[None] * 9)])


def made(seed: int, count: int):
    writer = Writer(seed)
    return (writer.change() for _ in range(count))


class Changes(unittest.TestCase):
    def test_a_seed_gives_the_same_changes_again(self):
        first, second, other = ([[(one.text, one.arguments) for one in change.statements] for change in made(seed, 300)]
                                for seed in (1, 1, 2))
        self.assertEqual(first, second)
        self.assertNotEqual(first, other)

    def test_every_marker_has_a_value_and_nothing_that_expires_shares_its_timestamp(self):
        expiring = []
        for change in made(3, 5_000):
            for statement in change.statements:
                self.assertEqual(statement.text.count("?"), len(statement.arguments), statement.text)
                if "TTL ?" in statement.text:
                    timestamp, ttl = moment_of(statement)
                    expiring += [timestamp] if ttl else []
        self.assertGreater(len(expiring), 300)
        self.assertEqual(len(set(expiring)), len(expiring))


def moment_of(statement) -> list:
    return statement.arguments[:2] if statement.text.startswith("UPDATE") else statement.arguments[-2:]


class Answers(unittest.TestCase):
    def test_alike_answers_pass_and_any_other_is_told(self):
        read = Read("SELECT", [], [(1,), (2,)])
        judge(read, lambda kind: [(1,), (2,)], ("skiplist", "trie"))
        for wrong in ([(1,)], [(1,), (2,), (3,)], [(2,), (1,)], []):
            with self.assertRaises(Different):
                judge(read, lambda kind, wrong=wrong: wrong if kind == "trie" else [(1,), (2,)], ("skiplist", "trie"))
        with self.assertRaises(Different):
            judge(read, lambda kind: [(1,)], ("skiplist", "trie"))

    def test_a_row_of_the_driver_is_as_the_model_has_it(self):
        model = Model()
        for change in made(4, 600):
            change.apply(model)
        asked = [read for read in reads(model, Random(1)) if read.expected and len(read.expected[0]) == 13]
        self.assertGreater(len(asked), 10)
        for read in asked:
            judge(read, lambda kind, read=read: [as_shown(of_driver(row)) for row in read.expected], ("trie",))


def of_driver(row: tuple) -> list:
    """Returns a row in the driver's types: sets, maps, lists in any order, seconds to live."""
    cells = list(row)
    for index, form in ((4, set), (7, list), (8, set), (9, dict), (10, lambda steps: list(reversed(steps)))):
        cells[index] = None if cells[index] is None else form(cells[index])
    cells[12] = 999 if cells[12] else None
    return cells


if __name__ == "__main__":
    unittest.main()

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from graft.data.examples import TextExamples
from graft.data.loaders import notes_on, read_items
from graft.errors import BadRowsError, RequestError


class Slow:
    """Later rows are faster, so that threads finish out of order."""

    def items(self, rows, seeds=None):
        time.sleep(0.02 if "r0" in rows else 0.0)
        return [row if seeds is None else f"{row}/{seed}" for row, seed in zip(rows, seeds or rows, strict=True)]

    def cost(self, item):
        return 1

    def collate(self, items):
        return items

    def files(self):
        return {}


TEXTS = TextExamples([f"r{i}" for i in range(12)], origin="t.csv")


class Broken(TextExamples):
    def __getitem__(self, row):
        if row == 3:
            raise OSError("cut off")
        if row == 5:
            raise BadRowsError([(self.name(row), "no image")])
        if row == 9:
            raise RequestError("of another kind")
        return super().__getitem__(row)


def batches(*sizes: int):
    starts = np.cumsum([0, *sizes])
    return [np.arange(a, b) for a, b in itertools.pairwise(starts)]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_items_come_in_order_whatever_the_threads(threads: int) -> None:
    found = list(read_items(TEXTS, batches(5, 4, 3), Slow(), None, threads))
    assert [len(part) for part in found] == [5, 4, 3]
    assert [item for part in found for item in part] == [f"r{i}" for i in range(12)]


def test_seeds_go_with_their_rows() -> None:
    order = [np.array([7, 2]), np.array([4])]
    assert list(read_items(TEXTS, order, Slow(), lambda row: row * 10, 2)) == [["r7/70", "r2/20"], ["r4/40"]]


def test_nothing_to_read_gives_nothing() -> None:
    assert list(read_items(TEXTS, [], Slow())) == []


def test_an_endless_iterable_is_read_only_a_little_ahead() -> None:
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield np.array([number % 12])

    reading = read_items(TEXTS, endless(), Slow(), None, 2)
    assert next(reading) == ["r0"]
    reading.close()
    assert len(taken) <= 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("graft-read")]


@pytest.mark.parametrize("sizes", [(8,), (8, 1)])
def test_all_bad_rows_of_a_batch_are_named(sizes: tuple[int, ...]) -> None:
    broken = Broken([f"r{i}" for i in range(12)], origin="t.csv")
    with pytest.raises(BadRowsError) as caught:
        list(read_items(broken, batches(*sizes), Slow(), None, 2))
    assert caught.value.rows == (("t.csv row 4", "cut off"), ("t.csv row 6", "no image"))


def test_other_errors_stay_what_they_are() -> None:
    broken = Broken([f"r{i}" for i in range(12)], origin="t.csv")
    with pytest.raises(RequestError, match="another kind"):
        list(read_items(broken, [np.array([9])], Slow()))


class Short:
    """Keeps two letters of a text."""

    def __init__(self) -> None:
        self.cut = 0

    def items(self, rows, seeds=None):
        self.cut += sum(len(row) > 2 for row in rows)
        return [row[:2] for row in rows]

    def notes(self):
        return (f"{self.cut} texts are longer than 2 letters.",) if self.cut else ()


def test_what_a_preprocessing_loses_is_told_of_a_sample_and_counted_on_no_other():
    preprocess = Short()
    assert notes_on(preprocess, TextExamples(["a", "abc", "ab", "abcd"])) == ("2 texts are longer than 2 letters.",)
    assert preprocess.cut == 0
    assert notes_on(preprocess, TextExamples(["a", "b"])) == ()
    many = notes_on(preprocess, TextExamples(["abc"] * 1000))
    assert many == ("of 256 rows looked at, 256 texts are longer than 2 letters.",)
    assert notes_on(object(), TextExamples(["abc"])) == ()

"""A row as a sentence, in the words of its own table."""

from __future__ import annotations

import numpy as np
import pytest

from graft.bridges.sentence import Sentence
from graft.checks import check_bridge
from graft.data.examples import TableExamples
from graft.errors import BundleError, DataError

NAN = np.nan
PEOPLE = TableExamples(
    [[39.0, 1.0, 0.123456], [NAN, 0.0, 1234567.0], [7.5, NAN, 1e-7], [NAN, NAN, NAN]],
    columns=["age", "work_class", "gain"],
    words=[None, ["Private", "State-gov"], None],
)


def test_rows_become_sentences() -> None:
    bridge = Sentence().learn(PEOPLE)
    assert [bridge.convert(PEOPLE[row]) for row in range(4)] == [
        "age is 39; work class is State-gov; gain is 0.1235",
        "work class is Private; gain is 1234567",
        "age is 7.5; gain is 1e-07",
        "nothing is known",
    ]


def test_it_keeps_its_contract() -> None:
    check_bridge(Sentence(), PEOPLE)
    check_bridge(Sentence(), TableExamples([[1.0, 2.0], [3.0, NAN]]))


def test_columns_without_names_count() -> None:
    held = TableExamples([[1.0, -2.25]])
    assert Sentence().learn(held).convert(held[0]) == "column 1 is 1; column 2 is -2.25"
    assert Sentence().convert(held[0]) == "column 1 is 1; column 2 is -2.25"
    assert Sentence().convert(np.array([1e20], np.float32)) == "column 1 is 1.000e+20"


def test_what_cannot_be_said_is_refused() -> None:
    bridge = Sentence().learn(PEOPLE)
    with pytest.raises(DataError, match="a row has 2 columns, and 3 were learnt from"):
        bridge.convert(np.zeros(2))
    with pytest.raises(DataError, match="infinite number in 'age'"):
        bridge.convert(np.array([np.inf, 0, 0]))


def test_damaged_files_are_refused() -> None:
    for raw in (b"{}", b"[", b'{"width": 3, "columns": ["a"]}'):
        with pytest.raises(BundleError, match=r"sentence\.json"):
            Sentence().rebuild({"sentence.json": raw})

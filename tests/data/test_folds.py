"""Who measures whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graft.contracts import TargetData
from graft.data.cells import objects
from graft.data.examples import TextExamples
from graft.data.folds import deal, folds_in_words
from graft.data.split import kfold
from graft.errors import RequestError


def data(n: int = 40, **more: Any) -> TargetData:
    return TargetData(TextExamples([f"text {row}" for row in range(n)]), objects((["a", "b"] * n)[:n]), **more)


def test_each_repeat_is_a_dealing_of_its_own() -> None:
    held, rows = data(), np.arange(4, 40)
    found = deal(held, rows, 4, 3, 7, "classes")
    assert len(found) == 3
    keys = held.examples.take(rows).keys()
    assert held.labels is not None
    for turn, each in enumerate(found):
        assert each.fold.tolist() == kfold(keys, held.labels[rows], None, 4, 7 + turn, "classes").tolist()
        assert each.count == 4
        for fold in range(4):
            assert (each.learnt(fold) ^ each.measured(fold)).all(), "all others are learnt from"


def test_in_time_only_earlier_rows_are_learnt_from() -> None:
    times = np.random.default_rng(0).permutation(40).astype(float)
    [found] = deal(data(times=times), np.arange(40), 3, 1, 0, "classes")
    assert found.ordered
    for fold in range(found.count):
        learnt, measured = found.learnt(fold), found.measured(fold)
        assert times[learnt].max() < times[measured].min()
        assert learnt.sum() == pytest.approx(10 * (fold + 1))


@pytest.mark.parametrize(
    ("held", "folds", "repeats", "message"),
    [
        (data(), 1, 1, "1 folds were asked for"),
        (data(), 41, 1, "can be cut into 2 to 40"),
        (data(), 3, 0, "repeats is 0"),
        (data(groups=objects(["g", "h"] * 20)), 3, 1, "2 units of rows"),
        (data(times=np.arange(40.0)), 3, 2, "time has one order"),
        (data(times=np.arange(40.0)), 1, 1, "1 folds were asked for"),
        (data(times=np.arange(40.0)), 40, 1, "cannot be cut into 41 parts"),
        (data(times=np.arange(40.0), groups=objects(["g", "h"] * 20)), 3, 1, "by time or by group, not by both"),
    ],
)
def test_wrong_folds_are_refused(held: TargetData, folds: int, repeats: int, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        deal(held, np.arange(40), folds, repeats, 0, "classes")


def test_what_is_said_of_them() -> None:
    held = TargetData(TextExamples([f"text {row}" for row in range(12)]), objects(["a"] * 9 + ["b"] * 2 + ["c"]))
    rows = np.arange(12)
    told = folds_in_words(held, rows, deal(held, rows, 3, 2, 0, "classes"), "classes")
    assert told.startswith("12 rows in 3 folds, 2 times; groups and duplicates kept together")
    assert told.endswith("fewer rows than folds: class 'b', 'c'")
    timed = data(times=np.arange(40.0))
    told = folds_in_words(timed, np.arange(40), deal(timed, np.arange(40), 3, 1, 0, "classes"), "classes")
    assert "the first 10 only learnt from" in told

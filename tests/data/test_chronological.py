"""The past is learnt from, the future measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.contracts import TargetData
from graft.data.cells import objects
from graft.data.chronological import blocks_of, latest, windows
from graft.data.examples import TextExamples
from graft.data.split import split
from graft.errors import DataError, RequestError


def data(times: list[float], labels: list[Any] | None = None, **more: Any) -> TargetData:
    labels = labels or ["a", "b"] * (len(times) // 2) + ["a"] * (len(times) % 2)
    texts = more.pop("texts", None) or [f"text {row}" for row in range(len(times))]
    return TargetData(TextExamples(texts), objects(labels), times=np.array(times, dtype=np.float64), **more)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=6, max_size=80), st.integers(2, 5))
def test_blocks_follow_each_other_and_keep_equal_times_together(values: list[int], parts: int) -> None:
    times = np.array(values, dtype=np.float64)
    if len(set(values)) < parts:
        with pytest.raises(RequestError, match="distinct times"):
            blocks_of(times, [1.0] * parts)
        return
    block = blocks_of(times, [1.0] * parts)
    assert set(block.tolist()) == set(range(parts))
    for earlier in range(parts - 1):
        assert times[block == earlier].max() < times[block == earlier + 1].min()


def test_shares_are_met_where_times_allow() -> None:
    times = np.random.default_rng(0).permutation(1000).astype(np.float64)
    assert np.bincount(blocks_of(times, [0.7, 0.15, 0.15])).tolist() == [700, 150, 150]


def test_a_split_in_time() -> None:
    times = np.random.default_rng(0).permutation(100).astype(float).tolist()
    found = split(data(times), fractions=(0.7, 0.1, 0.2))
    at = np.array(times)
    assert at[found.train].max() < at[found.valid].min()
    assert at[found.valid].max() < at[found.test].min()
    assert (len(found.train), len(found.valid), len(found.test)) == (70, 10, 20)
    assert "in the order of time" in found.description
    assert split(data(times), fractions=(0.7, 0.1, 0.2), seed=9).test.tolist() == found.test.tolist()


def test_what_the_test_rows_have_that_is_new_or_known_is_told() -> None:
    labels = ["a", "b"] * 9 + ["new", "a"]
    texts = [f"text {row}" for row in range(19)] + ["text 0"]
    found = split(data(list(range(20)), labels, texts=texts), fractions=(0.8, 0.0, 0.2))
    assert "1 test rows equal an earlier row" in found.description
    assert "too new to be learnt: class 'new'" in found.description


def test_rows_without_a_label_need_no_time() -> None:
    labels = ["a", "b"] * 9 + [None, None]
    found = split(data([*range(18), np.nan, np.nan], labels), fractions=(0.8, 0.0, 0.2))
    assert found.unlabelled.tolist() == [18, 19]


def test_stated_test_rows_stay_where_they_are_late_enough() -> None:
    given = objects([""] * 16 + ["test"] * 4)
    found = split(data(list(range(20)), given=given))
    assert found.test.tolist() == [16, 17, 18, 19]
    assert len(found.valid) > 0
    assert "test as the data state" in found.description
    with pytest.raises(DataError, match="4 test rows that data states are earlier than the last row to learn from"):
        split(data(list(range(20)), given=objects(["test"] * 4 + [""] * 16)))


@pytest.mark.parametrize(
    ("held", "error", "message"),
    [
        (data([0.0, np.nan, 2.0, 3.0, 4.0, np.nan]), DataError, r"2 of 6 labelled rows .* have no time"),
        (data([1.0] * 10), RequestError, "1 distinct times"),
        (data(list(range(10)), ["a"] * 8 + ["b", "b"]), DataError, "are all of class a"),
        (data(list(range(10)), groups=objects(["g", "h"] * 5)), RequestError, "by time or by group, not by both"),
    ],
)
def test_wrong_times_are_refused(held: TargetData, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split(held)


def test_windows_expand() -> None:
    times = np.repeat(np.arange(12.0), 2)
    fold = windows(times, 3)
    assert np.bincount(fold + 1).tolist() == [6, 6, 6, 6]
    assert (np.diff(fold[np.argsort(times)]) >= 0).all()
    with pytest.raises(RequestError, match="1 folds were asked for"):
        windows(times, 1)


def test_the_latest_rows_are_held_out() -> None:
    train, valid = latest(np.array([5.0, 1.0, 4.0, 2.0, 3.0]), 0.4)
    assert train.tolist() == [1, 3, 4]
    assert valid.tolist() == [0, 2]
    assert len(latest(np.ones(5), 0.4)[1]) == 0
    assert len(latest(np.arange(5.0), 0.0)[1]) == 0

"""A fit is watched: it stops where it cannot lead, and ends with what it has where its time holds no more."""

from __future__ import annotations

import math
from typing import Any

import pytest

from graft.contracts import Epoch
from graft.progress import Enough
from graft.select import watch as room
from graft.select.watch import HopelessError, Watch


class Shares:
    """All that a watch asks of a course: shares of 200 rows are compared."""

    rows = 200

    def signed(self, value: float) -> float:
        return value


def report(metric: float | None = None, seconds: float = 1.0) -> Epoch:
    return Epoch(1.0, metric, 1e-3, seconds)


def watch(**given: Any) -> Watch:
    course: Any = Shares()
    return Watch(course, **{"bar": None, "epochs": 10, **given})


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [0.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: moment[0])
    return moment


def test_what_cannot_reach_the_bar_stops_after_half_of_the_epochs() -> None:
    watching = watch(bar=0.95)
    for epoch in range(4):
        watching(epoch, report(0.3))
    with pytest.raises(HopelessError, match=r"would end at 0.300, and another reached 0.950"):
        watching(4, report(0.3))


def test_few_rows_that_say_little_stop_nothing() -> None:
    """One of twenty rows told wrong is no reason to stop beside a score of 1 on the same few."""
    watching = watch(bar=1.0)
    for epoch in range(10):
        watching(epoch, report(0.89))


def test_training_ends_with_what_it_has_where_the_time_holds_no_further_epoch(now: list[float]) -> None:
    watching = watch(ends=10.0)
    for epoch, at in enumerate((3.0, 6.0)):
        now[0] = at
        watching(epoch, report(0.5, seconds=3.0))
    now[0] = 9.0
    with pytest.raises(Enough):
        watching(2, report(0.5, seconds=3.0))


def test_fits_of_one_rung_share_its_time(now: list[float]) -> None:
    watching = watch(ends=20.0, heats=2)
    now[0] = 4.0
    watching(0, report(seconds=4.0))
    now[0] = 8.0
    with pytest.raises(Enough):
        watching(1, report(seconds=4.0))
    now[0] = 12.0
    watching(0, report(seconds=4.0))  # the second has what is left, to 20
    now[0] = 16.0
    with pytest.raises(Enough):
        watching(1, report(seconds=4.0))


def test_the_last_epoch_needs_no_time_after_it(now: list[float]) -> None:
    watching = watch(ends=1.0, epochs=1)
    now[0] = 5.0
    watching(0, report(seconds=5.0))
    assert watching.until < math.inf

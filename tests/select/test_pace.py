"""The pace of a network is that of the rows that it computed, not of those that were in the cache."""

from __future__ import annotations

import pytest

from graft.progress import Silent
from graft.select import pace as room
from graft.select.pace import Pace


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [0.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: moment[0])
    return moment


def test_rows_of_the_cache_do_not_count(now: list[float]) -> None:
    pace = Pace(Silent())
    with pace.step("features", 100) as advance:
        advance(40)
        for _ in range(3):
            now[0] += 2.0
            advance(20)
    assert pace.seconds == pytest.approx(0.1)


def test_without_rows_that_were_computed_nothing_is_known(now: list[float]) -> None:
    pace = Pace(Silent())
    with pace.step("features", 100) as advance:
        advance(100)
    assert pace.seconds is None
    with pace.step("features", 100) as advance:
        advance(90)
        now[0] += 1.0
        advance(10)
    assert pace.seconds is None, "ten rows are one batch, whose kernels are chosen in it"

"""A budget is counted down by the monotonic clock, and what outlives its time ends at the next batch."""

from __future__ import annotations

import time

import pytest

from graft.progress import Silent
from graft.select.clock import Clock, Limited, OutOfTimeError


class Hands:
    """A monotonic clock that a test sets."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        patch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)


def test_what_is_spent_is_not_left(hands: Hands) -> None:
    clock = Clock(60.0, spent=15.0)
    hands.now += 20.0
    assert (clock.spent(), clock.left()) == (35.0, 25.0)


def test_no_budget_has_no_end(hands: Hands) -> None:
    assert Clock(None).left() == float("inf")


def test_setting_the_date_changes_nothing(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(60.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.left() == 60.0


def test_work_ends_with_the_batch_in_which_its_time_runs_out(hands: Hands) -> None:
    done: list[int] = []

    def work() -> None:
        with Limited(Silent(), 5.0).step("train", 10) as advance:
            for batch in range(10):
                hands.now += 2.0
                done.append(batch)
                advance()

    with pytest.raises(OutOfTimeError, match="train"):
        work()
    assert len(done) == 3


def test_work_in_time_is_let_through(hands: Hands) -> None:
    with Limited(Silent(), 5.0).step("train", 2) as advance:
        hands.now += 5.0
        advance(2)


def test_nothing_begins_after_its_time(hands: Hands) -> None:
    limited = Limited(Silent(), 5.0)
    hands.now += 6.0
    with pytest.raises(OutOfTimeError, match="features"), limited.step("features", 3):
        pytest.fail("the step began")


def test_time_never_runs_back(hands: Hands) -> None:
    clock = Clock(60.0)
    hands.now += 20.0
    assert clock.left() == 40.0
    hands.now -= 15.0
    assert clock.left() == 40.0
    hands.now += 3600.0
    assert clock.left() == pytest.approx(-3545.0)

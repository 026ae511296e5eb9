"""Whatever the clock does, something is measured: a deadline stops tries, and never the last resort.

The clock stands still but for what a test says that fits take.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft import registry
from graft.contracts import TransferData
from graft.errors import RequestError
from graft.order import Order
from graft.preparation import prepare
from graft.select.candidates import Candidate, candidate
from graft.select.clock import Clock
from graft.select.course import Course, course_of
from graft.select.race import race
from graft.select.raced import Raced
from graft.select.workspace import Workspace

BUDGET = 90.0


class Hands:
    """A monotonic clock that fits move on: so many seconds a candidate on all rows, in 200 batches."""

    def __init__(self, patch: pytest.MonkeyPatch, seconds: Mapping[str, float]) -> None:
        self.now, self.seconds, self.fitted = 1000.0, seconds, list[str]()
        patch.setattr(time, "monotonic", lambda: self.now)
        real = Course.measure

        def measure(course: Course, chosen: Candidate, rung: Any, workspace: Any, progress: Any, **named: Any) -> Any:
            taken = self.seconds.get(chosen.name.partition(" ")[0], 0.0) * rung.share
            self.fitted.append(chosen.name)
            if math.isnan(taken):
                raise RuntimeError("no network")
            with progress.step("train", 200) as advance:
                for _ in range(200):
                    self.now += taken / 200
                    advance()
            found = real(course, chosen, rung, workspace, progress, **named)
            return replace(found, seconds=taken)

        patch.setattr(Course, "measure", measure)


@pytest.fixture(scope="module")
def course() -> Course:
    """One rung, one heat: 1 000 rows of two clouds."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 240)
    inputs = random.normal(size=(240, 3)).astype(np.float32)
    inputs[:, 0] += 2 * labels
    prepared = prepare(Order((inputs.tolist(), ["ab"[each] for each in labels]), source="columns", strategy="knn"))
    common = TransferData(train=prepared.rows(prepared.sides.train), machine=prepared.machine)
    found = course_of(
        prepared.held, prepared.sides, prepared.task, prepared.fitted, lambda places: prepared.fitted, common
    )
    return replace(found, heats=found.heats[:1], rungs=found.rungs[:1])


def named(spec: str) -> Candidate:
    found = candidate(registry.build("sources", "columns"), registry.build("strategies", spec), "table")
    return replace(found, name=f"{found.name} on columns")


def run(
    course: Course,
    folder: Path,
    forecasts: Mapping[str, float],
    *,
    spent: float = 0.0,
    spare: Sequence[str] = ("shallow",),
    said: list[str] | None = None,
) -> Raced:
    racers = [named(each) for each in forecasts]
    with Workspace(folder / "model", "request") as workspace:
        return race(
            racers,
            course,
            forecasts={f"{name} on columns": seconds for name, seconds in forecasts.items()},
            clock=Clock(BUDGET, spent),
            reserve=lambda seconds: 1.2 * seconds + 9.0,
            workspace=workspace,
            say=lambda step, text: None if said is None else said.append(text),
            spare=[named(each) for each in spare],
        )


def over(hands: Hands, spent: float = 0.0) -> float:
    return hands.now - 1000.0 + spent - BUDGET


def test_fits_that_take_ten_times_their_forecast_leave_something(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(monkeypatch, {"linear_probe": 20.0, "knn": 40.0, "svm": 60.0})
    found = run(course, tmp_path, {"linear_probe": 2.0, "knn": 4.0, "svm": 6.0})
    assert found.winner.name == "linear_probe on columns"
    assert over(hands) <= 0


def test_where_every_candidate_is_too_slow_the_spare_one_is_measured(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(monkeypatch, {"linear_probe": 300.0, "knn": 400.0, "svm": 500.0, "shallow": 2.0})
    found = run(course, tmp_path, {"linear_probe": 30.0, "knn": 40.0, "svm": 50.0})
    assert found.winner.name == "shallow on columns"
    assert hands.fitted.count("knn on columns") == 1
    assert over(hands) < 12  # five seconds and a batch of the last resort, and the spare
    assert "budget is used up" in found.stopped
    assert [each.ended for each in found.runs if each.score is None] == [
        "stopped after 45 s, all that was left for it",
        "stopped after 44 s, all that was left for it",
        "its forecast of 50 s is over the 0 s left for more tries",
        "stopped after 5 s, all that was left for it",
    ]


def test_a_screen_that_took_all_time_leaves_what_takes_least(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(monkeypatch, {"linear_probe": 3.0, "svm": 1.0})
    found = run(course, tmp_path, {"svm": 8.0, "linear_probe": 2.0, "knn": 9.0}, spent=95.0)
    assert found.winner.name == "linear_probe on columns", "by its forecast it takes least"
    assert hands.fitted == ["linear_probe on columns"]
    assert over(hands, 95.0) == pytest.approx(8.0)


@pytest.mark.parametrize("spare", [(), ("shallow",)])
def test_of_a_single_candidate_nothing_is_thrown_away(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: tuple[str, ...]
) -> None:
    hands = Hands(monkeypatch, {"knn": 200.0})
    found = run(course, tmp_path, {"knn": 50.0}, spare=spare)
    if spare:
        assert found.winner.name == "shallow on columns"
    else:
        assert found.winner.name == "knn on columns", "there is nothing else: it is fitted to its end"
    assert hands.fitted[0] == "knn on columns"


def test_where_the_spare_one_fails_the_first_is_fitted_to_its_end(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(monkeypatch, {"knn": 200.0, "shallow": math.nan})
    assert run(course, tmp_path, {"knn": 50.0}).winner.name == "knn on columns"
    assert hands.fitted == ["knn on columns"] * 2 + ["shallow on columns", "knn on columns"]


def test_what_fails_by_itself_is_no_matter_of_time(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(monkeypatch, {"knn": math.nan, "svm": math.nan})
    with pytest.raises(RequestError, match="nothing could be measured"):
        run(course, tmp_path, {"knn": 50.0, "svm": 60.0})
    assert hands.fitted == ["knn on columns", "svm on columns"]


def test_a_clock_that_jumps_ends_the_race_with_what_is_there(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands = Hands(monkeypatch, {"linear_probe": 3.0, "knn": 3600.0})
    found = run(course, tmp_path, {"linear_probe": 3.0, "knn": 4.0, "svm": 5.0})
    assert found.winner.name == "linear_probe on columns"
    assert hands.fitted == ["linear_probe on columns", "knn on columns"]
    assert [bool(each.ended) for each in found.runs] == [False, True, True]


def test_the_last_resort_is_decided_once(course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forecasts = {"linear_probe": 30.0, "knn": 40.0}
    with monkeypatch.context() as patch:
        Hands(patch, {"linear_probe": 300.0, "knn": 400.0})
        first = run(course, tmp_path, forecasts)
    with monkeypatch.context() as patch:
        hands = Hands(patch, {})
        again = run(course, tmp_path, forecasts)
    assert again.winner.name == first.winner.name == "shallow on columns"
    assert [(each.name, each.ended, each.score) for each in again.runs] == [
        (each.name, each.ended, each.score) for each in first.runs
    ]
    assert hands.fitted == ["shallow on columns"], "its outputs are read again, and nothing else is fitted"

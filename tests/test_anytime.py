"""A choice that is stopped, killed or out of time: the best so far lies there, and the same command goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graft
from graft import choosing, compute, deadline, flow, screening
from graft.chosen import Chosen
from graft.errors import RequestError
from graft.interim import unfinished
from graft.result import Result
from graft.select.clock import Clock, OutOfTimeError
from graft.select.course import Course
from graft.select.frontier import Point
from graft.select.workspace import Workspace


def crossed(rows: int = 260, seed: int = 0) -> tuple[list[list[float]], list[str]]:
    """Classes that no line parts, which neighbours know."""
    inputs = np.random.default_rng(seed).normal(size=(rows, 3))
    return inputs.tolist(), [("minus", "plus")[int(each > 0)] for each in inputs[:, 0] * inputs[:, 1]]


def chosen(**given: Any) -> Result:
    settings: dict[str, Any] = {"source": "columns", "budget": 300.0, "controls": ["majority"], "ledger": False}
    return graft.fit(crossed(), **{**settings, **given})


def stop_at(call: int, patch: pytest.MonkeyPatch) -> None:
    """Interrupt the race when it begins this fit."""
    measure, calls = Course.measure, []

    def stopped(self: Course, *given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == call:
            raise KeyboardInterrupt
        return measure(self, *given, **named)

    patch.setattr(Course, "measure", stopped)


def stopped(call: int, **given: Any) -> KeyboardInterrupt:
    """What ended a choice that was interrupted so."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at(call, patch)
        with pytest.raises(KeyboardInterrupt) as raised:
            chosen(**given)
    return raised.value


def same(one: Result, other: Result) -> bool:
    """But for what was measured in seconds."""
    assert one.choice is not None
    assert other.choice is not None
    runs = [[(each.name, each.rung, each.score) for each in found.choice.runs] for found in (one, other)]  # type: ignore[union-attr]
    rows = crossed(40, seed=5)[0]
    alike = (one.model.predict_proba(rows) == other.model.predict_proba(rows)).all()
    return bool(alike) and runs[0] == runs[1] and one.scores == other.scores


def test_an_interrupted_choice_leaves_the_best_so_far_and_goes_on(tmp_path: Path) -> None:
    whole = chosen(output=tmp_path / "whole")
    ended = stopped(4, output=tmp_path / "model")
    best = tmp_path / "model.partial" / "best"
    known = unfinished(best)
    assert known is not None
    assert ended.__notes__ == [f"the best so far, {known['name']}, lies in {best}"]
    rows, labels = crossed(200, seed=1)
    assert (graft.load(best).predict(rows) == np.array(labels)).mean() > 0.5
    again = chosen(output=tmp_path / "model")
    assert same(again, whole)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model", "whole"]


KILLED = """
import os, signal, sys
import numpy as np
import graft
from graft.select.course import Course
measure, calls = Course.measure, []
def killed(self, *given, **named):
    calls.append(given)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(self, *given, **named)
Course.measure = killed
inputs = np.random.default_rng(0).normal(size=(260, 3))
labels = [("minus", "plus")[int(each > 0)] for each in inputs[:, 0] * inputs[:, 1]]
data = inputs.tolist(), labels
graft.fit(data, source="columns", budget=300.0, controls=["majority"], ledger=False, output=sys.argv[1])
"""


@pytest.mark.slow
def test_a_killed_choice_leaves_the_best_so_far(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "model")], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    model = graft.load(tmp_path / "model.partial" / "best")
    assert "not judged" in model.card.notes[-1]
    assert model.predict([[1.0, 1.0, 0.0]]).shape == (1,)
    assert same(chosen(output=tmp_path / "model"), chosen())
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_without_an_output_nothing_is_said_of_a_folder() -> None:
    assert not hasattr(stopped(4), "__notes__")


def test_a_last_fit_that_ran_out_of_time_is_decided_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while judging, a run hands over the model of the race again, though there would be time now."""

    def late(*given: Any, **named: Any) -> Any:
        raise OutOfTimeError

    monkeypatch.setattr(deadline, "run_trial", late)
    told: list[str] = []
    whole = chosen(output=tmp_path / "whole", controls=(), say=lambda step, text: told.append(text))
    assert whole.shortfall in told
    assert whole.shortfall.startswith("it learnt from 177 of 221 rows")
    saved = graft.load(tmp_path / "whole")
    assert saved.card.notes[-1] == whole.shortfall

    def killed(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(flow, "judged", killed)
    with pytest.raises(KeyboardInterrupt) as raised:
        chosen(output=tmp_path / "model", controls=())
    assert "the best so far" in raised.value.__notes__[0]
    monkeypatch.undo()
    again = chosen(output=tmp_path / "model", controls=())
    assert same(again, whole)
    assert again.tried[0].chosen == whole.tried[0].chosen
    assert again.tried[0].inner == whole.tried[0].inner


def test_a_run_that_goes_on_has_the_same_candidates_on_a_slower_machine(tmp_path: Path) -> None:
    whole = chosen()
    stopped(1, output=tmp_path / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute, "speed", lambda machine: compute.Speed(1.0, 1.0))
        with pytest.raises(RequestError, match="too small for anything"):
            chosen(output=tmp_path / "other")
        assert same(chosen(output=tmp_path / "model"), whole)


def test_where_no_candidate_can_be_fitted_in_time_the_shallow_control_is_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure = Course.measure

    def slow(self: Course, each: Any, *given: Any, **named: Any) -> Any:
        if not each.name.startswith("shallow"):
            raise OutOfTimeError
        return measure(self, each, *given, **named)

    monkeypatch.setattr(Course, "measure", slow)
    result = chosen(controls=["majority", "shallow"])
    assert result.winner == "shallow"
    assert result.choice is not None
    assert result.choice.winner == "shallow on columns"
    assert "nothing is transferred" in result.caveat
    assert "was not measured: stopped after" in result.why
    assert list(result.comparisons) == ["majority"], "it is no control of itself"


def test_controls_without_time_are_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = deadline.run_trial

    def late(each: Any, *given: Any, **named: Any) -> Any:
        if each.name == "shallow":
            raise OutOfTimeError
        return fit(each, *given, **named)

    monkeypatch.setattr(deadline, "run_trial", late)
    result = chosen(controls=["majority", "shallow"])
    assert result.left_out == {"shallow": "the budget was used up before it was fitted"}
    assert list(result.comparisons) == ["majority"]


def test_controls_without_time_are_left_out_of_folds_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline.Deadline, "for_training", lambda self: 0.0)
    result = chosen(controls=["majority", "shallow"], folds=2)
    assert result.left_out["shallow"] == "the budget was used up before it was fitted"
    assert list(result.comparisons) == ["majority"]


@pytest.mark.parametrize(("held", "expected"), [(True, 25.0), (False, 5.0)])
def test_where_the_model_of_the_race_is_handed_over_all_that_is_left_is_for_the_controls(
    held: bool, expected: float
) -> None:
    found = SimpleNamespace(seconds=20.0, leader=object() if held else None, raced=SimpleNamespace(once=True))
    due = Chosen.deadline(found, Clock(100.0, spent=70.0), Workspace(None, "request"))  # type: ignore[arg-type]
    assert due.for_training() == pytest.approx(expected, abs=0.5)
    assert due.once == held, "what is not at hand is fitted again"


@pytest.mark.parametrize(
    ("left", "once", "expected"),
    [(60.0, False, "small"), (20.0, False, "large"), (60.0, True, "small"), (20.0, True, "large")],
)
def test_what_is_preferred_is_taken_where_there_is_time_for_its_last_fit(
    left: float, once: bool, expected: str, tmp_path: Path
) -> None:
    raced = SimpleNamespace(winner=SimpleNamespace(name="large"), once=once, seconds=10.0)
    points = [Point("large", 0.90, 90, 1.0, 5.0), Point("small", 0.89, 9, 2.0, 20.0)]
    reserve = deadline.Reserve(more=1.0, fits=1.0, fixed=5.0)
    lasts = {each.name: choosing._last(each, points, raced, reserve) for each in points}  # type: ignore[arg-type]
    assert lasts == pytest.approx({"large": 12.0, "small": 48.0})
    for time_left in (left, 100.0 - left):  # decided once, whatever the time of the run that goes on
        told: list[str] = []
        with Workspace(tmp_path / "model", "request") as workspace:
            asked = SimpleNamespace(
                order=SimpleNamespace(prefer="small"),
                clock=Clock(100.0, spent=100.0 - time_left),
                say=lambda _, text, told=told: told.append(text),
                workspace=workspace,
            )
            found = choosing._preferred(asked, points, raced, lasts, reserve.fixed)  # type: ignore[arg-type]
        assert found == ("small", expected)
        assert (told == []) == (expected == "small")


def test_a_learning_curve_without_time_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*given: Any, **named: Any) -> Any:
        raise OutOfTimeError

    monkeypatch.setattr(flow, "grown", late)
    told: list[str] = []
    result = chosen(learning_curve=True, say=lambda step, text: told.append(text))
    assert result.learning_curve is None
    assert "what more labels would bring is not known: the budget was used up; give it more" in told


def test_the_budget_that_a_refusal_names_is_enough() -> None:
    with pytest.raises(RequestError, match=r"a budget of 0\.0 s is too small for anything") as refused:
        chosen(budget=0.01)
    seconds = float(str(refused.value).partition("--budget ")[2].partition("s or more")[0])
    result = chosen(budget=seconds)
    assert result.choice is not None
    assert any(each.score is not None for each in result.choice.runs)


@pytest.mark.parametrize("late", [True, False])
def test_where_a_screen_has_no_time_for_any_source_all_go_on(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*given: Any, **named: Any) -> Any:
        raise RequestError("no source is left to rank")

    monkeypatch.setattr(screening, "screen", nothing)
    monkeypatch.setattr(screening, "_SHARE_OF_LOOKS", 0.0 if late else 0.4)
    told: list[str] = []
    asked: dict[str, Any] = {"source": None, "strategy": "pretrain?epochs=1", "say": lambda _, text: told.append(text)}
    if not late:  # all of them failed by themselves
        with pytest.raises(RequestError, match="no source is left to rank"):
            chosen(**asked)
        return
    result = chosen(**asked)
    assert result.winner == "pretrain?epochs=1"
    assert any("sources; time was up before any of them could be told" in text for text in told)
    assert result.choice is not None
    assert {each.out for each in result.choice.screened} == {""}


def test_what_takes_least_is_tried_first() -> None:
    field = graft.plan(crossed(), source=["columns", "table/mlp"], strategy=["fine_tune", "svm"], budget=1e6)
    dearest_first = sorted(field.entrants, key=lambda each: -each.forecast.seconds)
    costs = {each.name: each.forecast.seconds for each in field.entrants}
    first, *others = choosing._ordered(dearest_first, [], costs)
    assert costs[first.name] == min(costs.values())
    assert {each.name for each in others} == {each.name for each in field.entrants} - {first.name}


def test_reading_is_part_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[float] = []

    class Watched(Clock):
        def __init__(self, budget: float | None, spent: float = 0.0) -> None:
            started.append(spent)
            super().__init__(budget, spent)

    real, read, late = time.monotonic, flow.prepare, [0.0]

    def slowly(*given: Any, **named: Any) -> Any:
        late[0] = 7.0
        return read(*given, **named)

    monkeypatch.setattr(flow, "Clock", Watched)
    monkeypatch.setattr(flow, "prepare", slowly)
    monkeypatch.setattr(time, "monotonic", lambda: real() + late[0])
    chosen()
    assert started[0] >= 7.0


def test_a_reserve_holds_the_last_fit_and_all_else() -> None:
    reserve = deadline.Reserve(more=1.5, fits=1.0, fixed=9.0)
    assert reserve.once(10.0) == pytest.approx(18.0)
    assert reserve(10.0) == pytest.approx(27.0)
    assert replace(reserve, fits=4.5)(10.0) == pytest.approx(90.0), "with a learning curve"
    assert replace(reserve, fixed=0.1)(0.0) == 2.0

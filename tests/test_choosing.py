"""A fit with a budget chooses what is not named, says why, and goes on where it was killed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graft
from graft import flow
from graft.errors import RequestError, UnknownNameError
from graft.result import Result
from graft.select.course import Course
from graft.select.frontier import Point, frontier, preferred
from graft.select.ledger import Ledger, ledger_path


def crossed(rows: int = 260, seed: int = 0) -> tuple[list[list[float]], list[str]]:
    """Classes that no line parts, which neighbours know."""
    inputs = np.random.default_rng(seed).normal(size=(rows, 3))
    return inputs.tolist(), [("minus", "plus")[int(each > 0)] for each in inputs[:, 0] * inputs[:, 1]]


def chosen(**given: Any) -> Result:
    settings: dict[str, Any] = {"source": "columns", "budget": 300.0, "controls": ["majority"], "ledger": False}
    return graft.fit(crossed(), **{**settings, **given})


def test_what_is_not_named_is_chosen_and_the_reasons_are_said() -> None:
    told: list[tuple[str, str]] = []
    result = chosen(say=lambda step, text: told.append((step, text)))
    steps = [step for step, _ in told if step]
    assert steps[:4] == ["read", "split", "plan", "screen"]
    assert "choose" in steps
    assert result.choice is not None
    assert result.choice.winner.endswith(" on columns")
    assert not result.choice.winner.startswith("linear_probe")
    assert result.why.splitlines()[0].startswith(f"{result.choice.winner} was chosen from")
    assert "linear_probe on columns stopped after" in result.why
    assert result.winner == result.choice.winner.partition(" on ")[0]
    assert result.scores[result.winner]["accuracy"].value > 0.7


def test_one_of_several_named_sources_is_chosen() -> None:
    told: list[str] = []
    result = chosen(
        source=["columns", "table/mlp", "columns"],
        strategy=["linear_probe", "knn"],
        say=lambda step, text: told.append(text),
    )
    assert result.choice is not None
    assert {each.source for each in result.choice.screened} == {"columns", "table/mlp"}
    assert {run.name.partition(" on ")[2] for run in result.choice.runs} <= {"columns", "table/mlp"}


def test_without_a_budget_several_sources_are_refused() -> None:
    with pytest.raises(RequestError, match="3 sources were named, and a fit without a budget takes one"):
        chosen(source=["columns", "tfidf", "minilm"], budget=None)
    assert chosen(source=["columns"], budget=None).winner == "linear_probe"


def test_without_a_budget_nothing_is_chosen() -> None:
    result = chosen(budget=None)
    assert result.choice is None
    assert result.why == ""
    assert result.winner == "linear_probe"


def test_where_both_are_named_the_budget_chooses_nothing() -> None:
    assert chosen(strategy="knn").choice is None


def test_the_reasons_are_saved_with_the_model(tmp_path: Path) -> None:
    result = chosen(output=tmp_path / "model")
    again = chosen(output=tmp_path / "model")
    assert again.reused
    assert again.choice == result.choice
    assert again.why == result.why


def test_a_budget_for_nothing_says_what_would_fit() -> None:
    with pytest.raises(RequestError, match=r"too small for anything\. What would take least is"):
        chosen(budget=0.01)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_that_is_no_time_is_refused(budget: float) -> None:
    with pytest.raises(RequestError, match="expected a number of seconds above 0"):
        chosen(budget=budget)


def test_a_preference_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="there is no preference 'cheap'"):
        chosen(prefer="cheap")


def test_a_killed_choice_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = chosen(output=tmp_path / "whole")
    measure, calls = Course.measure, []

    def killed(self: Course, *given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(self, *given, **named)

    monkeypatch.setattr(Course, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        chosen(output=tmp_path / "killed")
    monkeypatch.undo()
    again = chosen(output=tmp_path / "killed")
    assert again.choice is not None
    assert whole.choice is not None
    assert [(each.name, each.rung, each.score) for each in again.choice.runs] == [
        (each.name, each.rung, each.score) for each in whole.choice.runs
    ]
    assert again.scores == whole.scores
    assert not (tmp_path / "killed.partial").exists()


def test_folds_choose_anew_inside_each(tmp_path: Path) -> None:
    result = chosen(folds=3, strategy=None)
    assert result.choice is not None
    assert result.crossed is not None
    assert sum(result.crossed.chosen.values()) == 3
    assert result.rows["test"] == 260


def test_what_was_tried_goes_to_the_ledger() -> None:
    result = chosen(ledger=True)
    assert result.choice is not None
    path = ledger_path()
    assert path is not None
    names = {entry.name for entry in Ledger(path).entries()}
    assert {each.name for each in result.choice.runs if each.score is not None} <= names


def test_several_processes_do_not_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    two = SimpleNamespace(count=lambda: 2, place=lambda: 0, wait=lambda: None)
    monkeypatch.setattr(flow, "processes", two)
    with pytest.raises(RequestError, match="several processes fit one candidate together and do not choose; name one"):
        chosen()


def test_of_what_the_rows_cannot_tell_apart_the_smallest_may_be_preferred() -> None:
    points = [Point("large", 0.9, 90, 1.0, 1.0), Point("small", 0.89, 9, 2.0, 1.0), Point("fast", 0.88, 50, 0.5, 1.0)]
    assert [preferred(points, each, "large").name for each in ("accurate", "small", "fast")] == [
        "large",
        "small",
        "fast",
    ]
    assert preferred(points, "accurate", "fast").name == "fast"  # it is the best by other rows than these
    assert [each.name for each in frontier([*points, Point("poor", 0.8, 90, 2.0, 1.0)])] == ["large", "small", "fast"]

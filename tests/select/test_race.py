"""Candidates race on real fits of a small table: who cannot win stops, time is kept, a killed race goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

from graft import registry
from graft.contracts import Backbone, FittedTask, History, Strategy, TransferData
from graft.errors import RequestError
from graft.order import Order
from graft.preparation import prepare
from graft.select import agenda, search
from graft.select.candidates import Candidate, candidate
from graft.select.clock import Clock
from graft.select.course import Course, course_of
from graft.select.outlook import Sighting
from graft.select.race import race
from graft.select.raced import Raced
from graft.select.workspace import Workspace


def course(rows: int, numbers: bool = False) -> Course:
    """Rows whose classes no line parts: neighbours know them, a linear model does not."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(rows, 3)).astype(np.float32)
    product = inputs[:, 0] * inputs[:, 1]
    labels: list[Any] = product.tolist() if numbers else [("minus", "plus")[int(each > 0)] for each in product]
    metric = "rmse" if numbers else None
    prepared = prepare(
        Order((inputs.tolist(), labels), source="columns", strategy=("linear_probe", "knn"), metric=metric)
    )
    common = TransferData(train=prepared.rows(prepared.sides.train), machine=prepared.machine)
    started = prepared.task.start
    held = prepared.held
    return course_of(
        held, prepared.sides, prepared.task, prepared.fitted, lambda places: started(held.labels[places]), common
    )


def entrants(*specs: str | Strategy) -> list[Candidate]:
    source = registry.build("sources", "columns")
    built = [registry.build("strategies", each) if isinstance(each, str) else each for each in specs]
    found = [candidate(source, each, "table") for each in built]
    return [replace(each, name=f"{each.name} on columns") for each in found]


def run(specs: Sequence[str | Strategy], on: Course, folder: Path, budget: float = 600.0, **given: Any) -> Raced:
    racers = entrants(*specs)
    dear = {each.name: 60.0 for each in racers}
    settings: dict[str, Any] = {"forecasts": dear, "reserve": lambda seconds: 0.0, "say": lambda step, said: None}
    with Workspace(folder / "model", "request") as workspace:
        return race(racers, on, clock=Clock(budget), workspace=workspace, **{**settings, **given})


class Broken(Strategy):
    """Fails in the middle."""

    family: ClassVar[str] = "feature"

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        built: nn.Module = registry.build("strategies", "knn").build(backbone, task)
        return built

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        raise RuntimeError("the weights are of another shape\nand more")


def test_the_better_one_wins_and_the_other_is_beaten(tmp_path: Path) -> None:
    found = run(["linear_probe", "knn"], course(300), tmp_path)
    assert found.winner.name == "knn on columns"
    (beaten,) = [each for each in found.runs if each.name.startswith("linear")]
    assert beaten.ended == "beaten by knn on columns"
    assert beaten.gain is not None
    assert beaten.gain.low > 0
    assert found.stopped == "every other candidate is beaten"
    assert found.left == 0.0


def test_what_is_beaten_goes_on_where_an_ensemble_is_to_be_made(tmp_path: Path) -> None:
    found = run(["linear_probe", "knn"], course(300), tmp_path, keep=2)
    assert found.winner.name == "knn on columns"
    assert found.rung == 2
    assert {each.candidate.name for each in found.finalists} == {"knn on columns", "linear_probe on columns"}
    rows = len(course(300).pool)
    assert [each.outputs.shape for each in found.finalists] == [(rows, 2), (rows, 2)]
    alone = run(["linear_probe", "knn"], course(300), tmp_path / "alone")
    assert alone.rung == 0


def test_what_costs_next_to_nothing_is_measured_on_all_rungs_first(tmp_path: Path) -> None:
    found = run(["knn", "linear_probe"], course(2000), tmp_path, forecasts={"knn on columns": 600.0})
    assert [(each.name, each.rung) for each in found.runs[:4]] == [
        *(("linear_probe on columns", rung) for rung in range(3)),
        ("knn on columns", 0),
    ]
    assert found.winner.name == "knn on columns"


def test_what_nobody_expects_to_win_is_not_tried_and_is_listed_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "_TELLING", 1.0)
    found = run(["knn", "linear_probe"], course(120), tmp_path)
    assert [(each.name, each.rung) for each in found.runs if each.score is not None] == [("knn on columns", 0)]
    (out,) = [each for each in found.runs if each.score is None]
    assert out.name == "linear_probe on columns"
    assert out.ended == "what was seen of its source and of its strategy speaks against it"


def test_what_was_seen_of_sources_decides_which_of_them_is_tried_first(tmp_path: Path) -> None:
    """Nothing is measured yet but the first, which is so for all of them."""
    racers = [replace(each, name=each.name.replace("on columns", f"on {name}"))
              for name in ("poor", "middling", "good") for each in entrants("knn")]  # fmt: skip
    promised = [Sighting("poor", -1, 0.5, 1e-3), Sighting("middling", -1, 0.6, 1e-3), Sighting("good", -1, 0.9, 1e-3)]
    settings: dict[str, Any] = {"reserve": lambda seconds: 0.0, "say": lambda step, said: None, "promised": promised}
    costs = {each.name: 60.0 for each in racers}
    with Workspace(tmp_path / "model", "request") as workspace:
        found = race(racers, course(120), forecasts=costs, clock=Clock(600.0), workspace=workspace, **settings)
    assert [each.name for each in found.runs if each.rung == 0][:2] == ["knn on poor", "knn on good"]


def test_who_is_not_beaten_climbs_also_when_all_others_are_at_the_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "_TELLING", 0.0)
    found = run(["knn?k=5", "knn?k=7"], course(120), tmp_path)
    assert {each.name for each in found.runs if each.rung == 2} == {"knn?k=5 on columns", "knn?k=7 on columns"}


def test_a_dear_step_is_taken_where_cheap_ones_promise_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What promises most for its seconds may still promise too little to change the choice."""
    promise = {"knn?k=5 on columns": (1e-9, 1.0), "knn?k=7 on columns": (0.1, 1e-3)}
    monkeypatch.setattr(
        agenda, "_worth", lambda held, outlook, step, left, **beside: promise.get(step[0].name, (0.0, 0.0))
    )
    found = run(["linear_probe", "knn?k=5", "knn?k=7"], course(120), tmp_path)
    assert [each.name for each in found.runs if each.score is not None][:2] == [
        "linear_probe on columns",
        "knn?k=7 on columns",
    ]


def test_few_rows_are_measured_in_folds_and_many_on_one_side() -> None:
    few, many = course(120), course(2000)
    assert len(few.heats) == 5
    measured = np.concatenate([heat.measured for heat in few.heats])
    assert sorted(measured) == sorted(np.concatenate([few.sides.train, few.sides.valid]))
    assert len(many.heats) == 1
    assert [round(rung.share, 2) for rung in many.rungs] == [0.11, 0.33, 1.0]


@pytest.mark.parametrize("rows", [120, 2000])
def test_no_rung_learns_from_a_row_that_it_measures_by_or_from_a_test_row(rows: int) -> None:
    found = course(rows)
    below: set[int] = set()
    for rung in found.rungs:
        for heat in found.heats[: rung.heats]:
            learnt = set(found.learners(heat, rung).tolist())
            assert not learnt & set(heat.measured.tolist())
            assert not learnt & set(found.sides.test.tolist())
        first = set(found.learners(found.heats[0], rung).tolist())
        assert below <= first
        below = first


def test_a_candidate_that_fails_costs_nothing_but_itself(tmp_path: Path) -> None:
    found = run([Broken(), "knn"], course(120), tmp_path)
    assert found.winner.name == "knn on columns"
    assert found.runs[0].ended == "failed: the weights are of another shape"


def test_where_all_fail_the_reasons_are_listed(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nothing could be measured:\n  Broken on columns: failed: the weights"):
        run([Broken()], course(120), tmp_path)


def test_what_is_too_dear_for_the_time_left_does_not_start(tmp_path: Path) -> None:
    forecasts = {"knn on columns": 1e6}
    found = run(["linear_probe", "knn"], course(120), tmp_path, forecasts=forecasts)
    assert found.winner.name == "linear_probe on columns"
    (out,) = [each for each in found.runs if each.name.startswith("knn")]
    assert out.ended.startswith("its forecast of 1000000 s is over the")
    assert "budget is used up" in found.stopped


@pytest.mark.parametrize("dear", ["linear_probe", "knn"])
def test_what_cannot_be_fitted_on_all_rows_stays_as_it_is_where_it_is_better(dear: str, tmp_path: Path) -> None:
    takes = {f"{dear} on columns": 30.0}

    def reserve(seconds: float) -> float:
        return 1e9 if seconds > 20.0 else 0.0

    on = course(2000)
    slow = on.measure

    def measure(self: Course, chosen: Candidate, *given: Any, **named: Any) -> Any:
        found = slow(chosen, *given, **named)
        return replace(found, seconds=found.seconds + takes.get(chosen.name, 0.0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Course, "measure", measure)
        found = run(["knn", "linear_probe"], on, tmp_path, reserve=reserve)
    assert found.winner.name == "knn on columns"
    assert found.once == (dear == "knn")
    (aside,) = [each for each in found.runs if each.name in takes]
    assert aside.ended.startswith("fitting it on all rows, and what follows, would take about")


def test_where_no_time_is_left_for_a_fit_on_all_rows_the_best_as_it_was_fitted_wins(tmp_path: Path) -> None:
    led: list[str] = []
    found = run(
        ["linear_probe", "knn"],
        course(300),
        tmp_path,
        reserve=lambda seconds: 1e9 if seconds else 0.0,
        leads=lambda trial, measured: led.append(trial.candidate.name),
    )
    assert found.winner.name == led[-1] == "knn on columns"
    assert "budget is used up" in found.stopped


def test_the_first_is_measured_even_where_all_time_is_kept_for_later(tmp_path: Path) -> None:
    found = run(["linear_probe", "knn"], course(120), tmp_path, reserve=lambda seconds: 1e9)
    assert [each.score is not None for each in found.runs] == [True, False]
    assert found.winner.name == "linear_probe on columns"


def test_settings_of_what_leads_are_searched_until_nothing_gets_better(tmp_path: Path) -> None:
    found = run(["mlp_head?epochs=2"], course(120), tmp_path)
    names = {each.name for each in found.runs}
    assert len(names) > search._PATIENCE
    assert all("epochs=2" in name for name in names)
    assert found.stopped == "6 other settings in a row brought nothing better"


def test_a_race_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs, on = ["linear_probe", "knn", "prototypes"], course(120)
    whole = run(specs, on, tmp_path / "whole")
    measure, calls = Course.measure, []

    def killed(self: Course, *given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(self, *given, **named)

    monkeypatch.setattr(Course, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        run(specs, on, tmp_path / "killed")
    monkeypatch.undo()
    again = run(specs, on, tmp_path / "killed")
    assert [(each.name, each.rung, each.score, each.ended) for each in again.runs] == [
        (each.name, each.rung, each.score, each.ended) for each in whole.runs
    ]
    assert again.winner.name == whole.winner.name


def test_numbers_are_raced_by_the_smallest_error(tmp_path: Path) -> None:
    found = run(["linear_probe", "knn"], course(300, numbers=True), tmp_path)
    assert found.winner.name == "knn on columns"
    errors = {each.name: each.score for each in found.runs if each.rung == 0}
    assert errors["knn on columns"] < errors["linear_probe on columns"]


def test_whoever_takes_the_lead_is_handed_over(tmp_path: Path) -> None:
    led: list[str] = []
    found = run(
        ["linear_probe", "knn"], course(300), tmp_path, leads=lambda trial, measured: led.append(trial.candidate.name)
    )
    assert led[0] == "linear_probe on columns"
    assert led[-1] == found.winner.name

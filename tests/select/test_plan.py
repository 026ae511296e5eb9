"""Planning looks at names and sizes, never at rows."""

from __future__ import annotations

import pytest

from graft import registry
from graft.contracts import Strategy
from graft.errors import RequestError, UnknownNameError
from graft.select.candidates import default_source
from graft.select.plan import Plan, make_plan
from graft.sources.columns import Columns
from graft.sources.tfidf import Tfidf
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.majority import Majority
from graft.strategies.pretrain import Pretrain


def test_controls_stand_on_what_they_state() -> None:
    plan = make_plan(Tfidf(), [LinearProbe()], "text")
    stands_on = {each.name: type(each.source).__name__ for each in plan.controls}
    assert stands_on == {"majority": "Nothing", "shallow": "Tfidf"}
    assert "scratch" in plan.left_out


def test_a_control_that_is_tried_anyway_does_not_run_twice() -> None:
    plan = make_plan(Columns(), [Majority()], "table", controls=("majority", "shallow"))
    assert [each.name for each in plan.controls] == ["shallow"]


def test_what_is_over_the_budget_is_left_out_with_the_figures() -> None:
    plan = make_plan(Columns(), [LinearProbe()], "table")
    dear = plan.afford({"shallow": 500.0}, budget=60.0)
    assert isinstance(dear, Plan)
    assert [each.name for each in dear.controls] == ["majority"]
    assert "500 s" in dear.left_out["shallow"]
    assert plan.afford({"shallow": 5.0}, budget=60.0).controls == plan.controls


def test_without_any_time_no_network_trains_and_the_cheap_controls_stay() -> None:
    plan = make_plan(registry.build("sources", "table/mlp"), [Pretrain(epochs=1)], "table")
    late = plan.afford({}, budget=0.0)
    assert {each.name for each in plan.controls} - {each.name for each in late.controls} == {"scratch"}
    assert late.left_out["scratch"] == "no time is left in which it could train"


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(RequestError, match="reads rows of text"):
        make_plan(Tfidf(), [LinearProbe()], "image")
    with pytest.raises(UnknownNameError, match="majority"):
        make_plan(Columns(), [LinearProbe()], "table", controls=("majorty",))


def test_a_source_of_each_modality_that_needs_no_download() -> None:
    assert default_source("text").reads() == "text"
    assert default_source("table").reads() == "table"
    assert default_source("image").reads() == "image"


def test_what_does_not_fit_into_memory_is_left_out_by_that_name() -> None:
    plan = make_plan(Columns(), [LinearProbe()], "table")
    assert "memory" in plan.afford({"shallow": float("inf")}, budget=60.0).left_out["shallow"]


class _Taught(LinearProbe):
    """Adds something to a probe."""

    def without(self) -> tuple[str, Strategy] | None:
        return "student", LinearProbe(penalties=self.penalties)


def test_what_a_strategy_is_without_runs_as_a_control_once() -> None:
    plan = make_plan(Columns(), [_Taught((1.0,)), _Taught((2.0,)), _Taught((1.0,))], "table", controls=("majority",))
    assert [each.name for each in plan.controls][:2] == ["majority", "student"]
    assert plan.controls[2].name.startswith("student of ")
    assert len(plan.controls) == 3
    assert {each.role for each in plan.controls} == {"control"}
    tried_anyway = make_plan(Columns(), [_Taught((1.0,)), LinearProbe((1.0,))], "table", controls=())
    assert tried_anyway.controls == ()

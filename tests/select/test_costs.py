"""Forecasts give way to what was seen."""

from __future__ import annotations

import pytest

from graft.select.costs import Costs


def test_before_anything_ran_the_forecast_holds() -> None:
    assert Costs({"a": 90.0}).expected("a", 1 / 3) == pytest.approx(30.0)


def test_what_was_seen_grows_with_the_work_but_for_a_second_of_loading() -> None:
    costs = Costs({"a": 500.0})
    costs.saw("a", 0.25, 3.0)
    assert costs.expected("a", 1.0) == pytest.approx(1.0 + 2.0 * 4)


def test_a_slow_machine_is_learnt_from_the_fits_that_took_long() -> None:
    costs = Costs({"a": 10.0, "b": 10.0, "c": 30.0})
    costs.saw("a", 1.0, 21.0)
    costs.saw("b", 1.0, 0.5)
    assert costs.expected("c", 1.0) == pytest.approx(60.0)


def test_a_slow_closed_form_says_nothing_of_training() -> None:
    costs = Costs({"svm": 1.0, "tune": 10.0, "lora": 20.0}, {"svm": False, "tune": True, "lora": True})
    costs.saw("svm", 1.0, 9.0)
    assert costs.expected("tune", 1.0) == pytest.approx(10.0)
    costs.saw("tune", 1.0, 16.0)
    assert costs.expected("lora", 1.0) == pytest.approx(30.0)


def test_a_slow_first_fit_is_not_believed_beyond_three_forecasts() -> None:
    costs = Costs({"a": 9.0})
    costs.saw("a", 1 / 3, 61.0)
    assert costs.expected("a", 1.0) == pytest.approx(61.0 + 3 * 9.0 * 2 / 3)


def test_a_variant_costs_what_its_parent_did() -> None:
    costs = Costs({"a": 10.0})
    costs.saw("a", 1.0, 7.0)
    costs.like("b", "a")
    assert costs.expected("b", 0.5) == costs.expected("a", 0.5)


def test_what_is_unknown_costs_nothing_yet() -> None:
    assert Costs({}).expected("a", 1.0) == 0.0


def test_two_fits_tell_what_does_not_grow() -> None:
    costs = Costs({"a": 1.0})
    costs.saw("a", 0.25, 11.0)
    costs.saw("a", 0.5, 12.0)
    assert costs.expected("a", 1.0) == pytest.approx(14.0)

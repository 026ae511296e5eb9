"""Curves are drawn on to all rows, and hope has a limit."""

from __future__ import annotations

import pytest

from graft.select.curve import hoped, reached


def test_a_power_law_is_drawn_on() -> None:
    law = {rows: 0.9 - 2.0 * rows**-0.5 for rows in (100, 300, 900)}
    assert reached(law, 3600) == pytest.approx(0.9 - 2.0 / 60)


@pytest.mark.parametrize("points", [{100: 0.7}, {100: 0.8, 300: 0.7}])
def test_what_does_not_rise_is_taken_as_it_is(points: dict[int, float]) -> None:
    assert reached(points, 10_000) == 0.7


def test_rows_that_were_reached_need_no_drawing() -> None:
    assert reached({100: 0.5, 400: 0.8}, 400) == 0.8


@pytest.mark.parametrize(("score", "best", "most"), [(0.6, 1.0, 0.8), (-4.0, 0.0, -2.0)])
def test_the_distance_to_the_best_halves_with_four_times_the_rows(score: float, best: float, most: float) -> None:
    assert hoped(score, 100, 400, best) == pytest.approx(most)


def test_nothing_is_hoped_for_without_more_rows() -> None:
    assert hoped(0.6, 100, 100, 1.0) == pytest.approx(0.6)

"""Shares with their intervals, against scipy, and where rows come in groups."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from graft.evaluate.proportions import proportions, wilson


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (5, 5), (3, 7), (40, 100), (1, 1), (999, 1000)])
def test_it_is_the_interval_of_wilson(hits: int, count: int) -> None:
    low, high = wilson(np.array([hits]), np.array([count]))
    wanted = binomtest(hits, count).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert low[0] <= hits / count <= high[0]


def test_nothing_counted_is_unknown() -> None:
    value, low, high = proportions(np.zeros((4, 1), bool), np.zeros((4, 1), bool))
    assert np.isnan([value[0], low[0], high[0]]).all()
    value, low, high = proportions(np.zeros((4, 1), bool), np.zeros((4, 1), bool), np.array([1, 1, 2, 2]))
    assert np.isnan([value[0], low[0], high[0]]).all()


def test_copies_of_rows_say_no_more_than_the_rows() -> None:
    """Each row five times is five times the rows, and no more evidence."""
    hits = np.random.default_rng(0).random((200, 2)) < (0.3, 0.8)
    among = np.ones_like(hits)
    once = proportions(hits, among)
    often = proportions(np.tile(hits, (5, 1)), np.tile(among, (5, 1)), np.tile(np.arange(200), 5))
    for mine, theirs in zip(once, often, strict=True):
        assert theirs == pytest.approx(mine, abs=2e-3)
    naive = proportions(np.tile(hits, (5, 1)), np.tile(among, (5, 1)))
    assert (naive[2] - naive[1] < 0.6 * (often[2] - often[1])).all()


def test_groups_that_agree_inside_widen_and_single_rows_do_not() -> None:
    random = np.random.default_rng(1)
    alike = np.repeat(random.random((40, 1)) < 0.5, 10, axis=0)
    among, groups = np.ones_like(alike), np.repeat(np.arange(40), 10)
    _, low, high = proportions(alike, among, groups)
    wanted = binomtest(int(alike[::10].sum()), 40).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((wanted.low, wanted.high), abs=0.01)
    apart = random.random((400, 1)) < 0.5
    plain = proportions(apart, among)
    lonely = proportions(apart, among, np.array([""] * 400))
    assert np.concatenate(lonely) == pytest.approx(np.concatenate(plain), abs=1e-3), "no group: each stands alone"
    sure = proportions(np.ones((400, 1), bool), among, groups)
    assert sure[1][0] == pytest.approx(binomtest(40, 40).proportion_ci(method="wilson").low)


def test_intervals_hold_as_often_as_they_say_for_rows_in_groups() -> None:
    random = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        sizes = random.integers(1, 12, 40)
        chances = np.repeat(random.beta(3.5, 1.5, 40), sizes)
        hits = (random.random(len(chances)) < chances)[:, None]
        _, low, high = proportions(hits, np.ones_like(hits), np.repeat(np.arange(40), sizes))
        held += int(low[0] <= 0.7 <= high[0])
    assert 0.91 <= held / 400 <= 0.98

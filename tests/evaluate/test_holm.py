"""Holm's correction, against its definition and against a closed test."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from graft.errors import RequestError
from graft.evaluate.holm import holm


def closed(p_values: list[float]) -> list[float]:
    """Holm is the closed test of Bonferroni: a hypothesis falls with all intersections that hold it."""
    n = len(p_values)
    found = []
    for mine in range(n):
        sets = [each for size in range(1, n + 1) for each in combinations(range(n), size) if mine in each]
        found.append(max(min(1.0, len(each) * min(p_values[place] for place in each)) for each in sets))
    return found


def stepwise(p_values: np.ndarray) -> np.ndarray:
    """As statsmodels' ``multipletests(method="holm")`` computes it: sorted, scaled from the top, running maximum."""
    order = np.argsort(p_values)
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.clip(np.maximum.accumulate(scaled), None, 1)
    found = np.empty_like(corrected)
    found[order] = corrected
    return found


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_closed_test_of_bonferroni(seed: int) -> None:
    p_values = np.random.default_rng(seed).uniform(0, 0.4, 7)
    p_values[3] = p_values[5]
    assert holm(p_values.tolist()) == pytest.approx(closed(p_values.tolist()), abs=1e-15)
    assert holm(p_values.tolist()) == pytest.approx(stepwise(p_values).tolist(), abs=1e-15)


def test_the_worked_example_of_r() -> None:
    """``p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")``."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_picked_tests_are_corrected_at_least_as_if_all_were_given(seed: int) -> None:
    p_values = np.random.default_rng(seed).uniform(0, 0.2, 10)
    of_all = np.array(holm(p_values.tolist()))
    for size in (1, 3, 6):
        picked = np.random.default_rng([seed, size]).choice(10, size, replace=False)
        assert (np.array(holm(p_values[picked].tolist(), tests=10)) >= of_all[picked] - 1e-15).all()


def test_a_test_that_says_nothing_counts_and_stays_unknown() -> None:
    found = holm([0.01, float("nan"), 0.02])
    assert found[0] == pytest.approx(0.03)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(0.04)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(RequestError, match="is no p-value"):
        holm([0.2, 1.2])
    with pytest.raises(RequestError, match="3 p-values cannot come from 2 tests"):
        holm([0.1, 0.2, 0.3], tests=2)

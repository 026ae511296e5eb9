from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from graft.errors import UnknownNameError
from graft.evaluate.compare import Comparison, compare, mcnemar
from graft.evaluate.intervals import Interval
from graft.tasks.classification import Classification
from graft.tasks.regression import Regression

TASK = Classification().start(np.array(["a", "b", "c"]))


def models(gain: float, n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.integers(3, size=n)
    sure = np.eye(3)[targets]
    return random.normal(size=(n, 3)) + (1 + gain) * sure, random.normal(size=(n, 3)) + sure, targets


def test_a_better_model_gains_whichever_way_the_metric_points() -> None:
    ours, theirs, targets = models(1.5)
    for metric, test in (("accuracy", "McNemar"), ("log_loss", "permutation"), ("auroc", "permutation")):
        found = compare(TASK, ours, theirs, targets, metric=metric)
        assert (found.metric, found.test) == (metric, test)
        assert found.gain.value > 0
        assert found.gain.low > 0
        assert found.p_value < 0.01
        back = compare(TASK, theirs, ours, targets, metric=metric)
        assert back.gain.value == -found.gain.value
        assert back.gain.high < 0


def test_the_gain_is_the_difference_and_pairing_narrows_it() -> None:
    ours, theirs, targets = models(0.5)
    found = compare(TASK, ours, theirs, targets)
    right = [(each.argmax(axis=1) == targets).astype(float) for each in (ours, theirs)]
    assert found.gain.value == pytest.approx(right[0].mean() - right[1].mean())
    spread = (right[0] - right[1]).std() / np.sqrt(len(targets))
    assert found.gain.high - found.gain.low == pytest.approx(2 * 1.96 * spread, rel=0.12)
    near = compare(TASK, ours, ours + 1e-3 * theirs, targets)
    assert near.gain.high - near.gain.low < 0.2 * (found.gain.high - found.gain.low)


def test_equal_models_differ_by_nothing() -> None:
    ours, _, targets = models(0.0)
    for metric in ("accuracy", "macro_f1"):
        found = compare(TASK, ours, ours, targets, metric=metric)
        assert (found.gain.value, found.gain.low, found.gain.high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (3, 3), (12, 4), (0, 9), (1, 40)])
def test_mcnemar_is_the_exact_test_with_half_the_weight_of_the_outcome(wins: int, losses: int) -> None:
    ours = np.array([True] * wins + [False] * losses + [True] * 5)
    theirs = np.array([False] * wins + [True] * losses + [True] * 5)
    found = mcnemar(ours, theirs)
    if wins + losses == 0 or wins == losses:
        assert found == 1.0
        return
    exact = binomtest(wins, wins + losses).pvalue
    assert found == pytest.approx(exact - binom.pmf(wins, wins + losses, 0.5), rel=1e-9)


def test_the_permutation_test_agrees_with_all_permutations() -> None:
    ours, theirs, _ = models(0.0, n=10, seed=5)
    task = Regression(metric="mae").start(np.arange(10.0))
    ours, theirs, targets = ours[:, :1] * 0.5, theirs[:, :1], np.zeros((10, 1))
    far = np.abs(ours[:, 0]) - np.abs(theirs[:, 0])
    signs = np.array(list(product([-1, 1], repeat=10)))
    exact = (np.abs(signs @ far) >= abs(far.sum()) - 1e-12).mean()
    found = compare(task, ours, theirs, targets)
    assert found.test == "permutation"
    assert found.p_value == pytest.approx(exact, abs=0.04)


def test_groups_are_swapped_whole_and_widen_the_interval() -> None:
    ours, theirs, targets = models(1.0, n=24)
    rows = np.repeat(np.arange(24), 20)
    alone = compare(TASK, ours[rows], theirs[rows], targets[rows])
    grouped = compare(TASK, ours[rows], theirs[rows], targets[rows], groups=rows.astype(str))
    assert grouped.test == "permutation"
    assert grouped.p_value > alone.p_value
    assert grouped.gain.high - grouped.gain.low > 2 * (alone.gain.high - alone.gain.low)
    one = compare(TASK, ours, theirs, targets, groups=np.zeros(24))
    assert one.p_value == 1.0
    assert np.isnan(one.gain.low)


def test_the_seed_decides() -> None:
    ours, theirs, targets = models(0.2)
    first = compare(TASK, ours, theirs, targets, metric="macro_f1", seed=1)
    assert compare(TASK, ours, theirs, targets, metric="macro_f1", seed=1) == first
    assert compare(TASK, ours, theirs, targets, metric="macro_f1", seed=2) != first


def test_a_metric_without_a_value_proves_nothing() -> None:
    ours, theirs, _ = models(1.0, n=20)
    found = compare(TASK, ours, theirs, np.zeros(20, int), metric="auroc")
    assert np.isnan(found.gain.value)
    assert found.p_value == 1.0


def test_an_unknown_metric_is_named_with_the_nearest() -> None:
    ours, theirs, targets = models(0.0, n=10)
    with pytest.raises(UnknownNameError, match="Did you mean macro_f1"):
        compare(TASK, ours, theirs, targets, metric="macrof1")


def test_a_comparison_reads_well() -> None:
    gain = Interval(0.549, 0.475, 0.623)
    assert str(Comparison("accuracy", gain, 1e-9, "McNemar")) == "+0.549 [0.475, 0.623] accuracy, McNemar p < 0.001"
    assert Comparison("r2", gain, 0.034, "permutation").evidence == "permutation p = 0.034"


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "grouped"), [("accuracy", False), ("macro_f1", False), ("accuracy", True)])
def test_noise_is_called_a_difference_no_more_often_than_promised(metric: str, grouped: bool) -> None:
    covered = rejected = 0
    for seed in range(200):
        ours, theirs, targets = models(0.0, n=120, seed=seed)
        groups = np.arange(120) // 2 if grouped else None
        found = compare(TASK, ours, theirs, targets, groups=groups, metric=metric, seed=seed)
        covered += found.gain.low <= 0 <= found.gain.high
        rejected += found.p_value < 0.05
    assert 0.90 <= covered / 200 <= 0.98
    assert rejected / 200 <= 0.09


def test_models_of_folds_are_compared_more_carefully() -> None:
    ours, theirs, targets = models(0.4)
    for metric in ("accuracy", "log_loss"):
        plain, wide = (compare(TASK, ours, theirs, targets, metric=metric, widen=by) for by in (1.0, 1.5))
        assert wide.gain.value == plain.gain.value
        assert wide.gain.high - wide.gain.low == pytest.approx(1.5 * (plain.gain.high - plain.gain.low), rel=0.1)
        assert norm.isf(wide.p_value / 2) == pytest.approx(norm.isf(plain.p_value / 2) / 1.5, rel=0.1)
    equal = compare(TASK, ours, ours, targets, widen=1.5)
    assert equal.p_value == 1.0
    assert equal.adjusted is None

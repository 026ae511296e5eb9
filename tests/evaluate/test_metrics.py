from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax

from graft.evaluate import metrics

Case = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw(seed: int, n: int, c: int, coarse: bool) -> Case:
    """Logits (with ties where coarse), classes of which some may be absent, and how often a row counts."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, c))
    if coarse:
        logits = np.round(logits)
    return logits, random.integers(c, size=n), random.integers(4, size=n)


def repeated(weights: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(weights)), weights)


cases = st.builds(draw, st.integers(0, 10**6), st.integers(2, 60), st.integers(2, 6), st.booleans())


def close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def each_way(
    measure: Callable[[np.ndarray | None], Any], reference: Callable[[np.ndarray], Any], w: np.ndarray
) -> None:
    """Unweighted, weighted and many weightings at once, all as the reference has the repeated rows."""
    close(measure(None), reference(np.arange(len(w))))
    if w.sum():
        close(measure(w), reference(repeated(w)))
        close(measure(np.stack([w, np.ones_like(w)])), [reference(repeated(w)), reference(np.arange(len(w)))])


@settings(deadline=None, max_examples=40)
@given(cases)
def test_class_metrics_equal_scikit_learn(case: Case) -> None:
    logits, truth, weights = case
    guess, c = logits.argmax(axis=1), logits.shape[1]
    chances = softmax(logits, axis=1)

    def quiet(measure: Callable[..., float], *args: Any, **options: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn remarks on classes that are only predicted
            return float(measure(*args, **options))

    each_way(lambda w: metrics.accuracy(guess, truth, w), lambda r: sk.accuracy_score(truth[r], guess[r]), weights)
    each_way(
        lambda w: metrics.balanced_accuracy(guess, truth, c, w),
        lambda r: quiet(sk.balanced_accuracy_score, truth[r], guess[r]),
        weights,
    )
    each_way(
        lambda w: metrics.macro_f1(guess, truth, c, w),
        lambda r: quiet(sk.f1_score, truth[r], guess[r], average="macro", zero_division=0),
        weights,
    )
    each_way(
        lambda w: metrics.log_loss(log_softmax(logits, axis=1), truth, w),
        lambda r: sk.log_loss(truth[r], chances[r], labels=range(c)),
        weights,
    )


def reference_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    return float(sk.roc_auc_score(positive, scores)) if 0 < positive.sum() < len(positive) else np.nan


@settings(deadline=None, max_examples=40)
@given(cases)
def test_auroc_equals_scikit_learn_over_the_classes_present(case: Case) -> None:
    logits, truth, weights = case
    chances = softmax(logits, axis=1)
    first = truth == 0
    each_way(
        lambda w: metrics.auroc(chances[:, 0], first, w), lambda r: reference_auroc(chances[r, 0], first[r]), weights
    )
    if chances.shape[1] > 2:

        def rest(rows: np.ndarray) -> float:
            values = [reference_auroc(chances[rows, k], truth[rows] == k) for k in range(chances.shape[1])]
            defined = [value for value in values if not np.isnan(value)]
            return float(np.mean(defined)) if defined else np.nan

        each_way(lambda w: metrics.auroc_one_vs_rest(chances, truth, w), rest, weights)
    if len(np.unique(truth)) == chances.shape[1]:
        theirs = chances[:, 1] if chances.shape[1] == 2 else chances
        close(metrics.auroc_one_vs_rest(chances, truth), sk.roc_auc_score(truth, theirs, multi_class="ovr"))


@settings(deadline=None, max_examples=40)
@given(cases)
def test_label_metrics_equal_scikit_learn(case: Case) -> None:
    logits, _, weights = case
    truth = np.random.default_rng(weights.sum()).random(logits.shape) < 0.4
    guess, chances = logits > 0, expit(logits)
    names = range(logits.shape[1])
    options = {"average": None, "zero_division": np.nan}
    each_way(
        lambda w: metrics.f1_per_label(guess, truth, w), lambda r: sk.f1_score(truth[r], guess[r], **options), weights
    )
    each_way(
        lambda w: metrics.micro_f1(guess, truth, w),
        lambda r: sk.f1_score(truth[r].ravel(), guess[r].ravel(), zero_division=np.nan),
        weights,
    )
    each_way(lambda w: metrics.exact_match(guess, truth, w), lambda r: sk.accuracy_score(truth[r], guess[r]), weights)
    each_way(
        lambda w: metrics.auroc_per_label(chances, truth, w),
        lambda r: [reference_auroc(chances[r, k], truth[r, k]) for k in names],
        weights,
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(3, 60), st.integers(1, 3))
def test_regression_metrics_equal_scikit_learn(seed: int, n: int, k: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.normal(50, 2, size=(n, k))
    guess = truth + random.normal(size=(n, k))
    weights = random.integers(4, size=n)
    weights[:2] = 1
    rows = repeated(weights)
    for measure, reference in (
        (metrics.mae, sk.mean_absolute_error),
        (metrics.rmse, sk.root_mean_squared_error),
        (metrics.r2, sk.r2_score),
    ):
        np.testing.assert_allclose(measure(guess, truth), reference(truth, guess), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(measure(guess, truth, weights), reference(truth[rows], guess[rows]), rtol=1e-9)
        np.testing.assert_allclose(measure(guess, truth, np.stack([weights] * 2))[1], measure(guess, truth, weights))


def slow_ece(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Every row cut into ``bins`` equal parts, sorted, and the parts dealt into the bins in turn."""
    order = np.argsort(confidence, kind="stable")
    parts, right = np.repeat(confidence[order], bins), np.repeat(correct[order].astype(float), bins)
    for value in np.unique(parts):
        right[parts == value] = right[parts == value].mean()
    return float(
        np.mean([abs(p.mean() - r.mean()) for p, r in zip(np.split(parts, bins), np.split(right, bins), strict=True)])
    )


@settings(deadline=None, max_examples=40)
@given(cases)
def test_calibration_error_equals_its_definition(case: Case) -> None:
    logits, truth, weights = case
    chances = softmax(logits, axis=1)
    confidence, correct = chances.max(axis=1), chances.argmax(axis=1) == truth
    each_way(lambda w: metrics.ece(confidence, correct, w), lambda r: slow_ece(confidence[r], correct[r]), weights)


def test_a_constant_prediction_has_one_calibration_gap() -> None:
    correct = np.arange(100) % 4 == 0
    assert metrics.ece(np.full(100, 0.3), correct) == pytest.approx(0.05, abs=1e-12)


def test_what_has_no_value_is_nan_and_leaves_the_mean() -> None:
    scores = np.array([0.1, 0.2, 0.3])
    assert np.isnan(metrics.auroc(scores, np.ones(3, bool)))
    assert np.isnan(metrics.auroc_one_vs_rest(np.eye(3), np.zeros(3, int)))
    assert np.isnan(metrics.f1_per_label(np.zeros((3, 1), bool), np.zeros((3, 1), bool))).all()
    assert np.isnan(metrics.micro_f1(np.zeros((3, 1), bool), np.zeros((3, 1), bool)))
    assert np.isnan(metrics.accuracy(np.array([1]), np.array([1]), np.array([0.0])))
    assert metrics.mean_defined(np.array([1.0, np.nan, 0.0])) == 0.5


def test_r2_of_constant_targets_is_one_only_for_perfect_predictions() -> None:
    flat = np.full((4, 1), 0.1)
    assert metrics.r2(flat, flat) == sk.r2_score(flat, flat) == 1.0
    assert metrics.r2(flat + 1, flat) == sk.r2_score(flat, flat + 1) == 0.0
    varied = np.array([[0.1], [0.1], [0.7]])
    assert metrics.r2(varied + 1, varied, np.array([3, 2, 0])) == 0.0


def test_every_metric_says_which_way_is_better() -> None:
    assert metrics.HIGHER_IS_BETTER["accuracy"]
    assert not metrics.HIGHER_IS_BETTER["log_loss"]
    with pytest.raises(TypeError):
        metrics.HIGHER_IS_BETTER["accuracy"] = False  # type: ignore[index]

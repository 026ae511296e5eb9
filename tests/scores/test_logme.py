"""LogME is the largest log evidence that any two precisions give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from graft.contracts import Array, Seen
from graft.errors import DivergedError, RequestError
from graft.scores.logme import LogME

Make = Callable[..., tuple[Seen, Array]]


def largest_evidence(features: Array, target: Array) -> float:
    """The most likely Gaussian process of linear functions, found without a fixed point; a row's share of its log."""

    def surprise(logs: Array) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(features)) / beta + features @ features.T / alpha
        return -float(multivariate_normal.logpdf(target, np.zeros(len(target)), covariance))

    starts = ([0.0, 0.0], [2.0, 2.0], [-2.0, 1.0])
    return -min(minimize(surprise, start, method="Nelder-Mead").fun for start in starts) / len(target)


def published(features: Array, wanted: Array) -> float:
    """The fixed point as its authors run it, one target after the other, on a full decomposition."""
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    n, d = features.shape
    found = []
    for y in wanted.T:
        x2 = (u.T @ y) ** 2
        rest = (y**2).sum() - x2.sum()
        alpha = beta = 1.0
        for _ in range(11):
            t = alpha / beta
            gamma = sum(each**2 / (each**2 + t) for each in s)
            m2 = sum(each**2 * x / (t + each**2) ** 2 for each, x in zip(s, x2, strict=True))
            r2 = sum(x / (1 + each**2 / t) ** 2 for each, x in zip(s, x2, strict=True)) + rest
            alpha, beta = gamma / (m2 + 1e-5), (n - gamma) / (r2 + 1e-5)
            if abs(alpha / beta - t) / t <= 1e-3:
                break
        logs = d / 2 * np.log(alpha) + n / 2 * np.log(beta) - np.log(alpha + beta * s**2).sum() / 2
        found.append((logs - beta / 2 * r2 - alpha / 2 * m2 - n / 2 * np.log(2 * np.pi)) / n)
    return float(np.mean(found))


@pytest.mark.parametrize(("n", "d"), [(60, 8), (24, 40)])
def test_it_is_the_largest_evidence(make: Make, n: int, d: int) -> None:
    seen, targets = make(n, d, c=2, apart=0.5)
    features = seen.features.astype(np.float64)
    expected = np.mean([largest_evidence(features, (targets == each).astype(float)) for each in range(2)])
    assert LogME().score(seen, targets) == pytest.approx(expected, abs=2e-3)


def test_it_is_what_the_authors_publish_where_rows_are_many(make: Make) -> None:
    seen, targets = make(80, 12, c=4)
    expected = published(seen.features.astype(np.float64), np.eye(4)[targets])
    assert LogME().score(seen, targets) == pytest.approx(expected, rel=1e-9)


def test_numbers_and_labels_are_regressed_on(make: Make) -> None:
    seen, targets = make(50, 6)
    numbers = (seen.features @ np.linspace(-1, 1, 12).reshape(6, 2)).astype(np.float32)
    noise = np.random.default_rng(1).normal(size=numbers.shape).astype(np.float32)
    expected = published(seen.features.astype(np.float64), numbers.astype(np.float64))
    assert LogME().score(seen, numbers) == pytest.approx(expected, rel=1e-6)
    assert LogME().score(seen, numbers) > LogME().score(seen, noise)
    labels = np.eye(3, dtype=np.float32)[targets]
    assert LogME().score(seen, labels) == pytest.approx(LogME().score(seen, targets))


def test_features_without_energy_add_nothing(make: Make) -> None:
    seen, targets = make(20, 30, c=2)
    wider = replace(seen, features=np.pad(seen.features, ((0, 0), (0, 50))))
    assert LogME().score(wider, targets) == pytest.approx(LogME().score(seen, targets))


def test_what_is_not_finite_is_refused(make: Make) -> None:
    seen, targets = make()
    seen.features[3, 2] = np.nan
    with pytest.raises(DivergedError, match="not finite"):
        LogME().score(seen, targets)


def test_one_class_is_refused(make: Make) -> None:
    seen, targets = make()
    with pytest.raises(RequestError, match="two classes or more, and all are of one"):
        LogME().score(seen, targets * 0)

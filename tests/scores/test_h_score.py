"""The H-score against covariances written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from graft.contracts import Array, Seen
from graft.errors import RequestError
from graft.scores.h_score import HScore

Make = Callable[..., tuple[Seen, Array]]


def between(features: Array, targets: Array) -> Array:
    """The covariance of the classes' means."""
    means = np.stack([features[targets == each].mean(axis=0) for each in targets])
    return np.cov(means, rowvar=False, bias=True)


@pytest.mark.parametrize("shape", [(60, 8), (30, 45)])
def test_it_is_the_published_trace(make: Make, shape: tuple[int, int]) -> None:
    seen, targets = make(*shape)
    features = seen.features.astype(np.float64)
    covariance = np.cov(features, rowvar=False, bias=True)
    expected = np.trace(np.linalg.pinv(covariance, rcond=1e-10) @ between(features, targets))
    assert HScore(shrinkage=0).score(seen, targets) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(60, 8), (30, 45)])
def test_shrinkage_is_that_of_ledoit_and_wolf(make: Make, shape: tuple[int, int]) -> None:
    seen, targets = make(*shape)
    features = seen.features.astype(np.float64)
    model = LedoitWolf().fit(features)
    drawn = (1 - model.shrinkage_) * between(features, targets)
    assert HScore().score(seen, targets) == pytest.approx(np.trace(np.linalg.inv(model.covariance_) @ drawn), rel=1e-6)


def test_a_share_can_be_given(make: Make) -> None:
    seen, targets = make(40, 60)
    features = seen.features.astype(np.float64)
    covariance = np.cov(features, rowvar=False, bias=True)
    drawn = 0.7 * covariance + 0.3 * np.trace(covariance) / 60 * np.eye(60)
    expected = np.trace(np.linalg.inv(drawn) @ (0.7 * between(features, targets)))
    assert HScore(shrinkage=0.3).score(seen, targets) == pytest.approx(expected, rel=1e-6)


def test_with_more_features_than_rows_only_shrinkage_tells_sources_apart(make: Make) -> None:
    good, targets = make(30, 200, apart=2.0)
    bad, _ = make(30, 200, apart=0.0)
    plain, shrunk = HScore(shrinkage=0), HScore()
    assert plain.score(good, targets) == pytest.approx(plain.score(bad, targets))
    assert shrunk.score(good, targets) > shrunk.score(bad, targets) + 0.1


@pytest.mark.parametrize("shrinkage", [-0.1, 1.5, True])
def test_a_share_that_is_none_is_refused(make: Make, shrinkage: float) -> None:
    with pytest.raises(RequestError, match="expected a share from 0 to 1"):
        HScore(shrinkage=shrinkage).score(*make())

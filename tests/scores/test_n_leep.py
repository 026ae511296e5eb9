"""N-LEEP on scikit-learn's principal axes and mixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from graft.contracts import Array, Seen
from graft.errors import RequestError
from graft.scores.n_leep import NLEEP

Make = Callable[..., tuple[Seen, Array]]


@pytest.mark.parametrize("shape", ["diag", "full"])
def test_it_is_leep_on_clusters(make: Make, shape: Any) -> None:
    seen, targets = make(90, 10)
    axes = PCA(0.8, svd_solver="full").fit(seen.features.astype(np.float64))
    rows = axes.transform(seen.features.astype(np.float64))
    rows /= rows[:, 0].std()
    chances = GaussianMixture(6, covariance_type=shape, random_state=3).fit(rows).predict_proba(rows)
    together = np.stack([chances[targets == each].sum(axis=0) for each in range(3)])
    expected = np.log(((together / together.sum(axis=0))[targets] * chances).sum(axis=1)).mean()
    assert NLEEP(ratio=2, shape=shape, seed=3).score(seen, targets) == pytest.approx(expected, rel=1e-4)


def test_more_axes_can_be_held(make: Make) -> None:
    seen, targets = make(90, 10)
    assert NLEEP(energy=1.0).score(seen, targets) != NLEEP(energy=0.5).score(seen, targets)


def test_rows_that_are_all_equal_leave_the_entropy_of_the_classes(make: Make) -> None:
    seen, targets = make(30)
    flat = replace(seen, features=np.ones((30, 4), np.float32))
    assert NLEEP().score(flat, targets) == pytest.approx(-np.log(3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ratio": 0}, "ratio is 0; expected a whole number from 1"),
        ({"energy": 0.0}, "energy is 0.0; expected a share above 0"),
        ({"shape": "round"}, "shape is 'round'; expected diag or full"),
    ],
)
def test_options_that_are_none_are_refused(make: Make, given: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        NLEEP(**given).score(*make())

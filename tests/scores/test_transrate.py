"""TransRate with determinants written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from graft.contracts import Array, Seen
from graft.errors import RequestError
from graft.scores.transrate import TransRate

Make = Callable[..., tuple[Seen, Array]]


def rate(z: Array, eps: float) -> float:
    return float(np.linalg.slogdet(np.eye(z.shape[1]) + z.T @ z / (len(z) * eps))[1] / 2)


@pytest.mark.parametrize("shape", [(60, 8), (20, 30)])
@pytest.mark.parametrize("normalise", [True, False])
def test_it_is_the_rate_less_that_inside_the_classes(make: Make, shape: tuple[int, int], normalise: bool) -> None:
    seen, targets = make(*shape)
    z = seen.features.astype(np.float64)
    z = z - z.mean(axis=0)
    if normalise:
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    inside = sum((targets == each).mean() * rate(z[targets == each], 1e-3) for each in range(3))
    found = TransRate(eps=1e-3, normalise=normalise).score(seen, targets)
    assert found == pytest.approx(rate(z, 1e-3) - inside, rel=1e-7)


def test_normalised_it_does_not_grow_with_the_features(make: Make) -> None:
    seen, targets = make()
    larger = replace(seen, features=seen.features * 10)
    assert TransRate().score(larger, targets) == pytest.approx(TransRate().score(seen, targets), rel=1e-5)
    plain = TransRate(eps=1.0, normalise=False)
    assert plain.score(larger, targets) != pytest.approx(plain.score(seen, targets), rel=1e-3)


@pytest.mark.parametrize("eps", [0.0, float("inf")])
def test_a_distortion_that_is_none_is_refused(make: Make, eps: float) -> None:
    with pytest.raises(RequestError, match="expected a number above 0"):
        TransRate(eps=eps).score(*make())

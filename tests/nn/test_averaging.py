"""The outputs of an average say the average: of probabilities, or of values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax

from graft.nn.averaging import averaged, spoken

RANDOM = np.random.default_rng(0)
OUTPUTS = [(scale * RANDOM.normal(size=(40, 5))).astype(np.float32) for scale in (0.5, 3.0, 20.0)]
SHARES = [0.5, 0.3, 0.2]

MEANS: dict[str, Any] = {
    "softmax": lambda each: softmax(each.astype(np.float64), axis=1),
    "sigmoid": lambda each: expit(each.astype(np.float64)),
    "identity": lambda each: each.astype(np.float64),
}


@pytest.mark.parametrize("link", MEANS)
def test_the_mean_of_what_each_says(link: Any) -> None:
    expected = sum(share * MEANS[link](each) for share, each in zip(SHARES, OUTPUTS, strict=True))
    found = averaged(link, OUTPUTS, SHARES)
    assert found.dtype == np.float32
    assert np.allclose(MEANS[link](found), expected, atol=1e-6)
    assert np.allclose(MEANS[link](spoken(link, expected)), expected, atol=1e-6)


@pytest.mark.parametrize("link", MEANS)
def test_one_alone_is_left_as_it_is(link: Any) -> None:
    assert averaged(link, [OUTPUTS[0]], [1.0]) is OUTPUTS[0]


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_what_is_certain_stays_finite(link: Any) -> None:
    sure = np.array([[2000.0, -2000.0], [-2000.0, 2000.0]], dtype=np.float32)
    found = averaged(link, [sure, sure], [0.5, 0.5])
    assert np.isfinite(found).all()
    assert np.array_equal(found.argmax(axis=1), [0, 1])
    assert np.allclose(MEANS[link](averaged(link, [sure, -sure], [0.5, 0.5])), 0.5)
    assert np.isfinite(spoken(link, MEANS[link](sure))).all()

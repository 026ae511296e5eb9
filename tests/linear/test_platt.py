"""Platt's curve against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import _sigmoid_calibration

from graft.linear.platt import platt


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_the_curve_is_that_of_scikit_learn(shift: float) -> None:
    random = np.random.default_rng(0)
    truth = np.arange(80) % 4 == 0
    outputs = random.normal(size=80) + 1.5 * truth - shift
    a, b = _sigmoid_calibration(outputs, truth.astype(float))  # 1 / (1 + exp(a f + b))
    assert np.allclose(platt(outputs, truth), (-a, -b), atol=1e-3)


def test_a_machine_without_a_mistake_does_not_become_certain() -> None:
    scale, shift = platt(np.array([-1.0, -1.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    assert np.isclose(1 / (1 + np.exp(-(scale + shift))), 3 / 4)

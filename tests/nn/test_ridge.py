"""Ridge regression from one decomposition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as Reference

from graft.nn.ridge import Ridge

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(30, 5), (12, 20)])
@pytest.mark.parametrize("penalty", [100.0, 0.1])
def test_it_agrees_with_scikit_learn_row_by_row(shape: tuple[int, int], penalty: float) -> None:
    x, y = RANDOM.normal(size=shape), RANDOM.normal(size=(shape[0], 2)) + 5
    model = Ridge(torch.from_numpy(x), torch.from_numpy(y))
    weight, bias = model.fit(penalty)
    reference = Reference(alpha=penalty).fit(x, y)
    assert np.allclose(weight, reference.coef_)
    assert np.allclose(bias, reference.intercept_)
    left_out = model.left_out(penalty).numpy()
    for row in range(shape[0]):
        others = np.arange(shape[0]) != row
        expected = Reference(alpha=penalty).fit(x[others], y[others]).predict(x[row : row + 1])
        assert np.allclose(left_out[row], expected)


def test_columns_that_repeat_each_other_do_no_harm() -> None:
    x = np.repeat(RANDOM.normal(size=(20, 2)), 3, axis=1)
    model = Ridge(torch.from_numpy(x), torch.from_numpy(x[:, :1] * 2))
    assert np.allclose(model.left_out(1e-6), x[:, :1] * 2, atol=1e-4)


@pytest.mark.parametrize("shape", [(30, 5), (12, 20)])
def test_weights_are_those_of_scikit_learn_row_by_row(shape: tuple[int, int]) -> None:
    x, y = RANDOM.normal(size=shape), RANDOM.normal(size=(shape[0], 2)) + 5
    weights = RANDOM.integers(0, 4, size=shape[0]).astype(np.float64) / 2
    model = Ridge(*map(torch.from_numpy, (x, y, weights)))
    weight, bias = model.fit(0.3)
    reference = Reference(alpha=0.3).fit(x, y, sample_weight=weights)
    assert np.allclose(weight, reference.coef_)
    assert np.allclose(bias, reference.intercept_)
    left_out = model.left_out(0.3).numpy()
    for row in range(shape[0]):
        others = np.arange(shape[0]) != row
        expected = Reference(alpha=0.3).fit(x[others], y[others], sample_weight=weights[others])
        assert np.allclose(left_out[row], expected.predict(x[row : row + 1]))

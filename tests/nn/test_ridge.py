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

"""Probabilities of held-out rows become true, and decisions stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from graft.linear.models import fit_linear
from graft.linear.sharpness import sharpness
from graft.nn.glm import one_hot


def drawn(factor: float, n: int = 20_000, c: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs that are ``factor`` times too timid for the labels drawn from them."""
    random = np.random.default_rng(0)
    true = random.normal(size=(n, c)) * 2
    shares = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    labels = (shares.cumsum(1) > random.random((n, 1))).argmax(1)
    return torch.from_numpy(true / factor), one_hot(torch.from_numpy(labels), "softmax", c)


@pytest.mark.parametrize("factor", [0.25, 1.0, 7.0])
def test_the_factor_that_was_taken_away_is_found(factor: float) -> None:
    assert sharpness(*drawn(factor), "softmax") == pytest.approx(factor, rel=0.05)


def test_for_two_classes_it_is_a_logistic_regression_without_intercept() -> None:
    random = np.random.default_rng(1)
    outputs = random.normal(size=(5000, 1))
    labels = random.random(5000) < 1 / (1 + np.exp(-3 * outputs[:, 0]))
    reference = LogisticRegression(C=1e9, fit_intercept=False).fit(outputs, labels)
    found = sharpness(torch.from_numpy(outputs), torch.from_numpy(labels[:, None].astype(np.float32)), "sigmoid")
    assert found == pytest.approx(float(reference.coef_[0, 0]), rel=0.01)


def test_no_mistake_is_not_certainty() -> None:
    outputs = torch.eye(3).repeat(5, 1)
    found = sharpness(outputs, outputs, "softmax")
    assert 1 < found < 20
    largest = float((outputs * found).softmax(1).max())
    assert largest < 1 - 1 / 60


def test_numbers_and_no_rows_are_left_as_they_are() -> None:
    assert sharpness(torch.ones(4, 1), torch.ones(4, 1), "identity") == 1.0
    assert sharpness(torch.ones(0, 2), torch.ones(0, 2), "softmax") == 1.0


def test_a_timid_model_learns_to_speak_and_decides_as_before() -> None:
    """A penalty far too strong for the probabilities, though not for the decisions."""
    random = np.random.default_rng(2)
    y = np.arange(300) % 3
    x = (np.eye(3, 8)[y] + 0.2 * random.normal(size=(300, 8))).astype(np.float32)
    fitted = fit_linear(x, torch.from_numpy(y), "softmax", n_outputs=3, penalties=[100.0])
    outputs = torch.from_numpy(x) @ fitted.weight.T + fitted.bias
    assert fitted.sharpness > 5
    assert (outputs.argmax(1).numpy() == y).all()
    assert float(outputs.softmax(1).max(1).values.mean()) > 0.9

"""Entropies and divergences, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from graft.nn.confidence import confidence, divergence_from, sureness

DRAW = torch.Generator().manual_seed(0)
BEFORE, NOW = (2 * torch.randn(6, 4, generator=DRAW, dtype=torch.float64) for _ in range(2))


def test_confidence_is_what_entropy_lacks() -> None:
    shares = scipy.special.softmax(BEFORE.numpy(), axis=1)
    np.testing.assert_allclose(confidence(BEFORE), 1 - scipy.stats.entropy(shares, base=4, axis=1))
    assert confidence(torch.zeros(1, 5)).item() == pytest.approx(0.0, abs=1e-6)
    assert confidence(torch.tensor([[0.0, 1e4, 0.0]])).item() == 1.0
    assert torch.autograd.gradcheck(confidence, BEFORE.clone().requires_grad_(True))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_divergence_is_that_of_scipy_and_of_learning_without_forgetting(temperature: float) -> None:
    p, q = (scipy.special.softmax(each.numpy() / temperature, axis=1) for each in (BEFORE, NOW))
    found = divergence_from(BEFORE, NOW, temperature)
    np.testing.assert_allclose(found, temperature**2 * scipy.special.rel_entr(p, q).sum(1))
    powers = [scipy.special.softmax(each.numpy(), axis=1) ** (1 / temperature) for each in (BEFORE, NOW)]
    p, q = (each / each.sum(1, keepdims=True) for each in powers)
    np.testing.assert_allclose(found, temperature**2 * (p * np.log(p / q)).sum(1))
    now = NOW.clone().requires_grad_(True)
    divergence_from(BEFORE, now, temperature).sum().backward()
    np.testing.assert_allclose(now.grad, temperature * (q - p), atol=1e-12)
    assert not divergence_from(BEFORE.clone().requires_grad_(True), NOW).requires_grad
    assert divergence_from(BEFORE, BEFORE).abs().max() < 1e-12


def test_sureness_is_measured_by_the_link() -> None:
    assert torch.equal(sureness(NOW, "softmax"), confidence(NOW))
    share = scipy.special.expit(NOW.numpy())
    entropies = scipy.stats.entropy(np.stack([share, 1 - share]), base=2, axis=0)
    np.testing.assert_allclose(sureness(NOW, "sigmoid"), 1 - entropies.mean(1))
    outputs = NOW.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda each: sureness(each, "sigmoid"), outputs)
    numbers = sureness(outputs, "identity")
    numbers.sum().backward()
    assert not numbers.any()
    assert not outputs.grad.any()  # type: ignore[union-attr]
    assert not sureness(NOW[:, :1], "softmax").any()

"""Small singular values, against eigenvalues of the Gram matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from graft.nn.spectral import spectral_shrinkage


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
@pytest.mark.parametrize("k", [1, 3])
def test_value_and_gradient_are_those_of_the_gram_matrix(shape: tuple[int, int], k: int) -> None:
    features = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(k), requires_grad=True)
    value = spectral_shrinkage(features, k)
    rows = features.detach().numpy() if shape[0] < shape[1] else features.detach().numpy().T
    squares, vectors = scipy.linalg.eigh(rows @ rows.T)  # from small to large
    np.testing.assert_allclose(value.item(), squares[:k].sum())
    value.backward()
    slope = 2 * vectors[:, :k] @ vectors[:, :k].T @ rows  # of Σ vᵀ R Rᵀ v
    np.testing.assert_allclose(features.grad, slope if shape[0] < shape[1] else slope.T, atol=1e-12)
    assert torch.autograd.gradcheck(lambda each: spectral_shrinkage(each, k), features)


def test_a_batch_with_too_few_values_is_left_alone() -> None:
    features = torch.randn(2, 5, requires_grad=True)
    value = spectral_shrinkage(features, 2)
    value.backward()
    assert value.item() == 0.0
    assert not features.grad.any()  # type: ignore[union-attr]


def test_it_computes_in_float32_at_least() -> None:
    assert spectral_shrinkage(torch.randn(4, 5).bfloat16()).dtype is torch.float32

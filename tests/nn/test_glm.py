"""Several penalised models at once agree with scikit-learn's, one by one."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from graft.contracts import Link
from graft.nn.glm import Design, losses, one_hot, solve

RANDOM = np.random.default_rng(0)
N, D, C = 150, 12, 4
X = torch.from_numpy((RANDOM.normal(size=(N, D)) * np.linspace(0.1, 2, D)).astype(np.float32))
Y = torch.from_numpy((X.numpy() @ RANDOM.normal(size=(D, C)) + RANDOM.normal(size=(N, C))).argmax(1))


def objective(weight: Tensor, bias: Tensor, wanted: Tensor, link: Link, penalty: float, rows: Tensor = X) -> float:
    each = losses(rows.double() @ weight.double().T + bias.double(), wanted.double(), link)
    return float(each.sum() + penalty / 2 * weight.double().square().sum())


@pytest.mark.parametrize("penalty", [10.0, 1.0, 0.01])
def test_softmax_is_multinomial_logistic_regression(penalty: float) -> None:
    wanted = one_hot(Y, "softmax", C)
    design = Design(X)
    weight, bias = design.weight(solve(design, wanted, "softmax", penalty, tolerance=1e-9).theta[0])
    reference = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=5000).fit(X.double().numpy(), Y.numpy())
    theirs = torch.from_numpy(reference.coef_), torch.from_numpy(reference.intercept_)
    ours = objective(weight, bias, wanted, "softmax", penalty)
    assert ours == pytest.approx(objective(*theirs, wanted, "softmax", penalty), rel=1e-4)
    assert np.allclose(weight, reference.coef_, atol=0.02 * np.abs(reference.coef_).max())
    assert np.allclose(bias - bias.mean(), reference.intercept_ - reference.intercept_.mean(), atol=0.03)


def test_sigmoid_is_a_logistic_regression_for_each_output() -> None:
    wanted = torch.stack([(Y == 0) | (X[:, 0] > 0), Y > 1], 1).float()
    design = Design(X)
    weight, bias = design.weight(solve(design, wanted, "sigmoid", 0.5, tolerance=1e-9).theta[0])
    for output in range(2):
        reference = LogisticRegression(C=2.0, tol=1e-8, max_iter=5000).fit(X.double().numpy(), wanted[:, output])
        assert np.allclose(weight[output], reference.coef_[0], atol=5e-3)
        assert np.allclose(bias[output], reference.intercept_, atol=5e-3)


def test_identity_is_ridge_regression() -> None:
    wanted = torch.stack([X[:, 0] * 3 + 10, X[:, 1] - X[:, 2]], 1)
    design = Design(X)
    weight, bias = design.weight(solve(design, wanted, "identity", 2.0, tolerance=1e-9).theta[0])
    reference = Ridge(alpha=2.0).fit(X.double().numpy(), wanted.double().numpy())
    assert np.allclose(weight, reference.coef_, atol=1e-3)
    assert np.allclose(bias, reference.intercept_, atol=1e-3)


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_the_losses_have_the_gradient_of_autograd(link: Link) -> None:
    outputs = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = one_hot(torch.arange(7) % 3, "softmax", 3).double()
    through = outputs.clone().requires_grad_()
    references = {
        "softmax": lambda: torch.nn.functional.cross_entropy(through, wanted, reduction="none"),
        "sigmoid": lambda: torch.nn.functional.binary_cross_entropy_with_logits(through, wanted, reduction="none").sum(
            1
        ),
        "identity": lambda: 0.5 * (through - wanted).square().sum(1),
    }
    expected = references[link]()
    expected.sum().backward()
    from graft.nn.glm import _judge

    value, gradient = _judge(outputs.clone(), wanted, link)
    assert torch.allclose(value, expected)
    assert through.grad is not None
    assert torch.allclose(gradient, through.grad)


def test_models_with_weights_are_those_of_their_own_rows() -> None:
    wanted = one_hot(Y, "softmax", C)
    design = Design(X)
    folds = torch.arange(N) % 3
    together = solve(
        design, wanted, "softmax", 0.3, weights=torch.stack([folds != k for k in range(3)]).float(), tolerance=1e-9
    )
    for k in range(3):
        weight, bias = design.weight(together.theta[k])
        rows = X[folds != k]
        alone_design = Design(rows)
        alone = alone_design.weight(solve(alone_design, wanted[folds != k], "softmax", 0.3, tolerance=1e-9).theta[0])
        ours = objective(weight, bias, wanted[folds != k], "softmax", 0.3, rows)
        assert ours == pytest.approx(objective(*alone, wanted[folds != k], "softmax", 0.3, rows), rel=1e-5)
        assert torch.allclose(together.outputs[k], X @ weight.T + bias, atol=1e-3)


@pytest.mark.parametrize("shape", [(40, 12), (20, 60)])
def test_sparse_rows_give_what_dense_rows_give(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    dense = (random.normal(size=shape) * (random.random(shape) < 0.3)).astype(np.float32)
    wanted = one_hot(torch.from_numpy(random.integers(0, 3, shape[0])), "softmax", 3)
    found = []
    for rows in (torch.from_numpy(dense), scipy.sparse.csr_array(dense)):
        design = Design(rows)
        found.append(design.weight(solve(design, wanted, "softmax", 0.2, tolerance=1e-9).theta[0]))
    # processors add up in other orders, and float32 gradients end the search a little apart
    assert torch.allclose(found[0][0], found[1][0], atol=5e-3)
    assert torch.allclose(found[0][1], found[1][1], atol=5e-3)


def test_a_class_without_rows_keeps_everything_finite() -> None:
    design = Design(X)
    found = solve(design, one_hot(Y, "softmax", C + 2), "softmax", 1e-4)
    assert torch.isfinite(found.theta).all()
    assert (found.outputs.argmax(-1) < C).all()


def test_the_same_rows_give_the_same_bits() -> None:
    runs = [solve(Design(X), one_hot(Y, "softmax", C), "softmax", 0.1).theta for _ in range(2)]
    assert torch.equal(*runs)

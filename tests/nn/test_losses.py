from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import softmax
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from torch import Tensor
from torch.nn import functional

from graft.nn.losses import (
    class_weights,
    cross_entropy_rows,
    focal,
    gce,
    label_weights,
    row_weights,
    sce,
    sigmoid_focal,
    smoothed,
    soft,
    weighted_mean,
)

FloatArray = npt.NDArray[np.float64]
DRAW = np.random.default_rng(0)
OUTPUTS = DRAW.normal(size=(6, 4)) * 3
HARD = np.array([0, 3, 1, 1, 2, 0])
SOFT = DRAW.dirichlet(np.ones(4), size=6)


def _by_class(p: FloatArray, t: FloatArray, way: Callable[[FloatArray], FloatArray]) -> FloatArray:
    return np.asarray([sum(t[i, k] * way(p[i, k]) for k in range(4)) for i in range(len(p))])


PAPERS: dict[str, tuple[Callable[..., Tensor], Callable[[FloatArray, FloatArray], FloatArray]]] = {
    "cross_entropy": (cross_entropy_rows, lambda p, t: -(t * np.log(p)).sum(1)),
    "gce": (gce, lambda p, t: _by_class(p, t, lambda share: (1 - share**0.7) / 0.7)),
    "gce of q 0.2": (lambda o, t: gce(o, t, q=0.2), lambda p, t: _by_class(p, t, lambda share: (1 - share**0.2) / 0.2)),
    "sce": (
        lambda o, t: sce(o, t, alpha=0.3, beta=0.8, clip=-6.0),
        lambda p, t: -0.3 * (t * np.log(p)).sum(1) - 0.8 * (p * np.log(np.where(t > np.exp(-6), t, np.exp(-6)))).sum(1),
    ),
    "focal": (focal, lambda p, t: _by_class(p, t, lambda share: -((1 - share) ** 2) * np.log(share))),
    "focal of gamma 0.5": (
        lambda o, t: focal(o, t, gamma=0.5),
        lambda p, t: _by_class(p, t, lambda share: -((1 - share) ** 0.5) * np.log(share)),
    ),
}


@pytest.mark.parametrize("targets", [HARD, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("name", PAPERS)
def test_value_and_gradient_are_those_of_the_papers(name: str, targets: npt.NDArray[Any]) -> None:
    ours, formula = PAPERS[name]
    wanted = np.eye(4)[targets] if targets.ndim == 1 else targets
    outputs = torch.tensor(OUTPUTS, requires_grad=True)
    losses = ours(outputs, torch.tensor(targets))
    np.testing.assert_allclose(losses.detach(), formula(softmax(OUTPUTS, axis=1), wanted), rtol=1e-10)
    losses.sum().backward()
    numeric = np.zeros_like(OUTPUTS)
    for place in np.ndindex(*OUTPUTS.shape):
        up, down = OUTPUTS.copy(), OUTPUTS.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        change = formula(softmax(up, axis=1), wanted).sum() - formula(softmax(down, axis=1), wanted).sum()
        numeric[place] = change / 2e-6
    np.testing.assert_allclose(outputs.grad, numeric, atol=2e-8)
    assert torch.autograd.gradcheck(lambda o: ours(o, torch.tensor(targets)), torch.tensor(OUTPUTS, requires_grad=True))


@pytest.mark.parametrize("targets", [HARD, SOFT], ids=["hard", "soft"])
def test_cross_entropy_is_that_of_torch_at_every_limit(targets: npt.NDArray[Any]) -> None:
    outputs, wanted = torch.tensor(OUTPUTS), torch.tensor(targets)
    torchs = functional.cross_entropy(outputs, wanted, reduction="none")
    torch.testing.assert_close(cross_entropy_rows(outputs, wanted), torchs)
    torch.testing.assert_close(focal(outputs, wanted, gamma=0.0), torchs)
    torch.testing.assert_close(gce(outputs, wanted, q=0), torchs)
    torch.testing.assert_close(gce(outputs, wanted, q=1e-9), torchs)
    torch.testing.assert_close(sce(outputs, wanted, alpha=1.0, beta=0.0), torchs)
    eased = functional.cross_entropy(outputs, wanted, reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(cross_entropy_rows(outputs, smoothed(wanted, 4, 0.2)), eased, rtol=1e-6, atol=1e-6)


def test_the_reverse_part_is_the_absolute_error() -> None:
    # Wang et al.: with one class given, H(p, t) = -A (1 - p_y), half the absolute error times -A.
    outputs, wanted = torch.tensor(OUTPUTS), torch.tensor(HARD)
    error = 1 - outputs.softmax(1)[torch.arange(6), wanted]
    torch.testing.assert_close(sce(outputs, wanted, alpha=0.0, beta=1.0, clip=-4.0), 4 * error, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gce(outputs, wanted, q=1.0), error)


def test_sigmoid_focal_is_that_of_torchvision() -> None:
    reference = pytest.importorskip("torchvision.ops", reason="torchvision is not installed").sigmoid_focal_loss
    for marks in (DRAW.integers(0, 2, size=(6, 4)).astype(np.float64), SOFT):
        for gamma in (0.0, 2.0, 3.5):
            grads = []
            for way in (
                lambda o, t, gamma=gamma: sigmoid_focal(o, t, gamma),
                lambda o, t, gamma=gamma: reference(o, t, alpha=-1, gamma=gamma).mean(1),
            ):
                outputs, wanted = torch.tensor(OUTPUTS, requires_grad=True), torch.tensor(marks).round()
                way(outputs, wanted).pow(2).sum().backward()
                grads.append((way(outputs, wanted), outputs.grad))
            torch.testing.assert_close(grads[0], grads[1])
    assert torch.autograd.gradcheck(
        lambda o: sigmoid_focal(o, torch.tensor(SOFT), 0.5), torch.tensor(OUTPUTS, requires_grad=True)
    )


@pytest.mark.parametrize("loss", [cross_entropy_rows, gce, sce, focal, lambda o, t: focal(o, t, gamma=0.5)])
def test_a_row_that_is_sure_has_a_finite_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    outputs = torch.tensor([[90.0, -90.0], [-90.0, 90.0]], requires_grad=True)
    losses = loss(outputs, torch.tensor([0, 0]))
    losses.sum().backward()
    assert losses.isfinite().all()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    marks = torch.tensor([[120.0, -120.0]], requires_grad=True)
    sigmoid_focal(marks, torch.tensor([[1.0, 1.0]]), 0.5).sum().backward()
    assert marks.grad is not None
    assert marks.grad.isfinite().all()


def test_a_wrong_label_pulls_less_than_in_cross_entropy() -> None:
    pulls = {}
    for name, loss in (("ce", cross_entropy_rows), ("gce", gce), ("sce", sce)):
        outputs = torch.tensor([[8.0, 0.0]], requires_grad=True)
        loss(outputs, torch.tensor([1])).sum().backward()
        assert outputs.grad is not None
        pulls[name] = outputs.grad.abs().max().item()
    assert pulls["gce"] < 0.01 < 0.9 < pulls["ce"]
    assert pulls["sce"] < 0.2


def test_weights_count_a_row_that_often() -> None:
    outputs, wanted = torch.tensor(OUTPUTS, requires_grad=True), torch.tensor(HARD)
    weights = torch.tensor([0, 1, 2, 3, 0, 1])
    value = weighted_mean(cross_entropy_rows(outputs, wanted), weights)
    repeated = weights.repeat_interleave(weights) * 0 + torch.arange(6).repeat_interleave(weights)
    torch.testing.assert_close(value, functional.cross_entropy(outputs[repeated], wanted[repeated]))
    torch.testing.assert_close(
        weighted_mean(cross_entropy_rows(outputs, wanted)), functional.cross_entropy(outputs, wanted)
    )
    value.backward()
    assert outputs.grad is not None
    assert (outputs.grad[weights == 0] == 0).all()


def test_rows_that_all_count_nothing_teach_nothing() -> None:
    outputs = torch.tensor(OUTPUTS, requires_grad=True)
    value = weighted_mean(cross_entropy_rows(outputs, torch.tensor(HARD)), torch.zeros(6))
    value.backward()
    assert value.item() == 0.0
    assert outputs.grad is not None
    assert (outputs.grad == 0).all()


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    ours = class_weights(torch.tensor(HARD), 4)
    np.testing.assert_allclose(ours, compute_class_weight("balanced", classes=np.arange(4), y=HARD), rtol=1e-6)
    rows = row_weights(torch.tensor(HARD), ours)
    np.testing.assert_allclose(rows, compute_sample_weight("balanced", HARD), rtol=1e-6)
    assert rows.mean().item() == pytest.approx(1)


def test_a_class_without_rows_weighs_nothing() -> None:
    assert class_weights(torch.tensor([0, 0, 2]), 3).tolist() == [0.75, 0.0, 1.5]


def test_soft_targets_count_by_their_probabilities() -> None:
    wanted = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    weights = class_weights(wanted, 2)
    assert weights.tolist() == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])
    assert row_weights(wanted, weights).tolist() == pytest.approx([2 / 3, 4 / 3, 4 / 3, 2 / 3])
    sure = soft(torch.tensor(HARD), 4)
    torch.testing.assert_close(class_weights(sure, 4), class_weights(torch.tensor(HARD), 4))


def test_weights_of_labels_even_out_rows_with_and_without() -> None:
    marks = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    weights = label_weights(marks)
    assert weights.tolist() == [3.0, 4.0, 1.0]
    column = marks[:, 0]
    assert (weights[0] * column).sum() == (1 - column).sum()

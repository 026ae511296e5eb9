"""A machine as plain tensors gives what scikit-learn's gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from graft.nn import kernel_machine
from graft.nn.kernel_machine import KernelMachine, rbf

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(40, 3))
LABELS = (ROWS[:, 0] * ROWS[:, 1] > 0).astype(int)


def test_the_kernel_and_its_gradient() -> None:
    rows, others = torch.from_numpy(ROWS[:9]).requires_grad_(), torch.from_numpy(ROWS[9:])
    found = rbf(rows, others, 0.4)
    assert np.allclose(found.detach(), rbf_kernel(ROWS[:9], ROWS[9:], gamma=0.4))
    (gradient,) = torch.autograd.grad(found.sum(), rows)
    expected = sum(-0.8 * (rows[:, None] - others)[:, place] * found[:, place, None] for place in range(len(others)))
    assert torch.allclose(gradient, expected)


@pytest.mark.parametrize("numbers", [1 << 24, 10])
def test_the_decision_is_that_of_scikit_learn(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_machine, "_NUMBERS", numbers)
    other = SVC(C=3.0, gamma=0.7).fit(ROWS, LABELS)
    head = KernelMachine(3, 1).double()
    head.support = torch.from_numpy(other.support_vectors_)
    head.coef = torch.from_numpy(other.dual_coef_.T.copy())
    head.offset.fill_(float(other.intercept_[0]))
    head.gamma.fill_(0.7)
    found = head.decision(torch.from_numpy(ROWS).float())[:, 0]
    assert np.allclose(found, other.decision_function(ROWS), atol=1e-5)
    head.scale.fill_(2.0)
    head.shift.fill_(-1.0)
    assert torch.allclose(head(torch.from_numpy(ROWS).float())[:, 0], 2 * found - 1)


def test_a_linear_machine_keeps_no_row() -> None:
    head = KernelMachine(3, 2)
    head.plane.copy_(torch.arange(6.0).reshape(2, 3))
    rows = torch.randn(5, 3)
    assert torch.allclose(head(rows), rows @ head.plane.T)

from __future__ import annotations

import torch
from torch import nn

from graft.nn.penalties import weight_penalty


def test_the_penalty_and_its_gradient_are_the_formulas() -> None:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    value = weight_penalty(head, l1=0.3, l2=0.7)
    weights = [head[0].weight, head[2].weight]
    expected = sum(0.3 * weight.abs().sum() + 0.7 * (weight**2).sum() for weight in weights)
    torch.testing.assert_close(value, expected)
    value.backward()
    for weight in weights:
        torch.testing.assert_close(weight.grad, 0.3 * weight.sign() + 1.4 * weight)
    assert head[0].bias.grad is None
    assert torch.autograd.gradcheck(lambda w: 0.3 * w.abs().sum() + 0.7 * w.square().sum(), head[0].weight)


def test_no_penalty_is_zero() -> None:
    assert weight_penalty(nn.Linear(2, 2), 0.0, 0.0).item() == 0.0
    assert weight_penalty(nn.ReLU(), 1.0, 1.0).item() == 0.0

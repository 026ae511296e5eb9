"""Distances from, ways back to, and mixtures with the weights of the start."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from graft.nn.anchors import average, blend, distance_from, put_back, snapshot


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_the_distance_and_its_gradient_are_the_formulas() -> None:
    module = small().double()
    start = snapshot(module)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(torch.randn_like(value))
    module[0].bias.requires_grad_(False)
    value = distance_from(module, start)
    learning = {name: each for name, each in module.named_parameters() if each.requires_grad}
    apart = {name: each.detach().numpy() - start[name].numpy() for name, each in learning.items()}
    np.testing.assert_allclose(value.item(), sum(float(np.sum(each**2)) for each in apart.values()))
    value.backward()
    for name, each in learning.items():
        np.testing.assert_allclose(each.grad, 2 * apart[name])
    assert module[0].bias.grad is None


def test_nothing_that_trains_is_nowhere_away() -> None:
    assert distance_from(small().requires_grad_(False), {}).item() == 0.0


def test_a_snapshot_does_not_move_and_brings_back_all() -> None:
    module = small()
    start = snapshot(module)
    module(torch.randn(8, 3)).sum().backward()
    with torch.no_grad():
        module[0].weight.add_(1.0)
    assert not torch.equal(module[0].weight, start["0.weight"])
    assert not torch.equal(module[1].running_mean, start["1.running_mean"])
    put_back(module, start)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, start[name])


def test_a_blend_is_the_straight_line_and_exact_at_its_ends() -> None:
    first, second = snapshot(small()), snapshot(small())
    second = {name: torch.randn_like(each) if each.is_floating_point() else each + 3 for name, each in second.items()}
    for share, end in ((0.0, first), (1.0, second)):
        assert all(torch.equal(tensor, end[name]) for name, tensor in blend(first, second, share).items())
    middle = blend(first, second, 0.3)
    np.testing.assert_allclose(
        middle["0.weight"], 0.7 * first["0.weight"].numpy() + 0.3 * second["0.weight"].numpy(), rtol=1e-5
    )
    assert middle["1.num_batches_tracked"].item() == 0
    assert blend(first, second, 0.6)["1.num_batches_tracked"].item() == 3


def test_an_average_is_the_mean() -> None:
    states = [{"w": torch.randn(4, 3), "n": torch.tensor(place)} for place in range(3)]
    found = average(states)
    np.testing.assert_allclose(found["w"], np.mean([each["w"].numpy() for each in states], axis=0), rtol=1e-6)
    assert found["w"].dtype is torch.float32
    assert found["n"].item() == 0
    assert torch.equal(average(states[:1])["w"], states[0]["w"])

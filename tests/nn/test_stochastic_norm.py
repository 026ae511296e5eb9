"""Channels that go by the batch beside channels that go by the averages."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graft.nn.stochastic_norm import has_batch_norm, stochastic_norm


def norm(kind: type[nn.Module], channels: int = 5) -> nn.Module:
    torch.manual_seed(1)
    layer = kind(channels).double()  # type: ignore[call-arg]
    for tensor in (layer.weight, layer.bias, layer.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(layer.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return layer


def theirs(x: Tensor, layer: nn.Module, chosen: Tensor) -> Tensor:
    """Both normalised forms, then ``(1 - s) z_0 + s z_1``; the averages go on."""
    mean, var = layer.running_mean, layer.running_var
    z_0 = functional.batch_norm(x, mean, var, layer.weight, layer.bias, False, 0.1, 1e-5)
    z_1 = functional.batch_norm(x, mean, var, layer.weight, layer.bias, True, 0.1, 1e-5)
    s = chosen.double().view(1, -1, *[1] * (x.ndim - 2))
    return (1 - s) * z_0 + s * z_1


@pytest.mark.parametrize(("kind", "shape"), [(nn.BatchNorm1d, (7, 5)), (nn.BatchNorm2d, (7, 5, 3, 2))])
def test_value_gradient_and_averages_are_those_of_the_authors(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    layer = norm(kind).train()
    reference = copy.deepcopy(layer)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(shape, dtype=torch.float64)
    torch.manual_seed(3)
    with stochastic_norm(layer, 0.4):
        found = layer(x)
    torch.manual_seed(3)
    expected = theirs(x, reference, torch.rand(5) < 0.4)
    torch.testing.assert_close(found, expected)
    slopes = [
        torch.autograd.grad(value, [x, part.weight, part.bias], slope)
        for value, part in ((found, layer), (expected, reference))
    ]
    for ours, other in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, other)
    torch.testing.assert_close(layer.running_mean, reference.running_mean)
    torch.testing.assert_close(layer.running_var, reference.running_var)


def test_an_activation_that_the_layer_holds_is_kept() -> None:
    from timm.layers import BatchNormAct2d

    layer = norm(BatchNormAct2d).train()
    reference = copy.deepcopy(layer)
    x = torch.randn(7, 5, 3, 2, dtype=torch.float64)
    torch.manual_seed(3)
    with stochastic_norm(layer, 0.5):
        found = layer(x)
    torch.manual_seed(3)
    torch.testing.assert_close(found, functional.relu(theirs(x, reference, torch.rand(5) < 0.5)))


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_at_its_ends_all_channels_go_one_way(p: float) -> None:
    layer, x = norm(nn.BatchNorm1d), torch.randn(6, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = layer.train(p == 1.0)(x)
        layer = norm(nn.BatchNorm1d).train()
        with stochastic_norm(layer, p):
            torch.testing.assert_close(layer(x), expected)


def test_after_the_block_and_in_evaluation_it_is_an_ordinary_layer() -> None:
    layer, x = norm(nn.BatchNorm1d), torch.randn(6, 5, dtype=torch.float64)
    plain = copy.deepcopy(layer)
    with stochastic_norm(layer):
        assert torch.equal(layer.eval()(x), plain.eval()(x))
    assert type(layer) is nn.BatchNorm1d
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks
    assert torch.equal(layer.train()(x), plain.train()(x))


def test_a_copy_that_is_made_within_the_block_works_by_itself() -> None:
    layer, x = norm(nn.BatchNorm1d).train(), torch.randn(6, 5, dtype=torch.float64)
    with stochastic_norm(layer):
        twin = copy.deepcopy(layer)
        twin(x)
    assert not torch.equal(twin.running_mean, layer.running_mean)


def test_only_layers_with_averages_count() -> None:
    assert has_batch_norm(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    assert not has_batch_norm(nn.Sequential(nn.LayerNorm(2), nn.BatchNorm1d(2, track_running_stats=False)))


def test_a_single_row_goes_by_the_averages() -> None:
    layer = nn.BatchNorm1d(3).train()
    layer.running_mean.fill_(0.5)  # type: ignore[union-attr]
    row = torch.tensor([[1.0, 2.0, 3.0]])
    with stochastic_norm(layer, p=1.0):
        found = layer(row)
        assert layer.training
        layer(torch.randn(4, 3))
    torch.testing.assert_close(found, (row - 0.5) / (1 + layer.eps) ** 0.5)
    assert layer.num_batches_tracked == 1  # the single row told no average

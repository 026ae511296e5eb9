from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from graft.errors import WeightsError
from graft.nn.undrawn import Undrawn, check_finite


def test_nothing_is_drawn_inside_and_everything_after():
    torch.manual_seed(0)
    first = nn.Linear(3, 2).weight.clone()
    torch.manual_seed(0)
    with Undrawn():
        still = nn.Linear(300, 200)
        for draw in (nn.init.kaiming_normal_, nn.init.trunc_normal_, nn.init.xavier_uniform_, nn.init.normal_):
            draw(still.weight)
    assert len(still.weight.unique()) == 1
    assert torch.equal(nn.Linear(3, 2).weight, first)


@torch.no_grad()
@pytest.mark.parametrize("name", ["swin_t", "googlenet", pytest.param("maxvit_t", marks=pytest.mark.slow)])
def test_a_torchvision_network_that_was_not_drawn_is_the_same_once_it_is_filled(name: str):
    options = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
    drawn = torchvision.models.get_model(name, weights=None, **options).eval()
    with Undrawn():
        other = torchvision.models.get_model(name, weights=None, **options).eval()
    # What is computed once and is no weight has to be there.
    other.load_state_dict({key: value for key, value in drawn.state_dict().items() if "index" not in key}, strict=False)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in drawn.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "eva02_tiny_patch14_224", "levit_128s", "test_vit2"])
def test_a_timm_network_that_was_not_drawn_computes_the_same_once_it_is_filled(name: str):
    drawn = timm.create_model(name).eval()
    with Undrawn() as block:
        other = timm.create_model(name).eval()
        assert set(block.left(other)) <= {key for key, _ in other.named_parameters()}
        other.load_state_dict(drawn.state_dict())
    assert block.left(other) == ()
    images = torch.randn(1, *drawn.pretrained_cfg["input_size"], generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn(images), other(images))


def test_what_nothing_was_copied_into_is_named():
    with Undrawn() as block:
        layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        layers[0].load_state_dict({"weight": torch.ones(2, 2), "bias": torch.ones(2)})
    assert block.left(layers) == ("1.weight", "1.bias")


def test_numbers_that_are_none_are_named():
    layer = nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.fill_(3e38)  # the sum overflows, and every weight is a number
    check_finite(layer, "these")
    with torch.no_grad():
        layer.bias[0] = float("nan")
    with pytest.raises(WeightsError, match="weights of these are not finite numbers: bias;"):
        check_finite(layer, "these")

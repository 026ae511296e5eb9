from __future__ import annotations

import pytest
import torch
from torch import nn

from graft.errors import RequestError
from graft.nn.architectures import network
from graft.nn.image_size import refuse_size, resize, shapes


class _Patches(nn.Module):
    """Takes images whose edge is a whole number of eights."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.unflatten(2, (-1, 8)) * self.scale


def test_a_pass_without_content_tells_the_shape_and_changes_nothing():
    layer = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    assert shapes(layer, (1001, 2001)).shape == (1, 4, 500, 1000)
    assert layer.training
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_size_that_fails_is_refused_with_the_reason():
    refuse_size(_Patches(), "it", (16, 16), (8, 8))
    with pytest.raises(RequestError, match=r"it does not take images of 9×9 pixels \(.*8.*it was made for 8×8"):
        refuse_size(_Patches(), "it", (9, 9), (8, 8))


def test_what_fails_for_its_own_size_too_says_nothing():
    refuse_size(_Patches(), "it", (9, 9), (7, 7))


def test_networks_whose_windows_do_not_fit():
    with pytest.raises(RequestError, match="torchvision/maxvit_t does not take images of 160×160"):
        resize(network("torchvision/maxvit_t"), "torchvision/maxvit_t", (160, 160), (224, 224))
    with pytest.raises(RequestError, match="8192 at most"):
        resize(nn.Identity(), "it", (10**9, 10**9), (224, 224))

from __future__ import annotations

import pytest
import torch

from graft.nn.initialise import fresh
from graft.nn.tiny import Tiny


@torch.no_grad()
@pytest.mark.parametrize("edges", [(32, 32), (64, 64), (100, 70), (128, 128), (33, 47)])
def test_any_size_gives_the_same_width(edges: tuple[int, int]):
    network = Tiny().eval()
    assert network(torch.zeros(2, 3, *edges)).shape == (2, network.dim)


@torch.no_grad()
def test_maps_halve_from_stage_to_stage():
    network = Tiny().eval()
    shapes = [tuple(each.shape) for each in network.maps(torch.zeros(1, 3, 64, 64))]
    assert shapes == [(1, width, edge, edge) for width, edge in zip(network.widths, (32, 16, 8, 4), strict=True)]


@torch.no_grad()
def test_features_are_means_of_the_last_three_stages():
    network = Tiny(widths=(4, 6, 8, 10), blocks=(1, 1, 1, 1), grid=2).eval()
    images = torch.rand(3, 3, 64, 64)
    fine, middle, last = network.maps(images)[-3:]
    features = network(images)
    torch.testing.assert_close(features[:, :10], last.mean((2, 3)))
    corners = features[:, 10:42].view(3, 8, 2, 2), features[:, 42:].view(3, 6, 2, 2)
    torch.testing.assert_close(corners[0][:, :, 0, 1], middle[:, :, :4, 4:].mean((2, 3)))
    torch.testing.assert_close(corners[1][:, :, 1, 0], fine[:, :, 8:, :8].mean((2, 3)))


def test_it_is_as_small_as_it_says():
    assert sum(value.numel() for value in Tiny().parameters()) <= 1_000_000


@torch.no_grad()
def test_an_untrained_twin_keeps_the_scale_of_its_images():
    network = fresh(Tiny(), 3).eval()
    again = fresh(Tiny(), 3).eval()
    images = torch.randn(4, 3, 64, 64)
    features = network(images)
    assert torch.equal(features, again(images))
    assert not torch.equal(features, fresh(Tiny(), 4).eval()(images))
    assert 0.05 < float(features.std()) < 50

from __future__ import annotations

import timm
import torchvision
from torch import nn

from graft.nn.stages import stages


def test_timms_own_order():
    assert stages(timm.create_model("resnet18")) == ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc")


def test_a_family_of_timm_without_an_order_goes_by_construction():
    network = timm.create_model("rdnet_tiny")
    found = stages(network)
    assert found[0].startswith("stem")
    for name, _ in network.named_parameters():
        assert sum(name == stage or name.startswith(f"{stage}.") for stage in found) == 1, name


def test_a_part_that_is_most_of_the_network_is_opened():
    assert stages(torchvision.models.mobilenet_v2())[:2] == ("features.0", "features.1")
    assert stages(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))) == ("0", "2")

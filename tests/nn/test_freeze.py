from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from graft.errors import UnknownNameError
from graft.nn.freeze import freeze, hold_still, trainable


def _network() -> nn.Sequential:
    trunk = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4))
    return nn.Sequential(OrderedDict(trunk=trunk, trunk2=nn.Linear(4, 4), head=nn.Linear(4, 2)))


def test_all_or_some_parameters_are_frozen():
    network = _network()
    everything = trainable(network)
    assert trainable(freeze(network, ["trunk"])) == everything - (16 + 8 + 20)
    assert network.trunk2.weight.requires_grad
    assert trainable(freeze(network)) == 0


def test_a_prefix_may_be_one_parameter():
    network = freeze(_network(), ["head.bias"])
    assert not network.head.bias.requires_grad
    assert network.head.weight.requires_grad


def test_an_unknown_prefix_is_an_error():
    with pytest.raises(UnknownNameError, match="trunk"):
        freeze(_network(), ["trnk"])


def test_frozen_parts_stay_bit_identical_while_the_rest_trains():
    network = _network()
    freeze(network, ["trunk"])
    before = {name: value.clone() for name, value in network.trunk.state_dict().items()}
    optimiser = torch.optim.SGD([value for value in network.parameters() if value.requires_grad], 0.1)
    for _ in range(3):
        hold_still(network.train())
        network(torch.randn(8, 3)).square().mean().backward()
        optimiser.step()
    assert all(torch.equal(before[name], value) for name, value in network.trunk.state_dict().items())
    assert not any(part.training for part in network.trunk.modules())
    assert network.head.training
    assert network.training


def test_what_trains_keeps_training_mode():
    network = _network()
    freeze(network, ["trunk.1"])
    hold_still(network.train())
    assert not network.trunk[1].training
    assert network.trunk[2].training
    assert network.trunk[0].training

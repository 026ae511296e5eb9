from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from graft.errors import RequestError
from graft.nn.groups import parameter_groups


class _Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.stem = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(12)])
        self.norm = nn.LayerNorm(4)

    def no_weight_decay(self) -> set[str]:
        return {"token"}


STAGES = ("token", "stem", "blocks.0", "blocks.1", "blocks.10", "norm")


def _network() -> nn.Sequential:
    return nn.Sequential(OrderedDict(trunk=_Trunk(), head=nn.Linear(4, 2)))


def _settings(network: nn.Module, groups: list) -> dict[str, tuple[float, float]]:
    by_id: dict[int, tuple[float, float]] = {}
    for group in groups:
        for value in group["params"]:
            assert id(value) not in by_id, "a parameter is in two groups"
            by_id[id(value)] = (group["lr"], group["weight_decay"])
    return {name: by_id[id(value)] for name, value in network.named_parameters() if id(value) in by_id}


def test_rates_fall_towards_the_input_and_the_head_has_its_own():
    network = _network()
    found = _settings(
        network,
        parameter_groups(network, STAGES, rate=1.0, head_rate=10.0, weight_decay=0.1, layer_decay=0.5),
    )
    assert set(found) == {name for name, _ in network.named_parameters()}
    assert found["head.weight"] == (10.0, 0.1)
    assert found["trunk.norm.weight"] == (1.0, 0.0)
    assert found["trunk.blocks.10.weight"] == (0.5, 0.1)
    assert found["trunk.blocks.1.bias"] == (0.25, 0.0)
    assert found["trunk.token"] == (0.5**5, 0.0)


def test_what_no_stage_names_goes_with_the_parameter_before():
    network = _network()
    found = _settings(network, parameter_groups(network, STAGES, rate=1.0, layer_decay=0.5))
    assert found["trunk.blocks.9.weight"] == found["trunk.blocks.1.weight"]
    assert found["trunk.blocks.11.weight"] == found["trunk.blocks.10.weight"]


def test_frozen_parameters_are_in_no_group():
    network = _network()
    network.trunk.requires_grad_(False)
    groups = parameter_groups(network, STAGES, rate=1.0)
    assert {group["name"] for group in groups} == {"head", "head (no decay)"}


def test_without_stages_the_trunk_has_one_rate_and_the_head_the_same():
    network = _network()
    found = _settings(network, parameter_groups(network, rate=0.3, layer_decay=0.5))
    assert {rate for rate, _ in found.values()} == {0.3}


def test_absolute_stages():
    network = nn.Sequential(OrderedDict(a=nn.Linear(2, 2), b=nn.Linear(2, 2)))
    found = _settings(network, parameter_groups(network, ("a", "b"), rate=1.0, layer_decay=0.1, trunk=""))
    assert found["a.weight"][0] == pytest.approx(0.1)
    assert found["b.weight"][0] == 1.0


def test_an_optimiser_takes_them():
    network = _network()
    optimiser = torch.optim.AdamW(parameter_groups(network, STAGES, rate=1e-3, layer_decay=0.9))
    before: Tensor = network.trunk.stem.weight.detach().clone()
    network.head(network.trunk.stem(torch.ones(1, 3))).sum().backward()
    optimiser.step()
    assert not torch.equal(before, network.trunk.stem.weight)


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.5])
def test_a_decay_out_of_range_is_an_error(decay: float):
    with pytest.raises(RequestError, match="layer_decay"):
        parameter_groups(_network(), STAGES, rate=1.0, layer_decay=decay)

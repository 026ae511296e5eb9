"""BatchNorm is drawn while it trains, and ordinary afterwards."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from graft.contracts import Backbone, Card, FittedTask, TransferData
from graft.errors import RequestError
from graft.strategies.stoch_norm import StochNorm

Learnt = tuple[FittedTask, TransferData]
QUICK = {"batch_size": 16, "patience": None}


def test_the_model_has_ordinary_batch_norm_with_averages_of_the_rows(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    strategy = StochNorm(epochs=3, lr=3e-3, tuning=QUICK)
    module = strategy.build(backbone, task)
    before, norm = copy.deepcopy(module.state_dict()), module.get_submodule("trunk.1")
    assert strategy.fit(module, task, data).score is not None
    assert module.get_submodule("trunk.1") is norm
    assert type(norm) is nn.BatchNorm1d
    assert not norm._forward_hooks
    assert module.state_dict().keys() == before.keys()
    assert not torch.equal(module.state_dict()["trunk.1.running_mean"], before["trunk.1.running_mean"])


def test_the_probability_decides(backbone: Backbone, classes: Learnt) -> None:
    found = []
    for p in (0.0, 0.5, 1.0):
        strategy = StochNorm(p, epochs=1, tuning=QUICK)
        module = strategy.build(copy.deepcopy(backbone), classes[0])
        strategy.fit(module, *classes)
        found.append(module.get_parameter("trunk.0.weight").detach())
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


def test_it_needs_batch_norm(backbone: Backbone, classes: Learnt) -> None:
    bare = replace(backbone, module=nn.Linear(5, 8), card=Card("bare", "table"))
    with pytest.raises(RequestError, match="a source with batch normalisation, and bare has none"):
        StochNorm().build(bare, classes[0])
    with pytest.raises(RequestError, match=r"p is 1\.5, expected a probability"):
        StochNorm(1.5).build(backbone, classes[0])

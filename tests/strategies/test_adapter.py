"""Small layers between the source's blocks train."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.base import clone
from torch import nn

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.nn.grafted import Grafted
from graft.strategies.adapter import Adapter

Learnt = tuple[FittedTask, TransferData]
SOURCE = ("0.weight", "0.bias", "4.weight", "4.bias")


@pytest.mark.parametrize("norms", [False, True])
def test_adapters_move_and_the_source_stays(norms: bool, backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    strategy = Adapter(width=3, norms=norms, epochs=5, lr=1e-2, tuning={"batch_size": 16, "head_lr": 3e-2})
    module = strategy.build(backbone, task)
    before = copy.deepcopy(module.state_dict())
    history = strategy.fit(module, task, data)
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert not moved & {f"trunk.{name}" for name in SOURCE}
    assert ("trunk.1.weight" in moved) == norms
    assert {f"trunk.{place}.adapter.{part}" for place in (0, 4) for part in ("up.weight", "up.bias")} <= moved
    count = (2 * 12 * 3 + 12 + 3) + (2 * 8 * 3 + 8 + 3) + 2 * 12 * norms + 9 * task.n_outputs
    assert history.chosen["trained_weights"] == count
    assert history.epochs[-1].loss < history.epochs[0].loss


def test_it_starts_from_the_source(backbone: Backbone, classes: Learnt) -> None:
    task, _ = classes
    rows = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    expected = backbone.module.eval()(rows)
    module = Adapter().build(backbone, task)
    assert isinstance(module, Grafted)
    assert torch.equal(module.trunk.eval()(rows), expected)


def test_it_is_built_the_same_again(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy, again = Adapter(width=2, epochs=1, lr=1e-2), copy.deepcopy(backbone)
    module = strategy.build(backbone, task)
    strategy.fit(module, task, data)
    twin = strategy.build(again, task)
    twin.load_state_dict(module.state_dict(), strict=True)
    rows = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(twin.eval()(rows), module.eval()(rows))
    assert strategy.build(again, task).state_dict().keys() == twin.state_dict().keys(), "nothing is added twice"


def test_what_cannot_be_is_refused(backbone: Backbone, classes: Learnt) -> None:
    task, _ = classes
    with pytest.raises(RequestError, match="width is 0, expected at least 1"):
        Adapter(width=0).build(backbone, task)
    bare = replace(backbone, module=nn.Sequential(nn.LayerNorm(5)), stages=("0",), dim=5)
    with pytest.raises(RequestError, match=f"adapter needs {Adapter.needs}, and small has none"):
        Adapter().build(bare, task)


def test_its_arguments_stay_and_decide(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    arguments: dict[str, Any] = {"width": 3, "norms": False, "epochs": 1, "lr": 1e-2, "tuning": {"batch_size": 30}}
    fitted = []
    for change in ({}, {"lr": 1e-3}):
        strategy = Adapter(**{**arguments, **change})
        module = strategy.build(copy.deepcopy(backbone), task)
        assert len(strategy.fit(module, task, data).epochs) == 1
        assert strategy.get_params() == clone(strategy).get_params() == {**arguments, **change}
        fitted.append(module.state_dict()["trunk.0.adapter.up.bias"])
    assert not torch.equal(*fitted)


def test_what_bottlenecks_learnt_before_is_where_they_go_on(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    strategy = Adapter(width=2, norms=False, epochs=1, lr=1e-12)
    module = strategy.build(backbone, task)
    with torch.no_grad():
        for name, value in module.trunk.named_parameters():
            if "adapter" in name:
                value.fill_(0.25)
    strategy.fit(module, task, data)
    kept = {name: value for name, value in module.trunk.named_parameters() if "adapter" in name}
    assert kept
    assert all(torch.allclose(value, torch.tensor(0.25)) for value in kept.values())

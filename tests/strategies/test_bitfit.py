"""Biases train alone."""

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
from graft.strategies.bitfit import BitFit

Learnt = tuple[FittedTask, TransferData]


@pytest.mark.parametrize("norms", [False, True])
def test_biases_move_and_nothing_else(norms: bool, backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    strategy = BitFit(norms=norms, epochs=4, lr=1e-2, tuning={"batch_size": 16, "head_lr": 3e-2})
    module = strategy.build(backbone, task)
    before = copy.deepcopy(module.state_dict())
    history = strategy.fit(module, task, data)
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    expected = {"trunk.0.bias", "trunk.1.bias", "trunk.4.bias", "head.weight", "head.bias"}
    assert moved == expected | ({"trunk.1.weight"} if norms else set())
    assert history.chosen["trained_weights"] == 12 + 12 + 8 + 12 * norms + 9 * task.n_outputs
    assert history.epochs[-1].loss < history.epochs[0].loss


def test_the_last_stages_decide(backbone: Backbone, classes: Learnt) -> None:
    task, _ = classes
    module = BitFit(tuning={"last": 2}).build(backbone, task)
    trains = [name for name, value in module.named_parameters() if value.requires_grad and name.startswith("trunk")]
    assert trains == ["trunk.1.bias", "trunk.4.bias"]


def test_a_source_without_biases_is_refused(backbone: Backbone, classes: Learnt) -> None:
    task, _ = classes
    bare = replace(backbone, module=nn.Sequential(nn.Linear(5, 5, bias=False)), stages=("0",), dim=5)
    with pytest.raises(RequestError, match="bitfit needs a source with biases that train, and small has none"):
        BitFit().build(bare, task)
    assert BitFit.needs == "a source with biases"


def test_its_arguments_stay_and_decide(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    arguments: dict[str, Any] = {"norms": True, "epochs": 1, "lr": 1e-2, "tuning": {"batch_size": 30}}
    strategy = BitFit(**arguments)
    assert len(strategy.fit(strategy.build(backbone, task), task, data).epochs) == 1
    assert strategy.get_params() == clone(strategy).get_params() == arguments
    slow = BitFit(epochs=1, lr=1e-9)
    module = slow.build(backbone, task)
    before = copy.deepcopy(module.state_dict())
    slow.fit(module, task, data)
    assert float((module.state_dict()["trunk.0.bias"] - before["trunk.0.bias"]).abs().max()) < 1e-6

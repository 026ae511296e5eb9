"""The same network, untrained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from graft.contracts import Backbone, FittedTask, Strategy, TransferData
from graft.strategies.fine_tune import FineTune
from graft.strategies.pretrain import Pretrain
from graft.strategies.scratch import Scratch

Learnt = tuple[FittedTask, TransferData]


def test_it_forgets_the_source_and_learns_from_the_rows_alone(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    assert (Scratch.family, Scratch.starts_from) == ("control", "untrained")
    strategy = Scratch(epochs=4, lr=1e-2, batch_size=16)
    other = copy.deepcopy(backbone)
    with torch.no_grad():
        for value in other.module.parameters():
            value.fill_(7.0)
    modules = [strategy.build(each, task) for each in (backbone, other)]
    histories = [strategy.fit(module, task, data) for module in modules]
    assert histories[0].score == histories[1].score
    for one, two in zip(modules[0].state_dict().values(), modules[1].state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert histories[0].epochs[-1].loss < histories[0].epochs[0].loss


def test_the_seed_decides_and_arguments_stay(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    arguments = {"epochs": 2, "lr": 1e-2, "weight_decay": 0.1, "batch_size": 8, "warmup": 0.2, "patience": None}
    strategy = Scratch(**arguments)
    found = []
    for seed in (0, 0, 1):
        module = strategy.build(copy.deepcopy(backbone), task)
        strategy.fit(module, task, replace(data, seed=seed))
        found.append(module.trunk[0].weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert strategy.get_params() == arguments


TRAIN_NORMS: list[Callable[[], Strategy]] = [
    lambda: Scratch(epochs=2, batch_size=1),
    lambda: FineTune(epochs=2, batch_size=1, tuning={"batch_norm": "adapt"}),
    lambda: Pretrain(epochs=2, batch_size=1, options={"epochs": 1}),
]


@pytest.mark.parametrize("make", TRAIN_NORMS)
@pytest.mark.parametrize("n", [1, 3])
def test_a_row_alone_does_not_stop_a_network_with_batch_norm(
    backbone: Backbone, classes: Learnt, make: Callable[[], Strategy], n: int
) -> None:
    task, data = classes
    rows = replace(data.train, examples=data.train.examples.take(np.arange(n)), targets=data.train.targets[:n])
    module = make().build(backbone, task)
    history = make().fit(module, task, replace(data, train=rows))
    assert history.score is not None
    assert all(value.isfinite().all() for value in module.state_dict().values())

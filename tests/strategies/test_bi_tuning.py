"""Rows of a class come together, and what is kept of them is the same in however many parts a batch comes."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.strategies.bi_tuning import BiTuning
from graft.tasks.regression import Regression

Learnt = tuple[FittedTask, TransferData]
QUICK = {"batch_size": 16, "patience": None}


def gap(strategy: BiTuning, backbone: Backbone, learnt: Learnt) -> float:
    """How much nearer features of one class are to each other than to those of others."""
    task, data = learnt
    module = strategy.build(copy.deepcopy(backbone), task)
    strategy.fit(module, task, replace(data, valid=None))  # the last epoch counts
    rows = backbone.preprocess.collate(backbone.preprocess.items([data.valid.examples[row] for row in range(30)]))  # type: ignore[union-attr]
    with torch.no_grad():
        features = normalize(module.trunk(rows), dim=1)  # type: ignore[operator]
    same = data.valid.targets[:, None] == data.valid.targets  # type: ignore[union-attr]
    near = features @ features.T
    return float(near[same].mean() - near[~same].mean())


def test_rows_of_a_class_come_together(backbone: Backbone, classes: Learnt) -> None:
    plain, near = (
        gap(
            BiTuning(weight, keys=8, momentum=0.9, temperature=0.5, width=6, epochs=6, lr=1e-2, tuning=QUICK),
            backbone,
            classes,
        )
        for weight in (0.0, 4.0)
    )
    assert near > plain + 0.05


def test_targets_may_be_soft(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    hard = torch.nn.functional.one_hot(data.train.targets, 3).float()
    strategy = BiTuning(keys=4, width=4, epochs=1, lr=1e-3, tuning=QUICK)
    found = []
    for targets in (data.train.targets, hard):
        module = strategy.build(copy.deepcopy(backbone), task)
        strategy.fit(module, task, replace(data, train=replace(data.train, targets=targets)))
        found.append(module.get_parameter("trunk.0.weight").detach())
    torch.testing.assert_close(*found)


def test_it_refuses_what_cannot_be(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    wrong = BiTuning(weight=-1, keys=0, momentum=2, temperature=0, width=0)
    with pytest.raises(RequestError, match=r"weight is -1.*keys is 0.*momentum is 2.*temperature is 0.*width is 0"):
        wrong.build(backbone, task)
    numbers = Regression().start(data.train.targets.numpy().astype(object))
    with pytest.raises(RequestError, match="bi_tuning needs one class a row, and this task is regression"):
        BiTuning().build(backbone, numbers)


def test_parts_of_a_batch_are_contrasted_with_the_same_keys(backbone: Backbone, classes: Learnt) -> None:
    task, data = classes
    still = nn.Sequential(*(part for part in backbone.module if not isinstance(part, nn.Dropout)))  # type: ignore[arg-type]
    found = []
    for parts in (1, 3):
        tuning = {**QUICK, "accumulate": parts}
        strategy = BiTuning(4.0, keys=3, momentum=0.5, width=4, epochs=3, lr=1e-2, tuning=tuning)
        source = replace(backbone, module=copy.deepcopy(still), stages=("0", "1", "3"))
        module = strategy.build(source, task)
        strategy.fit(module, task, data)
        found.append(module.get_parameter("trunk.0.weight").detach())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)

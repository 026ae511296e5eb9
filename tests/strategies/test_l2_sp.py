"""The source's weights are drawn back to where they started."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.nn.anchors import distance_from, snapshot
from graft.strategies.l2_sp import L2SP

Learnt = tuple[FittedTask, TransferData]
QUICK = {"batch_size": 16, "patience": None}


def moved(strategy: L2SP, backbone: Backbone, learnt: Learnt) -> tuple[float, float]:
    """How far the trunk went, and the length of the head's weights."""
    module = strategy.build(copy.deepcopy(backbone), learnt[0])
    start = snapshot(module.trunk)  # type: ignore[arg-type]
    strategy.fit(module, learnt[0], replace(learnt[1], valid=None))  # the last epoch counts
    head = module.get_parameter("head.weight")
    return distance_from(module.trunk, start).item(), head.norm().item()  # type: ignore[arg-type]


def test_the_stronger_it_holds_the_less_the_source_moves(backbone: Backbone, learnt: Learnt) -> None:
    ways = [moved(L2SP(alpha, epochs=4, lr=3e-3, tuning=QUICK), backbone, learnt)[0] for alpha in (0.0, 1.0, 1e4)]
    assert ways[0] > ways[1] > ways[2]
    assert ways[2] < 0.02 * ways[0]


def test_the_head_is_held_near_zero(backbone: Backbone, classes: Learnt) -> None:
    free, held = (moved(L2SP(beta=beta, epochs=3, tuning=QUICK), backbone, classes)[1] for beta in (0.0, 100.0))
    assert held < 0.2 * free


def test_weight_decay_is_replaced(backbone: Backbone, classes: Learnt) -> None:
    fits = [moved(L2SP(epochs=1, tuning={**QUICK, "weight_decay": decay}), backbone, classes) for decay in (0.0, 0.9)]
    assert fits[0] == fits[1]


def test_it_refuses_what_cannot_be(backbone: Backbone, classes: Learnt) -> None:
    for wrong in (L2SP(alpha=-1.0), L2SP(beta=float("nan"))):
        with pytest.raises(RequestError, match="expected 0 or more"):
            wrong.build(backbone, classes[0])
    assert torch.is_grad_enabled()

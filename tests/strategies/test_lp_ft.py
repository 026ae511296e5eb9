"""The head is the linear probe before anything else learns."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from graft.contracts import Backbone, FittedTask, Strategy, TransferData
from graft.linear import fit_probe, frozen_trunk
from graft.strategies.lp_ft import LPFT
from graft.strategies.soup import Soup
from graft.strategies.wise_ft import WiSEFT

Learnt = tuple[FittedTask, TransferData]


KIN: list[Callable[[Any], Strategy]] = [
    lambda tuning: LPFT(epochs=1, lr=1e-12, tuning=tuning),
    lambda tuning: WiSEFT([1.0], epochs=1, lr=1e-12, tuning=tuning),
    lambda tuning: Soup([1e-12], [0], epochs=1, tuning=tuning),
]


@pytest.mark.parametrize("make", KIN)
def test_it_starts_at_the_probe_which_learns_no_faster_than_the_rest(
    backbone: Backbone, learnt: Learnt, make: Callable[[Any], Strategy]
) -> None:
    task, data = learnt
    probe = frozen_trunk(copy.deepcopy(backbone), task)
    fit_probe(probe, task, data, None)
    strategy = make({"weight_decay": 0.0})
    module = strategy.build(copy.deepcopy(backbone), task)
    strategy.fit(module, task, data)
    torch.testing.assert_close(module.get_parameter("head.weight"), probe.get_parameter("head.weight"))


def test_everything_learns_from_there(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    strategy = LPFT(epochs=4, lr=1e-3, tuning={"batch_size": 16, "patience": None})
    module = strategy.build(backbone, task)
    before = copy.deepcopy(module.state_dict())
    history = strategy.fit(module, task, data)
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert not torch.equal(module.state_dict()["trunk.0.weight"], before["trunk.0.weight"])

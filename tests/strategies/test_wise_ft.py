"""Between the probe and the fine-tuned network."""

from __future__ import annotations

import copy

import pytest
import torch

from graft.contracts import Backbone, FittedTask, History, TransferData
from graft.errors import RequestError
from graft.linear import fit_probe, frozen_trunk
from graft.strategies.lp_ft import LPFT
from graft.strategies.wise_ft import WiSEFT

Learnt = tuple[FittedTask, TransferData]
QUICK = {"batch_size": 16, "patience": None}


def fitted(strategy: WiSEFT | LPFT, backbone: Backbone, learnt: Learnt) -> tuple[dict[str, torch.Tensor], History]:
    module = strategy.build(copy.deepcopy(backbone), learnt[0])
    history = strategy.fit(module, *learnt)
    return module.state_dict(), history


@pytest.mark.parametrize("batch_norm", ["keep", "adapt"])
def test_its_ends_are_the_probe_and_fine_tuning(backbone: Backbone, learnt: Learnt, batch_norm: str) -> None:
    tuning = {**QUICK, "batch_norm": batch_norm}
    start, middle, end = (
        fitted(WiSEFT([alpha], epochs=3, lr=3e-3, tuning=tuning), backbone, learnt)[0] for alpha in (0.0, 0.5, 1.0)
    )
    probe = frozen_trunk(copy.deepcopy(backbone), learnt[0])
    fit_probe(probe, *learnt, None)
    for name, tensor in probe.state_dict().items():
        assert torch.equal(tensor, start[name])
    for name, tensor in fitted(LPFT(epochs=3, lr=3e-3, tuning=tuning), backbone, learnt)[0].items():
        assert torch.equal(tensor, end[name])
    torch.testing.assert_close(middle["trunk.0.weight"], (start["trunk.0.weight"] + end["trunk.0.weight"]) / 2)


def test_the_validation_rows_choose(backbone: Backbone, learnt: Learnt) -> None:
    grid = (0.0, 0.25, 0.5, 1.0)
    chosen = fitted(WiSEFT(grid, epochs=3, lr=1e-2, tuning=QUICK), backbone, learnt)[1]
    each = {
        alpha: fitted(WiSEFT([alpha], epochs=3, lr=1e-2, tuning=QUICK), backbone, learnt)[1].score for alpha in grid
    }
    assert chosen.score == each[chosen.chosen["alpha"]]  # type: ignore[index]
    values = [value for value in each.values() if value is not None]
    assert chosen.score in (max(values), min(values))  # a metric or an error
    best = [alpha for alpha, value in each.items() if value == chosen.score]
    assert chosen.chosen["alpha"] == min(best, key=lambda alpha: (abs(alpha - 0.5), alpha))


def test_it_refuses_what_cannot_be(backbone: Backbone, classes: Learnt) -> None:
    for wrong in ([], [1.5], [float("nan")]):
        with pytest.raises(RequestError, match="expected one or more shares from 0 to 1"):
            WiSEFT(wrong).build(backbone, classes[0])

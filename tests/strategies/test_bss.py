"""What a batch hardly has is pressed down further."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.strategies.bss import BSS

Learnt = tuple[FittedTask, TransferData]


def spectrum(strategy: BSS, backbone: Backbone, learnt: Learnt) -> Tensor:
    """Singular values of a batch of features afterwards."""
    task, data = learnt
    module = strategy.build(copy.deepcopy(backbone), task)
    strategy.fit(module, task, replace(data, valid=None))  # the last epoch counts
    rows = backbone.preprocess.collate(backbone.preprocess.items([data.train.examples[row] for row in range(32)]))
    with torch.no_grad():
        return torch.linalg.svdvals(module.trunk(rows))  # type: ignore[operator]


def test_the_smallest_singular_values_shrink_and_the_largest_stay(backbone: Backbone, learnt: Learnt) -> None:
    quick = {"batch_size": 32, "patience": None}
    plain, shrunk = (spectrum(BSS(eta, k=2, epochs=8, lr=3e-3, tuning=quick), backbone, learnt) for eta in (0.0, 0.3))
    assert (shrunk[-2:] < 0.6 * plain[-2:]).all()
    assert shrunk[0] > 0.7 * plain[0]


def test_it_refuses_what_cannot_be(backbone: Backbone, classes: Learnt) -> None:
    for wrong in (BSS(eta=-1.0), BSS(k=0)):
        with pytest.raises(RequestError, match=r"expected (0 or more|at least 1)"):
            wrong.build(backbone, classes[0])

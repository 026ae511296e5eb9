"""A model as it stands, on the validation rows; and a head that stands where it is to start."""

from __future__ import annotations

from dataclasses import replace

import torch

from graft.contracts import Backbone, FittedTask, TransferData
from graft.tuning import Tuning, tunable, tune
from graft.tuning.measure import measured

Learnt = tuple[FittedTask, TransferData]


def test_it_is_what_training_measured(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    grafted = tunable(backbone, task, Tuning())
    history = tune(grafted, task, data, epochs=2, lr=1e-2, tuning=Tuning(batch_size=16))
    assert measured(grafted, task, data) == history.score
    assert measured(grafted, task, replace(data, valid=None)) is None
    assert not torch.is_inference_mode_enabled()


def test_a_head_that_stands_is_left_there(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    grafted, still = tunable(backbone, task, Tuning()), Tuning(head_lr=1e-12, weight_decay=0.0)
    with torch.no_grad():
        grafted.head.weight.fill_(0.5)
    tune(grafted, task, data, epochs=1, lr=1e-12, tuning=still, started=True)
    torch.testing.assert_close(grafted.head.weight, torch.full((3, 8), 0.5))
    tune(grafted, task, data, epochs=1, lr=1e-12, tuning=still)
    torch.testing.assert_close(grafted.head.weight, torch.zeros(3, 8), atol=1e-6, rtol=0)

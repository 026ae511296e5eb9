"""What an objective sees."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graft.contracts import Epoch
from graft.train import Outcome, Step, supervised


def _step(module: nn.Module, halves: bool = False) -> Step:
    rows = torch.arange(4)
    return Step(module, torch.ones(4, 3), rows, None, rows, epoch=0, progress=0.0, halves=halves)


def test_it_computes_in_the_precision_of_the_fit_and_gives_float32() -> None:
    layer = nn.Linear(3, 2)
    kinds: list[torch.dtype] = []
    layer.register_forward_hook(lambda module, given, made: kinds.append(made.dtype))
    for halves, kind in ((False, torch.float32), (True, torch.bfloat16)):
        assert _step(layer, halves).run(layer).dtype == torch.float32
        assert kinds.pop() == kind


class Several(nn.Module):
    def forward(self, batch: torch.Tensor) -> dict[str, object]:
        half = batch.bfloat16()
        return {"pair": (half, [half]), "places": torch.arange(2), "name": "x"}


def test_all_tensors_of_a_result_come_back_in_float32() -> None:
    found = _step(Several()).run(Several())
    assert found["pair"][0].dtype == found["pair"][1][0].dtype == torch.float32
    assert found["places"].dtype == torch.int64
    assert found["name"] == "x"


def test_it_takes_another_batch() -> None:
    step = _step(nn.Identity())
    assert torch.equal(step.run(nn.Identity(), torch.zeros(2)), torch.zeros(2))


def test_a_loss_becomes_an_objective() -> None:
    objective = supervised(lambda outputs, targets, weights: outputs.sum() + targets.sum())
    assert objective(_step(nn.Identity())).item() == 18.0


@pytest.mark.parametrize(
    ("outcome", "chosen"),
    [
        (Outcome((), None), {}),
        (Outcome((Epoch(1.0, 0.5, 0.1, 1.0),), 0, factor=2.0), {"epochs": 1, "rate_factor": 2.0}),
    ],
)
def test_an_outcome_says_what_was_chosen(outcome: Outcome, chosen: dict[str, float]) -> None:
    assert outcome.chosen == chosen
    assert outcome.score == (0.5 if chosen else None)

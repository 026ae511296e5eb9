"""Which rows each step learns from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from graft import train
from graft.contracts import TransferData

Fit = Callable[..., train.Outcome]


def test_rows_are_drawn_by_their_chances(network: nn.Module, data: TransferData, fit: Fit) -> None:
    seen: list[int] = []

    def objective(step: train.Step) -> Tensor:
        seen.extend(step.rows.tolist())
        return nn.functional.cross_entropy(step.run(step.module), step.targets)

    chances = np.ones(64)
    chances[:8] = 8.0
    chances[60:] = 0.0
    fit(network, train.Recipe(epochs=5, batch_size=16, patience=None), objective=objective, chances=chances)
    counts = np.bincount(seen, minlength=64)
    assert len(seen) == 5 * 64, "an epoch is as long as ever"
    assert not counts[60:].any()
    expected = 5 * 64 * 8 / chances.sum()
    assert np.abs(counts[:8] - expected).max() <= 5
    assert (counts[:8].min()) > counts[8:].max()


def test_what_is_done_before_an_epoch_holds_in_it(network: nn.Module, fit: Fit) -> None:
    first = network[0]  # type: ignore[index]
    before = first.weight.detach().clone()
    moved: list[bool] = []

    def before_epoch(epoch: int) -> None:
        moved.append(not torch.equal(first.weight, before))
        first.requires_grad_(epoch >= 2)

    fit(network, train.Recipe(epochs=4, batch_size=16, patience=None), before_epoch=before_epoch)
    assert moved == [False, False, False, True]


def test_callbacks_are_told_of_every_epoch(network: nn.Module, fit: Fit) -> None:
    told: list[tuple[int, float | None]] = []
    outcome = fit(network, callbacks=(lambda place, epoch: told.append((place, epoch.metric)),))
    assert told == [(place, epoch.metric) for place, epoch in enumerate(outcome.epochs)]

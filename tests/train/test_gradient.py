"""A step's gradient is the same in however many parts it is computed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graft import train
from graft.contracts import TransferData

Fit = Callable[..., train.Outcome]


def near(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, atol=2e-6) for a, b in pairs)


@pytest.mark.parametrize("parts", [2, 3, 16])
@pytest.mark.parametrize("weighted", [False, True])
def test_accumulated_parts_are_the_whole(
    network: nn.Module, data: TransferData, fit: Fit, parts: int, weighted: bool
) -> None:
    weights = torch.linspace(0.1, 2.0, len(data.train)) if weighted else None
    rows = replace(data.train, weights=weights)
    whole, cut = copy.deepcopy(network), copy.deepcopy(network)
    first = fit(whole, train.Recipe(epochs=2, batch_size=16), train=rows)
    second = fit(cut, train.Recipe(epochs=2, batch_size=16, accumulate=parts), train=rows)
    assert near(whole, cut)
    assert not near(whole, network)
    assert [each.loss for each in first.epochs] == pytest.approx([each.loss for each in second.epochs], abs=1e-6)


def test_a_batch_too_large_for_memory_is_halved_until_it_fits(network: nn.Module, fit: Fit) -> None:
    seen: list[int] = []

    def objective(step: train.Step) -> Tensor:
        seen.append(len(step.targets))
        if len(step.targets) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return nn.functional.cross_entropy(step.run(step.module), step.targets)

    small, whole = copy.deepcopy(network), copy.deepcopy(network)
    fit(small, train.Recipe(epochs=2, batch_size=16), objective=objective)
    fit(whole, train.Recipe(epochs=2, batch_size=16))
    assert near(small, whole), "as if the batch had fitted"
    assert seen[:3] == [16, 8, 4]
    assert set(seen[3:]) == {4}, "what was found out is remembered"


def test_a_row_of_weight_zero_teaches_nothing(network: nn.Module, data: TransferData, fit: Fit) -> None:
    weights = torch.ones(len(data.train))
    weights[10:20] = 0.0
    changed = data.train.targets.clone()
    changed[10:20] = (changed[10:20] + 1) % 3
    modules = []
    for targets in (data.train.targets, changed):
        modules.append(copy.deepcopy(network))
        fit(modules[-1], train=replace(data.train, targets=targets, weights=weights))
    assert near(*modules)


def test_a_step_says_where_it_is(network: nn.Module, data: TransferData, fit: Fit) -> None:
    steps: list[Any] = []

    def objective(step: train.Step) -> Tensor:
        steps.append((step.epoch, step.progress, step.weights))
        assert torch.equal(step.targets, data.train.targets[step.rows])
        batch = torch.stack([torch.from_numpy(data.train.examples[int(row)]) for row in step.rows])
        assert torch.equal(batch, step.batch)  # type: ignore[arg-type]
        return nn.functional.cross_entropy(step.run(step.module), step.targets)

    fit(network, train.Recipe(epochs=2, batch_size=16), objective=objective)
    assert [epoch for epoch, *_ in steps] == [0] * 4 + [1] * 4
    assert [progress for _, progress, _ in steps] == pytest.approx([place / 8 for place in range(8)])

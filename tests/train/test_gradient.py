"""A step's gradient is the same in however many parts it is computed."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graft import train
from graft.contracts import TransferData
from graft.errors import RequestError
from graft.nn.lone_rows import lone_row

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


def with_norm() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.parametrize(
    ("n", "recipe"),
    [
        (1, train.Recipe(2)),
        (5, train.Recipe(2, batch_size=2)),
        (6, train.Recipe(2, batch_size=1)),
        (8, train.Recipe(2, batch_size=8, accumulate=8)),
    ],
)
def test_a_batch_of_one_row_goes_by_the_averages(data: TransferData, fit: Fit, n: int, recipe: train.Recipe) -> None:
    rows = replace(
        data.train, examples=data.train.examples.take(torch.arange(n).numpy()), targets=data.train.targets[:n]
    )
    module, before = with_norm(), with_norm()
    fit(module, recipe, train=rows, valid=None)
    assert not torch.equal(module[0].weight, before[0].weight)
    assert all(value.isfinite().all() for value in module.state_dict().values())
    assert not module[1]._forward_hooks


def test_a_row_that_is_a_map_is_normalised_by_itself() -> None:
    norm, maps = nn.BatchNorm2d(2), torch.randn(1, 2, 4, 4)
    expected = copy.deepcopy(norm)(maps)
    with lone_row(norm):
        assert torch.equal(norm(maps), expected)


def test_a_lone_row_leaves_the_averages_and_the_mode() -> None:
    norm = nn.Sequential(nn.BatchNorm1d(2))
    with lone_row(norm):
        made = norm(torch.tensor([[3.0, -1.0]]))
    assert torch.allclose(made, torch.tensor([[3.0, -1.0]]), atol=1e-4)
    assert norm[0].training
    assert torch.equal(norm[0].running_mean, torch.zeros(2))


def test_a_norm_without_averages_cannot_take_a_lone_row() -> None:
    norm = nn.BatchNorm1d(2, track_running_stats=False)
    with lone_row(norm), pytest.raises(RequestError, match="one row has no variance; give more rows, or a batch_size"):
        norm(torch.zeros(1, 2))


def test_what_is_around_a_batch_is_opened_once_and_anew_where_memory_ran_out(network: nn.Module, fit: Fit) -> None:
    told: list[str] = []

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        told.append("open")
        yield
        told.append("shut")

    def objective(step: train.Step) -> Tensor:
        told.append(str(len(step.targets)))
        if len(step.targets) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return nn.functional.cross_entropy(step.run(step.module), step.targets)

    fit(network, train.Recipe(epochs=1, batch_size=16), objective=objective, around=around)
    assert told[:5] == ["open", "16", "open", "8", "8"]
    assert told[5:] == ["shut", *["open", "8", "8", "shut"] * 3]


def test_rows_that_all_weigh_nothing_are_refused(network: nn.Module, data: TransferData, fit: Fit) -> None:
    with pytest.raises(RequestError, match="every row weighs 0"):
        fit(network, train=replace(data.train, weights=torch.zeros(len(data.train))))

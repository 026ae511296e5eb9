"""A small network without any chance in it, and rows that it can learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graft import train
from graft.contracts import Rows, TransferData
from graft.data.examples import TableExamples
from graft.evaluate.goal import Goal
from graft.nn.groups import parameter_groups
from graft.nn.initialise import seeded

ACCURACY = Goal(lambda outputs, targets: float((outputs.argmax(1) == targets).mean()))


class Plain:
    """Rows of numbers as they are."""

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Tensor]:
        return [torch.from_numpy(np.asarray(row, dtype=np.float32)) for row in rows]

    def cost(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(items))

    def files(self) -> dict[str, bytes]:
        return {}


def _rows(n: int, seed: int) -> Rows:
    values = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    return Rows(TableExamples(values), torch.from_numpy(values[:, :3].argmax(1)))


@pytest.fixture
def network() -> nn.Module:
    with seeded(0):
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.fixture
def data() -> TransferData:
    return TransferData(train=_rows(64, 0), valid=_rows(40, 1))


@pytest.fixture
def fit(data: TransferData) -> Callable[..., train.Outcome]:
    """``train.fit`` on those rows, with everything that a test does not care about."""

    def run(module: nn.Module, recipe: train.Recipe | None = None, **changes: Any) -> train.Outcome:
        named = {
            name: changes.pop(name) for name in ("around", "before_epoch", "chances", "find_rate") if name in changes
        }
        objective = changes.pop("objective", None)
        if objective is None:

            def loss(outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
                rows = nn.functional.cross_entropy(outputs, targets, reduction="none")
                return rows.mean() if weights is None else (rows * weights).sum() / weights.sum()

            objective = train.supervised(loss)
        rate = changes.pop("lr", 1e-2)
        return train.fit(
            module,
            objective,
            replace(data, **changes),
            preprocess=Plain(),
            groups=parameter_groups(module, rate=rate, weight_decay=0.01, trunk=""),
            recipe=recipe or train.Recipe(epochs=3, batch_size=16, patience=None),
            goal=ACCURACY,
            **named,
        )

    return run

"""A network and a preprocessing small enough to count what is done."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from graft.contracts import Backbone, Card


class Letters:
    """A text as its letters' numbers; counts the rows that it shapes."""

    def __init__(self) -> None:
        self.shaped: list[str] = []

    def items(self, rows, seeds=None):
        self.shaped += rows
        return [np.array([ord(letter) % 97 for letter in row] or [0], np.int32) for row in rows]

    def cost(self, item):
        return len(item)

    def collate(self, items):
        longest = max(map(len, items))
        ids = torch.zeros(len(items), longest, dtype=torch.int64)
        mask = torch.zeros(len(items), longest)
        for row, item in enumerate(items):
            ids[row, : len(item)] = torch.from_numpy(item)
            mask[row, : len(item)] = 1
        return {"ids": ids, "mask": mask}

    def files(self):
        return {"letters.json": b"{}"}


class Mean(nn.Module):
    """The mean of its letters' vectors; remembers how many rows each batch had."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.letters = nn.Parameter(torch.randn(97, 6, generator=generator))
        self.batches: list[int] = []

    def __deepcopy__(self, memo):  # the prepared copy reports to the original
        twin = Mean()
        twin.batches = self.batches
        return twin

    def forward(self, batch):
        self.batches.append(len(batch["ids"]))
        mask = batch["mask"][:, :, None]
        return (self.letters[batch["ids"]] * mask).sum(1) / mask.sum(1)


@pytest.fixture
def toy() -> Callable[..., Backbone]:
    def make(fingerprint: str | None = "toy-1") -> Backbone:
        return Backbone(Mean(), 6, Letters(), (), Card("toy", "text"), fingerprint=fingerprint)

    return make


@pytest.fixture
def texts() -> list[str]:
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("abcdefgh"), size=rng.integers(6, 15))) for _ in range(60)]


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> int:
    """Windows of 8 rows, read 4 at a time."""
    from graft.features import engine, streaming

    monkeypatch.setattr(engine, "WINDOW", 8)
    monkeypatch.setattr(engine, "_CHUNK", 4)
    monkeypatch.setattr(streaming, "WINDOW", 8)
    return 8

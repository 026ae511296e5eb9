"""The checks notice what they are there to notice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

from graft.checks import check_bridge, check_source, check_strategy, check_task
from graft.contracts import Array, Backbone, Bridge, FittedTask, History, TransferData
from graft.data.examples import TableExamples
from graft.sources.columns import Columns
from graft.strategies.linear_probe import LinearProbe
from graft.tasks.classification import Classification

ROWS = TableExamples(np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
LABELS = np.array(["ab"[place % 2] for place in range(20)], dtype=object)


class Shared(Columns):
    """Gives one network to everybody."""

    network = nn.Linear(3, 3)

    def load(self, weights: bool = True) -> Backbone:
        from dataclasses import replace

        return replace(super().load(weights), module=self.network, learn=None, dim=3)


class Meddling(LinearProbe):
    """Changes its own arguments."""

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        self.penalties = (1.0,)
        return super().fit(module, task, data)


class Forgetful(Classification):
    """Restores another order of classes."""

    def restore(self, state: Mapping[str, Any]) -> FittedTask:
        return self.start(LABELS[::-1].astype(str) + "x")


class Counting(Bridge):
    """Says something else every time."""

    takes: ClassVar[str] = "table"
    gives: ClassVar[str] = "text"
    count = 0

    def convert(self, row: Array) -> str:
        self.count += 1
        return f"{self.count}"


class Overwriting(Bridge):
    """Writes into its rows."""

    takes: ClassVar[str] = "table"
    gives: ClassVar[str] = "text"

    def convert(self, row: Array) -> str:
        row += 1
        return f"{row}"


class Round(Counting):
    """Leads nowhere."""

    gives: ClassVar[str] = "table"


class Lying(Counting):
    """Gives something else than it says."""

    gives: ClassVar[str] = "image"


@pytest.mark.parametrize(
    ("bridge", "told"),
    [
        (Counting(), "the same row gives the same"),
        (Overwriting(), "leaves the rows that it is given alone"),
        (Round(), "leads from one modality to another"),
        (Lying(), "gives rows of image"),
    ],
)
def test_a_bridge_that_does_not_hold_is_noticed(bridge: Bridge, told: str) -> None:
    rows = TableExamples(np.arange(6, dtype=np.float32).reshape(3, 2))
    with pytest.raises(AssertionError, match=told):
        check_bridge(bridge, rows)


def test_a_shared_network_is_noticed() -> None:
    with pytest.raises(AssertionError, match="share parameters"):
        check_source(Shared(), ROWS)


def test_changed_arguments_are_noticed() -> None:
    with pytest.raises(AssertionError, match="constructor arguments"):
        check_strategy(Meddling(), Columns(), Classification(), ROWS, LABELS)


def test_a_task_that_forgets_is_noticed() -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_task(Forgetful(), LABELS)

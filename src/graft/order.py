"""What is asked of a fit, in one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graft.contracts import Source, Strategy, Task
from graft.select.plan import CONTROLS

__all__ = ["BUDGET", "SCRATCH", "Order"]

BUDGET = 600.0
"""Seconds of a fit that chooses, where none are given."""

SCRATCH = 120.0
"""Seconds that the training of the control ``scratch`` may take, where none are given."""


@dataclass(frozen=True)
class Order:
    """What is asked of a fit.

    Parameters
    ----------
    data
        A folder, a table, a list of paths, texts or images, arrays ``(X, y)``, a frame or a hub dataset.
    source
        A source, or its name; ``None`` leaves it to Graft.
    strategy
        One or several; ``None`` leaves it to Graft.  The best of several is chosen inside the training rows.
    task, target, input, group_by, delimiter
        Override what is guessed: the kind of task, names of columns, what separates several labels.
        Several names of ``target`` are columns of the probability of each class.
    test
        Rows to judge on, where they are kept apart from ``data``.
    unlabelled
        More rows of the same kind, whose labels, if any, are not read: strategies that learn without
        labels see them.  Of a table the columns that it shares with ``data`` count.
    metric
        What everything is chosen by; the task's own where ``None``.
    controls
        What transfer has to beat.
    on_bad_row
        ``"fail"`` or ``"skip"``.
    budget
        Seconds for the whole fit.  With it, what is not named is chosen: source, strategy, or both.
        ``None`` chooses where neither is named, within :data:`BUDGET`; else the source that comes with
        Graft, or ``linear_probe``, stands in for what is not named.  Where nothing is to be chosen, it
        is what the training of the control ``scratch`` may take by its forecast, else :data:`SCRATCH`.
    fractions
        Shares of train, valid and test rows, where the data state no split.
    seed
        Decides every random draw.
    device, precision
        A torch device or ``"auto"``; ``"float32"``, ``"bfloat16"`` or ``"auto"``: what measures faster.
    cache
        Whether features are kept on disk.
    licence
        What the source's licence has to be: ``"permissive"`` or an SPDX identifier; ``None`` lets any pass.
    confidence
        Name of a column of numbers, 0 or more: how much each row counts while learning.  Validation
        and test rows count alike.
    prefer
        Among models that the rows cannot tell apart: ``"accurate"``, ``"small"`` or ``"fast"``.
    download
        Whether sources that have to be fetched may be chosen.
    ledger
        Whether the trials of a fit are kept in the user's ledger, from which later plans learn.
    """

    data: Any
    source: Source | str | None = None
    strategy: Strategy | str | Sequence[Strategy | str] | None = None
    task: Task | str | None = None
    target: str | Sequence[str] | None = None
    input: str | None = None
    group_by: str | None = None
    delimiter: str | None = None
    test: Any | None = None
    metric: str | None = None
    controls: Sequence[str] = CONTROLS
    on_bad_row: str = "fail"
    budget: float | None = None
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    cache: bool = True
    licence: str | None = None
    unlabelled: Any | None = None
    confidence: str | None = None
    prefer: str = "accurate"
    download: bool = False
    ledger: bool = True

    @property
    def open(self) -> bool:
        """Whether source or strategy is left to be chosen."""
        unnamed = (self.source is None, self.strategy is None)
        return all(unnamed) or (self.budget is not None and any(unnamed))

    @property
    def seconds(self) -> float:
        """Of the budget: what is given, or what is usual."""
        if self.budget is not None:
            return self.budget
        return BUDGET if self.open else SCRATCH

"""What is asked of a fit, in one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graft.contracts import Source, Strategy, Task
from graft.select.plan import CONTROLS

__all__ = ["BUDGET", "SCRATCH", "Order"]

BUDGET = 600.0
"""Seconds that are planned with where none are given."""

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
        A source, or its name; ``None`` chooses it within the budget, or takes the one that comes with Graft.
        Of several, which take a budget, one is chosen within it.
    strategy
        One or several; ``None`` chooses it within the budget, or takes ``linear_probe``.  The best of
        several is chosen inside the training rows.
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
        Seconds for the whole fit, within which what is not named is chosen: source, strategy, or both.
        ``None`` chooses nothing: the source that comes with Graft, or ``linear_probe``, stands in.
        Where both are named, it is what the training of the control ``scratch`` may take by its
        forecast, else :data:`SCRATCH`.
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
    time_by
        Name of a column of numbers or dates: rows are split in its order, and what is learnt from was
        seen before what is measured by.
    folds, repeats
        Judge by so many folds of all rows instead of by test rows, dealt anew so often; what is
        handed over then learns from all rows.
    learning_curve
        Whether to find out what more labels would bring: smaller fits, as dear as three and a half
        on all training rows.
    ensemble
        How many models of the race may be handed over together, at most; 1: the single best.
    """

    data: Any
    source: Source | str | Sequence[Source | str] | None = None
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
    time_by: str | None = None
    folds: int | None = None
    repeats: int = 1
    learning_curve: bool = False
    ensemble: int = 1

    @property
    def sources(self) -> tuple[Source | str, ...]:
        """Those that are named."""
        if self.source is None:
            return ()
        return (self.source,) if isinstance(self.source, str | Source) else tuple(self.source)

    @property
    def open(self) -> bool:
        """Whether source or strategy is left to be chosen."""
        return self.budget is not None and (len(self.sources) != 1 or self.strategy is None)

    @property
    def seconds(self) -> float:
        """Of the budget: what is given, or what is usual."""
        return SCRATCH if self.budget is None else self.budget

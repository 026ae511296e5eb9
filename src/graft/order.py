"""What is asked of a fit, in one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graft.contracts import Source, Strategy, Task
from graft.select.plan import CONTROLS

__all__ = ["Order"]


@dataclass(frozen=True)
class Order:
    """What is asked of a fit.

    Parameters
    ----------
    data
        A folder, a table, a list of paths, texts or images, arrays ``(X, y)``, a frame or a hub dataset.
    source
        A source, or its name; ``None`` takes the one that comes with Graft for the modality.
    strategy
        One or several; the best of several is chosen inside the training rows.
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
        Seconds that the training of the control ``scratch`` may take by its forecast.
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
    time_by
        Name of a column of numbers or dates: rows are split in its order, and what is learnt from was
        seen before what is measured by.
    folds, repeats
        Judge by so many folds of all rows instead of by test rows, dealt anew so often; what is
        handed over then learns from all rows.
    learning_curve
        Whether to find out what more labels would bring: smaller fits, as dear as three and a half
        on all training rows.
    """

    data: Any
    source: Source | str | None = None
    strategy: Strategy | str | Sequence[Strategy | str] = "linear_probe"
    task: Task | str | None = None
    target: str | Sequence[str] | None = None
    input: str | None = None
    group_by: str | None = None
    delimiter: str | None = None
    test: Any | None = None
    metric: str | None = None
    controls: Sequence[str] = CONTROLS
    on_bad_row: str = "fail"
    budget: float = 120.0
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    cache: bool = True
    licence: str | None = None
    unlabelled: Any | None = None
    confidence: str | None = None
    time_by: str | None = None
    folds: int | None = None
    repeats: int = 1
    learning_curve: bool = False

"""What a strategy sees of a split: the same rows for all, of which one that validates sets some apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from graft.contracts import Array, Examples, FittedTask, Rows, Strategy, TargetData, Task, TransferData
from graft.data.cells import KIND_OF_LINK
from graft.data.chronological import latest
from graft.data.examples import join
from graft.data.split import Split, hold_out

__all__ = ["groups_at", "rows_at", "some_count", "started", "view"]

HELD_OUT = 0.15
"""Share of the training rows that a strategy validates by, where no side of the split is kept for that."""


def rows_at(held: TargetData, fitted: FittedTask, places: Array) -> Rows:
    """The rows at these places, encoded."""
    assert held.labels is not None
    weights = None if held.weights is None else torch.from_numpy(held.weights[places]).float()
    return Rows(held.examples.take(places), fitted.encode(held.labels[places]), weights)


def started(held: TargetData, task: Task, fitted: FittedTask, places: Array) -> FittedTask:
    """The task for models that learn from these places: numbers are scaled by what is learnt from alone."""
    assert held.labels is not None
    return fitted if fitted.classes else task.start(held.labels[places])


def groups_at(held: TargetData, places: Array) -> Array | None:
    """Their groups."""
    return None if held.groups is None else held.groups[places]


def view(
    held: TargetData,
    sides: Split,
    fitted: FittedTask,
    strategy: Strategy,
    common: TransferData,
    beside: Examples | None = None,
) -> TransferData:
    """What the strategy learns and validates by, and no row that is measured by.

    Parameters
    ----------
    sides
        ``train`` and ``valid`` are one for a strategy that does not validate; one that does, where
        ``valid`` is empty, sets rows apart that depend on nothing but the rows and the seed: the
        latest, where rows have times.
    common
        Seed, machine, cache and progress.
    beside
        Rows without labels that were given apart; copies of rows that are measured by are left out.
    """
    unlabelled = [held.examples.take(sides.unlabelled)] if len(sides.unlabelled) else []
    unlabelled += [] if beside is None else [beside]
    train, valid, apart = sides.train, sides.valid, np.concatenate([sides.valid, sides.test])
    if not strategy.uses_validation:
        train, valid = sides.pool, valid[:0]
    elif not len(valid):
        kept, set_apart = _held_out(held, fitted, train, common.seed)
        train, valid = train[kept], train[set_apart]
        apart = np.concatenate([valid, sides.test])
    return replace(
        common,
        train=rows_at(held, fitted, train),
        valid=rows_at(held, fitted, valid) if len(valid) else None,
        groups=groups_at(held, train),
        unlabelled=_unseen(join(unlabelled), held.examples.take(apart)) if unlabelled else None,
    )


def _held_out(held: TargetData, fitted: FittedTask, train: Array, seed: int) -> tuple[Array, Array]:
    """Places among the training rows to learn from and to validate by; the latest ones, where rows have times."""
    assert held.labels is not None
    if held.times is not None:
        return latest(held.times[train], HELD_OUT)
    keys, groups = held.examples.take(train).keys(), groups_at(held, train)
    return hold_out(keys, held.labels[train], groups, HELD_OUT, seed, KIND_OF_LINK[fitted.link])


def some_count(
    held: TargetData, sides: Split, fitted: FittedTask, strategies: Sequence[Strategy], common: TransferData
) -> bool:
    """Whether each strategy would see a training row that weighs anything."""
    if held.weights is None:
        return True
    # Those that validate have fewer rows left to learn from; of each kind, one tells for all.
    kinds = {each.uses_validation: each for each in strategies}
    seen = [view(held, sides, fitted, each, common).train.weights for each in kinds.values()]
    return all(weights is None or bool(weights.any()) for weights in seen)


def _unseen(examples: Examples, apart: Examples) -> Examples | None:
    """Without copies of the rows that are measured by."""
    held, offered = apart.keys(), examples.keys()
    known = {key.tobytes() for key in held}
    kept = np.flatnonzero([key.tobytes() not in known for key in offered])
    return examples.take(kept) if len(kept) else None

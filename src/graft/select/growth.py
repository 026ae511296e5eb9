"""A candidate on ever more of the training rows: the points of its learning curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from graft.contracts import Array, Examples, FittedTask, TargetData, Task, TransferData
from graft.data.cells import KIND_OF_LINK
from graft.data.split import Split, hold_out
from graft.evaluate.goal import goal_of
from graft.evaluate.learning_curve import LearningCurve, Point, learning_curve
from graft.select.candidates import Candidate
from graft.select.fold import run_fold
from graft.select.procedure import procedure
from graft.select.rounds import Round, in_scale_of
from graft.select.view import groups_at, rows_at, started

__all__ = ["DRAWS", "grow", "subsets"]

DRAWS = {0.125: 5, 0.25: 3, 0.5: 2, 1.0: 1}
"""How often each share of the training rows is drawn: fewer rows vary more, and cost less.  About 3.4 fits in all."""

_LEAST = 8
"""Rows below which a point says more of its luck than of the curve."""


def subsets(held: TargetData, fitted: FittedTask, places: Array, seed: int) -> Iterator[tuple[float, int, Array]]:
    """Share, draw and places of every subset; within a draw each holds the smaller ones.

    Halves of halves: stratified, groups and duplicates kept together, and every class kept.
    """
    assert held.labels is not None
    kind = KIND_OF_LINK[fitted.link]
    for draw in range(max(DRAWS.values())):
        inside = places
        for share in sorted(DRAWS, reverse=True):
            if share < 1:
                keys = held.examples.take(inside).keys()
                kept, _ = hold_out(keys, held.labels[inside], groups_at(held, inside), 0.5, seed + draw, kind)
                inside = inside[kept]
            if draw < DRAWS[share] and len(inside) >= max(_LEAST, 2 * len(fitted.classes)):
                yield share, draw, inside


def grow(
    chosen: Candidate,
    task: Task,
    held: TargetData,
    sides: Split,
    fitted: FittedTask,
    common: TransferData,
    *,
    beside: Examples | None = None,
    folder: Callable[[str], Path | None],
) -> LearningCurve:
    """Fit the candidate on subsets of the rows to learn from, and measure each fit on the test rows.

    Nothing is chosen by these figures.

    Parameters
    ----------
    sides
        Rows to learn from (``valid`` among them) and to measure by.
    fitted
        The task as all these rows set it, on whose scale is measured.
    folder
        Where a fit of this name keeps what a killed run goes on from.
    """
    test = rows_at(held, fitted, sides.test)
    places = sides.pool
    points = []
    for share, draw, inside in subsets(held, fitted, places, common.seed):
        part = replace(sides, train=inside, valid=places[:0])
        each = Round(draw, 0, part, started(held, task, fitted, inside), np.ones(len(test), dtype=bool))
        learn = procedure([chosen], task, held, common, beside)

        name = f"{chosen.name}, {share} of the rows, draw {draw}"
        done = run_fold(partial(learn, each), test.examples, folder(name), cache=common.cache, progress=common.progress)
        outputs = in_scale_of(fitted, each.fitted, done.outputs)
        points.append(Point(len(inside), goal_of(fitted).measure(outputs, test.targets.numpy())))
    return learning_curve(fitted.metric, points, name=chosen.name, seed=common.seed)

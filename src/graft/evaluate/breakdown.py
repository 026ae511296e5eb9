"""Where a model is good and where it is not: class by class, group by group."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.contracts import Array, FittedTask
from graft.evaluate.intervals import Interval, bootstrap
from graft.evaluate.metrics import sign_of
from graft.evaluate.proportions import proportions

__all__ = ["LEAST", "Breakdown", "OfClass", "OfGroup", "breakdown"]

LEAST = 5
"""Rows that a group needs for a value of its own."""

_LISTED = 20
"""How many groups are listed, the worst first: a data set may have thousands."""


@dataclass(frozen=True)
class OfClass:
    """One class, or one of several labels.

    Parameters
    ----------
    rows
        How many truly are of it.
    precision, recall, f1
        Of those called so, the share that are; of those that are, the share called so; and both in
        one.  ``None`` where there was nothing to count.
    """

    name: str
    rows: int
    precision: Interval | None
    recall: Interval | None
    f1: Interval | None


@dataclass(frozen=True)
class OfGroup:
    """The task's own metric on the rows of one group; the interval is for other rows of this group."""

    name: str
    rows: int
    score: Interval


@dataclass(frozen=True)
class Breakdown:
    """One model on rows that it did not learn from, class by class and group by group.

    The worst of many looks worse than it is, as the best looks better: an interval holds for a
    class or group that was named beforehand.

    Parameters
    ----------
    classes
        In the task's order; empty for numbers.
    confused
        ``(true, called, rows)``, the first two places in ``classes``, for every pair that occurs; a
        row counts as often as it was measured.  Empty where a row may have several labels, and for
        numbers.
    groups
        At most 20, the worst first; those of fewer than 5 rows have no value of their own.
    groups_measured, groups_too_small
        How many groups had a value, and how many were too small.
    """

    classes: tuple[OfClass, ...] = ()
    confused: tuple[tuple[int, int, int], ...] = ()
    groups: tuple[OfGroup, ...] = ()
    groups_measured: int = 0
    groups_too_small: int = 0

    @property
    def confusion(self) -> Array:
        """``(c, c)``: rows by their true class (down) and by what they were called (across)."""
        matrix = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        for true, called, rows in self.confused:
            matrix[true, called] = rows
        return matrix

    def worst(self, count: int = 3) -> Sequence[OfClass]:
        """The classes of lowest F1, those that have one."""
        known = [(each.f1.value, place) for place, each in enumerate(self.classes) if each.f1 is not None]
        return [self.classes[place] for _, place in sorted(known)[:count]]

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        held = dataclasses.asdict(self)
        return {**held, **{name: list(held[name]) for name in ("classes", "confused", "groups")}}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Breakdown:
        """What :meth:`document` gave."""
        parts = ("precision", "recall", "f1")
        return cls(
            classes=tuple(
                OfClass(**{**each, **{part: each[part] and Interval(**each[part]) for part in parts}})
                for each in document["classes"]
            ),
            confused=tuple((true, called, rows) for true, called, rows in document["confused"]),
            groups=tuple(OfGroup(**{**each, "score": Interval(**each["score"])}) for each in document["groups"]),
            groups_measured=document["groups_measured"],
            groups_too_small=document["groups_too_small"],
        )


def breakdown(
    task: FittedTask,
    outputs: Array,
    targets: Array,
    *,
    groups: Array | None = None,
    copies: Array | None = None,
    seed: int = 0,
    widen: float = 1.0,
) -> Breakdown:
    """Break a model's outputs ``(n, c)`` down.

    Parameters
    ----------
    groups
        ``(n,)`` names; rows of one group are not independent, and an empty name is no group.
    copies
        ``(n,)``: places that are equal belong to one row, which is measured several times.
    widen
        Factor on the reach of the intervals: for outputs of several models that learnt from much the
        same rows.
    """
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    classes, confused = _by_class(task, outputs, targets, copies if groups is None else groups, widen)
    if copies is not None:
        often = len(copies) // len(np.unique(copies))
        classes = tuple(dataclasses.replace(each, rows=each.rows // often) for each in classes)
    listed, measured, small = _by_group(task, outputs, targets, groups, copies, seed, widen)
    return Breakdown(classes, confused, listed, measured, small)


def _by_class(
    task: FittedTask, outputs: Array, targets: Array, units: Array | None, widen: float
) -> tuple[tuple[OfClass, ...], tuple[tuple[int, int, int], ...]]:
    """Precision, recall and F1 of every class, and which are taken for which.

    F1 is ``2 J / (1 + J)`` of the share J of rows that are of the class and called so, among those
    that are either: a share as the others are, so its interval is known without resampling.
    """
    if task.link == "identity":
        return (), ()
    confused: tuple[tuple[int, int, int], ...] = ()
    if task.link == "softmax":
        truth = targets if targets.ndim == 1 else targets.argmax(axis=1)
        guess = outputs.argmax(axis=1)
        pairs, counts = np.unique(np.stack([truth, guess]), axis=1, return_counts=True)
        confused = tuple((int(t), int(g), int(n)) for (t, g), n in zip(pairs.T, counts, strict=True))
        is_, called = (np.arange(task.n_outputs) == each[:, None] for each in (truth, guess))
    else:
        is_, called = targets > 0.5, outputs > 0
    hits = is_ & called
    precision, recall, overlap = (proportions(hits, among, units, widen=widen) for among in (called, is_, is_ | called))
    value, low, high = (2 * part / (1 + part) for part in overlap)
    found = (precision, recall, (value, low, high))
    rows = is_.sum(axis=0)
    return tuple(
        OfClass(str(name), int(rows[place]), *(_interval(part, place) for part in found))
        for place, name in enumerate(task.classes)
    ), confused


def _interval(part: tuple[Array, Array, Array], place: int) -> Interval | None:
    value, low, high = (float(each[place]) for each in part)
    return None if value != value else Interval(value, low, high, resamples=0)


def _by_group(
    task: FittedTask,
    outputs: Array,
    targets: Array,
    groups: Array | None,
    copies: Array | None,
    seed: int,
    widen: float,
) -> tuple[tuple[OfGroup, ...], int, int]:
    if groups is None:
        return (), 0, 0
    sign = sign_of(task.metric)
    names, place = np.unique([str(each) for each in groups], return_inverse=True)
    order = np.argsort(place, kind="stable")
    members = np.split(order, np.bincount(place, minlength=len(names)).cumsum()[:-1])
    named = [(str(name), rows) for name, rows in zip(names, members, strict=True) if name]
    distinct = {name: len(rows) if copies is None else len(np.unique(copies[rows])) for name, rows in named}
    values = {
        name: sign * float(next(iter(task.metrics(outputs[rows], targets[rows])))[1])
        for name, rows in named
        if distinct[name] >= LEAST
    }
    known = {name: value for name, value in values.items() if value == value}
    rows_of = dict(named)
    found = []
    for name in sorted(known, key=lambda each: (known[each], each))[:_LISTED]:
        rows = rows_of[name]
        alike = None if copies is None else copies[rows]
        score = bootstrap(task, outputs[rows], targets[rows], groups=alike, seed=seed, own_only=True, widen=widen)
        found.append(OfGroup(name, distinct[name], score[task.metric]))
    return tuple(found), len(known), len(named) - len(values)

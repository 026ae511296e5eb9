"""A task in a few numbers, so that tasks can be compared without their data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.storage import digest

if TYPE_CHECKING:
    from graft.contracts import Array, FittedTask, TargetData

__all__ = ["Sketch", "data_digest", "distance", "sketch"]

_SIZES = frozenset({"characters", "columns", "pixels", "rate", "seconds", "words"})
"""Facts that are compared by their ratio; all others are shares, compared by their difference."""

_LOOKED_AT = 64
_LABELS = 5000
"""Rows whose content is looked at, and rows whose labels are."""
_BINS = 10
_DECADES = 2.0
"""Sizes that differ more than a hundredfold differ no more than that."""


@dataclass(frozen=True)
class Sketch:
    """What a task is like.

    Nothing of a row can be told from it: it holds counts, and means over many rows that are rounded
    to two digits.  There is no text, no name of a label, a column or a file, and no value of a cell.

    Parameters
    ----------
    modality, kind, link
        Of the rows, of the task, and of its outputs.
    rows
        With a label.
    outputs
        Classes, labels or numbers to predict.
    entropy
        How evenly the labels are spread, from 0 (all alike) to 1.
    facts
        Means of what the rows look like, such as their length (:func:`graft.data.facts.facts_of`).
    """

    modality: str
    kind: str
    link: str
    rows: int
    outputs: int
    entropy: float
    facts: Mapping[str, float]


def sketch(held: TargetData, fitted: FittedTask) -> Sketch:
    """Look at the labels and at 64 rows, evenly spaced; the same data in the same order give the same sketch.

    Rows that cannot be read are passed over.

    Examples
    --------
    >>> from graft.contracts import TargetData
    >>> from graft.data.cells import objects
    >>> from graft.data.examples import TextExamples
    >>> from graft.tasks.classification import Classification
    >>> held = TargetData(TextExamples(["a card", "a loan"] * 9), objects(["card", "loan"] * 9))
    >>> sketch(held, Classification().start(held.labels)).facts["characters"]
    6.0
    """
    labels = np.zeros(0, dtype=object) if held.labels is None else held.labels
    known = labels[np.array([label is not None for label in labels], dtype=bool)]
    return Sketch(
        modality=held.examples.modality,
        kind=fitted.kind,
        link=fitted.link,
        rows=len(known),
        outputs=fitted.n_outputs,
        entropy=round(_evenness(known[_spaced(len(known), _LABELS)], fitted), 2),
        facts=_facts(held),
    )


def distance(one: Sketch, other: Sketch) -> float:
    """How unlike two tasks are: 0 for the same, infinite where modality or link differ.

    The Euclidean length of: the tenfold steps between their rows and between their outputs, the
    difference in entropy, 1 where the kind of task differs, and for each fact the tenfold steps (of
    a size, at most 2) or the difference (of a share).  A fact that one of them lacks counts 1.
    """
    if (one.modality, one.link) != (other.modality, other.link):
        return math.inf
    parts = [_steps(one.rows, other.rows), _steps(one.outputs, other.outputs), one.entropy - other.entropy]
    parts.append(float(one.kind != other.kind))
    for name in {**one.facts, **other.facts}:
        if name not in one.facts or name not in other.facts:
            parts.append(1.0)
        elif name in _SIZES:
            parts.append(_steps(one.facts[name], other.facts[name]))
        else:
            parts.append(min(1.0, abs(one.facts[name] - other.facts[name])))
    return math.hypot(*parts)


def data_digest(held: TargetData) -> str:
    """Names rows and labels by their content, whatever their order; nothing of them can be read from it.

    Raises
    ------
    BadRowsError
        For rows whose bytes cannot be read.
    """
    keys = held.examples.keys()
    labels = [None] * len(keys) if held.labels is None else held.labels
    rows = [digest(key.tobytes(), repr(label)) for key, label in zip(keys, labels, strict=True)]
    return digest(*sorted(rows))


def _steps(one: float, other: float) -> float:
    """Tenfold steps between two sizes; the one that is added keeps nought finite."""
    return min(_DECADES, abs(math.log10((one + 1) / (other + 1))))


def _spaced(count: int, most: int) -> Array:
    """At most ``most`` of ``count`` places, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64)) if count else np.zeros(0, np.int64)


def _evenness(labels: Array, fitted: FittedTask) -> float:
    """The entropy of the labels as a share of the largest that it could be.

    Of classes: that of their shares.  Of several labels a row: the mean of each label's own.  Of
    numbers: that of ten bins of equal width between the lowest and the highest, the mean over columns.
    """
    if not len(labels):
        return 0.0
    targets = fitted.encode(labels).numpy().astype(np.float64)
    if fitted.link == "softmax":
        whole = targets.ndim == 1
        shares = np.bincount(targets.astype(np.int64), minlength=fitted.n_outputs) if whole else targets.sum(axis=0)
        return _entropy(shares)
    if fitted.link == "sigmoid":
        return float(np.mean([_entropy(np.array([each, 1 - each])) for each in targets.mean(axis=0)]))
    return float(np.mean([_entropy(np.histogram(column, _BINS)[0]) for column in targets.reshape(len(targets), -1).T]))


def _entropy(amounts: Array) -> float:
    """Of amounts ``(k,)`` as shares of their sum, divided by the logarithm of k."""
    shares = amounts[amounts > 0] / amounts.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(amounts))) if len(amounts) > 1 else 0.0


def _facts(held: TargetData) -> dict[str, float]:
    """Means over the rows that are looked at; of sizes the geometric one, as one huge row must not count for all."""
    from graft.data.facts import facts_of  # brings torch along, which reading a ledger does without
    from graft.errors import BadRowsError

    found: dict[str, list[float]] = {}
    for row in _spaced(len(held.examples), _LOOKED_AT).tolist():
        try:
            seen = facts_of(held.examples[row])
        except BadRowsError:
            continue
        for name, value in seen.items():
            found.setdefault(name, []).append(value)
    means = {
        name: float(np.expm1(np.mean(np.log1p(values))) if name in _SIZES else np.mean(values))
        for name, values in found.items()
    }
    schema = getattr(held.examples, "schema", None)
    if schema is not None and schema.width:
        means["words columns"] = len(schema.classes) / schema.width
    return {name: float(f"{means[name]:.2g}") for name in sorted(means)}

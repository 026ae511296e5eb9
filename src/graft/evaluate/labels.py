"""What labels look like: the task that they suggest, and what is wrong with strange ones."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from graft.contracts import Array, Soft

__all__ = ["Look", "look", "own", "strangers", "too_many"]

_FEW = 20
_SHARE = 0.05
_SEVERAL = {tuple, list, set, frozenset}


@dataclass(frozen=True)
class Look:
    """What kind of labels these are, and the sentence that says why.

    ``kind`` is ``"class"`` (one of several words), ``"labels"`` (any number of words),
    ``"quantity"`` (numbers on a scale) or ``"unclear"``.
    """

    kind: Literal["class", "labels", "quantity", "unclear"]
    reason: str


def own(label: Any) -> Any:
    """The label as plain Python has it: a NumPy scalar becomes ``str``, ``int``, ``float`` or ``bool``."""
    return label.item() if isinstance(label, np.generic) else label


def strangers(words: Iterable[Any], known: Sequence[Any]) -> str:
    """The sentence about labels that are not ``known``: each with its count and the nearest known one."""
    spelt = {str(name): name for name in known}
    counts = Counter(repr(word) for word in words)
    faults = []
    for shown, count in counts.most_common(5):
        near = difflib.get_close_matches(shown.strip("'\""), spelt, n=1, cutoff=0.5)
        hint = f"; did you mean {spelt[near[0]]!r}?" if near else ""
        faults.append(f"{shown} ({count} {'row' if count == 1 else 'rows'}{hint})")
    more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
    listed = ", ".join(map(repr, known[:20])) + (", …" if len(known) > 20 else "")
    return f"labels that are not known: {', '.join(faults)}{more}. Known are {listed}."


def too_many(distinct: int, rows: int) -> bool:
    """Whether so many distinct numbers in so many rows are a scale rather than classes."""
    return distinct > _FEW and distinct > _SHARE * rows


def look(labels: Array) -> Look:
    """See what labels these are; ``(n,)``, or ``(n, k)`` for several quantities a row.

    Tuples are several labels a row, and a label that is divided is a class.  Numbers are a quantity
    where some have a fraction, or where there are more than 20 distinct ones and they make up more
    than 5 % of the rows.  All else of one type is a class.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return _look_at_columns(labels)
    values = [own(label) for label in labels]
    types = {type(value) for value in values}
    if Soft in types:
        among = {own(name) for value in values if isinstance(value, Soft) for name, _ in value.shares}
        return Look("class", f"labels are divided among {len(among)} classes")
    if types and types <= _SEVERAL:
        distinct = len({each for value in values for each in value})
        return Look("labels", f"a row carries several labels, {distinct} distinct ones in all")
    if types and types <= {int, float}:
        return _look_at_numbers(values)
    if types in ({str}, {bool}):
        noun = "strings" if types == {str} else "truth values"
        return Look("class", f"the labels are {len(set(values))} distinct {noun}")
    names = ", ".join(sorted(kind.__name__ for kind in types)) or "none"
    return Look("unclear", f"the labels are of type {names}")


def _look_at_numbers(values: list[Any]) -> Look:
    distinct = len(set(values))
    if any(not float(value).is_integer() for value in values):
        return Look("quantity", f"the labels are {distinct} distinct numbers, some with a fraction")
    if too_many(distinct, len(values)):
        return Look("quantity", f"the labels are {distinct} distinct numbers in {len(values)} rows")
    return Look("class", f"the labels are {distinct} distinct whole numbers")


def _look_at_columns(labels: Array) -> Look:
    if labels.dtype.kind not in "iuf":
        return Look("unclear", f"the labels are a matrix of {labels.dtype}")
    if np.isin(labels, (0, 1)).all():
        return Look("unclear", "the labels are a matrix of zeros and ones; write them as tuples of words")
    return Look("quantity", f"each row has {labels.shape[1]} numbers")

"""Cells to labels in the user's own words, several to a row where a cell holds several."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from graft.contracts import Array, Link, Request, Soft
from graft.data.divided import divided, in_columns

__all__ = ["KIND_OF_LINK", "Kind", "label_kind", "objects", "plain", "read_columns", "read_labels", "settled"]

Kind = Literal["classes", "values", "sets"]

KIND_OF_LINK: dict[Link, Kind] = {"softmax": "classes", "sigmoid": "sets", "identity": "values"}
"""What the labels of a task are, by how its outputs become means."""
"""What labels are, as far as a split cares: one class a row, a number, or several names."""

_DELIMITERS = ("|", ";", ",")
_FEW_VALUES, _SHARE = 20, 0.05


def objects(values: Sequence[Any]) -> Array:
    """``(n,)`` object array; numpy itself would make tuples of one length a second axis."""
    held = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        held[row] = value
    return held


def plain(value: Any) -> Any:
    """A cell as ``str``, ``int``, ``float``, ``bool``, ``Soft`` or a tuple of ``str``; ``None`` for nothing."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool | int | float | Soft):
        return value
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        several = sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)
        return tuple(dict.fromkeys(str(each) for each in map(plain, several) if each is not None))
    # pandas' own marks for "nothing" are equal to nothing, themselves included
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)


def settled(label: Any) -> Any:
    """The class that a label comes down to: of one that is divided the likeliest."""
    return plain(label.likeliest) if isinstance(label, Soft) else plain(label)


def read_labels(cells: Iterable[Any], request: Request) -> tuple[Array, tuple[str, ...]]:
    """Cells → ``(n,)`` labels, and what was guessed.

    A mapping of classes to probabilities is a label that is divided among them.  Several labels a
    row are read from lists, where the request is ``multilabel`` or names a
    delimiter, and where most cells hold ``|`` or ``;`` between words.  An empty list is a row to
    which no label applies; an empty cell is a row without a label.
    """
    cells = list(cells)
    if any(isinstance(cell, Mapping) for cell in cells):
        shared, notes = divided(cells)
        return objects([plain(cell) for cell in shared]), notes
    labels, notes = [plain(cell) for cell in cells], ()
    delimiter = request.delimiter
    if delimiter is None and request.task == "multilabel":
        words = [label for label in labels if isinstance(label, str)]
        delimiter = next((mark for mark in _DELIMITERS if any(mark in word for word in words)), None)
        if delimiter is not None:
            notes = (f"several labels in a cell are separated by {delimiter!r} (--delimiter names another).",)
    elif delimiter is None and request.task is None:
        delimiter = _guess_delimiter(labels)
        if delimiter is not None:
            notes = (
                f"most labels hold {delimiter!r} between words, so each is read as several labels "
                "(--task classification keeps them whole).",
            )
    several = delimiter is not None or request.task == "multilabel" or any(isinstance(label, tuple) for label in labels)
    if several:
        labels = [_split(label, delimiter) for label in labels]
    return objects(labels), notes


def read_columns(values: Array, names: Sequence[Any], request: Request) -> tuple[Array, tuple[str, ...]]:
    """Numbers ``(n, c)``, a column a class → ``(n,)`` labels, and what was made of them.

    Rows of 0 and 1 name the columns that apply, unless the request is ``classification``; all others
    are probabilities.

    Raises
    ------
    DataError
        For rows that are neither.
    """
    if np.isin(values, (0, 1)).all() and request.task != "classification":
        marks = (np.asarray(values) == 1).tolist()
        return objects([tuple(str(name) for name, mark in zip(names, row, strict=True) if mark) for row in marks]), ()
    labels, notes = in_columns(values, names)
    return objects(labels), notes


def label_kind(labels: Iterable[Any]) -> Kind:
    """What labels are, judged by themselves; ``None`` among them is passed over.

    Numbers are values where some have a fraction, or where there are more than 20 distinct ones and
    they make up more than 5 % of the rows.
    """
    known = [plain(label) for label in labels]
    known = [label for label in known if label is not None]
    if any(isinstance(label, tuple) for label in known):
        return "sets"
    if not known or not all(isinstance(label, int | float) and not isinstance(label, bool) for label in known):
        return "classes"
    if any(isinstance(label, float) and not label.is_integer() for label in known):
        return "values"
    distinct = len(set(known))
    return "values" if distinct > _FEW_VALUES and distinct > _SHARE * len(known) else "classes"


def _guess_delimiter(labels: Sequence[Any]) -> str | None:
    words = [label for label in labels if isinstance(label, str)]
    for mark in ("|", ";"):
        between = re.compile(rf"\w\s*{re.escape(mark)}\s*\w")
        if words and sum(between.search(word) is not None for word in words) * 2 > len(words):
            return mark
    return None


def _split(label: Any, delimiter: str | None) -> tuple[str, ...] | None:
    if label is None or isinstance(label, tuple):
        return label
    pieces = str(label).split(delimiter) if delimiter else [str(label)]
    return tuple(dict.fromkeys(piece.strip() for piece in pieces if piece.strip()))

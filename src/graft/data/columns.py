"""Which column of a table is the input, and which the label: by name, then by content, never in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from graft.contracts import Request
from graft.data.images import has_image_suffix
from graft.data.sounds import has_sound_suffix
from graft.errors import DataError, UnknownNameError

__all__ = ["Choice", "Column", "choose", "describe"]

Kind = Literal["words", "number", "path", "picture", "list", "empty", "other"]

_TARGETS = (
    ("label", "labels", "target", "targets", "class", "classes", "y"),
    ("category", "categories", "tag", "tags", "intent", "topic", "sentiment", "species", "outcome", "rating", "score"),
)
_TEXTS = (
    ("text", "texts", "sentence", "sentences", "review", "reviews", "message", "question", "docstring", "utterance"),
    ("content", "document", "comment", "tweet", "query", "body", "description", "abstract", "headline", "title"),
)
_IMAGES = ("image", "images", "image_path", "img", "img_path", "image_file", "photo", "picture")
_SOUNDS = ("audio", "sound", "sounds", "audio_path", "audio_file", "wav", "recording", "clip")
_FILES = (
    (*_IMAGES, *_SOUNDS),
    ("path", "paths", "file", "files", "filename", "file_name", "filepath", "file_path"),
)
_IDS = ("id", "idx", "index", "uuid", "row")
_OFTEN = 20
"""Rows a value, on average, from which even long words are names of classes and no text."""
_LOOK = 2000
"""Rows that are looked at to know what a column holds."""


@dataclass(frozen=True)
class Column:
    """What a column holds: its kind, how many cells hold something, how many differ, how long words are."""

    name: str
    kind: Kind
    filled: int
    distinct: int
    length: float = 0.0
    words: float = 0.0

    @property
    def repeats(self) -> bool:
        """Whether it has the look of a class: few values, each of which comes back."""
        return self.kind in ("words", "number") and 2 <= self.distinct <= min(1000, self.filled // 2)

    @property
    def prose(self) -> bool:
        """Whether it has the look of text: several words a cell, and cells that differ."""
        few = self.repeats and self.distinct * _OFTEN <= self.filled
        return self.kind == "words" and self.words >= 3 and self.length >= 15 and not few


@dataclass(frozen=True)
class Choice:
    """The columns that were chosen; ``features`` are the numbers and words of a table without text, image or sound."""

    input: str | None
    target: str | tuple[str, ...] | None
    features: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def describe(name: str, cells: pd.Series[Any], picture: bool = False) -> Column:
    """Look at a column; a picture column is one whose cells are images or sounds themselves."""
    known = cells.dropna()
    head = known.iloc[:_LOOK].tolist()
    if picture:
        return Column(name, "picture", len(cells), len(cells))
    if not head:
        return Column(name, "empty", 0, 0)
    if isinstance(cells.dtype, pd.CategoricalDtype):
        known = known.astype(object)
    if pd.api.types.is_numeric_dtype(known.dtype) and not pd.api.types.is_bool_dtype(known.dtype):
        return Column(name, "number", len(known), _distinct(known))
    if all(isinstance(cell, int | float | np.number) and not isinstance(cell, bool) for cell in head):
        return Column(name, "number", len(known), _distinct(known))
    if all(isinstance(cell, str | bool | np.bool_) for cell in head):
        words = [str(cell) for cell in head]
        kind: Kind = "path" if any(_most(words, each) for each in (has_image_suffix, has_sound_suffix)) else "words"
        length = sum(map(len, words)) / len(words)
        return Column(name, kind, len(known), _distinct(known), length, sum(len(w.split()) for w in words) / len(words))
    if all(isinstance(cell, list | tuple | set | np.ndarray) for cell in head):
        return Column(name, "list", len(known), len(known))
    return Column(name, "other", len(known), len(known))


def _most(words: Sequence[str], holds: Callable[[str], bool]) -> bool:
    return sum(map(holds, words)) * 2 > len(words)


def _distinct(cells: pd.Series[Any]) -> int:
    try:
        return int(cells.nunique())
    except TypeError:  # a list among words
        return len(cells)


def choose(
    columns: Sequence[Column], request: Request, origin: str, taken: Iterable[str] = (), labels_given: bool = False
) -> Choice:
    """Choose input and target.

    Parameters
    ----------
    columns
        All columns.
    request
        Names that override a guess, and whether a target is needed.
    origin
        What was read, for messages.
    taken
        Columns with another use (groups, the split).
    labels_given
        Whether labels came apart from the table, or stand in columns that are ``taken``.

    Raises
    ------
    UnknownNameError
        For a name that no column carries.
    DataError
        Where several columns fit as well, or none does.
    """
    by_name = {column.name: column for column in columns}
    asked = () if not request.labelled or labels_given else _several(request.target)
    for name in (*_several(request.input), *asked, *_several(request.confidence)):
        if name not in by_name:
            raise UnknownNameError("column", name, by_name)
    free = {name: column for name, column in by_name.items() if name not in set(taken)}
    target, notes = _target_by_name(free, request, origin, labels_given)
    free.pop(target or "", None)
    wanting = target is None and request.labelled and not labels_given
    chosen, found = _input(free, request, origin, wanting)
    notes += found
    if wanting:
        rest = [column for name, column in free.items() if name != chosen]
        target = _target_by_content(rest, origin)
        notes += (f"the label is column {target!r}, guessed from its content (--target names another).",)
        free.pop(target, None)
    if chosen is not None:
        return Choice(chosen, target, (), notes)
    features, left = _features(free)
    if not features:
        raise DataError(
            f"{origin} has no column of texts, images, sounds, numbers or classes to learn from (its columns: "
            f"{_listed(by_name)}); name one with --input."
        )
    if left:
        notes += (
            f"columns that hold neither measurements nor classes were left out: {_listed(left)} "
            "(--input names a text column).",
        )
    return Choice(None, target, features, notes)


def _several(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names or ()


def _target_by_name(
    free: dict[str, Column], request: Request, origin: str, labels_given: bool
) -> tuple[str | None, tuple[str, ...]]:
    if labels_given:
        return None, ()
    if isinstance(request.target, str):
        return (request.target if request.target in free else None), ()
    usable = {name: column for name, column in free.items() if name != request.input and column.kind != "picture"}
    # Beside x and z, y is a coordinate.
    if {"x", "z"} & {name.lower() for name in usable}:
        usable = {name: column for name, column in usable.items() if name.lower() != "y"}
    try:
        target = _named(usable.values(), _TARGETS, "the label", "--target", origin)
    except DataError:
        if request.labelled:
            raise
        return None, ()
    if target is None:
        return None, ()
    return target, (f"the label is column {target!r}, guessed from its name (--target names another).",)


def _target_by_content(rest: Sequence[Column], origin: str) -> str:
    rest = [column for column in rest if not _is_id(column)]
    lists = [column.name for column in rest if column.kind == "list"]
    fits = lists or [column.name for column in rest if column.repeats]
    if not fits:
        numbers = [column.name for column in rest if column.kind == "number"]
        fits = numbers or ([rest[0].name] if len(rest) == 1 and rest[0].kind == "words" else [])
    if not fits:
        raise DataError(
            f"{origin} has no column that looks like a label (columns left: "
            f"{_listed(column.name for column in rest) or 'none'}); name it with --target."
        )
    return _only(fits, "the label", "--target", origin)


def _input(free: dict[str, Column], request: Request, origin: str, wanting: bool) -> tuple[str | None, tuple[str, ...]]:
    """The column of texts, images or sounds; ``None`` for a table.  ``wanting``: a label is still to be found."""
    if request.input is not None:
        column = free.get(request.input)
        if column is None:
            raise DataError(f"column {request.input!r} of {origin} cannot be the input and the label or group too.")
        _refuse_numbers(column, origin)
        return column.name, ()
    if not free.keys().isdisjoint(request.columns):
        return None, ()
    pictures = [column for column in free.values() if column.kind in ("picture", "path")]
    prose = [column for column in free.values() if column.kind == "words"]
    held = _named(pictures, _FILES, "the image or sound", "--input", origin)
    text = _named(prose, _TEXTS, "the text", "--input", origin)
    named = [name for name in (held, text) if name is not None]
    if named:
        chosen = _only(named, "the input", "--input", origin)
        return chosen, (f"the input is column {chosen!r}, guessed from its name (--input names another).",)
    for column in free.values():
        if column.name.lower() in _TEXTS[0]:
            _refuse_numbers(column, origin)
    fits = [column.name for column in pictures] or [column.name for column in prose if column.prose]
    if not fits and not any(column.kind == "number" and not _is_id(column) for column in free.values()):
        short = [column for column in prose if not _is_id(column)]
        differ = [column.name for column in short if not column.repeats]
        fits = differ or [column.name for column in short]
        # One column of short words is read as text, several are a table; one of them may be the label.
        if len(fits) > 1 or len(short) - len(differ) - wanting >= 2:
            return None, ()
    if not fits:
        return None, ()
    chosen = _only(fits, "the input", "--input", origin)
    return chosen, (f"the input is column {chosen!r}, guessed from its content (--input names another).",)


def _refuse_numbers(column: Column, origin: str) -> None:
    if column.kind in ("number", "list", "other", "empty"):
        held = {"number": "numbers", "list": "lists", "empty": "nothing"}.get(
            column.kind, "neither texts nor images nor sounds"
        )
        raise DataError(
            f"column {column.name!r} of {origin} holds {held}; texts, or paths of images or sounds, were expected. "
            "Name the column to learn from with --input, or leave the column out to learn from numbers alone."
        )


def _features(free: dict[str, Column]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Numbers, and words that come back; in a small table without either, all words."""
    fits = {name: column for name, column in free.items() if not _is_id(column)}
    features = tuple(
        name for name, each in fits.items() if each.kind == "number" or (each.kind == "words" and each.repeats)
    )
    features = features or tuple(name for name, each in fits.items() if each.kind == "words")
    return features, tuple(name for name in free if name not in features)


def _named(
    columns: Iterable[Column], tiers: Sequence[Sequence[str]], what: str, option: str, origin: str
) -> str | None:
    """The column that carries a usual name; better names go first, and two as good are a tie."""
    names = [column.name for column in columns]
    for tier in tiers:
        fits = [name for name in names if name.strip().lower() in tier]
        if fits:
            return _only(fits, what, option, origin)
    return None


def _only(fits: Sequence[str], what: str, option: str, origin: str) -> str:
    if len(fits) > 1:
        raise DataError(f"{origin}: columns {_listed(fits)} could each be {what}; name one with {option}.")
    return fits[0]


def _is_id(column: Column) -> bool:
    name = column.name.lower()
    return name in _IDS or (name.endswith("_id") and not column.repeats)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(map(repr, names[:12])) + (", …" if len(names) > 12 else "")

"""What the columns of a table are, words as codes, and the way from one table's columns to another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from graft.contracts import Array
from graft.errors import DataError
from graft.wording import listed

__all__ = ["Schema", "Translation", "coded", "number_words"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Schema:
    """What the ``d`` columns of a table are.

    Parameters
    ----------
    names
        Of the columns; ``None`` where they are known by their place alone.
    words
        For each column ``None`` where it holds numbers, else its words: a cell holds the place of its
        word among them.  NaN is a missing cell of either kind.

    Examples
    --------
    >>> Schema(("size", "colour"), (None, ("blue", "red"))).width
    2
    """

    names: tuple[str, ...] | None
    words: tuple[tuple[str, ...] | None, ...]

    def __post_init__(self) -> None:
        if self.names is not None and len(self.names) != len(self.words):
            raise DataError(f"a table of {len(self.words)} columns came with {len(self.names)} column names.")

    @property
    def width(self) -> int:
        """``d``."""
        return len(self.words)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Places of the columns of numbers."""
        return tuple(place for place, words in enumerate(self.words) if words is None)

    @property
    def classes(self) -> tuple[int, ...]:
        """Places of the columns of words."""
        return tuple(place for place, words in enumerate(self.words) if words is not None)

    def document(self) -> dict[str, Any]:
        """As JSON; columns of numbers without names say nothing but how many they are."""
        named = {} if self.names is None else {"columns": list(self.names)}
        if not self.classes:
            return named
        return {**named, "words": [None if words is None else list(words) for words in self.words]}

    @classmethod
    def from_document(cls, held: Mapping[str, Any], width: int) -> Schema:
        """What :meth:`document` gave, of ``width`` columns.

        Raises
        ------
        ValueError
            Where it is damaged.
        """
        names, words = held.get("columns"), held.get("words", [None] * width)
        if names is not None and (len(names) != width or not all(isinstance(name, str) for name in names)):
            raise ValueError("the names of its columns do not fit")
        if len(words) != width or not all(
            each is None or all(isinstance(word, str) for word in each) for each in words
        ):
            raise ValueError("the words of its columns do not fit")
        return cls(
            None if names is None else tuple(names), tuple(None if each is None else tuple(each) for each in words)
        )


def coded(cells: Sequence[Any] | pd.Series[Any]) -> tuple[Floats, tuple[str, ...] | None]:
    """Cells ``(n,)`` → values, and the words that they stand for, sorted; ``None`` where they are numbers.

    True and False are the numbers 1 and 0.  Blank cells are missing.
    """
    plain = pd.Series(cells).reset_index(drop=True)
    if isinstance(plain.dtype, pd.CategoricalDtype):
        plain = plain.astype(object)
    known = plain.dropna()
    if pd.api.types.is_numeric_dtype(plain.dtype) or all(
        isinstance(cell, bool | np.bool_ | int | float | np.number) for cell in known
    ):
        values: Floats = np.full(len(plain), np.nan, np.float32)
        values[known.index.to_numpy()] = known.astype(np.float64).to_numpy()
        return values, None
    spoken = known.map(lambda cell: str(cell).strip())
    spoken = spoken[spoken != ""]
    words = sorted(set(spoken))
    places = {word: place for place, word in enumerate(words)}
    values = np.full(len(plain), np.nan, np.float32)
    values[spoken.index.to_numpy()] = spoken.map(places.__getitem__).to_numpy(np.float32)
    return values, tuple(words)


def number_words(values: Array) -> tuple[str, ...]:
    """How the distinct numbers among ``values`` are written as words, sorted: ``3``, ``0.5``."""
    known = np.unique(values[~np.isnan(values)]).astype(np.float32)
    return tuple(sorted(str(int(each)) if float(each).is_integer() else str(each) for each in known))


class Translation:
    """Rows of one table as rows of another: columns are found by name, words keep their meaning.

    A word that the other table does not have becomes NaN, and so does a column that this one lacks.
    Where one of the tables has no names, columns count by their place.

    Parameters
    ----------
    have, want
        The columns as they are, and as they are to be.

    Raises
    ------
    DataError
        Where columns count by their place, and are more or fewer.

    Examples
    --------
    >>> turn = Translation(Schema(("b", "a"), (("x", "y"), None)), Schema(("a", "b"), (None, ("y", "z"))))
    >>> turn(np.array([[1.0, 7.0], [0.0, 8.0]], np.float32)).tolist()
    [[7.0, 0.0], [8.0, nan]]
    """

    def __init__(self, have: Schema, want: Schema) -> None:
        self.have, self.want = have, want
        if have.names is None or want.names is None:
            if have.width != want.width:
                raise DataError(
                    f"a table of {have.width} columns without names was given; {_wanted(want)} were expected, "
                    "in this order."
                    if have.names is None
                    else f"a table of {have.width} columns was given; {_wanted(want)} were expected."
                )
            self._from: list[int | None] = list(range(want.width))
        else:
            places = {name: place for place, name in enumerate(have.names)}
            self._from = [places.get(name) for name in want.names]
        self._ways = [
            None if start is None else _way(have.words[start], words)
            for start, words in zip(self._from, want.words, strict=True)
        ]

    @property
    def shared(self) -> tuple[int, ...]:
        """Places of the wanted columns that are there."""
        return tuple(place for place, start in enumerate(self._from) if start is not None)

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the wanted columns that are not there."""
        names = self.want.names or ()
        return tuple(name for name, start in zip(names, self._from, strict=False) if start is None)

    def __call__(self, values: Array) -> Floats:
        """``(n, d)`` rows as they are → ``(n, d')`` rows as they are wanted."""
        found: Floats = np.full((len(values), self.want.width), np.nan, np.float32)
        for place, (start, way) in enumerate(zip(self._from, self._ways, strict=True)):
            if start is not None and way is not None:
                found[:, place] = way(values[:, start])
        return found

    def lost(self, before: Array, after: Array) -> tuple[str, ...]:
        """A sentence for each column with cells that mean nothing in the wanted one, and so count as missing."""
        told = []
        for place, start in enumerate(self._from):
            if start is None:
                continue
            gone = before[~np.isnan(before[:, start]) & np.isnan(after[:, place]), start]
            if not len(gone):
                continue
            words = self.have.words[start]
            seen = number_words(gone) if words is None else [words[int(code)] for code in np.unique(gone)]
            shown = ", ".join(map(repr, seen[:3])) + (", …" if len(seen) > 3 else "")
            name = repr(self.want.names[place]) if self.want.names else str(place + 1)
            told.append(f"{len(gone)} cells of column {name} are unknown ({shown}) and count as missing.")
        return tuple(told)


def _way(have: tuple[str, ...] | None, want: tuple[str, ...] | None) -> Callable[[Array], Array]:
    """Cells of one column → cells of another."""
    if have == want:
        return lambda cells: cells
    if have is not None:
        if want is None:
            meant = [_number(word) for word in have]
        else:
            places = {word: place for place, word in enumerate(want)}
            meant = [float(places.get(word, np.nan)) for word in have]
        table = np.array([*meant, np.nan], np.float32)
        return lambda cells: table[np.where(np.isnan(cells), len(have), cells).astype(np.int64)]
    assert want is not None
    numbers = np.array([_number(word) for word in want], np.float32)
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]

    def spoken(cells: Array) -> Array:
        near = np.minimum(np.searchsorted(numbers, cells), len(numbers) - 1)
        hit: Array = np.where(numbers[near] == cells, order[near], np.nan)
        return hit

    return spoken if len(numbers) else lambda cells: np.full(len(cells), np.nan, np.float32)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return np.nan


def _wanted(schema: Schema) -> str:
    if schema.names is None:
        return f"{schema.width} columns"
    return f"the {schema.width} columns {listed(schema.names, 20)}"

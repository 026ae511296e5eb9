"""Rows of a table."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from graft.contracts import Array
from graft.data.examples.views import Views, key
from graft.data.schema import Schema, Translation, coded, number_words
from graft.errors import DataError
from graft.wording import listed

__all__ = ["TableExamples", "join_tables"]


class TableExamples(Views):
    """Rows of numbers and of words; a missing cell is NaN.

    Parameters
    ----------
    values
        ``(n, d)`` numbers; in a column of words the place of each word among ``words``.
    names
        Where each row comes from; the default counts from 1.
    columns
        ``d`` names; ``None`` where the columns are known by their place alone.
    origin
        What was read, for a person.
    words
        For each column its words, or ``None`` where it holds numbers; ``None``: numbers alone.
    beside
        Cells ``(n,)`` of further columns by name, that are no features here; :meth:`conform` finds
        them where another table has them among its own.

    Raises
    ------
    DataError
        Where the numbers are no table, or not numbers.

    Examples
    --------
    >>> held = TableExamples([[2.0, 1.0]], columns=["size", "colour"], words=[None, ["blue", "red"]])
    >>> held.schema.words
    (None, ('blue', 'red'))
    """

    modality = "table"

    def __init__(
        self,
        values: Array,
        names: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        origin: str = "",
        words: Sequence[Sequence[str] | None] | None = None,
        beside: Mapping[str, Sequence[Any] | pd.Series[Any]] | None = None,
    ) -> None:
        values = np.asarray(values)
        if values.ndim != 2 or values.dtype.kind not in "biuf":
            raise DataError(
                f"a table of shape {values.shape} and dtype {values.dtype} was given; numbers in rows and columns "
                "(n, d) were expected: reshape or convert it."
            )
        super().__init__(len(values), names, origin)
        self._values = values.astype(np.float32, copy=False)
        self._beside = dict(beside or {})
        self.notes: tuple[str, ...] = ()
        """What :meth:`conform` could not take over."""
        width = values.shape[1]
        if columns is not None and len(columns) != width:
            raise DataError(f"a table of {width} columns came with {len(columns)} column names.")
        held = [None] * width if words is None else [None if each is None else tuple(each) for each in words]
        self.schema = Schema(None if columns is None else tuple(columns), tuple(held))
        """The columns: their names, and the words of those that hold words."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns; ``None`` where they are known by their place alone."""
        return self.schema.names

    def conform(self, schema: Schema, partly: bool = False) -> TableExamples:
        """The same rows in the columns of another table, by name; ``notes`` says which cells mean nothing there.

        Parameters
        ----------
        schema
            The columns that are wanted.  Where either side has no names, columns count by their place.
        partly
            Whether columns may be missing; their cells are.

        Raises
        ------
        DataError
            Where a column is missing, or columns without names are more or fewer, or none is there at all.
        """
        if schema == self.schema:
            return self
        whole = self._with_those_beside(schema)
        turn = Translation(whole.schema, schema)
        if turn.absent and not (partly and turn.shared):
            raise DataError(
                f"the table has no column {listed(turn.absent, 20)}; its columns are {listed(self.columns or (), 20)}. "
                "Add what is missing, or rename a column."
            )
        values = turn(whole._values)
        view = copy.copy(self)
        view._values, view.schema, view._beside = values, schema, {}
        told = turn.lost(whole._values[self._rows], values[self._rows])
        if turn.absent:
            told = (f"the table has no column {listed(turn.absent, 20)}; these count as missing.", *told)
        view.notes = told
        # Digests are of the values, and these are others.
        view._keys, view._known = np.zeros_like(self._keys), np.zeros_like(self._known)
        return view

    def offers(self, name: str) -> bool:
        """Whether a column of this name is here, as a feature or beside them."""
        return name in (self.columns or ()) or name in self._beside

    def __getitem__(self, row: int) -> npt.NDArray[np.float32]:
        values: npt.NDArray[np.float32] = self._values[int(self._rows[row])]
        return values

    def _with_those_beside(self, schema: Schema) -> TableExamples:
        """The table with the columns that are wanted and were no features."""
        wanted = [name for name in schema.names or () if name in self._beside and self.columns is not None]
        if not wanted:
            return self
        held = [coded(self._beside[name]) for name in wanted]
        wide = copy.copy(self)
        wide._values = np.column_stack([self._values, *(values for values, _ in held)])
        wide.schema = Schema((*(self.columns or ()), *wanted), (*self.schema.words, *(words for _, words in held)))
        return wide

    def _digest(self, stored: int) -> npt.NDArray[np.uint8]:
        values = self._values[stored]
        if not self.schema.classes:
            return key(values.tobytes())
        # Of the words themselves: another table may number them otherwise.
        spoken = [_word(self.schema.words[place], values[place]) for place in self.schema.classes]
        return key(values[list(self.schema.numbers)].tobytes(), json.dumps(spoken).encode())

    def _check(self, stored: int) -> str | None:
        self._remember(stored, self._digest(stored))
        return "it holds an infinite number" if np.isinf(self._values[stored]).any() else None


def _word(words: tuple[str, ...] | None, code: np.float32) -> str | None:
    return None if words is None or np.isnan(code) else words[int(code)]


def join_tables(parts: Sequence[TableExamples], learnt: Sequence[bool] | None = None) -> TableExamples:
    """Tables as one table, with the columns of the largest that is learnt from; words are known from all.

    Raises
    ------
    DataError
        Where their columns differ.
    """
    named = [part for part in parts if part.columns is not None]
    leads = [part for part, each in zip(parts, learnt or [], strict=False) if each and part in named]
    leader = max(leads or named, key=len, default=parts[0])
    odd = _odd_columns(parts, leader)
    widths = list(dict.fromkeys(part.schema.width for part in parts))
    if odd or (len(widths) > 1 and any(part.columns is None for part in parts)):
        told = listed(odd, 20) if odd else f"{' and '.join(map(str, widths))} of them"
        raise DataError(f"the tables have different columns ({told}); make them alike.")
    schema = _merged(parts, leader)
    alike = [part.conform(schema) for part in parts]
    joined = TableExamples(
        np.concatenate([part._values[part._rows] for part in alike]),
        [part.name(row) for part in alike for row in range(len(part))],
        schema.names,
        words=schema.words,
    )
    joined.notes = tuple(dict.fromkeys(note for part in alike for note in part.notes))
    return joined


def _odd_columns(parts: Sequence[TableExamples], leader: TableExamples) -> list[str]:
    """Columns that some table has and another cannot offer."""
    odd: set[str] = set()
    for part in parts:
        if leader.columns is not None and part.columns is not None:
            odd |= {name for name in leader.columns if not part.offers(name)}
            odd |= {name for name in part.columns if not leader.offers(name)}
    return sorted(odd)


def _merged(parts: Sequence[TableExamples], leader: TableExamples) -> Schema:
    """The leader's columns; its columns of words know those of the other tables too."""
    if all(part.schema == leader.schema for part in parts):
        return leader.schema
    words = [None if each is None else set(each) for each in leader.schema.words]
    for part in parts:
        names = leader.schema.names if part.columns is not None else None
        whole = part._with_those_beside(leader.schema)
        for place, known in enumerate(words):
            if known is None:
                continue
            at = place if names is None or whole.columns is None else whole.columns.index(names[place])
            theirs = whole.schema.words[at]
            known |= set(number_words(whole._values[:, at]) if theirs is None else theirs)
    return Schema(leader.schema.names, tuple(None if each is None else tuple(sorted(each)) for each in words))

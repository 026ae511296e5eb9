"""Rows of a table."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from graft.contracts import Array
from graft.data.examples.views import Views, key
from graft.errors import DataError

__all__ = ["TableExamples", "join_tables"]


class TableExamples(Views):
    """Rows of numbers; a missing number is NaN.

    Parameters
    ----------
    values
        ``(n, d)`` numbers.
    names
        Where each row comes from; the default counts from 1.
    columns
        ``d`` names; ``None`` where the columns are known by their place alone.
    origin
        What was read, for a person.

    Raises
    ------
    DataError
        Where the numbers are no table, or not numbers.
    """

    modality = "table"

    def __init__(
        self, values: Array, names: Sequence[str] | None = None, columns: Sequence[str] | None = None, origin: str = ""
    ) -> None:
        values = np.asarray(values)
        if values.ndim != 2 or values.dtype.kind not in "biuf":
            raise DataError(
                f"a table of shape {values.shape} and dtype {values.dtype} was given; numbers in rows and columns "
                "(n, d) were expected: reshape or convert it."
            )
        super().__init__(len(values), names, origin)
        self._values = values.astype(np.float32, copy=False)
        self.columns = None if columns is None else tuple(columns)
        if self.columns is not None and len(self.columns) != values.shape[1]:
            raise DataError(f"a table of {values.shape[1]} columns came with {len(self.columns)} column names.")

    def select(self, columns: Sequence[str]) -> TableExamples:
        """The columns of these names, in this order; columns without names count by their place.

        Raises
        ------
        DataError
            Where a column is missing, or columns without names are more or fewer.
        """
        columns = tuple(columns)
        width = self._values.shape[1]
        if self.columns is None:
            if len(columns) != width:
                raise DataError(
                    f"a table of {width} columns without names was given; the {len(columns)} columns "
                    f"{_listed(columns)} were expected, in this order."
                )
            return self
        if columns == self.columns:
            return self
        if absent := [name for name in columns if name not in self.columns]:
            raise DataError(
                f"the table has no column {_listed(absent)}; its columns are {_listed(self.columns)}. "
                "Add what is missing, or rename a column."
            )
        view = copy.copy(self)
        view._values = self._values[:, [self.columns.index(name) for name in columns]]
        view.columns = columns
        # Digests are of the values, and these are others.
        view._keys, view._known = np.zeros_like(self._keys), np.zeros_like(self._known)
        return view

    def __getitem__(self, row: int) -> npt.NDArray[np.float32]:
        values: npt.NDArray[np.float32] = self._values[int(self._rows[row])]
        return values

    def _digest(self, stored: int) -> npt.NDArray[np.uint8]:
        return key(self._values[stored].tobytes())

    def _check(self, stored: int) -> str | None:
        self._remember(stored, self._digest(stored))
        return "it holds an infinite number" if np.isinf(self._values[stored]).any() else None


def join_tables(parts: Sequence[TableExamples]) -> TableExamples:
    """Tables as one table, whose columns are in the order of the first that names them.

    Raises
    ------
    DataError
        Where their columns differ.
    """
    named = [part.columns for part in parts if part.columns is not None]
    odd = sorted(set().union(*named) - set(named[0]).intersection(*named)) if named else []
    widths = list(dict.fromkeys(part._values.shape[1] for part in parts))
    if odd or len(widths) > 1:
        told = _listed(odd) if odd else f"{' and '.join(map(str, widths))} of them"
        raise DataError(f"the tables have different columns ({told}); make them alike.")
    parts = [part.select(named[0]) for part in parts] if named else parts
    return TableExamples(
        np.concatenate([part._values[part._rows] for part in parts]),
        [part.name(row) for part in parts for row in range(len(part))],
        named[0] if named else None,
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")

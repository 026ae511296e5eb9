"""Examples of one modality end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.contracts import Examples
from graft.data.examples.table import TableExamples, join_tables
from graft.data.examples.views import KEY_BYTES
from graft.errors import DataError

__all__ = ["join"]


class _Joined:
    """Examples of one modality end to end."""

    def __init__(self, parts: Sequence[Examples], rows: npt.NDArray[np.int64] | None = None) -> None:
        self.modality = parts[0].modality
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self._rows = np.arange(self._starts[-1]) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Any:
        return self._at(row, lambda part, inner: part[inner])

    def name(self, row: int) -> str:
        return str(self._at(row, lambda part, inner: part.name(inner)))

    def check(self, row: int) -> str | None:
        reason: str | None = self._at(row, lambda part, inner: getattr(part, "check", lambda _: None)(inner))
        return reason

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        return _Joined(self._parts, self._rows[np.asarray(rows, dtype=np.int64)])

    def keys(self) -> npt.NDArray[np.uint8]:
        found = np.zeros((len(self), KEY_BYTES), np.uint8)
        owner = np.searchsorted(self._starts, self._rows, side="right") - 1
        for place, part in enumerate(self._parts):
            mine = np.flatnonzero(owner == place)
            if len(mine):
                found[mine] = part.take(self._rows[mine] - self._starts[place]).keys()
        return found

    def _at(self, row: int, look: Callable[[Examples, int], Any]) -> Any:
        stored = int(self._rows[row])
        place = int(np.searchsorted(self._starts, stored, side="right")) - 1
        return look(self._parts[place], stored - int(self._starts[place]))


def join(parts: Sequence[Examples], learnt: Sequence[bool] | None = None) -> Examples:
    """Examples of one modality end to end, in order; they keep their names and digests.

    Parameters
    ----------
    learnt
        Which parts are learnt from: what others hold does not decide the columns of a table.  ``None``: all.

    Raises
    ------
    DataError
        Where they are of different modalities, or tables of different columns.
    """
    modalities = list(dict.fromkeys(part.modality for part in parts))
    if len(modalities) != 1:
        raise DataError(f"rows of {' and '.join(modalities) or 'nothing'} cannot be joined; give rows of one kind.")
    if len(parts) == 1:
        return parts[0]
    tables = [part for part in parts if isinstance(part, TableExamples)]
    return join_tables(tables, learnt) if len(tables) == len(parts) else _Joined(parts)

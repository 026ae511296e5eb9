"""What rows of all modalities share: views of one storage, names, and digests that are computed once.

There is no object for a row: a view is an index of the rows that it shows, and all views of a
storage share one array of digests.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
import numpy.typing as npt

from graft.errors import BadRowsError, DataError

__all__ = ["KEY_BYTES", "Views", "key"]

KEY_BYTES = 16
"""Length of a row's digest."""


def key(*parts: bytes) -> npt.NDArray[np.uint8]:
    """The digest of bytes: ``(16,)``."""
    hasher = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in parts:
        hasher.update(part)
    return np.frombuffer(hasher.digest(), np.uint8)


class Views:
    """Views of ``n`` stored rows: an index, the names, and the digests that all views share."""

    def __init__(self, count: int, names: Sequence[str] | None, origin: str) -> None:
        if names is not None and len(names) != count:
            raise DataError(f"{count} rows came with {len(names)} names; give one name a row.")
        self._rows = np.arange(count)
        self._names = names
        self._origin = origin
        self._keys = np.zeros((count, KEY_BYTES), np.uint8)
        self._known = np.zeros(count, np.bool_)

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, row: int) -> str:
        """Where the row comes from, for a person."""
        return self._name(int(self._rows[row]))

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        """The given rows as a view that shares storage and digests."""
        view = copy.copy(self)
        view._rows = self._rows[np.asarray(rows, dtype=np.int64)]
        return view

    def keys(self) -> npt.NDArray[np.uint8]:
        """``(n, 16)`` digests; each is computed once for all views.

        Raises
        ------
        BadRowsError
            For rows whose bytes cannot be read.
        """
        missing = np.unique(self._rows[~self._known[self._rows]])
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            chunks = [missing[start : start + 256] for start in range(0, len(missing), 256)]
            bad = [fault for faults in pool.map(self._fill, chunks) for fault in faults]
        if bad:
            raise BadRowsError(bad)
        return self._keys[self._rows]

    def check(self, row: int) -> str | None:
        """Why the row cannot be used, or ``None``; its digest is kept from the same bytes."""
        return self._check(int(self._rows[row]))

    def _fill(self, stored_rows: npt.NDArray[np.int64]) -> list[tuple[str, str]]:
        faults = []
        for stored in stored_rows.tolist():
            try:
                self._remember(stored, self._digest(stored))
            except ValueError as exc:
                faults.append((self._name(stored), str(exc)))
        return faults

    def _remember(self, stored: int, key: npt.NDArray[np.uint8]) -> None:
        self._keys[stored] = key
        self._known[stored] = True

    def _name(self, stored: int) -> str:
        if self._names is not None:
            return str(self._names[stored])
        return f"{self._origin} row {stored + 1}".strip()

    def _digest(self, stored: int) -> npt.NDArray[np.uint8]:
        raise NotImplementedError

    def _check(self, stored: int) -> str | None:
        raise NotImplementedError

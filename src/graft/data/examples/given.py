"""What a caller gave for each row that is a file: a path below a root, the file's bytes, or the value itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.data.examples.views import key
from graft.data.files import read_row_file

__all__ = ["Given"]


class Given:
    """Rows as they were given, each opened when it is asked for.

    Parameters
    ----------
    items
        Paths, encoded files (``bytes``) or values, mixed at will.
    root
        The folder that relative paths start from.
    opened
        A path, an encoded file or a value → the row; ``ValueError`` says why it cannot be.
    checked
        An encoded file → why it cannot be opened, or ``None``.
    digest
        A value → the digest of what it shows.
    """

    def __init__(
        self,
        items: Sequence[Any],
        root: str | Path | None,
        opened: Callable[[Any], Any],
        checked: Callable[[bytes], str | None],
        digest: Callable[[Any], npt.NDArray[np.uint8]],
    ) -> None:
        self.items = items
        self.root = "" if root is None else str(root)
        self.opened = opened
        self.checked = checked
        self.digest = digest

    def open(self, stored: int) -> Any:
        """The row; raises ``ValueError`` with the reason where it cannot be read."""
        return self.opened(self._source(stored))

    def path(self, stored: int) -> str | None:
        """The path as it was given, where one was."""
        item = self.items[stored]
        return str(item) if isinstance(item, str | Path) and str(item) else None

    def key(self, stored: int) -> npt.NDArray[np.uint8]:
        """The digest of the row: of its file's bytes, or of what its value shows."""
        item = self._source(stored)
        raw = _bytes(item)
        return self.digest(item) if raw is None else key(raw)

    def check(self, stored: int) -> tuple[npt.NDArray[np.uint8] | None, str | None]:
        """Digest and fault of the row, from the same bytes; ``None`` for what there is none of."""
        found = None
        try:
            item = self._source(stored)
            raw = _bytes(item)
            found = self.digest(item) if raw is None else key(raw)
            if raw is not None:
                return found, self.checked(raw)
            self.opened(item)
        except ValueError as exc:
            return found, str(exc)
        return found, None

    def _source(self, stored: int) -> Any:
        item = self.items[stored]
        if isinstance(item, str | Path):
            if not str(item):
                raise ValueError("no path is given")
            return os.path.join(self.root, item)
        return item


def _bytes(item: Any) -> bytes | None:
    if isinstance(item, str):
        return read_row_file(item)
    return item if isinstance(item, bytes) else None

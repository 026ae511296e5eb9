"""Rows of each modality, read when they are asked for; parts of a dataset are views of it.

Every class holds what its caller gave, an index of the rows that this view shows, and one array of
digests that all views share; there is no object for a row.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from graft.contracts import Array, Examples
from graft.data.files import read_row_file
from graft.data.images import check_image, open_image
from graft.errors import BadRowsError, DataError

__all__ = ["ImageExamples", "Picture", "TableExamples", "TextExamples", "join"]

Picture = str | Path | bytes | Image.Image | Array
"""What one image may be given as: a path, an encoded file, a Pillow image, a uint8 array."""

_KEY_BYTES = 16


def _key(*parts: bytes) -> npt.NDArray[np.uint8]:
    hasher = hashlib.blake2b(digest_size=_KEY_BYTES)
    for part in parts:
        hasher.update(part)
    return np.frombuffer(hasher.digest(), np.uint8)


class _Rows:
    """Views of ``n`` stored rows: an index, the names, and the digests that all views share."""

    def __init__(self, count: int, names: Sequence[str] | None, origin: str) -> None:
        if names is not None and len(names) != count:
            raise DataError(f"{count} rows came with {len(names)} names; give one name a row.")
        self._rows = np.arange(count)
        self._names = names
        self._origin = origin
        self._keys = np.zeros((count, _KEY_BYTES), np.uint8)
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


class TextExamples(_Rows):
    """Texts.

    Parameters
    ----------
    texts
        ``n`` strings.
    names
        Where each comes from; the default counts the rows of ``origin`` from 1.
    origin
        What was read, for a person: ``train.csv``.

    Raises
    ------
    DataError
        Where a row is no string.

    Examples
    --------
    >>> TextExamples(["a card", "a loan"], origin="train.csv").name(1)
    'train.csv row 2'
    """

    modality = "text"

    def __init__(self, texts: Sequence[str], names: Sequence[str] | None = None, origin: str = "") -> None:
        super().__init__(len(texts), names, origin)
        self._texts = texts
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(
                    f"{self._name(row)} is of type {type(text).__name__}: {text!r:.60}; a text (str) was expected. "
                    "Convert it, or give numbers as an array of rows and columns."
                )

    def __getitem__(self, row: int) -> str:
        return self._texts[int(self._rows[row])]

    def _digest(self, stored: int) -> npt.NDArray[np.uint8]:
        # A lone surrogate is no UTF-8, yet it is content: two such texts differ.
        return _key(self._texts[stored].encode("utf-8", "surrogatepass"))

    def _check(self, stored: int) -> str | None:
        self._remember(stored, self._digest(stored))
        return None if self._texts[stored].strip() else "the text is empty"


class ImageExamples(_Rows):
    """Images; each is read and decoded when its row is asked for.

    Parameters
    ----------
    images
        Paths, encoded files (``bytes``), Pillow images or uint8 arrays ``(h, w, 3)``, mixed at will.
    names
        Where each comes from; the default is its path, else its number.
    root
        The folder that relative paths start from.
    origin
        What was read, for a person.
    """

    modality = "image"

    def __init__(
        self,
        images: Sequence[Picture],
        names: Sequence[str] | None = None,
        root: str | Path | None = None,
        origin: str = "images",
    ) -> None:
        super().__init__(len(images), names, origin)
        self._images = images
        self._root = "" if root is None else str(root)

    def __getitem__(self, row: int) -> Image.Image:
        stored = int(self._rows[row])
        try:
            return open_image(self._source(stored))
        except ValueError as exc:
            raise BadRowsError([(self._name(stored), str(exc))]) from exc

    def _source(self, stored: int) -> str | bytes | Image.Image | Array:
        image = self._images[stored]
        if isinstance(image, str | Path):
            if not str(image):
                raise ValueError("no path is given")
            return os.path.join(self._root, image)
        return image

    def _name(self, stored: int) -> str:
        image = self._images[stored] if self._names is None else ""
        return str(image) if isinstance(image, str | Path) and str(image) else super()._name(stored)

    def _digest(self, stored: int) -> npt.NDArray[np.uint8]:
        image = self._source(stored)
        if isinstance(image, str):
            return _key(read_row_file(image))
        if isinstance(image, bytes):
            return _key(image)
        if isinstance(image, Image.Image):
            # What is seen: the pixels' bytes alone lack the palette and the orientation.
            seen = open_image(image)
            return _key(f"{seen.size} ".encode(), seen.tobytes())
        return _key(f"{image.dtype} {image.shape} ".encode(), image.tobytes())

    def _check(self, stored: int) -> str | None:
        try:
            image = self._source(stored)
            if isinstance(image, str | bytes):
                raw = read_row_file(image) if isinstance(image, str) else image
                self._remember(stored, _key(raw))
                return check_image(raw)
            self._remember(stored, self._digest(stored))
            open_image(image)
        except ValueError as exc:
            return str(exc)
        return None


class TableExamples(_Rows):
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
        return _key(self._values[stored].tobytes())

    def _check(self, stored: int) -> str | None:
        self._remember(stored, self._digest(stored))
        return "it holds an infinite number" if np.isinf(self._values[stored]).any() else None


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
        found = np.zeros((len(self), _KEY_BYTES), np.uint8)
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


def join(parts: Sequence[Examples]) -> Examples:
    """Examples of one modality end to end, in order; they keep their names and digests.

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
    return _joined_tables(tables) if len(tables) == len(parts) else _Joined(parts)


def _joined_tables(parts: Sequence[TableExamples]) -> TableExamples:
    """Tables as one table, whose columns are in the order of the first that names them."""
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

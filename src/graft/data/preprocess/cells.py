"""Rows of a table to what a network of columns takes: numbers of one scale, and codes of words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtri
from torch import Tensor

from graft.contracts import Array
from graft.data.schema import Schema, Translation
from graft.errors import BundleError, DataError

__all__ = ["CellPreprocess", "ConformPreprocess", "Scaling"]

Scaling = Literal["deviation", "quantile"]

_FILE = "cells.json"
_CONFORM = "conform.json"
_INNER = "fitted/"
"""Before the name of a conforming inside another one."""
_KNOTS = 257
_EDGE = 1e-4
"""How near to 0 and 1 a rank may come: an outlier is at most 3.7 deviations away."""

Item = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.bool_]]


class CellPreprocess:
    """From rows ``(d,)`` to batches of ``numbers`` ``(n, m)``, ``codes`` ``(n, k)`` and ``known`` ``(n, m + k)``.

    Numbers are brought to mean 0 and deviation 1, or to the normal score of their rank; a missing
    one becomes the column's median.  Codes count the words that the training rows have from 1, on
    from one column to the next; 0 is a word that is missing or was not there.  ``known`` says which
    cells hold something.

    Parameters
    ----------
    schema
        The columns of the rows.
    knots
        ``(q, m)``: the training rows' values at equal steps of rank; ``None`` scales by mean and deviation.
    median, mean, scale
        ``(m,)`` each.
    seen
        For each column of words the codes, among the schema's words, that the training rows have.
    """

    def __init__(
        self,
        schema: Schema,
        median: Array,
        mean: Array,
        scale: Array,
        seen: Sequence[Sequence[int]],
        knots: Array | None = None,
    ) -> None:
        self.schema = schema
        self.median, self.mean, self.scale = (np.asarray(each, np.float32) for each in (median, mean, scale))
        self.seen = tuple(map(tuple, seen))
        self.knots = None if knots is None else np.asarray(knots, np.float32)
        self._numbers, self._classes = list(schema.numbers), list(schema.classes)
        self._codes: list[npt.NDArray[np.int64]] = []
        start = 1
        for place, codes in zip(self._classes, self.seen, strict=True):
            table = np.zeros(len(schema.words[place] or ()) + 1, np.int64)
            table[list(codes)] = np.arange(start, start + len(codes))
            self._codes.append(table)
            start += len(codes)

    @property
    def words(self) -> tuple[int, ...]:
        """How many words each column of words has a code for."""
        return tuple(map(len, self.seen))

    @classmethod
    def learn(cls, values: Array, schema: Schema, scaling: Scaling = "deviation") -> CellPreprocess:
        """Take medians, scales and words from rows ``(n, d)``.

        A column of nothing but gaps counts as zeros; a constant one keeps its scale.

        Raises
        ------
        DataError
            For a number that is infinite.
        """
        values = np.asarray(values, np.float64)
        _refuse_infinite(values)
        seen = []
        for place in schema.classes:
            codes = values[:, place]
            seen.append(np.unique(codes[~np.isnan(codes)]).astype(int).tolist())
        numbers = values[:, list(schema.numbers)]
        return cls(
            schema, *_scales(numbers), seen, _knots(numbers) if scaling == "quantile" and schema.numbers else None
        )

    def rescaled(self, values: Array) -> CellPreprocess:
        """The same with medians and scales of other rows ``(n, d)``; columns without a number there keep theirs."""
        _refuse_infinite(values := np.asarray(values, np.float64))
        numbers = values[:, self._numbers]
        empty = np.isnan(numbers).all(axis=0)
        median, mean, scale = (
            np.where(empty, old, new)
            for old, new in zip((self.median, self.mean, self.scale), _scales(numbers), strict=True)
        )
        knots = None if self.knots is None else np.where(empty, self.knots, _knots(numbers))
        return CellPreprocess(self.schema, median, mean, scale, self.seen, knots)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> CellPreprocess:
        """The preprocessing that ``files()`` described.

        Raises
        ------
        BundleError
            Where the description is absent or damaged.
        """
        try:
            held = json.loads(files[_FILE])
            schema = Schema.from_document(held, int(held["width"]))
            median, mean, scale = (np.array(held[name], np.float32) for name in ("median", "mean", "scale"))
            knots = held["knots"] if held["knots"] is None else np.array(held["knots"], np.float32)
            alike = {part.shape for part in (median, mean, scale)} == {(len(schema.numbers),)}
            if not alike or not (scale > 0).all():
                raise ValueError("its columns of numbers do not fit")
            if knots is not None and (knots.ndim != 2 or knots.shape[1] != len(schema.numbers) or len(knots) < 2):
                raise ValueError("its ranks do not fit")
            counts = [len(schema.words[place] or ()) for place in schema.classes]
            for count, codes in zip(counts, held["seen"], strict=True):
                if len(set(codes)) != len(codes) or not all(isinstance(c, int) and 0 <= c < count for c in codes):
                    raise ValueError("the words that it saw do not fit")
            return cls(schema, median, mean, scale, held["seen"], knots)
        except (DataError, KeyError, TypeError, ValueError) as exc:
            raise BundleError(
                f"{_FILE} of the saved model is absent or damaged ({exc}); save the model again, or copy it whole."
            ) from exc

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Item]:
        """Numbers, codes and what is known of each row; there is no training form.

        Raises
        ------
        DataError
            For a row of another width, or with an infinite number.
        """
        shaped = [np.asarray(row, np.float32) for row in rows]
        if odd := [row.size for row in shaped if row.shape != (self.schema.width,)]:
            raise DataError(
                f"a row has {odd[0]} columns, and {self.schema.width} were learnt from; give the same columns."
            )
        values = np.stack(shaped)
        _refuse_infinite(values)
        known = ~np.isnan(values)
        numbers = self._scaled(values[:, self._numbers])
        codes = np.zeros((len(values), len(self._classes)), np.int64)
        for place, (column, table) in enumerate(zip(self._classes, self._codes, strict=True)):
            cells = values[:, column]
            codes[:, place] = table[np.where(np.isnan(cells), len(table) - 1, cells).astype(np.int64)]
        known = np.concatenate([known[:, self._numbers], codes > 0], axis=1)
        return list(zip(numbers, codes, known, strict=True))

    def _scaled(self, numbers: Array) -> npt.NDArray[np.float32]:
        filled = np.where(np.isnan(numbers), self.median, numbers)
        if self.knots is None:
            scaled: Array = (filled - self.mean) / self.scale
            return scaled.astype(np.float32, copy=False)
        steps = np.linspace(0, 1, len(self.knots))
        found = np.empty(filled.shape)
        for place in range(filled.shape[1]):
            knots, cells = self.knots[:, place], filled[:, place]
            # the middle of the ranks, where several share a value
            below, above = np.interp(cells, knots, steps), -np.interp(-cells, -knots[::-1], -steps[::-1])
            found[:, place] = ndtri(np.clip((below + above) / 2, _EDGE, 1 - _EDGE))
        return found.astype(np.float32)

    def cost(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        parts = [torch.from_numpy(np.stack(part)) for part in zip(*items, strict=True)]
        return dict(zip(("numbers", "codes", "known"), parts, strict=True))

    def files(self) -> dict[str, bytes]:
        # the shortest decimals that give the same float32 again
        parts = {name: [float(str(each)) for each in getattr(self, name)] for name in ("median", "mean", "scale")}
        knots = None if self.knots is None else [[float(str(each)) for each in row] for row in self.knots]
        held = {"width": self.schema.width, **self.schema.document(), **parts, "seen": self.seen, "knots": knots}
        return {_FILE: json.dumps(held).encode()}


class ConformPreprocess:
    """Rows of one table as those of another, for which a preprocessing was made; columns are found by name.

    Parameters
    ----------
    inner
        The preprocessing; it has a ``schema``.
    schema
        The columns of the rows that come in.
    """

    def __init__(self, inner: Any, schema: Schema) -> None:
        self.inner, self.schema = inner, schema
        self.turn = Translation(schema, inner.schema)

    @classmethod
    def from_files(cls, inner: Any, files: Mapping[str, bytes]) -> ConformPreprocess | None:
        """The one that ``files()`` described, around ``inner``; ``None`` where there was none.

        Raises
        ------
        BundleError
            Where the description is damaged.
        """
        if _CONFORM not in files:
            return None
        try:
            held = json.loads(files[_CONFORM])
            return cls(inner, Schema.from_document(held, int(held["width"])))
        except (AttributeError, DataError, KeyError, TypeError, ValueError) as exc:
            raise BundleError(
                f"{_CONFORM} of the saved model is damaged ({exc}); save the model again, or copy it whole."
            ) from exc

    def rescaled(self, values: Array) -> ConformPreprocess:
        """The same with medians and scales of other rows ``(n, d)``, as they come in."""
        return ConformPreprocess(self.inner.rescaled(self.turn(values)), self.schema)

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        """Items of the rows, in the columns of the inner preprocessing.

        Raises
        ------
        DataError
            For a row of another width.
        """
        shaped = [np.asarray(row, np.float32) for row in rows]
        if odd := [row.size for row in shaped if row.shape != (self.schema.width,)]:
            raise DataError(
                f"a row has {odd[0]} columns, and {self.schema.width} were learnt from; give the same columns."
            )
        items: list[Any] = self.inner.items(list(self.turn(np.stack(shaped))), seeds)
        return items

    def cost(self, item: Any) -> int:
        weight: int = self.inner.cost(item)
        return weight

    def collate(self, items: Sequence[Any]) -> Any:
        return self.inner.collate(items)

    def files(self) -> dict[str, bytes]:
        held = {"width": self.schema.width, **self.schema.document()}
        inner = {f"{_INNER}{name}" if _CONFORM in name else name: raw for name, raw in self.inner.files().items()}
        return {**inner, _CONFORM: json.dumps(held).encode()}


def _refuse_infinite(values: Array) -> None:
    if (endless := np.argwhere(np.isinf(values))).size:
        row, column = endless[0]
        raise DataError(f"row {row} holds an infinite number in column {column}; write a finite one or leave it out.")


def _scales(numbers: Array) -> tuple[Array, Array, Array]:
    """Median, mean and deviation of the columns ``(n, m)``, gaps filled by the median."""
    numbers = np.where(np.isnan(numbers).all(axis=0), 0.0, numbers)
    median = np.nanmedian(numbers, axis=0).astype(np.float32)
    filled = np.where(np.isnan(numbers), median, numbers)
    scale = filled.std(axis=0)
    # a constant's deviation is rounding noise of its size; dividing by that would blow noise up
    flat = scale <= 1e-7 * np.abs(filled).max(axis=0, initial=0)
    return median, filled.mean(axis=0), np.where(flat, 1.0, scale)


def _knots(numbers: Array) -> Array:
    """``(q, m)``: the values at equal steps of rank."""
    numbers = np.where(np.isnan(numbers).all(axis=0), 0.0, numbers)
    found: Array = np.nanquantile(numbers, np.linspace(0, 1, min(_KNOTS, max(2, len(numbers)))), axis=0)
    return found.astype(np.float32)

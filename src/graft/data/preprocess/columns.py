"""Rows of a table to rows of one scale, with the gaps filled and a place for every word."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graft.contracts import Array
from graft.data.schema import Schema
from graft.errors import BundleError, DataError

__all__ = ["ColumnPreprocess"]

_FILE = "columns.json"


class ColumnPreprocess:
    """From rows ``(d,)`` to batches ``(n, k)``: numbers of mean 0 and deviation 1, then a place for every word.

    A missing number becomes the column's median.  A word's place holds 1 where a row has the word; a
    word that is missing, or that the training rows did not have, leaves all places at 0.

    Parameters
    ----------
    median, mean, scale
        One entry a column of numbers: what fills a gap, what is taken off, and what is divided by.
    schema
        The columns of the rows; ``None``: numbers without names.
    seen
        For each column of words the codes that the training rows have; ``None``: all of them.
    """

    def __init__(
        self,
        median: Array,
        mean: Array,
        scale: Array,
        schema: Schema | None = None,
        seen: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.median, self.mean, self.scale = (np.asarray(each, dtype=np.float32) for each in (median, mean, scale))
        self.schema = Schema(None, (None,) * len(self.mean)) if schema is None else schema
        counts = [len(self.schema.words[place] or ()) for place in self.schema.classes]
        self.seen = tuple(map(tuple, [range(count) for count in counts] if seen is None else seen))
        self._numbers, self._classes = list(self.schema.numbers), list(self.schema.classes)
        start = len(self._numbers)
        self._places: list[Array] = []
        for count, codes in zip(counts, self.seen, strict=True):
            places = np.full(count + 1, -1)
            places[list(codes)] = np.arange(start, start + len(codes))
            self._places.append(places)
            start += len(codes)
        self.dim = start

    @classmethod
    def learn(cls, values: Array, schema: Schema | None = None) -> ColumnPreprocess:
        """Take median, mean and deviation, and the words that occur, from rows ``(n, d)``.

        A column of nothing but gaps counts as zeros; a constant one keeps its scale.

        Raises
        ------
        DataError
            For a number that is infinite.
        """
        values = np.array(values, dtype=np.float64)
        if (endless := np.argwhere(np.isinf(values))).size:
            row, column = endless[0]
            raise DataError(
                f"row {row} holds an infinite number in column {column}; write a finite one or leave it out."
            )
        seen = None
        if schema is not None and schema.classes:
            words = values[:, list(schema.classes)].T
            seen = [np.unique(codes[~np.isnan(codes)]).astype(int).tolist() for codes in words]
            values = values[:, list(schema.numbers)]
        values[:, np.isnan(values).all(axis=0)] = 0.0
        median = np.nanmedian(values, axis=0).astype(np.float32)
        values = np.where(np.isnan(values), median, values)
        scale = values.std(axis=0)
        # a constant's deviation is rounding noise of its size; dividing by that would blow noise up
        flat = scale <= 1e-7 * np.abs(values).max(axis=0)
        return cls(median, values.mean(axis=0), np.where(flat, 1.0, scale), schema, seen)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> ColumnPreprocess:
        """The preprocessing that ``files()`` described.

        Raises
        ------
        BundleError
            Where the description is absent or damaged.
        """
        try:
            held = json.loads(files[_FILE])
            parts = [np.array(held[name], dtype=np.float32) for name in ("median", "mean", "scale")]
            if len({part.shape for part in parts}) > 1 or parts[0].ndim != 1 or not (parts[2] > 0).all():
                raise ValueError("its columns do not fit together")
            schema = Schema.from_document(held, len(held.get("words", parts[0])))
            if len(schema.numbers) != len(parts[0]):
                raise ValueError("its columns do not fit together")
            return cls(parts[0], parts[1], parts[2], schema, _checked(held.get("seen", []), schema))
        except (DataError, KeyError, TypeError, ValueError) as exc:
            raise BundleError(
                f"{_FILE} of the saved model is absent or damaged ({exc}); save the model again, or copy it whole."
            ) from exc

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Array]:
        """Scaled rows ``(k,)``; there is no training form.

        Raises
        ------
        DataError
            For a row of another width, or with an infinite number.
        """
        shaped = []
        for row in rows:
            values = np.asarray(row, dtype=np.float32)
            if values.shape != (self.schema.width,):
                raise DataError(
                    f"a row has {values.size} columns, and {self.schema.width} were learnt from; give the same columns."
                )
            if np.isinf(values).any():
                raise DataError(
                    f"a row holds an infinite number in column {np.flatnonzero(np.isinf(values))[0]}; "
                    "write a finite one or leave it out."
                )
            shaped.append(self._shaped(values) if self._classes else self._scaled(values))
        return shaped

    def _scaled(self, numbers: Array) -> Array:
        scaled: Array = (np.where(np.isnan(numbers), self.median, numbers) - self.mean) / self.scale
        return scaled

    def _shaped(self, values: Array) -> Array:
        shaped = np.zeros(self.dim, np.float32)
        shaped[: len(self._numbers)] = self._scaled(values[self._numbers])
        for places, code in zip(self._places, values[self._classes], strict=True):
            place = -1 if np.isnan(code) else places[int(code)]
            if place >= 0:
                shaped[place] = 1.0
        return shaped

    def cost(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[Array]) -> Tensor:
        return torch.from_numpy(np.stack(items).astype(np.float32, copy=False))

    def files(self) -> dict[str, bytes]:
        # the shortest decimals that give the same float32 again
        parts = {name: [float(str(each)) for each in getattr(self, name)] for name in ("median", "mean", "scale")}
        seen = {"seen": self.seen} if self._classes else {}
        return {_FILE: json.dumps({**self.schema.document(), **seen, **parts}).encode()}


def _checked(seen: Any, schema: Schema) -> Sequence[Sequence[int]]:
    counts = [len(schema.words[place] or ()) for place in schema.classes]
    fits = len(seen) == len(counts) and all(
        all(isinstance(code, int) and 0 <= code < count for code in codes) and len(set(codes)) == len(codes)
        for codes, count in zip(seen, counts, strict=True)
    )
    if not fits:
        raise ValueError("the words that it saw do not fit")
    return list(seen)

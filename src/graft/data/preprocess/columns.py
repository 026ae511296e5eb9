"""Rows of numbers to rows of one scale, with the gaps filled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graft.contracts import Array
from graft.errors import BundleError, DataError

__all__ = ["ColumnPreprocess"]

_FILE = "columns.json"


class ColumnPreprocess:
    """From rows ``(d,)`` to batches ``(n, d)`` of mean 0 and deviation 1; NaN becomes the median.

    Parameters
    ----------
    median, mean, scale
        ``(d,)`` each: what fills a gap, what is taken off, and what is divided by.
    columns
        ``d`` names of the columns, in order, where they are known.
    """

    def __init__(self, median: Array, mean: Array, scale: Array, columns: Sequence[str] | None = None) -> None:
        self.columns = None if columns is None else tuple(columns)
        self.median, self.mean, self.scale = (np.asarray(each, dtype=np.float32) for each in (median, mean, scale))

    @classmethod
    def learn(cls, values: Array, columns: Sequence[str] | None = None) -> ColumnPreprocess:
        """Take median, mean and deviation from rows ``(n, d)``, whose columns may have names.

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
        values[:, np.isnan(values).all(axis=0)] = 0.0
        median = np.nanmedian(values, axis=0).astype(np.float32)
        values = np.where(np.isnan(values), median, values)
        scale = values.std(axis=0)
        # a constant's deviation is rounding noise of its size; dividing by that would blow noise up
        flat = scale <= 1e-7 * np.abs(values).max(axis=0)
        return cls(median, values.mean(axis=0), np.where(flat, 1.0, scale), columns)

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
            columns = held.get("columns")
            if columns is not None and (
                len(columns) != len(parts[0]) or not all(isinstance(name, str) for name in columns)
            ):
                raise ValueError("the names of its columns do not fit")
            return cls(parts[0], parts[1], parts[2], columns)
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(
                f"{_FILE} of the saved model is absent or damaged ({exc}); save the model again, or copy it whole."
            ) from exc

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Array]:
        """Scaled rows ``(d,)``; there is no training form.

        Raises
        ------
        DataError
            For a row of another width, or with an infinite number.
        """
        shaped = []
        for row in rows:
            values = np.asarray(row, dtype=np.float32)
            if values.shape != self.mean.shape:
                raise DataError(
                    f"a row has {values.size} columns, and {len(self.mean)} were learnt from; give the same columns."
                )
            if np.isinf(values).any():
                raise DataError(
                    f"a row holds an infinite number in column {np.flatnonzero(np.isinf(values))[0]}; "
                    "write a finite one or leave it out."
                )
            shaped.append((np.where(np.isnan(values), self.median, values) - self.mean) / self.scale)
        return shaped

    def cost(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[Array]) -> Tensor:
        return torch.from_numpy(np.stack(items).astype(np.float32, copy=False))

    def files(self) -> dict[str, bytes]:
        # the shortest decimals that give the same float32 again
        parts = {name: [float(str(each)) for each in getattr(self, name)] for name in ("median", "mean", "scale")}
        named = {} if self.columns is None else {"columns": self.columns}
        return {_FILE: json.dumps({**named, **parts}).encode()}

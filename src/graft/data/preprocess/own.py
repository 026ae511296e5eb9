"""Rows to batches by a function that the user gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from graft.contracts import Batch
from graft.errors import GraftError, RequestError

__all__ = ["OwnPreprocess"]


class OwnPreprocess:
    """A transform of the user's own; the same for training and evaluation.

    Parameters
    ----------
    transform
        Row → tensor, or a dictionary of tensors, all rows alike in shape; ``None`` takes arrays as they are.

    Examples
    --------
    >>> own = OwnPreprocess(lambda text: torch.tensor([float(len(text))]))
    >>> own.collate(own.items(["a", "bcd"])).tolist()
    [[1.0], [3.0]]
    """

    def __init__(self, transform: Callable[[Any], Any] | None) -> None:
        self.transform = transform

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        return [self._item(row) for row in rows]

    def cost(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[Any]) -> Batch:
        if isinstance(items[0], Mapping):
            return {key: _stacked([item[key] for item in items]) for key in items[0]}
        return _stacked(items)

    def files(self) -> dict[str, bytes]:
        return {}

    def _item(self, row: Any) -> Any:
        try:
            made = row if self.transform is None else self.transform(row)
            if isinstance(made, Mapping):
                return {str(key): torch.as_tensor(value) for key, value in made.items()}
            return torch.as_tensor(made)
        except GraftError:
            raise
        except Exception as exc:
            given = "without a transform" if self.transform is None else "by the transform"
            raise RequestError(
                f"a row of type {type(row).__name__} makes no tensor {given} ({type(exc).__name__}: {exc}); "
                "expected a function of one row that returns a tensor, or a dictionary of tensors."
            ) from exc


def _stacked(items: Sequence[Tensor]) -> Tensor:
    if len(shapes := {tuple(item.shape) for item in items}) > 1:
        raise RequestError(
            f"the transform gives tensors of several shapes ({', '.join(map(str, sorted(shapes)[:4]))}), which make "
            "no batch; let it resize, cut or pad."
        )
    return torch.stack(list(items))

"""Heads that keep rows: how many, no description says, only their weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["KeptRows", "make_room"]


class KeptRows(nn.Module):
    """A module some of whose tensors have as many rows as a fit kept.

    Such tensors are made with no row, ``(0, …)``, by :meth:`rows_of`; a fit replaces them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[str] = []

    def rows_of(self, name: str, *shape: int) -> None:
        """Keep a float32 tensor ``(m, *shape)`` under this name; it has no row yet."""
        self.register_buffer(name, torch.zeros(0, *shape))
        self._kept.append(name)

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Give every kept tensor as many rows as ``shapes`` says for its name; what does not fit is passed over.

        Only the number of rows is taken, so that a tensor never gets larger than the one that is to fill it.
        """
        for name in self._kept:
            own, given = getattr(self, name), shapes.get(name, ())
            if len(given) == own.ndim and tuple(given[1:]) == tuple(own.shape[1:]):
                setattr(self, name, own.new_zeros(tuple(given)))


def make_room(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Prepare every :class:`KeptRows` in ``module`` for a state that is to be loaded into it.

    Called before weights are matched: the tensors of ``state`` are there already, and what is made
    for them is as large as they are.
    """
    for prefix, part in module.named_modules():
        if isinstance(part, KeptRows):
            start = f"{prefix}." if prefix else ""
            part.make_room(
                {name: tuple(value.shape) for key, value in state.items() if (name := key.removeprefix(start))}
            )

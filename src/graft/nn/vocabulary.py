"""Large tables of embeddings learn by the rows that occur: what a step does to the others is nothing.

A batch of text holds some hundred of a vocabulary's 30 000 words, and a whole data set some
thousand.  A dense gradient and AdamW over the whole table are a third of the bytes of a small
network's step, for rows whose gradient and moments are 0.  Here the gradient comes as rows, and the
optimiser holds a short table of those that have occurred so far; a row joins when it first does.
That is AdamW exactly, but that rows which never occur do not decay: they keep the source's values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Occurring", "by_rows"]

_LARGE = 1 << 20
"""Numbers that a table must have; below, a dense step costs nothing worth saving."""
_FEWEST = 1024
"""Rows that there is room for once one has occurred."""


class Occurring:
    """The rows of a table that have occurred, in the place of the table in an optimiser.

    Parameters
    ----------
    weight
        ``(v, d)``; it stays whole and current at all times.
    optimiser
        Has ``weight`` in one of its groups, and no state of it yet.

    Attributes
    ----------
    rows
        ``(k,)``: the rows that have occurred, in the order in which they joined.
    """

    def __init__(self, weight: nn.Parameter, optimiser: Optimizer) -> None:
        self.weight, self.optimiser = weight, optimiser
        self.rows = torch.empty(0, dtype=torch.int64)
        self._place = torch.full((len(weight),), -1)
        self._short = weight
        self._resize(0)

    def take(self) -> None:
        """Move the table's gradient to the optimiser's short table, before clipping and the step."""
        grad, self.weight.grad, self._short.grad = self.weight.grad, None, None
        if grad is None:
            return
        if grad.is_sparse:
            ids, values = grad._indices()[0], grad._values()
        else:  # something else than looking words up, such as a penalty, had a part in it
            ids, values = torch.arange(len(grad)), grad
        self.join(torch.unique(ids[self._place[ids] < 0]))
        short = torch.zeros_like(self._short)
        self._short.grad = short.index_add_(0, self._place[ids], values)

    def put(self) -> None:
        """Write the rows back into the table, after the step."""
        with torch.no_grad():
            self.weight.index_copy_(0, self.rows, self._short[: len(self.rows)])

    def join(self, new: Tensor) -> None:
        """Let the rows ``new`` ``(m,)``, each once, join in this order; they start from the table as it is."""
        if not len(new):
            return
        first = len(self.rows)
        self._place[new] = torch.arange(first, first + len(new))
        self.rows = torch.cat([self.rows, new])
        if len(self.rows) > len(self._short):
            # a function of how many they are, so that a resumed fit agrees
            self._resize(min(max(_FEWEST, 1 << (len(self.rows) - 1).bit_length()), len(self.weight)))
        with torch.no_grad():
            self._short[first : len(self.rows)] = self.weight[new]

    def _resize(self, length: int) -> None:
        """Room for more rows; their values and moments are 0, and so stay until somebody joins there."""
        before = self._short
        after = nn.Parameter(_lengthened(before.detach(), length) if before is not self.weight else before[:0].detach())
        for group in self.optimiser.param_groups:
            group["params"] = [after if each is before else each for each in group["params"]]
        state = self.optimiser.state.pop(before, {})
        if state:
            self.optimiser.state[after] = {
                name: _lengthened(value, length) if value.ndim else value for name, value in state.items()
            }
        self._short = after


def _lengthened(values: Tensor, length: int) -> Tensor:
    longer = values.new_zeros(length, *values.shape[1:])
    longer[: len(values)] = values
    return longer


@contextlib.contextmanager
def by_rows(module: nn.Module, optimiser: Optimizer) -> Iterator[list[Occurring]]:
    """Inside the block the large tables of ``module`` that ``optimiser`` trains on a CPU learn by rows.

    On a CUDA device a dense step is cheaper than keeping count.
    """
    trained = {id(value) for group in optimiser.param_groups for value in group["params"]}
    tables = [table for table in _tables(module.modules()) if id(table.weight) in trained]
    weights = {id(table.weight): cast("nn.Parameter", table.weight) for table in tables}
    for table in tables:
        table.sparse = True
    try:
        yield [Occurring(weight, optimiser) for weight in weights.values()]
    finally:
        for table in tables:
            table.sparse = False


def _tables(modules: Iterable[nn.Module]) -> Iterator[nn.Embedding]:
    for part in modules:
        if type(part) is not nn.Embedding or part.sparse or part.scale_grad_by_freq or part.max_norm is not None:
            continue
        if part.weight.numel() >= _LARGE and part.weight.device.type == "cpu":
            yield part

"""A running average of what learns: often better than the weights of any single step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["Average"]


class Average:
    """An exponential moving average of tensors.

    In the first steps it keeps less of its past, ``(1 + t) / (10 + t)`` after ``t`` of them, so that
    the start does not linger.

    Parameters
    ----------
    values
        What is averaged; the average starts there.
    keep
        Share of the average that a step leaves.

    Examples
    --------
    >>> value = torch.zeros(1)
    >>> average = Average([value], keep=0.5)
    >>> average.follow([value.fill_(1.0)], steps=0)
    >>> round(average.held[0].item(), 3)
    0.9
    """

    def __init__(self, values: Sequence[Tensor], keep: float) -> None:
        self.keep = keep
        self.held = [value.detach().clone() for value in values]

    def follow(self, values: Sequence[Tensor], steps: int) -> None:
        """Move towards ``values``, after ``steps`` earlier moves."""
        keep = min(self.keep, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(self.held, [value.detach() for value in values], 1 - keep)

    @contextlib.contextmanager
    def in_place_of(self, values: Sequence[Tensor]) -> Iterator[None]:
        """Inside the block, ``values`` are the averages."""
        with torch.no_grad():
            before = [value.detach().clone() for value in values]
            torch._foreach_copy_(list(values), self.held)
            try:
                yield
            finally:
                torch._foreach_copy_(list(values), before)

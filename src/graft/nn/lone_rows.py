"""BatchNorm and a batch of one row, which has no variance to normalise by."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from graft.errors import RequestError

__all__ = ["lone_row"]


@contextlib.contextmanager
def lone_row(module: nn.Module) -> Iterator[None]:
    """Inside the block, BatchNorm in training mode goes by its averages where a channel has a single value.

    It leaves them as they are: one value says nothing of the next.  The row of an image has many values
    a channel, and is normalised by them as ever.

    Raises
    ------
    RequestError
        Where such a layer keeps no averages.
    """
    resting: set[nn.Module] = set()

    def before(part: nn.Module, given: tuple[Any, ...]) -> None:
        if not part.training or given[0].numel() > given[0].shape[1]:
            return
        if part.running_mean is None:
            raise RequestError(
                "a batch of one row came to a BatchNorm that keeps no averages, and one row has no variance; "
                "give more rows, or a batch_size that does not leave one over."
            )
        part.training = False  # not eval(), which would descend into what the layer holds
        resting.add(part)

    def after(part: nn.Module, given: tuple[Any, ...], made: Tensor) -> None:
        part.training = part.training or part in resting
        resting.discard(part)

    held = []
    try:
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                held += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
        yield
    finally:
        for each in held:
            each.remove()

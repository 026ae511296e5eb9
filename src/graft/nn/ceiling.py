"""A limit for what a saved model's description may build: a few words can name a network that fills the machine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from graft.errors import WeightsError

__all__ = ["ceiling", "room_for"]

_TIMES, _MORE = 8, 128 << 20


def room_for(weights: Path) -> int:
    """Bytes that a network may take whose weights are in this file: some times as many, and some more."""
    return _TIMES * weights.stat().st_size + _MORE


@contextlib.contextmanager
def ceiling(most: int) -> Iterator[None]:
    """Inside the block, this thread's networks may have parameters of ``most`` bytes in all.

    A parameter is refused when it is registered: before anything is drawn into it, so that the
    system has not given it memory yet.

    Raises
    ------
    WeightsError
        Where they would have more.
    """
    own, taken = threading.get_ident(), 0

    def count(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        nonlocal taken
        if value is None or threading.get_ident() != own:
            return
        taken += value.numel() * value.element_size()
        if taken > most:
            raise WeightsError(
                f"the network that is described takes more than {most:_} bytes, many times what its weights hold "
                f"(at {type(module).__name__}.{name}, {tuple(value.shape)}): the description is damaged or forged."
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()

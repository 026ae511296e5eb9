"""A network as if it had never learnt: the honest control needs the same architecture, untrained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

__all__ = ["fresh", "seeded"]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from ``seed`` inside the block; the global CPU generator goes on afterwards as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def fresh(module: nn.Module, seed: int) -> nn.Module:
    """Draw all parameters of ``module`` (on the CPU) anew, and reset its statistics; returns ``module``.

    Each part starts as its author lets it start: by ``init_weights`` where an outer module has it
    (timm, transformers), else by ``reset_parameters``.  Parameters that belong to neither start
    as 1 (vectors), 0 (biases) or from a normal distribution of width 0.02, cut at two widths.
    What trains stays what trains.
    """
    with seeded(seed), torch.no_grad():
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
            if callable(reset):
                reset()
            else:
                _start(part)
        for part in _outermost(module):
            _forget(part)
            part.init_weights()  # type: ignore[operator]
    return module


def _start(part: nn.Module) -> None:
    for name, value in part.named_parameters(recurse=False):
        if value.ndim > 1:
            nn.init.trunc_normal_(value, std=0.02, a=-0.04, b=0.04)
        else:
            nn.init.constant_(value, 0.0 if name.endswith("bias") else 1.0)


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    if callable(getattr(module, "init_weights", None)):
        yield module
        return
    for child in module.children():
        yield from _outermost(child)


def _forget(module: nn.Module) -> None:
    """Transformers marks what it loaded, and would not initialise it again."""
    for held in (*module.modules(), *module.parameters(), *module.buffers()):
        if hasattr(held, "_is_hf_initialized"):
            del held._is_hf_initialized

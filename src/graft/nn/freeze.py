"""What trains and what does not; frozen means bit-identical afterwards, BatchNorm buffers included."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from graft.errors import UnknownNameError

__all__ = ["freeze", "hold_still", "trainable"]


def freeze(module: nn.Module, prefixes: Sequence[str] | None = None) -> nn.Module:
    """Stop the parameters under ``prefixes`` (``None``: all of them) from training; returns ``module``.

    Raises
    ------
    UnknownNameError
        For a prefix that no parameter carries.
    """
    if prefixes is None:
        return module.requires_grad_(False)
    for prefix in prefixes:
        stem = prefix.rstrip(".")
        under = [value for name, value in module.named_parameters() if name == stem or name.startswith(f"{stem}.")]
        if not under:
            raise UnknownNameError("parameter prefix", prefix, {name for name, _ in module.named_modules() if name})
        for value in under:
            value.requires_grad_(False)
    return module


def hold_still(module: nn.Module) -> nn.Module:
    """Put every sub-module whose parameters are all frozen back into evaluation mode; returns ``module``.

    Called after ``module.train()``: else BatchNorm would go on averaging the new data into its
    buffers, and dropout would disturb features that nothing can adapt to.
    """
    parameters = list(module.parameters())
    if parameters and not any(value.requires_grad for value in parameters):
        return module.eval()
    for child in module.children():
        hold_still(child)
    return module


def trainable(module: nn.Module) -> int:
    """How many weights of ``module`` train."""
    return sum(value.numel() for value in module.parameters() if value.requires_grad)

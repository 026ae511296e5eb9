"""Image networks at another size than the one that they were made for, or a refusal that says why."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from graft.errors import RequestError

__all__ = ["refuse_size", "resize", "shapes"]

_LARGEST = 8192
"""Pixels of an edge; a network with a place for every patch would fill the memory."""
_FAILURES = (AssertionError, RuntimeError, ValueError, TypeError, IndexError, ZeroDivisionError)


def resize(whole: nn.Module, name: str, size: tuple[int, int], made_for: tuple[int, int]) -> None:
    """Make the network one for images of ``size``, in place.

    Networks with positions are changed where they can be; then one pass without content shows
    whether the size fits.

    Parameters
    ----------
    size, made_for
        ``(h, w)`` in pixels: what is wanted, and what the network has.

    Raises
    ------
    RequestError
        Where it does not take them.
    """
    if size == made_for:
        return
    if max(size) > _LARGEST:
        raise RequestError(
            f"images of {size[0]}×{size[1]} pixels are beyond what {name} is built for: {_LARGEST} at most."
        )
    config: Any = getattr(whole, "pretrained_cfg", {})
    fixed = config.get("fixed_input_size") or hasattr(whole, "image_size")  # torchvision's vision transformers
    if fixed and not getattr(whole, "dynamic_img_size", False):
        change: Any = getattr(whole, "set_input_size", None)
        if change is None:
            raise RequestError(f"{name} takes images of {made_for[0]}×{made_for[1]} pixels alone; leave out the size.")
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=UserWarning, module=r"timm\.")  # of how it interpolates
                change(img_size=size)
        except _FAILURES as exc:
            raise _refusal(name, size, made_for, str(exc) or "they must be whole patches") from exc
    refuse_size(whole, name, size, made_for)


def refuse_size(network: nn.Module, name: str, size: tuple[int, int], made_for: tuple[int, int]) -> None:
    """Try one pass over an image of ``size``.

    Raises
    ------
    RequestError
        Where it fails.
    """
    reason = _failure(network, size)
    # What fails for any size says nothing of this one.
    if reason and not _failure(network, made_for):
        raise _refusal(name, size, made_for, reason)


def _refusal(name: str, size: tuple[int, int], made_for: tuple[int, int], reason: str) -> RequestError:
    return RequestError(
        f"{name} does not take images of {size[0]}×{size[1]} pixels ({reason}); "
        f"it was made for {made_for[0]}×{made_for[1]}."
    )


def _failure(network: nn.Module, size: tuple[int, int]) -> str:
    try:
        shapes(network, size)
    except _FAILURES as exc:
        return (str(exc).splitlines() or [""])[0].rstrip(".") or type(exc).__name__
    return ""


def shapes(network: nn.Module, size: tuple[int, int]) -> Any:
    """What one normalised image of ``size`` becomes, as tensors that have shapes and no content.

    Weights are left alone, and no memory is taken.
    """
    held = (*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False))
    trains = network.training
    try:
        with torch.no_grad():
            bare = {name: value.to("meta") for name, value in held}
            return functional_call(network.eval(), bare, (torch.empty(1, 3, *size, device="meta"),))
    finally:
        network.train(trains)

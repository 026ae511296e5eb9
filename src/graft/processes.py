"""Several processes that fit one model together, as torchrun starts them; alone, each question has its plain answer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

__all__ = ["agreed", "count", "gathered", "joined", "place", "shared_mean", "sum_gradients", "wait"]

T = TypeVar("T")


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[None]:
    """Join the group that torchrun started this process for, and leave it at the end.

    Outside of torchrun, and inside of a group that is there already, nothing happens.  On CUDA each
    process takes the device of its own number.

    Parameters
    ----------
    device
        As the user names it; ``"cpu"`` joins without looking for CUDA.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ or _joined():
        yield
        return
    accelerated = torch.cuda.is_available() and device != "cpu"
    if accelerated:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    distributed.init_process_group("nccl" if accelerated else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def count() -> int:
    """How many processes fit together."""
    return distributed.get_world_size() if _joined() else 1


def place() -> int:
    """The place of this one among them, from 0; the first one alone writes and speaks."""
    return distributed.get_rank() if _joined() else 0


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def wait() -> None:
    """Until all are here."""
    if count() > 1:
        distributed.barrier()


def agreed(value: T) -> T:
    """What the first process found, for all: decisions that rest on measured time must be the same."""
    if count() == 1:
        return value
    held = [value]
    distributed.broadcast_object_list(held, src=0)
    return held[0]


def sum_gradients(parameters: Sequence[nn.Parameter], value: Tensor) -> Tensor:
    """Add up the gradients of all processes, in place; returns the sum of ``value``, a scalar.

    A parameter without a gradient anywhere keeps none: the optimiser must not touch it.
    """
    if count() == 1:
        return value
    learning = [each for each in parameters if each.requires_grad]
    there = value.new_tensor([float(each.grad is not None) for each in learning])
    flat = torch.cat(
        [
            value.detach().reshape(1),
            there,
            *((torch.zeros_like(each) if each.grad is None else each.grad).flatten() for each in learning),
        ]
    )
    distributed.all_reduce(flat)
    at = 1 + len(learning)
    for each, owners in zip(learning, flat[1:at].tolist(), strict=True):
        each.grad = flat[at : at + each.numel()].view_as(each).clone() if owners else None
        at += each.numel()
    return flat[0]


def gathered(rows: Tensor) -> Tensor:
    """The rows ``(n, …)`` of all processes, those of the first one first; ``n`` may differ, and be 0."""
    if count() == 1:
        return rows
    lengths = [torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(count())]
    distributed.all_gather(lengths, torch.tensor(len(rows), device=rows.device))
    most = max(int(each) for each in lengths)
    padded = rows.new_zeros(most, *rows.shape[1:])
    padded[: len(rows)] = rows
    held = [torch.empty_like(padded) for _ in range(count())]
    distributed.all_gather(held, padded)
    return torch.cat([each[: int(length)] for each, length in zip(held, lengths, strict=True)])


def shared_mean(tensors: Sequence[Tensor]) -> None:
    """Replace floating-point tensors, such as averages that BatchNorm keeps, by their mean over the processes."""
    if count() == 1:
        return
    for each in tensors:
        if each.is_floating_point():
            distributed.all_reduce(each)
            each /= count()

"""The gradient of one step, in as many parts as memory and processes ask for."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft import processes
from graft.compute import out_of_memory, to_device
from graft.contracts import Preprocess, TransferData
from graft.data.order import Indices
from graft.errors import MemoryLimitError
from graft.nn.lone_rows import lone_row
from graft.train.step import Around, Objective, Step

__all__ = ["Gradient"]

_TOO_LARGE = "not even two rows fit into memory while training on {}; choose a smaller source."


class Gradient:
    """Computes the gradients of steps; their sum over the parts is that of the whole batch, up to rounding.

    BatchNorm that normalises by the batch, and objectives that compare rows, see one part at a time.

    Parameters
    ----------
    parts
        In how many parts a batch is computed; doubled whenever memory runs out.
    around
        Opened for all parts of a batch together, in every process; anew where memory ran out.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        data: TransferData,
        preprocess: Preprocess,
        parts: int,
        around: Around = contextlib.nullcontext,
    ) -> None:
        self.module, self.objective, self.around = module, objective, around
        self.data, self.preprocess = data, preprocess
        self.parameters = list(module.parameters())
        self.parts = parts

    def __call__(
        self, rows: Indices, items: Sequence[Any], *, epoch: int, progress: float, seed: int, halves: bool
    ) -> Tensor:
        """Leave the gradient in the parameters; returns the batch's mean loss, a scalar on the device.

        Raises
        ------
        MemoryLimitError
            Where not even two rows fit.
        """
        while True:
            for each in self.parameters:
                each.grad = None
            torch.manual_seed(seed)
            try:
                with self.around():
                    value = self._summed(rows, items, epoch, progress, halves)
                return processes.sum_gradients(self.parameters, value)
            except (MemoryError, RuntimeError) as exc:
                if not out_of_memory(exc):
                    raise
                if 4 * self.parts * processes.count() > len(rows):  # BatchNorm cannot average one row
                    raise MemoryLimitError(_TOO_LARGE.format(self.data.machine.device)) from exc
                self.parts *= 2

    def _summed(self, rows: Indices, items: Sequence[Any], epoch: int, progress: float, halves: bool) -> Tensor:
        """The gradient of this process's parts, each counting as much as its rows do."""
        machine, train = self.data.machine, self.data.train
        of_all = torch.from_numpy(rows)
        total = torch.zeros((), device=machine.device)
        everywhere = len(rows) if train.weights is None else float(train.weights[of_all].sum())
        parts = np.array_split(np.arange(len(rows)), min(len(rows), self.parts * processes.count()))
        for part in parts[processes.place() :: processes.count()]:
            here = of_all[part]
            weights = None if train.weights is None else train.weights[here]
            counts = len(part) if weights is None else float(weights.sum())
            if not counts:
                continue
            step = Step(
                module=self.module,
                batch=to_device(self.preprocess.collate([items[int(each)] for each in part]), machine),
                targets=train.targets[here].to(machine.device),
                weights=None if weights is None else weights.to(machine.device),
                rows=here,
                epoch=epoch,
                progress=progress,
                halves=halves,
            )
            with lone_row(self.module) if len(part) == 1 else contextlib.nullcontext():
                value = self.objective(step) * (counts / everywhere)
            value.backward()  # type: ignore[no-untyped-call]
            total += value.detach()
        return total

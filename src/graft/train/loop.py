"""One fit, step after step."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from graft import processes
from graft.compute import bfloat16_pays, out_of_memory
from graft.contracts import Array, Epoch, Preprocess, TransferData
from graft.data.order import Indices, mixed
from graft.errors import DivergedError, MemoryLimitError
from graft.evaluate.goal import Goal
from graft.features import Extractor
from graft.nn.checkpoint import read_state, write_state
from graft.nn.freeze import hold_still
from graft.nn.vocabulary import Occurring, by_rows
from graft.nn.weighing import even_weights
from graft.progress import Advance, Enough
from graft.storage import digest, fail_point
from graft.train.average import Average
from graft.train.finder import range_test
from graft.train.gradient import Gradient
from graft.train.reading import Reading
from graft.train.recipe import Recipe, falls, share
from graft.train.step import Around, Objective, Outcome

__all__ = ["fit"]

_TOO_LARGE = "the network and its optimiser do not fit into memory while training on {}; choose a smaller source."

_SAVE_EVERY = 60.0
"""Seconds after which an epoch in progress is written down."""

_STANDING = ("epoch", "step", "total", "seconds", "best", "halves")
"""Plain values of a fit that a checkpoint keeps."""


def fit(
    module: nn.Module,
    objective: Objective,
    data: TransferData,
    *,
    preprocess: Preprocess,
    groups: Sequence[dict[str, Any]],
    recipe: Recipe,
    goal: Goal,
    before_epoch: Callable[[int], None] | None = None,
    chances: Array | None = None,
    find_rate: bool = False,
    around: Around = contextlib.nullcontext,
) -> Outcome:
    """Train ``module`` in place; it ends on the device, with the weights of its best epoch.

    Parameters
    ----------
    module
        batch → outputs ``(n, c)``, in float32; what is frozen in it stays bit-identical.
    objective
        A step → its loss (:func:`~graft.train.supervised` makes one of a task's loss).
    data
        Where it has a ``checkpoint``, the state is kept there after every epoch, and every minute.
    groups
        As ``torch.optim`` takes them, with ``lr`` and ``weight_decay``.
    goal
        Judges the outputs on the validation rows.
    before_epoch
        Told the place of each epoch before it begins, such as to let more of the module train; what
        it does depends on that place alone.
    chances
        ``(n,)`` how likely each row is drawn for a step; ``None``: each comes once an epoch.
    find_rate
        Whether all rates are first multiplied by what a range test finds.
    around
        Opened for every batch, in every process.

    Raises
    ------
    RequestError
        Where no row weighs anything.
    DivergedError
        Where the loss or the gradient is no longer finite.
    MemoryLimitError
        Where the device cannot hold the module and a row.
    """
    even_weights(data.train.weights)
    devices = [data.machine.device] if data.machine.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            module = module.to(data.machine.device)
            reading = Reading(data, preprocess, recipe.batch_size, chances)
            gradient = Gradient(module, objective, data, preprocess, recipe.accumulate, around)
            run = _Run(module, data, groups, recipe, goal, reading, gradient)
            if find_rate:
                run.find_rate()
            with run.by_rows(), data.progress.step("train", recipe.epochs * run.steps) as advance:
                run.resume()
                advance(run.epoch * run.steps + run.step)
                with contextlib.suppress(Enough):
                    while run.epoch < recipe.epochs and not run.out_of_patience():
                        if before_epoch is not None:
                            before_epoch(run.epoch)
                        run.pass_over(advance)
            return run.finish()
    except (MemoryError, RuntimeError) as exc:
        if out_of_memory(exc):
            raise MemoryLimitError(_TOO_LARGE.format(data.machine.device)) from exc
        raise


class _Run:
    """A fit under way: where it stands, and what of it is written down."""

    def __init__(
        self,
        module: nn.Module,
        data: TransferData,
        groups: Sequence[dict[str, Any]],
        recipe: Recipe,
        goal: Goal,
        reading: Reading,
        gradient: Gradient,
    ) -> None:
        self.module, self.data, self.recipe, self.goal = module, data, recipe, goal
        self.reading, self.gradient, self.steps = reading, gradient, reading.steps
        self.optimiser = torch.optim.AdamW([dict(group) for group in groups], fused=True)
        self.rates = [float(group["lr"]) for group in self.optimiser.param_groups]
        self.learning = [value for group in self.optimiser.param_groups for value in group["params"]]
        self.tables: list[Occurring] = []
        self.average = None if recipe.ema is None else Average(self.learning, recipe.ema)
        self.epoch, self.step = 0, 0
        self.total, self.seconds = 0.0, 0.0
        self.history: list[Epoch] = []
        self.best: int | None = None
        self.kept: dict[str, Tensor] = {}
        self.halves: bool | None = None
        self.factor = 1.0
        self.saved = time.monotonic()

    @contextlib.contextmanager
    def by_rows(self) -> Iterator[None]:
        """Inside the block large tables of embeddings learn by the rows that occur, in a process of its own."""
        with contextlib.ExitStack() as stack:
            if processes.count() == 1:
                self.tables = stack.enter_context(by_rows(self.module, self.optimiser))
            yield

    def find_rate(self) -> None:
        """Multiply the rates by what a range test finds; a pure function of the seed, so that a resumed fit agrees."""
        self._prepare()

        def gradient(rows: Indices, items: Sequence[Any], step: int) -> Tensor:
            seed = mixed(self.data.seed, step, 2)
            return self.gradient(rows, items, epoch=0, progress=0.0, seed=seed, halves=False)

        groups = [{**group, "lr": rate} for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True)]
        self.factor = range_test(self.module, groups, self.reading, gradient)
        self.rates = [rate * self.factor for rate in self.rates]

    def out_of_patience(self) -> bool:
        """Whether the validation metric has not become better for too long."""
        patience = self.recipe.patience
        known = [epoch.metric for epoch in self.history]
        since = len(known) - 1 - (-1 if self.best is None else known.index(known[self.best]))
        return self.data.valid is not None and patience is not None and since >= patience

    def pass_over(self, advance: Advance) -> None:
        """One epoch, from the step where it stands."""
        self._prepare()
        started = time.monotonic() - self.seconds
        for rows, items in self.reading.batches(self.epoch, self.step):
            if self.halves is None:
                self.halves = self._halves_pay(rows, items)
            self.total += self._learn(rows, items) * len(rows)
            self.step += 1
            advance()
            fail_point(f"train-{self.epoch}-{self.step}")
            if time.monotonic() - self.saved >= _SAVE_EVERY:
                self.seconds = time.monotonic() - started
                self._save()
        self._end_epoch(started)
        self._save()
        if processes.place() == 0:
            for callback in self.data.callbacks:
                callback(len(self.history) - 1, self.history[-1])

    def _end_epoch(self, started: float) -> None:
        processes.shared_mean(list(self.module.buffers()))
        rate = max(self.rates, default=0.0) * max(map(self._share, range(self.steps)))
        with self._averaged():
            metric = self._validate()
            best = None if self.best is None else self.history[self.best].metric
            # of equals the later: few rows to validate by often tie, and the rates have fallen further
            if metric is not None and (metric == best or self.goal.better(metric, best)):
                self.best = len(self.history)
                self.kept = {name: tensor.detach().clone() for name, tensor in self._state().items()}
        seconds = time.monotonic() - started
        self.history.append(Epoch(self.total / len(self.data.train), metric, rate, seconds))
        self.epoch, self.step, self.total, self.seconds = self.epoch + 1, 0, 0.0, 0.0

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.average is None else self.average.in_place_of(self.learning)

    def _prepare(self) -> None:
        """What learns is put into training mode."""
        self.module.train()
        hold_still(self.module)
        for part in self.module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and not self.recipe.batch_statistics:
                part.eval()

    def _share(self, step: int) -> float:
        """The rates' share of their full height at a step of this epoch."""
        every, now = self.recipe.epochs * self.steps, self.epoch * self.steps + step
        left = falls(self.recipe, [epoch.metric for epoch in self.history], self.goal)
        return left * share(self.recipe, now, every)

    def _learn(self, rows: Indices, items: Sequence[Any]) -> float:
        """One step; returns the batch's loss."""
        height = self._share(self.step)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * height
        value = float(self._gradient(rows, items, bool(self.halves)))
        self._check("loss", value)
        clip = math.inf if self.recipe.clip is None else self.recipe.clip
        for table in self.tables:
            table.take()
        stepping = [value for group in self.optimiser.param_groups for value in group["params"]]
        self._check("gradient", float(nn.utils.clip_grad_norm_(stepping, clip)))
        self.optimiser.step()
        for table in self.tables:
            table.put()
        if self.average is not None:
            self.average.follow(self.learning, self.epoch * self.steps + self.step)
        return value

    def _gradient(self, rows: Indices, items: Sequence[Any], halves: bool) -> Tensor:
        done = self.epoch * self.steps + self.step
        return self.gradient(
            rows,
            items,
            epoch=self.epoch,
            progress=done / (self.recipe.epochs * self.steps),
            seed=mixed(self.data.seed, self.epoch, self.step, 1),
            halves=halves,
        )

    def _check(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            rates = ", ".join(f"{rate:g}" for rate in sorted(set(self.rates)))
            raise DivergedError(
                f"the {name} became {value} in epoch {self.epoch + 1}, step {self.step + 1} of {self.steps}; "
                f"finite numbers were expected. Lower the learning rate (now {rates}), or try --precision float32."
            )

    def _halves_pay(self, rows: Indices, items: Sequence[Any]) -> bool:
        """Whether steps are clearly faster in bfloat16, by a few trial steps that leave no trace."""
        if self.data.machine.precision != "bfloat16":
            return False
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        found = bfloat16_pays(lambda halves: self._gradient(rows, items, halves), self.data.machine)
        self.optimiser.zero_grad(set_to_none=True)
        for name, buffer in self.module.named_buffers():
            buffer.copy_(buffers[name])
        return processes.agreed(found)

    def _validate(self) -> float | None:
        valid = self.data.valid
        if valid is None or not len(valid):
            return None
        # in float32: the epochs' differences are small
        machine = replace(self.data.machine, precision="float32")
        outputs = Extractor(self.module, self.reading.preprocess, machine).run(valid.examples)
        return self.goal.measure(outputs, valid.targets.numpy())

    def _state(self) -> dict[str, Tensor]:
        """All of the module that training can change."""
        learning = {id(value) for value in self.learning}
        values = {name: value for name, value in self.module.named_parameters() if id(value) in learning}
        return {**values, **dict(self.module.named_buffers())}

    def finish(self) -> Outcome:
        """The best epoch's weights are put back; the averages, where nothing was measured."""
        with torch.no_grad():
            if self.best is not None:
                for name, tensor in self._state().items():
                    tensor.copy_(self.kept[name])
            elif self.average is not None:
                torch._foreach_copy_(self.learning, self.average.held)
        self.module.eval()
        return Outcome(tuple(self.history), self.best, self.factor)

    def _identity(self) -> str:
        """Names this fit: a checkpoint of another one is not gone on with."""
        named = [[name, list(tensor.shape)] for name, tensor in self._state().items()]
        groups = zip(self.optimiser.param_groups, self.rates, strict=True)
        rates = [[rate, group["weight_decay"], len(group["params"])] for group, rate in groups]
        plan = [asdict(self.recipe), rates, self.data.seed, self.steps, self.reading.pool, len(self.tables), named]
        train, chances = self.data.train, self.reading.chances
        more = [each.numpy().tobytes() for each in (train.targets, train.weights) if each is not None]
        return digest(json.dumps(plan), *more, b"" if chances is None else chances.tobytes())

    def _save(self) -> None:
        if self.data.checkpoint is None or processes.place():
            return
        tensors = {f"now/{name}": tensor for name, tensor in self._state().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.kept.items()}
        for place, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{place}/{name}": tensor for name, tensor in values.items()}
        if self.average is not None:
            tensors |= {f"average/{place}": tensor for place, tensor in enumerate(self.average.held)}
        tensors |= {f"rows/{place}": table.rows for place, table in enumerate(self.tables)}
        header = {name: getattr(self, name) for name in _STANDING} | {"parts": self.gradient.parts}
        header |= {"identity": self._identity(), "history": [asdict(each) for each in self.history]}
        write_state(self.data.checkpoint, tensors, header)
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Go on where an earlier process stopped, if it wrote that down."""
        found = None if self.data.checkpoint is None else read_state(self.data.checkpoint)
        processes.wait()  # nobody writes before all have read
        if found is None or found[1].get("identity") != self._identity():
            return
        tensors, header = found
        with torch.no_grad():
            for name, tensor in self._state().items():
                tensor.copy_(tensors[f"now/{name}"])
            for at, tensor in enumerate([] if self.average is None else self.average.held):
                tensor.copy_(tensors[f"average/{at}"])
        device = self.data.machine.device
        self.kept = {
            name.removeprefix("best/"): tensor.to(device) for name, tensor in tensors.items() if name[:5] == "best/"
        }
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser/"):
                _, place, value = name.split("/")
                state.setdefault(int(place), {})[value] = tensor
        for at, table in enumerate(self.tables):
            table.join(tensors[f"rows/{at}"])
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        for name in _STANDING:
            setattr(self, name, header[name])
        self.gradient.parts = header["parts"]
        self.history = [Epoch(**each) for each in header["history"]]

"""The only training loop: AdamW along a warm-up and a cosine, early stopping, and a fit that survives a kill.

Everything random is a pure function of the seed and the place (epoch, step, row), so that a fit
that was killed and started again ends with the same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from graft.compute import knows_bfloat16, out_of_memory, to_device
from graft.contracts import Batch, Epoch, Preprocess, TransferData
from graft.data.loaders import read_items
from graft.data.order import Indices, alike, cut, mixed, shuffled
from graft.errors import DivergedError, MemoryLimitError, RequestError
from graft.evaluate.goal import Goal
from graft.features import Extractor
from graft.nn.checkpoint import read_state, write_state
from graft.nn.freeze import hold_still
from graft.progress import Advance
from graft.storage import digest, fail_point

__all__ = ["Outcome", "Recipe", "fit"]

Loss = Callable[[Tensor, Tensor], Tensor]

_POOL = 16
"""Batches that are read together, so that items of like length can share one."""

_FASTER = 1.2
"""bfloat16 costs digits, so a training step has to be this many times as fast in it."""

_TOO_LARGE = "a batch of {} rows does not fit into memory while training on {}; use a smaller batch_size or source."

_SAVE_EVERY = 60.0
"""Seconds after which an epoch in progress is written down."""

_STANDING = ("epoch", "step", "total", "seconds", "best", "halves")
"""Plain values of a fit that a checkpoint keeps."""


@dataclass(frozen=True)
class Recipe:
    """How long and how carefully to train.

    Parameters
    ----------
    epochs
        Passes over the training rows, at most.
    batch_size
        Rows a step, at most.
    warmup
        Share of all steps in which the rates rise; then they fall along a half cosine to 0.
    patience
        Epochs without a better validation metric after which training ends; ``None``: never.
    clip
        Largest norm of the gradient of all parameters together; ``None``: any.
    batch_statistics
        Whether BatchNorm normalises by the batch, and averages what it sees; else it goes by the
        averages that it has.
    """

    epochs: int
    batch_size: int = 32
    warmup: float = 0.1
    patience: int | None = 3
    clip: float | None = 1.0
    batch_statistics: bool = True

    def __post_init__(self) -> None:
        faults = []
        if self.epochs < 1:
            faults.append(f"epochs is {self.epochs}, expected at least 1")
        if self.batch_size < 1:
            faults.append(f"batch_size is {self.batch_size}, expected at least 1")
        if not 0 <= self.warmup < 1:
            faults.append(f"warmup is {self.warmup}, expected a share from 0 to below 1")
        if self.patience is not None and self.patience < 1:
            faults.append(f"patience is {self.patience}, expected at least 1 or none")
        if self.clip is not None and not self.clip > 0:
            faults.append(f"clip is {self.clip}, expected a number above 0 or none")
        if faults:
            raise RequestError("; ".join(faults) + ".")


@dataclass(frozen=True)
class Outcome:
    """How training went.

    Parameters
    ----------
    epochs
        One entry an epoch.
    best
        Place of the epoch whose weights the module has now; ``None`` without validation rows.
    """

    epochs: tuple[Epoch, ...]
    best: int | None

    @property
    def score(self) -> float | None:
        """The validation metric of the weights that were kept."""
        return None if self.best is None else self.epochs[self.best].metric

    @property
    def chosen(self) -> dict[str, float | int | str]:
        """What validation decided: how many epochs are in the weights."""
        return {} if self.best is None else {"epochs": self.best + 1}


def fit(
    module: nn.Module,
    loss: Loss,
    data: TransferData,
    *,
    preprocess: Preprocess,
    groups: Sequence[dict[str, Any]],
    recipe: Recipe,
    goal: Goal,
) -> Outcome:
    """Train ``module`` in place; it ends on the device, with the weights of its best epoch.

    Parameters
    ----------
    module
        batch → outputs ``(n, c)``, in float32; what is frozen in it stays bit-identical.
    loss
        ``(outputs, targets)`` → the mean loss of a batch.
    data
        Where it has a ``checkpoint``, the state is kept there after every epoch, and every minute.
    groups
        As ``torch.optim`` takes them, with ``lr`` and ``weight_decay``.
    goal
        Judges the outputs on the validation rows.

    Raises
    ------
    DivergedError
        Where the loss or the gradient is no longer finite.
    MemoryLimitError
        Where the device cannot hold the module and a batch.
    """
    devices = [data.machine.device] if data.machine.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            run = _Run(module.to(data.machine.device), loss, data, preprocess, groups, recipe, goal)
            run.resume()
            with data.progress.step("train", recipe.epochs * run.steps) as advance:
                advance(run.epoch * run.steps + run.step)
                while run.epoch < recipe.epochs and not run.out_of_patience():
                    run.pass_over(advance)
            return run.finish()
    except (MemoryError, RuntimeError) as exc:
        if out_of_memory(exc):
            raise MemoryLimitError(_TOO_LARGE.format(recipe.batch_size, data.machine.device)) from exc
        raise


class _Run:
    """A fit under way: where it stands, and what of it is written down."""

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        data: TransferData,
        preprocess: Preprocess,
        groups: Sequence[dict[str, Any]],
        recipe: Recipe,
        goal: Goal,
    ) -> None:
        self.module, self.loss, self.data, self.preprocess = module, loss, data, preprocess
        self.recipe, self.goal = recipe, goal
        self.optimiser = torch.optim.AdamW([dict(group) for group in groups], fused=True)
        self.rates = [float(group["lr"]) for group in self.optimiser.param_groups]
        self.learning = [value for group in self.optimiser.param_groups for value in group["params"]]
        self.pool = self._pool()
        pools = cut(shuffled(len(data.train), 0), self.pool * recipe.batch_size)
        self.steps = sum(len(cut(rows, recipe.batch_size)) for rows in pools)
        self.epoch, self.step = 0, 0
        self.total, self.seconds = 0.0, 0.0
        self.history: list[Epoch] = []
        self.best: int | None = None
        self.kept: dict[str, Tensor] = {}
        self.halves: bool | None = None
        self.saved = time.monotonic()

    def _pool(self) -> int:
        """Batches to read together: one, unless the first rows tell that items differ in cost."""
        rows = torch.arange(min(16, len(self.data.train))).numpy()
        for items in read_items(self.data.train.examples, [rows], self.preprocess):
            return 1 if len({self.preprocess.cost(item) for item in items}) == 1 else _POOL
        return 1

    def out_of_patience(self) -> bool:
        """Whether the validation metric has not become better for too long."""
        patience = self.recipe.patience
        since = len(self.history) - 1 - (-1 if self.best is None else self.best)
        return self.data.valid is not None and patience is not None and since >= patience

    def pass_over(self, advance: Advance) -> None:
        """One epoch, from the step where it stands."""
        self._prepare()
        started = time.monotonic() - self.seconds
        for rows, batch in self._batches():
            if self.halves is None:
                self.halves = self._halves_pay(rows, batch)
            self.total += self._learn(rows, batch) * len(rows)
            self.step += 1
            advance()
            fail_point(f"train-{self.epoch}-{self.step}")
            if time.monotonic() - self.saved >= _SAVE_EVERY:
                self.seconds = time.monotonic() - started
                self._save()
        metric = self._validate()
        self.history.append(
            Epoch(
                loss=self.total / len(self.data.train),
                metric=metric,
                rate=max(self.rates, default=0.0) * self._share(),
                seconds=time.monotonic() - started,
            )
        )
        best = None if self.best is None else self.history[self.best].metric
        if metric is not None and self.goal.better(metric, best):
            self.best = len(self.history) - 1
            self.kept = {name: tensor.detach().clone() for name, tensor in self._state().items()}
        self.epoch, self.step, self.total, self.seconds = self.epoch + 1, 0, 0.0, 0.0
        self._save()

    def _prepare(self) -> None:
        """What learns is put into training mode."""
        self.module.train()
        hold_still(self.module)
        for part in self.module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and not self.recipe.batch_statistics:
                part.eval()

    def _batches(self) -> Iterator[tuple[Indices, Batch]]:
        """Rows and batch of each step of this epoch that is still to do."""
        seed, size = self.data.seed, self.recipe.batch_size
        waiting: list[tuple[int, Indices]] = []
        done = first = 0
        pools = cut(shuffled(len(self.data.train), seed, self.epoch), self.pool * size)
        for place, rows in enumerate(pools):
            done += len(cut(rows, size))
            if done > self.step:
                first = first if waiting else self.step - (done - len(cut(rows, size)))
                waiting.append((place, rows))
        read = read_items(
            self.data.train.examples,
            [rows for _, rows in waiting],
            self.preprocess,
            lambda row: mixed(seed, self.epoch, row),
            self.data.machine.threads,
        )
        for (place, rows), items in zip(waiting, read, strict=True):
            costs = [self.preprocess.cost(item) for item in items]
            for chosen in alike(costs, size, seed, self.epoch, place)[first:]:
                batch = self.preprocess.collate([items[int(each)] for each in chosen])
                yield rows[chosen], to_device(batch, self.data.machine)
            first = 0

    def _share(self) -> float:
        """The rates' share of their full height at this step."""
        every, now = self.recipe.epochs * self.steps, self.epoch * self.steps + self.step
        rising = self.recipe.warmup * every
        if now < rising:
            return (now + 1) / (math.floor(rising) + 1)
        return 0.5 * (1 + math.cos(math.pi * (now - rising) / max(every - rising, 1)))

    def _learn(self, rows: Indices, batch: Batch) -> float:
        """One step; returns the batch's loss."""
        torch.manual_seed(mixed(self.data.seed, self.epoch, self.step, 1))
        share = self._share()
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.optimiser.zero_grad(set_to_none=True)
        value = self._gradient(rows, batch, bool(self.halves))
        self._check("loss", value)
        clip = math.inf if self.recipe.clip is None else self.recipe.clip
        self._check("gradient", float(nn.utils.clip_grad_norm_(self.learning, clip)))
        self.optimiser.step()
        return value

    def _gradient(self, rows: Indices, batch: Batch, halves: bool) -> float:
        device = self.data.machine.device
        targets = self.data.train.targets[torch.from_numpy(rows)].to(device)
        with torch.autocast(device.type, torch.bfloat16) if halves else contextlib.nullcontext():
            outputs = self.module(batch)
        value = self.loss(outputs.float(), targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    def _check(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            rates = ", ".join(f"{rate:g}" for rate in sorted(set(self.rates)))
            raise DivergedError(
                f"the {name} became {value} in epoch {self.epoch + 1}, step {self.step + 1} of {self.steps}; "
                f"finite numbers were expected. Lower the learning rate (now {rates}), or try --precision float32."
            )

    def _halves_pay(self, rows: Indices, batch: Batch) -> bool:
        """Whether steps are clearly faster in bfloat16, by a few trial steps that leave no trace."""
        machine = self.data.machine
        if machine.precision != "bfloat16" or not knows_bfloat16(machine.device):
            return False
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        seconds = {False: math.inf, True: math.inf}
        for turn in range(4):
            for halves in seconds:
                started = time.perf_counter()
                self._gradient(rows, batch, halves)
                if turn:  # the first one warms up
                    seconds[halves] = min(seconds[halves], time.perf_counter() - started)
        self.optimiser.zero_grad(set_to_none=True)
        for name, buffer in self.module.named_buffers():
            buffer.copy_(buffers[name])
        return seconds[False] >= _FASTER * seconds[True]

    def _validate(self) -> float | None:
        valid = self.data.valid
        if valid is None or not len(valid):
            return None
        # in float32: the epochs' differences are small
        machine = replace(self.data.machine, precision="float32")
        outputs = Extractor(self.module, self.preprocess, machine).run(valid.examples)
        return self.goal.measure(outputs, valid.targets.numpy())

    def _state(self) -> dict[str, Tensor]:
        """All of the module that training can change."""
        learning = {id(value) for value in self.learning}
        values = {name: value for name, value in self.module.named_parameters() if id(value) in learning}
        return {**values, **dict(self.module.named_buffers())}

    def finish(self) -> Outcome:
        """The best epoch's weights are put back."""
        if self.best is not None:
            with torch.no_grad():
                for name, tensor in self._state().items():
                    tensor.copy_(self.kept[name])
        self.module.eval()
        return Outcome(tuple(self.history), self.best)

    def _identity(self) -> str:
        """Names this fit: a checkpoint of another one is not gone on with."""
        named = [[name, list(tensor.shape)] for name, tensor in self._state().items()]
        rates = [[group["lr"], group["weight_decay"], len(group["params"])] for group in self._groups()]
        plan = [asdict(self.recipe), rates, self.data.seed, self.steps, self.pool, named]
        return digest(json.dumps(plan), self.data.train.targets.numpy().tobytes())

    def _groups(self) -> list[dict[str, Any]]:
        return [{**group, "lr": rate} for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True)]

    def _save(self) -> None:
        if self.data.checkpoint is None:
            return
        tensors = {f"now/{name}": tensor for name, tensor in self._state().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.kept.items()}
        for place, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{place}/{name}": tensor for name, tensor in values.items()}
        header = {name: getattr(self, name) for name in _STANDING}
        header |= {"identity": self._identity(), "history": [asdict(each) for each in self.history]}
        write_state(self.data.checkpoint, tensors, header)
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Go on where an earlier process stopped, if it wrote that down."""
        found = None if self.data.checkpoint is None else read_state(self.data.checkpoint)
        if found is None or found[1].get("identity") != self._identity():
            return
        tensors, header = found
        with torch.no_grad():
            for name, tensor in self._state().items():
                tensor.copy_(tensors[f"now/{name}"])
        device = self.data.machine.device
        self.kept = {
            name.removeprefix("best/"): tensor.to(device) for name, tensor in tensors.items() if name[:5] == "best/"
        }
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser/"):
                _, place, value = name.split("/")
                state.setdefault(int(place), {})[value] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        for name in _STANDING:
            setattr(self, name, header[name])
        self.history = [Epoch(**each) for each in header["history"]]

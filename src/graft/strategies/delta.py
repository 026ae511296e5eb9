"""What the layers of the source see, kept where it matters for the task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn

from graft.compute import to_device
from graft.contracts import Backbone, Batch, FittedTask, History, Passes, Start, Strategy, TransferData
from graft.data.order import shuffled
from graft.errors import RequestError
from graft.limits import among, at_least, whole
from graft.linear import fit_probe, frozen_trunk
from graft.nn.behaviour import attention, behaviour_distance, removal_rises, removal_slopes
from graft.nn.grafted import Grafted
from graft.nn.losses import weighted_mean
from graft.nn.penalties import weight_penalty
from graft.nn.taps import channels_last, real_places, watching
from graft.train import Step
from graft.tuning import TRAINING, Tuning, tunable, tune

__all__ = ["Delta"]

Attention = Literal["gradient", "removal", "none"]

_LIMITS = {
    "alpha": at_least(),
    "beta": at_least(),
    "attention": among(get_args(Attention)),
    "layers": whole(),
    **TRAINING,
}

_ROWS, _BATCH = 256, 32
"""By how many rows a channel is judged (as in the authors' code), and how many at a time."""


class Delta(Strategy):
    """Train all weights, and keep the feature maps of the source, above all the channels that the task needs.

    A frozen source looks at every batch beside the network that trains.  The loss of a row has
    ``alpha Σ_layers 1/2 Σ_j c a_j |FM_j - FM⁰_j|² / places + beta / 2 |v|²`` added: distances between
    the maps of the last ``layers`` stages, channel by channel, and the new head's weights ``v``.  It
    takes the place of weight decay.

    Parameters
    ----------
    alpha
        How strongly the maps are held, as a mean over the rows.  The authors' 0.01 is for the sum over
        batches of 64, under plain gradient descent; AdamW, whose steps do not shrink with the gradient,
        would go back and forth across so steep a wall, and lose more than it holds.
    beta
        The same for the head's weights, towards 0; its biases are free.
    attention
        Where ``a_j``, of sum 1, comes from: how much the loss of a linear probe rises without the
        channel.  ``removal`` leaves out one channel after the other, as in the paper, and takes a
        forward pass a channel; ``gradient`` tells the same to first order in one pass; ``none``: all
        channels alike.
    layers
        How many stages, from the output.
    epochs
        Passes over the training rows, at most.
    lr
        Highest learning rate of the source's weights.
    tuning
        Finer points of fine-tuning; its ``weight_decay`` is not used.

    References
    ----------
    Li, Xiong, Wang, Rao, Liu and Huan, DELTA: deep learning transfer using feature map with
    attention for convolutional networks, ICLR 2019.

    Examples
    --------
    >>> Delta(attention="removal").get_params()["layers"]
    4
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    needs: ClassVar[str] = "a source with stages"

    def __init__(
        self,
        alpha: float = 0.01,
        beta: float = 0.01,
        attention: Attention = "gradient",
        layers: int = 4,
        epochs: int = 10,
        lr: float = 1e-4,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.attention = attention
        self.layers = layers
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        tuning = Tuning.checked(self, _LIMITS)
        if not _stages(backbone, self.layers):
            raise RequestError(
                f"delta needs {self.needs}, and {backbone.card.name} has none; choose l2_sp, or another source."
            )
        return tunable(backbone, task, tuning)

    def passes_over(self, rows: int) -> Passes:
        return replace(super().passes_over(rows), forward=1.0 + self.epochs)  # the source looks at every batch too

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted, device = cast("Grafted", module), data.machine.device
        stages = _stages(grafted.backbone, self.layers)
        source = copy.deepcopy(grafted.trunk).eval().requires_grad_(False).to(device)
        weights = self._weights(replace(grafted.backbone, module=source), stages, task, data)
        turned = channels_last(source)

        def kept(step: Step, features: Tensor, outputs: Tensor) -> Tensor:
            with torch.no_grad(), watching(source, stages) as before:
                step.run(source)
            apart = [
                behaviour_distance(
                    now[name].float(),
                    before[name].float(),
                    weights.get(name),
                    last=turned,
                    real=_real(step.batch, name, now[name]),
                )
                for name in stages
                if name in before and now[name].requires_grad
            ]
            held = weighted_mean(torch.stack(apart).sum(0), step.weights) if apart else features.sum() * 0.0
            return self.alpha * held + weight_penalty(grafted.head, l1=0.0, l2=self.beta / 2)

        tuning = replace(Tuning.of(self.tuning), weight_decay=0.0)
        with watching(grafted.trunk, stages) as now:
            return tune(grafted, task, data, epochs=self.epochs, lr=self.lr, tuning=tuning, extra=kept)

    def _weights(
        self, source: Backbone, stages: tuple[str, ...], task: FittedTask, data: TransferData
    ) -> dict[str, Tensor]:
        """Attention ``(c,)`` by stage, from a linear probe on the source; empty where all are alike."""
        if self.attention == "none":
            return {}
        probe = frozen_trunk(source, task)
        fit_probe(probe, task, data, None)
        probe.to(data.machine.device)
        total: dict[str, Tensor] = {}
        for batch, targets, counts in _batches(source, data):
            lost = partial(_lost, probe, task, batch, targets, counts)
            if self.attention == "removal":
                found = removal_rises(lost, source.module, stages, channels_last(source.module))
            else:
                found = _slopes(lost, source.module, stages)
            heard = len(targets) if counts is None else float(counts.sum())
            for name, rises in found.items():
                total[name] = total.get(name, 0.0) + rises.double() * heard
        return {name: attention(rises).float() for name, rises in total.items()}


def _stages(backbone: Backbone, layers: int) -> tuple[str, ...]:
    """The last stages that are parts of the network; some are single weights."""
    parts = {name for name, _ in backbone.module.named_modules()}
    return tuple([stage for stage in backbone.stages if stage in parts][-layers:])


def _real(batch: Batch, stage: str, maps: Tensor) -> Tensor | None:
    """``(b, t)``, 0 at padding; sounds that are computed length by length have none."""
    real = real_places(batch, stage, maps.shape[1]) if maps.ndim == 3 else None
    return None if real is None or len(real) != len(maps) else real


def _batches(source: Backbone, data: TransferData) -> Iterator[tuple[Batch, Tensor, Tensor | None]]:
    """Some training rows as they are, without augmentation: with their targets and what they weigh."""
    rows = shuffled(len(data.train), data.seed)[:_ROWS]
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        items = source.preprocess.items([data.train.examples[int(row)] for row in part])
        batch = to_device(source.preprocess.collate(items), data.machine)
        places, device = torch.from_numpy(part), data.machine.device
        weights = data.train.weights
        counts = None if weights is None else weights[places].to(device)
        yield batch, data.train.targets[places].to(device), counts


def _lost(probe: nn.Module, task: FittedTask, batch: Batch, targets: Tensor, counts: Tensor | None) -> Tensor:
    return task.loss(probe(batch), targets, counts)


def _slopes(lost: Callable[[], Tensor], trunk: nn.Module, stages: tuple[str, ...]) -> dict[str, Tensor]:
    trunk.requires_grad_(True)  # else the maps have no gradient
    with torch.enable_grad(), watching(trunk, stages) as maps:
        loss = lost()
    found = removal_slopes(maps, loss, channels_last(trunk))
    trunk.requires_grad_(False)
    return found

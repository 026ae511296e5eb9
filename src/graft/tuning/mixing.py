"""A training step with its rows varied: words left out, rows mixed with one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graft.contracts import Batch, Preprocess
from graft.data.preprocess.augmented import Augmented, Plain
from graft.nn.grafted import Grafted
from graft.nn.mixing import blend, mixed_pairs, paste, soft_targets
from graft.nn.token_dropout import drop_tokens
from graft.train import Step
from graft.tuning.settings import Tuning

__all__ = ["forward", "training_form"]

Mix = Callable[[Tensor], Tensor]


def training_form(preprocess: Preprocess, tuning: Tuning) -> Preprocess:
    """The source's preprocessing, with the random training form that was asked for."""
    if not tuning.augment:
        return Plain(preprocess)
    return Augmented(preprocess, tuning.rand_augment) if tuning.rand_augment else preprocess


@dataclass(frozen=True)
class _Mixed:
    """What is mixed: the rows before the network or their features after it, and the targets."""

    step: Step
    features: Mix | None = None


def forward(grafted: Grafted, step: Step, tuning: Tuning, classes: int) -> tuple[Step, Tensor, Tensor]:
    """The step as its loss sees it, with features ``(n, d)`` and outputs ``(n, c)`` of its varied rows.

    Parameters
    ----------
    classes
        ``c``, where targets are class numbers.
    """
    if tuning.token_dropout:
        step = replace(step, batch=drop_tokens(step.batch, tuning.token_dropout))
    mixed = _mixed(step, tuning, classes)
    features = step.run(grafted.trunk, mixed.step.batch)
    if mixed.features is not None:
        features = mixed.features(features)
    return mixed.step, features, grafted.head(features)


def _mixed(step: Step, tuning: Tuning, classes: int) -> _Mixed:
    """Mixup and CutMix take turns by chance where both are asked for."""
    if not (tuning.mixup or tuning.cutmix) or len(step.targets) < 2:
        return _Mixed(step)
    images = isinstance(step.batch, Tensor) and step.batch.ndim == 4
    cuts = bool(tuning.cutmix) and images and (not tuning.mixup or bool(torch.rand(()) < 0.5))
    partner, share = mixed_pairs(len(step.targets), tuning.cutmix if cuts else tuning.mixup or tuning.cutmix)
    batch: Batch = step.batch
    if images:
        assert isinstance(batch, Tensor)
        if cuts:
            batch, share = paste(batch, partner, share)
        else:
            batch = blend(batch, partner, share)
    targets = blend(soft_targets(step.targets, classes), partner, share)
    weights = None if step.weights is None else blend(step.weights, partner, share)
    features = None if images else (lambda values: blend(values, partner, share))
    return _Mixed(replace(step, batch=batch, targets=targets, weights=weights), features)

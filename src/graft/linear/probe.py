"""A linear head on features that stay as they are: the closed step that several strategies share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from graft.contracts import Backbone, FittedTask, History, TransferData
from graft.evaluate.goal import goal_of
from graft.features import extract
from graft.linear.models import PENALTIES, fit_linear
from graft.nn.freeze import freeze
from graft.nn.grafted import Grafted

__all__ = ["fit_head", "fit_probe", "frozen_features", "frozen_trunk", "zero_head"]


def zero_head(backbone: Backbone, task: FittedTask) -> nn.Linear:
    """A linear head that says nothing yet; drawn from no generator."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element")  # a head on no features is meant
        head: nn.Linear = nn.utils.skip_init(nn.Linear, backbone.dim, task.n_outputs)  # type: ignore[no-untyped-call]
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def frozen_trunk(backbone: Backbone, task: FittedTask) -> Grafted:
    """The backbone, none of which trains, below a linear head that does."""
    module = Grafted(backbone, zero_head(backbone, task))
    freeze(module.trunk)
    return module.eval()


def fit_probe(module: nn.Module, task: FittedTask, data: TransferData, penalties: Sequence[float] | None) -> History:
    """Set the head of ``module`` to the linear model that fits its features best; the trunk is only read.

    Parameters
    ----------
    penalties
        Those to choose from by cross-validation; ``None``: those that suit all features.
    """
    assert isinstance(module, Grafted)
    features = frozen_features(module.backbone, data)
    return fit_head(module, task, data, features, PENALTIES if penalties is None else penalties)


def frozen_features(backbone: Backbone, data: TransferData) -> Any:
    """``(n, d)`` of the training rows, as float32, or sparse where they are too wide to be dense."""
    examples = data.train.examples
    if backbone.sparse is not None:
        return backbone.sparse(examples)
    return extract(backbone, examples, machine=data.machine, cache=data.cache, progress=data.progress)


def fit_head(
    module: nn.Module, task: FittedTask, data: TransferData, features: Any, penalties: Sequence[float]
) -> History:
    """Set the head of ``module`` for features ``(n, d)`` of the training rows, dense or sparse."""
    assert isinstance(module, Grafted)
    assert isinstance(module.head, nn.Linear)
    found = fit_linear(
        features,
        data.train.targets,
        task.link,
        n_outputs=task.n_outputs,
        weights=data.train.weights,
        goal=goal_of(task),
        penalties=penalties,
        groups=data.groups,
        keys=data.train.examples.keys(),
        seed=data.seed,
        progress=data.progress,
    )
    with torch.no_grad():
        module.head.weight.copy_(found.weight)
        module.head.bias.copy_(found.bias)
    return History(score=found.score, chosen={"penalty": found.penalty})

"""What a source itself says of a row: its own outputs as features, for model transfer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Batch
from graft.storage import digest

__all__ = ["Form", "chances", "own_outputs", "spoken"]

Form = Literal["logits", "probabilities", "log"]


class _Said(nn.Module):
    """A network and its own output layer: batch → the source's own outputs ``(n, c)``."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, batch: Batch) -> Tensor:
        features: Tensor = self.trunk(batch)
        first = next(self.head.parameters(), features)
        return cast("Tensor", self.head(features.to(first.dtype)))


def own_outputs(backbone: Backbone) -> Backbone | None:
    """The same source as a backbone whose module gives its own outputs; ``None`` where it has none.

    Weights are shared with ``backbone``.  The outputs are raw scores, before any softmax.

    Parameters
    ----------
    backbone
        With a ``head`` on its features, or with ``outputs`` of its own.

    Examples
    --------
    >>> from graft.sources.pixels import Pixels
    >>> own_outputs(Pixels().load()) is None
    True
    """
    if backbone.outputs is not None:
        module, dim = backbone.outputs, backbone.card.outputs or 0
        stages = _renamed(backbone, module)
    elif backbone.head is not None:
        module = _Said(backbone.module, backbone.head)
        dim = _width(backbone.head) or backbone.card.outputs or 0
        own = ["head"] if any(True for _ in backbone.head.parameters()) else []
        stages = (*(f"trunk.{stage}" for stage in backbone.stages), *own)
    else:
        return None
    if not dim:
        return None
    learn = backbone.learn
    return replace(
        backbone,
        module=module,
        dim=dim,
        stages=stages,
        head=None,
        outputs=None,
        fingerprint=None if backbone.fingerprint is None else digest("own outputs", backbone.fingerprint),
        learn=None if learn is None else lambda examples: cast("Backbone", own_outputs(learn(examples))),
        sparse=None,
        words=None,
    )


class _Spoken(nn.Module):
    """A network whose outputs are taken as probabilities, or as their logarithms."""

    def __init__(self, network: nn.Module, form: Form) -> None:
        super().__init__()
        self.network, self.form = network, form

    def forward(self, batch: Batch) -> Tensor:
        found = chances(self.network(batch))
        return found.clamp(min=torch.finfo(found.dtype).tiny).log() if self.form == "log" else found


def spoken(own: Backbone, form: Form) -> Backbone:
    """A backbone of outputs (see :func:`own_outputs`) that gives them as probabilities, or their logarithms."""
    if form == "logits":
        return own
    return replace(
        own,
        module=_Spoken(own.module, form),
        dim=max(own.dim, 2),
        stages=tuple(f"network.{stage}" for stage in own.stages),
        fingerprint=None if own.fingerprint is None else digest(form, own.fingerprint),
    )


def chances(outputs: Tensor) -> Tensor:
    """Raw outputs ``(n, c)`` → probabilities of the source's classes ``(n, c)``; a single output tells two apart."""
    if outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], 1)
    return outputs.float().softmax(1)


def _width(head: nn.Module) -> int | None:
    """How many outputs the last layer of a head has that says so."""
    wide: Any = [part for part in head.modules() if hasattr(part, "out_features")]
    return int(wide[-1].out_features) if wide else None


def _renamed(backbone: Backbone, outputs: nn.Module) -> tuple[str, ...]:
    """The stages as the network with its outputs names them: weights are the same, their names need not be."""
    names = {id(value): name for name, value in outputs.named_parameters()}
    left, found = list(names.values()), list[str]()
    for stage in backbone.stages:
        held = [value for name, value in backbone.module.named_parameters() if _under(name, stage)]
        here = [names[id(value)] for value in held if id(value) in names]
        prefix = _shared(here)
        inside = [name for name in left if _under(name, prefix)] if prefix else []
        found += [prefix] if prefix and set(inside) == set(here) else here
        left = [name for name in left if name not in here]
    return (*found, *left)


def _under(name: str, stage: str) -> bool:
    return name == stage or name.startswith(f"{stage}.")


def _shared(names: Sequence[str]) -> str:
    """The parts of dotted names that all of them begin with."""
    parts = [name.split(".") for name in names]
    shared = []
    for each in zip(*parts, strict=False):
        if len(set(each)) > 1:
            break
        shared.append(each[0])
    return ".".join(shared)

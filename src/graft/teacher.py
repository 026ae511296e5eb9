"""A teacher: a fitted model, or a source with outputs of its own, and what it says of rows in the words of a task."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from graft import registry, specs
from graft.assembly import assemble
from graft.contracts import Array, Backbone, Batch, Card, Examples, FittedTask, Machine, Rows, Source, TransferData
from graft.data.examples import TableExamples
from graft.errors import BundleError, GraftError, RequestError
from graft.features import extract
from graft.manifest import is_bundle, members, read_manifest, verify
from graft.nn.averaging import averaged
from graft.nn.distillation import expected_outputs
from graft.nn.grafted import Grafted
from graft.nn.losses import weighted_mean
from graft.nn.outputs import own_outputs
from graft.nn.weighing import even_weights
from graft.storage import digest
from graft.wording import listed

__all__ = ["Answers", "Fitted", "Teacher", "answers", "check_teacher", "described", "revision"]

_STRENGTH = 1.0
"""Rows of the prior that each of a source's own classes is given; many of them occur once or never."""


class Fitted(Protocol):
    """A fitted model in memory, as ``graft.fit`` and ``graft.load`` give it."""

    @property
    def networks(self) -> Sequence[tuple[Grafted, float]]: ...
    @property
    def fitted(self) -> FittedTask: ...
    @property
    def card(self) -> Card: ...


Teacher = str | os.PathLike[str] | Source | Fitted
"""The folder of a saved model, a source or its spec, or a fitted model in memory."""


@dataclass(frozen=True)
class Answers:
    """What a teacher says of rows, computed once.

    Parameters
    ----------
    outputs
        ``(n, c)`` raw outputs, in the order of the task's classes and in its units.
    features
        ``(n, k)``.
    """

    outputs: Tensor
    features: Tensor


@dataclass(frozen=True)
class _Network:
    """A teacher at hand: batch → its own outputs beside its features."""

    name: str
    backbone: Backbone
    dim: int
    fitted: FittedTask | None

    @property
    def modality(self) -> str:
        """What it reads."""
        return self.backbone.card.modality

    def read(self, examples: Examples, data: TransferData) -> tuple[Array, Array]:
        """Its own outputs and its features, in evaluation form and in float32."""
        backbone = self.backbone
        schema = getattr(backbone.preprocess, "schema", None)
        if schema is not None and isinstance(examples, TableExamples):
            examples = examples.conform(schema)
        machine = Machine(data.machine.device, "float32", data.machine.threads)
        both = extract(backbone, examples, machine=machine, cache=data.cache, progress=data.progress)
        return both[:, : self.dim], both[:, self.dim :]


@dataclass(frozen=True)
class _Council:
    """Several networks who speak as one: an ensemble."""

    name: str
    parts: tuple[_Network, ...]
    shares: tuple[float, ...]
    fitted: FittedTask

    @property
    def modality(self) -> str:
        """What they read."""
        return self.parts[0].modality

    def read(self, examples: Examples, data: TransferData) -> tuple[Array, Array]:
        """The outputs of their average, and all features end to end."""
        read = [part.read(examples, data) for part in self.parts]
        outputs = averaged(self.fitted.link, [own for own, _ in read], self.shares)
        return outputs, np.concatenate([features for _, features in read], axis=1)


class _Both(nn.Module):
    """Outputs and features of one pass."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, batch: Batch) -> Tensor:
        features = self.trunk(batch)
        return torch.cat([self.head(features), features], dim=1)


class _Apart(nn.Module):
    """Outputs that are no layer on the features."""

    def __init__(self, trunk: nn.Module, outputs: nn.Module) -> None:
        super().__init__()
        self.trunk, self.outputs = trunk, outputs

    def forward(self, batch: Batch) -> Tensor:
        return torch.cat([self.outputs(batch), self.trunk(batch)], dim=1)


def answers(given: Teacher, task: FittedTask, data: TransferData, examples: Examples) -> Answers:
    """What the teacher says of ``examples``.

    A fitted model's classes are matched by name; those that the task does not have are left out.  A
    source's own classes are others than the task's: its outputs become the task's by which of them
    occur together in ``data.train`` (LEEP's expected predictor).

    Raises
    ------
    RequestError
        Where the teacher reads rows of another modality, lacks classes, has another kind of task, or
        there is no such teacher.
    BundleError
        Where its folder is damaged.
    """
    network = _network(given, data.train.examples)
    reads = network.modality
    if reads not in ("any", examples.modality):
        raise RequestError(
            f"a teacher that reads rows of {reads} cannot teach from rows of {examples.modality}: {network.name}. "
            f"Name a teacher that reads rows of {examples.modality}."
        )
    columns = None if network.fitted is None else _matched(network.fitted, task, network.name)
    own, features = network.read(examples, data)
    if not np.isfinite(own).all():
        raise RequestError(f"the teacher {network.name} says what is no number (NaN or infinite); fit it again.")
    if network.fitted is None:
        seen, _ = network.read(data.train.examples, data)
        outputs = _translated(torch.from_numpy(own), torch.from_numpy(seen), data.train, task)
    elif columns is None:
        outputs = task.encode(network.fitted.decode(own)).float()
    else:
        outputs = torch.from_numpy(np.ascontiguousarray(own[:, columns]))
    return Answers(outputs, torch.from_numpy(np.ascontiguousarray(features)))


def described(given: Teacher | None) -> Any:
    """The teacher as a saved student remembers it: a path, a spec, or what a model in memory was."""
    if given is None or isinstance(given, str | Source):
        return given
    if isinstance(given, os.PathLike):
        return os.fspath(given)
    return f"model {_identity(given)[:8]} on {given.card.name}"


def revision(given: Teacher | None) -> str:
    """Names what the teacher is by content, as far as that can be told before it is read.

    Raises
    ------
    RequestError
        Where a text is neither a saved model's folder nor a source.
    """
    if given is None or isinstance(given, Source):
        return ""
    if not isinstance(given, str | os.PathLike):
        return _identity(given)
    folder = _folder(given)
    return "" if folder is None else digest(json.dumps(read_manifest(folder)["files"], sort_keys=True))


def _folder(given: str | os.PathLike[str]) -> Path | None:
    """The folder of a saved model; ``None`` where a source is named.

    Raises
    ------
    RequestError
        Where it is neither.
    """
    text = os.fspath(given)
    for place in (text, text.removeprefix("fitted/")):
        if is_bundle(place):
            return Path(place)
    if specs.name_of(text) in registry.names("sources"):
        return None
    raise RequestError(
        f"{text!r} is neither a saved model nor a source, so it is no teacher; give the folder that graft fit wrote, "
        "or a source with outputs of its own (graft ls sources)."
    )


def _identity(given: Fitted) -> str:
    """Names a model by its weights; of several networks with what each counts."""
    found = [_weights(module) for module, _ in given.networks]
    return found[0] if len(found) == 1 else digest(*found, *(str(share) for _, share in given.networks))


def _weights(module: nn.Module) -> str:
    state = sorted(module.state_dict().items())
    return digest(*(part for name, value in state for part in (name, value.cpu().contiguous().numpy().tobytes())))


def _network(given: Teacher, train: Examples) -> _Network | _Council:
    if isinstance(given, Source):
        return _of_source(given, train)
    if not isinstance(given, str | os.PathLike):
        name, told = given.card.name, given.fitted
        parts = [_joined(name, each, told, digest("teacher", _weights(each))) for each, _ in given.networks]
        return _spoken(name, parts, [share for _, share in given.networks], told)
    folder = _folder(given)
    return _of_source(registry.build("sources", os.fspath(given)), train) if folder is None else _of_folder(folder)


def _spoken(name: str, parts: Sequence[_Network], shares: Sequence[float], fitted: FittedTask) -> _Network | _Council:
    return parts[0] if len(parts) == 1 else _Council(name, tuple(parts), tuple(shares), fitted)


def _of_folder(folder: Path) -> _Network | _Council:
    manifest = verify(folder)
    within = members(manifest)
    if not within:
        return _of_network(folder, manifest)
    whole = sum(times for _, times in within)
    parts = [_of_network(folder / place, verify(folder / place)) for place, _ in within]
    fitted = registry.restore("tasks", manifest["task"]).restore(manifest["fitted"])
    return _spoken(str(folder), parts, [times / whole for _, times in within], fitted)


def _of_network(folder: Path, manifest: Mapping[str, Any]) -> _Network:
    try:
        parts = assemble(folder, manifest)
    except BundleError:
        raise
    except GraftError as exc:
        raise BundleError(f"the teacher {folder} cannot be rebuilt: {exc}") from exc
    named = json.dumps([manifest[key] for key in ("files", "source", "strategy")], sort_keys=True)
    return _joined(str(folder), parts.module, parts.fitted, digest("teacher", named))


def check_teacher(given: Fitted, name: str) -> None:
    """Refuse a model that reads nothing of a row.

    Raises
    ------
    RequestError
        For such a control.
    """
    for network, _ in given.networks:
        _check_reads(network, name)


def _check_reads(module: Grafted, name: str) -> None:
    if module.backbone.dim == 0:
        raise RequestError(
            f"the teacher {name} is a control that says the same of every row, so nothing can be learnt from it; "
            "fit one that reads the rows, or name another."
        )


def _joined(name: str, module: Grafted, fitted: FittedTask, fingerprint: str) -> _Network:
    _check_reads(module, name)
    backbone = replace(
        module.backbone,
        module=_Both(module.trunk, module.head).eval(),
        dim=fitted.n_outputs + module.backbone.dim,
        fingerprint=fingerprint,
        learn=None,
        sparse=None,
    )
    return _Network(name, backbone, fitted.n_outputs, fitted)


def _of_source(source: Source, train: Examples) -> _Network:
    name, backbone = registry.title(source), source.load()
    backbone = backbone.learn(train) if backbone.learn is not None else backbone
    own = own_outputs(backbone)
    if own is None:
        raise RequestError(
            f"{name} has no outputs of its own, so it is no teacher; give a source with a head, or fit a model first."
        )
    named = None if backbone.fingerprint is None else digest("teacher", backbone.fingerprint)
    module: nn.Module = _Apart(backbone.module, own.module)
    if backbone.outputs is None and backbone.head is not None:
        module = _Both(backbone.module, backbone.head)
    whole = replace(backbone, module=module.eval(), dim=own.dim + backbone.dim, fingerprint=named)
    return _Network(name, replace(whole, learn=None, sparse=None), own.dim, None)


def _matched(theirs: FittedTask, ours: FittedTask, name: str) -> Sequence[int] | None:
    """Which of the teacher's outputs are ours, in our order; ``None`` for numbers, which have units instead.

    Raises
    ------
    RequestError
        Where it does not know all of ours.
    """
    if theirs.link != ours.link or (not ours.classes and theirs.n_outputs != ours.n_outputs):
        raise RequestError(
            f"the teacher {name} was fitted for {theirs.kind} with {theirs.n_outputs} outputs, and the task is "
            f"{ours.kind} with {ours.n_outputs}; give a teacher of the same kind."
        )
    if not ours.classes:
        return None
    places = {str(each): place for place, each in enumerate(theirs.classes)}
    lacking = [str(each) for each in ours.classes if str(each) not in places]
    if lacking:
        beside = [each for each in places if each not in set(map(str, ours.classes))]
        raise RequestError(
            f"the teacher {name} does not know the classes {listed(lacking)}; it knows {len(places)}, of which "
            f"the data do not have {listed(beside) or 'none'}. Fit a teacher on rows of all classes, or rename them."
        )
    return [places[str(each)] for each in ours.classes]


def _translated(own: Tensor, seen: Tensor, train: Rows, task: FittedTask) -> Tensor:
    """The outputs that the task would have, from those of a source with classes of its own."""
    targets = train.targets
    values = one_hot(targets, task.n_outputs) if targets.ndim == 1 else targets
    values, given = values.double(), even_weights(train.weights)
    counts = torch.ones(len(train), dtype=torch.float64) if given is None else given.double()
    heard = counts[:, None] * seen.double().softmax(dim=1)
    prior = weighted_mean(values.T, counts)
    means = expected_outputs(own.double().softmax(dim=1), heard, values, prior, _STRENGTH)
    edge = 0.5 / (float(counts.sum()) + 1)
    if task.link == "sigmoid":
        means = torch.logit(means.clamp(edge, 1 - edge))
    elif task.link == "softmax":
        means = means.clamp(min=edge).log()
    return means.float()

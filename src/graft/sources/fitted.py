"""A model that Graft saved, as the source of the next."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from graft import registry
from graft.contracts import Backbone, Card, Examples, Source
from graft.data.examples import TableExamples
from graft.data.preprocess.cells import CellPreprocess, ConformPreprocess
from graft.errors import BundleError, GraftError, RequestError
from graft.manifest import members, read_manifest, verify
from graft.nn import factories
from graft.nn.adapters import adapter_width, blocks, insert_adapters
from graft.nn.ceiling import ceiling, room_for
from graft.nn.hub.config import is_size
from graft.nn.initialise import seeded
from graft.nn.state_files import read_state
from graft.nn.weights import match
from graft.storage import digest
from graft.wording import listed

__all__ = ["Fitted"]

_FILE = "fitted.json"
_FOREIGN = (
    *(GraftError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError),
    *(RecursionError, RuntimeError, MemoryError, OSError),
)
"""What a folder that Graft did not write may lead to, however well it is sealed."""

_MOST_OUTPUTS = 1_000_000

_OWN = "own.json"
"""How many outputs the model has of its own, so that its head can be built before its weights are read."""

_ADAPTERS = "adapters.json"
"""How wide the layers are that the model put between its source's blocks."""

_INNER = "fitted/"
"""Before the names of an inner one's own files, where a fitted model was made of a fitted model."""


class Fitted(Source):
    """A model that Graft saved: ``fitted/<folder>``, its network with all that it learnt, without its head.

    The rows of a table are brought into the columns that the model knows, by name: columns that both
    have are used, those that only the model knows count as missing, others are left.  The folder is
    read, not kept: a model that is made from it carries what it needs.

    Parameters
    ----------
    path
        Folder of the saved model.
    rescale
        Whether a table's numbers are scaled as the new training rows have them, instead of as the
        model learnt it: for other units, or another place.
    code
        Your function that makes the model's network, ``nets.py:make``, where it was fitted with one:
        it runs because you name it.

    Examples
    --------
    >>> Fitted("king-county-model").path
    'king-county-model'
    """

    def __init__(self, path: str, rescale: bool = False, code: str | None = None) -> None:
        self.path = path
        self.rescale = rescale
        self.code = code

    def reads(self) -> str:
        card = read_manifest(self.path)["card"]
        if not isinstance(card, dict) or not isinstance(card.get("modality"), str):
            raise BundleError(f"{self.path} does not say what its model reads; fit it again.")
        return str(card["modality"])

    def classes(self) -> tuple[str, ...]:
        stated = read_manifest(self.path)["fitted"]
        return tuple(str(each) for each in stated.get("classes", ())) if isinstance(stated, dict) else ()

    def load(self, weights: bool = True) -> Backbone:
        """The model's network; that of a table still has to meet its rows: ``learn(examples)``.

        Raises
        ------
        BundleError
            Where the folder is no saved model, or damaged.
        RequestError
            Where the model stands on no network that learnt anything, or is an ensemble of several.
        """
        folder, manifest = Path(self.path), verify(self.path)
        if within := members(manifest):
            raise RequestError(
                f"{folder} is an ensemble of {len(within)} models, and a source is one: name one of them "
                f"(fitted/{folder / within[0][0]}), or teach a small model what all of them know "
                f"(graft distill {folder} DATA) and name that."
            )
        held = [name for name in manifest["files"] if name.startswith("source/")]
        head = None
        try:
            files = {name.removeprefix("source/"): (folder / name).read_bytes() for name in held}
            named = contextlib.nullcontext() if self.code is None else factories.allowed(self.code)
            with named, ceiling(room_for(folder / "weights.safetensors")):
                inner = _restored(manifest["source"], files)
            bare = not any(True for _ in inner.module.parameters())
            if not bare:
                state = read_state(folder / "weights.safetensors")
                with ceiling(room_for(folder / "weights.safetensors")):
                    inner = _adapted(inner, adapter_width(state))
                head = _trained(inner, state) if weights else None
            card = _card(self.path, self.reads(), manifest, inner, 0 if head is None else head.out_features)
        except BundleError:
            raise
        except _FOREIGN as exc:
            raise BundleError(f"{folder} cannot be rebuilt: {exc}") from exc
        if bare:
            raise RequestError(
                f"the model in {folder} stands on {inner.card.name}, which has no weights to hand on; where "
                "transfer did not help, a control was saved: fit with fewer controls, or name another model."
            )
        return self._backbone(replace(inner, card=card, head=head), manifest["source"], weights)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        try:
            described = json.loads(files[_FILE])
            own = {name: raw for name, raw in files.items() if name not in (_FILE, "conform.json")}
            inner = _restored(described, {name.removeprefix(_INNER): raw for name, raw in own.items()})
            inner = replace(_adapted(inner, _stated_width(files)), head=_blank_head(inner.dim, files))
            adapted = ConformPreprocess.from_files(inner.preprocess, files)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save the model again.") from exc
        inner = replace(inner, files=_files(inner, described))
        return inner if adapted is None else replace(inner, preprocess=adapted)

    def _backbone(self, inner: Backbone, described: Mapping[str, Any], weights: bool) -> Backbone:
        schema = getattr(inner.preprocess, "schema", None)
        found = replace(
            inner,
            files=_files(inner, described),
            fingerprint=digest("fitted", str(inner.card.revision)) if weights else None,
            learn=None,
        )
        return found if schema is None else replace(found, learn=lambda examples: self._met(found, examples))

    def _met(self, found: Backbone, examples: Examples) -> Backbone:
        """The network for the columns of these rows."""
        if not isinstance(examples, TableExamples):
            return found
        inner: Any = found.preprocess
        turn = ConformPreprocess(inner, examples.schema).turn
        names = [
            (inner.schema.names or [str(place + 1) for place in range(inner.schema.width)])[at] for at in turn.shared
        ]
        if not names:
            raise RequestError(
                f"the table shares no column with the model in {self.path}, which knows "
                f"{listed(inner.schema.names or (), 20)}; rename the columns that mean the same."
            )
        if self.rescale:
            if not isinstance(inner, CellPreprocess | ConformPreprocess):
                raise RequestError("rescale is for models on table/mlp or table/ft; leave it out.")
            inner = inner.rescaled(turn(np.stack([examples[row] for row in range(len(examples))])))
        note = f"{len(names)} of its {inner.schema.width} columns are in the table: {listed(names, 20)}"
        return replace(
            found,
            preprocess=ConformPreprocess(inner, examples.schema),
            card=replace(found.card, notes=(*found.card.notes, note)),
        )


def _restored(described: Mapping[str, Any], files: Mapping[str, bytes]) -> Backbone:
    source: Source = registry.restore("sources", described)
    return source.rebuild(files)


def _adapted(inner: Backbone, width: int | None) -> Backbone:
    """With adapters between its blocks, where the model has some; they are not set yet."""
    if width is None:
        return inner
    insert_adapters(inner.module, blocks(inner.module, inner.stages), width)
    return replace(inner, files={**inner.files, _ADAPTERS: json.dumps({"width": width}).encode()})


def _stated_width(files: Mapping[str, bytes]) -> int | None:
    """Of the adapters, whose weights are not set; ``None`` where there are none."""
    if _ADAPTERS not in files:
        return None
    width = json.loads(files[_ADAPTERS])["width"]
    if not is_size(width, _MOST_OUTPUTS):
        raise ValueError(f"{_ADAPTERS} states a width of {width!r}")
    return int(width)


def _trained(inner: Backbone, state: Mapping[str, Tensor]) -> nn.Linear | None:
    """Set the weights of the network; its head, where that is a single layer."""
    # A model that stands on its source's outputs has that one's head inside its trunk; it is not needed here.
    beside = [each for each in ("head", "network.head") if each not in dict(inner.module.named_modules())]
    trunk = {name.removeprefix("trunk."): value for name, value in state.items() if name[:6] == "trunk."}
    match(inner.module, trunk, ignore=beside)
    weight, bias = state.get("head.weight"), state.get("head.bias")
    if weight is None or bias is None or weight.shape != (len(bias), inner.dim):
        return None
    head = nn.Linear(inner.dim, len(bias))
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head


def _files(inner: Backbone, described: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of the network, and what makes it; those of preprocessing come from itself."""
    named = {f"{_INNER}{name}" if name.endswith(_FILE) else name: raw for name, raw in inner.files.items()}
    told = {_FILE: json.dumps(dict(described)).encode()}
    if isinstance(inner.head, nn.Linear):
        told[_OWN] = json.dumps({"outputs": inner.head.out_features}).encode()
    return {**{name: raw for name, raw in named.items() if name != _OWN}, **told}


def _blank_head(dim: int, files: Mapping[str, bytes]) -> nn.Linear | None:
    """The model's own output layer, whose weights are not set; ``None`` where it has none."""
    if _OWN not in files:
        return None
    outputs = json.loads(files[_OWN])["outputs"]
    if not is_size(outputs, _MOST_OUTPUTS):
        raise ValueError(f"{_OWN} states {outputs!r} outputs")
    with seeded(0):
        return nn.Linear(dim, outputs)


def _card(path: str, modality: str, manifest: Mapping[str, Any], inner: Backbone, outputs: int) -> Card:
    known, origin = manifest["card"], manifest["result"].get("origin", "the rows that it was fitted on")
    before = known.get("pretraining")
    return Card(
        name=f"fitted/{path}",
        modality=modality,
        parameters=sum(value.numel() for value in inner.module.parameters()),
        bytes=int(manifest["files"]["weights.safetensors"]["bytes"]),
        flops=known.get("flops"),
        licence=known.get("licence"),
        pretraining=origin if before in (None, "none") else f"{before}; {origin}",
        outputs=outputs,
        revision=str(manifest["files"]["weights.safetensors"]["sha256"])[:32],
        notes=(f"fitted from {known['name']}",),
    )

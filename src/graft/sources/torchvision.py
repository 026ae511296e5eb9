"""The image models of torchvision."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from graft.contracts import Backbone, Card, FeatureMaps, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.errors import BundleError, WeightsError
from graft.fetch import fetch
from graft.nn import architectures
from graft.nn.feature_maps import pyramid
from graft.nn.image_backbone import assembled, described, edges, stated
from graft.nn.image_names import torchvision_entry
from graft.nn.state_files import read_state
from graft.nn.undrawn import Undrawn
from graft.nn.weights import match
from graft.storage import file_sha256

__all__ = ["Torchvision"]

# Heads beside the main one that only training uses.
_BESIDE = ("AuxLogits", "aux1", "aux2")

# DenseNet's files are older than the rule that a part's name has no dot in it.
_DOTTED = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")

# What torchvision's table links to → how SPDX writes it.
_LICENCES = {"https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "CC-BY-NC-4.0"}


class Torchvision(Source):
    """Any pretrained classifier of torchvision, by name and tag, with the preprocessing of its weights.

    Weights are kept where PyTorch keeps its own (``$TORCH_HOME/hub/checkpoints``), and fetched from
    its server where they are not there yet.

    Parameters
    ----------
    name
        As torchvision writes it, such as ``resnet50`` (the weights that it takes by default) or
        ``resnet50.IMAGENET1K_V1``.
    size
        Edge of the images in pixels, or ``[height, width]``; ``None`` takes the weights' own.

    Examples
    --------
    >>> Torchvision("resnet18").load(weights=False).dim
    512
    """

    modality: ClassVar[str] = "image"

    def __init__(self, name: str, size: int | Sequence[int] | None = None) -> None:
        self.name = name
        self.size = size

    def load(self, weights: bool = True) -> Backbone:
        name, images = self._resolved()
        network, file, notes = _network(name, weights)
        return _backbone(network, name, images, file, notes)

    def maps(self, weights: bool = True) -> FeatureMaps:
        name, images = self._resolved()
        network, file, notes = _network(name, weights)
        made = pyramid(name, images, whole=network)
        card = _card(name, images, made.module, file, notes)
        return FeatureMaps(made.module, made.channels, made.strides, ImagePreprocess(**vars(images)), card)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        name, _ = stated(files)
        if not name.startswith("torchvision/"):
            raise BundleError(f"it was saved by a source of torchvision, and names the network {name}; save it again.")
        images = architectures.Images(**vars(ImagePreprocess.from_files(files)))
        return _backbone(architectures.network(name), name, images, None, ())

    @classmethod
    def local(cls) -> tuple[str, ...]:
        held = {file.name for file in _folder().glob("*.pth")}
        if not held:
            return ()
        from torchvision import models

        return tuple(
            f"torchvision/{name}.{entry.name}"
            for name in models.list_models(module=models)
            for entry in models.get_model_weights(name)
            if _file(entry) in held
        )

    def _resolved(self) -> tuple[str, architectures.Images]:
        """The name with its tag, so that what is saved names one file of weights, and the images that it expects."""
        images = architectures.expected(f"torchvision/{self.name}")
        model, entry = self.name.partition(".")[0], torchvision_entry(self.name)
        images = images if self.size is None else replace(images, size=edges(self.size))
        return f"torchvision/{model}.{entry.name}", images


def _folder() -> Path:
    from torch.hub import get_dir

    return Path(get_dir()) / "checkpoints"


def _file(entry: Any) -> str:
    return str(entry.url).rsplit("/", 1)[-1]


def _network(name: str, weights: bool) -> tuple[nn.Module, Path | None, tuple[str, ...]]:
    """The whole network; with weights, their file and what was resolved."""
    if not weights:
        return architectures.network(name), None, ()
    entry = torchvision_entry(name.partition("/")[2])
    file = fetch(entry.url, _folder() / _file(entry))
    with Undrawn():
        network = architectures.network(name)
    try:
        report = match(network, _undotted(read_state(file)), ignore=_BESIDE)
    except WeightsError as exc:
        raise WeightsError(
            f"{file} does not hold the weights of {name}; remove it, it is fetched again.\n{exc}"
        ) from exc
    return network, file, ("left out: heads that only training uses",) if report.ignored else ()


def _undotted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_DOTTED.sub(r"\1\2", name): value for name, value in state.items()}


def _backbone(
    network: nn.Module, name: str, images: architectures.Images, file: Path | None, notes: tuple[str, ...]
) -> Backbone:
    parts = architectures.split(network, name, None, images)
    card = _card(name, images, parts.module, file, notes)
    entry = torchvision_entry(name.partition("/")[2])
    if parts.head is not None and images.size == architectures.expected(name).size and "_ops" in entry.meta:
        card = replace(card, flops=round(entry.meta["_ops"] * 1e9) - parts.dim * parts.classes)
    return assembled(parts, ImagePreprocess(**vars(images)), replace(card, outputs=parts.classes), described(name))


def _card(
    name: str, images: architectures.Images, module: nn.Module, file: Path | None, notes: tuple[str, ...]
) -> Card:
    meta = torchvision_entry(name.partition("/")[2]).meta
    known: dict[str, Any] = {"pretraining": "none"}
    if file is not None:
        licence = meta.get("license")
        unsaid = "torchvision states no licence of these weights; its code is BSD-3-Clause"
        known = {
            "bytes": file.stat().st_size,
            "licence": _LICENCES.get(licence, licence),
            "pretraining": _pretraining(name),
            "top1": _top1(meta) if architectures.expected(name) == images else None,
            "revision": file_sha256(file),
            "notes": (*notes, *(() if licence else (unsaid,))),
        }
    return Card(name, "image", parameters=sum(value.numel() for value in module.parameters()), outputs=0, **known)


def _top1(meta: Mapping[str, Any]) -> float | None:
    percent = meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    return None if percent is None else round(percent / 100, 5)


def _pretraining(name: str) -> str:
    # SWAG's networks learnt the hashtags of Instagram's images first (Singh et al., 2022).
    return "Instagram hashtags, then ImageNet-1k" if "_SWAG_" in name else "ImageNet-1k"

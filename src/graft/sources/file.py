"""A checkpoint on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from graft.contracts import Backbone, Card, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.errors import BundleError, RequestError
from graft.nn import architectures
from graft.nn import weights as state_dicts
from graft.storage import digest, file_sha256

__all__ = ["File"]

_FILE = "architecture.json"


class File(Source):
    """A checkpoint file (safetensors or a PyTorch state dict) whose architecture you name.

    Every weight must fit.  The number of classes is read off the checkpoint's own classifier.

    Parameters
    ----------
    path
        ``.safetensors``, ``.pt``, ``.pth``, …
    architecture
        ``timm/<name>`` or ``torchvision/<name>``.
    options
        Options of the architecture, such as ``{"pad_type": "same"}``.
    size
        Edge of the images in pixels, or ``[height, width]``; this and the next two are the
        architecture's own where they are ``None``.
    mean, std
        Of the channels, on the scale [0, 1]: three numbers each.
    ignore
        Names, or prefixes of names, in the checkpoint that the network does not need.

    Examples
    --------
    >>> File("resnet.pth", architecture="timm/resnet18").load(weights=False).dim
    512
    """

    modality: ClassVar[str] = "image"

    def __init__(
        self,
        path: str,
        architecture: str = "",
        options: Mapping[str, Any] | None = None,
        size: int | Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        ignore: Sequence[str] | None = None,
    ) -> None:
        self.path = path
        self.architecture = architecture
        self.options = options
        self.size = size
        self.mean = mean
        self.std = std
        self.ignore = ignore

    def load(self, weights: bool = True) -> Backbone:
        if not self.architecture:
            raise RequestError(
                f"a checkpoint does not say which network it belongs to; name it: "
                f"file/{self.path}?architecture=timm/<name> (or torchvision/<name>)."
            )
        if not weights:
            options = dict(self.options or {})
            return self._backbone(architectures.network(self.architecture, options), options, self._images(), None)
        path = Path(self.path).expanduser()
        state = state_dicts.read_state(path)
        network, options, reset = _fitting(self.architecture, dict(self.options or {}), state)
        report = state_dicts.match(network, state, reset=reset, ignore=self.ignore or ())
        backbone = self._backbone(network, options, self._images(), file_sha256(path))
        card = replace(backbone.card, bytes=path.stat().st_size, pretraining=None, notes=report.notes)
        return replace(backbone, card=card, head=None if reset else backbone.head)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        try:
            stated = json.loads(files[_FILE])
            name, options = str(stated["name"]), dict(stated["options"])
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc
        images = architectures.Images(**vars(ImagePreprocess.from_files(files)))
        return self._backbone(architectures.network(name, options), options, images, None, name)

    def _images(self) -> architectures.Images:
        given: dict[str, Any] = {}
        if self.size is not None:
            given["size"] = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        given |= {key: tuple(value) for key in ("mean", "std") if (value := getattr(self, key)) is not None}
        return replace(architectures.expected(self.architecture), **given)

    def _backbone(
        self,
        network: nn.Module,
        options: Mapping[str, Any],
        images: architectures.Images,
        revision: str | None,
        name: str | None = None,
    ) -> Backbone:
        name = name or self.architecture
        preprocess = ImagePreprocess(**vars(images))
        parts = architectures.split(network, name, options, images)
        files = {_FILE: json.dumps({"name": name, "options": dict(options)}).encode(), **preprocess.files()}
        card = Card(
            name=f"file/{Path(self.path).name}",
            modality="image",
            parameters=sum(value.numel() for value in parts.module.parameters()),
            pretraining="none",
            revision=revision,
        )
        return Backbone(
            module=parts.module,
            dim=parts.dim,
            preprocess=preprocess,
            stages=parts.stages,
            card=card,
            head=parts.head,
            files=files,
            fingerprint=digest(revision, *files.values()) if revision else None,
        )


def _fitting(
    name: str, options: dict[str, Any], state: Mapping[str, Tensor]
) -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """The network with as many classes as the checkpoint has, and what of it the checkpoint lacks."""
    network = architectures.network(name, options)
    layer = architectures.classifier_name(network)
    if layer is None:
        return network, options, ()
    held = next((key for key in state if f".{key}".endswith(f".{layer}.weight")), None)
    if held is None:
        return network, options, (layer,)
    classes = state[held].shape[0]
    if "num_classes" not in options and classes != network.get_parameter(f"{layer}.weight").shape[0]:
        options = {**options, "num_classes": classes}
        network = architectures.network(name, options)
    return network, options, ()

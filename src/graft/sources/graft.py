"""The networks that come with Graft."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Card, FeatureMaps, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.nn.architectures import Vision
from graft.nn.initialise import seeded
from graft.nn.state_files import read_state
from graft.nn.tiny import Tiny
from graft.nn.weights import match
from graft.storage import digest, file_sha256

__all__ = ["Graft"]

_FOLDER = Path(__file__).parents[1] / "weights"
_FILE = "architecture.json"
_EDGES = (32, 128)
_EDGE = 64
_MEAN, _STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Graft(Source):
    """A small pretrained network that comes with Graft: it needs no download, and its images are small.

    ``graft/tiny`` has a million weights, which were distilled from an ImageNet network on small photos,
    paintings, cartoons and drawings made of them.  It is meant for images of 32 to 128 pixels, where a
    network made for 224 pixels is slow, and for machines without a network.

    Parameters
    ----------
    name
        ``tiny``.
    size
        Edge of the images in pixels, 32 to 128; ``None``: 64.

    Examples
    --------
    >>> Graft("tiny").load(weights=False).dim
    912
    """

    modality: ClassVar[str] = "image"

    def __init__(self, name: str, size: int | None = None) -> None:
        self.name = name
        self.size = size

    def load(self, weights: bool = True) -> Backbone:
        preprocess = self._preprocess()
        if not weights:
            return _backbone(_network(), preprocess, None)
        network, stated = self._pretrained()
        return _backbone(network, preprocess, stated)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        try:
            name = json.loads(files[_FILE])["name"]
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc
        if name != "graft/tiny":
            raise BundleError(f"{_FILE} names {name!r}; expected 'graft/tiny': a newer Graft may know it.")
        return _backbone(_network(), ImagePreprocess.from_files(files), None)

    def maps(self, weights: bool = True) -> FeatureMaps:
        preprocess = self._preprocess()
        network, stated = self._pretrained() if weights else (_network(), None)
        return FeatureMaps(
            module=Vision(_Stages(network), _MEAN, _STD, lambda: _Stages(Tiny())),
            channels=network.widths,
            strides=tuple(2 ** (place + 1) for place in range(len(network.widths))),
            preprocess=preprocess,
            card=_card(network, preprocess, stated),
        )

    @classmethod
    def local(cls) -> tuple[str, ...]:
        return ("graft/tiny",)

    def _preprocess(self) -> ImagePreprocess:
        if self.name != "tiny":
            raise UnknownNameError("network of Graft's own", self.name, ("tiny",))
        size = _EDGE if self.size is None else self.size
        if not isinstance(size, int) or not _EDGES[0] <= size <= _EDGES[1]:
            raise RequestError(
                f"the image size is {self.size!r}; graft/tiny takes a whole number from {_EDGES[0]} to {_EDGES[1]}."
            )
        return ImagePreprocess((size, size), _MEAN, _STD, "bicubic", crop=1.0)

    def _pretrained(self) -> tuple[Tiny, dict[str, Any]]:
        """The network with its weights, and what the card beside them states."""
        path = _FOLDER / f"{self.name}.safetensors"
        state = read_state(path)
        try:
            stated: dict[str, Any] = json.loads(path.with_suffix(".json").read_bytes())
            expected = stated["sha256"]
        except (OSError, ValueError, KeyError) as exc:
            raise UnavailableError(
                f"{path.with_suffix('.json')} is missing or damaged ({exc!r}); "
                "install Graft again: pip install --force-reinstall graft-transfer"
            ) from exc
        if file_sha256(path) != expected:
            raise WeightsError(
                f"{path} is not the file that its card describes; "
                "install Graft again: pip install --force-reinstall graft-transfer"
            )
        network = _network()
        match(network, state)
        return network, stated | {"bytes": path.stat().st_size}


class _Stages(nn.Module):
    """Normalised images → the maps of every stage."""

    def __init__(self, network: Tiny) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.network.maps(images)


def _network() -> Tiny:
    with seeded(0):
        return Tiny()


def _backbone(network: Tiny, preprocess: ImagePreprocess, stated: Mapping[str, Any] | None) -> Backbone:
    files = {_FILE: json.dumps({"name": "graft/tiny"}).encode(), **preprocess.files()}
    return Backbone(
        module=Vision(network, _MEAN, _STD, Tiny),
        dim=network.dim,
        preprocess=preprocess,
        stages=("network.stem", *(f"network.stages.{place}" for place in range(len(network.stages)))),
        card=_card(network, preprocess, stated),
        files=files,
        fingerprint=digest(stated["sha256"], *files.values()) if stated else None,
    )


def _card(network: Tiny, preprocess: ImagePreprocess, stated: Mapping[str, Any] | None) -> Card:
    stated = stated or {}
    return Card(
        name="graft/tiny",
        modality="image",
        parameters=sum(value.numel() for value in network.parameters()),
        bytes=stated.get("bytes"),
        flops=_multiply_adds(*preprocess.size),
        licence=stated.get("licence"),
        pretraining=stated.get("pretraining", "none"),
        outputs=0,
        revision=stated.get("sha256"),
    )


def _multiply_adds(height: int, width: int) -> int:
    """Of one image; counted on the network without its numbers."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        Tiny().eval()(torch.empty(1, 3, height, width))
    return int(counter.get_total_flops()) // 2

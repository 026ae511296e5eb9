"""The networks of Keras: its applications, and the files that it saves."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from graft.contracts import Backbone, Card, FeatureMaps, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.errors import BundleError, RequestError, UnknownNameError, WeightsError
from graft.nn.image_backbone import edges
from graft.nn.keras import applications
from graft.nn.keras import model as models
from graft.nn.keras.config import cleaned
from graft.nn.keras.graph import multiply_adds
from graft.nn.keras.network import SCALES, KerasNetwork
from graft.storage import digest, file_sha256

__all__ = ["Keras"]

_FILE = "keras.json"
_SUFFIXES = frozenset({".keras", ".h5", ".hdf5"})
_POOLINGS = ("avg", "max", "flatten")


class Keras(Source):
    """A network of ``keras.applications``, or a model file of Keras 1 to 3, on Keras's torch backend.

    Its weights are ordinary torch parameters: they train, freeze, save and load like any others.
    Model files are read without running anything in them: layers of Keras's own alone, no ``Lambda``,
    no custom class.  Pixels are scaled inside the module, as the application's ``preprocess_input``
    does it.  Needs the extra ``graft-transfer[keras]``.

    Parameters
    ----------
    name
        As Keras writes it, such as ``VGG16``; or the path of a ``.keras``, ``.h5`` or ``.hdf5`` file.
    layer
        The layer whose outputs are the features, such as ``block4_pool``; ``None`` takes what the
        model's own classifier works on.
    pooling
        How places become one vector: ``avg``, ``max``, or ``flatten`` for all of them side by side.
    size
        Edge of the images in pixels, or ``[height, width]``; ``None`` takes the model's own.
    scale
        How pixels are scaled: ``tf`` (to [-1, 1]), ``unit`` (to [0, 1]), ``torch`` (ImageNet's mean and
        width), ``caffe`` (blue first, mean taken off) or ``none`` (0 to 255); ``None`` takes the
        application's own, and ``unit`` for a file that does not tell.
    architecture
        For a file that holds weights alone: the application that they belong to.
    options
        Options of the application, such as ``{"alpha": 0.25}`` or ``{"include_top": False}``.

    Examples
    --------
    >>> Keras("MobileNet", options={"alpha": 0.25}).load(weights=False).dim
    256
    """

    modality: ClassVar[str] = "image"

    def __init__(
        self,
        name: str,
        layer: str | None = None,
        pooling: str = "avg",
        size: int | Sequence[int] | None = None,
        scale: str | None = None,
        architecture: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.layer = layer
        self.pooling = pooling
        self.size = size
        self.scale = scale
        self.architecture = architecture
        self.options = options

    def load(self, weights: bool = True) -> Backbone:
        found, scale, notes = self._found(weights)
        taken = models.taken_apart(found, scale, self.pooling, self.layer)
        card = self._card(found, taken.module, taken.classes, notes)
        return _backbone(taken, _images(found, scale), card)

    def maps(self, weights: bool = True) -> FeatureMaps:
        found, scale, notes = self._found(weights)
        module, channels, strides = models.maps_of(found, scale, self.layer)
        return FeatureMaps(module, channels, strides, _images(found, scale), self._card(found, module, 0, notes))

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        preprocess = ImagePreprocess.from_files(files)
        try:
            held = json.loads(files[_FILE])
            scale, pooling = str(held["scale"]), str(held["pooling"])
            if scale not in SCALES or pooling not in _POOLINGS:
                raise ValueError(f"scale is {scale!r}, pooling is {pooling!r}")
            config = cleaned(held["config"])
            module = models.network_of(config, scale, pooling)
        except (KeyError, TypeError, ValueError, RuntimeError, MemoryError, WeightsError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc}); save or fetch the model again.") from exc
        taken = models.Taken(config, module, stages=models.stages_of(module))
        card = Card(self._title(), "image", _weights_in(module), pretraining="none")
        return _backbone(taken, preprocess, card)

    @classmethod
    def local(cls) -> tuple[str, ...]:
        there = all(importlib.util.find_spec(package) is not None for package in ("keras", "h5py"))
        return tuple(f"keras/{name}" for name in applications.cached()) if there else ()

    def _found(self, weights: bool) -> tuple[models.Found, str, tuple[str, ...]]:
        """The model, the scale of its pixels, and what was guessed."""
        if self.pooling not in _POOLINGS:
            raise UnknownNameError("pooling", self.pooling, _POOLINGS)
        if self.scale is not None and self.scale not in SCALES:
            raise UnknownNameError("scale of pixels", self.scale, SCALES)
        size = None if self.size is None else edges(self.size)
        options = dict(self.options or {})
        path = Path(self.name).expanduser()
        if path.suffix.lower() not in _SUFFIXES:
            if self.architecture is not None:
                raise RequestError(
                    f"architecture names the network of a file of weights, and {self.name!r} is no file."
                )
            found = models.from_application(self.name, options, size, weights)
        elif self.architecture is not None:
            found = models.from_application(self.architecture, options, size, weights, path)
        elif options:
            raise RequestError(f"options are for an application; name the one of {self.name}: architecture=MobileNet.")
        else:
            found = models.from_file(path, size, weights)
        scale = self.scale or found.scale
        if scale is not None:
            return found, scale, ()
        guess = "the file does not say how pixels are scaled; 'unit' (pixels / 255) was taken, scale=… decides"
        return found, "unit", (guess,)

    def _title(self) -> str:
        path = Path(self.name)
        return f"keras/{path.name if path.suffix.lower() in _SUFFIXES else self.name}"

    def _card(self, found: models.Found, module: KerasNetwork, classes: int, notes: tuple[str, ...]) -> Card:
        official = found.file is not None and Path(self.name).suffix.lower() not in _SUFFIXES
        known = applications.APPLICATIONS[found.application] if found.application and official else None
        return Card(
            name=self._title(),
            modality="image",
            parameters=_weights_in(module),
            bytes=found.file.stat().st_size if found.file else None,
            flops=multiply_adds(module.graph.model),
            licence=known.licence if known else None,
            pretraining="ImageNet-1k" if known else (None if found.file else "none"),
            outputs=classes,
            top1=known.top1 if known and found.top else None,
            revision=file_sha256(found.file) if found.file else None,
            notes=notes,
        )


def _images(found: models.Found, scale: str) -> ImagePreprocess:
    mean, std = SCALES[scale]
    if found.application is not None:
        return ImagePreprocess(found.size, mean, std, "bilinear", 0.875, "center")
    # image_dataset_from_directory() of Keras distorts to the size, so most models that people trained saw that
    return ImagePreprocess(found.size, mean, std, "bilinear", 1.0, "squash")


def _backbone(taken: models.Taken, preprocess: ImagePreprocess, card: Card) -> Backbone:
    module = taken.module
    stated = {"config": taken.config, "scale": module.scale, "pooling": module.pooling}
    files = {_FILE: json.dumps(stated).encode(), **preprocess.files()}
    return Backbone(
        module=module,
        dim=taken.dim,
        preprocess=preprocess,
        stages=taken.stages,
        card=card,
        head=taken.head,
        outputs=taken.outputs,
        files=files,
        fingerprint=digest(card.revision, *files.values()) if card.revision else None,
    )


def _weights_in(module: KerasNetwork) -> int:
    return sum(value.numel() for value in module.parameters())

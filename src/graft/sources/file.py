"""A checkpoint on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from graft.contracts import Backbone, Card, FeatureMaps, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.errors import BundleError, RequestError
from graft.nn import architectures, factories, own_networks, renaming, state_files, weights
from graft.nn.feature_maps import Pyramid, pyramid, timm_features, timm_pyramid
from graft.nn.image_backbone import assembled
from graft.nn.own_maps import own_maps
from graft.nn.undrawn import Undrawn
from graft.storage import file_sha256

__all__ = ["File"]

_FILE = "architecture.json"
_CHANNELS = ("RGB", "BGR")


class File(Source):
    r"""A checkpoint file (safetensors or a PyTorch state dict) whose architecture you name.

    Every weight must fit.  The number of classes is read off the checkpoint's own classifier.

    Parameters
    ----------
    path
        ``.safetensors``, ``.pt``, ``.pth``, …
    architecture
        ``timm/<name>``, ``torchvision/<name>``, or a function of yours that makes the network,
        untrained: ``nets.py:make``.  Normalised images ``(n, 3, h, w)`` → features ``(n, d)``, maps
        ``(n, d, h, w)``, or the outputs of a last linear layer, which is then taken for its head.
    options
        Options of the architecture, such as ``{"pad_type": "same"}``, or of your function.
    size
        Edge of the images in pixels, or ``[height, width]``; this and the next two are the
        architecture's own where they are ``None``, and ImageNet's for a function of yours.
    mean, std
        Of the channels in the order that the network takes them, on the scale [0, 1]: three numbers each.
    channels
        ``"RGB"``, or ``"BGR"`` where the network learnt from images that OpenCV read.
    head
        Name of the classifier in a network of yours, where it is not found; ``"none"``: it has none.
    rename
        Old name → new name, or a JSON file of that, where the checkpoint names its weights otherwise.
        A name also stands for all below it, and may be a regular expression
        (``{"features.(\\d+)": "blocks.\\1"}``); ``None`` leaves weights out.

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
        channels: str = "RGB",
        head: str | None = None,
        rename: str | Mapping[str, str | None] | None = None,
    ) -> None:
        self.path = path
        self.architecture = architecture
        self.options = options
        self.size = size
        self.mean = mean
        self.std = std
        self.channels = channels
        self.head = head
        self.rename = rename

    def load(self, weights: bool = True) -> Backbone:
        made, images = self._made(), self._images()
        if not weights:
            network = made.network()
            return self._backbone(network, made.headed(network, images), images, None)
        path = Path(self.path).expanduser()
        state = renaming.renamed(state_files.read_state(path), renaming.read_rules(self.rename))
        network, made, reset, notes = _fitted(made, images, state)
        backbone = self._backbone(network, made, images, file_sha256(path))
        card = replace(
            backbone.card,
            bytes=path.stat().st_size,
            pretraining=None,
            outputs=0 if reset else backbone.card.outputs,
            notes=(*notes, *backbone.card.notes),
        )
        if reset:
            return replace(backbone, card=card, head=None, outputs=None)
        return replace(backbone, card=card)

    def maps(self, weights: bool = True) -> FeatureMaps:
        made, images = self._made(), self._images()
        path, notes = Path(self.path).expanduser(), tuple[str, ...]()
        if weights:
            state = renaming.renamed(state_files.read_state(path), renaming.read_rules(self.rename))
            network, made, _, notes = _fitted(made, images, state)
        else:
            network = made.network()
            made = made.headed(network, images)
        found = made.pyramid(network, images)
        card = Card(
            name=f"file/{path.name}",
            modality="image",
            parameters=sum(value.numel() for value in found.module.parameters()),
            bytes=path.stat().st_size if weights else None,
            pretraining=None if weights else "none",
            revision=file_sha256(path) if weights else None,
            notes=notes,
        )
        return FeatureMaps(found.module, found.channels, found.strides, ImagePreprocess(**vars(images)), card)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        try:
            stated = json.loads(files[_FILE])
            name, options = str(stated["name"]), dict(stated["options"])
            channels, head, sha256 = (stated.get(key) for key in ("channels", "head", "sha256"))
        except (KeyError, TypeError, ValueError, RecursionError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc
        code = factories.stated(name, sha256, options) if factories.is_code(name) else None
        images = architectures.Images(**vars(ImagePreprocess.from_files(files)))
        made = _Made(name, options, channels or _CHANNELS[0], head, code)
        return self._backbone(made.network(drawn=code is not None), made, images, None)

    def _made(self) -> _Made:
        if not self.architecture:
            raise RequestError(
                f"a checkpoint does not say which network it belongs to; name it: "
                f"file/{self.path}?architecture=timm/<name> (or torchvision/<name>, or nets.py:make)."
            )
        if self.channels not in _CHANNELS:
            raise RequestError(f"channels is {self.channels!r}; expected one of {', '.join(_CHANNELS)}.")
        code = factories.resolve(self.architecture) if factories.is_code(self.architecture) else None
        if code is None and self.head not in (None, "none"):
            raise RequestError(f"the head of {self.architecture} is known; leave head={self.head} out.")
        return _Made(self.architecture, dict(self.options or {}), self.channels, self.head, code)

    def _images(self) -> architectures.Images:
        given: dict[str, Any] = {}
        if self.size is not None:
            given["size"] = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        order = -1 if self.channels == "BGR" else 1
        given |= {key: tuple(value)[::order] for key in ("mean", "std") if (value := getattr(self, key)) is not None}
        if not factories.is_code(self.architecture):
            return replace(architectures.expected(self.architecture), **given)
        # Who states a size means the whole image; ImageNet's recipe keeps the middle of one.
        images = architectures.Images() if self.size is None else architectures.Images(crop=1.0)
        return replace(images, **given)

    def _backbone(
        self, network: nn.Module, made: _Made, images: architectures.Images, revision: str | None
    ) -> Backbone:
        preprocess = ImagePreprocess(**vars(images))
        parts, notes = made.parts(network, images)
        card = Card(
            name=f"file/{Path(self.path).name}",
            modality="image",
            parameters=sum(value.numel() for value in parts.module.parameters()),
            pretraining="none",
            outputs=parts.classes,
            revision=revision,
            notes=notes,
        )
        return assembled(parts, preprocess, card, {_FILE: json.dumps(made.described()).encode()})


@dataclass(frozen=True)
class _Made:
    """A network to make: by a library's name, or by code of the user's."""

    name: str
    options: dict[str, Any]
    channels: str
    head: str | None
    code: factories.Factory | None

    def described(self) -> dict[str, Any]:
        """What makes it again, as JSON."""
        told: dict[str, Any] = {"name": self.name, "options": self.options}
        if self.channels != _CHANNELS[0]:
            told["channels"] = self.channels
        if self.code is not None:
            told |= {"head": self.head, "sha256": self.code.sha256}
        return told

    def network(self, drawn: bool = True) -> nn.Module:
        """The whole of it; ``drawn=False`` where weights are about to be loaded."""
        if self.code is not None:
            return own_networks.called(self.code, self.options)
        if drawn:
            return architectures.network(self.name, self.options)
        with Undrawn():
            return architectures.network(self.name, self.options)

    def headed(self, network: nn.Module, images: architectures.Images) -> _Made:
        """The same, with the name of the classifier where it was looked for."""
        if self.code is None or self.head == "none":
            return self
        blank = own_networks.blank_images(images.size)
        found, _ = own_networks.classifier_of(network, blank, self.head, self.name)
        return replace(self, head=found or "none")

    def taken(self, images: architectures.Images) -> architectures.Images:
        """Mean and deviation in the order in which the network takes its channels."""
        return replace(images, mean=images.mean[::-1], std=images.std[::-1]) if self.channels == "BGR" else images

    def pyramid(self, network: nn.Module, images: architectures.Images) -> Pyramid:
        """``network`` as feature maps."""
        taken = self.taken(images)
        if self.code is not None:
            blank = own_networks.blank_images(images.size)
            own = own_networks.take_apart(network, blank, None if self.head == "none" else self.head, self.name)
            maps, channels, strides = own_maps(own.module, blank, self.name)
            vision = architectures.Vision(maps, taken.mean, taken.std, partial(own_networks.restarted, maps))
            made = Pyramid(vision, channels, strides)
        elif self.name.startswith("timm/"):
            layer = architectures.classifier_name(network)
            state = {key: value for key, value in network.state_dict().items() if not f"{key}.".startswith(f"{layer}.")}
            body = timm_features(self.name, images.size, options=self.options, state=state)
            made = timm_pyramid(body, self.name, taken, options=self.options)
        else:
            made = pyramid(self.name, taken, options=self.options, whole=network)
        return made if self.channels == "RGB" else replace(made, module=own_networks.Reversed(made.module))

    def parts(
        self, network: nn.Module, images: architectures.Images
    ) -> tuple[architectures.Architecture, tuple[str, ...]]:
        """``network`` taken apart, in place, and what there is to say of it."""
        taken = self.taken(images)
        notes: tuple[str, ...] = ()
        if self.code is None:
            parts = architectures.split(network, self.name, self.options, taken)
        else:
            head = None if self.head == "none" else self.head
            own = own_networks.take_apart(network, own_networks.blank_images(images.size), head, self.name)
            again = partial(own_networks.anew, self.code, self.options, head)
            module = architectures.Vision(own.module, taken.mean, taken.std, again)
            classes = own.head.out_features if isinstance(own.head, nn.Linear) else 0
            stages = tuple(f"network.{stage}" for stage in own.stages)
            parts = architectures.Architecture(module, own.head, own.dim, stages, None, classes)
            notes = own.notes
        if self.head == "none":
            parts = replace(parts, head=None, outputs=None, classes=0)
        if self.channels == "BGR":
            parts = replace(
                parts,
                module=own_networks.Reversed(parts.module),
                outputs=None if parts.outputs is None else own_networks.Reversed(parts.outputs),
                stages=tuple(f"module.{stage}" for stage in parts.stages),
            )
            notes = (*notes, "its channels are blue, green, red")
        return parts, notes


def _fitted(
    made: _Made, images: architectures.Images, state: state_files.State
) -> tuple[nn.Module, _Made, bool, tuple[str, ...]]:
    """The network with its weights and as many classes as the checkpoint has; whether it lacks the classifier."""
    stated = architectures.stated_classifier(made.name) if made.code is None and _asks_classes(made) else None
    weight = None if stated is None else _classifier_weight(stated[0], state)
    if stated is not None and weight is not None and len(state[weight]) != stated[1]:
        made = replace(made, options={**made.options, "num_classes": len(state[weight])})
    network = made.network(drawn=False)
    notes: tuple[str, ...] = ()
    if made.code is None:
        layer = architectures.classifier_name(network)
    else:
        blank = own_networks.blank_images(images.size)
        layer, notes = own_networks.classifier_of(network, blank, made.head, made.name)
        made = replace(made, head=layer or "none")
    held = None if layer is None else _classifier_weight(layer, state)
    reset = layer is not None and held is None
    if held is not None and _asks_classes(made) and len(state[held]) != len(network.get_parameter(f"{layer}.weight")):
        made = replace(made, options={**made.options, "num_classes": len(state[held])})
        network = made.network(drawn=False)
    report = weights.match(network, state, reset=(layer,) if reset and layer else ())
    if reset:
        notes = (*notes, f"the checkpoint has no classifier: the network's own ({layer}) is reset and not used")
    return network, made, reset, (*report.notes, *notes)


def _asks_classes(made: _Made) -> bool:
    return "num_classes" not in made.options and (made.code is None or made.code.takes("num_classes"))


def _classifier_weight(layer: str, state: Mapping[str, Tensor]) -> str | None:
    """The checkpoint's name of the classifier's weight: the shortest, since blocks may have parts of that name too."""
    found = [key for key, value in state.items() if f".{key}".endswith(f".{layer}.weight") and value.ndim > 1]
    return min(found, key=len, default=None)

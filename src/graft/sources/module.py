"""A network of your own, in Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from graft.contracts import Backbone, Batch, Card, FeatureMaps, Preprocess, Sound, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.data.preprocess.own import OwnPreprocess
from graft.errors import BundleError, RequestError
from graft.nn import architectures, factories, own_networks
from graft.nn.initialise import fresh, seeded
from graft.nn.own_maps import own_maps
from graft.storage import digest

__all__ = ["Module"]

_FILE = "module.json"
_EDGE = 224


class Module(Source):
    """A network of your own, with the weights that it has, and your own way from a row to a tensor.

    Parameters
    ----------
    module
        An ``nn.Module``: batch → features ``(n, d)``, maps ``(n, d, h, w)``, or the outputs of a last
        linear layer, which is then taken for its head.  Or a function of yours that makes one,
        ``nets.py:make``.  It is copied, and stays as it is.
    transform
        Row → tensor, or a dictionary of tensors, all rows alike in shape.  ``None`` for images makes
        them by the next three; for other rows it takes arrays as they are.
    modality
        What the rows are: ``image``, ``text``, ``table`` or ``audio``.
    size, mean, std
        Of images without a transform: the edge in pixels or ``[height, width]``; mean and width of the
        channels, on the scale [0, 1].  ImageNet's where they are ``None``.
    head
        Name of the classifier, where it is not found; ``"none"``: it has none.
    factory
        A function that makes the same network again, so that a model can be saved:
        ``package.module:make`` or ``nets.py:make``.  Where there is a transform, it returns both.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> Module(network, size=32).load().dim
    8
    """

    def __init__(
        self,
        module: nn.Module | str | None = None,
        transform: Callable[[Any], Tensor | dict[str, Tensor]] | None = None,
        modality: str = "image",
        size: int | Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        head: str | None = None,
        factory: str | None = None,
    ) -> None:
        self.module = module
        self.transform = transform
        self.modality = modality  # type: ignore[misc]  # what it reads is its user's word
        self.size = size
        self.mean = mean
        self.std = std
        self.head = head
        self.factory = factory

    def stored(self) -> dict[str, Any]:
        """The parameters as JSON holds them: the network by the name of what makes it.

        Raises
        ------
        RequestError
            Where nothing does.
        """
        name = self._named()
        if name is None:
            raise RequestError(
                "a saved model could not make this network again: give the function that makes it, "
                "Module(network, factory='nets.py:make') or factory='package.module:make'."
            )
        given = self.get_params(deep=False)
        return {**given, "module": name, "transform": None, "factory": None}

    def load(self, weights: bool = True) -> Backbone:
        network, code, batch, preprocess = self._loaded(weights)
        head, notes = own_networks.classifier_of(network, batch, self.head, _title(network))
        return self._backbone(_Parts(network, head, code), batch, preprocess, weights, notes)

    def maps(self, weights: bool = True) -> FeatureMaps:
        network, _, batch, preprocess = self._loaded(weights)
        title = _title(network)
        if not isinstance(batch, Tensor) or batch.ndim != 4:
            raise RequestError(f"{title} takes no images (n, c, h, w), so it gives no feature maps.")
        head, notes = own_networks.classifier_of(network, batch, self.head, title)
        own = own_networks.take_apart(network, batch, head, title)
        maps, channels, strides = own_maps(own.module, batch, title)
        module: nn.Module = maps
        if isinstance(preprocess, ImagePreprocess):
            module = architectures.Vision(maps, preprocess.mean, preprocess.std, partial(own_networks.restarted, maps))
        card = Card(
            name=f"module/{type(network).__name__}",
            modality=self.modality,
            parameters=sum(value.numel() for value in module.parameters()),
            pretraining=None if weights else "none",
            revision=_revision(own.module, None, batch) if weights else None,
            notes=(*notes, *own.notes),
        )
        return FeatureMaps(module, channels, strides, preprocess, card)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        try:
            stated = json.loads(files[_FILE])
            name, head, sha256 = str(stated["factory"]), stated["head"], stated["sha256"]
        except (KeyError, TypeError, ValueError, RecursionError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc
        code = factories.stated(name, sha256)
        network, transform = _made(code)
        batch, preprocess = self._probe(network, transform)
        if isinstance(preprocess, ImagePreprocess):
            preprocess = ImagePreprocess.from_files(files)
            batch = own_networks.blank_images(preprocess.size)
        return self._backbone(_Parts(network, head, code), batch, preprocess, False, ())

    def _loaded(self, weights: bool) -> tuple[nn.Module, factories.Factory | None, Batch, Preprocess]:
        """The network, what makes it again, two rows as it takes them, and the way to them."""
        code = None if (name := self._named()) is None else factories.resolve(name)
        network, transform = self._network(code)
        if not weights:
            network = fresh(network, 0)
        return network, code, *self._probe(network, transform)

    def _named(self) -> str | None:
        return self.module if isinstance(self.module, str) else self.factory

    def _network(self, code: factories.Factory | None) -> tuple[nn.Module, Callable[[Any], Any] | None]:
        if isinstance(self.module, nn.Module):
            return own_networks.copied(self.module), self.transform
        if code is None:
            raise RequestError(f"module is {self.module!r}; give an nn.Module, or the function that makes one.")
        network, transform = _made(code)
        return network, self.transform or transform

    def _probe(self, network: nn.Module, transform: Callable[[Any], Any] | None) -> tuple[Batch, Preprocess]:
        """Two rows of noise as the network takes them, and the way to them."""
        if transform is None and self.modality == "image":
            images = ImagePreprocess(self._edges(), *self._scale(), crop=0.875 if self.size is None else 1.0)
            return own_networks.blank_images(images.size), images
        preprocess = OwnPreprocess(transform)
        rows = [_noise(self.modality, network) for _ in range(2)]
        name = "the transform" if transform is not None else _title(network)
        return factories.told(lambda: preprocess.collate(preprocess.items(rows)), name), preprocess

    def _edges(self) -> tuple[int, int]:
        size = _EDGE if self.size is None else self.size
        return (size, size) if isinstance(size, int) else tuple(size)  # type: ignore[return-value]

    def _scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        usual = architectures.Images()
        return tuple(self.mean or usual.mean), tuple(self.std or usual.std)

    def _backbone(
        self, parts: _Parts, batch: Batch, preprocess: Preprocess, weights: bool, notes: tuple[str, ...]
    ) -> Backbone:
        own = own_networks.take_apart(parts.network, batch, parts.head, _title(parts.network))
        revision = _revision(own.module, own.head, batch) if weights else None
        module: nn.Module = own.module
        stages = own.stages
        if isinstance(preprocess, ImagePreprocess):
            again = partial(own_networks.restarted, own.module)
            module = architectures.Vision(own.module, preprocess.mean, preprocess.std, again)
            stages = tuple(f"network.{stage}" for stage in stages)
        files = parts.described()
        card = Card(
            name=f"module/{type(parts.network).__name__}",
            modality=self.modality,
            parameters=sum(value.numel() for value in module.parameters()),
            pretraining=None if weights else "none",
            outputs=own.head.out_features if isinstance(own.head, nn.Linear) else 0,
            revision=revision,
            notes=(*notes, *own.notes),
        )
        # What a transform does is not known by its content, so nothing may be kept by it.
        shown = preprocess.files() if isinstance(preprocess, ImagePreprocess) else None
        return Backbone(
            module=module,
            dim=own.dim,
            preprocess=preprocess,
            stages=stages,
            card=card,
            head=own.head,
            files=files,
            fingerprint=digest(revision, *files.values(), *shown.values()) if revision and shown else None,
        )


@dataclass(frozen=True)
class _Parts:
    """A whole network, the name of its classifier, and what makes it again."""

    network: nn.Module
    head: str | None
    code: factories.Factory | None

    def described(self) -> dict[str, bytes]:
        if self.code is None:
            return {}
        told = {"factory": self.code.name, "sha256": self.code.sha256, "head": self.head}
        return {_FILE: json.dumps(told).encode()}


def _made(code: factories.Factory) -> tuple[nn.Module, Callable[[Any], Any] | None]:
    """What the function makes: a network, or a network and its transform."""
    with seeded(0):
        given = code()
    network, transform = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if not isinstance(network, nn.Module):
        raise RequestError(f"{code.name} returns {type(network).__name__}; expected an nn.Module (and a transform).")
    if transform is not None and not callable(transform):
        raise RequestError(f"{code.name} returns {type(transform).__name__} for a transform; expected a function.")
    return own_networks.copied(network), transform


def _noise(modality: str, network: nn.Module) -> Any:
    """A row that shows what a transform and a network do."""
    if modality == "image":
        return Image.fromarray(np.random.default_rng(0).integers(0, 256, (_EDGE, _EDGE, 3), dtype=np.uint8))
    if modality == "text":
        return "a few words to look at"
    if modality == "audio":
        return Sound(np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32), 16_000)
    if modality == "table":
        first = next((part for part in network.modules() if isinstance(part, nn.Linear)), None)
        width = 1 if first is None else first.in_features
        return np.random.default_rng(0).normal(size=width).astype(np.float32)
    raise RequestError(f"modality is {modality!r}; expected image, text, table or audio.")


def _title(network: nn.Module) -> str:
    return f"the module {type(network).__name__}"


def _revision(module: nn.Module, head: nn.Module | None, batch: Batch) -> str:
    """Names the network by its weights and by what it makes of a fixed batch, since its code may change."""
    mode = module.training
    with torch.no_grad():
        seen = module.eval()(batch)
    module.train(mode)
    values = [*module.state_dict().items(), *(head.state_dict().items() if head is not None else ()), ("seen", seen)]
    content = (part for name, value in values for part in (name, value.detach().contiguous().numpy().tobytes()))
    return digest(*content)

"""Image networks by name, without weights, their classifier split from their features.

``timm/<name>`` and ``torchvision/<name>``, with or without the tag of its weights; options are
allow-listed, because a saved model names them and a saved model is not trusted.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from graft.errors import RequestError
from graft.nn.image_names import check_name, check_options, torchvision_entry
from graft.nn.image_size import resize
from graft.nn.initialise import seeded
from graft.nn.stages import stages

__all__ = [
    "Architecture",
    "Images",
    "Vision",
    "build",
    "classifier_name",
    "drawn",
    "expected",
    "made_for",
    "network",
    "split",
    "stated_classifier",
    "timm_images",
]

# timm registers few widths of these; its own generators make any other.
_WIDTHS = {"mobilenetv1": "_gen_mobilenet_v1", "mobilenetv2": "_gen_mobilenet_v2"}


@dataclass(frozen=True)
class Images:
    """What a network expects of its images.

    Parameters
    ----------
    size
        ``(h, w)`` in pixels.
    mean, std
        Of the three channels, on the scale [0, 1].
    interpolation
        How images are resized.
    crop
        Share of the resized image's edge that is kept.
    mode
        ``"center"``, ``"squash"`` or ``"border"``.
    """

    size: tuple[int, int] = (224, 224)
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop: float = 0.875
    mode: str = "center"


@dataclass(frozen=True)
class Architecture:
    """A network in two parts.

    Parameters
    ----------
    module
        uint8 images ``(n, 3, h, w)`` → features ``(n, d)``.
    head
        Features → the network's own outputs; ``None`` where it is no layer on the features.
    dim
        ``d``.
    stages
        Parameter-name prefixes of ``module`` from input to output; every parameter has one.
    outputs
        uint8 images → the network's own outputs ``(n, c)`` where ``head`` is ``None`` and it has
        any; its parts are those of ``module``, but for what holds the classifier.
    classes
        How many outputs of its own the network has; 0 where it has none.
    """

    module: nn.Module
    head: nn.Module | None
    dim: int
    stages: tuple[str, ...]
    outputs: nn.Module | None = None
    classes: int = 0


class Vision(nn.Module):
    """Normalises uint8 images where they are, then runs the network.

    Bytes travel to the device, a quarter of what floats would, and the batch keeps its memory
    format.  Mean and width stay Python numbers, so that casting the module cannot round them.

    Parameters
    ----------
    network
        Normalised images ``(n, 3, h, w)`` → features ``(n, d)``, or what else it makes of them.
    mean, std
        Of the channels, on the scale [0, 1].
    again
        Makes the network anew, untrained.
    """

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], again: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        self.network = network
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.again = again

    def forward(self, images: Tensor) -> Tensor:
        n, c, h, w = images.shape
        # As (n, h, w·c) every row is one long vector, so both operations run at memory speed.
        rows = images.permute(0, 2, 3, 1).reshape(n, h, w * c).float()
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=images.device).repeat(w)
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], device=images.device).repeat(w)
        pixels = (rows * scale).add_(shift).view(n, h, w, c).permute(0, 3, 1, 2)
        return cast("Tensor", self.network(pixels.to(next(self.network.parameters()).dtype)))

    def init_weights(self) -> None:
        """Start again as the network's author lets it start."""
        self.network.load_state_dict(self.again().state_dict())


def build(name: str, options: Mapping[str, Any] | None = None, images: Images | None = None) -> Architecture:
    """An untrained network by name, split, for the images that it expects or the given ones.

    Raises
    ------
    UnknownNameError
        For a name that neither library carries.
    RequestError
        For an option, or an image size, that the network does not take.
    """
    return split(network(name, options), name, options, images or expected(name))


def network(
    name: str, options: Mapping[str, Any] | None = None, *, config: Mapping[str, Any] | None = None
) -> nn.Module:
    """The whole network, untrained, with its classifier; the global random state is not touched.

    Parameters
    ----------
    name
        ``timm/<name>`` or ``torchvision/<name>``; a tag of weights decides what it decides there:
        the classes, the size of the images.
    options
        ``num_classes``, ``pad_type``, ``drop_rate``, …; ``width`` for timm's MobileNets.
    config
        What timm calls a pretrained configuration, where it is not the one that the name has.

    Raises
    ------
    UnknownNameError
        For a name that neither library carries.
    RequestError
        For an option that the network does not take.
    """
    with seeded(0):
        return drawn(name, options or {}, config)


def drawn(name: str, options: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> nn.Module:
    """What ``network`` makes, its start drawn from the global random state as it is."""
    library, _, model = name.partition("/")
    check_name(name)
    check_options(name, options)
    try:
        return _timm(model, dict(options), config) if library == "timm" else _torchvision(model, dict(options))
    except (TypeError, ValueError, AssertionError, KeyError, AttributeError, RuntimeError) as exc:
        shown = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise RequestError(f"{name} cannot be built with {shown or 'no options'}: {exc}. Change the options.") from exc


def _timm(model: str, options: dict[str, Any], config: Mapping[str, Any] | None) -> nn.Module:
    import timm

    width = options.pop("width", None)
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    if width is None:
        given = None if config is None else dict(config)
        return cast("nn.Module", timm.create_model(model, pretrained=False, pretrained_cfg=given, **options))
    from timm.models import efficientnet

    bare = model.split(".", 1)[0]
    generator = _WIDTHS.get(bare.split("_", 1)[0])
    if generator is None:
        raise ValueError(f"width is an option of {' and '.join(_WIDTHS)} alone")
    return cast("nn.Module", getattr(efficientnet, generator)(bare, width, pretrained=False, **options))


def _torchvision(model: str, options: dict[str, Any]) -> nn.Module:
    from torchvision import models

    bare = model.partition(".")[0]
    if bare in ("googlenet", "inception_v3"):
        # Their weights take images on another scale than the preprocessing's; the networks turn one into the other.
        options |= {"aux_logits": False, "init_weights": True, "transform_input": True}
    if bare.startswith("vit_"):
        options |= {"image_size": torchvision_entry(model).meta["min_size"][0]}
    return cast("nn.Module", models.get_model(bare, weights=None, **options))


def expected(name: str) -> Images:
    """What the named network expects of its images; the name may carry a tag.

    Raises
    ------
    UnknownNameError
        For a name that neither library carries.
    """
    library, _, model = name.partition("/")
    check_name(name)
    if library == "timm":
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(model)
        return timm_images(config.to_dict() if config else {})
    form = torchvision_entry(model).transforms()
    size, edge = form.crop_size[0], form.resize_size[0]
    crop = size / edge
    # The preprocessing resizes to ⌊size / crop⌋, which rounding can put one pixel below the edge.
    crop = crop if math.floor(size / crop) == edge else size / (edge + 0.5)
    return Images((size, size), tuple(form.mean), tuple(form.std), form.interpolation.value, crop)


def timm_images(config: Mapping[str, Any]) -> Images:
    """What a pretrained configuration of timm says of its images."""
    from timm.data import resolve_data_config

    found = resolve_data_config(pretrained_cfg=dict(config))
    return Images(
        size=tuple(found["input_size"][1:]),
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        interpolation="bicubic" if found["interpolation"] == "random" else found["interpolation"],
        crop=found["crop_pct"],
        mode=found["crop_mode"],
    )


def classifier_name(whole: nn.Module) -> str | None:
    """The name of the one layer that holds the network's classes; ``None`` where there is no such layer."""
    if hasattr(whole, "get_classifier"):
        last = whole.get_classifier()  # type: ignore[operator]
        found = [name for name, part in whole.named_modules() if part is last and any(True for _ in part.parameters())]
        return found[0] if found else None
    layers = [name for name, part in whole.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    return layers[-1] if layers else None


def stated_classifier(name: str) -> tuple[str, int] | None:
    """The classifier's name and its number of classes, where timm's table tells them before the network is built."""
    library, _, model = name.partition("/")
    if library != "timm":
        return None
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(model, allow_unregistered=True)
    layer: Any = getattr(config, "classifier", None)
    return (layer, int(config.num_classes)) if isinstance(layer, str) else None


def split(whole: nn.Module, name: str, options: Mapping[str, Any] | None, images: Images) -> Architecture:
    """Take ``whole``, as ``network(name, options)`` made it, apart; it is changed in place.

    Raises
    ------
    RequestError
        Where the network does not take images of this size.
    """
    resize(whole, name, images.size, made_for(whole, name))
    again = partial(_anew, name, dict(options or {}), images.size)
    classes, entire = _classes(whole), _twin(whole)
    head, dim = _behead(whole)
    outputs = Vision(entire, images.mean, images.std, partial(again, False)) if classes and head is None else None
    parts = tuple(f"network.{stage}" for stage in stages(whole))
    return Architecture(Vision(whole, images.mean, images.std, again), head, dim, parts, outputs, classes)


def made_for(whole: nn.Module, name: str) -> tuple[int, int]:
    """The size ``(h, w)`` of the images that the whole network was built for."""
    config: Any = getattr(whole, "pretrained_cfg", None)
    if not config:
        return expected(name).size
    built: Any = getattr(whole, "_traits", {}).get("img_size")  # timm's note of what it was built with
    return tuple(built or config["input_size"][1:])


def _anew(name: str, options: Mapping[str, Any], size: tuple[int, int], headless: bool = True) -> nn.Module:
    whole = drawn(name, options)
    resize(whole, name, size, made_for(whole, name))
    if headless:
        _behead(whole)
    return whole


def _classes(whole: nn.Module) -> int:
    if hasattr(whole, "get_classifier"):
        return int(getattr(whole, "num_classes", 0) or 0)
    layer = whole.get_submodule(classifier_name(whole) or "")
    return int(getattr(layer, "out_features", 0) or getattr(layer, "out_channels", 0))


def _twin(whole: nn.Module) -> nn.Module:
    """A second network of the same parts, in which what holds the classifier stays when the first loses it.

    Parameters and buffers are the same everywhere.
    """
    last = whole.get_classifier() if hasattr(whole, "get_classifier") else None  # type: ignore[operator]
    lasts = list(last) if isinstance(last, tuple | list) else [last]
    names = [name for name, part in whole.named_modules() if any(part is each for each in lasts)]
    names = names or [classifier_name(whole) or ""]
    kept = {id(value): value for value in (*whole.parameters(), *whole.buffers())}
    twin = copy.copy(whole)
    twin.__dict__ = dict(whole.__dict__)
    for held in ("_modules", "_parameters", "_buffers"):
        twin.__dict__[held] = dict(whole.__dict__[held])
    for child in {name.partition(".")[0] for name in names if name}:
        setattr(twin, child, copy.deepcopy(getattr(whole, child), dict(kept)))
    return twin


def _behead(whole: nn.Module) -> tuple[nn.Module | None, int]:
    """Take the classifier off in place; the layer, where it works on the features, and their width."""
    if hasattr(whole, "reset_classifier"):
        last: Any = whole.get_classifier()  # type: ignore[operator]
        before = {id(value) for value in whole.parameters()}
        whole.reset_classifier(0)  # type: ignore[operator]
        gone = before - {id(value) for value in whole.parameters()}
        dim = int(getattr(whole, "head_hidden_size", None) or whole.num_features)  # type: ignore[arg-type]
        # With a second head, or a norm that goes with the head, the outputs are no layer on the features.
        alone = isinstance(last, nn.Linear) and last.in_features == dim
        return (last if alone and gone == {id(value) for value in last.parameters()} else None), dim
    name = classifier_name(whole) or ""
    layer = whole.get_submodule(name)
    if isinstance(layer, nn.Linear):
        whole.set_submodule(name, nn.Identity())
        return layer, layer.in_features
    # SqueezeNet classifies every place and pools then; its features are what is pooled instead.
    whole.classifier = nn.AdaptiveAvgPool2d(1)
    return None, cast("nn.Conv2d", layer).in_channels

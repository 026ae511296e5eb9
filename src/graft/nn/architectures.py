"""Image networks by name, without weights, their classifier split from their features.

``timm/<name>`` and ``torchvision/<name>``; options are allow-listed, because a saved model names
them and a saved model is not trusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from graft.errors import RequestError, UnknownNameError
from graft.nn.initialise import seeded

__all__ = ["Architecture", "Images", "Vision", "build", "classifier_name", "expected", "network", "split"]

_TIMM_OPTIONS = frozenset(
    {"act_layer", "bn_eps", "bn_momentum", "class_token", "drop_path_rate", "drop_rate", "dynamic_img_size"}
    | {"global_pool", "init_values", "norm_layer", "num_classes", "pad_type", "proj_drop_rate", "reg_tokens", "width"}
)
_TORCHVISION_OPTIONS = frozenset(["dropout", "num_classes", "stochastic_depth_prob"])

# timm registers few widths of these; its own generators make any other.
_WIDTHS = {"mobilenetv1": "_gen_mobilenet_v1", "mobilenetv2": "_gen_mobilenet_v2"}

_DOMINANT = 0.5  # a part with more of the parameters than this is opened when stages are listed


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
    """

    module: nn.Module
    head: nn.Module | None
    dim: int
    stages: tuple[str, ...]


class Vision(nn.Module):
    """Normalises uint8 images where they are, then runs the network.

    Bytes travel to the device, a quarter of what floats would, and the batch keeps its memory
    format.  Mean and width stay Python numbers, so that casting the module cannot round them.

    Parameters
    ----------
    network
        Normalised images ``(n, 3, h, w)`` → features ``(n, d)``.
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


def network(name: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """The whole network, untrained, with its classifier; the global random state is not touched.

    Parameters
    ----------
    name
        ``timm/<name>`` or ``torchvision/<name>``.
    options
        ``num_classes``, ``pad_type``, ``drop_rate``, …; ``width`` for timm's MobileNets.

    Raises
    ------
    UnknownNameError
        For a name that neither library carries.
    RequestError
        For an option that the network does not take.
    """
    with seeded(0):
        return _network(name, options or {})


def _network(name: str, options: Mapping[str, Any]) -> nn.Module:
    library, _, model = name.partition("/")
    known = _TIMM_OPTIONS if library == "timm" else _TORCHVISION_OPTIONS
    _check_name(library, model)
    options = dict(options)
    unknown = sorted(options.keys() - known)
    if unknown:
        raise RequestError(
            f"{name} does not take the option {', '.join(unknown)}; it may take {', '.join(sorted(known))}."
        )
    if options.get("global_pool", "avg") == "":
        raise RequestError("global_pool is empty, but features must be pooled; leave it out, or say 'avg' or 'token'.")
    try:
        return _timm(model, dict(options)) if library == "timm" else _torchvision(model, dict(options))
    except (TypeError, ValueError, AssertionError, KeyError, AttributeError) as exc:
        shown = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise RequestError(f"{name} cannot be built with {shown or 'no options'}: {exc}. Change the options.") from exc


def _check_name(library: str, model: str) -> None:
    if library == "timm":
        import timm

        known = timm.list_models()
        model = model.split(".", 1)[0]
    elif library == "torchvision":
        import torchvision

        known = torchvision.models.list_models(module=torchvision.models)
    else:
        raise UnknownNameError("library of architectures", library, ("timm", "torchvision"))
    if model not in known:
        raise UnknownNameError(f"{library} architecture", model, known)


def _timm(model: str, options: dict[str, Any]) -> nn.Module:
    import timm

    width = options.pop("width", None)
    if width is None:
        return cast("nn.Module", timm.create_model(model, pretrained=False, **options))
    from timm.models import efficientnet

    bare = model.split(".", 1)[0]
    generator = _WIDTHS.get(bare.split("_", 1)[0])
    if generator is None:
        raise ValueError(f"width is an option of {' and '.join(_WIDTHS)} alone")
    return cast("nn.Module", getattr(efficientnet, generator)(bare, width, pretrained=False, **options))


def _torchvision(model: str, options: dict[str, Any]) -> nn.Module:
    import torchvision

    if model in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": True}
    return cast("nn.Module", torchvision.models.get_model(model, weights=None, **options))


def expected(name: str) -> Images:
    """What the named network expects of its images; timm's name may carry a tag.

    Raises
    ------
    UnknownNameError
        For a name that neither library carries.
    """
    library, _, model = name.partition("/")
    _check_name(library, model)
    if library == "timm":
        from timm.data import resolve_data_config
        from timm.models import get_pretrained_cfg

        config = get_pretrained_cfg(model)
        found = resolve_data_config(pretrained_cfg=config.to_dict() if config else {})
        return Images(
            size=tuple(found["input_size"][1:]),
            mean=tuple(found["mean"]),
            std=tuple(found["std"]),
            interpolation="bicubic" if found["interpolation"] == "random" else found["interpolation"],
            crop=found["crop_pct"],
            mode=found["crop_mode"],
        )
    import torchvision

    form = torchvision.models.get_model_weights(model).DEFAULT.transforms()
    size, edge = form.crop_size[0], form.resize_size[0]
    crop = size / edge
    # The preprocessing resizes to ⌊size / crop⌋, which rounding can put one pixel below the edge.
    crop = crop if math.floor(size / crop) == edge else size / (edge + 0.5)
    return Images((size, size), tuple(form.mean), tuple(form.std), form.interpolation.value, crop)


def classifier_name(whole: nn.Module) -> str | None:
    """The name of the one layer that holds the network's classes; ``None`` where there is no such layer."""
    if hasattr(whole, "get_classifier"):
        last = whole.get_classifier()  # type: ignore[operator]
        found = [name for name, part in whole.named_modules() if part is last and any(True for _ in part.parameters())]
        return found[0] if found else None
    layers = [name for name, part in whole.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    return layers[-1] if layers else None


def split(whole: nn.Module, name: str, options: Mapping[str, Any] | None, images: Images) -> Architecture:
    """Take ``whole``, as ``network(name, options)`` made it, apart; it is changed in place.

    Raises
    ------
    RequestError
        Where the network does not take images of this size.
    """
    _resize(whole, name, images.size)
    head, dim = _behead(whole)
    again = partial(_headless, name, dict(options or {}), images.size)
    stages = tuple(f"network.{stage}" for stage in _stages(whole))
    return Architecture(Vision(whole, images.mean, images.std, again), head, dim, stages)


def _headless(name: str, options: Mapping[str, Any], size: tuple[int, int]) -> nn.Module:
    whole = _network(name, options)
    _resize(whole, name, size)
    _behead(whole)
    return whole


def _resize(whole: nn.Module, name: str, size: tuple[int, int]) -> None:
    config: Any = getattr(whole, "pretrained_cfg", {})
    fixed = getattr(whole, "image_size", None)  # torchvision's vision transformers
    native = tuple(config["input_size"][1:]) if config.get("fixed_input_size") else fixed and (fixed, fixed)
    if native is None or size == native or getattr(whole, "dynamic_img_size", False):
        return
    change = getattr(whole, "set_input_size", None)
    if change is None:
        raise RequestError(f"{name} takes images of {native[0]}×{native[1]} pixels alone; leave out the size.")
    try:
        change(img_size=size)
    except (AssertionError, RuntimeError, ValueError, TypeError) as exc:
        raise RequestError(
            f"{name} does not take images of {size[0]}×{size[1]} pixels ({exc or 'they must be whole patches'}); "
            f"it was made for {native[0]}×{native[1]}."
        ) from exc


def _behead(whole: nn.Module) -> tuple[nn.Module | None, int]:
    """Take the classifier off in place; the layer, where it works on the features, and their width."""
    if hasattr(whole, "reset_classifier"):
        last: Any = whole.get_classifier()  # type: ignore[operator]
        whole.reset_classifier(0)  # type: ignore[operator]
        dim = int(getattr(whole, "head_hidden_size", None) or whole.num_features)  # type: ignore[arg-type]
        # With a second head (volo's aux_head) the outputs are no layer on the features.
        alone = isinstance(last, nn.Linear) and last.in_features == dim and not hasattr(whole, "aux_head")
        return (last if alone else None), dim
    name = classifier_name(whole) or ""
    layer = whole.get_submodule(name)
    if isinstance(layer, nn.Linear):
        whole.set_submodule(name, nn.Identity())
        return layer, layer.in_features
    # SqueezeNet classifies every place and pools then; its features are what is pooled instead.
    whole.classifier = nn.AdaptiveAvgPool2d(1)
    return None, cast("nn.Conv2d", layer).in_channels


def _stages(whole: nn.Module) -> list[str]:
    """Prefixes that cover every parameter, from input to output."""
    names = [name for name, _ in whole.named_parameters()]
    if not hasattr(whole, "group_matcher"):
        return list(_parts(whole))
    from timm.models import group_parameters

    layer = group_parameters(whole, whole.group_matcher(coarse=True), reverse=True)  # type: ignore[operator]
    found: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        for stem in (".".join(parts[: i + 1]) for i in range(len(parts))):
            under = {layer[other] for other in names if other == stem or other.startswith(f"{stem}.")}
            if len(under) == 1:
                found.setdefault(stem, under.pop())
                break
    return sorted(found, key=lambda stem: found[stem])


def _parts(module: nn.Module, prefix: str = "", total: int | None = None) -> Iterator[str]:
    """Direct parts in order; one that holds most parameters is opened."""
    total = total or sum(value.numel() for value in module.parameters())
    yield from (prefix + name for name, _ in module.named_parameters(recurse=False))
    for name, child in module.named_children():
        count = sum(value.numel() for value in child.parameters())
        if count > _DOMINANT * total and any(True for _ in child.children()):
            yield from _parts(child, f"{prefix}{name}.", total)
        elif count:
            yield prefix + name

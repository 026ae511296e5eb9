"""Image networks as feature maps: one map a resolution, for answers a pixel or a box."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from graft.errors import GraftError, RequestError
from graft.nn.architectures import Images, Vision, classifier_name, drawn, made_for, network
from graft.nn.image_names import check_name, check_options
from graft.nn.image_size import refuse_size, resize, shapes
from graft.nn.initialise import seeded
from graft.nn.weights import match

__all__ = ["Pyramid", "pyramid", "timm_features", "timm_pyramid"]

_LAST_BLOCKS = 3
"""How many blocks of a torchvision transformer give a map; the number that timm takes of its own."""

# What torchvision lines parts up in: a part inside one of these is a step of the network.
_LINES = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Pyramid:
    """A network that gives maps.

    Parameters
    ----------
    module
        uint8 images ``(n, 3, h, w)`` → a list of maps ``(n, channels[i], …, …)``, finest first.
    channels, strides
        Of each map: its depth, and the pixels of the image that a step in it goes.
    """

    module: nn.Module
    channels: tuple[int, ...]
    strides: tuple[int, ...]


class _Maps(nn.Module):
    """What an extractor gives, as a list of maps with their channels first.

    Parameters
    ----------
    body
        Images → a list, or a dictionary, of outputs.
    last
        Whether the channels of a map come last.
    prefix
        How many tokens before those of places an output ``(n, t, d)`` has.
    """

    def __init__(self, body: nn.Module, last: bool = False, prefix: int = 0) -> None:
        super().__init__()
        self.body = body
        self.last = last
        self.prefix = prefix

    def forward(self, pixels: Tensor) -> list[Tensor]:
        given = self.body(pixels)
        return [self._map(each, pixels) for each in (given.values() if isinstance(given, Mapping) else given)]

    def _map(self, given: Tensor, pixels: Tensor) -> Tensor:
        if given.ndim == 3:
            places = given[:, self.prefix :].transpose(1, 2)
            high = round(math.sqrt(places.shape[2] * pixels.shape[2] / pixels.shape[3]))
            return places.reshape(*places.shape[:2], high, -1)
        return given.permute(0, 3, 1, 2).contiguous() if self.last else given


def pyramid(
    name: str,
    images: Images,
    *,
    options: Mapping[str, Any] | None = None,
    whole: nn.Module | None = None,
) -> Pyramid:
    """A network by name as feature maps: of ``whole``, as ``architectures.network`` made it, or untrained.

    Parameters
    ----------
    name
        ``timm/<name>``, only without ``whole``, or ``torchvision/<name>``.
    images
        What it is to expect of its images.

    Raises
    ------
    RequestError
        Where the network has no maps, or does not take images of this size.
    """
    if name.startswith("timm/"):
        return timm_pyramid(timm_features(name, images.size, options=options), name, images, options=options)
    whole = network(name, options) if whole is None else whole
    resize(whole, name, images.size, made_for(whole, name))
    again = partial(_torchvision_again, name, dict(options or {}), images)
    return _torchvision_pyramid(whole, name, images, again)


def timm_features(
    name: str,
    size: tuple[int, int],
    *,
    options: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """The extractor of feature maps that timm itself has; the global random state is not touched.

    Parameters
    ----------
    config
        What timm calls a pretrained configuration, where it is not the one that the name has.
    given
        More of what ``timm.create_model`` takes: where the weights are.
    state
        The weights themselves, of the whole network as it is at its own size, without its classifier.

    Raises
    ------
    RequestError
        Where timm has none for this network, or it does not take images of this size.
    """
    check_name(name)
    check_options(name, options or {})
    with seeded(0):
        return _timm_features(name, size, options or {}, config, given or {}, state)


def _timm_features(
    name: str,
    size: tuple[int, int],
    options: Mapping[str, Any],
    config: Mapping[str, Any] | None,
    given: Mapping[str, Any],
    state: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    import timm

    stated = {**options, **({"pretrained_cfg": dict(config)} if config is not None else {})}
    plain = partial(timm.create_model, name.partition("/")[2], features_only=True, **stated)
    try:
        made = cast("nn.Module", plain())
    except Exception as exc:  # every family of timm says it in its own way
        raise RequestError(f"{name} gives one vector a row, and no feature maps ({_first(exc)}).") from exc
    facts: Any = made.pretrained_cfg
    own = tuple(facts["input_size"][1:])
    wanted = size if size != own and facts.get("fixed_input_size") else None
    if size != own and wanted is None:
        refuse_size(made, name, size, own)
    if wanted is None and state is None:
        return cast("nn.Module", plain(**given)) if given else made
    names = made.state_dict().keys()
    if wanted is None and state is not None and names <= state.keys():  # what it leaves away is behind its last map
        match(made, {name: state[name] for name in names})
        return made
    try:
        found = plain(feature_cls=_changed(type(made), name, wanted, state), **given)
    except GraftError:
        raise
    except Exception as exc:
        raise RequestError(
            f"{name} gives its maps in a way of its own, which takes no other weights or size ({_first(exc)}); "
            "name it as a source of timm, with the weights and the size that it has there."
        ) from exc
    return cast("nn.Module", found)


def _first(exc: Exception) -> str:
    return (str(exc).splitlines() or [""])[0].rstrip(".") or type(exc).__name__


def _changed(
    extractor: type[Any], name: str, size: tuple[int, int] | None, state: Mapping[str, Tensor] | None
) -> type[Any]:
    """The same extractor, of the network with these weights, or at another size: as long as it is still whole."""

    class Changed(extractor):  # type: ignore[misc]
        def __init__(self, model: nn.Module, *args: Any, **options: Any) -> None:
            if state is not None:
                layer = classifier_name(model)
                match(model, state, reset=() if layer is None else (layer,))
            if size is not None:
                resize(model, name, size, made_for(model, name))
            super().__init__(model, *args, **options)
            self.__class__ = extractor

    return Changed


def timm_pyramid(made: nn.Module, name: str, images: Images, *, options: Mapping[str, Any] | None = None) -> Pyramid:
    """A pyramid of what ``timm_features`` made."""
    facts: Any = made.feature_info
    again = partial(_timm_again, name, images.size, dict(options or {}))
    maps = _Maps(made, last=str(getattr(getattr(made, "output_fmt", None), "value", "NCHW")) == "NHWC")
    module = Vision(maps, images.mean, images.std, again)
    return Pyramid(module, tuple(facts.channels()), tuple(facts.reduction()))


def _timm_again(name: str, size: tuple[int, int], options: Mapping[str, Any]) -> nn.Module:
    return _Maps(_timm_features(name, size, options, None, {}))


def _torchvision_again(name: str, options: Mapping[str, Any], images: Images) -> nn.Module:
    return cast("Vision", pyramid(name, images, options=options, whole=drawn(name, options)).module).network


def _torchvision_pyramid(whole: nn.Module, name: str, images: Images, again: Callable[[], nn.Module]) -> Pyramid:
    from torchvision.models import SwinTransformer, VisionTransformer
    from torchvision.models.feature_extraction import create_feature_extractor

    last = isinstance(whole, SwinTransformer)
    if isinstance(whole, VisionTransformer):
        blocks = [f"encoder.layers.{block}" for block, _ in whole.encoder.layers.named_children()][-_LAST_BLOCKS:]
        steps = [(block, whole.hidden_dim, whole.patch_size) for block in blocks]
    else:
        steps = _steps(whole, images.size, last)
    whole.eval()  # the extractor keeps what training alone would run apart by itself
    body = create_feature_extractor(whole, {node: str(place) for place, (node, _, _) in enumerate(steps)})
    module = Vision(_Maps(body, last, prefix=1), images.mean, images.std, again)
    module.train()
    return Pyramid(module, tuple(depth for _, depth, _ in steps), tuple(stride for _, _, stride in steps))


def _steps(whole: nn.Module, size: tuple[int, int], last: bool) -> list[tuple[str, int, int]]:
    """The last part at every resolution, as ``(name, channels, stride)``; the image's own resolution is left out."""
    seen: dict[int, tuple[str, int, int]] = {}

    def note(name: str, part: nn.Module, given: Sequence[Any], out: Any) -> None:
        if not isinstance(out, Tensor) or out.ndim != 4 or isinstance(part, nn.AdaptiveAvgPool2d):
            return
        depth, high = (out.shape[3], out.shape[1]) if last else (out.shape[1], out.shape[2])
        stride = 2 ** round(math.log2(size[0] / high))
        if high > 1 and stride > 1:
            seen[stride] = (name, depth, stride)

    classifier = (classifier_name(whole) or "").partition(".")[0]
    steps = [(name, part) for name, part in _parts(whole, last) if name.partition(".")[0] != classifier]
    hooks = [part.register_forward_hook(partial(note, name)) for name, part in steps]
    try:
        shapes(whole, size)
    finally:
        for hook in hooks:
            hook.remove()
    return [seen[stride] for stride in sorted(seen)]


def _parts(whole: nn.Module, last: bool, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The parts that a network is a line of, by name."""
    found: list[tuple[str, nn.Module]] = []
    for name, part in whole.named_children():
        # Where channels come last, the parts inside and behind the line have other orders of their own.
        if not last or prefix:
            found.append((prefix + name, part))
        if type(part) in _LINES and not (last and prefix):
            found += _parts(part, last, f"{prefix}{name}.")
    return found

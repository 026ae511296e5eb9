"""What a network knows on its way: the outputs of its stages, recorded, pooled and put end to end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Batch, Sound
from graft.errors import RequestError, UnknownNameError
from graft.storage import digest

__all__ = ["Tapped", "channels_last", "real_places", "tapped", "watching"]

Layers = int | Sequence[str]


@contextlib.contextmanager
def watching(module: nn.Module, stages: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Inside the block, what the named sub-modules give is recorded, with its gradient, at every forward pass.

    The dictionary that the block gets is filled while ``module`` computes; a later pass replaces
    what an earlier one left.  Of several outputs the first is taken.  Only passes of the thread that
    entered the block are recorded, so that several threads can share a network.

    Parameters
    ----------
    module
        A network; changed by nothing but the watching.
    stages
        Names of its sub-modules.

    Raises
    ------
    UnknownNameError
        For a name that no sub-module carries.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> with watching(net, ["0"]) as seen:
    ...     out = net(torch.ones(1, 3))
    >>> torch.equal(out, seen["0"].relu())
    True
    """
    parts = dict(module.named_modules())
    if unknown := [name for name in stages if name not in parts]:
        raise UnknownNameError("part of the network", unknown[0], [name for name in parts if name])
    own, seen = threading.get_ident(), dict[str, Tensor]()

    def recorder(name: str) -> Callable[..., None]:
        def record(part: nn.Module, given: Any, out: Any) -> None:
            if threading.get_ident() == own and (held := _first(out)) is not None:
                seen[name] = held

        return record

    hooks = [parts[name].register_forward_hook(recorder(name)) for name in stages]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


class Tapped(nn.Module):
    """A network, and what some of its stages give on the way: batch → ``(n, Σd)``.

    The network runs once.  Maps are averaged over their places, sequences over their real tokens;
    every part, the final features too, is scaled to length 1, so that none is louder than the others.

    Parameters
    ----------
    network
        batch → features ``(n, d)``.
    layers
        Names of its stages, in the order of the parts; the final features come last.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.layers = tuple(layers)

    def forward(self, batch: Batch) -> Tensor:
        if (
            isinstance(batch, dict)
            and "input_values" in batch
            and len(lengths := sorted(set(batch["lengths"].tolist()))) > 1
        ):
            # Some networks compute sounds length by length, one pass for each, and a pass is what is recorded.
            rows = [(batch["lengths"] == length).nonzero()[:, 0] for length in lengths]
            parts = [self({name: held[row] for name, held in batch.items()}) for row in rows]
            return torch.cat(parts)[torch.cat(rows).argsort()]
        with watching(self.network, self.layers) as seen:
            last = self.network(batch)
        turned = channels_last(self.network)
        parts = [_pooled(seen[name], batch, name, turned) for name in self.layers]
        return torch.cat([nn.functional.normalize(part.float(), dim=-1) for part in (*parts, last)], dim=-1)

    def compact(self, device: torch.device) -> nn.Module | None:
        """``None``, and so for all parts: a network in its faster form has no stages to look at."""
        return None


def tapped(backbone: Backbone, layers: Layers) -> Backbone:
    """The backbone whose features are those of several stages, end to end, the final ones last.

    Weights are shared with ``backbone``.

    Parameters
    ----------
    layers
        Names of stages as ``graft show --load`` prints them; or a number: so many before the last one,
        which is where the features come from.  A norm on its own does not count.

    Raises
    ------
    RequestError
        For a stage that the source does not have, or one that gives no features of a row.
    """
    if isinstance(layers, str | bool) or not layers or (isinstance(layers, int) and layers < 1):
        raise RequestError(f"layers is {layers!r}; expected a number of stages, or a list of their names.")
    if backbone.learn is not None:
        learn = backbone.learn
        return replace(backbone, learn=lambda examples: tapped(learn(examples), layers))
    name = backbone.card.name
    if not isinstance(layers, int) and (unknown := [each for each in layers if each not in backbone.stages]):
        raise UnknownNameError(f"stage of {name}", unknown[0], backbone.stages)
    widths = _widths(backbone)
    if isinstance(layers, int):
        usable = [stage for stage in backbone.stages if stage in widths and not _is_norm(backbone.module, stage)][:-1]
        if len(usable) < layers:
            raise RequestError(
                f"layers is {layers}; {name} has {len(usable)} stages with features of a row before its last one."
            )
        chosen = tuple(usable[-layers:])
    else:
        chosen = tuple(dict.fromkeys(layers))
        if odd := [each for each in chosen if each not in widths]:
            raise RequestError(
                f"layers names {odd[0]!r}, which gives no features of a row; of {name}, these do: "
                f"{', '.join(stage for stage in backbone.stages if stage in widths) or 'none'}."
            )
    print_ = None if backbone.fingerprint is None else digest("layers", backbone.fingerprint, *chosen)
    return replace(
        backbone,
        module=Tapped(backbone.module, chosen),
        dim=backbone.dim + sum(widths[each] for each in chosen),
        stages=tuple(f"network.{stage}" for stage in backbone.stages),
        head=None,
        outputs=None,
        fingerprint=print_,
        sparse=None,
        words=None,
    )


def _widths(backbone: Backbone) -> dict[str, int]:
    """How many features each stage gives, told by one row that says nothing."""
    network = backbone.module
    parts = dict(network.named_modules())
    stages = [stage for stage in backbone.stages if stage in parts]
    if not stages:
        return {}
    batch = _blank(backbone)
    before = [(part, part.training) for part in network.modules()]
    try:
        with torch.inference_mode(), watching(network.eval(), stages) as seen:
            network(batch)
    finally:
        for part, mode in before:
            part.training = mode
    turned = channels_last(network)
    found = {}
    for stage in stages:
        with contextlib.suppress(RequestError, KeyError):
            found[stage] = int(_pooled(seen[stage], batch, stage, turned).shape[1])
    return found


def _pooled(given: Tensor, batch: Batch, stage: str, turned: bool) -> Tensor:
    """What a stage gives as one vector a row, ``(n, d)`` float32."""
    rows = len(next(iter(batch.values()))) if isinstance(batch, dict) else len(batch)
    if len(given) == rows and given.is_floating_point():
        if given.ndim == 2:
            return given.float()
        if given.ndim == 4:
            return given.float().mean((1, 2) if turned else (2, 3))
        if given.ndim == 3 and given.shape[1]:
            real = real_places(batch, stage, given.shape[1])
            return given.float().mean(1) if real is None else _over_tokens(given, real)
    raise RequestError(f"the stage {stage} gives {tuple(given.shape)}, which are no features of {rows} rows.")


def real_places(batch: Batch, stage: str, places: int) -> Tensor | None:
    """``(n, places)`` float32: 0 at the padding of a sequence that a stage gives; ``None`` where there is none.

    A mask of samples is brought to the length of what is made of them.
    """
    mask = _mask(batch, stage)
    if mask is None:
        return None
    weights = mask[:, None].float()
    return (weights if weights.shape[2] == places else nn.functional.interpolate(weights, size=places))[:, 0]


def _over_tokens(given: Tensor, real: Tensor) -> Tensor:
    weights = real[:, :, None]
    return (given.float() * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def _mask(batch: Batch, stage: str) -> Tensor | None:
    """``(n, t)``, 0 at padding: the one of the network that the stage is of, where there are several."""
    if not isinstance(batch, dict):
        return None
    inner, _, rest = stage.removeprefix("parts.").partition(".")
    own = f"{inner}." if stage.startswith("parts.") and rest else ""
    if f"{own}input_features" in batch and f"{own}lengths" in batch:
        moments = torch.arange(batch[f"{own}input_features"].shape[-1], device=batch[f"{own}lengths"].device)
        return moments < batch[f"{own}lengths"][:, None]
    return batch.get(f"{own}attention_mask")


def _first(out: Any) -> Tensor | None:
    """The tensor that a part gives, the first of several."""
    if isinstance(out, Tensor):
        return out
    if isinstance(out, Mapping):
        out = tuple(out.values())
    return next((each for each in out if isinstance(each, Tensor)), None) if isinstance(out, tuple | list) else None


def _is_norm(network: nn.Module, stage: str) -> bool:
    return "norm" in type(network.get_submodule(stage)).__name__.lower()


def channels_last(network: nn.Module) -> bool:
    """Whether a network's maps have their channels last: its library says so, or it is known to."""
    return any(
        getattr(part, "output_fmt", None) == "NHWC" or type(part).__module__ == "torchvision.models.swin_transformer"
        for part in network.modules()
    )


_BLANK: dict[str, Callable[[int], Any]] = {
    "audio": lambda width: Sound(np.zeros(16000, np.float32), 16000),
    "image": lambda width: _grey(),
    "table": lambda width: np.zeros(width, np.float32),
    "text": lambda width: "a",
}
"""A row that says nothing, by modality."""


def _blank(backbone: Backbone) -> Batch:
    """A batch of one row that says nothing."""
    preprocess: Any = backbone.preprocess
    row = _BLANK[backbone.card.modality](_columns(preprocess))
    return cast("Batch", preprocess.collate(preprocess.items([row])))


def _grey() -> Any:
    from PIL import Image

    return Image.new("RGB", (64, 64), (128, 128, 128))


def _columns(preprocess: Any) -> int:
    """How many columns a preprocessing of tables takes; 0 for one of other rows."""
    if (schema := getattr(preprocess, "schema", None)) is not None:
        return int(schema.width)
    if (mean := getattr(preprocess, "mean", None)) is not None:
        return len(mean)
    return max((_columns(part) for part in getattr(preprocess, "parts", ())), default=0)

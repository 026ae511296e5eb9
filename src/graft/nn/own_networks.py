"""Networks that somebody else wrote: any ``nn.Module`` → features ``(n, d)``, without its classifier.

Nothing is asked of the module but that it takes a batch.  What it does is seen in one pass over a
few rows: which parts run, in which order, and whether its last linear layer gives its outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from graft.contracts import Batch
from graft.errors import RequestError
from graft.nn.factories import Factory, told
from graft.nn.initialise import fresh, seeded
from graft.nn.stages import stages

__all__ = [
    "Own",
    "Pooled",
    "Reversed",
    "anew",
    "blank_images",
    "called",
    "classifier_of",
    "copied",
    "restarted",
    "take_apart",
]

_ROWS = 2
_HEADS = ("fc", "classifier", "head", "linear", "last_linear", "logits", "output")


@dataclass(frozen=True)
class Own:
    """A network in two parts.

    Parameters
    ----------
    module
        batch → features ``(n, d)``.
    dim
        ``d``.
    stages
        Parameter-name prefixes of ``module`` from input to output.
    head
        Features → the network's own outputs, where they are a layer on the features.
    notes
        What was found, a sentence each.
    """

    module: Pooled
    dim: int
    stages: tuple[str, ...]
    head: nn.Module | None
    notes: tuple[str, ...] = ()


class Pooled(nn.Module):
    """Runs the network in the precision of its weights; maps ``(n, d, h, w)`` become their means ``(n, d)``.

    Parameters
    ----------
    network
        batch → ``(n, d)`` or ``(n, d, h, w)``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch) -> Tensor:
        kind = next(self.network.parameters()).dtype
        given = self.network(_cast(batch, kind))
        return cast("Tensor", given.mean((2, 3)) if given.ndim == 4 else given)


class Reversed(nn.Module):
    """Hands the channels of images over in the opposite order: red, green, blue → blue, green, red.

    Parameters
    ----------
    module
        Images ``(n, 3, h, w)`` → features ``(n, d)``.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.module(images.flip(1)))


def copied(module: nn.Module) -> nn.Module:
    """A copy on the CPU, in float32, all of it trainable.

    Raises
    ------
    RequestError
        Where it cannot be copied.
    """
    try:
        again = copy.deepcopy(module)
    except Exception as exc:  # whatever a part of theirs raises
        raise RequestError(
            f"the module {type(module).__name__} cannot be copied ({exc}), and every model needs one of its own; "
            "leave out tensors that were computed with gradients, open files and the like."
        ) from exc
    return again.cpu().float().requires_grad_(True)


def restarted(module: nn.Module) -> nn.Module:
    """The module, drawn anew in place: what ``Vision`` calls where it starts again."""
    return fresh(module, torch.initial_seed() % 2**63)


def blank_images(size: tuple[int, int]) -> Tensor:
    """A few normalised images ``(2, 3, h, w)`` of noise, always the same."""
    with seeded(0):
        return torch.randn(_ROWS, 3, *size)


def classifier_of(network: nn.Module, batch: Batch, head: str | None, name: str) -> tuple[str | None, tuple[str, ...]]:
    """The name of the layer that gives the network's outputs, and what there is to say of it.

    Parameters
    ----------
    batch
        A few rows, to see what the network does.
    head
        The name of its classifier, or ``"none"``; ``None`` looks for the layer whose outputs are the network's.
    name
        Of the network, for messages.

    Raises
    ------
    RequestError
        Where it fails, has no weights, gives something else than features, or has no such classifier.
    """
    if not any(True for _ in network.parameters()):
        raise RequestError(f"{name} has no weights at all; there is nothing to transfer.")
    if head == "none":
        return None, ()
    if head is not None:
        return _named(network, head, name), ()
    outputs, ran = _observe(network, batch, name)
    last = next((part for part, made in reversed(ran) if _gives(made, outputs)), None)
    if last is not None and isinstance(network.get_submodule(last), nn.Linear):
        return last, (f"{last} was taken for its classifier (head=none keeps it)",)
    held = [each for each in _HEADS if isinstance(getattr(network, each, None), nn.Linear | nn.Conv2d)]
    if held:
        return None, (f"its features are what it gives: {held[0]} does not give its outputs (head={held[0]} cuts it)",)
    return None, ()


def take_apart(network: nn.Module, batch: Batch, head: str | None, name: str) -> Own:
    """Take the classifier of ``network`` off, in place.

    Parameters
    ----------
    batch
        A few rows, to see what the network gives.
    head
        The name of its classifier, as :func:`classifier_of` found it.
    name
        Of the network, for messages.

    Raises
    ------
    RequestError
        Where it fails, or what is left does not give features.
    """
    layer: nn.Module | None = None
    notes: tuple[str, ...] = ()
    if head is not None:
        layer = network.get_submodule(head)
        network.set_submodule(head, nn.Identity())
    given, _ = _observe(network, batch, name)
    if isinstance(layer, nn.Conv2d) and given.shape[1] == layer.in_channels:
        layer, notes = None, (f"{head} classifies every place: the features are what it is given, pooled",)
    elif layer is not None and not (
        isinstance(layer, nn.Linear) and given.ndim == 2 and given.shape[1] == layer.in_features
    ):
        raise RequestError(
            f"{name} goes on after its classifier {head} in a way that does not end in features "
            f"(without it, it gives {tuple(given.shape)}); let it end there, or say head=none."
        )
    prefixes = tuple(f"network.{stage}" for stage in stages(network))
    return Own(Pooled(network), int(given.shape[1]), prefixes, layer, notes)


def _observe(network: nn.Module, batch: Batch, name: str) -> tuple[Tensor, list[tuple[str, Tensor]]]:
    """What it gives for ``batch``, and what its linear layers and convolutions gave on the way."""
    ran: list[tuple[str, Tensor]] = []

    def hear(part: str) -> Callable[..., None]:
        return lambda _module, _given, made: ran.append((part, made))

    hooks = [
        part.register_forward_hook(hear(key))
        for key, part in network.named_modules()
        if key and isinstance(part, nn.Linear | nn.Conv2d)
    ]
    modes = [(part, part.training) for part in network.modules()]
    kind = next(network.parameters()).dtype
    try:
        network.eval()
        with torch.no_grad(), seeded(0):
            given: Any = told(lambda: network(_cast(batch, kind)), name)
    finally:
        for hook in hooks:
            hook.remove()
        for part, mode in modes:
            part.training = mode
    rows = len(next(iter(batch.values())) if isinstance(batch, dict) else batch)
    shape = tuple(given.shape) if isinstance(given, Tensor) else None
    if shape is None or len(shape) not in (2, 4) or shape[0] != rows:
        raise RequestError(
            f"{name} gives {type(given).__name__ if shape is None else f'a tensor of shape {shape}'} for {rows} rows; "
            "expected features (n, d), or maps (n, d, h, w) that can be pooled. Let it return those alone."
        )
    return given, ran


def _gives(made: object, outputs: Tensor) -> bool:
    return isinstance(made, Tensor) and made.shape == outputs.shape and torch.equal(made, outputs)


def _named(network: nn.Module, head: str, name: str) -> str:
    try:
        part = network.get_submodule(head)
    except AttributeError as exc:
        known = ", ".join(_layers(network)) or "none"
        raise RequestError(f"{name} has no part {head!r}; its linear layers and convolutions are: {known}.") from exc
    inner = [key for key in _layers(part) if key]
    if isinstance(part, nn.Linear | nn.Conv2d):
        return head
    if not inner:
        raise RequestError(f"{head!r} of {name} is a {type(part).__name__}; a classifier ends in a Linear or a Conv2d.")
    return f"{head}.{inner[-1]}"


def _layers(part: nn.Module) -> list[str]:
    return [key for key, each in part.named_modules() if isinstance(each, nn.Linear | nn.Conv2d)][-40:]


def _cast(batch: Batch, kind: torch.dtype) -> Batch:
    if isinstance(batch, dict):
        return {key: value.to(kind) if value.is_floating_point() else value for key, value in batch.items()}
    return batch.to(kind) if batch.is_floating_point() else batch


def called(code: Factory, options: Mapping[str, Any]) -> nn.Module:
    """The network that a function of the user's makes; the global random state is not touched.

    Raises
    ------
    RequestError
        Where it fails, or returns something else.
    """
    with seeded(0):
        return _called(code, options)


def anew(code: Factory, options: Mapping[str, Any], head: str | None) -> nn.Module:
    """The same, drawn from where the global random state stands, without its classifier ``head``."""
    network = _called(code, options)
    if head is not None:
        network.set_submodule(head, nn.Identity())
    return Pooled(network)


def _called(code: Factory, options: Mapping[str, Any]) -> nn.Module:
    made = code(options)
    if not isinstance(made, nn.Module):
        raise RequestError(f"{code.name} returns {type(made).__name__}; expected a torch.nn.Module.")
    return made.cpu().float()

"""A network cut in two where its frozen part ends: what is frozen is computed once a row, and not once an epoch.

The network's own code runs the rest: every part that is done before the cut is replaced by one that
computes nothing and gives zeros of the right shape, and the last frozen block by one that gives what
was recorded of it.  That is right for networks in which data reach what trains through that block
alone, and is tried out on batches, features and gradients, before it is believed.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from graft.contracts import Batch

__all__ = ["CUT", "Cut", "cut", "frozen_stages", "resumed"]

CUT = "cut"
"""The name under which a batch carries what was recorded at the cut."""
_REST = "rest"
"""The name under which it carries the rest, where the network takes no dictionary."""

_CLOSE = 1e-4
"""Largest difference, relative to the largest value, that rounding makes."""

_now = threading.local()
"""What the resumed network of this thread goes on from."""


@dataclass(frozen=True)
class Cut:
    """Two halves of a network.

    Parameters
    ----------
    trunk
        The whole of it.
    place
        The name of the last frozen block; empty where nothing trains, and features are recorded.
    rest
        batch, with what the block gave under ``"cut"`` → features.  It shares parameters and
        buffers with ``trunk``, under the same names.
    blank
        Of images, the height and width of what stands for them in the rest's batches, without
        content; ``None`` where batches are needed as they are.
    """

    trunk: nn.Module
    place: str
    rest: nn.Module
    blank: tuple[int, int] | None

    def record(self, batch: Batch) -> Tensor:
        """What the last frozen block gives for a batch, ``(n, …)``; nothing is computed after it."""
        return _recorded(self.trunk, self.place, batch)


def frozen_stages(module: nn.Module, stages: Sequence[str]) -> tuple[str, ...]:
    """The stages from the input on in which nothing trains."""
    learning = [name for name, value in module.named_parameters() if value.requires_grad]
    found = []
    for stage in stages:
        if any(name == stage or name.startswith(f"{stage.rstrip('.')}.") for name in learning):
            break
        found.append(stage)
    return tuple(found)


def resumed(batch: Batch, held: Tensor) -> Batch:
    """The batch from which the rest goes on."""
    return {**batch, CUT: held} if isinstance(batch, dict) else {_REST: batch, CUT: held}


def cut(trunk: nn.Module, stages: Sequence[str], batches: Sequence[Batch]) -> Cut | str:
    """Cut ``trunk`` behind its last frozen block, or say why that cannot be.

    Parameters
    ----------
    stages
        Prefixes of parameter names from input to output, as in ``Backbone.stages``.
    batches
        Two, of different numbers of rows and, of texts, of different lengths; it is tried out on them.
    """
    frozen = frozen_stages(trunk, stages)
    if not any(value.requires_grad for value in trunk.parameters()):
        return Cut(trunk, "", _Features(), None if _edges(batches[0]) is None else (1, 1))
    with _evaluating(trunk):
        calls = [_traced(trunk, batch) for batch in batches]
        parts = dict(trunk.named_modules())
        blocks = [name for name in frozen if name in parts and name in calls[0] and calls[0][name].once]
        if not blocks:
            return "the network has no frozen block at its input"
        place = max(blocks, key=lambda name: calls[0][name].ended)
        expected = [_tried(trunk, batch) for batch in batches]
        reason = ""
        for chosen, small in ((_all_before, True), (_all_before, False), (_beside, False)):
            size = _edges(batches[0])
            if small and size is None:
                continue
            rest = _without(trunk, place, chosen(trunk, place, calls[0]), calls, batches)
            if isinstance(rest, str):
                return rest
            found = Cut(trunk, place, rest, (1, 1) if small else size)
            differs = _differs(found, batches, expected)
            if not differs:
                return found
            reason = reason or differs
    return reason


@dataclass
class _Call:
    """When a part was called and what it gave; times count calls."""

    started: int
    ended: int = -1
    made: Any = None
    once: bool = True
    alike: bool = True


def _traced(trunk: nn.Module, batch: Batch) -> dict[str, _Call]:
    calls: dict[str, _Call] = {}
    clock = iter(range(1 << 40))
    names = {part: name for name, part in trunk.named_modules()}
    open_calls: dict[nn.Module, list[int]] = {}

    def begin(part: nn.Module, given: Any) -> None:
        open_calls.setdefault(part, []).append(next(clock))

    def end(part: nn.Module, given: Any, made: Any) -> None:
        started, shapes = open_calls[part].pop(), _shapes(made)
        before = calls.get(names[part])
        if before is None:
            calls[names[part]] = _Call(started, next(clock), shapes)
        else:
            before.ended, before.once = next(clock), False
            before.alike = before.alike and before.made == shapes

    hooks = [part.register_forward_pre_hook(begin) for part in names] + [
        part.register_forward_hook(end) for part in names
    ]
    try:
        with torch.no_grad():
            trunk(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _shapes(made: Any) -> Any:
    """What a part gave, without the values: a tuple for a tensor, lists for tuples; ``...`` for what is neither."""
    if made is None:
        return None
    if isinstance(made, Tensor):
        return (tuple(made.shape), made.dtype)
    if type(made) in (tuple, list):
        inner = [_shapes(each) for each in made]
        return ... if ... in inner else [type(made), *inner]
    return ...


def _all_before(trunk: nn.Module, place: str, calls: dict[str, _Call]) -> list[str]:
    """Every part that is done when the last frozen block is, the outermost of those inside each other."""
    done = [
        name
        for name, part in trunk.named_modules()
        if name != place
        and name in calls
        and calls[name].ended < calls[place].ended
        and calls[name].alike
        and calls[name].made is not ...
        and not any(value.requires_grad for value in part.parameters())
    ]
    return _outermost(done, place)


def _beside(trunk: nn.Module, place: str, calls: dict[str, _Call]) -> list[str]:
    """Of those, the blocks of the same kind that stand beside the last frozen one."""
    parent, parts = place.rpartition(".")[0], dict(trunk.named_modules())
    kind = type(parts[place])
    return [
        name
        for name in _all_before(trunk, place, calls)
        if name.rpartition(".")[0] == parent and type(parts[name]) is kind
    ]


def _outermost(names: Sequence[str], place: str) -> list[str]:
    found: list[str] = []
    for name in names:  # containers come before their parts
        if not name.startswith((f"{place}.", *(f"{each}." for each in found))):
            found.append(name)
    return found


class _Stub(nn.Module):
    """Stands where a part stood, which the network may ask for plain attributes; it computes nothing.

    Parameters
    ----------
    part
        What stood there.
    shapes
        Of what it gives, in which the numbers of rows and tokens are each batch's.
    """

    def __init__(self, part: nn.Module, shapes: Any) -> None:
        super().__init__()
        self.shapes = shapes
        plain = {key: value for key, value in vars(part).items() if key[0] != "_" and not isinstance(value, Tensor)}
        vars(self).update({key: value for key, value in plain.items() if key not in vars(self)})


class _Zeros(_Stub):
    def forward(self, *given: Any, **named: Any) -> Any:
        return _filled(self.shapes)


class _Held(_Stub):
    """Gives what the batch carries."""

    def forward(self, *given: Any, **named: Any) -> Any:
        # A copy, as what follows may work in place, and the batch may be computed again.
        return _filled(self.shapes, _now.held.clone())


def _filled(shapes: Any, instead: Tensor | None = None) -> Any:
    if shapes is None:
        return None
    if isinstance(shapes, list):
        return shapes[0](_filled(each, instead) for each in shapes[1:])
    if instead is not None:
        return instead
    sizes = {"n": len(_now.held), "t": _now.held.shape[1] if _now.held.ndim > 1 else 1}
    shape, dtype = shapes
    if dtype.is_floating_point:
        dtype = _now.held.dtype
    return torch.zeros((), dtype=dtype, device=_now.held.device).expand([sizes.get(each, each) for each in shape])


def _without(
    trunk: nn.Module, place: str, stubbed: Sequence[str], calls: Sequence[dict[str, _Call]], batches: Sequence[Batch]
) -> nn.Module | str:
    """The network with nothing computed up to the cut; tensors are shared."""
    held = [each[place].made for each in calls]
    if held[0] is ... or _count(held[0]) != 1:
        return f"{place} gives more than one tensor"
    shared = {id(value): value for value in (*trunk.parameters(), *trunk.buffers())}
    rest = copy.deepcopy(trunk, shared)
    sizes = [(_rows(batch), _length(batch)) for batch in batches]
    for name in stubbed:
        rest.set_submodule(name, _Zeros(rest.get_submodule(name), _open([each[name].made for each in calls], sizes)))
    rest.set_submodule(place, _Held(rest.get_submodule(place), _open(held, sizes)))
    rest.register_forward_pre_hook(_take_up)
    return rest


def _count(shapes: Any) -> int:
    if isinstance(shapes, list):
        return sum(map(_count, shapes[1:]))
    return int(shapes is not None)


def _open(made: Sequence[Any], sizes: Sequence[tuple[int, int]]) -> Any:
    """Shapes in which ``"n"`` and ``"t"`` stand for the number of rows and of tokens."""
    first = made[0]
    if first is None or not isinstance(first, list | tuple):
        return None
    if isinstance(first, list):
        inner = zip(*(each[1:] for each in made), strict=True)
        return [first[0], *(_open(each, sizes) for each in inner)]
    dims: list[int | str] = []
    for axis, found in enumerate(zip(*(each[0] for each in made), strict=True)):
        if axis == 0 and found == tuple(n for n, _ in sizes):
            dims.append("n")
        elif axis == 1 and found == tuple(t for _, t in sizes):
            dims.append("t")
        else:
            dims.append(found[0])
    return tuple(dims), first[1]


def _take_up(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """A hook: what was recorded is put where the block finds it, and the network sees the rest of the batch."""
    batch = dict(given[0])
    _now.held = batch.pop(CUT)
    return (batch.get(_REST, batch),)


def _tensors(batch: Batch) -> list[Tensor]:
    return [batch] if isinstance(batch, Tensor) else list(batch.values())


def _rows(batch: Batch) -> int:
    return len(_tensors(batch)[0])


def _length(batch: Batch) -> int:
    """Tokens of a batch of texts; −1 of others, which no axis has."""
    first = _tensors(batch)[0]
    return first.shape[1] if isinstance(batch, dict) and first.ndim == 2 and not first.is_floating_point() else -1


def _edges(batch: Batch) -> tuple[int, int] | None:
    """Height and width of images; ``None`` for a batch of something else."""
    return (batch.shape[2], batch.shape[3]) if isinstance(batch, Tensor) and batch.ndim == 4 else None


def _blanked(batch: Batch, size: tuple[int, int] | None) -> Batch:
    return batch if size is None or not isinstance(batch, Tensor) else batch.new_zeros(*batch.shape[:2], *size)


class _Features(nn.Module):
    """What is left where nothing trains."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return batch[CUT]


class _Reached(Exception):  # noqa: N818 - it is no error
    """Carries what a block gave out of the network that it stands in."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.made = made


def _recorded(trunk: nn.Module, place: str, batch: Batch) -> Tensor:
    if not place:
        features: Tensor = trunk(batch)
        return features

    def stop(part: nn.Module, given: Any, made: Any) -> None:
        raise _Reached(made)

    hook = trunk.get_submodule(place).register_forward_hook(stop)
    try:
        trunk(batch)
    except _Reached as reached:
        made = reached.made
    finally:
        hook.remove()
    return made if isinstance(made, Tensor) else next(each for each in made if isinstance(each, Tensor))


def _tried(module: nn.Module, batch: Batch) -> tuple[Tensor, list[Tensor | None]]:
    """Features, and the gradient of some loss with respect to all that trains."""
    features: Tensor = module(batch)
    generator = torch.Generator().manual_seed(0)
    towards = torch.randn(features.shape, generator=generator).to(features.device)
    learning = [value for value in module.parameters() if value.requires_grad]
    return features.detach(), list(torch.autograd.grad((features.float() * towards).sum(), learning, allow_unused=True))


def _differs(found: Cut, batches: Sequence[Batch], expected: Sequence[tuple[Tensor, list[Tensor | None]]]) -> str:
    """Why the rest does not stand for the whole; empty where it does."""
    for batch, (features, gradients) in zip(batches, expected, strict=True):
        with torch.no_grad():
            held = found.record(batch)
        try:
            again, against = _tried(found.rest, resumed(_blanked(batch, found.blank), held))
        except (RuntimeError, AttributeError, TypeError, ValueError, IndexError, KeyError) as exc:
            return f"it cannot go on from {found.place} ({type(exc).__name__}: {exc})"
        same = len(gradients) == len(against) and _close(again, features)
        if not (same and all(map(_close, against, gradients))):
            return f"what trains sees more of the network than {found.place}"
    return ""


def _close(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    size = float(other.abs().max()) if other.numel() else 0.0
    return one.shape == other.shape and bool(torch.allclose(one, other, rtol=_CLOSE, atol=_CLOSE * size))


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode

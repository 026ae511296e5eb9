"""Weights from files into modules, strictly: every name fits, or is declared, or is an error.

No file is ever unpickled into objects: PyTorch files go through ``weights_only``, and where that
refuses a file, the file is refused.
"""

from __future__ import annotations

import difflib
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from graft.errors import UnavailableError, WeightsError

__all__ = ["Report", "State", "match", "read_state"]

_TORCH_SUFFIXES = {".pt", ".pth", ".th", ".ckpt", ".bin", ".tar"}
_KERAS_SUFFIXES = {".h5", ".hdf5", ".keras"}

# Averaged weights first: they are what an author who kept both evaluated.
_NESTS = (
    "state_dict_ema",
    "model_ema",
    "ema",
    "state_dict",
    "model_state_dict",
    "net_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
_DEEPEST = 8
"""Mappings that tensors may be nested in; one that contains itself would never end."""

_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "network.", "base_model.", "trunk.")

# BatchNorm counts its batches, but only uses the count where momentum is None; files written before
# PyTorch 0.4.1, and most converted ones, lack it.
_COUNTER = "num_batches_tracked"


class State(dict[str, Tensor]):
    """Tensors by name, as a file holds them.

    Parameters
    ----------
    tensors
        By name.
    notes
        What was left out or looked up inside the file, a sentence each.
    """

    def __init__(self, tensors: Mapping[str, Tensor], notes: tuple[str, ...] = ()) -> None:
        super().__init__(tensors)
        self.notes = notes


@dataclass(frozen=True)
class Report:
    """How weights were matched.

    Parameters
    ----------
    loaded
        How many names were loaded.
    reset
        Names of the module that stayed as they were.
    ignored
        Names of the state that nothing took.
    notes
        What was resolved, a sentence each.
    """

    loaded: int
    reset: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """The state under one way of naming it, against the module."""

    note: str
    state: Mapping[str, Tensor]
    fits: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    differ: tuple[str, ...]

    @property
    def faults(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.differ)


def read_state(path: str | Path) -> State:
    """Read a checkpoint: ``.safetensors``, or a PyTorch file that ``weights_only`` accepts.

    Tensors nested under ``state_dict``, ``model``, ``ema`` and the like are found; what is not a
    tensor is left out; both are told in ``State.notes``.

    Raises
    ------
    UnavailableError
        Where there is no such file; names the nearest one in its folder.
    WeightsError
        Where the file is damaged, of a kind that cannot be read, or holds anything but data.
    """
    path = Path(path)
    if not path.is_file():
        raise UnavailableError(f"there is no weights file {path}{_nearest_file(path)}.")
    with open(path, "rb") as file:
        start = file.read(64)
    if path.suffix.lower() in _KERAS_SUFFIXES or start.startswith(b"\x89HDF"):
        raise WeightsError(
            f"{path} is a Keras / HDF5 file; Graft reads .safetensors and PyTorch state dicts. "
            "Convert it: build the network in PyTorch, copy the arrays, save its state_dict() as safetensors."
        )
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a Git LFS pointer, not the weights; run `git lfs pull` in its folder.")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    if path.suffix.lower() in _TORCH_SUFFIXES:
        return _read_torch(path)
    known = ", ".join(sorted({".safetensors", *_TORCH_SUFFIXES}))
    raise WeightsError(f"{path} has no known ending for weights; expected one of {known}.")


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; its folder {path.parent} does not exist either"
    beside = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.4)
    return f"; did you mean {path.with_name(near[0])}" if near else ""


def _read_safetensors(path: Path) -> State:
    try:
        return State(load_file(path))
    except Exception as exc:  # a header that lies makes the reader fail in ways of torch's, not only in its own
        raise WeightsError(f"{path} is damaged or no safetensors file ({exc}); fetch it again.") from exc


def _read_torch(path: Path) -> State:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: what it cannot read, it refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        reason = next((line for line in str(exc).splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
        raise WeightsError(
            f"{path} holds more than tensors, or is no PyTorch file, and loading it could run code, so it is refused. "
            f"{reason.strip()}\nWhere you trust its author, write its tensors alone: "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
        ) from exc
    except Exception as exc:  # damage reads as any instruction of a pickle, so it fails like any of them
        first = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise WeightsError(f"{path} is damaged or no PyTorch state dict ({first}); fetch it again.") from exc
    try:
        return _unnest(content, path)
    except RecursionError as exc:
        raise WeightsError(f"{path} holds mappings that contain themselves; expected tensors by name.") from exc


def _unnest(content: Any, path: Path) -> State:
    trail: list[str] = []
    left: list[str] = []
    while isinstance(content, Mapping):
        nests = [key for key in _NESTS if isinstance(content.get(key), Mapping) and _has_tensors(content[key])]
        if any(isinstance(value, Tensor) for value in content.values()) or not nests or len(trail) == _DEEPEST:
            break
        left += [".".join([*trail, str(key)]) for key in content if key != nests[0]]
        trail.append(nests[0])
        content = content[nests[0]]
    tensors = (
        {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        found = (
            f"the keys {', '.join(map(str, islice(content, 10)))}" if isinstance(content, Mapping) else type(content)
        )
        raise WeightsError(f"{path} holds no state dict: found {found}; expected tensors by name.")
    left += [".".join([*trail, str(name)]) for name in content if not isinstance(content[name], Tensor)]
    notes = [f"read from {'.'.join(trail)!r} inside {path.name}"] if trail else []
    if left:
        notes.append(f"left out of {path.name}: {_listed(left, 6)}")
    return State(tensors, tuple(notes))


def _has_tensors(content: Mapping[Any, Any]) -> bool:
    return any(
        isinstance(value, Tensor) or (isinstance(value, Mapping) and _has_tensors(value)) for value in content.values()
    )


def match(
    module: nn.Module, state: Mapping[str, Tensor], *, reset: Sequence[str] = (), ignore: Sequence[str] = ()
) -> Report:
    """Load ``state`` into ``module``, all of it or nothing.

    A common prefix (``module.``, ``model.``, ``backbone.``, …) on either side is resolved where
    that makes every name fit.  Tied weights need one of their names only.

    Parameters
    ----------
    module
        Changed in place.
    state
        Tensors by name.
    reset
        Names, or prefixes of names, of the module that stay as they are.
    ignore
        Names, or prefixes of names, of the state that nothing needs.

    Raises
    ------
    WeightsError
        Where a name or a shape does not fit, or a weight is not finite; shows both sides.
    """
    own = {
        name: value
        for name, value in module.state_dict(keep_vars=True).items()
        if isinstance(value, Tensor) and not _covered(name, reset)
    }
    plans = [_compare(own, renamed, reset, ignore, note) for note, renamed in _namings(own, state)]
    plan = min(plans, key=lambda plan: plan.faults)
    if plan.faults:
        raise WeightsError(_explain(plans[0] if plans[0].faults <= plan.faults else plan, own))
    parameters = dict(module.named_parameters(remove_duplicate=False))
    bad = [name for name in plan.fits if name in parameters and not plan.state[name].isfinite().all()]
    if bad:
        raise WeightsError(f"weights are not finite numbers: {_listed(bad, 10)}; the file is damaged, fetch it again.")
    module.load_state_dict({name: plan.state[name] for name in plan.fits}, strict=False)
    fresh = [name for name in module.state_dict() if _covered(name, reset)]
    unused = [name for name in plan.state if name not in plan.fits]
    notes = (*getattr(state, "notes", ()), *([plan.note] if plan.note else []))
    return Report(loaded=len(plan.fits), reset=tuple(fresh), ignored=tuple(unused), notes=notes)


def _covered(name: str, patterns: Sequence[str]) -> bool:
    return any(name == pattern or name.startswith(pattern.rstrip(".") + ".") for pattern in patterns)


def _namings(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """The state as it is; without up to three common prefixes; with one that the module has."""
    yield "", state
    waiting: list[tuple[str, Mapping[str, Tensor]]] = [("", state)]
    for _ in range(3):
        shorter: list[tuple[str, Mapping[str, Tensor]]] = []
        for taken, names in waiting:
            for prefix in _PREFIXES:
                bare = {name.removeprefix(prefix): value for name, value in names.items()}
                if bare.keys() != names.keys() and len(bare) == len(names):
                    shorter.append((taken + prefix, bare))
        yield from ((f"the prefix {taken!r} was taken off the names", names) for taken, names in shorter)
        waiting = shorter
    for prefix in {name.split(".", 1)[0] + "." for name in own if "." in name}:
        if all(name.startswith(prefix) for name in own):
            yield f"the prefix {prefix!r} was put before the names", {prefix + k: v for k, v in state.items()}


def _compare(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], reset: Sequence[str], ignore: Sequence[str], note: str
) -> _Plan:
    given = {name: value for name, value in state.items() if not _covered(name, ignore)}
    shared = [name for name in given if name in own]
    fits = tuple(name for name in shared if _same_kind(own[name], given[name]))
    filled = {id(own[name]) for name in fits}
    return _Plan(
        note=note,
        state=state,
        fits=fits,
        missing=tuple(
            name
            for name, value in own.items()
            if name not in given and id(value) not in filled and not name.endswith(_COUNTER)
        ),
        unexpected=tuple(name for name in given if name not in own and not _covered(name, reset)),
        differ=tuple(name for name in shared if name not in set(fits)),
    )


def _same_kind(own: Tensor, given: Tensor) -> bool:
    return own.shape == given.shape and own.is_floating_point() == given.is_floating_point()


def _explain(plan: _Plan, own: Mapping[str, Tensor]) -> str:
    lines = [f"the weights do not fit: {len(plan.fits)} names do, {plan.faults} do not."]
    if plan.note:
        lines.append(f"  ({plan.note})")
    sides = [
        ("the network needs, the weights lack", "-", plan.missing),
        ("the weights have, the network lacks", "+", plan.unexpected),
    ]
    for title, sign, names in sides:
        if names:
            lines += [f"{title} ({len(names)}):", *(f"  {sign} {name}" for name in names[:20])]
            lines += [f"  {sign} … and {len(names) - 20} more"] if len(names) > 20 else []
    if plan.differ:
        lines.append(f"of another shape or kind ({len(plan.differ)}):")
        for name in plan.differ[:20]:
            lines.append(f"  ! {name}: the network {_shape(own[name])}, the weights {_shape(plan.state[name])}")
        lines += [f"  ! … and {len(plan.differ) - 20} more"] if len(plan.differ) > 20 else []
    renames = list(islice(_renames(plan, own), 8))
    if renames:
        lines += ["perhaps renamed (same shape):", *(f"  {old} → {new}" for old, new in renames)]
    lines.append("Name the architecture and the options that the weights were trained with.")
    return "\n".join(lines)


def _renames(plan: _Plan, own: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    left = list(plan.missing[:200])
    for name in plan.unexpected[:200]:
        alike = [other for other in left if _same_kind(own[other], plan.state[name])]
        near = difflib.get_close_matches(name, alike, n=1, cutoff=0.3)
        if near:
            left.remove(near[0])
            yield name, near[0]


def _shape(value: Tensor) -> str:
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _listed(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

"""Weights into modules, strictly: every name fits, or is declared, or is an error."""

from __future__ import annotations

import difflib
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from graft.errors import WeightsError
from graft.wording import listed

__all__ = ["Report", "match"]


# BatchNorm counts its batches, but only uses the count where momentum is None; files written before
# PyTorch 0.4.1, and most converted ones, lack it.
_COUNTER = "num_batches_tracked"

_MOST_NAMES = 1000
"""Names of one side that an error shows; a network has hundreds."""

_LONGEST_NAME = 200
_DEEPEST_PREFIX = 12


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


def match(
    module: nn.Module, state: Mapping[str, Tensor], *, reset: Sequence[str] = (), ignore: Sequence[str] = ()
) -> Report:
    """Load ``state`` into ``module``, all of it or nothing.

    A common prefix (``module.``, ``backbone.``, or any other) on either side is resolved where that
    makes every name fit.  Tied weights need one of their names only.

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
        close = 2 * (len(plan.fits) + len(plan.differ)) > len(own)
        raise WeightsError(_explain(plan if close else plans[0], own))
    parameters = dict(module.named_parameters(remove_duplicate=False))
    bad = [name for name in plan.fits if _unsound(plan.state[name], name in parameters)]
    if bad:
        raise WeightsError(
            f"weights are not finite numbers: {listed(bad)}; the file or its training is at fault: take another."
        )
    module.load_state_dict({name: plan.state[name] for name in plan.fits}, strict=False)
    fresh = [name for name in module.state_dict() if _covered(name, reset)]
    unused = [name for name in plan.state if name not in plan.fits]
    notes = (*getattr(state, "notes", ()), *([plan.note] if plan.note else []))
    return Report(loaded=len(plan.fits), reset=tuple(fresh), ignored=tuple(unused), notes=notes)


def _covered(name: str, patterns: Sequence[str]) -> bool:
    return any(name == pattern or name.startswith(pattern.rstrip(".") + ".") for pattern in patterns)


def _namings(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """The state as it is; without a prefix that stands before the module's names; with one that the module has."""
    yield "", state
    for prefix in _prefixes(state, own):
        bare = {name.removeprefix(prefix): value for name, value in state.items()}
        if len(bare) == len(state):
            yield f"the prefix {prefix!r} was taken off the names", bare
    for prefix in _prefixes(own, state):
        yield f"the prefix {prefix!r} was put before the names", {prefix + k: v for k, v in state.items()}


def _prefixes(longer: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> list[str]:
    """What stands before known names (``module.``, ``backbone.``, ``student.trunk.``), the most frequent first."""
    found: Counter[str] = Counter()
    for name in longer:
        start = 0
        for _ in range(_DEEPEST_PREFIX):
            start = name.find(".", start) + 1
            if start == 0:
                break
            if name[start:] in known:
                found[name[:start]] += 1
    return [prefix for prefix, _ in found.most_common(8)]


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
            lines += [f"{title} ({len(names)}):", *_column(sign, names)]
    if plan.differ:
        pairs = [
            f"{name}: the network {_shape(own[name])}, the weights {_shape(plan.state[name])}"
            for name in plan.differ[:_MOST_NAMES]
        ]
        lines += [f"of another shape or kind ({len(plan.differ)}):", *(f"  ! {pair}" for pair in pairs)]
    renames = list(islice(_renames(plan, own), 8))
    if renames:
        lines += ["perhaps renamed (same shape):", *(f"  {old} → {new}" for old, new in renames)]
    lines.append("Name the architecture and the options that the weights were trained with.")
    return "\n".join(lines)


def _column(sign: str, names: Sequence[str]) -> list[str]:
    """All names, one a line where they are few, else as wrapped lines."""
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in names[:_MOST_NAMES]]
    more = [f"  {sign} … and {len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    if len(shown) <= 20:
        return [*(f"  {sign} {name}" for name in shown), *more]
    wrapped = textwrap.wrap(", ".join(shown), 110, break_long_words=False, break_on_hyphens=False)
    return [*(f"  {sign} {line}" for line in wrapped), *more]


def _renames(plan: _Plan, own: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    left = [name for name in plan.missing[:200] if len(name) <= _LONGEST_NAME]
    for name in plan.unexpected[:50]:
        if len(name) > _LONGEST_NAME:
            continue
        alike = [other for other in left if _same_kind(own[other], plan.state[name])]
        near = difflib.get_close_matches(name, alike, n=1, cutoff=0.3)
        if near:
            left.remove(near[0])
            yield name, near[0]


def _unsound(value: Tensor, parameter: bool) -> bool:
    """Whether a weight is not a number, or a parameter infinite: a mask among the buffers may be."""
    if not value.is_floating_point() or value.numel() == 0:
        return False
    # One pass tells of most tensors that all is well: what is not finite makes the sum so too.
    if value.sum(dtype=torch.float32 if value.element_size() < 4 else value.dtype).isfinite():
        return False
    return not bool(value.isfinite().all()) if parameter else bool(value.isnan().any())


def _shape(value: Tensor) -> str:
    return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"

"""Parameter groups for an optimiser: a rate for the head, falling rates towards the input, no decay on biases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from graft.errors import RequestError

__all__ = ["parameter_groups", "train_last"]


def parameter_groups(
    module: nn.Module,
    stages: Sequence[str] = (),
    *,
    rate: float,
    head_rate: float | None = None,
    weight_decay: float = 0.0,
    layer_decay: float = 1.0,
    trunk: str = "trunk",
) -> list[dict[str, Any]]:
    """Every trainable parameter of ``module`` in exactly one group.

    The last stage learns at ``rate``, each stage before it at ``layer_decay`` times the rate of the
    next; what lies outside the trunk, the head, learns at ``head_rate``.  A parameter of the trunk
    that no stage names goes with the one declared before it.  Biases, norms and what the network
    itself excepts (``no_weight_decay``) do not decay: shrinking them regularises nothing.

    Parameters
    ----------
    module
        The target model.
    stages
        Prefixes of the trunk's parameter names from input to output, as in ``Backbone.stages``.
    rate, head_rate
        Learning rates of the trunk's last stage and of the head (``None``: the same).
    weight_decay
        Decay of the weights that do decay.
    layer_decay
        In (0, 1]; 1 gives all stages the same rate.
    trunk
        Name of the sub-module that ``stages`` are relative to; ``""`` where they are absolute.

    Returns
    -------
    list of dict
        ``params``, ``lr``, ``weight_decay`` and ``name``, as ``torch.optim`` takes them.

    Raises
    ------
    RequestError
        Where ``layer_decay`` is not in (0, 1].

    References
    ----------
    Howard and Ruder, Universal Language Model Fine-tuning for Text Classification, 2018, §3.2.
    """
    if not 0 < layer_decay <= 1:
        raise RequestError(f"layer_decay is {layer_decay}; expected a factor above 0 and at most 1.")
    root = f"{trunk}." if trunk else ""
    last = max(len(stages) - 1, 0)
    excepted = set(_excepted(module))
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    place = 0
    for name, value in module.named_parameters():
        inside = name.startswith(root)
        if inside:
            place = _stage(name.removeprefix(root), stages, place)
        if not value.requires_grad:
            continue
        decays = value.ndim > 1 and not name.endswith("bias") and name not in excepted
        key = (place if inside else len(stages) + 1, decays)
        if key not in groups:
            stage = (stages[place] if stages else trunk) if inside else "head"
            own = rate * layer_decay ** (last - place) if inside else (rate if head_rate is None else head_rate)
            groups[key] = {
                "params": [],
                "lr": own,
                "weight_decay": weight_decay if decays else 0.0,
                "name": stage if decays else f"{stage} (no decay)",
            }
        groups[key]["params"].append(value)
    return [groups[key] for key in sorted(groups)]


def train_last(trunk: nn.Module, stages: Sequence[str], last: int | None) -> None:
    """Let the parameters of the ``last`` stages train, counted from the output, and no others; ``None``: all.

    Parameters
    ----------
    stages
        Prefixes of the parameter names of ``trunk`` from input to output.

    Raises
    ------
    RequestError
        Where there are fewer stages.
    """
    if last is not None and last > len(stages):
        raise RequestError(f"the last {last} stages were to train, and this source has {len(stages)}.")
    place, first = 0, 0 if last is None else len(stages) - last
    for name, value in trunk.named_parameters():
        place = _stage(name, stages, place)
        value.requires_grad_(place >= first)


def _stage(name: str, stages: Sequence[str], before: int) -> int:
    """The stage with the longest prefix of ``name``; else the one of the parameter before."""
    fits = [i for i, stage in enumerate(stages) if name == stage or name.startswith(stage.rstrip(".") + ".")]
    return max(fits, key=lambda i: len(stages[i])) if fits else before


def _excepted(module: nn.Module) -> Iterator[str]:
    for prefix, child in module.named_modules():
        named = getattr(child, "no_weight_decay", None)  # timm's convention
        if callable(named):
            yield from (f"{prefix}.{name}" if prefix else name for name in named())

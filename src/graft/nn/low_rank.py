"""Low-rank changes of weights: which layers can take one, and a network that has them while it trains.

The layers are those of the package ``peft``.  They stand in the network only inside the block of
:func:`low_rank`; what it leaves behind is the plain network, with its weights changed.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from torch import Tensor, nn

from graft.errors import UnavailableError, UnknownNameError
from graft.limits import Limit, above, between, check, whole
from graft.nn.initialise import seeded

__all__ = ["ALL_LINEAR", "LIMITS", "low_rank", "low_rank_layers"]

ALL_LINEAR = "all-linear"

LIMITS: Mapping[str, Limit] = {
    "rank": whole(),
    "alpha": above(),
    "dropout": between(0, 1, "a share from 0 to below 1", ends=(True, False)),
}

_NAME = "graft"
_INSTALL = (
    "lora and dora train through the package 'peft', which is not installed; a model that they made needs it no more. "
    "Install it into the environment that Graft runs in: pip install 'graft-transfer[peft]'"
)

_SHORTEST = 1e-12

_READS_WEIGHTS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
"""They read the weights of their parts without calling them, so that what stands around a part is not seen."""


def low_rank_layers(module: nn.Module, targets: str | Sequence[str] = ALL_LINEAR) -> tuple[str, ...]:
    """Names of the layers of ``module`` whose weights change by a product of low rank.

    That can be linear layers, and convolutions without groups and dilation.  Layers that do more than
    multiply by their weight, or share it with another layer, are left out.

    Parameters
    ----------
    targets
        ``"all-linear"``: the linear layers, and the convolutions too where those hold most of the
        weights.  Else patterns, with ``*`` for anything, of whole names or of their ends:
        ``"qkv"``, ``"blocks.1*.mlp.fc?"``.

    Raises
    ------
    UnknownNameError
        For a pattern that no such layer has.
    """
    able = dict(_able(module))
    if targets == ALL_LINEAR:
        linear = tuple(name for name, part in able.items() if type(part) is nn.Linear)
        most = 2 * sum(able[name].weight.numel() for name in linear) >= sum(
            part.weight.numel() for part in able.values()
        )
        return linear if most else tuple(able)
    chosen: set[str] = set()
    for pattern in [targets] if isinstance(targets, str) else targets:
        found = [name for name in able if fnmatch.fnmatchcase(f".{name}", f"*.{pattern}")]
        if not found:
            raise UnknownNameError("layer", pattern, able)
        chosen.update(found)
    return tuple(name for name in able if name in chosen)


def _able(module: nn.Module) -> Iterator[tuple[str, Any]]:
    weights = [getattr(part, "weight", None) for part in module.modules()]
    holders = Counter(map(id, weights))
    hidden = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, _READS_WEIGHTS))
    for name, part in module.named_modules():
        if name and not name.startswith(hidden) and _multiplies(part) and holders[id(part.weight)] == 1:
            yield name, part


def _multiplies(part: nn.Module) -> bool:
    """Whether a layer multiplies by its weight and does nothing else with it, as a derived class may."""
    if type(part) is nn.Linear:
        return True
    if not isinstance(part, nn.Conv2d) or type(part).__qualname__ not in ("Conv2d", "Conv2dSame"):  # timm's only pads
        return False
    return part.groups == 1 and part.padding_mode == "zeros" and set(part.dilation) == {1}


@contextlib.contextmanager
def low_rank(
    module: nn.Module, layers: Sequence[str], *, rank: int, alpha: float, dropout: float, dora: bool, seed: int
) -> Iterator[None]:
    """Inside the block, ``W + (alpha / rank) B A`` stands for the weight of every layer, and ``A`` and ``B`` train.

    ``A`` is drawn from ``seed`` and ``B`` is 0, so that nothing has changed yet.  At the end the
    products are added to the weights, and nothing of it is left; after an error the weights are as
    they were.

    Parameters
    ----------
    module
        Its other parameters do not train inside the block; afterwards what trains is as before.
    dropout
        Share of a layer's inputs that the product does not see while training.
    dora
        Whether the lengths of the weight's rows are learnt apart from their directions.

    Raises
    ------
    RequestError
        For a rank, an alpha or a dropout that cannot be.
    UnavailableError
        Where ``peft`` is not installed.

    References
    ----------
    Hu et al., LoRA: Low-rank adaptation of large language models, ICLR 2022.
    Liu et al., DoRA: Weight-decomposed low-rank adaptation, ICML 2024.
    """
    check(SimpleNamespace(rank=rank, alpha=alpha, dropout=dropout), LIMITS)
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ModuleNotFoundError as exc:
        raise UnavailableError(_INSTALL) from exc
    trained = {name: value.requires_grad for name, value in module.named_parameters()}
    config = LoraConfig(
        r=rank,
        lora_alpha=cast("int", alpha),  # any number will do
        lora_dropout=dropout,
        use_dora=dora,
        target_modules="|".join(map(re.escape, layers)),  # as a pattern, whole names are compared
    )
    with seeded(seed):
        tuner = LoraModel(module, config, _NAME)
    _mend_dora(module)
    finished = False
    try:
        yield
        finished = True
    finally:
        tuner.merge_and_unload() if finished else tuner.unload()
        for name, value in module.named_parameters():
            value.requires_grad_(trained[name])


def _mend_dora(module: nn.Module) -> None:
    """Let DoRA take networks as they are.

    Weights of convolutions may lie channels-last in memory, and ``peft`` reads them by ``view``, which
    takes contiguous ones alone.  A row of weights may be 0, as dead filters of real checkpoints are,
    and ``peft`` divides by its length.
    """
    for part in module.modules():
        kind = type(part).__name__
        if kind == "DoraConv2dLayer":
            vars(part)["get_lora_weight"] = _product
        if kind in ("DoraConv2dLayer", "DoraLinearLayer"):
            vars(part)["get_weight_norm"] = partial(_length, part)


def _length(part: Any, weight: Tensor, lora_weight: Tensor, scaling: float, adapter_name: str | None = None) -> Tensor:
    """Of each row of the changed weight; never 0."""
    found: Tensor = type(part).get_weight_norm(part, weight, lora_weight, scaling, adapter_name=adapter_name)
    return found.clamp_min(_SHORTEST)


def _product(*, lora_A: nn.Conv2d, lora_B: nn.Conv2d, adapter_name: str | None = None) -> Tensor:
    """What is added to the weight, rows flat, before it is scaled."""
    return lora_B.weight.flatten(1) @ lora_A.weight.flatten(1)

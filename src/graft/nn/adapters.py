"""The few parameters that train while a network stays as it is: layers between its blocks, biases, norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from graft.errors import RequestError
from graft.nn.initialise import seeded

__all__ = ["Bottleneck", "adapter_width", "biases", "blocks", "insert_adapters", "norms", "only"]

_CHILD = "adapter"


class Bottleneck(nn.Module):
    """``x + U gelu(D x + b) + c``, with ``D`` ``(width, d)`` and ``U`` ``(d, width)``; at first it changes nothing.

    Takes rows ``(n, d)``, tokens ``(n, t, d)``, and maps ``(n, d, h, w)`` or ``(n, h, w, d)``, where
    it is a convolution of 1 × 1.

    Parameters
    ----------
    dim
        ``d``.
    width
        Of the bottleneck.
    last
        Whether the features of a map come last, where its shape leaves that open.

    Examples
    --------
    >>> Bottleneck(8, 2)(torch.ones(1, 8, 5, 5)).shape
    torch.Size([1, 8, 5, 5])

    References
    ----------
    Houlsby et al., Parameter-efficient transfer learning for NLP, ICML 2019, §2.1.
    """

    def __init__(self, dim: int, width: int, last: bool = False) -> None:
        super().__init__()
        self.dim, self.last = dim, last
        self.down, self.up = nn.Linear(dim, width), nn.Linear(width, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start again: as small as in the paper, and nothing at all comes out."""
        nn.init.trunc_normal_(self.down.weight, std=1e-2, a=-2e-2, b=2e-2)
        for value in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(value)

    def forward(self, x: Tensor) -> Tensor:
        axis = self._axis(x)
        moved = x.movedim(axis, -1)
        added: Tensor = self.up(nn.functional.gelu(self.down(moved)))
        return x + added.movedim(-1, axis)

    def _axis(self, x: Tensor) -> int:
        first = x.ndim == 4 and x.shape[1] == self.dim and not (self.last and x.shape[-1] == self.dim)
        if not first and x.shape[-1] != self.dim:
            raise RequestError(
                f"an adapter was made for {self.dim} features, and the block before it gives {tuple(x.shape)}; "
                "use lora or bitfit for this source."
            )
        return 1 if first else -1


def blocks(module: nn.Module, stages: Sequence[str]) -> tuple[str, ...]:
    """The stages that are blocks, with two layers or more; where none is, those that are a layer.

    Stems, embeddings and norms are no blocks.

    Parameters
    ----------
    stages
        Prefixes of parameter names from input to output, as in ``Backbone.stages``.
    """
    parts = dict(module.named_modules())
    there = [name for name in stages if name in parts and _takes_one(parts[name])]
    large = [name for name in there if len(_layers(parts[name])) > 1]
    return tuple(large or there)


def only(module: nn.Module, values: Sequence[nn.Parameter]) -> nn.Module:
    """Let ``values`` train, as far as they did, and nothing else of ``module``; returns it."""
    kept = [value for value in values if value.requires_grad]
    module.requires_grad_(False)
    for value in kept:
        value.requires_grad_(True)
    return module


def norms(module: nn.Module) -> list[nn.Parameter]:
    """Weights and biases of the layers that normalise."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
    parts = [part for part in module.modules() if isinstance(part, kinds) or type(part).__name__.endswith("RMSNorm")]
    return [value for part in parts for value in part.parameters(recurse=False)]


def biases(module: nn.Module) -> list[nn.Parameter]:
    """What the layers add: parameters of one axis whose names end in ``bias``."""
    return [value for name, value in module.named_parameters() if name.endswith("bias") and value.ndim == 1]


def _takes_one(part: nn.Module) -> bool:
    """A part with layers; a collection of parts would run whatever is added to it."""
    return bool(_layers(part)) and not isinstance(part, nn.ModuleDict | nn.ModuleList)


def _layers(part: nn.Module) -> list[Any]:
    """The layers that multiply by a weight, in order of construction."""
    return [each for each in part.modules() if isinstance(each, nn.Linear | nn.modules.conv._ConvNd)]


def insert_adapters(module: nn.Module, names: Sequence[str], width: int) -> list[Bottleneck]:
    """Put an adapter behind each of the named blocks, inside it, as its part ``adapter``; returns them.

    The names of all other parameters stay.  A block that gives a tuple has its first tensor adapted.
    """
    made = []
    for place, name in enumerate(names):
        block = _innermost(module.get_submodule(name))
        if isinstance(held := getattr(block, _CHILD, None), Bottleneck):
            made.append(held)  # the network was built before
            continue
        layers = _layers(module.get_submodule(name))
        with seeded(place):
            adapter = Bottleneck(_width(layers[-1]), width, last=isinstance(layers[-1], nn.Linear))
        block.add_module(_CHILD, adapter)
        block.register_forward_hook(_adapted)
        made.append(adapter)
    return made


def adapter_width(names: Mapping[str, Tensor]) -> int | None:
    """The width of the adapters whose weights are among ``names``; ``None`` where there are none."""
    ends = f".{_CHILD}.down.weight"
    return next((len(value) for name, value in names.items() if name.endswith(ends) and value.ndim == 2), None)


def _width(layer: Any) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)


def _innermost(block: nn.Module) -> nn.Module:
    """The last part of a sequence of parts: the sequence itself would run whatever is added to it."""
    while isinstance(block, nn.Sequential) and len(block):
        block = block[-1]
    return block


def _adapted(block: nn.Module, given: Any, made: Any) -> Any:
    """A hook that keeps no state, so that copies of a network have copies of its adapters."""
    adapter = cast("Bottleneck", getattr(block, _CHILD))
    if isinstance(made, Tensor):
        return adapter(made)
    if isinstance(made, tuple) and made and isinstance(made[0], Tensor):
        return (adapter(made[0]), *made[1:])
    raise RequestError(
        f"the block {type(block).__name__} gives {type(made).__name__}, and an adapter takes a tensor, or a tuple that "
        "begins with one; use lora or bitfit for this source."
    )

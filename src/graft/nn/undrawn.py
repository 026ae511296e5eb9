"""Networks built for weights that are about to be loaded: their random start would be drawn for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from graft.errors import WeightsError
from graft.wording import listed

__all__ = ["Undrawn", "check_finite"]

# Function → the name and the default of the argument that is put in the place of the draws: a value
# from the middle or the edge of the distribution, so that rejection sampling accepts it at once.
_DRAWS: Mapping[Any, tuple[str, float]] = {
    Tensor.normal_: ("mean", 0.0),
    Tensor.uniform_: ("from", 0.0),
    nn.init.normal_: ("mean", 0.0),
    nn.init.uniform_: ("a", 0.0),
    nn.init.kaiming_uniform_: ("", 0.0),
}


class Undrawn(TorchFunctionMode):
    """Inside the block, this thread draws no random start, and what is copied into is noted.

    Everything else of a constructor runs as written: buffers that are computed once (the positions
    of a window, a schedule) are what they are.  This is most of the time that building a large
    network takes.

    Examples
    --------
    >>> with Undrawn() as block:
    ...     layer = nn.Linear(2, 3)
    ...     _ = layer.load_state_dict({"weight": torch.ones(3, 2), "bias": torch.ones(3)})
    >>> block.left(layer)
    ()
    """

    def __init__(self) -> None:
        super().__init__()
        self.filled: set[int] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS:
            tensor = args[0] if args else kwargs["tensor"]
            name, value = _DRAWS[func]
            value = kwargs.get(name, args[1] if name and len(args) > 1 else value)
            with torch.no_grad():
                return tensor.fill_(value)
        if func is Tensor.erfinv_:  # of a constant, where timm cuts a normal distribution
            return args[0]
        if func is Tensor.copy_:
            self.filled.add(args[0].data_ptr())
        return func(*args, **kwargs)

    def left(self, module: nn.Module) -> tuple[str, ...]:
        """Names of the parameters of ``module`` that nothing was copied into."""
        return tuple(name for name, value in module.named_parameters() if value.data_ptr() not in self.filled)


def check_finite(module: nn.Module, origin: str) -> None:
    """Refuse weights that are not numbers.

    Raises
    ------
    WeightsError
        Names the parameters.
    """
    # A sum of finite numbers may overflow, but one that is finite has no other among its terms, and
    # it takes one pass without memory of its own.
    suspects = [(name, value) for name, value in module.named_parameters() if not value.detach().sum().isfinite()]
    bad = [name for name, value in suspects if not value.isfinite().all()]
    if bad:
        raise WeightsError(
            f"weights of {origin} are not finite numbers: {listed(bad)}; the file is damaged, fetch it again."
        )

"""Weights as they were at the start: how far a network has gone from them, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["average", "blend", "distance_from", "put_back", "snapshot"]

State = Mapping[str, Tensor]


def snapshot(module: nn.Module, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """A copy of all weights and buffers, on the CPU or where it is wanted."""
    return {name: tensor.detach().to(device, copy=True) for name, tensor in module.state_dict().items()}


def put_back(module: nn.Module, state: State) -> None:
    """Give ``module`` the weights and buffers of ``state``, where it stands; every name has to be there."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            tensor.copy_(state[name])


def distance_from(module: nn.Module, start: State) -> Tensor:
    """``|w - w₀|²`` over what trains in ``module``, biases and norms too.

    Parameters
    ----------
    start
        ``w₀`` by name, on the module's device.

    References
    ----------
    Li, Grandvalet and Davoine, Explicit inductive bias for transfer learning with convolutional
    networks, ICML 2018 (L²-SP has ``alpha / 2`` before it).

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> start = snapshot(layer)
    >>> with torch.no_grad():
    ...     _ = layer.bias.add_(3.0)
    >>> distance_from(layer, start).item()
    9.0
    """
    apart = [(value - start[name]).square().sum() for name, value in module.named_parameters() if value.requires_grad]
    return torch.stack(apart).sum() if apart else torch.zeros(())


def blend(first: State, second: State, share: float) -> dict[str, Tensor]:
    """``(1 - share) first + share second``, exact at both ends; what only counts is taken from the nearer one.

    References
    ----------
    Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022, equation 1.

    Examples
    --------
    >>> blend({"w": torch.zeros(1)}, {"w": torch.ones(1)}, 0.25)
    {'w': tensor([0.2500])}
    """
    nearer = second if share >= 0.5 else first
    return {
        name: torch.lerp(tensor, second[name], share) if tensor.is_floating_point() else nearer[name]
        for name, tensor in first.items()
    }


def average(states: Sequence[State]) -> dict[str, Tensor]:
    """The mean of each tensor, summed in float64; what only counts is taken from the first.

    Examples
    --------
    >>> average([{"w": torch.zeros(1)}, {"w": torch.ones(1)}])
    {'w': tensor([0.5000])}
    """
    first = states[0]
    if len(states) == 1:
        return dict(first)
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.items()
    }

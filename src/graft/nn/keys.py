"""Keys to contrast a row with: what a slowly moving copy of the network made of earlier rows, class by class."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

__all__ = ["KeyQueue", "MovingCopy", "contrast", "with_one"]


def with_one(features: Tensor) -> Tensor:
    """Features ``(b, d)`` → ``(b, d + 1)`` of length 1, with a 1 at the end that meets the bias."""
    ones = features.new_ones(len(features), 1)
    return functional.normalize(torch.cat([features, ones], 1), dim=1)


def contrast(own: Tensor, kept: Tensor, filled: Tensor, targets: Tensor, temperature: float = 0.07) -> Tensor:
    """``-1/|P| Σ_{k ∈ P} log softmax(similarities / temperature)_k`` of each row, ``(b,)``.

    ``P`` are the keys of the row's own class, and the row's own key.

    Parameters
    ----------
    own
        ``(b,)`` similarity to the row's own key.
    kept
        ``(b, c, k)`` similarities to the keys that are kept of each class.
    filled
        ``(c, k)`` which of them there are.
    targets
        ``(b,)`` int64 classes.

    References
    ----------
    Zhong, Ma, Wang, Long and Wang, Bi-tuning of pre-trained representations, 2020, equations 2 and 4.
    """
    here = filled.reshape(1, -1)
    places = torch.arange(len(filled), device=targets.device).repeat_interleave(filled.shape[1])
    similar = torch.cat([own[:, None], kept.flatten(1).masked_fill(~here, -torch.inf)], 1) / temperature
    positive = torch.cat([torch.ones_like(own[:, None], dtype=torch.bool), (places == targets[:, None]) & here], 1)
    logs = functional.log_softmax(similar, 1).masked_fill(~positive, 0.0)
    return -logs.sum(1) / positive.sum(1)


class KeyQueue(nn.Module):
    """The last ``size`` keys of every class, of two kinds; empty at first.

    Parameters
    ----------
    classes, size
        ``c`` and ``k``.
    widths
        Of the two kinds of keys.
    """

    first: Tensor
    second: Tensor
    count: Tensor

    def __init__(self, classes: int, size: int, widths: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("first", torch.zeros(classes, size, widths[0]))
        self.register_buffer("second", torch.zeros(classes, size, widths[1]))
        self.register_buffer("count", torch.zeros(classes, dtype=torch.int64))

    @property
    def filled(self) -> Tensor:
        """``(c, k)`` which places hold a key."""
        return torch.arange(self.size, device=self.count.device) < self.count[:, None]

    @torch.no_grad()
    def add(self, first: Tensor, second: Tensor, targets: Tensor) -> None:
        """Keys ``(b, w)`` of a batch take the places of the oldest of their classes."""
        same = functional.one_hot(targets, len(self.count))
        order = (same.cumsum(0) - 1).gather(1, targets[:, None])[:, 0]  # the how-manieth of its class
        every = same.sum(0)
        last = order >= every[targets] - self.size  # more than there is room for push each other out
        places = (self.count[targets] + order) % self.size
        self.first[targets[last], places[last]] = first[last].to(self.first.dtype)
        self.second[targets[last], places[last]] = second[last].to(self.second.dtype)
        self.count += every


class MovingCopy(nn.Module):
    """A copy that follows its original slowly, and that no gradient reaches.

    All it holds are buffers: that is what a training loop keeps of what changes without a gradient.

    Parameters
    ----------
    original
        batch → a tensor; left as it is.

    References
    ----------
    He, Fan, Wu, Xie and Girshick, Momentum contrast for unsupervised visual representation learning,
    CVPR 2020, equation 2.
    """

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        # Not a part of this module: its weights are those below, which are put in whenever it runs.
        self._shape = (copy.deepcopy(original).eval().requires_grad_(False),)
        self.names = tuple(name for name, _ in _held(original))
        self.moving = frozenset(name for name, _ in original.named_parameters())
        for place, (_, tensor) in enumerate(_held(original)):
            self.register_buffer(f"held_{place}", tensor.detach().clone())

    def state(self) -> dict[str, Tensor]:
        """Its weights and buffers, by the original's names."""
        return {name: self.get_buffer(f"held_{place}") for place, name in enumerate(self.names)}

    @torch.no_grad()
    def forward(self, batch: Any) -> Any:
        return functional_call(self._shape[0], self.state(), (batch,))

    @torch.no_grad()
    def follow(self, original: nn.Module, momentum: float = 0.999) -> None:
        """``θ_k ← m θ_k + (1 - m) θ_q``; what was a buffer before is taken over as it is."""
        own = self.state()
        for name, tensor in _held(original):
            if name in self.moving:
                own[name].lerp_(tensor, 1 - momentum)
            else:
                own[name].copy_(tensor)


def _held(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]

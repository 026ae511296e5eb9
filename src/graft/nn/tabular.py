"""Networks for the rows of a table: numbers of one scale and codes of words → features.

A batch holds ``numbers`` ``(n, m)`` float, ``codes`` ``(n, k)`` int64 and ``known`` ``(n, m + k)`` bool.
Code 0 stands for a word that is missing or unknown; the words of all columns are counted on from
one column to the next, so that one table of vectors serves them all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["FeatureTokenizer", "TabularMLP"]


class TabularMLP(nn.Module):
    """Dense layers with ReLU and dropout; the first one has a vector for every word.

    Parameters
    ----------
    numbers
        Columns of numbers, ``m``.
    words
        How many words each column of words has.
    hidden
        Widths of the layers; the last one is that of the features.
    dropout
        Share of each layer's outputs that training leaves out.

    Examples
    --------
    >>> net = TabularMLP(2, (3,), hidden=(8, 4))
    >>> net({"numbers": torch.zeros(5, 2), "codes": torch.zeros(5, 1, dtype=torch.int64)}).shape
    torch.Size([5, 4])
    """

    def __init__(
        self, numbers: int, words: Sequence[int], hidden: Sequence[int] = (128, 64), dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.numbers, self.words = numbers, tuple(words)
        self.first = _Numbers(numbers, hidden[0])
        self.spoken = _Words(self.words, hidden[0])
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(hidden))
        self.dropout = nn.Dropout(dropout)

    @property
    def stages(self) -> tuple[str, ...]:
        """Parameter-name prefixes from input to output; every parameter has one."""
        return ("first", "spoken", *(f"layers.{place}" for place in range(len(self.layers))))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        rows = self.first(batch["numbers"]) + self.spoken(batch["codes"]).sum(1)
        rows = self.dropout(torch.relu(rows))
        for layer in self.layers:
            rows = self.dropout(torch.relu(layer(rows)))
        return cast("Tensor", rows)


class FeatureTokenizer(nn.Module):
    """A transformer over the columns: a token for every cell, and one that gathers them.

    A number's token is its value times the column's vector, plus another vector of the column; a
    word's token is the word's vector plus the column's.  Layers normalise before they compute; the
    features are what the gathering token has become.

    Parameters
    ----------
    numbers, words
        As for :class:`TabularMLP`.
    dim
        Width of the tokens, and of the features.
    depth, heads
        Layers, and heads of attention in each.
    dropout
        Share of the attention and of the layers' inner values that training leaves out.

    References
    ----------
    Gorishniy, Rubachev, Khrulkov and Babenko, Revisiting deep learning models for tabular data, NeurIPS 2021.
    """

    def __init__(
        self, numbers: int, words: Sequence[int], dim: int = 64, depth: int = 3, heads: int = 8, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.numbers, self.words = numbers, tuple(words)
        self.first = _Scales(numbers, dim)
        self.spoken = _Words(self.words, dim)
        self.places = _Vectors(len(self.words), dim)
        self.gather = _Vectors(1, dim)
        self.blocks = nn.ModuleList(_Block(dim, heads, dropout) for _ in range(depth))
        self.last = nn.LayerNorm(dim)

    @property
    def stages(self) -> tuple[str, ...]:
        """Parameter-name prefixes from input to output; every parameter has one."""
        blocks = tuple(f"blocks.{place}" for place in range(len(self.blocks)))
        return ("first", "spoken", "places", "gather", *blocks, "last")

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        numbers, words = self.first(batch["numbers"]), self.spoken(batch["codes"])
        first = self.gather.vectors.expand(len(numbers), 1, -1)
        tokens = torch.cat([first, numbers, words + self.places.vectors], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return torch.relu(cast("Tensor", self.last(tokens[:, 0])))


class _Block(nn.Module):
    """Attention and a gated layer, each on normalised tokens and added to them."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        inner = dim * 4 // 3
        self.heads, self.rate = heads, dropout
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mix, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.widen, self.narrow = nn.Linear(dim, 2 * inner), nn.Linear(inner, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        n, t, d = tokens.shape
        parts = self.mix(self.before(tokens)).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(
            parts[0], parts[1], parts[2], dropout_p=self.rate if self.training else 0.0
        )
        tokens = tokens + self.out(seen.transpose(1, 2).reshape(n, t, d))
        value, gate = self.widen(self.between(tokens)).chunk(2, dim=-1)
        return cast("Tensor", tokens + self.narrow(self.dropout(value * torch.relu(gate))))


class _Numbers(nn.Module):
    """A linear layer that may have no inputs: ``(n, m)`` → ``(n, width)``."""

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, numbers))
        self.bias = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(max(1, self.weight.shape[1]))
        with torch.no_grad():
            self.weight.uniform_(-bound, bound)
            self.bias.uniform_(-bound, bound)

    def forward(self, numbers: Tensor) -> Tensor:
        return nn.functional.linear(numbers.to(self.weight.dtype), self.weight, self.bias)


class _Scales(nn.Module):
    """A token for each number: ``(n, m)`` → ``(n, m, dim)``."""

    def __init__(self, numbers: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(numbers, dim))
        self.bias = nn.Parameter(torch.empty(numbers, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.weight.shape[1])
        with torch.no_grad():
            self.weight.uniform_(-bound, bound)
            self.bias.uniform_(-bound, bound)

    def forward(self, numbers: Tensor) -> Tensor:
        return numbers[:, :, None].to(self.weight.dtype) * self.weight + self.bias


class _Words(nn.Module):
    """A vector for each word: codes ``(n, k)`` → ``(n, k, dim)``; code 0 is a vector of zeros."""

    def __init__(self, words: Sequence[int], dim: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(sum(words), dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.vectors.shape[1])
        with torch.no_grad():
            self.vectors.uniform_(-bound, bound)

    def forward(self, codes: Tensor) -> Tensor:
        if not len(self.vectors):
            return self.vectors.new_zeros(*codes.shape, self.vectors.shape[1])
        found = nn.functional.embedding((codes - 1).clamp(min=0), self.vectors)
        return found * (codes > 0)[:, :, None].to(found.dtype)


class _Vectors(nn.Module):
    """Vectors that belong to places, whatever stands there."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(count, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.vectors.shape[1])
        with torch.no_grad():
            self.vectors.uniform_(-bound, bound)

"""A text network: a transformer, a pooling of its token vectors, and what a checkpoint puts after it."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from graft.errors import RequestError
from graft.nn.packed import PackedEncoder, layers_of
from graft.nn.unpadded import last_hidden_state, trains_unpadded

__all__ = ["Finish", "OwnOutputs", "Pooling", "TextEncoder", "pool"]

Pooling = Literal["mean", "cls", "max", "lasttoken"]


def pool(tokens: Tensor, mask: Tensor | None, how: Pooling) -> Tensor:
    """Token vectors ``(n, t, d)`` → one vector a row ``(n, d)``; ``mask`` ``(n, t)`` is 0 at padding.

    Means are taken in float32, whatever the tokens come in.
    """
    if how == "cls":
        return tokens[:, 0]
    if how == "lasttoken":
        if mask is None:
            return tokens[:, -1]
        last = tokens.shape[1] - 1 - mask.flip(1).argmax(1)
        return tokens[torch.arange(len(tokens), device=tokens.device), last]
    if how == "max":
        return (tokens if mask is None else tokens.masked_fill(mask[:, :, None] == 0, float("-inf"))).amax(1)
    if mask is None:
        return tokens.float().mean(1)
    weights = mask[:, :, None].float()
    return (tokens.float() * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


class Finish(nn.Module):
    """What a checkpoint puts after the pooling: pooled ``(n, d)`` → features ``(n, d)``.

    Parameters
    ----------
    after
        Layers on the pooled vector; ``None`` for none.
    normalise
        Whether features are scaled to length 1.
    """

    def __init__(self, after: nn.Module | None = None, normalise: bool = False) -> None:
        super().__init__()
        self.after = nn.Identity() if after is None else after
        self.normalise = normalise

    def forward(self, pooled: Tensor) -> Tensor:
        first = next(self.after.parameters(), None)
        features: Tensor = self.after(pooled if first is None else pooled.to(first.dtype))
        return nn.functional.normalize(features.float(), dim=-1) if self.normalise else features


class TextEncoder(nn.Module):
    """Batch of token ids → features ``(n, d)``.

    While it trains on a CPU, BERT's family computes without padding (:mod:`graft.nn.unpadded`).

    Parameters
    ----------
    transformer
        A transformers encoder or decoder; it is called with ``input_ids`` and, where there is padding (on the
        right), ``attention_mask``.
    pooling
        ``mean``, ``cls``, ``max`` or ``lasttoken``.
    finish
        What follows the pooling; ``None`` for nothing.

    Raises
    ------
    RequestError
        For an unknown pooling.
    """

    def __init__(self, transformer: nn.Module, pooling: str = "mean", finish: Finish | None = None) -> None:
        super().__init__()
        if pooling not in get_args(Pooling):
            raise RequestError(f"pooling is {pooling!r}; expected one of {', '.join(get_args(Pooling))}.")
        self.transformer = transformer
        self.pooling = cast("Pooling", pooling)
        self.finish = finish or Finish()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        ids, mask = batch["input_ids"], batch.get("attention_mask")
        if self.training and torch.is_grad_enabled() and trains_unpadded(self.transformer):
            tokens: Any = last_hidden_state(self.transformer, ids, mask)
        else:
            tokens = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        return cast("Tensor", self.finish(pool(tokens, mask, self.pooling)))

    def compact(self, device: torch.device) -> nn.Module | None:
        """The same encoder for inference on a CPU, without padding."""
        layers = layers_of(self.transformer) if device.type == "cpu" else None
        return None if layers is None else PackedEncoder(layers, self.pooling, self.finish)


class OwnOutputs(nn.Module):
    """Batch of token ids → a checkpoint's own outputs ``(n, c)``.

    Parameters
    ----------
    whole
        A transformers network with its classifier.
    pooling
        ``None`` leaves it to the network which tokens it classifies by.  ``lasttoken`` is for
        decoders, which would look for padding by its id, and may not know it.
    """

    def __init__(self, whole: nn.Module, pooling: Pooling | None = None) -> None:
        super().__init__()
        self.whole = whole
        self.pooling = pooling

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        mask = batch.get("attention_mask")
        whole: Any = self.whole
        if self.pooling is None:
            return cast("Tensor", whole(input_ids=batch["input_ids"], attention_mask=mask).logits)
        tokens = whole.base_model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        return cast("Tensor", whole.score(pool(tokens, mask, self.pooling)))

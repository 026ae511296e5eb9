"""BERT and its relatives for inference on a CPU: many short texts in few long rows, no padding.

Texts of all lengths are laid end to end into blocks of 64 tokens (longer texts: multiples of it),
and attention is masked to stay inside each text.  Three things make that fast: nothing is
computed for padding; matrix sizes repeat, so that oneDNN compiles its kernels once and not once
for every length; and attention works on blocks that fill the processor's tiles, which texts of 9
or 13 tokens do not.  (Sequence packing: Krell et al. 2021, arXiv 2107.02027.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Layers", "Layout", "PackedEncoder", "lay_out", "layers_of"]

_BLOCK = 64
_ROUND = 2 * _BLOCK
"""Streams are filled up to multiples of this, so that few different sizes occur."""
_FEW, _TILE = 256, 16
"""Up to so many tokens, every text gets a block of its own, as long as it must be, in multiples of a tile."""

_FAMILY = {"BertModel", "RobertaModel", "XLMRobertaModel", "CamembertModel"}
"""Transformers' classes that differ in nothing but where their positions start."""


class _Affine:
    """``x Wᵀ + b``, in oneDNN's own order of weights where that pays: in bfloat16.

    Ordered once instead of at every call, and with GELU done while the result is still in the
    registers, a layer takes a quarter less time than ``functional.linear``.

    Parameters
    ----------
    weight, bias
        ``(k, d)`` and ``(k,)``.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight.detach(), bias.detach()
        self.ordered = _orders(weight.dtype)
        if self.ordered:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous())

    def __call__(self, x: Tensor) -> Tensor:
        if not self.ordered:
            return functional.linear(x, self.weight, self.bias)
        return cast("Tensor", torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], ""))

    def then(self, act: Callable[[Tensor], Tensor], is_gelu: bool, x: Tensor) -> Tensor:
        """The activation of it; ``is_gelu`` says that ``act`` is the exact GELU."""
        if not (self.ordered and is_gelu):
            return act(self(x))
        return cast("Tensor", torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none"))


def _orders(dtype: torch.dtype) -> bool:
    """Whether torch was built with the operators that its own compiler uses for this."""
    ops = torch.ops.mkldnn
    there = hasattr(ops, "_linear_pointwise") and hasattr(ops, "_reorder_linear_weight")
    return dtype is torch.bfloat16 and there and bool(ops._is_mkldnn_bf16_supported())


@dataclass(frozen=True)
class _Block:
    """One layer; query, key and value are one matrix ``(3d, d)``."""

    qkv: _Affine
    out: _Affine
    norm: nn.Module
    wide: _Affine
    act: Callable[[Tensor], Tensor]
    is_gelu: bool
    narrow: _Affine
    last: nn.Module


@dataclass(frozen=True)
class Layers:
    """The parts of a BERT-like encoder: ``words`` ``(v, d)``, ``positions`` ``(t, d)``, norm, blocks, heads."""

    words: Tensor
    positions: Tensor
    norm: nn.Module
    blocks: tuple[_Block, ...]
    heads: int


def layers_of(transformer: Any) -> Layers | None:
    """The parts of a transformers encoder of BERT's family; ``None`` for any other network.

    One that was changed is another: packing reads the weights and calls no layer, so that what was put
    around a layer, or behind it, would be lost.
    """
    kind = type(transformer).__name__
    if kind not in _FAMILY or transformer.config.is_decoder or any(map(_changed, transformer.modules())):
        return None
    held = transformer.embeddings
    # RoBERTa counts positions from the one after its padding's.
    first = 0 if kind == "BertModel" else held.padding_idx + 1
    with torch.no_grad():
        # Every token is of type 0, so that its vector can be added to the positions once and for all.
        positions = held.position_embeddings.weight[first:] + held.token_type_embeddings.weight[0]
        is_gelu = transformer.config.hidden_act == "gelu"
        blocks = tuple(_block(layer, is_gelu) for layer in transformer.encoder.layer)
    return Layers(
        held.word_embeddings.weight, positions, held.LayerNorm, blocks, transformer.config.num_attention_heads
    )


def _changed(part: nn.Module) -> bool:
    """Whether it is none of the parts that transformers and torch make a BERT of, or more is called with it."""
    own = type(part).__module__.startswith(("torch.nn.modules.", "transformers."))
    return not own or bool(part._forward_hooks) or bool(part._forward_pre_hooks)


def _block(layer: Any, is_gelu: bool) -> _Block:
    parts = [getattr(layer.attention.self, name) for name in ("query", "key", "value")]
    out, wide, narrow = layer.attention.output, layer.intermediate, layer.output
    return _Block(
        qkv=_Affine(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])),
        out=_Affine(out.dense.weight, out.dense.bias),
        norm=out.LayerNorm,
        wide=_Affine(wide.dense.weight, wide.dense.bias),
        act=wide.intermediate_act_fn,
        is_gelu=is_gelu,
        narrow=_Affine(narrow.dense.weight, narrow.dense.bias),
        last=narrow.LayerNorm,
    )


@dataclass(frozen=True)
class Layout:
    """Where the tokens of ``n`` texts are in the stream.

    Parameters
    ----------
    starts
        ``(n,)``: the place of each text's first token.
    groups
        ``(first token, blocks, tokens a block)``; together they are the stream.
    total
        Tokens of the stream, the filling included.
    """

    starts: npt.NDArray[np.int64]
    groups: tuple[tuple[int, int, int], ...]
    total: int


def lay_out(lengths: npt.NDArray[np.int64]) -> Layout:
    """Put texts of ``lengths`` ``(n,)`` into blocks: longest first, each where it fits best."""
    room: dict[int, list[int]] = {}  # free tokens → the blocks that have as many
    sizes: list[int] = []
    block_of = np.empty(len(lengths), np.int64)
    offset = np.empty(len(lengths), np.int64)
    for text in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[text])
        left = min((space for space in room if space >= length), default=0)
        if left:
            block = room[left].pop()
            if not room[left]:
                del room[left]
        else:
            block, left = len(sizes), -(-length // _BLOCK) * _BLOCK
            sizes.append(left)
        block_of[text], offset[text] = block, sizes[block] - left
        if left > length:
            room.setdefault(left - length, []).append(block)
    sizes += [_BLOCK] * (-sum(sizes) % _ROUND // _BLOCK)
    size = np.array(sizes, np.int64)
    order = np.argsort(size, kind="stable")
    first = np.empty_like(size)
    first[order] = np.cumsum(size[order]) - size[order]
    kinds, counts = np.unique(size, return_counts=True)
    ends = np.cumsum(kinds * counts)
    groups = zip((ends - kinds * counts).tolist(), counts.tolist(), kinds.tolist(), strict=True)
    return Layout(first[block_of] + offset, tuple(groups), int(ends[-1]))


class PackedEncoder(nn.Module):
    """The encoder without padding; equal to the network it was made of, up to rounding.

    It takes ``{"input_ids", "attention_mask"}`` ``(n, t)``, padded on the right, in any mixture of
    lengths: mixtures fill blocks best.

    Parameters
    ----------
    layers
        The weights, shared with the network that they came from.
    pooling
        ``mean``, ``cls``, ``max`` or ``lasttoken``.
    finish
        Pooled vectors → features.
    """

    mixes_lengths = True
    """Tells the feature engine that a batch of many lengths costs no more than one of equal lengths."""

    def __init__(self, layers: Layers, pooling: str, finish: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.pooling = pooling
        self.finish = finish

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        stream = _laid_out(batch["input_ids"], batch.get("attention_mask"), self.layers.words.dtype)
        tokens = self._encode(stream)
        return cast("Tensor", self.finish(self._pool(tokens, stream)))

    def _encode(self, stream: _Stream) -> Tensor:
        layers = self.layers
        x: Tensor = functional.embedding(stream.words, layers.words) + functional.embedding(
            stream.columns, layers.positions
        )
        x = layers.norm(x)
        for block in layers.blocks:
            mixed = self._attend(block.qkv(x), stream)
            x = block.norm(block.out(mixed).add_(x))
            wide = block.wide.then(block.act, block.is_gelu, x)
            x = block.last(block.narrow(wide).add_(x))
        return x

    def _attend(self, qkv: Tensor, stream: _Stream) -> Tensor:
        heads, width = self.layers.heads, qkv.shape[1] // 3
        parts = []
        for (start, count, size), mask in zip(stream.groups, stream.masks, strict=True):
            split = qkv[start : start + count * size].view(count, size, 3, heads, width // heads)
            query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            parts.append(mixed.transpose(1, 2).reshape(count * size, width))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _pool(self, tokens: Tensor, stream: _Stream) -> Tensor:
        if self.pooling == "cls":
            return tokens[stream.places[stream.firsts]]
        if self.pooling == "lasttoken":
            ends = torch.cat([stream.firsts[1:], torch.tensor([len(stream.places)])])
            return tokens[stream.places[ends - 1]]
        pooled: Tensor = functional.embedding_bag(stream.places, tokens.float(), stream.firsts, mode=self.pooling)
        return pooled


@dataclass(frozen=True)
class _Stream:
    """A batch as one row of tokens.

    ``words`` and ``columns`` ``(total,)`` are each token's id and its place in its text; ``places``
    are the stream's tokens that belong to texts, text after text, each text's from ``firsts`` ``(n,)`` on.
    ``masks`` has ``(blocks, 1, size, size)`` a group: 0 inside a text, else −∞.
    """

    words: Tensor
    columns: Tensor
    places: Tensor
    firsts: Tensor
    groups: tuple[tuple[int, int, int], ...]
    masks: tuple[Tensor | None, ...]


def _laid_out(ids: Tensor, mask: Tensor | None, dtype: torch.dtype) -> _Stream:
    n, t = ids.shape
    lengths = np.full(n, t) if mask is None else mask.sum(1).numpy()
    layout = _in_rows(n, t) if n * t <= _FEW else lay_out(lengths)
    inside = np.arange(t) < lengths[:, None]
    texts, columns = np.nonzero(inside)
    places = torch.from_numpy(layout.starts[texts] + columns)
    words, at, owner = torch.zeros(3, layout.total, dtype=torch.int64).unbind(0)
    words[places] = ids[torch.from_numpy(inside)]
    at[places] = torch.from_numpy(columns)
    owner[places] = torch.from_numpy(texts) + 1  # 0 stays with the filling
    apart = n * t > _FEW or len(places) < layout.total
    masks = tuple(_mask(owner, group, dtype) if apart else None for group in layout.groups)
    return _Stream(words, at, places, torch.from_numpy(np.cumsum(lengths) - lengths), layout.groups, masks)


def _in_rows(n: int, t: int) -> Layout:
    size = -(-t // _TILE) * _TILE
    return Layout(np.arange(n) * size, ((0, n, size),), n * size)


def _mask(owner: Tensor, group: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    start, count, size = group
    owners = owner[start : start + count * size].view(count, size)
    apart = owners[:, :, None] != owners[:, None, :]
    return torch.zeros(count, 1, size, size, dtype=dtype).masked_fill_(apart[:, None], float("-inf"))

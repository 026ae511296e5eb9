"""BERT and its relatives for training on a CPU: the same weights and gradients, without padding and detours.

Transformers' own network spends most of a small training step beside its matrix products: on
padding, on dropout (drawn number by number), on attention kernels whose backward pass is made for
long texts, and in bfloat16 on casts.  Here the tokens of a batch are one stream ``(s, d)``; query,
key and value are one product; attention alone lays texts out in rows ``(n, t)``; and dropout masks
whole words of random bits.  In bfloat16 that is the precision of the products and of what lies between
them; what layers add to, norms, and the gradients of weights stay in float32.

The weights stay where they are: they are read from the network's own modules at every step, so that
freezing, rates by layer, and what is saved know nothing of this.  Both of BERT's dropouts, on
hidden values and on attention, are kept; a share is rounded to 1/32768.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

__all__ = ["last_hidden_state", "trains_unpadded"]

_FAMILY = {"BertModel", "RobertaModel", "XLMRobertaModel", "CamembertModel"}
"""Transformers' classes that differ in nothing but where their positions start."""

_KNOWN = ("torch.nn.modules.", "transformers.models.", "transformers.activations")
_FILL, _TILE = 32, 8
"""Streams are filled up to multiples of the one, rows of the other: few sizes occur, and oneDNN keeps its kernels."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_DRAWS = 1 << 15


def trains_unpadded(transformer: nn.Module) -> bool:
    """Whether :func:`last_hidden_state` computes what ``transformer`` would.

    That is so for BERT's family as transformers built it, on a CPU.  Where a part was replaced (an
    adapter), changed (a parametrised weight) or is watched (a hook), the network itself has to run.
    """
    network: Any = transformer
    if type(network).__name__ not in _FAMILY or network.config.is_decoder or network.config.chunk_size_feed_forward:
        return False
    if any(value.device.type != "cpu" for value in network.parameters()):
        return False
    return all(_is_plain(part) for part in network.modules()) and all(map(_is_whole, network.encoder.layer))


def _is_plain(part: nn.Module) -> bool:
    known = type(part).__module__.startswith(_KNOWN) and "forward" not in vars(part)
    watched = any(getattr(part, name) for name in _HOOKS)
    return known and not watched and not getattr(part, "gradient_checkpointing", False)


def _is_whole(layer: Any) -> bool:
    attention = layer.attention.self
    inner, outer = (attention.query, attention.key, attention.value), (layer.attention.output, layer.intermediate)
    linears = [*inner, *(part.dense for part in outer), layer.output.dense]
    return all(type(each) is nn.Linear and each.bias is not None for each in linears)


def last_hidden_state(transformer: nn.Module, ids: Tensor, mask: Tensor | None) -> Tensor:
    """``(n, t, d)``: what ``transformer`` makes of ``ids`` ``(n, t)``; meaningless at padding, which is on the right.

    Under ``torch.autocast`` it computes in autocast's precision, else in the weights' own.  Dropout
    is that of the network's modules, drawn from torch's global generator.

    Parameters
    ----------
    transformer
        A network that :func:`trains_unpadded`.
    mask
        ``(n, t)``, 0 at padding; ``None`` where there is none.
    """
    network: Any = transformer
    dtype = next(network.parameters()).dtype
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
    with torch.autocast("cpu", enabled=False):
        rows = _rows(ids, mask)
        x = _embedded(network, ids, rows)
        for layer in network.encoder.layer:
            x = _layer(layer, x, rows, network.config.num_attention_heads, dtype)
        return cast("Tensor", _Spread.apply(x, rows)).view(*ids.shape, -1)


@dataclass(frozen=True)
class _Rows:
    """Where the tokens of ``n`` texts are.

    Parameters
    ----------
    shape
        ``(n, t)`` of the batch.
    longest
        ``t`` rounded up: tokens of a row of attention.
    places, wide
        Of each real token, text after text: its place in ``(n, t)``, and in ``(n, longest)``.
    total
        Tokens of the stream; the last one at least is filling, and its gradient is 0.
    back, wide_back
        The other way round, ``(n · t,)`` and ``(n · longest,)``: the filling at padding.
    hidden
        ``(n, 1, 1, longest)``: true where attention must not look; ``None`` where it may look everywhere.
    """

    shape: tuple[int, int]
    longest: int
    places: Tensor
    wide: Tensor
    total: int
    back: Tensor
    wide_back: Tensor
    hidden: Tensor | None


def _rows(ids: Tensor, mask: Tensor | None) -> _Rows:
    n, t = ids.shape
    longest = -(-t // _TILE) * _TILE
    inside = torch.ones(n, t, dtype=torch.bool) if mask is None else mask.bool()
    padded = functional.pad(inside, (0, longest - t))
    places = inside.flatten().nonzero().squeeze(1)
    wide = padded.flatten().nonzero().squeeze(1)
    total = (len(places) // _FILL + 1) * _FILL
    back, wide_back = (torch.full((n * width,), total - 1) for width in (t, longest))
    back[places] = wide_back[wide] = torch.arange(len(places))
    hidden = None if len(places) == n * longest else ~padded[:, None, None, :]
    return _Rows((n, t), longest, places, wide, total, back, wide_back, hidden)


def _embedded(network: Any, ids: Tensor, rows: _Rows) -> Tensor:
    held = network.embeddings
    first = 0 if type(network).__name__ == "BertModel" else held.padding_idx + 1  # as RoBERTa counts positions
    words = functional.pad(ids.flatten()[rows.places], (0, rows.total - len(rows.places)))
    columns = functional.pad(rows.places % ids.shape[1], (0, rows.total - len(rows.places)))
    positions = held.position_embeddings.weight[first : first + ids.shape[1]]
    # every token is of type 0
    x = held.word_embeddings(words) + functional.embedding(columns, positions + held.token_type_embeddings.weight[0])
    return _dropped(held.LayerNorm(x), held.dropout)


def _dropped(x: Tensor, dropout: nn.Dropout) -> Tensor:
    keep, scale = _kept(x.shape, _share(dropout))
    return x if keep is None else cast("Tensor", _Dropped.apply(x, keep, scale))


def _layer(layer: Any, x: Tensor, rows: _Rows, heads: int, dtype: torch.dtype) -> Tensor:
    held, out = layer.attention.self, layer.attention.output
    parts = (held.query, held.key, held.value)
    qkv = _Affine.apply(x, dtype, *(part.weight for part in parts), *(part.bias for part in parts))
    share = held.dropout.p if held.training else 0.0
    mixed = _Attention.apply(qkv, rows, heads, share)
    x = _joined(_Affine.apply(mixed, dtype, out.dense.weight, out.dense.bias), x, out)
    wide = layer.intermediate
    inner = wide.intermediate_act_fn(_Affine.apply(x, dtype, wide.dense.weight, wide.dense.bias))
    return _joined(_Affine.apply(inner, dtype, layer.output.dense.weight, layer.output.dense.bias), x, layer.output)


def _joined(y: Tensor, x: Tensor, part: Any) -> Tensor:
    """The norm of ``x`` and what dropout leaves of ``y``."""
    norm = part.LayerNorm
    return cast("Tensor", _Joined.apply(y, x, norm.weight, norm.bias, norm.eps, _share(part.dropout)))


def _share(dropout: nn.Dropout) -> float:
    return dropout.p if dropout.training else 0.0


def _kept(shape: torch.Size | tuple[int, ...], share: float) -> tuple[Tensor | None, float]:
    """A mask of int16 that is −1 (all bits) where a value is kept and else 0, and what kept values are scaled by."""
    lost = round(share * _DRAWS)
    if not lost:
        return None, 1.0
    count = torch.Size(shape).numel()
    # four draws of 15 bits from each number
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_().view(torch.int16)[:count]
    keep = bits.bitwise_and_(_DRAWS - 1).neg_().add_(lost - 1).bitwise_right_shift_(15)
    return keep.view(shape), _DRAWS / (_DRAWS - lost) if lost < _DRAWS else 0.0


def _masked(x: Tensor, keep: Tensor | None) -> Tensor:
    if keep is None:
        return x
    if x.dtype is torch.bfloat16:
        return (x.view(torch.int16) & keep).view(torch.bfloat16)
    return x.masked_fill(keep == 0, 0)


class _Dropped(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return _masked(x, keep) * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (keep,) = ctx.saved_tensors
        return _masked(grad, keep) * ctx.scale, None, None


class _Affine(Function):
    """``x Wᵀ + b`` of one or several layers side by side, in ``dtype``: ``apply(x, dtype, *weights, *biases)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *held: Tensor) -> Tensor:
        half = len(held) // 2
        low, weight = x.to(dtype), _beside(held[:half], dtype)
        ctx.save_for_backward(low, weight)
        ctx.sizes = [len(each) for each in held[:half]]
        ctx.outer, ctx.dtype = x.dtype, held[0].dtype
        return functional.linear(low, weight, _beside(held[half:], dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        asked = ctx.needs_input_grad[2:]
        half = len(ctx.sizes)
        back = (grad @ weight).to(ctx.outer) if ctx.needs_input_grad[0] else None
        weights: tuple[Tensor | None, ...] = (None,) * half
        biases: tuple[Tensor | None, ...] = (None,) * half
        if any(asked[:half]):
            weights = torch.split((grad.t() @ x).to(ctx.dtype), ctx.sizes)
        if any(asked[half:]):
            biases = torch.split(grad.sum(0, dtype=ctx.dtype), ctx.sizes)
        wanted = (each if needed else None for each, needed in zip(weights + biases, asked, strict=True))
        return back, None, *wanted


def _beside(held: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
    return held[0].to(dtype) if len(held) == 1 else torch.cat([each.to(dtype) for each in held])


class _Joined(Function):
    """``norm(x + dropout(y))``."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float, share: float) -> Tensor:
        keep, ctx.scale = _kept(y.shape, share)
        added = torch.add(x, _masked(y, keep), alpha=ctx.scale)
        out, mean, spread = torch.native_layer_norm(added, weight.shape, weight, bias, eps)
        ctx.save_for_backward(added, mean, spread, weight, bias, keep)
        ctx.dtype = y.dtype
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        added, mean, spread, weight, bias, keep = ctx.saved_tensors
        asked = [ctx.needs_input_grad[0] or ctx.needs_input_grad[1], *ctx.needs_input_grad[2:4]]
        back, by_weight, by_bias = torch.ops.aten.native_layer_norm_backward(
            grad, added, weight.shape, mean, spread, weight, bias, asked
        )
        to_y = None
        if ctx.needs_input_grad[0]:
            to_y = _masked(back.to(ctx.dtype), keep)
            to_y = to_y if keep is None else to_y.mul_(ctx.scale)
        return to_y, back, by_weight, by_bias, None, None


class _Attention(Function):
    """Queries, keys and values of the stream ``(s, 3d)`` → what each token gathers ``(s, d)``."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, rows: _Rows, heads: int, share: float) -> Tensor:
        n, t, d = rows.shape[0], rows.longest, qkv.shape[1] // 3
        split = qkv.index_select(0, rows.wide_back).view(n, t, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
        query, key, value = split.reshape(3, n * heads, t, d // heads).unbind(0)
        scores = torch.bmm(query, key.mT).mul_((d // heads) ** -0.5).view(n, heads, t, t)
        if rows.hidden is not None:
            scores.masked_fill_(rows.hidden, float("-inf"))
        whole = scores.softmax(-1).view(n * heads, t, t)
        keep, ctx.scale = _kept(whole.shape, share)
        mixed = torch.bmm(_masked(whole, keep), value)
        ctx.save_for_backward(query, key, value, whole, keep)
        ctx.rows, ctx.heads = rows, heads
        laid = mixed.view(n, heads, t, d // heads).transpose(1, 2).reshape(n * t, d)
        return _filled(laid, rows.wide, rows.total).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, whole, keep = ctx.saved_tensors
        rows, heads = ctx.rows, ctx.heads
        n, t, width = rows.shape[0], rows.longest, query.shape[-1]
        laid = grad.index_select(0, rows.wide_back).mul_(ctx.scale)
        back = laid.view(n, t, heads, width).transpose(1, 2).reshape(n * heads, t, width)
        out = torch.empty(3, n * heads, t, width, dtype=grad.dtype)
        torch.bmm(_masked(whole, keep).mT, back, out=out[2])
        to_whole = _masked(torch.bmm(back, value.mT), keep)
        to_scores = torch.ops.aten._softmax_backward_data(to_whole, whole, -1, whole.dtype).mul_(width**-0.5)
        torch.bmm(to_scores, key, out=out[0])
        torch.bmm(to_scores.mT, query, out=out[1])
        parts = out.view(3, n, heads, t, width).permute(1, 3, 0, 2, 4).reshape(n * t, -1)
        return _filled(parts, rows.wide, rows.total), None, None, None


class _Spread(Function):
    """The stream ``(s, d)`` → ``(n · t, d)``."""

    @staticmethod
    def forward(ctx: Any, stream: Tensor, rows: _Rows) -> Tensor:
        ctx.rows = rows
        return stream.index_select(0, rows.back)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _filled(grad, ctx.rows.places, ctx.rows.total), None


def _filled(laid: Tensor, places: Tensor, total: int) -> Tensor:
    """A stream of ``total`` tokens: the given rows of ``laid``, then zeros."""
    stream = laid.new_empty(total, laid.shape[1])
    torch.index_select(laid, 0, places, out=stream[: len(places)])
    stream[len(places) :].zero_()
    return stream

"""What a network can learn from rows without labels: to give back what it was shown, whole or in part.

Each module here takes a batch and gives the loss of every row ``(n, 1)``: what is shown is
corrupted inside it, drawn from torch's generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from graft.contracts import Batch
from graft.errors import RequestError
from graft.limits import Limit, among, between, check

__all__ = ["LIMITS", "Objective", "restoring"]

Objective = Literal["autoencoder", "denoise", "masked"]

LIMITS: Mapping[str, Limit] = {
    "objective": among(get_args(Objective)).or_none(),
    "corrupt": between(0, 1, "a share between 0 and 1", ends=(False, False)),
}

_SIDE = 32
"""Pixels of the edge of an image as it is given back."""
_PATCHES = 8
"""Patches along an image's edge, each of which is hidden or shown."""


def restoring(trunk: nn.Module, dim: int, batch: Batch, objective: Objective | None, corrupt: float) -> nn.Module:
    """A module batch → the rows' losses ``(n, 1)``, whose ``trunk`` learns by giving its batches back.

    Parameters
    ----------
    trunk
        batch → features ``(n, dim)``.
    batch
        One of its batches: it tells whether rows are columns, images or tokens.
    objective
        ``autoencoder``: everything from everything; ``denoise``: everything from a corrupted row;
        ``masked``: what is hidden from what is not.  ``None``: ``masked`` for tokens, else ``denoise``.
    corrupt
        The share that is corrupted or hidden.

    Raises
    ------
    RequestError
        For an objective that is none, or that such batches do not serve.

    References
    ----------
    Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks, Science 2006.
    Vincent, Larochelle, Bengio and Manzagol, Extracting and composing robust features with denoising
    autoencoders, ICML 2008.
    Devlin, Chang, Lee and Toutanova, BERT, NAACL 2019.
    """
    check(SimpleNamespace(objective=objective, corrupt=corrupt), LIMITS)
    if isinstance(batch, dict) and "input_ids" in batch:
        return _Tokens(trunk, objective or "masked", corrupt)
    if isinstance(batch, dict) and {"numbers", "codes", "known"} <= batch.keys():
        return _Columns(trunk, dim, cast("tuple[int, ...]", trunk.words), batch, objective or "denoise", corrupt)
    if isinstance(batch, Tensor) and batch.ndim == 2 and batch.is_floating_point():
        return _Columns(trunk, dim, (), _as_cells(batch), objective or "denoise", corrupt)
    if isinstance(batch, Tensor) and batch.ndim == 4 and batch.shape[1] == 3:
        return _Pixels(trunk, dim, objective or "denoise", corrupt)
    raise RequestError(
        "pretrain needs a network that reads columns, images or tokens, and this one reads none of them; "
        "choose another strategy."
    )


class _Columns(nn.Module):
    """Cells of a table from its features: squared error for numbers, cross-entropy for words, summed over columns.

    Cells that are missing count for nothing.  To corrupt a cell is to show that of another row, so
    that it stays what its column may hold; to hide it, to show a missing one.
    """

    def __init__(
        self,
        trunk: nn.Module,
        dim: int,
        words: tuple[int, ...],
        batch: dict[str, Tensor],
        objective: Objective,
        corrupt: float,
    ) -> None:
        super().__init__()
        self.trunk, self.words, self.objective, self.corrupt = trunk, words, objective, corrupt
        self.numbers = batch["numbers"].shape[1]
        self.decoder = nn.Linear(dim, self.numbers + sum(words))

    def forward(self, batch: Batch) -> Tensor:
        cells = _as_cells(batch) if isinstance(batch, Tensor) else batch
        shown, counted = self._corrupted(cells)
        features = self.trunk(shown["numbers"] if isinstance(batch, Tensor) else shown)
        again = self.decoder(features.float()).float()
        known = (cells["known"] & counted).float()
        m = self.numbers
        total = ((again[:, :m] - cells["numbers"].float()) ** 2 * known[:, :m]).sum(1)
        start, first = m, 1
        for place, count in enumerate(self.words):
            if count:
                codes = (cells["codes"][:, place] - first).clamp(0, count - 1)
                lost = nn.functional.cross_entropy(again[:, start : start + count], codes, reduction="none")
                total = total + lost * known[:, m + place]
            start, first = start + count, first + count
        return cast("Tensor", total[:, None])

    def _corrupted(self, cells: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """What is shown, and ``(n, m + k)`` which cells are asked for."""
        numbers, codes, known = cells["numbers"], cells["codes"], cells["known"]
        if self.objective == "autoencoder":
            return cells, torch.ones_like(known)
        m = self.numbers
        hit = torch.rand(known.shape, device=known.device) < self.corrupt
        if self.objective == "masked":
            shown = (numbers.masked_fill(hit[:, :m], 0), codes.masked_fill(hit[:, m:], 0), known & ~hit)
            return dict(zip(("numbers", "codes", "known"), shown, strict=True)), hit
        other = torch.rand(known.shape, device=known.device).argsort(0)
        swapped = (
            torch.where(hit[:, :m], numbers.gather(0, other[:, :m]), numbers),
            torch.where(hit[:, m:], codes.gather(0, other[:, m:]), codes),
            torch.where(hit, known.gather(0, other), known),
        )
        return dict(zip(("numbers", "codes", "known"), swapped, strict=True)), torch.ones_like(known)


class _Pixels(nn.Module):
    """A small image from its features: the squared error, summed over pixels on the scale [0, 1].

    To corrupt a pixel is to show it black (Vincent's masking noise); to hide one, to show its whole
    patch grey, and to ask for hidden patches alone.
    """

    def __init__(self, trunk: nn.Module, dim: int, objective: Objective, corrupt: float) -> None:
        super().__init__()
        self.trunk, self.objective, self.corrupt = trunk, objective, corrupt
        self.decoder = nn.Sequential(
            nn.Linear(dim, 128 * 16),
            nn.Unflatten(1, (128, 4, 4)),
            nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 3, 4, 2, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        shown, counted = self._corrupted(images)
        again = self.decoder(self.trunk(shown).float()).float()
        wanted = nn.functional.adaptive_avg_pool2d(images.float() / 255, _SIDE)
        return cast("Tensor", ((again - wanted) ** 2 * counted).sum((1, 2, 3))[:, None])

    def _corrupted(self, images: Tensor) -> tuple[Tensor, Tensor]:
        n, _, h, w = images.shape
        everything = torch.ones(n, 1, 1, 1, device=images.device)
        if self.objective == "autoencoder":
            return images, everything
        if self.objective == "denoise":
            hit = torch.rand(n, 1, h, w, device=images.device) < self.corrupt
            return images.masked_fill(hit, 0), everything
        patches = (torch.rand(n, 1, _PATCHES, _PATCHES, device=images.device) < self.corrupt).float()
        hidden = nn.functional.interpolate(patches, (h, w)) > 0
        return images.masked_fill(hidden, 128), nn.functional.interpolate(patches, (_SIDE, _SIDE))


class _Tokens(nn.Module):
    """Hidden tokens of a text from those around them: cross-entropy, the mean over a row's hidden ones.

    A hidden token is shown as a vector of zeros at its place; the first token, which marks the
    start, is never hidden.  Words are told by the network's own word vectors.
    """

    def __init__(self, trunk: nn.Module, objective: Objective, corrupt: float) -> None:
        super().__init__()
        if objective != "masked":
            raise RequestError(f"pretrain needs objective=masked for texts; {objective} was given.")
        transformer: Any = getattr(trunk, "transformer", None)
        width = getattr(getattr(transformer, "config", None), "hidden_size", None)
        if width is None or not callable(getattr(transformer, "get_input_embeddings", None)):
            raise RequestError(
                "pretrain needs a transformer with word vectors that it can reach, and this network shows none; "
                "choose another source or strategy."
            )
        self.trunk, self.corrupt = trunk, corrupt
        vectors = transformer.get_input_embeddings().weight
        self.decoder = nn.Sequential(nn.Linear(width, vectors.shape[1]), nn.GELU(), nn.LayerNorm(vectors.shape[1]))
        self.bias = nn.Parameter(torch.zeros(len(vectors)))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        ids, mask = batch["input_ids"], batch.get("attention_mask")
        transformer: Any = self.trunk.transformer
        words: nn.Embedding = transformer.get_input_embeddings()
        hidden = torch.rand(ids.shape, device=ids.device) < self.corrupt
        hidden[:, 0] = False
        if mask is not None:
            hidden &= mask.bool()
        shown = words(ids).masked_fill(hidden[:, :, None], 0)
        states = transformer(inputs_embeds=shown, attention_mask=mask).last_hidden_state[hidden]
        told = nn.functional.linear(self.decoder(states.float()), words.weight.float(), self.bias)
        lost = nn.functional.cross_entropy(told.float(), ids[hidden].long(), reduction="none")
        row = hidden.nonzero()[:, 0]
        total = torch.zeros(len(ids), device=ids.device).index_add(0, row, lost)
        return (total / hidden.sum(1).clamp(min=1))[:, None]


def _as_cells(numbers: Tensor) -> dict[str, Tensor]:
    """Rows of numbers alone as a batch of cells, all of them known."""
    none = torch.zeros(len(numbers), 0, dtype=torch.int64, device=numbers.device)
    return {"numbers": numbers, "codes": none, "known": torch.ones_like(numbers, dtype=torch.bool)}

"""Words left out at random while a text network trains."""

from __future__ import annotations

import torch
from torch import Tensor

from graft.contracts import Batch
from graft.errors import RequestError

__all__ = ["drop_tokens"]


def drop_tokens(batch: Batch, share: float, replace: int | None = None) -> dict[str, Tensor]:
    """Leave out about a ``share`` of each text's tokens, but never its first and its last.

    Those are what tokenizers put around a text.  What stays moves together, so that the batch is
    padded on the right as before, and no token's id has to be known; positions close up too.  Draws
    come from torch's global generator.

    Parameters
    ----------
    batch
        ``input_ids`` ``(n, t)`` and, where rows are padded (on the right), ``attention_mask``.
    share
        From 0 to below 1.
    replace
        The id that stands in the place of a token that is left out, such as that of ``[MASK]``;
        ``None`` closes the gap.

    Raises
    ------
    RequestError
        For a share that is none, or a batch that holds no tokens.

    Examples
    --------
    >>> drop_tokens({"input_ids": torch.tensor([[101, 7, 8, 102]])}, 0.0)["input_ids"].tolist()
    [[101, 7, 8, 102]]

    References
    ----------
    Iyyer, Manjunatha, Boyd-Graber and Daumé, Deep unordered composition rivals syntactic methods for
    text classification, ACL 2015.
    Wei and Zou, EDA: easy data augmentation techniques for boosting performance on text classification
    tasks, EMNLP 2019.
    """
    if not 0 <= share < 1:
        raise RequestError(f"token_dropout is {share}; expected a share from 0 to below 1.")
    if not isinstance(batch, dict) or "input_ids" not in batch:
        raise RequestError("token_dropout leaves out words of texts, and this source reads none; leave it at 0.")
    ids, mask = batch["input_ids"], batch.get("attention_mask")
    n, t = ids.shape
    place = torch.arange(t, device=ids.device)
    lengths = torch.full((n, 1), t, device=ids.device) if mask is None else mask.sum(1, keepdim=True)
    gone = (torch.rand(ids.shape, device=ids.device) < share) & (place > 0) & (place < lengths - 1)
    if replace is not None:
        return {**batch, "input_ids": ids.masked_fill(gone, replace)}
    order = (gone | (place >= lengths)).int().argsort(dim=1, stable=True)  # the padding stays behind
    left = lengths - gone.sum(1, keepdim=True)
    longest = int(left.max())
    made = {
        name: each.gather(1, order)[:, :longest] if each.shape == ids.shape else each
        for name, each in batch.items()
        if name != "attention_mask"
    }
    if int(left.min()) < longest:
        made["attention_mask"] = (place[:longest] < left).long()
    return made

"""One frozen pass of a source over rows: its features, and its own outputs where a score asks for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from graft import compute
from graft.contracts import Array, Backbone, Examples, Seen, Source, TransferData
from graft.features import extract
from graft.linear.scaling import check_finite
from graft.nn.outputs import own_outputs

__all__ = ["loaded", "look"]


def loaded(source: Source, data: TransferData) -> Backbone:
    """The source's network; plain features learn what they need from all training rows."""
    backbone = source.load()
    return backbone if backbone.learn is None else backbone.learn(data.train.examples)


def look(
    backbone: Backbone,
    data: TransferData,
    places: npt.NDArray[np.int64],
    *,
    outputs: bool,
    groups: npt.NDArray[np.int64] | None,
) -> Seen:
    """What a source makes of the training rows at these places, read from the feature cache where it is there.

    Features and precision are those that the strategies on frozen features find in the cache later.
    Features too wide to be dense stay sparse.

    Parameters
    ----------
    outputs
        Whether the source's own outputs are wanted; a head on the features costs no second pass.
    groups
        ``(n,)`` of the rows at ``places``, as :class:`~graft.contracts.Seen` takes them.

    Raises
    ------
    DivergedError
        Where features are not finite.
    """
    memo = None if data.cache is None else data.cache / "precision"
    data = replace(data, machine=compute.settle(backbone, data.train.examples, data.machine, memo))
    examples = data.train.examples.take(places)
    if backbone.sparse is not None:
        return Seen(backbone.sparse(examples), None, backbone.card, groups)
    features = check_finite(_pass(backbone, examples, data))
    said = _outputs(backbone, features, examples, data) if outputs else None
    return Seen(features, said, backbone.card, groups)


def _pass(backbone: Backbone, examples: Examples, data: TransferData) -> Array:
    return extract(backbone, examples, machine=data.machine, cache=data.cache, progress=data.progress)


def _outputs(backbone: Backbone, features: Array, examples: Examples, data: TransferData) -> Array | None:
    """``(n, c)`` raw outputs of the source's own, ``None`` where it has none."""
    own = own_outputs(backbone)
    if own is None:
        return None
    if backbone.outputs is not None or backbone.head is None:
        return _pass(own, examples, data)
    head = backbone.head.cpu().float().eval()
    with torch.inference_mode():
        said: Array = head(torch.from_numpy(features)).float().numpy()
    return said

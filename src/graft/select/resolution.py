"""Networks on smaller images: what training promises is seen for a fraction of its time."""

from __future__ import annotations

from dataclasses import replace

import torch

from graft.contracts import Backbone
from graft.data.preprocess.images import ImagePreprocess

__all__ = ["HALF", "smaller"]

HALF = 0.5
"""Share of the edge that a first look takes: a quarter of the pixels."""

_SMALLEST, _STEP = 64, 32
"""Pixels of an edge: what is smaller says little, and networks halve their maps up to five times."""


def smaller(backbone: Backbone, scale: float) -> Backbone:
    """The same network on images of a share of its edge; as it is where they would be tiny, or it takes no others.

    Networks of convolutions take images of any size; those that count places (most vision transformers) do not.

    References
    ----------
    Touvron et al., Fixing the train-test resolution discrepancy, NeurIPS 2019: features of smaller
    images differ, so candidates are compared at one resolution only.
    """
    before = backbone.preprocess
    if scale >= 1 or not isinstance(before, ImagePreprocess):
        return backbone
    height, width = (max(_SMALLEST, round(edge * scale / _STEP) * _STEP) for edge in before.size)
    if height >= before.size[0] or width >= before.size[1] or not _takes(backbone, (height, width)):
        return backbone
    named = None if backbone.fingerprint is None else f"{backbone.fingerprint} of {height}x{width}"
    return replace(backbone, preprocess=replace(before, size=(height, width)), fingerprint=named)


def _takes(backbone: Backbone, size: tuple[int, int]) -> bool:
    """Whether the network gives the same features, as to their number, of images of this size."""
    module = backbone.module
    trains = module.training
    module.eval()
    try:
        with torch.no_grad():  # what it keeps of a size (positions, masks) has to be fit for training
            found = module(torch.zeros(2, 3, *size, dtype=torch.uint8))
    except Exception:  # each library refuses in its own words
        return False
    finally:
        module.train(trains)
    return isinstance(found, torch.Tensor) and found.shape == (2, backbone.dim)

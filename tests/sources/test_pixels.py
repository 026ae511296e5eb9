from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone

from graft.errors import BundleError, RequestError
from graft.sources.pixels import Pixels


def _image(value: int) -> Image.Image:
    return Image.fromarray(np.full((40, 60, 3), value, dtype=np.uint8))


def test_features_are_the_pixels():
    backbone = Pixels(size=4).load()
    batch = backbone.preprocess.collate(backbone.preprocess.items([_image(0), _image(255)]))
    features = backbone.module(batch)
    assert features.shape == (2, backbone.dim) == (2, 48)
    assert (features[0] == -1).all()
    assert (features[1] == 1).all()
    assert features.dtype == torch.float32


def test_nothing_in_it_has_learnt():
    backbone = Pixels().load()
    assert not Pixels.pretrained
    assert backbone.card.pretraining == "none"
    assert list(backbone.module.parameters()) == []
    assert Pixels.local() == ("pixels",)
    assert Pixels().reads() == "image"


def test_files_make_the_same_again():
    backbone = Pixels(size=5).load()
    again = Pixels().rebuild(backbone.files)
    assert (again.dim, again.preprocess, again.fingerprint) == (backbone.dim, backbone.preprocess, backbone.fingerprint)
    assert backbone.fingerprint != Pixels(size=6).load().fingerprint
    with pytest.raises(BundleError):
        Pixels().rebuild({})


@pytest.mark.parametrize("size", [0, -3, 2.5, "8", 10_000])
def test_a_size_that_cannot_be_is_refused_when_it_is_used(size):
    with pytest.raises(RequestError, match="whole number"):
        clone(Pixels(size=size)).load()

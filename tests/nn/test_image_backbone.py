from __future__ import annotations

import pytest

from graft.errors import BundleError, RequestError
from graft.nn.image_backbone import described, edges, stated


def test_a_size_is_an_edge_or_two():
    assert edges(96) == (96, 96)
    assert edges([96, 128]) == (96, 128)


@pytest.mark.parametrize("size", [0, [1, 2, 3], [10, -1], "big"])
def test_a_size_that_cannot_be(size: object):
    with pytest.raises(RequestError, match="image size"):
        edges(size)


def test_what_is_described_is_read_again():
    assert stated(described("timm/resnet18")) == ("timm/resnet18", {})
    assert stated(described("timm/vit", {"img_size": (64, 96)})) == ("timm/vit", {"img_size": [64, 96]})


@pytest.mark.parametrize("held", [None, b"[", b"[]", b"{}", b'{"name": "a", "options": 1}'])
def test_a_damaged_file_is_named(held: bytes | None):
    with pytest.raises(BundleError, match=r"architecture\.json"):
        stated({} if held is None else {"architecture.json": held})

from __future__ import annotations

import pytest

from graft.errors import RequestError, UnknownNameError
from graft.nn.image_names import check_name, check_options, torchvision_entry


@pytest.mark.parametrize(
    "name",
    ["timm/resnet18", "timm/resnet18.a1_in1k", "torchvision/resnet18", "torchvision/resnet50.IMAGENET1K_V1"],
)
def test_names_that_are_carried(name: str):
    check_name(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("timm/resnt18", "resnet18"),
        ("timm/resnet18.a1_in", "resnet18.a1_in1k"),
        ("timm/vit_tiny_patch16_224_in21k", "vit_tiny_patch16_224.augreg_in21k"),
        ("timm/jx_nest_tiny", "nest_tiny"),
        ("torchvision/resnt18", "resnet18"),
        ("torchvision/resnet18.V1", "resnet18.IMAGENET1K_V1"),
        ("tim/resnet18", "timm"),
        ("resnet18", "timm"),
    ],
)
def test_names_that_are_not(name: str, near: str):
    with pytest.raises(UnknownNameError) as caught:
        check_name(name)
    assert near in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"checkpoint_path": "x"}, "does not take the option checkpoint_path"),
        ({"global_pool": ""}, "pooled"),
        ({"num_classes": 10**9}, "the most is 200000"),
        ({"img_size": [64, 10**6]}, "the most is 2048"),
        ({"reg_tokens": float("nan")}, "the most is 1024"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], says: str):
    with pytest.raises(RequestError, match=says):
        check_options("timm/test_vit", options)


def test_the_weights_that_a_name_means():
    assert torchvision_entry("resnet50").name == "IMAGENET1K_V2"
    assert torchvision_entry("resnet50.IMAGENET1K_V1").name == "IMAGENET1K_V1"

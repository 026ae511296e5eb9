from __future__ import annotations

import copy

import pytest
import torch

from graft.errors import RequestError, UnknownNameError
from graft.nn.architectures import Images, build, classifier_name, expected, network, split

SMALL = [
    "timm/test_byobnet",
    "timm/test_convnext",
    "timm/test_efficientnet",
    "timm/test_resnet",
    "timm/test_vit",
    "timm/mobilenetv3_small_050",
    "torchvision/mobilenet_v3_small",
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/resnet18",
    "torchvision/squeezenet1_1",
]


def _pixels(images: Images, n: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, *images.size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_head_on_features_is_the_whole_network(name: str):
    images = expected(name)
    whole = network(name).eval()
    batch = _pixels(images)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (images.mean, images.std))
    outputs = whole((batch / 255 - mean) / std)
    parts = split(whole, name, None, images)
    features = parts.module.eval()(batch)
    assert features.shape == (2, parts.dim)
    if parts.head is None:
        assert "squeezenet" in name
    else:
        torch.testing.assert_close(parts.head(features), outputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_is_in_exactly_one_stage_and_every_stage_has_some(name: str):
    parts = build(name)
    names = [key for key, _ in parts.module.named_parameters()]
    for key in names:
        assert sum(key == stage or key.startswith(f"{stage}.") for stage in parts.stages) == 1, key
    for stage in parts.stages:
        assert any(key == stage or key.startswith(f"{stage}.") for key in names), stage
    assert len(parts.stages) >= 3


def test_stages_run_from_input_to_output():
    stages = build("timm/resnet18").stages
    assert stages == tuple(f"network.{part}" for part in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"))
    vit = build("timm/test_vit").stages
    assert vit.index("network.patch_embed") < vit.index("network.blocks.0") < vit.index("network.norm")


def test_a_squeezenet_gives_what_its_classifier_sees_pooled():
    parts = build("torchvision/squeezenet1_1")
    parts.module.eval()
    batch = _pixels(Images())
    with torch.no_grad():
        images = expected("torchvision/squeezenet1_1")
        pixels = (batch / 255 - torch.tensor(images.mean).view(3, 1, 1)) / torch.tensor(images.std).view(3, 1, 1)
        maps = parts.module.network.features(pixels)
        torch.testing.assert_close(parts.module(batch), maps.mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_normalisation_survives_casting_and_keeps_the_memory_format():
    parts = build("timm/test_resnet")
    seen: list[torch.Tensor] = []
    parts.module.network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    batch = _pixels(Images()).to(memory_format=torch.channels_last)
    with torch.no_grad():
        parts.module.eval()(batch)
        parts.module.bfloat16()(batch)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(seen[0].bfloat16(), seen[1])


def test_floats_on_the_scale_of_bytes_give_the_same_and_are_left_alone():
    module = build("timm/test_resnet").module.eval()
    batch = _pixels(Images()).float()
    kept = batch.clone()
    with torch.no_grad():
        assert torch.equal(module(batch), module(batch.to(torch.uint8)))
    assert torch.equal(batch, kept)


def test_building_leaves_the_global_generator_alone_and_is_repeatable():
    torch.manual_seed(0)
    expected_draw = torch.rand(3)
    torch.manual_seed(0)
    first, second = network("timm/test_vit").state_dict(), network("timm/test_vit").state_dict()
    assert torch.equal(torch.rand(3), expected_draw)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_module_can_be_copied():
    module = build("timm/test_vit").module
    other = copy.deepcopy(module)
    other.init_weights()
    assert module.state_dict().keys() == other.state_dict().keys()


def test_options_reach_the_network():
    assert network("timm/test_efficientnet", {"num_classes": 7}).get_classifier().out_features == 7
    wide = network("timm/mobilenetv1_100", {"width": 0.25})
    assert sum(value.numel() for value in wide.parameters()) < 600_000
    assert network("torchvision/squeezenet1_1", {"num_classes": 5}).classifier[1].out_channels == 5


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("timm/test_vit", {"pretrained_cfg": {"file": "x"}}, "does not take the option pretrained_cfg"),
        ("timm/test_vit", {"checkpoint_path": "x"}, "checkpoint_path"),
        ("timm/resnet18", {"pad_type": "same"}, "cannot be built with pad_type='same'"),
        ("timm/resnet18", {"width": 0.5}, "mobilenetv1"),
        ("timm/resnet18", {"global_pool": ""}, "pooled"),
        ("torchvision/resnet18", {"pad_type": "same"}, "does not take the option pad_type"),
        ("torchvision/resnet18", {"dropout": 0.5}, "cannot be built"),
    ],
)
def test_options_that_cannot_be_are_refused(name: str, options: dict, says: str):
    with pytest.raises(RequestError, match=says):
        network(name, options)


@pytest.mark.parametrize("ask", [network, expected, build])
@pytest.mark.parametrize(
    ("name", "near"), [("timm/resnt18", "resnet18"), ("torchvision/resnt18", "resnet18"), ("tim/resnet18", "timm")]
)
def test_unknown_names_suggest_the_nearest(ask, name: str, near: str):
    with pytest.raises(UnknownNameError, match=near):
        ask(name)


def test_a_transformer_is_made_for_another_size():
    parts = build("timm/vit_tiny_patch16_224", None, Images(size=(64, 96)))
    with torch.no_grad():
        assert parts.module.eval()(_pixels(Images(size=(64, 96)))).shape == (2, 192)


def test_a_size_that_does_not_fit_is_an_error():
    with pytest.raises(RequestError, match="224×224 pixels alone"):
        build("timm/mixer_s32_224", None, Images(size=(100, 100)))
    with pytest.raises(RequestError, match="224×224 pixels alone"):
        build("torchvision/vit_b_32", None, Images(size=(64, 64)))
    with pytest.raises(RequestError, match="8×8"):
        build("timm/vit_tiny_patch16_224", None, Images(size=(8, 8)))


def test_what_a_network_expects():
    vit = expected("timm/vit_tiny_patch16_224")
    assert (vit.mean, vit.crop, vit.interpolation) == ((0.5, 0.5, 0.5), 0.9, "bicubic")
    inception = expected("torchvision/inception_v3")
    assert inception.size == (299, 299)
    assert int(299 / inception.crop) == 342
    assert int(224 / expected("torchvision/resnet50").crop) == 232


def test_the_classifier_is_found():
    assert classifier_name(network("timm/test_vit")) == "head"
    assert classifier_name(network("torchvision/squeezenet1_1")) == "classifier.1"
    assert classifier_name(network("timm/test_vit", {"num_classes": 0})) is None

from __future__ import annotations

import copy

import pytest
import torch

from graft.errors import RequestError, UnknownNameError
from graft.nn.architectures import Images, build, classifier_name, expected, made_for, network, split

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


# Their outputs are no linear layer on the pooled features.
OTHERWISE = [
    "timm/deit_tiny_distilled_patch16_224",
    "timm/shvit_s1",
    "torchvision/squeezenet1_0",
]
MANY = [
    "timm/beit_base_patch16_224",
    "timm/cait_xxs24_224",
    "timm/coat_tiny",
    "timm/convit_tiny",
    "timm/davit_tiny",
    "timm/densenet121",
    "timm/edgenext_small",
    "timm/eva02_tiny_patch14_336",
    "timm/focalnet_tiny_lrf",
    "timm/ghostnet_100",
    "timm/hiera_tiny_224",
    "timm/hrnet_w18_small",
    "timm/inception_v4",
    "timm/mambaout_femto",
    "timm/maxvit_nano_rw_256",
    "timm/mobilevit_xxs",
    "timm/pvt_v2_b0",
    "timm/regnetx_002",
    "timm/swin_tiny_patch4_window7_224",
    "timm/xcit_nano_12_p8_224",
    "torchvision/alexnet",
    "torchvision/convnext_tiny",
    "torchvision/densenet121",
    "torchvision/efficientnet_b0",
    "torchvision/efficientnet_v2_s",
    "torchvision/googlenet",
    "torchvision/inception_v3",
    "torchvision/maxvit_t",
    "torchvision/mnasnet0_5",
    "torchvision/mobilenet_v2",
    "torchvision/regnet_x_400mf",
    "torchvision/regnet_y_400mf",
    "torchvision/resnext50_32x4d",
    "torchvision/swin_t",
    "torchvision/swin_v2_t",
    "torchvision/vgg11_bn",
    "torchvision/vit_b_32",
    "torchvision/wide_resnet50_2",
]
MANY_OTHERWISE = [
    "timm/caformer_s18",
    "timm/cpubone_nano",
    "timm/crossvit_tiny_240",
    "timm/dla34",
    "timm/dpn68",
    "timm/efficientformer_l1",
    "timm/efficientformerv2_s0",
    "timm/efficientvit_m0",
    "timm/levit_128s",
    "timm/repvit_m0_9",
    "timm/resnetv2_50",
    "timm/swiftformer_xs",
    "timm/volo_d1_224",
]
ALL = [*SMALL, *OTHERWISE, *(pytest.param(name, marks=pytest.mark.slow) for name in [*MANY, *MANY_OTHERWISE])]


@torch.no_grad()
@pytest.mark.parametrize("name", ALL)
def test_head_or_outputs_give_what_the_whole_network_gives(name: str):
    images = expected(name)
    whole = network(name).eval()
    for value in whole.parameters():
        if not value.any():
            value.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(0))
    batch = _pixels(images)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (images.mean, images.std))
    outputs = whole((batch / 255 - mean) / std)
    parts = split(whole, name, None, images)
    features = parts.module.eval()(batch)
    assert features.shape == (2, parts.dim)
    assert parts.classes == outputs.shape[1]
    assert (parts.head is None) == (parts.outputs is not None)
    assert (parts.head is None) == ("squeezenet" in name or name in OTHERWISE + MANY_OTHERWISE)
    found = parts.outputs.eval()(batch) if parts.head is None else parts.head(features)
    torch.testing.assert_close(found, outputs, rtol=1e-3, atol=1e-4 * float(outputs.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("name", OTHERWISE)
def test_outputs_share_their_weights_with_the_features(name: str):
    parts = build(name)
    own = {id(value) for value in parts.module.parameters()}
    others = [key for key, value in parts.outputs.named_parameters() if id(value) not in own]
    assert all("head" in key or "classifier" in key for key in others)
    assert own <= {id(value) for value in parts.outputs.parameters()}
    batch = _pixels(expected(name))
    before = parts.outputs.eval()(batch)
    for value in parts.module.parameters():
        value.mul_(0.5)
    assert not torch.equal(parts.outputs(batch), before)
    torch.manual_seed(1)
    parts.outputs.init_weights()
    first = parts.outputs(batch)
    torch.manual_seed(1)
    parts.outputs.init_weights()
    assert torch.equal(parts.outputs(batch), first)


def test_a_network_without_classes_has_no_outputs():
    parts = build("timm/test_vit", {"num_classes": 0})
    assert (parts.head, parts.outputs, parts.classes) == (None, None, 0)


@pytest.mark.parametrize("name", ALL)
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


def test_options_and_tags_decide_the_size_that_a_network_is_made_for():
    small = network("timm/vit_tiny_patch16_224", {"img_size": [64, 96]})
    assert made_for(small, "timm/vit_tiny_patch16_224") == (64, 96)
    assert build("torchvision/vit_b_16.IMAGENET1K_SWAG_E2E_V1").module.network.image_size == 384


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

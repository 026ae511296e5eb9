from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import timm
import torch
from torch import Tensor

from graft.errors import RequestError, WeightsError
from graft.nn.architectures import Images, expected, network
from graft.nn.feature_maps import pyramid, timm_features

FEW = ["torchvision/resnet18", "torchvision/squeezenet1_1", "torchvision/mobilenet_v3_small", "timm/test_convnext"]
MANY = [
    "timm/test_vit",
    "timm/test_efficientnet",
    "timm/swin_tiny_patch4_window7_224",
    "timm/densenet121",
    "timm/hrnet_w18_small",
    "timm/crossvit_tiny_240",
    "timm/xcit_nano_12_p8_224",
    "timm/edgenext_xx_small",
    "torchvision/alexnet",
    "torchvision/convnext_tiny",
    "torchvision/densenet121",
    "torchvision/efficientnet_b0",
    "torchvision/googlenet",
    "torchvision/inception_v3",
    "torchvision/maxvit_t",
    "torchvision/mnasnet0_5",
    "torchvision/regnet_y_400mf",
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/swin_t",
    "torchvision/swin_v2_t",
    "torchvision/vgg11_bn",
    "torchvision/vit_b_32",
]
# Convolutions and pools without a border leave less than the stride says.
UNEVEN = ("alexnet", "inception_v3", "squeezenet1_1")


def _pixels(images: Images, n: int = 2) -> Tensor:
    return torch.randint(0, 256, (n, 3, *images.size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in MANY)])
def test_maps_are_as_deep_and_as_large_as_stated(name: str):
    images = expected(name)
    made = pyramid(name, images)
    found = made.module.eval()(_pixels(images))
    assert [each.shape[:2] for each in found] == [(2, depth) for depth in made.channels]
    assert list(made.strides) == sorted(made.strides)
    for each, stride in zip(found, made.strides, strict=True):
        if not name.endswith(UNEVEN):
            assert each.shape[2:] == (images.size[0] // stride, images.size[1] // stride)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("torchvision/resnet18", {4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"}),
        ("torchvision/mobilenet_v3_small", {4: "features.1", 8: "features.3", 16: "features.8", 32: "features.12"}),
        ("torchvision/squeezenet1_1", {8: "features.7", 16: "features.12"}),
    ],
)
def test_maps_are_what_the_whole_network_computes_on_its_way(name: str, nodes: Mapping[int, str]):
    whole = network(name).eval()
    other = copy.deepcopy(whole)
    seen: dict[str, Tensor] = {}
    for node in nodes.values():
        whole.get_submodule(node).register_forward_hook(
            lambda part, given, out, node=node: seen.update({node: out.clone()})
        )
    images = expected(name)
    batch = _pixels(images)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (images.mean, images.std))
    whole((batch / 255 - mean) / std)
    made = pyramid(name, images, whole=other)
    found = dict(zip(made.strides, made.module.eval()(batch), strict=True))
    for stride, node in nodes.items():
        torch.testing.assert_close(found[stride], seen[node], rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_tokens_of_a_torchvision_transformer_are_laid_out_as_places():
    whole = network("torchvision/vit_b_32").eval()
    images = expected("torchvision/vit_b_32")
    made = pyramid("torchvision/vit_b_32", images, whole=copy.deepcopy(whole))
    seen: list[Tensor] = []
    whole.encoder.layers.encoder_layer_11.register_forward_hook(lambda part, given, out: seen.append(out))
    batch = _pixels(images, 1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (images.mean, images.std))
    whole((batch / 255 - mean) / std)
    last = made.module.eval()(batch)[-1]
    torch.testing.assert_close(last[0, :, 2, 5], seen[0][0, 1 + 2 * 7 + 5], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/test_vit", "timm/test_byobnet"])
def test_maps_train_and_can_be_copied_and_started_again(name: str):
    images = Images(size=(64, 64))
    module = copy.deepcopy(pyramid(name, images).module).train()
    sum(each.mean() for each in module(_pixels(images))).backward()
    assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in module.parameters())
    first = next(module.parameters())
    started = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        module.init_weights()
        started.append(first.detach().clone())
    assert torch.equal(started[0], started[1])
    assert not torch.equal(started[0], started[2])


@torch.no_grad()
@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/test_efficientnet", "timm/vit_tiny_patch16_224"])
def test_images_of_another_size(name: str):
    images = Images(size=(64, 96))
    made = pyramid(name, images)
    assert made.module.eval()(_pixels(images))[-1].shape[2:] == (64 // made.strides[-1], 96 // made.strides[-1])


@torch.no_grad()
def test_windows_are_changed_while_the_network_is_whole():
    images = Images(size=(160, 160))
    made = pyramid("timm/swin_tiny_patch4_window7_224", images)
    assert [each.shape[2] for each in made.module.eval()(_pixels(images))] == [40, 20, 10, 5]


def test_networks_without_maps_and_sizes_that_do_not_fit_are_refused():
    with pytest.raises(RequestError, match="one vector a row, and no feature maps"):
        pyramid("timm/visformer_tiny", expected("timm/visformer_tiny"), options={"pad_type": "same"})
    with pytest.raises(RequestError, match="224×224 pixels alone"):
        pyramid("timm/mixer_s32_224", Images(size=(64, 64)))
    with pytest.raises(RequestError, match="224×224 pixels alone"):
        pyramid("torchvision/vit_b_32", Images(size=(64, 64)))
    with pytest.raises(RequestError, match="does not take images of 4×4"):
        pyramid("timm/inception_v4", Images(size=(4, 4)))
    with pytest.raises(RequestError, match="does not take the option checkpoint_path"):
        pyramid("timm/test_vit", Images(), options={"checkpoint_path": "x"})


def test_maps_of_a_way_of_their_own_take_no_other_weights(monkeypatch):
    create = timm.create_model

    def in_its_own_way(*given, **options):
        if "feature_cls" in options:
            raise RuntimeError("no other extractor")
        return create(*given, **options)

    monkeypatch.setattr(timm, "create_model", in_its_own_way)
    with pytest.raises(RequestError, match="its maps in a way of its own, which takes"):
        timm_features("timm/test_efficientnet", (160, 160), state={})
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="cls_token"):
        timm_features("timm/test_vit", (160, 160), state={"pos_embed": torch.zeros(1)})

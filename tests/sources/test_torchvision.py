from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from graft.checks import check_source
from graft.data.examples import ImageExamples
from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.sources.torchvision import Torchvision

RANDOM = np.random.default_rng(0)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where PyTorch keeps what it fetched, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def _held(checkpoints: Path, model: str, tag: str = "DEFAULT", **options: object) -> torch.nn.Module:
    """Write random weights where the table expects the real ones; returns the library's plain network."""
    entry = torchvision.models.get_model_weights(model)[tag]
    torch.manual_seed(3)
    whole = torchvision.models.get_model(model, weights=None, **options).eval()
    for part in whole.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
    torch.save(whole.state_dict(), checkpoints / entry.url.rsplit("/", 1)[-1])
    return whole


def _picture(height: int, width: int) -> Image.Image:
    coarse = Image.fromarray(RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "mobilenet_v2.IMAGENET1K_V1"])
def test_cached_weights_give_torchvisions_outputs(checkpoints: Path, name: str):
    model, _, tag = name.partition(".")
    whole = _held(checkpoints, model, tag or "DEFAULT")
    backbone = Torchvision(name).load()
    picture = _picture(300, 260)
    batch = torchvision.models.get_model_weights(model)[tag or "DEFAULT"].transforms()(picture)[None]
    ours = backbone.preprocess.collate(backbone.preprocess.items([picture]))
    made = backbone.module.eval()(ours)
    found = backbone.outputs.eval()(ours) if backbone.head is None else backbone.head(made)
    assert (backbone.head is None) == model.startswith("squeezenet")
    assert made.shape == (1, backbone.dim)
    torch.testing.assert_close(found, whole(batch), rtol=2e-2, atol=2e-2 * float(whole(batch).abs().max()))


@torch.no_grad()
def test_networks_with_heads_for_training_alone(checkpoints: Path):
    entry = torchvision.models.get_model_weights("googlenet").DEFAULT
    torch.manual_seed(0)
    whole = torchvision.models.googlenet(aux_logits=True, init_weights=True, transform_input=True).eval()
    torch.save(whole.state_dict(), checkpoints / entry.url.rsplit("/", 1)[-1])
    backbone = Torchvision("googlenet").load()
    batch = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.preprocess.mean, backbone.preprocess.std))
    expected = whole((batch / 255 - mean) / std)
    torch.testing.assert_close(backbone.head(backbone.module.eval()(batch)), expected, rtol=1e-3, atol=1e-3)
    assert any("only training uses" in note for note in backbone.card.notes)


@torch.no_grad()
def test_names_in_old_files_are_read(checkpoints: Path):
    entry = torchvision.models.get_model_weights("densenet121").DEFAULT
    whole = _held(checkpoints, "densenet121")
    old = {
        name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for name, value in whole.state_dict().items()
    }
    torch.save(old, checkpoints / entry.url.rsplit("/", 1)[-1])
    found = Torchvision("densenet121").load().module.network.features
    assert torch.equal(found.denseblock1.denselayer1.norm1.weight, whole.features.denseblock1.denselayer1.norm1.weight)


def test_the_card_tells_what_the_table_says(checkpoints: Path):
    _held(checkpoints, "resnet18")
    card = Torchvision("resnet18").load().card
    assert card.name == "torchvision/resnet18.IMAGENET1K_V1"
    assert card.parameters == 11_176_512
    assert card.bytes == (checkpoints / "resnet18-f37072fd.pth").stat().st_size
    assert card.flops == 1_814_000_000 - 512_000
    assert (card.outputs, card.top1, card.pretraining) == (1000, 0.69758, "ImageNet-1k")
    held = (checkpoints / "resnet18-f37072fd.pth").read_bytes()
    assert (card.licence, card.revision) == (None, hashlib.sha256(held).hexdigest())
    assert any("no licence" in note for note in card.notes)
    assert Torchvision("resnet18", size=96).load().card.top1 is None
    assert Torchvision.local() == ("torchvision/resnet18.IMAGENET1K_V1",)


def test_the_architecture_alone_needs_nothing(checkpoints: Path):
    backbone = Torchvision("resnet18").load(weights=False)
    assert (backbone.dim, backbone.fingerprint, backbone.card.pretraining) == (512, None, "none")
    assert (backbone.card.outputs, backbone.card.top1) == (1000, None)
    assert Torchvision("resnet18").reads() == "image"
    assert Torchvision.local() == ()


@pytest.mark.slow
def test_a_tag_decides_what_images_are_expected():
    assert Torchvision("resnet50").load(weights=False).preprocess.crop < 0.97
    assert Torchvision("resnet50.IMAGENET1K_V1").load(weights=False).preprocess.crop == 224 / 256
    small = Torchvision("vit_b_16").load(weights=False)
    large = Torchvision("vit_b_16.IMAGENET1K_SWAG_E2E_V1").load(weights=False)
    assert (small.preprocess.size, large.preprocess.size) == ((224, 224), (384, 384))
    assert large.module.network.image_size == 384


@pytest.mark.slow
def test_weights_under_a_licence_say_so(checkpoints: Path):
    _held(checkpoints, "regnet_y_16gf", "IMAGENET1K_SWAG_LINEAR_V1")
    card = Torchvision("regnet_y_16gf.IMAGENET1K_SWAG_LINEAR_V1").load().card
    assert card.licence == "CC-BY-NC-4.0"
    assert card.pretraining == "Instagram hashtags, then ImageNet-1k"


def test_it_keeps_the_contract(checkpoints: Path):
    _held(checkpoints, "mobilenet_v3_small")
    pictures = [np.full((40, 50, 3), place * 60, np.uint8) for place in range(3)]
    check_source(Torchvision("mobilenet_v3_small", size=64), ImageExamples(pictures))


@torch.no_grad()
def test_maps_have_the_weights_of_the_pooled_network(checkpoints: Path):
    whole = _held(checkpoints, "resnet18")
    maps = Torchvision("resnet18", size=[96, 64]).maps()
    assert maps.strides == (2, 4, 8, 16, 32)
    assert maps.channels == (64, 64, 128, 256, 512)
    picture = maps.preprocess.collate(maps.preprocess.items([_picture(120, 120)]))
    found = maps.module.eval()(picture)
    assert [each.shape[2:] for each in found] == [(96 // stride, 64 // stride) for stride in maps.strides]
    own = whole.state_dict()
    for name, value in maps.module.named_parameters():
        assert torch.equal(value, own[name.removeprefix("network.body.")])


def test_absent_weights_name_the_command_that_fetches_them(checkpoints: Path):
    with pytest.raises(UnavailableError) as caught:
        Torchvision("resnet18").load()
    place = checkpoints / "resnet18-f37072fd.pth"
    assert f"curl -L -o {place} " in str(caught.value)
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(caught.value)


def test_weights_of_another_network_or_damaged_ones_are_an_error(checkpoints: Path):
    place = checkpoints / "resnet18-f37072fd.pth"
    torch.save({"conv1.weight": torch.ones(1)}, place)
    with pytest.raises(WeightsError, match=r"(?s)remove it, it is fetched again.*the weights lack"):
        Torchvision("resnet18").load()
    place.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(WeightsError, match=r"(?s)remove it.*damaged"):
        Torchvision("resnet18").load()
    whole = _held(checkpoints, "resnet18")
    torch.save({**whole.state_dict(), "fc.bias": torch.full((1000,), float("nan"))}, place)
    with pytest.raises(WeightsError, match=r"not finite numbers: fc\.bias"):
        Torchvision("resnet18").load()


def test_the_content_names_the_weights_and_not_the_name_of_their_file(checkpoints: Path):
    _held(checkpoints, "resnet18")
    first = Torchvision("resnet18").load()
    assert first.fingerprint == Torchvision("resnet18").load().fingerprint
    assert first.fingerprint != Torchvision("resnet18", size=96).load().fingerprint
    torch.save(torchvision.models.resnet18().state_dict(), checkpoints / "resnet18-f37072fd.pth")
    assert first.fingerprint != Torchvision("resnet18").load().fingerprint


def test_names_that_do_not_exist_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="resnet18"):
        Torchvision("resnt18").load()
    with pytest.raises(UnknownNameError, match=r"resnet50\.IMAGENET1K_V1"):
        Torchvision("resnet50.IMAGENET1K_V9").load()
    with pytest.raises(UnknownNameError, match="fasterrcnn"):
        Torchvision("fasterrcnn_resnet50_fpn").load()


@pytest.mark.parametrize("size", [0, [1, 2, 3], "big"])
def test_a_size_that_cannot_be_is_refused(size: object):
    with pytest.raises(RequestError, match="image size"):
        Torchvision("resnet18", size=size).load(weights=False)


def test_files_of_another_source_are_refused():
    files = {**Torchvision("resnet18").load(weights=False).files, "architecture.json": b'{"name": "timm/resnet18"}'}
    with pytest.raises(BundleError, match="names the network timm/resnet18"):
        Torchvision("resnet18").rebuild(files)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.nn.initialise import fresh
from graft.sources.file import File

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
HALF = [0.5, 0.5, 0.5]
ARCHITECTURE = "timm/test_efficientnet"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    network = timm.create_model("test_efficientnet", num_classes=7)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def _batch(backbone, n: int = 2) -> torch.Tensor:
    images = [
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (80, 90, 3), dtype=np.uint8)) for seed in range(n)
    ]
    return backbone.preprocess.collate(backbone.preprocess.items(images))


@torch.no_grad()
def test_a_checkpoint_gives_its_own_features_and_outputs(checkpoint: Path):
    backbone = File(str(checkpoint), ARCHITECTURE).load()
    whole = timm.create_model("test_efficientnet", num_classes=7, checkpoint_path=str(checkpoint)).eval()
    config = timm.data.resolve_model_data_config(whole)
    batch = _batch(backbone)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    outputs = backbone.head(backbone.module.eval()(batch))
    torch.testing.assert_close(outputs, whole((batch / 255 - mean) / std), rtol=1e-4, atol=1e-5)
    assert backbone.head.out_features == 7
    assert backbone.card.bytes == checkpoint.stat().st_size
    assert len(backbone.card.revision) == 64
    assert backbone.preprocess.crop == config["crop_pct"]


@torch.no_grad()
def test_files_make_the_same_network_again(checkpoint: Path):
    source = File(str(checkpoint), ARCHITECTURE, {"pad_type": "same"}, size=[64, 96], mean=HALF, std=HALF)
    backbone = source.load()
    again = File("elsewhere.pt").rebuild(backbone.files)
    again.module.load_state_dict(backbone.module.state_dict())
    batch = _batch(backbone)
    assert torch.equal(again.module.eval()(batch), backbone.module.eval()(batch))
    assert (again.files, again.preprocess, again.stages) == (backbone.files, backbone.preprocess, backbone.stages)
    assert backbone.preprocess.size == (64, 96)
    assert again.fingerprint is None


@pytest.mark.parametrize(
    "files", [{}, {"architecture.json": b"{"}, {"architecture.json": b'{"name": "timm/resnet18"}'}]
)
def test_damaged_files_are_named(files: dict[str, bytes]):
    with pytest.raises(BundleError, match=r"architecture\.json"):
        File("w.pt").rebuild(files)


def test_every_load_is_fresh_and_trainable_and_changes_no_parameter(checkpoint: Path):
    options = {"pad_type": "same"}
    source = clone(File(str(checkpoint), ARCHITECTURE, options))
    first, second = source.load(), source.load()
    assert first.module is not second.module
    assert all(value.requires_grad for value in first.module.parameters())
    assert source.get_params()["options"] == options == {"pad_type": "same"}
    assert first.fingerprint == second.fingerprint


def test_the_fingerprint_names_weights_and_preprocessing(checkpoint: Path, tmp_path: Path):
    base = File(str(checkpoint), ARCHITECTURE).load().fingerprint
    other = tmp_path / "other.safetensors"
    save_file({**timm.create_model("test_efficientnet", num_classes=7).state_dict()}, other)
    changed = [
        File(str(other), ARCHITECTURE),
        File(str(checkpoint), ARCHITECTURE, size=64),
        File(str(checkpoint), ARCHITECTURE, mean=HALF),
        File(str(checkpoint), ARCHITECTURE, std=HALF),
        File(str(checkpoint), ARCHITECTURE, {"pad_type": "same"}),
    ]
    assert len({base, *(source.load().fingerprint for source in changed)}) == 6


def test_without_weights_the_file_is_not_needed():
    backbone = File("nowhere.pt", ARCHITECTURE).load(weights=False)
    assert backbone.fingerprint is None
    assert backbone.card.pretraining == "none"


def test_a_checkpoint_without_a_classifier_has_no_head(checkpoint: Path, tmp_path: Path):
    state = timm.create_model("test_efficientnet").state_dict()
    torch.save({key: value for key, value in state.items() if "classifier" not in key}, tmp_path / "trunk.pth")
    backbone = File(str(tmp_path / "trunk.pth"), ARCHITECTURE).load()
    assert backbone.head is None
    assert torch.equal(backbone.module.network.conv_stem.weight, state["conv_stem.weight"])


def test_prefixes_and_nests_are_told_on_the_card(tmp_path: Path):
    state = timm.create_model("test_efficientnet", num_classes=3).state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pth")
    backbone = File(str(tmp_path / "w.pth"), ARCHITECTURE).load()
    assert backbone.head.out_features == 3
    assert any("state_dict" in note for note in backbone.card.notes)
    assert any("module." in note for note in backbone.card.notes)


def test_names_may_be_ignored(tmp_path: Path):
    state = timm.create_model("test_efficientnet").state_dict()
    torch.save({**state, "teacher.weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"\+ teacher\.weight"):
        File(str(tmp_path / "w.pth"), ARCHITECTURE).load()
    assert File(str(tmp_path / "w.pth"), ARCHITECTURE, ignore=["teacher"]).load().head is not None


def test_another_architecture_shows_both_lists(checkpoint: Path):
    with pytest.raises(WeightsError) as caught:
        File(str(checkpoint), "timm/test_resnet").load()
    assert "  - conv1" in str(caught.value)
    assert "  + blocks.0.0.bn1.weight" in str(caught.value)


def test_stated_classes_must_be_those_of_the_checkpoint(checkpoint: Path):
    with pytest.raises(WeightsError, match=r"classifier\.weight: the network \(5, "):
        File(str(checkpoint), ARCHITECTURE, {"num_classes": 5}).load()


def test_requests_that_cannot_be_say_what_to_do(checkpoint: Path):
    with pytest.raises(RequestError, match=r"name it: file/.*\?architecture=timm/<name>"):
        File(str(checkpoint)).load()
    with pytest.raises(UnavailableError, match=r"did you mean .*w\.safetensors"):
        File(str(checkpoint.with_name("ww.safetensors")), ARCHITECTURE).load()
    with pytest.raises(UnknownNameError, match="test_efficientnet"):
        File(str(checkpoint), "timm/test_eficientnet").load()
    with pytest.raises(RequestError, match="does not take the option padding"):
        File(str(checkpoint), ARCHITECTURE, {"padding": 1}).load()
    with pytest.raises(RequestError, match="image size"):
        File(str(checkpoint), ARCHITECTURE, size=[1, 2, 3]).load()


REAL = {
    "mobilenetv2_100_imagenet.timm.safetensors": ("timm/mobilenetv2_100", {"pad_type": "same"}, 1280, 1001),
    "mobilenetv2_100_inat_bird.timm.safetensors": ("timm/mobilenetv2_100", {"pad_type": "same"}, 1280, 965),
    "mobilenetv1_050_160_imagenet.timm.safetensors": (
        "timm/mobilenetv1_100",
        {"pad_type": "same", "width": 0.5},
        512,
        1001,
    ),
    "mobilenetv1_025_224_imagenet_float.timm.safetensors": (
        "timm/mobilenetv1_100",
        {"pad_type": "same", "width": 0.25},
        256,
        1000,
    ),
}


def _real(name: str) -> Path:
    path = DATA / "weights" / name
    if not path.is_file():
        pytest.skip(f"{name} is not on this machine")
    return path


@pytest.mark.parametrize("name", REAL)
def test_real_checkpoints_fit(name: str):
    architecture, options, dim, classes = REAL[name]
    backbone = File(str(_real(name)), architecture, options, mean=HALF, std=HALF).load()
    assert backbone.dim == dim
    assert backbone.head.out_features == classes


@torch.no_grad()
def test_a_real_squeezenet_fits():
    path = _real("squeezenet1_0_imagenet.torchvision.pt")
    mean, std = [123 / 255, 117 / 255, 104 / 255], [1 / 255] * 3
    backbone = File(str(path), "torchvision/squeezenet1_0", mean=mean, std=std).load()
    whole = torchvision.models.squeezenet1_0(weights=None).eval()
    whole.load_state_dict(torch.load(path, weights_only=True))
    batch = _batch(backbone)
    pixels = batch.float() - torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1)
    expected = whole.features(pixels).mean((2, 3))
    torch.testing.assert_close(backbone.module.eval()(batch), expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_real_features_tell_photos_apart_far_better_than_untrained_ones():
    path, folder = _real("mobilenetv2_100_imagenet.timm.safetensors"), DATA / "images" / "pacs_subset" / "photo"
    if not folder.is_dir():
        pytest.skip("the PACS subset is not on this machine")
    classes = sorted(each for each in folder.iterdir() if each.is_dir())
    files = [(number, file) for number, each in enumerate(classes) for file in sorted(each.iterdir())[:16]]
    labels = np.array([number for number, _ in files])
    backbone = File(str(path), "timm/mobilenetv2_100", {"pad_type": "same"}, size=160, mean=HALF, std=HALF).load()
    batch = backbone.preprocess.collate(
        backbone.preprocess.items([Image.open(file).convert("RGB") for _, file in files])
    )
    learn = np.arange(len(files)) % 2 == 0
    accuracy = []
    for module in (backbone.module, fresh(File("", "timm/mobilenetv2_100").load(weights=False).module, 0)):
        x = torch.cat([module.eval()(part) for part in batch.split(16)]).numpy()
        x = (x - x.mean(0)) / (x.std(0) + 1e-6)
        accuracy.append(
            LogisticRegression(max_iter=300, C=0.01).fit(x[learn], labels[learn]).score(x[~learn], labels[~learn])
        )
    assert accuracy[0] > 0.9
    assert accuracy[1] < accuracy[0] - 0.3

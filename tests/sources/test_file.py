from __future__ import annotations

import io
import json
import tarfile
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
from typer.testing import CliRunner

import graft
from graft import registry
from graft.checks import check_source
from graft.cli import app
from graft.contracts import Backbone
from graft.data.examples import ImageExamples
from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.nn import factories
from graft.nn.initialise import fresh
from graft.sources.file import File
from graft.strategies.linear_probe import LinearProbe

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
    backbone = File(str(tmp_path / "w.pth"), ARCHITECTURE, rename={"teacher": None}).load()
    assert backbone.head is not None
    assert "1 names were left out as the renames say" in backbone.card.notes


def test_another_architecture_shows_both_lists(checkpoint: Path):
    with pytest.raises(WeightsError) as caught:
        File(str(checkpoint), "timm/test_resnet").load()
    assert "  - conv1" in str(caught.value)
    assert "blocks.0.0.bn1.weight" in str(caught.value)
    assert "layer4.0.bn1.running_var" in str(caught.value)


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


def test_weights_under_other_names_are_renamed(tmp_path: Path):
    state = timm.create_model("test_efficientnet", num_classes=3).state_dict()
    other = {name.replace("blocks.", "stages.s").replace("classifier", "fc"): value for name, value in state.items()}
    save_file(other, tmp_path / "w.safetensors")
    rules = {"fc": "classifier", r"stages\.s(\d+)": r"blocks.\1"}
    (tmp_path / "map.json").write_text(json.dumps(rules))
    for rename in (rules, str(tmp_path / "map.json")):
        backbone = File(str(tmp_path / "w.safetensors"), ARCHITECTURE, rename=rename).load()
        assert backbone.head.out_features == 3
        assert torch.equal(backbone.module.network.blocks[0][0].conv.weight, state["blocks.0.0.conv.weight"])
    spec = f"file/{tmp_path}/w.safetensors?architecture={ARCHITECTURE}&rename.fc=classifier&rename.conv_head=null"
    assert registry.build("sources", spec).rename == {"fc": "classifier", "conv_head": None}


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path):
    state = timm.create_model("test_efficientnet", num_classes=3).state_dict()
    state["conv_stem.weight"][0] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"not finite numbers: conv_stem\.weight"):
        File(str(tmp_path / "w.safetensors"), ARCHITECTURE).load()


def test_a_truncated_file_is_named(checkpoint: Path):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5000])
    with pytest.raises(WeightsError, match=r"w\.safetensors is damaged"):
        File(str(checkpoint), ARCHITECTURE).load()


@torch.no_grad()
def test_channels_come_in_the_order_of_the_network(checkpoint: Path):
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    whole = timm.create_model("test_efficientnet", num_classes=7, checkpoint_path=str(checkpoint)).eval()
    backbone = File(str(checkpoint), ARCHITECTURE, mean=mean, std=std, channels="BGR").load()
    batch = _batch(backbone)
    blue_first = (batch.flip(1) / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    outputs = backbone.head(backbone.module.eval()(batch))
    torch.testing.assert_close(outputs, whole(blue_first), rtol=1e-4, atol=1e-5)
    assert backbone.preprocess.mean == (0.3, 0.2, 0.1)
    assert all(name.startswith(backbone.stages) for name, _ in backbone.module.named_parameters())
    again = File("w.pt").rebuild(backbone.files)
    again.module.load_state_dict(backbone.module.state_dict())
    assert torch.equal(again.module.eval()(batch), backbone.module.eval()(batch))
    with pytest.raises(RequestError, match="channels is 'GBR'"):
        File(str(checkpoint), ARCHITECTURE, channels="GBR").load()


@torch.no_grad()
def test_own_outputs_are_kept_where_they_are_no_layer_on_the_features(tmp_path: Path):
    torch.save(torchvision.models.squeezenet1_1(num_classes=4).state_dict(), tmp_path / "w.pt")
    for channels in ("RGB", "BGR"):
        backbone = File(str(tmp_path / "w.pt"), "torchvision/squeezenet1_1", size=64, channels=channels).load()
        assert backbone.head is None
        assert backbone.outputs(_batch(backbone)).shape == (2, 4)
        assert backbone.card.outputs == 4
    none = File(str(tmp_path / "w.pt"), "torchvision/squeezenet1_1", size=64, head="none").load()
    assert none.outputs is None
    assert none.card.outputs == 0


OWN = str(Path(__file__).with_name("nets.py"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    state = factories.resolve(f"{OWN}:small")({"width": 6, "num_classes": 9}).state_dict()
    torch.save({"net_state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "own.pth")
    return tmp_path / "own.pth"


@torch.no_grad()
def test_a_network_of_ones_own_is_normalised_pooled_and_split(own: Path):
    backbone = File(str(own), f"{OWN}:small", {"width": 6}, size=40).load()
    state = torch.load(own, weights_only=True)["net_state_dict"]
    whole = factories.resolve(f"{OWN}:small")({"width": 6, "num_classes": 9}).eval()
    whole.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    batch = _batch(backbone)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    outputs = backbone.head(backbone.module.eval()(batch))
    torch.testing.assert_close(outputs, whole((batch / 255 - mean) / std), rtol=1e-4, atol=1e-5)
    assert (backbone.dim, backbone.card.outputs, tuple(batch.shape)) == (6, 9, (2, 3, 40, 40))
    assert backbone.preprocess.crop == 1.0
    assert any("fc was taken" in note for note in backbone.card.notes)
    assert any("net_state_dict" in note for note in backbone.card.notes)


def test_own_networks_keep_the_contract(own: Path):
    pictures = [np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8) for seed in range(3)]
    for extra in ({}, {"channels": "BGR"}, {"head": "none"}):
        options = {"width": 6, "num_classes": 9}
        check_source(File(str(own), f"{OWN}:small", options, size=32, **extra), ImageExamples(pictures))


def test_an_own_network_starts_again_as_its_author_lets_it(own: Path):
    backbone = File(str(own), f"{OWN}:small", {"width": 6}, size=32).load()
    loaded = backbone.module.network.network.features[0].weight.detach().clone()
    weights = [fresh(backbone.module, seed).network.network.features[0].weight.detach().clone() for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], loaded)


def test_a_trunk_of_ones_own_has_its_head_reset_and_this_is_told(tmp_path: Path):
    state = factories.resolve(f"{OWN}:small")().state_dict()
    save_file({key: value for key, value in state.items() if "fc" not in key}, tmp_path / "w.safetensors")
    backbone = File(str(tmp_path / "w.safetensors"), f"{OWN}:small", size=32).load()
    assert (backbone.head, backbone.card.outputs) == (None, 0)
    assert "the checkpoint has no classifier: the network's own (fc) is reset and not used" in backbone.card.notes


def test_code_of_ones_own_that_cannot_be_says_so(own: Path):
    with pytest.raises(RequestError, match=r"nets\.py:\d+: ZeroDivisionError"):
        File(str(own), f"{OWN}:broken").load()
    with pytest.raises(UnknownNameError, match="Did you mean small"):
        File(str(own), f"{OWN}:smal").load()
    with pytest.raises(UnavailableError, match="there is no file"):
        File(str(own), "nowhere.py:small").load()
    with pytest.raises(RequestError, match="has no part 'linear'"):
        File(str(own), f"{OWN}:small", {"width": 6}, head="linear").load()
    with pytest.raises(RequestError, match=r"the head of timm/test_efficientnet is known"):
        File(str(own), ARCHITECTURE, head="fc").load()
    with pytest.raises(WeightsError, match=r"features\.0\.weight: the network \(8, "):
        File(str(own), f"{OWN}:small", {"num_classes": 9}).load()


def test_a_saved_model_runs_only_code_that_its_user_names(own: Path, tmp_path: Path):
    code = tmp_path / "code.py"
    code.write_text(Path(OWN).read_text())
    rows = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(12)]
    source = File(str(own), f"{code}:small", {"width": 6}, size=32)
    fitted = graft.Transfer(source, strategy=LinearProbe()).fit(rows, ["a", "b"] * 6)
    saved = fitted.save(tmp_path / "model")
    code.rename(tmp_path / "moved.py")
    with pytest.raises(BundleError, match=r"code that is not part of it: .*code\.py:small.*'width': 6"):
        graft.load(saved)
    loaded = graft.load(saved, code=f"{tmp_path}/moved.py:small")
    assert np.array_equal(loaded.predict_proba(rows), fitted.predict_proba(rows))
    with pytest.raises(BundleError, match="name it"):
        graft.load(saved, code=f"{tmp_path}/moved.py:maps")
    (tmp_path / "moved.py").write_text(Path(OWN).read_text() + "\n")
    with pytest.raises(BundleError, match="is not the code that the model was saved with"):
        graft.load(saved, code=f"{tmp_path}/moved.py:small")
    with pytest.raises(RequestError, match="names no code"):
        graft.load(saved, code="moved.py")


def test_the_commands_take_the_name_of_the_code(own: Path, tmp_path: Path):
    rows = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(12)]
    source = File(str(own), f"{OWN}:small", {"width": 6}, size=32)
    saved = graft.Transfer(source, strategy=LinearProbe()).fit(rows, ["a", "b"] * 6).save(tmp_path / "model")
    for place, row in enumerate(rows):
        (tmp_path / "rows" / "ab"[place % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(row).save(tmp_path / "rows" / "ab"[place % 2] / f"{place}.png")
    for command in ("predict", "evaluate"):
        given = [command, str(saved), str(tmp_path / "rows"), "--quiet"]
        assert CliRunner().invoke(app, given).exit_code == BundleError.exit_code
        assert CliRunner().invoke(app, [*given, "--code", f"{OWN}:small"]).exit_code == 0


REAL = {
    "mobilenetv2_100_imagenet.timm.safetensors": ("timm/mobilenetv2_100", {"pad_type": "same"}, 160, 1001),
    "mobilenetv2_100_inat_bird.timm.safetensors": ("timm/mobilenetv2_100", {"pad_type": "same"}, 160, 965),
    "mobilenetv1_050_160_imagenet.timm.safetensors": (
        "timm/mobilenetv1_100",
        {"pad_type": "same", "width": 0.5},
        160,
        1001,
    ),
    "mobilenetv1_025_224_imagenet_float.timm.safetensors": (
        "timm/mobilenetv1_100",
        {"pad_type": "same", "width": 0.25},
        160,
        1000,
    ),
    "squeezenet1_0_imagenet.torchvision.pt": ("torchvision/squeezenet1_0", {}, 224, 1000),
    "shufflenetv2_149k.pth": (f"{OWN}:shufflenet", {}, 160, 0),
}
HOW = {
    "squeezenet1_0_imagenet.torchvision.pt": {"mean": [123 / 255, 117 / 255, 104 / 255], "std": [1 / 255] * 3},
    "shufflenetv2_149k.pth": {"mean": [0, 0, 0], "std": [1, 1, 1], "channels": "BGR"},
}
KINDS = {"dog": range(151, 269), "elephant": (101, 385, 386), "guitar": (402, 546), "horse": (339, 603)}
"""Classes of ImageNet-1k that show what a folder of PACS does."""


def _real(name: str) -> Path:
    path = DATA / "weights" / name
    if not path.is_file():
        pytest.skip(f"{name} is not on this machine")
    return path


def _source(name: str) -> File:
    architecture, options, size, _ = REAL[name]
    how = HOW.get(name, {"mean": HALF, "std": HALF})
    return File(str(_real(name)), architecture, options, size=size, **how)


@pytest.fixture(scope="module")
def photos() -> tuple[list[Image.Image], np.ndarray, list[str]]:
    folder = DATA / "images" / "pacs_subset" / "photo"
    if not folder.is_dir():
        pytest.skip("the PACS subset is not on this machine")
    names = sorted(each.name for each in folder.iterdir() if each.is_dir())
    files = [(place, file) for place, name in enumerate(names) for file in sorted((folder / name).iterdir())[:16]]
    return [Image.open(file).convert("RGB") for _, file in files], np.array([place for place, _ in files]), names


@torch.no_grad()
def _run(backbone: Backbone, module: torch.nn.Module, rows: list[Image.Image]) -> np.ndarray:
    batch = backbone.preprocess.collate(backbone.preprocess.items(rows))
    return torch.cat([module.eval()(part) for part in batch.split(16)]).numpy()


@pytest.mark.parametrize("name", REAL)
def test_real_checkpoints_fit(name: str):
    backbone = _source(name).load()
    assert backbone.card.outputs == REAL[name][3]
    own = torch.nn.Sequential(backbone.module, backbone.head) if backbone.head is not None else backbone.outputs
    assert own is None or own(_batch(backbone)).shape == (2, REAL[name][3])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in REAL if REAL[name][3] in (1000, 1001)])
def test_real_checkpoints_name_what_photos_show(name: str, photos):
    images, labels, names = photos
    backbone = _source(name).load()
    own = torch.nn.Sequential(backbone.module, backbone.head) if backbone.head is not None else backbone.outputs
    rows = [image for image, label in zip(images, labels, strict=True) if names[label] in KINDS]
    kinds = [names[label] for label in labels if names[label] in KINDS]
    outputs = _run(backbone, own, rows)
    found = outputs.argmax(1) - (outputs.shape[1] == 1001)  # class 0 of 1001 is the background
    right = [place in KINDS[kind] for place, kind in zip(found, kinds, strict=True)]
    assert np.mean(right) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_features_tell_photos_apart_far_better_than_untrained_ones(name: str, photos):
    images, labels, _ = photos
    source = _source(name)
    backbone = source.load()
    learn = np.arange(len(images)) % 2 == 0
    accuracy = []
    for module in (backbone.module, fresh(source.load(weights=False).module, 0)):
        x = _run(backbone, module, images)
        x = (x - x.mean(0)) / (x.std(0) + 1e-6)
        probe = LogisticRegression(max_iter=300, C=0.01).fit(x[learn], labels[learn])
        accuracy.append(probe.score(x[~learn], labels[~learn]))
    assert accuracy[0] > 0.6
    assert accuracy[0] > accuracy[1] + 0.25


@torch.no_grad()
def test_a_real_squeezenet_gives_the_features_and_outputs_of_torchvision():
    backbone = _source("squeezenet1_0_imagenet.torchvision.pt").load()
    whole = torchvision.models.squeezenet1_0(weights=None).eval()
    whole.load_state_dict(torch.load(_real("squeezenet1_0_imagenet.torchvision.pt"), weights_only=True))
    batch = _batch(backbone)
    pixels = batch.float() - torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1)
    expected = whole.features(pixels).mean((2, 3))
    torch.testing.assert_close(backbone.module.eval()(batch), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(backbone.outputs.eval()(batch), whole(pixels), rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def cifar() -> tuple[list[Image.Image], np.ndarray]:
    """Fifty test images of each class, read off the archive's stream."""
    archive = DATA / "images" / "cifar10_jpg.tar.xz"
    if not archive.is_file():
        pytest.skip("the JPEG copy of CIFAR-10 is not on this machine")
    order = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    rows: list[Image.Image] = []
    labels: list[int] = []
    with tarfile.open(archive, "r|xz") as members:
        for each in members:
            parts = each.name.split("/")
            if each.isfile() and parts[1] == "test" and labels.count(place := order.index(parts[2])) < 50:
                rows.append(Image.open(io.BytesIO(members.extractfile(each).read())).convert("RGB"))
                labels.append(place)
            if len(rows) == 500:
                break
    return rows, np.array(labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "function", "top1"),
    [("cifar10_resnet20-12fca82f.th", "resnet20", 0.81), ("cifar10_resnet56-4bfd9763.th", "resnet56", 0.83)],
)
def test_real_networks_of_ones_own_reach_their_accuracy(name: str, function: str, top1: float, cifar):
    rows, labels = cifar
    backbone = File(str(_real(name)), f"{OWN}:{function}", size=32).load()
    outputs = _run(backbone, torch.nn.Sequential(backbone.module, backbone.head), rows)
    assert (outputs.argmax(1) == labels).mean() == pytest.approx(top1, abs=0.035)
    assert {"the prefix 'module.' was taken off the names"} <= set(backbone.card.notes)


MAPPED = {
    "timm, a list of parts": ("timm/test_efficientnet", None),
    "timm, a transformer": ("timm/test_vit", None),
    "timm, a transformer of another size": ("timm/test_vit", 96),
    "torchvision": ("torchvision/mobilenet_v3_small", 64),
    "a network of one's own": (f"{Path(__file__).with_name('nets.py')}:shufflenet", 64),
}


def _whole(architecture: str) -> torch.nn.Module:
    library, _, name = architecture.partition("/")
    if library == "timm":
        return timm.create_model(name)
    return torchvision.models.get_model(name) if library == "torchvision" else factories.resolve(architecture)()


@torch.no_grad()
@pytest.mark.parametrize("name", MAPPED)
def test_maps_have_the_weights_of_the_checkpoint(name: str, tmp_path: Path):
    architecture, size = MAPPED[name]
    torch.manual_seed(1)
    network = _whole(architecture)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    source = File(str(tmp_path / "w.safetensors"), architecture, size=size)
    maps, pooled = source.maps(), source.load()
    own = list(pooled.module.parameters())
    assert all(
        any(value.shape == each.shape and torch.equal(value, each) for each in own)
        for value in maps.module.parameters()
    )
    found, high = maps.module.eval()(_batch(maps)), maps.preprocess.size[0]
    assert [tuple(each.shape[1:3]) for each in found] == [
        (depth, high // stride) for depth, stride in zip(maps.channels, maps.strides, strict=True)
    ]
    assert list(maps.strides) == sorted(maps.strides)
    assert maps.card.name == "file/w.safetensors"
    assert len(maps.card.revision) == 64
    bare = source.maps(weights=False)
    assert (bare.channels, bare.strides, bare.card.pretraining) == (maps.channels, maps.strides, "none")
    assert not all(map(torch.equal, bare.module.parameters(), maps.module.parameters()))


@torch.no_grad()
def test_the_deepest_map_is_what_the_features_are_the_mean_of(tmp_path: Path):
    nets = Path(__file__).with_name("nets.py")
    save_file(factories.resolve(f"{nets}:shufflenet")().state_dict(), tmp_path / "w.safetensors")
    for channels in ("RGB", "BGR"):
        source = File(
            str(tmp_path / "w.safetensors"), f"{nets}:shufflenet", size=64, mean=[0.1, 0.2, 0.3], channels=channels
        )
        maps, pooled = source.maps(), source.load()
        batch = _batch(pooled)
        expected = pooled.module.eval()(batch)
        torch.testing.assert_close(maps.module.eval()(batch)[-1].mean((2, 3)), expected, rtol=1e-4, atol=1e-5)

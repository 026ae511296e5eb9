from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone

from graft.checks import check_source
from graft.data.examples import ImageExamples
from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.sources.timm import Timm

NAME = "test_efficientnet.r160_in1k"
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of its own, without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.fixture
def torch_home(tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where PyTorch keeps what it fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def _snapshot(hub: Path, name: str = NAME, owner: str = "timm") -> Path:
    folder = hub / f"models--{owner}--{name}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    return snapshot


@pytest.fixture
def cached(hub: Path) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    state = timm.create_model("test_efficientnet").state_dict()
    save_file(state, _snapshot(hub) / "model.safetensors")
    return state


def _batch(backbone) -> torch.Tensor:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 180, 3), dtype=np.uint8))
    return backbone.preprocess.collate(backbone.preprocess.items([image]))


@torch.no_grad()
def test_cached_weights_give_timms_outputs_without_a_network(cached: dict[str, torch.Tensor]):
    backbone = Timm("test_efficientnet").load()
    whole = timm.create_model("test_efficientnet").eval()
    whole.load_state_dict(cached)
    config = timm.data.resolve_model_data_config(whole)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    batch = timm.data.create_transform(**config, is_training=False)(image)[None]
    ours = backbone.preprocess.collate(backbone.preprocess.items([image]))
    torch.testing.assert_close(backbone.head(backbone.module.eval()(ours)), whole(batch), rtol=1e-3, atol=1e-3)


def test_the_card_tells_what_is_known(cached: dict[str, torch.Tensor]):
    card = Timm("test_efficientnet").load().card
    assert card.name == f"timm/{NAME}"
    assert card.revision == REVISION
    assert card.pretraining == "ImageNet-1k"
    assert card.licence == "apache-2.0"
    assert card.bytes > 0
    assert Timm.local() == (f"timm/{NAME}",)


def test_every_load_is_fresh_and_the_generator_goes_on_as_before(cached: dict[str, torch.Tensor]):
    source = clone(Timm("test_efficientnet"))
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first, second = source.load(), source.load()
    assert torch.equal(torch.rand(2), expected)
    assert first.module is not second.module
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != Timm("test_efficientnet", size=96).load().fingerprint
    assert source.get_params() == {"name": "test_efficientnet", "size": None}


@torch.no_grad()
def test_files_make_the_same_network_again(cached: dict[str, torch.Tensor]):
    backbone = Timm("test_efficientnet", size=[96, 128]).load()
    again = Timm("anything").rebuild(backbone.files)
    again.module.load_state_dict(backbone.module.state_dict())
    batch = _batch(backbone)
    assert batch.shape == (1, 3, 96, 128)
    assert torch.equal(again.module.eval()(batch), backbone.module.eval()(batch))
    assert (again.files, again.preprocess, again.stages) == (backbone.files, backbone.preprocess, backbone.stages)


@torch.no_grad()
def test_a_transformer_of_another_size_is_made_again():
    backbone = Timm("vit_tiny_patch16_224", size=64).load(weights=False)
    again = Timm("").rebuild(backbone.files)
    again.module.load_state_dict(backbone.module.state_dict())
    batch = _batch(backbone)
    assert torch.equal(again.module.eval()(batch), backbone.module.eval()(batch))


@pytest.mark.parametrize("files", [{}, {"architecture.json": b"["}, {"architecture.json": b"{}"}])
def test_damaged_files_are_named(files: dict[str, bytes]):
    with pytest.raises(BundleError, match=r"architecture\.json"):
        Timm("resnet18").rebuild(files)


def test_the_architecture_alone_needs_nothing(hub: Path):
    backbone = Timm("resnet18").load(weights=False)
    assert backbone.dim == 512
    assert backbone.fingerprint is None
    assert backbone.card.pretraining == "none"
    assert Timm("resnet18").reads() == "image"
    assert Timm.local() == ()


def test_absent_weights_name_the_command_that_fetches_them(hub: Path):
    with pytest.raises(UnavailableError, match=r"hf download timm/resnet18\.a1_in1k"):
        Timm("resnet18").load()


def _online(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., str]) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", answer)


def test_a_network_that_fails_is_no_traceback(hub: Path, monkeypatch: pytest.MonkeyPatch):
    for error in (ConnectionError("no route to host"), Exception("proxy refused"), LocalEntryNotFoundError("no hub")):

        def fail(*args: object, failing: Exception = error, **kwargs: object) -> str:
            raise failing

        _online(monkeypatch, fail)
        with pytest.raises(UnavailableError, match=f"{error}.*hf download"):
            Timm("resnet18").load()


def test_absent_weights_come_from_the_hub(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def answer(repository: str, file: str, revision: str | None) -> str:
        asked.append((repository, file, revision))
        if file != "pytorch_model.bin":
            raise EntryNotFoundError("no such file")
        torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "pytorch_model.bin")
        return str(tmp_path / "pytorch_model.bin")

    _online(monkeypatch, answer)
    assert len(Timm("test_efficientnet").load().card.revision) == 64
    assert asked[0] == (f"timm/{NAME}", "model.safetensors", None)


def test_a_repository_without_weights_is_an_error(hub: Path, monkeypatch: pytest.MonkeyPatch):
    def answer(*args: object, **kwargs: object) -> str:
        raise EntryNotFoundError("no such file")

    _online(monkeypatch, answer)
    with pytest.raises(UnavailableError, match=r"holds none of model\.safetensors"):
        Timm("resnet18").load()


def test_graft_offline_forbids_the_hub_too(hub: Path, monkeypatch: pytest.MonkeyPatch):
    _online(monkeypatch, lambda *args, **kwargs: pytest.fail("the network was used"))
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    with pytest.raises(UnavailableError, match="GRAFT_OFFLINE is set"):
        Timm("resnet18").load()


def test_weights_that_are_on_no_hub_come_from_the_web(torch_home: Path):
    with pytest.raises(UnavailableError, match=r"curl -L -o \S+checkpoints/seresnet18-4bb0ce65\.pth .*https://github"):
        Timm("legacy_seresnet18").load()
    torch.manual_seed(0)
    state = timm.create_model("legacy_seresnet18").state_dict()
    torch.save(state, torch_home / "seresnet18-4bb0ce65.pth")
    backbone = Timm("legacy_seresnet18").load()
    assert torch.equal(backbone.module.network.layer0.conv1.weight, state["layer0.conv1.weight"])
    assert len(backbone.card.revision) == 64
    assert "timm/legacy_seresnet18.in1k" in Timm.local()


def test_weights_of_another_network_are_an_error(hub: Path):
    save_file({"a": torch.ones(1)}, _snapshot(hub) / "model.safetensors")
    with pytest.raises(WeightsError, match=r"timm/test_efficientnet\.r160_in1k do not fit"):
        Timm("test_efficientnet").load()


class _Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def test_weights_that_are_no_numbers_are_refused(hub: Path):
    state = timm.create_model("test_efficientnet").state_dict()
    state["conv_stem.weight"][0, 0, 0, 0] = float("nan")
    save_file(state, _snapshot(hub) / "model.safetensors")
    with pytest.raises(WeightsError, match=r"not finite numbers: conv_stem\.weight"):
        Timm("test_efficientnet").load()


def test_weights_that_timm_would_let_be_missing_are_an_error(hub: Path):
    state = timm.create_model("dla46x_c").state_dict()
    del state["level5.tree1.bn1.weight"]
    save_file(state, _snapshot(hub, "dla46x_c.in1k") / "model.safetensors")
    with pytest.raises(WeightsError, match=r"lack level5\.tree1\.bn1\.weight"):
        Timm("dla46x_c").load()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_in_the_cache_is_never_run(hub: Path):
    canary = hub / "canary"
    (_snapshot(hub) / "pytorch_model.bin").write_bytes(pickle.dumps(_Payload(canary)))
    with pytest.raises(WeightsError):
        Timm("test_efficientnet").load()
    assert not canary.exists()


def test_names_that_do_not_exist_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="resnet18"):
        Timm("resnt18").load()
    with pytest.raises(UnknownNameError, match="vit_tiny_patch16_224"):
        Timm("vit_tiny_patch16_224_in21k").load()
    with pytest.raises(UnknownNameError, match=r"resnet18\.a1_in1k"):
        Timm("resnet18.a1_in1").load()
    with pytest.raises(RequestError, match="no weights"):
        Timm("mobilenetv2_035").load()


@pytest.mark.parametrize("size", [0, [1, 2, 3], [10, -1], "big"])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(RequestError, match="image size"):
        Timm("resnet18", size=size).load(weights=False)


def test_it_keeps_the_contract(cached: dict[str, torch.Tensor]):
    pictures = [np.full((40, 50, 3), place * 60, np.uint8) for place in range(3)]
    check_source(Timm("test_efficientnet", size=64), ImageExamples(pictures))


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_resnet.r160_in1k", "test_vit.r160_in1k", "test_convnext.r160_in1k"])
@pytest.mark.parametrize("size", [None, 96])
def test_maps_have_the_weights_and_the_shapes_that_are_stated(hub: Path, name: str, size: int | None):
    torch.manual_seed(1)
    save_file(timm.create_model(name).state_dict(), _snapshot(hub, name) / "model.safetensors")
    maps, pooled = Timm(name, size=size).maps(), Timm(name, size=size).load()
    own = list(pooled.module.parameters())
    for value in maps.module.parameters():
        assert any(value.shape == other.shape and torch.equal(value, other) for other in own)
    batch = _batch(maps)
    found = maps.module.eval()(batch)
    assert [each.shape[1] for each in found] == list(maps.channels)
    high = maps.preprocess.size[0]
    assert [each.shape[2] for each in found] == [high // stride for stride in maps.strides]
    assert maps.card.name == f"timm/{name}"
    assert list(maps.strides) == sorted(maps.strides)


@torch.no_grad()
def test_outputs_that_are_no_layer_on_the_features_are_timms(hub: Path):
    torch.manual_seed(1)
    whole = timm.create_model("deit_tiny_distilled_patch16_224").eval()
    save_file(whole.state_dict(), _snapshot(hub, "deit_tiny_distilled_patch16_224.fb_in1k") / "model.safetensors")
    backbone = Timm("deit_tiny_distilled_patch16_224").load()
    assert backbone.head is None
    assert backbone.card.outputs == 1000
    batch = _batch(backbone)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.preprocess.mean, backbone.preprocess.std))
    expected = whole((batch / 255 - mean) / std)
    torch.testing.assert_close(backbone.outputs.eval()(batch), expected, rtol=1e-4, atol=1e-4)


STRANGE = {
    "architecture": "test_vit",
    "num_classes": 7,
    "model_args": {"global_pool": "avg", "class_token": True},
    "pretrained_cfg": {
        "input_size": [3, 96, 96],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "license": "mit",
        "url": "https://example.org/evil.pth",
        "file": "/etc/passwd",
        "custom_load": True,
    },
}


def _strange(hub: Path, **changed: Any) -> Path:
    snapshot = _snapshot(hub, "own", "someone")
    (snapshot / "config.json").write_text(json.dumps({**STRANGE, **changed}))
    return snapshot


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["hf-hub", "hf_hub"])
def test_a_repository_of_anybody(hub: Path, prefix: str):
    torch.manual_seed(2)
    whole = timm.create_model("test_vit", num_classes=7, global_pool="avg", img_size=96).eval()
    save_file(whole.state_dict(), _strange(hub) / "model.safetensors")
    source = Timm(f"{prefix}:someone/own")
    backbone = source.load()
    assert (backbone.preprocess.size, backbone.preprocess.mean[0]) == ((96, 96), 0.5)
    assert (backbone.card.licence, backbone.card.outputs, backbone.card.revision) == ("mit", 7, REVISION)
    batch = _batch(backbone)
    expected = whole((batch / 255 - 0.5) / 0.5)
    torch.testing.assert_close(backbone.head(backbone.module.eval()(batch)), expected, rtol=1e-4, atol=1e-5)
    again = source.rebuild(backbone.files)
    again.module.load_state_dict(backbone.module.state_dict())
    assert torch.equal(again.module.eval()(batch), backbone.module(batch))
    assert source.maps().module.eval()(batch)[0].shape == (1, 64, 6, 6)
    assert source.load(weights=False).dim == backbone.dim
    assert Timm.local() == ("timm/hf-hub:someone/own",)


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"architecture": "os.system"}, UnknownNameError, "architecture"),
        ({"architecture": None}, WeightsError, "names no architecture"),
        ({"model_args": {"checkpoint_path": "/x"}}, RequestError, "checkpoint_path"),
        ({"model_args": {"act_layer": "a b"}}, WeightsError, "act_layer='a b'"),
        ({"model_args": {"reg_tokens": 10**9}}, RequestError, "reg_tokens=1000000000"),
        ({"model_args": {"act_layer": {"a": 1}}}, WeightsError, "expected a word"),
        ({"model_args": {"in_chans": 4}}, WeightsError, "other images than RGB"),
        ({"model_args": [1]}, WeightsError, "no JSON objects"),
        ({"num_classes": 10**9}, WeightsError, "num_classes=1000000000"),
        ({"pretrained_cfg": {"mean": [1, 2]}}, WeightsError, "three numbers"),
        ({"pretrained_cfg": {"input_size": [3, 10**6, 1]}}, WeightsError, "input_size"),
        ({"pretrained_cfg": {"interpolation": "magic"}}, WeightsError, "bilinear"),
    ],
)
def test_what_a_strangers_configuration_may_not_say(hub: Path, changed: dict[str, Any], error: type, says: str):
    _strange(hub, **changed)
    with pytest.raises(error, match=says):
        Timm("hf-hub:someone/own").load()
    assert Timm.local() == ()


def test_a_strangers_repository_that_is_not_here(hub: Path):
    with pytest.raises(UnavailableError, match="hf download someone/else"):
        Timm("hf-hub:someone/else").load()
    with pytest.raises(RequestError, match="names no repository"):
        Timm("hf-hub:someone").load()
    with pytest.raises(RequestError, match="is not read"):
        Timm("local-dir:/tmp").load()


def test_a_strangers_repository_without_a_configuration(hub: Path, monkeypatch: pytest.MonkeyPatch):
    def answer(*args: object, **kwargs: object) -> str:
        raise EntryNotFoundError("no such file")

    _online(monkeypatch, answer)
    with pytest.raises(WeightsError, match=r"no config\.json"):
        Timm("hf-hub:someone/own").load()

from __future__ import annotations

import pickle
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone

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


def _snapshot(hub: Path, name: str = NAME) -> Path:
    folder = hub / f"models--timm--{name}"
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


def test_a_network_that_fails_is_no_traceback(hub: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for error in (ConnectionError("no route to host"), Exception("proxy refused")):

        def fail(*args: object, failing: Exception = error, **kwargs: object) -> None:
            raise failing

        monkeypatch.setattr(timm, "create_model", fail)
        with pytest.raises(UnavailableError, match=f"{error}.*hf download"):
            Timm("resnet18").load()


def test_weights_that_vanish_after_fetching_are_an_error(hub: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: torch.nn.Identity())
    with pytest.raises(UnavailableError, match="not in the cache"):
        Timm("resnet18").load()


def test_weights_of_another_network_are_an_error(hub: Path):
    save_file({"a": torch.ones(1)}, _snapshot(hub) / "model.safetensors")
    with pytest.raises(WeightsError, match=r"timm/test_efficientnet\.r160_in1k do not fit"):
        Timm("test_efficientnet").load()


class _Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


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
    with pytest.raises(UnknownNameError, match=r"resnet18\.a1_in1k"):
        Timm("resnet18.a1_in1").load()
    with pytest.raises(RequestError, match="no weights"):
        Timm("mobilenetv2_035").load()


@pytest.mark.parametrize("size", [0, [1, 2, 3], [10, -1], "big"])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(RequestError, match="image size"):
        Timm("resnet18", size=size).load(weights=False)

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits

import graft.sources.graft as module
from graft import registry
from graft.checks import check_source
from graft.data.examples import ImageExamples
from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.estimator import Transfer
from graft.nn.initialise import fresh
from graft.nn.state_files import read_state
from graft.sources.graft import Graft
from graft.storage import file_sha256
from graft.strategies.linear_probe import LinearProbe

WEIGHTS = Path(module.__file__).parents[1] / "weights"


def _images(n: int = 3) -> list[Image.Image]:
    return [
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)) for seed in range(n)
    ]


def _batch(backbone, n: int = 2) -> torch.Tensor:
    return backbone.preprocess.collate(backbone.preprocess.items(_images(n)))


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of weights, which a test may spoil."""
    for file in WEIGHTS.glob("tiny.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    return tmp_path


def test_it_keeps_the_contract():
    check_source(Graft("tiny", size=32), ImageExamples([np.asarray(image) for image in _images()]))


def test_the_spec_loads_it():
    assert registry.build("sources", "graft/tiny?size=48").load().preprocess.size == (48, 48)
    assert "graft/tiny" in Graft.local()
    assert clone(Graft("tiny", 96)).get_params() == {"name": "tiny", "size": 96}


def test_the_card_describes_the_file():
    path = WEIGHTS / "tiny.safetensors"
    stated = json.loads(path.with_suffix(".json").read_text())
    card = Graft("tiny").load().card
    assert file_sha256(path) == stated["sha256"] == card.revision
    assert card.bytes == path.stat().st_size <= 4_000_000
    assert stated["parameters"] == card.parameters <= 1_000_000
    assert stated["flops"] == card.flops
    assert card.licence == "Apache-2.0"
    assert "CIFAR-10" in card.pretraining
    assert card.outputs == 0
    assert not any("num_batches_tracked" in name for name in read_state(path))


def test_flops_grow_with_the_area():
    small, large = (Graft("tiny", size=size).load(weights=False).card.flops for size in (32, 128))
    assert large == 16 * small


@torch.no_grad()
def test_files_make_the_same_network_again():
    backbone = Graft("tiny", size=96).load()
    again = Graft("tiny").rebuild(backbone.files)
    again.module.load_state_dict(backbone.module.state_dict())
    batch = _batch(backbone)
    assert batch.shape == (2, 3, 96, 96)
    assert torch.equal(backbone.module.eval()(batch), again.module.eval()(batch))
    assert again.preprocess == backbone.preprocess
    assert again.fingerprint is None
    assert backbone.fingerprint != Graft("tiny", size=64).load().fingerprint


@torch.no_grad()
def test_maps_are_those_of_the_features():
    backbone, maps = Graft("tiny").load(), Graft("tiny").maps()
    batch = _batch(backbone)
    found = maps.module.eval()(batch)
    assert [each.shape[1] for each in found] == list(maps.channels)
    assert [64 // each.shape[2] for each in found] == list(maps.strides)
    torch.testing.assert_close(found[-1].mean((2, 3)), backbone.module.eval()(batch)[:, : maps.channels[-1]])
    bare = Graft("tiny").maps(weights=False)
    assert bare.card.pretraining == "none"
    assert not torch.equal(bare.module.eval()(batch)[-1], found[-1])


def test_the_untrained_twin_has_none_of_the_weights():
    backbone = Graft("tiny").load()
    before = {name: value.clone() for name, value in backbone.module.named_parameters()}
    fresh(backbone.module, 0)
    assert all(not torch.equal(value, before[name]) for name, value in backbone.module.named_parameters())


def test_few_digits_suffice():
    digits = load_digits()
    images = list(np.round(digits.images * (255 / 16)).astype(np.uint8))
    rows = np.random.default_rng(0).permutation(len(images))
    train, test = rows[:100], rows[100:500]
    model = Transfer(Graft("tiny"), strategy=LinearProbe(), device="cpu", precision="float32", cache=False)
    model.fit([images[row] for row in train], digits.target[train])
    assert model.score([images[row] for row in test], digits.target[test]) > 0.85


@pytest.mark.parametrize("size", [31, 129, 64.0, "64"])
def test_a_size_that_it_does_not_take(size: object):
    with pytest.raises(RequestError, match="from 32 to 128"):
        Graft("tiny", size=size).load()  # type: ignore[arg-type]


def test_a_name_that_it_does_not_know():
    with pytest.raises(UnknownNameError, match="tiny"):
        Graft("tinny").load()


@pytest.mark.parametrize("files", [{}, {"architecture.json": b"{"}, {"architecture.json": b"[]"}])
def test_files_that_do_not_describe_it(files: dict[str, bytes]):
    with pytest.raises(BundleError, match=r"architecture\.json"):
        Graft("tiny").rebuild(files)


def test_files_of_another_network():
    with pytest.raises(BundleError, match="graft/large"):
        Graft("tiny").rebuild({"architecture.json": b'{"name": "graft/large"}'})


def test_other_weights_than_the_card_names(damaged: Path):
    card = damaged / "tiny.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "sha256": "0" * 64}))
    with pytest.raises(WeightsError, match="install Graft again"):
        Graft("tiny").load()


def test_weights_that_end_too_early(damaged: Path):
    file = damaged / "tiny.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        Graft("tiny").load()


@pytest.mark.parametrize("text", [None, "{", "{}"])
def test_no_card_beside_the_weights(damaged: Path, text: str | None):
    card = damaged / "tiny.json"
    card.unlink() if text is None else card.write_text(text)
    with pytest.raises(UnavailableError, match=r"tiny\.json"):
        Graft("tiny").load()

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import graft
from graft import registry
from graft.checks import check_source
from graft.data.examples import ImageExamples, TableExamples, TextExamples
from graft.errors import BundleError, RequestError, UnknownNameError
from graft.nn.factories import resolve
from graft.nn.initialise import fresh
from graft.sources.module import Module
from graft.sources.several import Several
from graft.strategies.linear_probe import LinearProbe

NETS = str(Path(__file__).with_name("nets.py"))
RANDOM = np.random.default_rng(0)
PICTURES = [RANDOM.integers(0, 200, (40, 48, 3), dtype=np.uint8) + np.uint8(50 * (place % 2)) for place in range(12)]
LABELS = ["odd", "even"] * 6
ROWS = RANDOM.normal(size=(12, 2)).astype(np.float32)


def _network(seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return resolve(f"{NETS}:small")()


class Letters:
    """A transform with a description of its own."""

    def __call__(self, text: str) -> torch.Tensor:
        return torch.tensor([float(text.count(letter)) for letter in "abcd"])

    def __repr__(self) -> str:
        return "Letters()"


@torch.no_grad()
def test_it_gives_what_the_module_gives():
    network = _network().eval()
    backbone = Module(network, size=32, mean=[0.5, 0.4, 0.3], std=[0.2, 0.2, 0.3]).load()
    batch = backbone.preprocess.collate(backbone.preprocess.items([ImageExamples(PICTURES)[0]]))
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.2, 0.3]).view(3, 1, 1)
    outputs = backbone.head(backbone.module.eval()(batch))
    torch.testing.assert_close(outputs, network((batch / 255 - mean) / std), rtol=1e-4, atol=1e-5)
    assert (backbone.dim, backbone.card.outputs, backbone.card.modality) == (8, 5, "image")
    assert isinstance(network.fc, nn.Linear)


@pytest.mark.parametrize(
    ("source", "examples"),
    [
        (Module(_network(), size=32, factory=f"{NETS}:small"), ImageExamples(PICTURES)),
        (Module(f"{NETS}:maps", size=32), ImageExamples(PICTURES)),
        (Module(nn.Linear(2, 3), modality="table", head="none", factory=f"{NETS}:pair"), TableExamples(ROWS)),
    ],
    ids=["images", "by name", "table"],
)
def test_it_keeps_the_contract(source: Module, examples):
    check_source(source, examples)


def test_every_load_is_a_copy_and_the_module_stays():
    network = _network()
    before = copy.deepcopy(network.state_dict())
    source = clone(Module(network, size=32))
    first, second = source.load(), source.load()
    with torch.no_grad():
        for value in first.module.parameters():
            value.zero_()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(second.module.network.network.features[0].weight, before["features.0.weight"])


def test_without_weights_it_is_drawn_anew():
    network = _network()
    backbone = Module(network, size=32).load(weights=False)
    weight = backbone.module.network.network.features[0].weight
    assert not torch.equal(weight, network.features[0].weight)
    assert (backbone.fingerprint, backbone.card.pretraining) == (None, "none")
    drawn = [fresh(backbone.module, seed).network.network.features[0].weight.detach().clone() for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_fingerprint_names_weights_preprocessing_and_what_the_code_does():
    class Other(type(_network())):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(2 * x)

    other = Other()
    other.load_state_dict(_network().state_dict())
    sources = [Module(_network(), size=32), Module(_network(4), size=32), Module(_network(), size=40)]
    prints = [source.load().fingerprint for source in [*sources, Module(other, size=32)]]
    assert len({*prints, None}) == 5
    assert Module(_network(), size=32).load().fingerprint == prints[0]
    assert Module(nn.Linear(4, 2), Letters(), "text").load().fingerprint is None


def test_texts_and_tables_and_sounds_go_through_a_transform():
    texts = [f"{'ab' if place % 2 else 'cd'} {place}" for place in range(12)]
    fitted = graft.Transfer(Module(nn.Linear(4, 8), Letters(), "text"), strategy=LinearProbe()).fit(texts, LABELS)
    assert (fitted.predict(texts) == LABELS).all()
    check_source(
        Module(nn.Linear(2, 3), lambda row: torch.as_tensor(row)[:2], "table", factory=f"{NETS}:pair"),
        TableExamples(ROWS),
    )
    assert Module(nn.Linear(8, 4), lambda sound: torch.from_numpy(sound.samples[:8]), "audio").load().dim == 4


def test_a_dictionary_of_tensors_is_a_batch():
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.numbers = nn.EmbeddingBag(9, 4), nn.Linear(2, 4)

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.words(batch["words"]) + self.numbers(batch["numbers"])

    def split(text: str) -> dict[str, torch.Tensor]:
        return {"words": torch.tensor([len(text) % 9, 1]), "numbers": torch.tensor([1.0, 2.0])}

    backbone = Module(Sums(), split, "text", head="none").load()
    batch = backbone.preprocess.collate(backbone.preprocess.items(TextExamples(["a", "bb"])))
    assert backbone.module(batch).shape == (2, 4)


def test_a_saved_model_needs_a_function_and_its_user_to_name_it(tmp_path: Path):
    network = _network()
    nameless = graft.Transfer(Module(network, size=32), strategy=LinearProbe()).fit(PICTURES, LABELS)
    with pytest.raises(RequestError, match="give the function that makes it"):
        nameless.save(tmp_path / "model")
    source = Module(network, size=32, factory=f"{NETS}:small")
    fitted = graft.Transfer(source, strategy=LinearProbe()).fit(PICTURES, LABELS)
    saved = fitted.save(tmp_path / "model")
    with pytest.raises(BundleError, match=r"code that is not part of it.*nets\.py:small"):
        graft.load(saved)
    loaded = graft.load(saved, code=f"{NETS}:small")
    assert np.array_equal(loaded.predict_proba(PICTURES), fitted.predict_proba(PICTURES))


def test_a_transform_is_made_by_the_function_too(tmp_path: Path):
    source = Module(f"{NETS}:pair", modality="table", head="none")
    fitted = graft.Transfer(source, strategy=LinearProbe()).fit(ROWS, LABELS)
    saved = fitted.save(tmp_path / "model")
    loaded = graft.load(saved, code=[f"{NETS}:pair"])
    assert np.array_equal(loaded.predict_proba(ROWS), fitted.predict_proba(ROWS))


def test_it_stands_beside_others(tmp_path: Path):
    source = Several([Module(f"{NETS}:small", size=32), Module(_network(), size=32, factory=f"{NETS}:small")])
    saved = graft.Transfer(source, strategy=LinearProbe()).fit(PICTURES, LABELS).save(tmp_path / "model")
    with pytest.raises(BundleError, match="not part of it"):
        graft.load(saved)
    assert graft.load(saved, code=f"{NETS}:small").predict(PICTURES).shape == (12,)


def test_a_spec_names_it():
    source = registry.build("sources", f"module/{NETS}:small?size=32")
    assert registry.restore("sources", registry.spec(source)).module == f"{NETS}:small"
    assert registry.title(source) == f"module/{NETS}:small?size=32"
    assert registry.title(Module(_network())) == "Module"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Module(), "module is None; give an nn.Module"),
        (Module(nn.Flatten(), size=32), "no weights at all"),
        (Module(nn.Linear(3, 2), modality="smell"), "modality is 'smell'"),
        (Module(nn.Linear(3, 2), modality="text"), "makes no tensor without a transform"),
        (Module(nn.Linear(3, 2), Letters(), "text"), "fails at"),
        (Module(_network(), size=32, head="linear"), "has no part 'linear'"),
        (Module(f"{NETS}:nothing"), "returns NoneType"),
        (Module(f"{NETS}:broken_pair"), "expected a function"),
        (Module("nets"), "names no code"),
    ],
)
def test_what_cannot_be_says_so(source: Module, reason: str):
    with pytest.raises(RequestError, match=reason):
        source.load()


def test_a_function_that_is_not_there_is_named():
    with pytest.raises(UnknownNameError, match="small"):
        Module(f"{NETS}:smal").load()


def test_code_that_nobody_named_is_not_run(tmp_path: Path):
    (tmp_path / "nets.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()")
    sha256 = hashlib.sha256((tmp_path / "nets.py").read_bytes()).hexdigest()
    described = {"factory": f"{tmp_path}/nets.py:make", "sha256": sha256, "head": None}
    forged = Module(f"{tmp_path}/nets.py:make")  # as a forged manifest describes it
    with pytest.raises(BundleError, match="not part of it"):
        forged.rebuild({"module.json": json.dumps(described).encode()})
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("files", [{}, {"module.json": b"{"}, {"module.json": b'{"factory": "nets.py:small"}'}])
def test_damaged_files_are_named(files: dict[str, bytes]):
    with pytest.raises(BundleError, match=r"module\.json"):
        Module(f"{NETS}:small").rebuild(files)


@torch.no_grad()
def test_maps_are_what_its_parts_give():
    network = _network().eval()
    source = Module(network, size=32)
    maps, pooled = source.maps(), source.load()
    batch = pooled.preprocess.collate(pooled.preprocess.items([ImageExamples(PICTURES)[0]]))
    found = maps.module.eval()(batch)
    assert (maps.channels, maps.strides) == ((8,), (2,))
    assert found[0].shape == (1, 8, 16, 16)
    torch.testing.assert_close(found[0].mean((2, 3)), pooled.module.eval()(batch))
    assert maps.card.revision is not None
    bare = Module(network, size=32).maps(weights=False)
    assert not torch.equal(bare.module.eval()(batch)[0], found[0])
    assert bare.card.pretraining == "none"


@torch.no_grad()
def test_maps_of_a_network_with_a_transform():
    def shrink(image):
        return torch.from_numpy(np.asarray(image.resize((24, 24)), np.float32)).permute(2, 0, 1) / 255

    maps = Module(_network(), shrink).maps()
    items = maps.preprocess.items([ImageExamples(PICTURES)[0]])
    assert maps.module.eval()(maps.preprocess.collate(items))[0].shape == (1, 8, 12, 12)


def test_a_network_without_maps_says_so():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    with pytest.raises(RequestError, match=r"the module Sequential gives no feature maps: no part of it gives"):
        Module(flat, size=32, head="none").maps()
    with pytest.raises(RequestError, match=r"takes no images .*, so it gives no feature maps"):
        Module(nn.Linear(2, 3), modality="table", head="none").maps()

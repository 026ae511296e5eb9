from __future__ import annotations

import numpy as np
import pytest
import torch

import graft
from graft import registry
from graft.checks import check_source
from graft.contracts import Machine
from graft.data.examples import ImageExamples, TableExamples, TextExamples
from graft.errors import RequestError
from graft.features import extract
from graft.sources.columns import Columns
from graft.sources.pixels import Pixels
from graft.sources.several import Several
from graft.sources.tfidf import Tfidf

RANDOM = np.random.default_rng(0)
IMAGES = ImageExamples(list(RANDOM.integers(0, 255, (7, 20, 24, 3)).astype(np.uint8)))
ROWS = TableExamples(RANDOM.normal(size=(9, 3)).astype(np.float32))


def test_it_keeps_the_contract() -> None:
    check_source(Several([Pixels(4), Pixels(8)]), IMAGES)
    check_source(Several([Columns(), Columns()]), ROWS)


@pytest.mark.parametrize("normalise", [True, False])
def test_features_are_those_of_each_end_to_end(normalise: bool) -> None:
    parts = [extract(Pixels(size).load(), IMAGES, machine=Machine()) for size in (4, 8)]
    if normalise:
        parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    together = extract(Several([Pixels(4), Pixels(8)], normalise).load(), IMAGES, machine=Machine())
    np.testing.assert_allclose(together, np.concatenate(parts, axis=1), rtol=1e-5)


def test_a_plus_takes_sources_together() -> None:
    source = registry.build("sources", "pixels?size=4 + pixels?size=8")
    assert isinstance(source, Several)
    assert source.load().dim == 3 * (16 + 64)
    assert source.load().card.name == "pixels + pixels"


def test_the_network_trains_in_order_of_depth(checkpoints: tuple[str, str]) -> None:
    backbone = registry.build("sources", " + ".join(checkpoints)).load(weights=False)
    stages = backbone.stages
    assert stages.index("parts.0.network.conv1") < stages.index("parts.1.network.layer2")
    assert stages.index("parts.1.network.conv1") < stages.index("parts.0.network.layer2")
    items = backbone.preprocess.items([IMAGES[0], IMAGES[1]], seeds=[1, 2])
    backbone.module(backbone.preprocess.collate(items)).sum().backward()
    assert all(value.grad is not None for value in backbone.module.parameters())


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    import timm
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), folder / f"{seed}.safetensors")
    first, second = (f"file/{folder}/{seed}.safetensors?architecture=timm/resnet10t&size=32" for seed in (0, 1))
    return first, second


def test_a_model_of_several_sources_saves_and_loads(tmp_path: object) -> None:
    labels = ["odd", "even"] * 60
    pictures = [RANDOM.integers(0, 99, (8, 8, 3)).astype(np.uint8) + np.uint8(99 * (place % 2)) for place in range(120)]
    result = graft.fit((pictures, labels), source="pixels?size=4 + pixels?size=8", controls=["majority"])
    result.save(f"{tmp_path}/model")
    loaded = graft.load(f"{tmp_path}/model")
    assert np.array_equal(loaded.predict_proba(pictures), result.model.predict_proba(pictures))
    assert loaded.card.name == "pixels + pixels"


def test_one_source_is_not_several() -> None:
    with pytest.raises(RequestError, match="two or more"):
        Several([Pixels()]).load()
    with pytest.raises(RequestError, match="two or more"):
        Several([Pixels(), "pixels"]).reads()


def test_sources_of_two_modalities_are_refused() -> None:
    with pytest.raises(RequestError, match="image and table cannot be taken together"):
        Several([Pixels(), Columns()]).reads()


def test_words_are_too_wide() -> None:
    with pytest.raises(RequestError, match="too many to stand beside"):
        Several([Tfidf(), Tfidf()]).load().learn(TextExamples(["a b", "b c"]))  # type: ignore[misc]

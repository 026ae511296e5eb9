"""A saved model as the source of the next."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import graft
from graft import manifest, registry
from graft.checks import check_source, check_strategy
from graft.contracts import Backbone
from graft.data.cells import objects
from graft.data.examples import ImageExamples, TableExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.data.schema import Schema
from graft.errors import BundleError, RequestError
from graft.sources.columns import Columns
from graft.sources.fitted import Fitted
from graft.sources.table import Table
from graft.strategies.adapter import Adapter
from graft.strategies.fine_tune import FineTune
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.pretrain import Pretrain
from graft.tasks.classification import Classification

RANDOM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "size": RANDOM.normal(100, 9, 80),
        "age": RANDOM.normal(size=80),
        "town": RANDOM.choice(["Aue", "Bonn", "Ulm"], 80),
    }
)
LABELS = np.where(FRAME["town"] == "Ulm", "south", "north")
OTHER = pd.DataFrame({"town": ["Ulm", "Rom"] * 20, "shoe": RANDOM.normal(size=40), "size": RANDOM.normal(100, 9, 40)})
KINDS = np.array(["dear", "cheap"] * 20)
ROWS = TableExamples(
    np.column_stack([RANDOM.integers(0, 2, 30), RANDOM.normal(size=(30, 2))]).astype(np.float32),
    columns=["town", "shoe", "size"],
    words=[["Rom", "Ulm"], None, None],
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = graft.Transfer(Table("mlp", hidden=(16, 8)), strategy=FineTune(epochs=10, lr=1e-2)).fit(FRAME, LABELS)
    return model.save(tmp_path_factory.mktemp("models") / "first")


def met(source: Fitted, rows: TableExamples = ROWS) -> Backbone:
    learn = source.load().learn
    assert learn is not None
    return learn(rows)


def test_it_keeps_the_contract(saved: Path) -> None:
    source = registry.build("sources", f"fitted/{saved}")
    assert isinstance(source, Fitted)
    check_source(source, ROWS)
    labels = objects(["dear", "cheap"] * 15)
    for strategy in ("linear_probe", "fine_tune?epochs=2", "scratch?epochs=2", "pretrain?epochs=1&options.epochs=1"):
        check_strategy(registry.build("strategies", strategy), source, Classification(), ROWS, labels)


def test_the_network_is_the_saved_one_and_columns_are_found_by_name(saved: Path) -> None:
    model = graft.load(saved)
    backbone = met(Fitted(str(saved)))
    for name, value in model.module.trunk.state_dict().items():
        assert torch.equal(backbone.module.state_dict()[name], value)
    assert backbone.card.name == f"fitted/{saved}"
    assert backbone.card.pretraining == "the rows that it was fitted on"
    assert backbone.card.notes == ("fitted from table/mlp", "2 of its 3 columns are in the table: size, town")
    rows = TableExamples(
        np.array([[1, 3.0, 101.0]], np.float32), columns=["town", "shoe", "size"], words=[["Aue", "Ulm"], None, None]
    )
    features = backbone_features(met(Fitted(str(saved)), rows), rows)
    theirs = model.examples(pd.DataFrame({"size": [101.0], "age": [np.nan], "town": ["Ulm"]}))
    torch.testing.assert_close(features, backbone_features(model.module.backbone, theirs))
    assert backbone.head is not None
    assert torch.equal(backbone.head.weight, model.module.head.weight)  # type: ignore[arg-type]


def backbone_features(backbone: Backbone, rows: Any) -> torch.Tensor:
    items = backbone.preprocess.items([rows[row] for row in range(len(rows))])
    with torch.inference_mode():
        features: torch.Tensor = backbone.module.eval()(backbone.preprocess.collate(items))
    return features


def test_a_model_of_it_needs_neither_folder(saved: Path, tmp_path: Path) -> None:
    first = Path(shutil.copytree(saved, tmp_path / "first"))
    second = graft.Transfer(Fitted(str(first)), strategy=FineTune(epochs=2)).fit(OTHER, KINDS)
    second.save(tmp_path / "second")
    third = graft.Transfer(Fitted(str(tmp_path / "second")), strategy=LinearProbe()).fit(FRAME, LABELS)
    third.save(tmp_path / "third")
    shutil.rmtree(first)
    assert graft.load(tmp_path / "second").predict(OTHER).tolist() == second.predict(OTHER).tolist()
    shutil.rmtree(tmp_path / "second")
    loaded = graft.load(tmp_path / "third")
    assert loaded.predict(FRAME).tolist() == third.predict(FRAME).tolist()
    assert loaded.card.notes[-1] == "2 of its 3 columns are in the table: town, size"


def test_other_rows_may_set_the_scale(saved: Path) -> None:
    feet = TableExamples(
        ROWS._values * np.array([1, 1, 10.8], np.float32), columns=ROWS.columns, words=ROWS.schema.words
    )
    plain, scaled = (met(Fitted(str(saved), rescale=rescale), feet) for rescale in (False, True))
    numbers = [each.preprocess.collate(each.preprocess.items([*feet]))["numbers"] for each in (plain, scaled)]  # type: ignore[index, misc]
    assert float(numbers[0][:, 0].abs().mean()) > 3
    assert float(numbers[1][:, 0].abs().mean()) < 1
    check_source(Fitted(str(saved), rescale=True), feet)


def test_only_networks_of_tables_are_rescaled(saved: Path) -> None:
    source = Fitted(str(saved), rescale=True)
    plain = ColumnPreprocess.learn(np.zeros((2, 1)), Schema(("size",), (None,)))
    with pytest.raises(RequestError, match="rescale is for models on table"):
        source._met(replace(source.load(), preprocess=plain), ROWS)


def test_an_image_model_is_a_source_too(tmp_path: Path) -> None:
    import safetensors.torch
    import timm

    path = tmp_path / "small.safetensors"
    safetensors.torch.save_file(timm.create_model("resnet10t", num_classes=2).state_dict(), path)
    source = registry.build("sources", f"file/{path}?architecture=timm/resnet10t&size=32")
    pictures = [RANDOM.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(12)]
    model = graft.Transfer(source, strategy=FineTune(epochs=1)).fit(np.stack(pictures), ["a", "b"] * 6)
    model.save(tmp_path / "model")
    fitted = Fitted(str(tmp_path / "model"))
    assert fitted.reads() == "image"
    check_source(fitted, ImageExamples(pictures))
    assert fitted.load().fingerprint != source.load().fingerprint


def test_models_without_a_network_or_a_shared_column_are_refused(saved: Path, tmp_path: Path) -> None:
    plain = graft.Transfer(Columns(), strategy=LinearProbe()).fit(FRAME, LABELS).save(tmp_path / "plain")
    with pytest.raises(RequestError, match="stands on columns, which has no weights"):
        Fitted(str(plain)).load()
    with pytest.raises(RequestError, match=r"shares no column.*size, age, town"):
        met(Fitted(str(saved)), TableExamples(np.zeros((2, 1)), columns=["shoe"]))
    with pytest.raises(BundleError, match="not a saved model"):
        Fitted(str(tmp_path / "absent")).load()


def test_damaged_and_foreign_folders_are_refused(saved: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    document = manifest.read_manifest(folder)
    changes: tuple[dict[str, Any], ...] = (
        {"source": {"name": "gone", "params": {}}},
        {"source": 3},
        {"card": {}},
        {"card": {"modality": "table"}},
        {"result": 3},
        {"source": {"name": "table", "params": {"network": "ft"}}, "card": []},
    )
    for change in changes:
        (folder / "manifest.json").write_bytes(manifest.sealed({**document, **change}))
        with pytest.raises(BundleError):
            Fitted(str(folder)).load()
    with pytest.raises(BundleError, match="does not say what its model reads"):
        Fitted(str(folder)).reads()
    (folder / "manifest.json").write_bytes(manifest.sealed(document))
    (folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(BundleError, match="altered"):
        Fitted(str(folder)).load()
    files = dict(met(Fitted(str(saved))).files)
    for damage in (b"{}", b"3", json.dumps({"name": "table", "params": 3}).encode()):
        with pytest.raises(BundleError, match=r"fitted\.json"):
            Fitted(str(saved)).rebuild({**files, "fitted.json": damage})


@pytest.mark.slow
def test_houses_of_one_county_help_with_those_of_a_city(real_data: Path, tmp_path: Path) -> None:
    """King County, then a hundred houses of Melbourne: what is shared is used; figures are printed."""
    king = pd.read_csv(real_data / "tables/kc_house_data.csv").sample(1500, random_state=0)
    king = king.drop(columns=["id", "date", "zipcode"]).rename(columns={"sqft_living": "living", "sqft_lot": "lot"})
    melbourne = pd.read_csv(real_data / "tables/melb_data.csv").sample(1600, random_state=0)
    names = {"Bedroom2": "bedrooms", "Bathroom": "bathrooms", "BuildingArea": "living", "Landsize": "lot"}
    melbourne = melbourne.rename(columns={**names, "YearBuilt": "yr_built", "Price": "price"})
    shared = ["bedrooms", "bathrooms", "living", "lot", "yr_built"]
    melbourne = melbourne[[*shared, "Type", "Distance", "price"]]
    melbourne[["living", "lot"]] *= 10.764  # square feet
    for frame in (king, melbourne):
        frame["price"] = np.log(frame["price"])
    train, test = melbourne[:100], melbourne[100:]
    strategy = FineTune(epochs=40, lr=3e-3, head_lr=3e-3, patience=10)
    first = graft.fit(king, target="price", source="table/mlp", strategy=strategy, controls=(), cache=False)
    first.save(tmp_path / "king")
    gentle = FineTune(epochs=40, lr=5e-4, head_lr=3e-3, patience=10)
    pretrain = Pretrain(epochs=40, then=strategy)
    asked = {
        "scratch": ("table/mlp", strategy, None),
        "fitted": (f"fitted/{tmp_path / 'king'}", gentle, None),
        "pretrained": ("table/mlp", pretrain, king.drop(columns="price")),
    }
    r2 = {}
    for name, (source, each, more) in asked.items():
        result = graft.fit(
            train, target="price", test=test, source=source, strategy=each, unlabelled=more, controls=(), cache=False
        )
        r2[name] = result.scores[result.winner]["r2"].value
        if name == "fitted":
            note = f"5 of its 17 columns are in the table: {', '.join(shared)}"
            assert result.model.card.notes[-1] == note
            moved = graft.load(result.save(tmp_path / "melbourne"))
            assert np.array_equal(moved.predict(test[:20]), result.model.predict(test[:20]))
    print("R² on 1500 houses of Melbourne, learnt from 100:", {name: round(value, 3) for name, value in r2.items()})
    assert all(np.isfinite(value) for value in r2.values())


@pytest.mark.parametrize(
    "spec", ["prototypes", "svm?kernel=linear", "knn", "linear_probe?layers=1", "mlp_head?epochs=2"]
)
def test_heads_of_all_kinds_leave_a_network_to_start_from(spec: str, tmp_path: Path) -> None:
    """Only a plain layer on the features is taken for the model's own outputs."""
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    labels = np.where(rows[:, 0] > 0, "up", "down").astype(object)
    network = registry.build("sources", "table/mlp?hidden=[8,6]")
    model = graft.Transfer(network, strategy=registry.build("strategies", spec), precision="float32")
    model.fit(rows, labels).save(tmp_path / "first")
    found = Fitted(str(tmp_path / "first")).load()
    assert found.head is None
    assert found.dim == 6


@pytest.fixture(scope="module")
def with_adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    strategy = Adapter(width=5, epochs=3, lr=1e-2)
    model = graft.Transfer(Table("mlp", hidden=(16, 8)), strategy=strategy, precision="float32").fit(FRAME, LABELS)
    return model.save(tmp_path_factory.mktemp("models") / "adapted")


def test_adapters_between_the_blocks_come_along(with_adapters: Path) -> None:
    model = graft.load(with_adapters)
    backbone = met(Fitted(str(with_adapters)))
    theirs = model.module.trunk.state_dict()
    assert any(".adapter." in name for name in theirs)
    assert all(torch.equal(theirs[name], value) for name, value in backbone.module.state_dict().items())
    assert backbone.module.state_dict().keys() == theirs.keys()
    rows = model.examples(FRAME)
    torch.testing.assert_close(
        backbone_features(met(Fitted(str(with_adapters)), rows), rows), backbone_features(model.module.backbone, rows)
    )
    assert backbone.head is not None
    check_source(Fitted(str(with_adapters)), ROWS)


def test_models_of_a_model_with_adapters_need_no_folder(with_adapters: Path, tmp_path: Path) -> None:
    first = Path(shutil.copytree(with_adapters, tmp_path / "first"))
    for name, before, strategy in (
        ("probe", first, LinearProbe()),
        ("tuned", first, FineTune(epochs=1)),
        ("again", first, Adapter(width=5, epochs=1)),
        ("twice", tmp_path / "tuned", LinearProbe()),
    ):
        made = graft.Transfer(Fitted(str(before)), strategy=strategy, precision="float32").fit(FRAME, LABELS)
        made.save(tmp_path / name)
        (before / "manifest.json").rename(before / "gone")
        loaded = graft.load(tmp_path / name)
        assert loaded.predict(FRAME).tolist() == made.predict(FRAME).tolist()
        assert any(".adapter." in each for each in loaded.module.trunk.state_dict())
        (before / "gone").rename(before / "manifest.json")


def test_adapters_of_another_width_are_not_mixed(with_adapters: Path) -> None:
    with pytest.raises(RequestError, match=r"has adapters already, .* their width is 5; give width=5"):
        graft.Transfer(Fitted(str(with_adapters)), strategy=Adapter(width=7, epochs=1)).fit(FRAME, LABELS)


def test_a_stated_width_that_is_none_is_refused(with_adapters: Path) -> None:
    files = dict(met(Fitted(str(with_adapters))).files)
    files |= met(Fitted(str(with_adapters))).preprocess.files()
    with pytest.raises(BundleError, match=r"adapters\.json states a width of -1"):
        Fitted("x").rebuild({**files, "adapters.json": b'{"width": -1}'})

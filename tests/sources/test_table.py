"""Networks for the rows of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import graft
from graft import registry
from graft.checks import check_source, check_strategy
from graft.contracts import Backbone
from graft.data.cells import objects
from graft.data.examples import TableExamples
from graft.data.preprocess.cells import CellPreprocess
from graft.errors import BundleError, DataError, RequestError
from graft.sources.table import Table
from graft.strategies.fine_tune import FineTune
from graft.tasks.classification import Classification
from graft.tasks.regression import Regression

RANDOM = np.random.default_rng(0)
ROWS = np.column_stack([RANDOM.normal(size=60), RANDOM.normal(9, 4, 60), RANDOM.integers(0, 3, 60)]).astype(np.float32)
ROWS[3, 0] = ROWS[4, 2] = np.nan
MIXED = TableExamples(ROWS, columns=["a", "b", "c"], words=[None, None, ["x", "y", "z"]])
SMALL = {"mlp": Table("mlp", hidden=(10,)), "ft": Table("ft", dim=8, depth=1, heads=2)}


def learnt(source: Table, rows: TableExamples = MIXED) -> Backbone:
    learn = source.load().learn
    assert learn is not None
    return learn(rows)


@pytest.mark.parametrize("source", [*SMALL.values(), Table("mlp", scaling="quantile")], ids=str)
@pytest.mark.parametrize(
    "rows", [MIXED, TableExamples(ROWS[:, :2]), TableExamples(ROWS[:, 2:], words=[["x", "y", "z"]])]
)
def test_it_keeps_the_contract_for_numbers_and_for_words(source: Table, rows: TableExamples) -> None:
    check_source(source, rows)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("strategy", ["fine_tune?epochs=2", "linear_probe", "scratch?epochs=2"])
def test_strategies_take_it(name: str, strategy: str) -> None:
    labels = objects([("low", "high")[int(row[1] > 9)] for row in ROWS])
    check_strategy(registry.build("strategies", strategy), SMALL[name], Classification(), MIXED, labels)
    numbers = objects([float(row[1]) for row in ROWS])
    check_strategy(registry.build("strategies", strategy), SMALL[name], Regression(), MIXED, numbers)


def test_a_spec_says_it_all() -> None:
    source = registry.build("sources", "table/ft?dim=8&depth=1&heads=2&dropout=0.2&scaling=quantile&seed=3")
    assert source.get_params() == Table("ft", None, 0.2, 8, 1, 2, "quantile", 3).get_params()
    assert registry.build("sources", "table/mlp?hidden=[10,4]").hidden == (10, 4)
    assert registry.title(Table("mlp", hidden=(10,))) == "table/mlp?hidden=[10]"
    assert Table.local() == ("table/mlp", "table/ft")


def test_it_knows_nothing_and_starts_from_its_seed() -> None:
    for source in SMALL.values():
        card = learnt(source).card
        assert (card.name, card.modality, card.pretraining) == (f"table/{source.network}", "table", "none")
        assert card.parameters == sum(value.numel() for value in learnt(source).module.parameters())
    one, other = learnt(Table("mlp")), learnt(Table("mlp", seed=1))
    assert not torch.equal(one.module.first.weight, other.module.first.weight)  # type: ignore[arg-type, union-attr]
    assert registry.plain_source("table").__name__ == "Columns", "the shallow control stands on plain features"


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    learnt(SMALL["ft"])
    assert torch.equal(torch.rand(1), expected)


def test_words_that_only_other_rows_have_do_not_count() -> None:
    few = learnt(SMALL["mlp"], MIXED.take(np.flatnonzero(ROWS[:, 2] != 1)))
    assert isinstance(few.preprocess, CellPreprocess)
    assert few.preprocess.words == (2,)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Table("cnn"), "no network for tables 'cnn'"),
        (Table("mlp", dim=3), "takes no dim"),
        (Table("ft", hidden=(3,)), "takes no hidden"),
        (Table("mlp", hidden=()), "hidden is"),
        (Table("mlp", dropout=1.0), "dropout is 1.0"),
        (Table("ft", depth=0), "depth is 0"),
        (Table("ft", dim=9, heads=2), "2 heads cannot share"),
        (Table("mlp", scaling="log"), "scaling is 'log'"),  # type: ignore[arg-type]
    ],
)
def test_options_that_cannot_work_are_refused(source: Table, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        source.load()


def test_a_table_without_columns_and_damaged_files_are_refused() -> None:
    with pytest.raises(DataError, match="no columns"):
        learnt(Table("mlp"), TableExamples(np.zeros((3, 0))))
    files: dict[str, Any] = dict(learnt(SMALL["mlp"]).files)
    for damage in ({"network.json": b"{}"}, {"network.json": b'{"network": "ft", "options": {"hidden": [3]}}'}):
        with pytest.raises(BundleError, match=r"network\.json"):
            Table("mlp").rebuild({**files, **damage})
    with pytest.raises(BundleError, match=r"cells\.json"):
        Table("mlp").rebuild({})


def test_a_frame_with_words_is_learnt_saved_and_predicted_by_name(tmp_path: Path) -> None:
    frame = pd.DataFrame({"size": RANDOM.normal(size=200), "town": RANDOM.choice(["Aue", "Bonn", "Ulm"], 200)})
    labels = np.where(frame["town"] == "Ulm", "south", "north")
    model = graft.Transfer(SMALL["mlp"], strategy=FineTune(epochs=30, lr=1e-2, patience=None)).fit(frame, labels)
    assert model.score(frame, labels) > 0.9
    loaded = graft.load(model.save(tmp_path / "model"))
    assert loaded.predict(frame.iloc[:, ::-1]).tolist() == model.predict(frame).tolist()
    assert loaded.predict(pd.DataFrame({"town": ["Ulm"], "size": [0.0], "more": ["x"]})).tolist() == ["south"]
    strange = loaded.examples(pd.DataFrame({"town": ["Rom", "Ulm"], "size": [0.0, 1.0]}))
    assert strange.notes == ("1 cells of column 'town' are unknown ('Rom') and count as missing.",)  # type: ignore[attr-defined]
    with pytest.raises(graft.DataError, match="no column town"):
        loaded.predict(frame[["size"]])

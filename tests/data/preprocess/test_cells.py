"""Numbers of one scale and codes of words, as a network of columns takes them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from graft.data.preprocess.cells import CellPreprocess, ConformPreprocess
from graft.data.schema import Schema
from graft.errors import BundleError, DataError

SCHEMA = Schema(("a", "town", "b", "floor"), (None, ("Aue", "Bonn", "Ulm"), None, ("1", "2")))


def rows(n: int = 300) -> np.ndarray:
    random = np.random.default_rng(0)
    values = np.column_stack(
        [random.lognormal(size=n), random.choice([0, 2], n), random.normal(100, 5, n), random.integers(0, 2, n)]
    )
    values[random.random(values.shape) < 0.1] = np.nan
    return values.astype(np.float32)


def shaped(cells: CellPreprocess | ConformPreprocess, values: np.ndarray) -> dict[str, torch.Tensor]:
    batch: dict[str, torch.Tensor] = cells.collate(cells.items(list(values)))
    return batch


def test_numbers_are_those_of_scikit_learn_and_words_have_codes() -> None:
    values = rows()
    cells = CellPreprocess.learn(values, SCHEMA)
    batch = shaped(cells, values)
    theirs = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit_transform(values[:, [0, 2]])
    np.testing.assert_allclose(batch["numbers"].numpy(), theirs, atol=1e-5)
    assert cells.words == (2, 2)
    expected = np.nan_to_num(np.select([values[:, 1] == 0, values[:, 1] == 2], [1, 2], 0))
    np.testing.assert_array_equal(batch["codes"][:, 0], expected)
    np.testing.assert_array_equal(batch["codes"][:, 1], np.nan_to_num(values[:, 3] + 3))
    np.testing.assert_array_equal(batch["known"], ~np.isnan(values[:, [0, 2, 1, 3]]))
    assert (batch["numbers"].dtype, batch["codes"].dtype) == (torch.float32, torch.int64)
    unseen = shaped(cells, np.array([[1, 1, 2, 0]]))
    assert unseen["codes"].tolist() == [[0, 3]]
    assert unseen["known"].tolist() == [[True, True, False, True]]


def test_ranks_are_those_of_scikit_learn() -> None:
    values = rows()[:, [0, 2]]
    values[:40, 0] = 2.0
    cells = CellPreprocess.learn(values, Schema(None, (None, None)), "quantile")
    theirs = QuantileTransformer(n_quantiles=257, output_distribution="normal").fit(values)
    filled = SimpleImputer(strategy="median").fit(values).transform(values)
    np.testing.assert_allclose(
        shaped(cells, values)["numbers"], theirs.transform(filled).clip(-3.7191, 3.7191), atol=2e-3
    )


@pytest.mark.parametrize("scaling", ["deviation", "quantile"])
def test_files_give_the_same_again(scaling: Any) -> None:
    cells = CellPreprocess.learn(rows(), SCHEMA, scaling)
    again = CellPreprocess.from_files(cells.files())
    assert (again.schema, again.words) == (SCHEMA, (2, 2))
    for ours, theirs in zip(shaped(cells, rows()).values(), shaped(again, rows()).values(), strict=True):
        assert torch.equal(ours, theirs)


def test_empty_and_constant_columns_stay_finite() -> None:
    values = np.array([[0.1, np.nan, np.nan, 0]] * 3)
    for scaling in ("deviation", "quantile"):
        cells = CellPreprocess.learn(values, SCHEMA, scaling)
        assert shaped(cells, values)["numbers"].isfinite().all()
        assert cells.words == (0, 1)


def test_other_rows_may_set_the_scale() -> None:
    other = rows() * [7, 1, 1, 1] + [2, 0, 0, 0]
    there = other.copy()
    other[:, 2] = np.nan
    for scaling in ("deviation", "quantile"):
        cells = CellPreprocess.learn(rows(), SCHEMA, scaling).rescaled(other)
        numbers = shaped(cells, there)["numbers"]
        assert abs(float(numbers[:, 0].mean())) < 0.1
        assert cells.mean[1] == CellPreprocess.learn(rows(), SCHEMA).mean[1], "a column without numbers keeps its scale"


def test_rows_of_another_table_are_taken_by_name() -> None:
    cells = CellPreprocess.learn(rows(), SCHEMA)
    theirs = Schema(("more", "floor", "a"), (None, ("2", "3"), None))
    turned = ConformPreprocess(cells, theirs)
    batch = shaped(turned, np.array([[9, 0, 1.5], [9, 1, np.nan]]))
    plain = shaped(cells, np.array([[1.5, np.nan, np.nan, 1], [np.nan, np.nan, np.nan, np.nan]]))
    assert all(torch.equal(batch[name], plain[name]) for name in plain)
    again = ConformPreprocess.from_files(CellPreprocess.from_files(turned.files()), turned.files())
    assert again is not None
    assert again.schema == theirs
    assert ConformPreprocess.from_files(cells, cells.files()) is None
    assert {turned.cost(item) for item in turned.items([np.zeros(3)])} == {1}
    moved = turned.rescaled(np.array([[0, 0, 5.0], [0, 0, 9.0]]))
    assert shaped(moved, np.array([[0, 0, 7.0]]))["numbers"][0, 0] == 0
    with pytest.raises(DataError, match="2 columns, and 3 were learnt from"):
        turned.items([np.zeros(2)])
    with pytest.raises(BundleError, match=r"conform\.json"):
        ConformPreprocess.from_files(cells, {"conform.json": b"[]"})


def test_rows_that_do_not_fit_are_refused() -> None:
    cells = CellPreprocess.learn(rows(), SCHEMA)
    with pytest.raises(DataError, match="2 columns, and 4 were learnt from"):
        cells.items([np.zeros(2)])
    with pytest.raises(DataError, match="row 0 holds an infinite number in column 2"):
        cells.items([np.array([0, 0, np.inf, 0])])
    with pytest.raises(DataError, match="row 1 holds an infinite number"):
        CellPreprocess.learn(np.array([[0.0], [-np.inf]]), Schema(None, (None,)))


@pytest.mark.parametrize(
    "change",
    [
        {"width": 3},
        {"median": [0]},
        {"scale": [0, 1]},
        {"knots": [[0]]},
        {"seen": [[9], [0]]},
        {"seen": [[0]]},
        {"words": 3},
    ],
)
def test_damaged_files_are_refused(change: dict[str, Any]) -> None:
    held = json.loads(CellPreprocess.learn(rows(), SCHEMA).files()["cells.json"])
    with pytest.raises(BundleError, match=r"cells\.json"):
        CellPreprocess.from_files({"cells.json": json.dumps({**held, **change}).encode()})
    with pytest.raises(BundleError, match=r"cells\.json"):
        CellPreprocess.from_files({})

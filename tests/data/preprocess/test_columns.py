from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from graft.data.preprocess.columns import ColumnPreprocess
from graft.errors import BundleError, DataError


def rows(n: int = 50) -> np.ndarray:
    random = np.random.default_rng(0)
    values = random.normal([0, 100, 1e6], [1, 5, 1e3], size=(n, 3))
    values[random.random(values.shape) < 0.1] = np.nan
    return values.astype(np.float32)


def test_the_numbers_are_those_of_scikit_learn() -> None:
    values, new = rows(), rows(5)[::-1]
    columns = ColumnPreprocess.learn(values)
    theirs = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(values.astype(np.float64))
    for each in (values, new):
        batch = columns.collate(columns.items(list(each)))
        assert batch.dtype == torch.float32
        np.testing.assert_allclose(batch.numpy(), theirs.transform(each.astype(np.float64)), atol=1e-4)
    assert {columns.cost(item) for item in columns.items(list(new))} == {1}


def test_constant_and_empty_columns_stay_finite() -> None:
    values = np.array([[0.1, np.nan, 7.0], [0.1, np.nan, np.nan], [0.1, np.nan, 7.0]], dtype=np.float32)
    columns = ColumnPreprocess.learn(values)
    np.testing.assert_allclose(columns.collate(columns.items(list(values))).numpy(), np.zeros((3, 3)), atol=1e-6)
    assert np.isfinite(columns.collate(columns.items([np.array([0.2, 3.0, np.nan])])).numpy()).all()


def test_files_give_the_same_numbers_again() -> None:
    columns = ColumnPreprocess.learn(rows())
    again = ColumnPreprocess.from_files(columns.files())
    for first, second in zip(columns.items(list(rows())), again.items(list(rows())), strict=True):
        np.testing.assert_array_equal(first, second)


def test_names_of_columns_are_kept() -> None:
    columns = ColumnPreprocess.learn(rows(), ["a", "b", "c"])
    assert columns.columns == ColumnPreprocess.from_files(columns.files()).columns == ("a", "b", "c")
    assert ColumnPreprocess.from_files(ColumnPreprocess.learn(rows()).files()).columns is None


def test_rows_that_do_not_fit_are_refused() -> None:
    columns = ColumnPreprocess.learn(rows())
    with pytest.raises(DataError, match="2 columns, and 3 were learnt from"):
        columns.items([np.zeros(2)])
    with pytest.raises(DataError, match="infinite number in column 1"):
        columns.items([np.array([0, np.inf, 0])])
    with pytest.raises(DataError, match="row 1 holds an infinite number in column 0"):
        ColumnPreprocess.learn(np.array([[0.0], [-np.inf]]))


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"columns.json": b"[]"},
        {"columns.json": json.dumps({"median": [0], "mean": [0, 1], "scale": [1]}).encode()},
        {"columns.json": json.dumps({"median": [0], "mean": [0], "scale": [0]}).encode()},
        {"columns.json": json.dumps({"median": [0], "mean": [0], "scale": [1], "columns": ["a", "b"]}).encode()},
        {"columns.json": json.dumps({"median": [0], "mean": [0], "scale": [1], "columns": [1]}).encode()},
    ],
)
def test_damaged_files_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(BundleError, match=r"columns\.json"):
        ColumnPreprocess.from_files(files)

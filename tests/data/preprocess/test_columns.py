from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from graft.data.preprocess.columns import ColumnPreprocess
from graft.data.schema import Schema
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
    named = Schema(("a", "b", "c"), (None,) * 3)
    columns = ColumnPreprocess.learn(rows(), named)
    assert columns.schema == ColumnPreprocess.from_files(columns.files()).schema == named
    assert ColumnPreprocess.from_files(ColumnPreprocess.learn(rows()).files()).schema == Schema(None, (None,) * 3)


def test_a_file_of_numbers_is_written_as_it_always_was() -> None:
    held = json.loads(ColumnPreprocess.learn(rows(), Schema(("a", "b", "c"), (None,) * 3)).files()["columns.json"])
    assert set(held) == {"columns", "median", "mean", "scale"}


WORDS = Schema(("size", "town", "floor"), (None, ("Aue", "Bonn", "Ulm"), ("1", "2")))
MIXED = np.array([[1, 0, 1], [np.nan, 2, np.nan], [5, np.nan, 0], [7, 2, 1]], dtype=np.float32)


def test_a_word_has_a_place_of_its_own_as_scikit_learn_has_it() -> None:
    columns = ColumnPreprocess.learn(MIXED, WORDS)
    batch = columns.collate(columns.items(list(MIXED))).numpy()
    assert (columns.dim, batch.shape, batch.dtype) == (5, (4, 5), np.float32)
    numbers = ColumnPreprocess.learn(MIXED[:, :1])
    np.testing.assert_array_equal(batch[:, :1], numbers.collate(numbers.items(list(MIXED[:, :1]))).numpy())
    spoken = np.array(
        [[WORDS.words[at][int(row[at])] if row[at] == row[at] else "" for at in (1, 2)] for row in MIXED], dtype=object
    )
    theirs = OneHotEncoder(categories=[["Aue", "Ulm"], ["1", "2"]], handle_unknown="ignore").fit(spoken[[0, 3]])
    np.testing.assert_array_equal(batch[:, 1:], theirs.transform(spoken).toarray())


def test_a_word_that_the_training_rows_lack_leaves_all_places_empty() -> None:
    columns = ColumnPreprocess.learn(MIXED, WORDS)
    again = ColumnPreprocess.from_files(columns.files())
    for each in (columns, again):
        (item,) = each.items([np.array([5, 1, np.nan])])
        assert item[1:].tolist() == [0, 0, 0, 0], "Bonn is known to the table, and to no training row"
    assert (again.schema, again.seen, again.dim) == (WORDS, ((0, 2), (0, 1)), 5)


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
        {"columns.json": json.dumps({"median": [], "mean": [], "scale": [], "words": [["a"]], "seen": [[1]]}).encode()},
        {"columns.json": json.dumps({"median": [], "mean": [], "scale": [], "words": [["a"]], "seen": []}).encode()},
        {"columns.json": json.dumps({"median": [], "mean": [], "scale": [], "words": [[1]], "seen": [[0]]}).encode()},
        {"columns.json": json.dumps({"median": [0], "mean": [0], "scale": [1], "words": [["a"]]}).encode()},
    ],
)
def test_damaged_files_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(BundleError, match=r"columns\.json"):
        ColumnPreprocess.from_files(files)

"""scikit-learn's own checks, and what they do not ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import graft
from graft.errors import DataError
from graft.sources.columns import Columns
from graft.sources.tfidf import Tfidf
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.majority import Majority
from graft.tasks.classification import Classification
from graft.tasks.regression import Regression

ESTIMATORS = [
    graft.Transfer(Columns(), Classification(), LinearProbe(), cache=False),
    graft.Transfer(Columns(), Regression(), LinearProbe(), cache=False),
]


def cannot_apply(estimator: Any) -> dict[str, str]:
    """Checks whose premise does not hold here, and why."""
    return {
        "check_sample_weight_equivalence_on_dense_data": "scales and folds go by rows, whatever they weigh",
    }


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=cannot_apply)
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.where(X[:, 0] + X[:, 1] > 0, "up", "down")


def test_kinds_are_what_scikit_learn_thinks() -> None:
    assert is_classifier(ESTIMATORS[0])
    assert is_regressor(ESTIMATORS[1])
    assert is_classifier(graft.Transfer())


def test_a_grid_search_over_strategy_parameters_and_whole_strategies() -> None:
    search = GridSearchCV(
        graft.Transfer(Columns(), Classification(), LinearProbe(), cache=False),
        [{"strategy__penalties": [(1.0,), (1e6,)]}, {"strategy": [Majority()]}],
        cv=3,
    ).fit(X, Y)
    assert search.best_params_ == {"strategy__penalties": (1.0,)}
    assert search.best_score_ > 0.8


def test_in_a_pipeline_and_cross_validated() -> None:
    pipeline = make_pipeline(StandardScaler(), graft.Transfer(Columns(), Classification(), cache=False))
    assert cross_val_score(pipeline, X, Y, cv=3).mean() > 0.8
    texts = np.array([f"{'good' if place % 2 else 'bad'} row {place}" for place in range(60)], dtype=object)
    moods = np.array(["glad" if place % 2 else "sad" for place in range(60)])
    lower = FunctionTransformer(lambda rows: [row.lower() for row in rows])
    model = make_pipeline(lower, graft.Transfer(Tfidf(), cache=False)).fit(texts, moods)
    assert model.score(texts, moods) == 1.0


def test_fit_changes_no_constructor_argument_and_clones_are_unfitted() -> None:
    estimator = graft.Transfer(Columns(), Classification(), LinearProbe(penalties=(1.0,)), cache=False).fit(X, Y)
    copied = clone(estimator)
    assert not hasattr(copied, "model_")
    assert copied.strategy.penalties == (1.0,)


def test_a_frame_keeps_its_names() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    estimator = graft.Transfer(Columns(), cache=False).fit(frame, Y)
    assert list(estimator.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(frame[["b", "a", "c", "d"]])


def test_unlabelled_rows_are_set_aside() -> None:
    texts = ["red apple", "green pear", "red cherry", "green grape", "what is this"]
    estimator = graft.Transfer(Tfidf(), strategy=Majority()).fit(texts, ["r", "g", "r", "r", None])
    assert estimator.predict(["anything"]).tolist() == ["r"]
    with pytest.raises(graft.DataError, match="no labels"):
        graft.Transfer(Tfidf()).fit(texts)


def test_data_that_carry_their_labels(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    pd.DataFrame({"text": ["red apple", "green pear"] * 10, "label": ["r", "g"] * 10}).to_csv(table, index=False)
    estimator = graft.Transfer(Tfidf(), cache=False).fit(table)
    assert estimator.score(table) == 1.0
    assert estimator.predict(["red cherry"]).tolist() == ["r"]


def test_saving_by_itself(tmp_path: Path) -> None:
    estimator = graft.Transfer(Columns(), cache=False).fit(X, Y)
    loaded = graft.load(estimator.save(tmp_path / "model"))
    assert np.array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    assert loaded.predict(X).tolist() == estimator.predict(X).tolist()


def test_numbers_as_labels_are_regression_unless_a_task_says_otherwise() -> None:
    values = X[:, 0] * 3.5
    estimator = graft.Transfer(Columns(), cache=False).fit(X, values)
    assert np.corrcoef(estimator.predict(X), values)[0, 1] > 0.99
    assert is_regressor(estimator)
    with pytest.raises(ValueError, match="continuous"):
        graft.Transfer(Columns(), Classification(), cache=False).fit(X, values)


def test_a_score_reads_words_and_columns_as_a_prediction_does() -> None:
    colours = ["blue", "green", "red"] * 20
    frame = pd.DataFrame(
        {"colour": colours, "size": np.arange(60.0), "label": [{"blue": "a"}.get(c, "b") for c in colours]}
    )
    model = graft.Transfer(Columns(), strategy=LinearProbe()).fit(frame[["colour", "size"]], frame["label"])
    some = frame[frame["colour"] != "blue"][["size", "colour"]].reset_index(drop=True)
    assert (model.predict(some) == "b").all()
    assert model.score(some, ["b"] * len(some)) == 1.0
    assert model.score(some, [None, *["b"] * (len(some) - 1)]) == 1.0


def test_sample_weights_decide_what_is_learnt() -> None:
    told = np.where(np.arange(60) % 3 == 0, np.where(Y == "up", "down", "up"), Y)
    right = (told == Y).astype(float)
    weighted = graft.Transfer(cache=False).fit(X, told, sample_weight=right)
    assert (weighted.predict(X) == Y).mean() > 0.9
    unlabelled = [None if row == 1 else label for row, label in enumerate(told.tolist())]
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": unlabelled})
    graft.Transfer(cache=False).fit(frame, sample_weight=right)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, 2.0], r"sample_weight has shape \(2,\)"),
        (np.full(60, -1.0), "negative or not finite"),
        (np.full(60, np.nan), "negative or not finite"),
        (np.zeros(60), "every sample_weight is zero"),
    ],
)
def test_sample_weights_are_checked(weights: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        graft.Transfer(cache=False).fit(X, Y, sample_weight=weights)


def test_probabilities_are_labels_too() -> None:
    up = 1 / (1 + np.exp(-4 * (X[:, 0] + X[:, 1])))
    model = graft.Transfer(cache=False).fit(X, np.stack([1 - up, up], axis=1))
    assert model.classes_.tolist() == [0, 1]
    assert ((model.predict(X) == 1) == (Y == "up")).mean() > 0.9
    votes = [{"up": share, "down": 1 - share} for share in up.tolist()]
    model = graft.Transfer(cache=False).fit(X.tolist(), votes)
    assert (model.predict(X) == Y).mean() > 0.9

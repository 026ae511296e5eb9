"""Predictions: in the user's words, whatever the rows come as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import graft
from graft.sources.columns import Columns
from graft.sources.tfidf import Tfidf
from graft.strategies.linear_probe import LinearProbe
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

TEXTS = [f"{'sunny' if place % 2 else 'rainy'} day {place}" for place in range(30)]
WEATHER = ["sun" if place % 2 else "rain" for place in range(30)]


@pytest.fixture(scope="module")
def model() -> graft.Transfer:
    return graft.Transfer(Tfidf(), strategy=LinearProbe(), cache=False).fit(TEXTS, WEATHER).model_


def test_a_table_predicts_like_a_list(model: graft.Transfer, tmp_path: Path) -> None:
    pd.DataFrame({"text": TEXTS}).to_csv(tmp_path / "rows.csv", index=False)
    assert model.predict(tmp_path / "rows.csv").tolist() == model.predict(TEXTS).tolist() == WEATHER


def test_probabilities_are_in_the_order_of_the_classes(model: graft.Transfer) -> None:
    probabilities = model.predict_proba(["sunny sunny day"])
    assert model.classes == ("rain", "sun")
    assert probabilities.shape == (1, 2)
    assert probabilities.sum() == pytest.approx(1.0)
    assert probabilities[0, 1] > 0.5


def test_windows_do_not_change_the_outputs(model: graft.Transfer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = model.predict_proba(TEXTS)
    monkeypatch.setattr("graft.model.single._FLOATS", 7 * model.module.backbone.dim)
    assert np.allclose(model.predict_proba(TEXTS), whole, atol=1e-6)


def test_measuring_counts_labelled_rows_only(model: graft.Transfer) -> None:
    held = graft.read((TEXTS, [*WEATHER[:-1], None]))
    scores = model.evaluate(held)
    assert scores["accuracy"].value == 1.0
    with pytest.raises(graft.DataError, match="no labels"):
        model.evaluate(graft.read((TEXTS, [None] * 30)))


def test_several_labels_and_numbers() -> None:
    tags = [("wet", "cold") if label == "rain" else ("dry",) for label in WEATHER]
    several = graft.Transfer(Tfidf(), Multilabel(), cache=False).fit(TEXTS, tags)
    assert several.predict(["rainy day 3"])[0] == ("cold", "wet")
    warmth = [25.0 if label == "sun" else 5.0 for label in WEATHER]
    number = graft.Transfer(Tfidf(), Regression(), cache=False).fit(TEXTS, warmth)
    assert number.predict(["sunny day 4"])[0] == pytest.approx(25.0, abs=5.0)
    with pytest.raises(graft.RequestError, match="no probabilities"):
        number.model_.predict_proba(TEXTS)


def test_columns_are_matched_by_name(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.normal(size=200), "height": random.normal(size=200)})
    frame["who"] = np.where(frame["age"] > 0, "old", "young")
    frame.to_csv(tmp_path / "people.csv", index=False)
    model = graft.fit(tmp_path / "people.csv", target="who", controls=("majority",)).model
    shuffled = frame[["height", "age"]].assign(shoe=7.0)
    shuffled.to_csv(tmp_path / "others.csv", index=False)
    assert (model.predict(tmp_path / "others.csv") == frame["who"]).mean() > 0.9
    frame[["height"]].assign(shoe=7.0).to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(graft.DataError, match="age"):
        model.predict(tmp_path / "less.csv")


def test_one_row_of_a_table_is_no_text(tmp_path: Path) -> None:
    account = ["no checking account at the bank", "a checking account at the bank"] * 30
    frame = pd.DataFrame({"account": account, "age": [30, 40, 50] * 20, "label": ["bad", "good"] * 30})
    model = graft.Transfer(Columns(), strategy=LinearProbe()).fit(frame).model_
    assert model.columns == ("account", "age")
    frame.head(1).to_csv(tmp_path / "one.csv", index=False)
    assert model.predict(str(tmp_path / "one.csv")).tolist() == ["bad"]
    assert model.predict(frame[["age", "account"]].iloc[1:2]).tolist() == ["good"]

"""``graft curves``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import graft
from graft.cli import app

RUN = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 80)
    rows = random.normal(size=(80, 3)).astype(np.float32)
    rows[:, 0] += 2 * labels
    data = (rows, [("left", "right")[label] for label in labels])
    output = tmp_path_factory.mktemp("curves") / "model"
    graft.fit(
        data, source="columns", strategy=["mlp_head?epochs=3", "mlp_head?epochs=2", "linear_probe"], output=output
    )
    return output


def test_a_table_a_trial_with_the_kept_epoch_marked(model: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "curves.svg"
    done = RUN.invoke(app, ["curves", str(model), "-o", str(drawn)])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("kept") == 2
    assert "linear_probe" not in done.stdout
    assert f"wrote    {drawn}" in done.stdout
    assert "mlp_head?epochs=2" in drawn.read_text()
    one = RUN.invoke(app, ["curves", str(model), "--trial", "mlp_head?epochs=2"])
    assert "mlp_head?epochs=3" not in one.stdout
    assert "next     graft curves" in one.stdout


def test_json_holds_every_epoch(model: Path) -> None:
    document = json.loads(RUN.invoke(app, ["curves", str(model), "--json"]).stdout)
    assert [len(each["epochs"]) for each in document["trials"]] == [3, 2]
    assert document["metric"] == "accuracy"
    assert set(document["trials"][0]["epochs"][0]) == {"loss", "metric", "rate"}
    assert document["trials"][0]["kept"] in range(3)


def test_what_has_no_curves_is_said(model: Path, tmp_path: Path) -> None:
    done = RUN.invoke(app, ["curves", str(model), "--trial", "linear_probe"])
    assert done.exit_code == 2
    assert "there is no trial with epochs 'linear_probe'" in done.stderr
    graft.fit(_plain(), strategy="linear_probe", output=tmp_path / "plain")
    done = RUN.invoke(app, ["curves", str(tmp_path / "plain")])
    assert done.exit_code == 2
    assert "have no curves" in done.stderr
    assert RUN.invoke(app, ["curves", str(tmp_path)]).exit_code == 5


def test_a_learning_curve_is_shown_and_drawn(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 160)
    rows = random.normal(size=(160, 3)).astype(np.float32)
    rows[:, 0] += labels
    data = (rows, [("left", "right")[label] for label in labels])
    model = tmp_path / "model"
    graft.fit(data, controls=(), learning_curve=True, output=model)
    done = RUN.invoke(app, ["curves", str(model), "-o", str(tmp_path / "rows.svg")])
    assert done.exit_code == 0, done.stderr
    assert "linear_probe by training rows" in done.stdout
    assert "labels   " in done.stdout
    assert "training rows" in (tmp_path / "rows.svg").read_text()
    held = json.loads(RUN.invoke(app, ["curves", str(model), "--json"]).stdout)
    assert len(held["learning_curve"]["points"]) == 11
    assert held["trials"] == []
    assert "no trial with epochs" in RUN.invoke(app, ["curves", str(model), "--trial", "linear_probe"]).stderr


def _plain() -> tuple[list[list[float]], list[str]]:
    return [[float(place % 2), float(place)] for place in range(40)], ["a", "b"] * 20

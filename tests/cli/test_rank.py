"""``graft rank``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from graft.cli import app

RUN = CliRunner()


@pytest.fixture
def days(tmp_path: Path) -> Path:
    rows = [(f"{('sunny', 'rainy')[place % 2]} day of {place}", ("sun", "rain")[place % 2]) for place in range(120)]
    pd.DataFrame(rows, columns=["text", "weather"]).to_csv(tmp_path / "days.csv", index=False)
    return tmp_path / "days.csv"


def test_the_table_is_in_order_and_says_what_comes_next(days: Path) -> None:
    done = RUN.invoke(app, ["rank", str(days), "-s", "tfidf", "-s", "pixels", "-t", "weather", "--score", "probe"])
    assert done.exit_code == 0, done.stderr
    out = done.stdout
    for step in ("read", "split", "screen", "rank", "best", "left out", "next"):
        assert f"\n{step:<8} " in f"\n{out}", step
    assert "probe: accuracy" in out
    assert "left out pixels: the source pixels reads rows of image" in out
    assert f"next     graft fit {days} --source tfidf --target weather -o MODEL" in out


def test_sources_that_are_tied_are_marked_and_compared_next(days: Path) -> None:
    done = RUN.invoke(app, ["rank", str(days), "-s", "tfidf", "-s", "tfidf?longest=1"])
    assert "not to be told on these rows: " in done.stdout
    assert "=1" in done.stdout
    assert f"next     graft compare {days} --source " in done.stdout


def test_a_source_without_the_score_is_listed_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(90, 3)), columns=["a", "b", "c"])
    frame["label"] = ["up" if value > 0 else "down" for value in frame["a"]]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    done = RUN.invoke(app, ["rank", str(tmp_path / "rows.csv"), "-s", "columns", "--score", "probe", "--score", "leep"])
    assert done.exit_code == 0, done.stderr
    assert "leep" not in done.stdout.split("best")[0].replace("rank     ", "")
    alone = RUN.invoke(app, ["rank", str(tmp_path / "rows.csv"), "-s", "columns", "--score", "leep"])
    assert alone.exit_code == 2
    assert "leep can be told of no source" in alone.stderr


def test_json_is_one_document(days: Path) -> None:
    done = RUN.invoke(app, ["rank", str(days), "-s", "tfidf", "--rows", "40", "--budget", "5m", "--json"])
    document = json.loads(done.stdout)
    assert document["entries"][0]["source"] == "tfidf"
    assert document["rows"] == 40
    assert set(document["entries"][0]["scores"]["probe"]) >= {"value", "low", "high"}


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--score", "prob"], 2, "Did you mean probe"),
        (["--budget", "soon"], 2, "'soon' is no time"),
        (["--target", "wether"], 2, "wether"),
        (["-s", "hf/not/here"], 6, "not/here"),
        (["--on-bad-row", "ignore"], 2, "on_bad_row is 'fail' or 'skip'"),
    ],
)
def test_what_cannot_work_is_one_message_and_its_exit_code(
    days: Path, more: list[str], code: int, message: str
) -> None:
    source = [] if "-s" in more else ["-s", "tfidf"]
    done = RUN.invoke(app, ["rank", str(days), *source, *more])
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr

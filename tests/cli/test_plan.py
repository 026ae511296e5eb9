"""``graft plan``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from graft.cli.plan import plan

RUN = CliRunner()
app = typer.Typer()
app.command()(plan)


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.csv"
    lines = [f"{('good', 'bad')[place % 2]} parcel {place},{'ab'[place % 2]}" for place in range(60)]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return str(path)


def test_the_table_the_reasons_and_what_comes_next(rows: str) -> None:
    found = RUN.invoke(app, [rows, "--source", "minilm", "--source", "pixels", "--budget", "1h"])
    assert found.exit_code == 0, found.stderr
    assert "1 source × " in found.stdout
    assert "linear_probe" in found.stdout
    assert "left out pixels: it does not read text" in found.stdout
    assert "the budget of 60 min holds all of it" in found.stdout
    assert f"graft fit {rows} --source minilm --source pixels --budget 3600s -o MODEL" in found.stdout
    assert "download" not in found.stdout


def test_downloads_have_a_column(rows: str) -> None:
    named = ["--source", "hf/BAAI/bge-small-en-v1.5", "--strategy", "svm", "--budget", "10h"]
    found = RUN.invoke(app, [rows, "-q", *named])
    assert found.exit_code == 0, found.stderr
    assert "download" in found.stdout
    assert "MB to download" in found.stdout
    assert not found.stdout.startswith("read")


def test_json_is_one_document(rows: str) -> None:
    found = RUN.invoke(app, [rows, "--json", "--strategy", "svm", "--strategy", "knn"])
    document = json.loads(found.stdout)
    assert {each["strategy"] for each in document["candidates"]} == {"svm", "knn"}
    assert any("--download" in each["reason"] for each in document["excluded"])


def test_a_wrong_budget_and_one_that_is_too_small(rows: str) -> None:
    assert RUN.invoke(app, [rows, "--budget", "soon"]).exit_code == 2
    found = RUN.invoke(app, [rows, "--budget", "0.001s", "--source", "minilm"])
    assert found.exit_code == 2
    assert "too small for anything" in found.stderr

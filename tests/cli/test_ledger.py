"""``graft ledger``."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from graft.cli import app
from graft.select.entry import Entry
from graft.select.ledger import Ledger
from graft.select.sketch import Sketch

RUN = CliRunner()
SKETCH = Sketch("text", "classification", "softmax", 200, 2, 0.97, {"words": 12.0})
ENTRY = Entry(
    SKETCH, "minilm", "linear_probe", "accuracy", 0.91, 140, 3.5, ((140, 0.91),), "d" * 32, "2026-01-31T12:00:00Z"
)


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger of three trials on two datasets."""
    monkeypatch.setenv("GRAFT_DATA_HOME", str(tmp_path / "data"))
    found = Ledger(tmp_path / "data" / "ledger.sqlite")
    picture = replace(SKETCH, modality="image")
    found.add(
        ENTRY,
        replace(ENTRY, strategy="lora?rank=4", score=float("nan")),
        replace(ENTRY, source="timm/resnet18", sketch=picture, data="e" * 32, when="2999-01-31T12:00:00Z"),
    )
    return found


def document(*given: str) -> dict[str, object]:
    done = RUN.invoke(app, ["ledger", *given, "--json"])
    assert done.exit_code == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_show(held: Ledger) -> None:
    out = RUN.invoke(app, ["ledger"]).stdout
    assert "timm/resnet18" in out
    assert "lora?rank=4" in out
    assert "accuracy 0.9100" in out
    assert "accuracy –" in out
    assert "dddddddd" in out
    assert f"{held.path}: 3 trials on 2 datasets\n" in out
    found = document("show")
    assert found["count"] == 3
    assert [Entry.from_document(each).key for each in found["entries"]] == [  # type: ignore[attr-defined]
        each.key for each in held.entries()
    ]


def test_show_chooses_and_limits(held: Ledger) -> None:
    assert document("show", "--source", "timm")["count"] == 1
    assert document("show", "--strategy", "lora")["count"] == 1
    assert document("show", "--modality", "text")["count"] == 2
    assert document("show", "--data", "eee")["count"] == 1
    assert document("show", "--older-than", "1h")["count"] == 2
    limited = RUN.invoke(app, ["ledger", "--limit", "1"]).stdout
    assert "the latest 1 are shown" in limited
    assert "timm/resnet18" in limited
    assert "minilm" not in limited
    assert "holds no such trial" in RUN.invoke(app, ["ledger", "--source", "keras"]).stdout


def test_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_LEDGER", str(tmp_path / "none.sqlite"))
    assert "holds no trial\n" in RUN.invoke(app, ["ledger"]).stdout
    assert document("export", str(tmp_path / "none.jsonl"))["exported"] == 0
    assert (tmp_path / "none.jsonl").read_bytes() == b""
    assert document("import", str(tmp_path / "none.jsonl"))["added"] == 0
    assert document("forget", "--all")["forgotten"] == 0
    assert not (tmp_path / "none.sqlite").exists()


def test_path_and_off(held: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RUN.invoke(app, ["ledger", "path"]).stdout == f"{held.path}\n"
    assert document("path") == {"path": str(held.path)}
    monkeypatch.setenv("GRAFT_LEDGER", "off")
    assert RUN.invoke(app, ["ledger", "path"]).stdout == "off\n"
    assert document("path") == {"path": None}
    refused = RUN.invoke(app, ["ledger"])
    assert refused.exit_code == 2
    assert "the ledger is off" in refused.stderr


def test_export_and_import(held: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "trials.jsonl"
    out = RUN.invoke(app, ["ledger", "export", str(file)]).stdout
    assert f"wrote    {file} (3 trials)" in out
    assert document("export", str(file), "--source", "minilm")["exported"] == 2
    monkeypatch.setenv("GRAFT_LEDGER", str(tmp_path / "other.sqlite"))
    out = RUN.invoke(app, ["ledger", "import", str(file)]).stdout
    assert "took in  2 trials; 0 were there already" in out
    found = document("import", str(held.path))
    assert (found["added"], found["known"], found["faults"]) == (1, 2, [])


def test_import_names_the_lines_that_it_leaves_out(held: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "trials.jsonl"
    held.export(file)
    file.write_text("\n".join([*["nonsense"] * 30, *file.read_text().splitlines()]))
    done = RUN.invoke(app, ["ledger", "import", str(file)])
    assert done.exit_code == 0
    assert "left out line 1: it is no JSON" in done.stdout
    assert "… and 10 more lines" in done.stdout
    assert "took in  0 trials; 3 were there already" in done.stdout
    faults = document("import", str(file))["faults"]
    assert [each["line"] for each in faults] == list(range(1, 31))  # type: ignore[attr-defined]
    file.write_text("nonsense\n")
    refused = RUN.invoke(app, ["ledger", "import", str(file)])
    assert refused.exit_code == 3
    assert "holds no trial: line 1: it is no JSON" in refused.stderr


def test_forget(held: Ledger) -> None:
    assert document("forget", "--older-than", "4w")["forgotten"] == 2
    assert len(held.entries()) == 1
    out = RUN.invoke(app, ["ledger", "forget", "--all"]).stdout
    assert f"removed  1 trial from {held.path}" in out
    assert held.entries() == ()


def test_forget_names_copies_that_were_kept(held: Ledger) -> None:
    held.path.write_bytes(b"no database " * 500)
    done = RUN.invoke(app, ["ledger"])
    assert done.exit_code == 0
    assert "was damaged: it is kept as ledger.sqlite.kept-1" in done.stderr
    assert "ledger.sqlite.kept-1 was damaged once" in RUN.invoke(app, ["ledger", "forget", "--all"]).stdout
    assert document("forget", "--all")["kept"] == [f"{held.path}.kept-1"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["shw"], "Did you mean show"),
        (["export"], "graft ledger export needs a file"),
        (["import"], "graft ledger import needs a file"),
        (["show", "file"], "graft ledger show takes no file"),
        (["import", "file", "--source", "minilm"], "takes no choice of trials"),
        (["path", "--data", "d"], "takes no choice of trials"),
        (["show", "--all"], "leave --all away"),
        (["forget"], "say which of both"),
        (["forget", "--all", "--source", "minilm"], "say which of both"),
        (["forget", "--older-than", "soon"], "--older-than is 'soon', which is no age"),
        (["forget", "--older-than", "999999w"], "before the calendar begins"),
    ],
)
def test_a_request_that_cannot_work(held: Ledger, given: list[str], words: str) -> None:
    done = RUN.invoke(app, ["ledger", *given])
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(held.entries()) == 3


def test_one_of_a_newer_version(held: Ledger) -> None:
    with sqlite3.connect(held.path) as other:
        other.execute("PRAGMA user_version = 9")
    other.close()
    for given in (["show"], ["forget", "--all"], ["export", "trials.jsonl"]):
        done = RUN.invoke(app, ["ledger", *given])
        assert done.exit_code == 4
        assert "newer version of Graft" in done.stderr

"""``graft doctor``."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from graft.cli import doctor as module
from graft.cli.doctor import doctor

RUN = CliRunner()
app = typer.Typer()
app.command()(doctor)


def checks(code: int = 0) -> dict[str, dict[str, Any]]:
    found = RUN.invoke(app, ["--json"])
    assert found.exit_code == code, found.stdout
    document = json.loads(found.stdout)
    assert document["ok"] == (code == 0)
    return {each["name"]: each for each in document["checks"]}


def test_a_sound_machine() -> None:
    found = checks()
    assert {"python", "torch", "transformers", "pillow", "processor", "threads", "memory", "cache", "downloads"} <= set(
        found
    )
    assert found["torch"]["found"] == metadata.version("torch")
    assert "HF_HUB_OFFLINE=1" in found["downloads"]["found"]
    assert not any(each["remedy"] for each in found.values())
    shown = RUN.invoke(app, [])
    assert shown.exit_code == 0
    assert "next     graft demo" in shown.stdout


def test_a_package_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version
    monkeypatch.setattr(module.metadata, "version", lambda name: "2.4.0" if name == "torch" else version(name))
    found = checks(code=4)["torch"]
    assert found["found"].startswith("2.4.0, and >=")
    assert "hostile checkpoint" in found["found"]
    assert 'pip install "torch>=' in found["remedy"]
    shown = RUN.invoke(app, [])
    assert "needs you" in shown.stdout
    assert "1 of" in shown.stdout


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def missing(name: str) -> str:
        if name == "timm":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(module.metadata, "version", missing)
    found = checks(code=4)["timm"]
    assert found["found"] == "not installed"
    assert "pip install" in found["remedy"]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "file" / "cache"))
    assert "GRAFT_CACHE" in checks(code=4)["cache"]["remedy"]


def test_the_probe_of_the_cache_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "new"))
    assert "free" in checks()["cache"]["found"]
    assert not list((tmp_path / "new").iterdir())

"""``graft ls``."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from graft import registry
from graft.cli.ls import ls
from graft.errors import UnavailableError

RUN = CliRunner()
app = typer.Typer()
app.command()(ls)


def test_every_option_has_a_line() -> None:
    found = RUN.invoke(app, ["strategies"])
    assert found.exit_code == 0
    for name, sentence in registry.describe("strategies").items():
        assert any(line.startswith(name) and sentence in line for line in found.stdout.splitlines()), name
    assert "next     graft fit DATA" in found.stdout


def test_sources_say_what_loads_now() -> None:
    found = RUN.invoke(app, ["sources", "--json"])
    document = json.loads(found.stdout)
    entries = {entry["name"]: entry for entry in document["sources"]}
    assert list(document) == ["sources"]
    assert entries["nothing"]["local"] == ["nothing"]
    shown = RUN.invoke(app, ["sources"]).stdout
    assert "loads now without a network" in shown


def test_without_a_kind_all_are_listed() -> None:
    document = json.loads(RUN.invoke(app, ["--json"]).stdout)
    assert sorted(document) == ["readers", "sources", "strategies", "tasks"]
    assert all(entry["what"] for entries in document.values() for entry in entries)


def test_a_family_that_cannot_be_asked_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load

    def refuse(kind: str, name: str) -> type:
        if name == "timm":
            raise UnavailableError("the source 'timm' needs the package 'timm'")
        return load(kind, name)

    monkeypatch.setattr(registry, "load", refuse)
    shown = RUN.invoke(app, ["sources"]).stdout
    assert "needs the package 'timm'" in shown
    assert "zero features" in shown


def test_an_unknown_kind() -> None:
    found = RUN.invoke(app, ["strategy"])
    assert found.exit_code == 2
    assert "Did you mean strategies" in found.stderr
    assert found.stdout == ""

"""``graft cache``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from graft.cli.cache import cache
from graft.features.cache import Space, packed_keys

RUN = CliRunner()
app = typer.Typer()
app.command()(cache)


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the features of two sources."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))
    random = np.random.default_rng(0)
    for name in ("minilm", "timm/resnet18"):
        about = {"source": name, "precision": "float32", "device": "cpu"}
        keys = packed_keys(random.integers(0, 255, (50, 16)).astype(np.uint8))
        Space(tmp_path / "features" / name.replace("/", "-"), about, 8).add(
            keys, random.normal(size=(50, 8)).astype(np.float32)
        )
    return tmp_path / "features"


def test_list(held: Path) -> None:
    document = json.loads(RUN.invoke(app, ["--json"]).stdout)
    assert {each["source"]: each["rows"] for each in document["spaces"]} == {"minilm": 50, "timm/resnet18": 50}
    assert document["bytes"] == sum(file.stat().st_size for file in held.rglob("*") if file.is_file())
    shown = RUN.invoke(app, ["list"]).stdout
    assert "timm/resnet18" in shown
    assert "KB" in shown
    assert "next     graft cache prune" in shown


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "none"))
    for action, words in (("list", "holds nothing"), ("prune", "removed  0 B"), ("verify", "nothing is damaged")):
        found = RUN.invoke(app, [action])
        assert found.exit_code == 0
        assert words in found.stdout


def test_prune_keeps_what_it_is_told_to_keep(held: Path) -> None:
    before = json.loads(RUN.invoke(app, ["--json"]).stdout)["bytes"]
    assert json.loads(RUN.invoke(app, ["prune", "--keep", "1GB", "--json"]).stdout) == {
        "folder": str(held),
        "freed": 0,
        "left": before,
    }
    one = json.loads(RUN.invoke(app, ["prune", "--keep", f"{before - 1}", "--json"]).stdout)
    assert 0 < one["left"] < before
    assert one["freed"] + one["left"] == before
    assert "; 0 B left" in RUN.invoke(app, ["prune"]).stdout
    assert not list(held.iterdir())


@pytest.mark.parametrize("keep", ["much", "-1", "1 XB", ""])
def test_a_size_that_is_none(keep: str) -> None:
    found = RUN.invoke(app, ["prune", f"--keep={keep}"])
    assert found.exit_code == 2
    assert "500MB" in found.stderr


def test_verify_finds_a_flipped_byte_and_removes_the_file(held: Path) -> None:
    assert "nothing is damaged" in RUN.invoke(app, ["verify"]).stdout
    shard = sorted(held.rglob("*.safetensors"))[0]
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    found = RUN.invoke(app, ["verify"])
    assert found.exit_code == 4
    assert f"damaged  {shard}" in found.stdout
    assert "graft cache verify --remove" in found.stdout
    document = json.loads(RUN.invoke(app, ["verify", "--remove", "--json"]).stdout)
    assert document == {"folder": str(held), "damaged": [str(shard)], "removed": True}
    assert not shard.exists()
    assert RUN.invoke(app, ["verify"]).exit_code == 0


def test_an_unknown_action() -> None:
    found = RUN.invoke(app, ["prun"])
    assert found.exit_code == 2
    assert "Did you mean prune" in found.stderr

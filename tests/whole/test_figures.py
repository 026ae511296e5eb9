"""The figures in docs/strategies.md are those of benchmarks/results."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[2]


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "benchmarks/strategies/figures.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """What the figures are made of, to be changed."""
    for part in ("benchmarks", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part)
    return tmp_path


def test_the_page_has_the_figures_of_the_results() -> None:
    found = check(ROOT)
    assert found.returncode == 0, found.stderr


def test_another_result_is_found_out(copied: Path) -> None:
    path = copied / "benchmarks/results/regularised.json"
    held: dict[str, Any] = json.loads(path.read_text())
    held["few_rows"]["pacs_photo"]["l2_sp"]["all"][0] += 0.1
    path.write_text(json.dumps(held))
    assert check(copied).returncode == 1


def test_a_result_that_is_gone_is_found_out(copied: Path) -> None:
    (copied / "benchmarks/results/regularised.json").unlink()
    assert check(copied).returncode == 1


def test_later_results_have_rows_too(copied: Path) -> None:
    interval = {"mean": 0.01, "interval": [0.0, 0.02], "each": [0.01]}
    cell = {"accuracy": {"graft": 0.9, "setfit": 0.8}, "gain": interval, "seconds_ratio": {"median": 0.25}}
    ratio = {"ratio": {"trainer": {"median": 1.5}, "float32_loop": {"median": 2.5}}}
    results = {
        "setfit": {"cells": {"sst2, 8 a class": cell}, "seeds": 10},
        "fine_tuning": {"texts": {**ratio, "rows": 640}, "images": {"images": 96, "resnet18": ratio}},
        "partial": {"minilm": {"rows": 20, "stages_that_train": 1, "epoch_ratio": 3.0, "whole_ratio": 2.0}},
    }
    for name, held in results.items():
        (copied / f"benchmarks/results/{name}.json").write_text(json.dumps({**held, "machine": {}}))
    subprocess.run([sys.executable, str(copied / "benchmarks/strategies/figures.py")], check=True)
    page = (copied / "docs/strategies.md").read_text("utf-8")
    for told in ("SetFit", "4.0 ×", "Trainer", "2.5 ×", "3.0 × an epoch, 2.0 × in all"):
        assert told in page
    assert check(copied).returncode == 0

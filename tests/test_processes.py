"""Two processes on one machine: they agree, they learn the same as one, and the first one alone writes and speaks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import nn

from graft import processes


def test_alone_every_question_has_its_plain_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    parameter = nn.Parameter(torch.ones(2))
    with processes.joined():
        assert (processes.count(), processes.place()) == (1, 0)
        assert processes.agreed({"a": 1}) == {"a": 1}
        assert processes.gathered(parameter) is parameter
        assert float(processes.sum_gradients([parameter], torch.tensor(2.0))) == 2.0
        processes.wait()
    assert parameter.grad is None


ASKED = """
import torch
from torch import nn
from graft import processes

with processes.joined("cpu"):
    place = processes.place()
    assert processes.count() == 2
    assert processes.agreed(f"of {place}") == "of 0"
    learnt, untouched, lonely = (nn.Parameter(torch.ones(2)) for _ in range(3))
    learnt.grad = torch.full((2,), float(place + 1))
    if place:
        lonely.grad = torch.full((2,), 7.0)
    total = processes.sum_gradients([learnt, untouched, lonely], torch.tensor(float(place)))
    assert float(total) == 1.0
    assert learnt.grad.tolist() == [3.0, 3.0]
    assert untouched.grad is None
    assert lonely.grad.tolist() == [7.0, 7.0]
    average, count = torch.full((2,), float(place)), torch.tensor(place)
    processes.shared_mean([average, count])
    assert average.tolist() == [0.5, 0.5]
    assert int(count) == place, "whole numbers are left alone"
    with processes.joined("cpu"):
        assert processes.count() == 2, "a group that is there is not joined again"
    rows = processes.gathered(torch.full((2 - place, 3), float(place)))
    assert rows[:, 0].tolist() == [0.0, 0.0, 1.0]
    none = processes.gathered(torch.ones(place, 2, dtype=torch.int64)[:0])
    assert none.shape == (0, 2)
    processes.wait()
assert processes.count() == 1, "the group is left"
"""


def started(*command: str) -> list[subprocess.CompletedProcess[str]]:
    """The command in two processes, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    running = [
        subprocess.Popen(
            [sys.executable, *command],
            env={**common, "RANK": str(place), "LOCAL_RANK": str(place)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in range(2)
    ]
    ended = [each.communicate(timeout=300) for each in running]
    return [
        subprocess.CompletedProcess(command, each.returncode, *told) for each, told in zip(running, ended, strict=True)
    ]


@pytest.mark.slow
def test_two_processes_agree_and_add_up() -> None:
    for each in started("-c", ASKED):
        assert each.returncode == 0, each.stderr


@pytest.fixture
def table(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 150)
    rows = random.normal(size=(150, 3)).astype(np.float32)
    rows[:, 0] += 4 * labels
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(label=[f"c{label}" for label in labels])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def _learnt(output: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    manifest = json.loads((output / "manifest.json").read_bytes())
    return manifest["result"], safetensors.torch.load_file(output / "weights.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fine_tune?epochs=4&lr=0.01", "bi_tuning?epochs=4&keys=3&lr=0.01&width=4"])
def test_two_processes_learn_what_one_learns(table: Path, strategy: str) -> None:
    command = [
        "-m",
        "graft",
        "fit",
        str(table),
        "--source",
        "table/mlp?dropout=0",
        "--strategy",
        strategy,
    ]
    command += ["--control", "majority", "--precision", "float32", "--device", "cpu"]
    one, two = table.parent / "one", table.parent / "two"
    first, second = started(*command, "-o", str(two))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "verdict" in first.stdout
    assert (second.stdout, second.stderr) == ("", "")
    assert not (table.parent / "two.partial").exists()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *command, "-o", str(one)], env=environment, check=True, capture_output=True)
    (alone, weights), (together, their_weights) = _learnt(one), _learnt(two)
    assert together["winner"] == alone["winner"] == strategy
    for mine, theirs in zip(alone["tried"][0]["epochs"], together["tried"][0]["epochs"], strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4)
    for name, tensor in weights.items():
        assert torch.allclose(tensor, their_weights[name], rtol=1e-3, atol=1e-4), name


@pytest.mark.slow
def test_a_refusal_ends_all_processes_with_one_message(table: Path) -> None:
    command = ["-m", "graft", "fit", str(table), "--source", "columns", "--strategy", "linear_prob"]
    first, second = started(*command, "-o", str(table.parent / "none"))
    assert (first.returncode, second.returncode) == (2, 2)
    assert "Did you mean linear_probe" in first.stderr
    assert second.stderr == ""


@pytest.mark.slow
def test_two_processes_compare_as_one_does(table: Path) -> None:
    command = ["-m", "graft", "compare", str(table), "--source", "table/mlp?dropout=0", "--folds", "2"]
    command += ["--strategy", "linear_probe", "--strategy", "fine_tune?epochs=2&lr=0.01"]
    command += ["--control", "majority", "--precision", "float32", "--device", "cpu"]
    one, two = table.parent / "one", table.parent / "two"
    first, second = started(*command, "-o", str(two))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "best" in first.stdout
    assert (second.stdout, second.stderr) == ("", "")
    assert not (table.parent / "two.partial").exists()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *command, "-o", str(one)], env=environment, check=True, capture_output=True)
    alone, together = (json.loads((each / "comparison.json").read_bytes()) for each in (one, two))
    assert [each["name"] for each in together["standings"]] == [each["name"] for each in alone["standings"]]
    for mine, theirs in zip(alone["standings"], together["standings"], strict=True):
        assert theirs["folds"] == pytest.approx(mine["folds"], abs=0.03)

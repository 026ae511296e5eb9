"""The state of an unfinished fit comes back to the bit, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graft.nn.checkpoint import Stored, read_state, write_state

TENSORS = {"now/weight": torch.randn(3, 4), "step": torch.tensor(7.0), "count": torch.tensor(3)}


def test_tensors_and_header_come_back(tmp_path: Path) -> None:
    write_state(tmp_path / "new", TENSORS, {"total": 0.1 + 0.2, "best": None})
    found = read_state(tmp_path / "new")
    assert found is not None
    tensors, header = found
    assert header == {"total": 0.1 + 0.2, "best": None}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_tensors_that_wait_on_disk(tmp_path: Path) -> None:
    held = Stored(tmp_path / "waiting", TENSORS)
    assert list(held) == list(TENSORS)
    assert len(held) == 3
    assert all(torch.equal(tensor, TENSORS[name]) for name, tensor in held.items())


def test_the_newest_state_replaces_the_one_before(tmp_path: Path) -> None:
    for epoch in range(3):
        write_state(tmp_path, TENSORS, {"epoch": epoch})
    found = read_state(tmp_path)
    assert found is not None
    assert found[1] == {"epoch": 2}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"no tensors at all", b"\xff" * 64])
def test_what_cannot_be_read_counts_as_nothing(tmp_path: Path, damage: bytes) -> None:
    assert read_state(tmp_path / "absent") is None
    assert read_state(tmp_path) is None
    (tmp_path / "state.safetensors").write_bytes(damage)
    assert read_state(tmp_path) is None

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from graft import storage
from graft.contracts import Machine
from graft.errors import MachineError
from graft.features import cache as features_cache
from graft.features.cache import Space, packed_keys, prune, spaces, verify

ABOUT = {"source": "toy", "dim": 3, "precision": "float32", "device": "cpu"}


def keys(*numbers: int):
    raw = np.zeros((len(numbers), 16), np.uint8)
    raw[:, 0] = numbers  # the rest is zeros: keys that end in zeros must stay apart
    return packed_keys(raw)


def values(*numbers: int):
    return np.outer(np.array(numbers, np.float32), np.ones(3, np.float32))


def space(folder: Path, dim: int = 3) -> Space:
    return Space(folder, {**ABOUT, "dim": dim}, dim)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def test_what_was_added_is_found_in_any_order(tmp_path: Path) -> None:
    held = space(tmp_path / "s")
    held.add(keys(5, 0, 9), values(5, 0, 9))
    held.add(keys(7), values(7))
    for each in (held, space(tmp_path / "s")):
        assert each.missing(keys(9, 1, 7)).tolist() == [False, True, False]
        found, there = each.read(keys(7, 9, 1, 0, 9))
        assert there.tolist() == [True, True, False, True, True]
        assert np.array_equal(found[there], values(7, 9, 0, 9))


def test_an_empty_space_has_nothing(tmp_path: Path) -> None:
    held = space(tmp_path / "none")
    assert held.missing(keys(1, 2)).all()
    assert not held.read(keys(1))[1].any()
    assert not (tmp_path / "none").exists()


def flip_header(raw: bytes) -> bytes:
    return raw[:12] + b"\xff" + raw[13:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:5],
        lambda raw: raw[:40],
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: struct.pack("<Q", 1 << 60) + raw[8:],
        lambda raw: raw.replace(b'"F32"', b'"I32"'),
        lambda raw: raw.replace(b"[3,16]", b"[3,99]"),
        lambda raw: raw.replace(b"[3,3]", b"[1,9]"),
        flip_header,
    ],
)
def test_a_damaged_shard_counts_as_absent_and_is_replaced(tmp_path: Path, damage) -> None:
    space(tmp_path).add(keys(1, 2, 3), values(1, 2, 3))
    (shard,) = shards(tmp_path)
    whole = shard.read_bytes()
    shard.write_bytes(damage(whole))
    again = space(tmp_path)
    assert again.missing(keys(1, 2, 3)).all()
    again.add(keys(1, 2, 3), values(1, 2, 3))
    assert shard.read_bytes() == whole


def test_features_of_another_width_are_ignored(tmp_path: Path) -> None:
    space(tmp_path).add(keys(1), values(1))
    assert space(tmp_path, dim=4).missing(keys(1)).all()


def test_a_shard_that_vanishes_counts_as_not_found(tmp_path: Path) -> None:
    held = space(tmp_path)
    held.add(keys(1), values(1))
    held.add(keys(2), values(2))
    shards(tmp_path)[0].unlink()
    assert held.read(keys(1, 2))[1].sum() == 1


def test_left_over_temporary_files_are_swept(tmp_path: Path) -> None:
    (tmp_path / f".graft-tmp-999999999-{storage._host()}-012abc-x.safetensors").write_bytes(b"half")
    space(tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_that_somebody_is_writing_are_no_shards(tmp_path: Path) -> None:
    space(tmp_path / "a").add(keys(1), values(1))
    (shard,) = shards(tmp_path / "a")
    shard.rename(shard.with_name(f".graft-tmp-{os.getpid()}-{shard.name}"))
    assert space(tmp_path / "a").missing(keys(1)).all()
    assert spaces(tmp_path)[0].rows == 0
    assert verify(tmp_path, remove=True) == ()


def test_a_space_is_named_by_all_that_changes_features(tmp_path: Path, toy) -> None:
    backbone, machine = toy(), Machine()

    def folder(backbone=backbone, machine=machine) -> str:
        return Space.of(backbone, machine, tmp_path).folder.name

    other = toy()
    other.preprocess.files = lambda: {"letters.json": b"[]"}
    names = [
        folder(),
        folder(machine=replace(machine, precision="bfloat16")),
        folder(machine=replace(machine, device=torch.device("meta"))),
        folder(toy("toy-2")),
        folder(other),
    ]
    assert len(set(names)) == 5
    assert folder() == folder(toy(), replace(machine, threads=9))
    assert Space.of(toy(None), machine, tmp_path) is None
    assert Space.of(backbone, machine, None) is None


def test_a_disk_that_refuses_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="cannot write"):
        space(tmp_path / "file" / "s").add(keys(1), values(1))


def test_the_cache_lists_what_it_holds_latest_first(tmp_path: Path) -> None:
    for name, when in (("a", 100), ("b", 200)):
        space(tmp_path / name).add(keys(1, 2), values(1, 2))
        os.utime(tmp_path / name / "space.json", (when, when))
    (tmp_path / "precision").mkdir()
    first, second = spaces(tmp_path)
    assert (first.folder.name, first.source, first.precision, first.device) == ("b", "toy", "float32", "cpu")
    assert (second.rows, second.used) == (2, 100)
    assert second.bytes == sum(file.stat().st_size for file in (tmp_path / "a").iterdir())
    (tmp_path / "a" / "space.json").write_bytes(b"{")
    assert spaces(tmp_path)[-1].source == "(damaged)"


def test_pruning_takes_what_was_unused_for_longest(tmp_path: Path) -> None:
    for name, when in (("a", 100), ("b", 200), ("c", 300)):
        space(tmp_path / name).add(keys(1), values(1))
        os.utime(tmp_path / name / "space.json", (when, when))
    space(tmp_path / "a")  # used again
    size = spaces(tmp_path)[0].bytes
    assert prune(tmp_path, keep_bytes=2 * size) == size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
    assert prune(tmp_path) == 2 * size
    assert spaces(tmp_path) == ()


def test_verifying_finds_a_single_flipped_bit(tmp_path: Path) -> None:
    space(tmp_path / "a").add(keys(1, 2), values(1, 2))
    space(tmp_path / "a").add(keys(3), values(3))
    assert verify(tmp_path) == ()
    bad = shards(tmp_path / "a")[0]
    raw = bytearray(bad.read_bytes())
    raw[-20] ^= 1
    bad.write_bytes(raw)
    assert verify(tmp_path) == (bad,)
    assert bad.exists()
    assert verify(tmp_path, remove=True) == (bad,)
    assert not bad.exists()
    assert features_cache.verify(tmp_path) == ()

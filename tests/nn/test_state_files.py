from __future__ import annotations

import contextlib
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from graft.errors import UnavailableError, WeightsError
from graft.nn import state_files
from graft.nn.state_files import read_state


def test_safetensors_are_read(tmp_path: Path):
    save_file({"a": torch.arange(3.0)}, tmp_path / "w.safetensors")
    assert torch.equal(read_state(tmp_path / "w.safetensors")["a"], torch.arange(3.0))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".ckpt", ".bin"])
def test_pytorch_files_are_read(tmp_path: Path, suffix: str):
    torch.save({"a": torch.arange(3.0)}, tmp_path / f"w{suffix}")
    assert torch.equal(read_state(tmp_path / f"w{suffix}")["a"], torch.arange(3.0))


@pytest.mark.parametrize("key", ["state_dict", "model", "net_state_dict", "ema", "model_state_dict"])
def test_a_nested_state_is_found_and_told(tmp_path: Path, key: str):
    torch.save({key: {"a": torch.ones(2), "step": 3}, "epoch": 7}, tmp_path / "w.pt")
    state = read_state(tmp_path / "w.pt")
    assert list(state) == ["a"]
    assert repr(key) in state.notes[0]
    assert "epoch" in state.notes[1]
    assert f"{key}.step" in state.notes[1]


class _Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def test_code_is_never_run(tmp_path: Path):
    canary = tmp_path / "canary"
    torch.save({"a": torch.ones(1), "b": _Payload(canary)}, tmp_path / "evil.pt")
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(_Payload(canary)))
    for name in ("evil.pt", "plain.bin"):
        with pytest.raises(WeightsError, match="refused"):
            read_state(tmp_path / name)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x80\x02"])
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        read_state(tmp_path / name)


@pytest.mark.parametrize("writer", ["safetensors", "torch"])
def test_truncated_files_are_named(tmp_path: Path, writer: str):
    path = tmp_path / ("w.safetensors" if writer == "safetensors" else "w.pt")
    state = {"a": torch.arange(1000.0)}
    save_file(state, path) if writer == "safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match="damaged"):
        read_state(path)


@pytest.mark.parametrize("error", [struct.error, IndexError, TypeError, KeyError, AttributeError, AssertionError])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_whatever_damage_raises_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], suffix: str
):
    def fail(*given: object, **options: object) -> None:
        raise error("odd")

    monkeypatch.setattr(state_files.torch, "load", fail)
    monkeypatch.setattr(state_files, "load_file", fail)
    (tmp_path / f"w.{suffix}").write_bytes(b"x")
    with pytest.raises(WeightsError, match="damaged"):
        read_state(tmp_path / f"w.{suffix}")


def test_flipped_bytes_are_damage_or_another_state(tmp_path: Path):
    torch.save({"a": torch.arange(3.0)}, tmp_path / "whole.pt", _use_new_zipfile_serialization=False)
    whole, random = (tmp_path / "whole.pt").read_bytes(), np.random.default_rng(0)
    for place in random.integers(0, len(whole), 200):
        (tmp_path / "w.pt").write_bytes(whole[:place] + bytes([random.integers(256)]) + whole[place + 1 :])
        with contextlib.suppress(WeightsError):
            read_state(tmp_path / "w.pt")


@pytest.mark.parametrize("beside", [{}, {"epoch": {"a": torch.ones(1)}}])
def test_mappings_that_contain_themselves_end(tmp_path: Path, beside: dict):
    content = dict(beside)
    content["model"] = content
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        read_state(tmp_path / "w.pt")


def test_other_kinds_of_file_are_refused_with_a_hint(tmp_path: Path):
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "w.pt").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "w.npz").write_bytes(b"PK")
    (tmp_path / "w.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    for name, hint in (("w.h5", "keras/"), ("w.pt", "keras/"), ("w.npz", "expected one of"), ("w.bin", "git lfs pull")):
        with pytest.raises(WeightsError, match=hint):
            read_state(tmp_path / name)


def test_a_missing_file_suggests_the_nearest(tmp_path: Path):
    save_file({"a": torch.ones(1)}, tmp_path / "resnet.safetensors")
    with pytest.raises(UnavailableError, match=r"did you mean .*resnet\.safetensors"):
        read_state(tmp_path / "resnt.safetensors")
    with pytest.raises(UnavailableError, match="does not exist either"):
        read_state(tmp_path / "nowhere" / "w.pt")


@pytest.mark.parametrize("content", [[torch.ones(1)], {"epoch": 3}, torch.ones(2)])
def test_a_file_without_a_state_is_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        read_state(tmp_path / "w.pt")


def test_arrays_beside_the_tensors_are_refused_rather_than_unpickled(tmp_path: Path):
    torch.save({"a": torch.ones(1), "b": np.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="refused"):
        read_state(tmp_path / "w.pt")


def test_tensors_of_another_device_come_to_the_cpu(tmp_path: Path):
    torch.save({"a": torch.arange(3.0)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as old, zipfile.ZipFile(tmp_path / "cuda.pt", "w") as new:
        for each in old.infolist():
            held = old.read(each)
            # pickled as a text of four letters where it was one of three
            new.writestr(each.filename, held.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    with zipfile.ZipFile(tmp_path / "cuda.pt") as made:
        assert any(b"cuda:0" in made.read(each) for each in made.infolist())
    assert torch.equal(read_state(tmp_path / "cuda.pt")["a"], torch.arange(3.0))


def test_a_mapping_that_is_shared_many_times_is_looked_at_once(tmp_path: Path):
    inner: dict = {"epoch": 1}
    for _ in range(60):
        inner = {"a": inner, "b": inner}
    torch.save({"model": inner}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        read_state(tmp_path / "w.pt")


def test_compressed_archives_and_bytes_beside_tensors_are_refused(tmp_path: Path):
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as old,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for each in old.infolist():
            new.writestr(each.filename, old.read(each))
    torch.save({"a": torch.ones(1), "b": b"text"}, tmp_path / "bytes.pt")
    torch.save({"a": torch.ones(1), "b": b"text"}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("bomb.pt", "bytes.pt", "old.pt"):
        with pytest.raises(WeightsError, match="refused"):
            read_state(tmp_path / name)


def test_parts_that_are_larger_than_the_whole_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save({"a": torch.ones(1)}, tmp_path / "w.pt")
    info = zipfile.ZipInfo("data.pkl")
    info.file_size = 10**9
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda self: [info])
    with pytest.raises(WeightsError, match="larger than the whole"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize(
    "value", [torch.eye(3).to_sparse(), torch.empty(3, device="meta")], ids=["sparse", "without data"]
)
def test_tensors_that_no_network_takes_are_refused(tmp_path: Path, value: torch.Tensor):
    torch.save({"a": torch.ones(1), "b": value}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"of a kind that no network takes.*: b"):
        read_state(tmp_path / "w.pt")


def test_tensors_that_claim_more_than_the_file_are_refused(tmp_path: Path):
    torch.save({"a": torch.ones(1).expand(10**12)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="claim more than the file holds"):
        read_state(tmp_path / "w.pt")


def test_a_header_that_is_too_long_is_not_read(tmp_path: Path):
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 10**8) + b"{}")
    with pytest.raises(WeightsError, match="header would take 100_000_000 bytes"):
        read_state(tmp_path / "w.safetensors")

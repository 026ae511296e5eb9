from __future__ import annotations

import contextlib
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from graft.errors import UnavailableError, WeightsError
from graft.nn import weights
from graft.nn.weights import match, read_state


def _network() -> nn.Sequential:
    return nn.Sequential(OrderedDict(body=nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), head=nn.Linear(4, 2)))


def _equal(left: nn.Module, right: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left.state_dict().values(), right.state_dict().values(), strict=True))


def test_matching_weights_are_loaded_exactly():
    given, network = _network(), _network()
    report = match(network, given.state_dict())
    assert _equal(given, network)
    assert report.loaded == len(given.state_dict())
    assert report.reset == report.ignored == report.notes == ()


@pytest.mark.parametrize("prefix", ["module.", "model.", "backbone.", "module.model.", "_orig_mod.module.net."])
def test_common_prefixes_are_taken_off_and_told(prefix):
    given, network = _network(), _network()
    report = match(network, {prefix + name: value for name, value in given.state_dict().items()})
    assert _equal(given, network)
    assert prefix in report.notes[0]


def test_a_prefix_of_the_module_is_put_before_the_names():
    given, network = nn.Linear(3, 2), nn.Sequential(OrderedDict(trunk=nn.Linear(3, 2)))
    report = match(network, given.state_dict())
    assert torch.equal(network.trunk.weight, given.weight)
    assert "'trunk.'" in report.notes[0]


def test_a_mismatch_shows_both_sides_and_the_likely_rename_and_changes_nothing():
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = _network().state_dict()
    state["fc.weight"] = state.pop("head.weight")
    state["body.0.weight"] = torch.zeros(7, 3)
    with pytest.raises(WeightsError) as caught:
        match(network, state)
    message = str(caught.value)
    assert "- head.weight" in message
    assert "+ fc.weight" in message
    assert "fc.weight → head.weight" in message
    assert "body.0.weight: the network (4, 3) float32, the weights (7, 3) float32" in message
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_long_lists_are_cut():
    state = {f"other{i}.weight": torch.zeros(1) for i in range(50)}
    with pytest.raises(WeightsError, match="… and 30 more"):
        match(_network(), state)


def test_reset_names_stay_fresh_and_ignored_ones_are_reported():
    given, network = _network(), _network()
    head = network.head.weight.detach().clone()
    state = {**given.state_dict(), "extra.weight": torch.zeros(3)}
    state["head.weight"] = torch.zeros(9, 4)
    report = match(network, state, reset=["head"], ignore=["extra"])
    assert torch.equal(network.head.weight, head)
    assert torch.equal(network.body[0].weight, given.body[0].weight)
    assert set(report.reset) == {"head.weight", "head.bias"}
    assert {"extra.weight"} <= set(report.ignored)


def test_a_prefix_ends_at_a_dot():
    network = nn.ModuleDict({"fc": nn.Linear(2, 2), "fc2": nn.Linear(2, 2)})
    with pytest.raises(WeightsError, match=r"fc2\.weight"):
        match(network, {}, reset=["fc"])


def test_batch_counters_may_be_missing():
    state = {name: value for name, value in _network().state_dict().items() if "num_batches" not in name}
    assert match(_network(), state).loaded == len(state)


def test_tied_weights_need_one_name():
    network = nn.ModuleDict({"embed": nn.Embedding(5, 3), "out": nn.Linear(3, 5, bias=False)})
    network["out"].weight = network["embed"].weight
    values = torch.arange(15.0).view(5, 3)
    match(network, {"embed.weight": values})
    assert torch.equal(network["out"].weight, values)


def test_integers_are_no_weights():
    with pytest.raises(WeightsError, match="int8"):
        match(nn.Linear(2, 2), {"weight": torch.zeros(2, 2, dtype=torch.int8), "bias": torch.zeros(2)})


def test_half_precision_is_widened():
    network = nn.Linear(2, 2)
    match(network, {name: value.half() for name, value in network.state_dict().items()})
    assert network.weight.dtype == torch.float32


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(WeightsError, match="not finite numbers: weight"):
        match(nn.Linear(1, 1), {"weight": torch.tensor([[float("nan")]]), "bias": torch.zeros(1)})


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


def test_notes_of_the_file_reach_the_report(tmp_path: Path):
    torch.save({"state_dict": nn.Linear(1, 1).state_dict()}, tmp_path / "w.pt")
    assert "state_dict" in match(nn.Linear(1, 1), read_state(tmp_path / "w.pt")).notes[0]


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

    monkeypatch.setattr(weights.torch, "load", fail)
    monkeypatch.setattr(weights, "load_file", fail)
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
    with pytest.raises(WeightsError, match=r"contain themselves|no state dict"):
        read_state(tmp_path / "w.pt")


def test_other_kinds_of_file_are_refused_with_a_hint(tmp_path: Path):
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "w.pt").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "w.npz").write_bytes(b"PK")
    (tmp_path / "w.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    for name, hint in (("w.h5", "Keras"), ("w.pt", "Keras"), ("w.npz", "expected one of"), ("w.bin", "git lfs pull")):
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

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from graft.errors import WeightsError
from graft.nn.state_files import read_state
from graft.nn.weights import match


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


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.model.", "_orig_mod.net.", "student.trunk."])
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


def test_every_unmatched_name_is_shown():
    state = {f"other{i}.weight": torch.zeros(1) for i in range(300)}
    with pytest.raises(WeightsError) as caught:
        match(_network(), state)
    message = str(caught.value)
    assert all(name in message for name in (*state, *_network().state_dict()) if "num_batches" not in name)
    assert all(len(line) < 130 for line in message.splitlines())


def test_absurdly_many_names_are_cut():
    state = {f"other{i}.weight": torch.zeros(1) for i in range(1200)} | {"x" * 5000: torch.zeros(1)}
    with pytest.raises(WeightsError, match="… and 201 more") as caught:
        match(_network(), state)
    assert "x" * 300 not in str(caught.value)


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


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_no_kind_of_number_hides_one_that_is_none(value: float, dtype: torch.dtype):
    state = {"weight": torch.tensor([[1.0, value]], dtype=dtype), "bias": torch.zeros(1, dtype=dtype)}
    with pytest.raises(WeightsError, match="not finite numbers: weight"):
        match(nn.Linear(2, 1), state)


def test_large_weights_are_numbers_and_so_is_a_mask():
    network = nn.Linear(2, 1)
    network.register_buffer("mask", torch.zeros(2))
    state = {"weight": torch.tensor([[3e38, 3e38]]), "bias": torch.zeros(1), "mask": torch.tensor([0, -torch.inf])}
    match(network, state)
    assert network.weight[0, 0] == torch.tensor(3e38)
    with pytest.raises(WeightsError, match="mask"):
        match(network, {**state, "mask": torch.tensor([0, torch.nan])})


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(WeightsError, match="not finite numbers: weight"):
        match(nn.Linear(1, 1), {"weight": torch.tensor([[float("nan")]]), "bias": torch.zeros(1)})


def test_notes_of_the_file_reach_the_report(tmp_path: Path):
    torch.save({"state_dict": nn.Linear(1, 1).state_dict()}, tmp_path / "w.pt")
    assert "state_dict" in match(nn.Linear(1, 1), read_state(tmp_path / "w.pt")).notes[0]

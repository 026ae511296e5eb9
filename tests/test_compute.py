from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from graft import compute
from graft.contracts import Backbone, Card, Machine
from graft.data.examples import TableExamples
from graft.errors import RequestError
from graft.nn.grafted import Grafted

CPU = torch.device("cpu")


class Plain:
    """Rows of numbers as they are."""

    def items(self, rows, seeds=None):
        return [torch.from_numpy(np.asarray(row)) for row in rows]

    def cost(self, item):
        return 1

    def collate(self, items):
        return torch.stack(items)

    def files(self):
        return {}


def backbone(module: nn.Module, dim: int = 4, fingerprint: str | None = "f") -> Backbone:
    return Backbone(module, dim, Plain(), (), Card("toy", "table"), fingerprint=fingerprint)


def rows(n: int = 20, d: int = 4) -> TableExamples:
    return TableExamples(np.random.default_rng(0).normal(size=(n, d)).astype(np.float32))


def test_auto_settles_on_a_device_that_exists() -> None:
    held = compute.machine()
    assert held.device.type in ("cpu", "cuda")
    assert held.precision is None
    assert held.threads == compute.available_threads() == torch.get_num_threads()


def test_what_is_asked_for_is_taken() -> None:
    assert compute.machine("cpu", "bfloat16", threads=1) == Machine(CPU, "bfloat16", 1)
    assert compute.machine("cpu", None).precision is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"device": "gpu7"}, "expected one of auto, cpu"),
        ({"device": "cuda:99"}, "cannot be used here"),
        ({"precision": "float16"}, "expected auto, float32 or bfloat16"),
        ({"threads": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        compute.machine(**asked)


def test_a_container_quota_limits_threads_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "_CGROUP", tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(compute.os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert compute.available_threads() == 64
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert compute.available_threads() == 3
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert compute.available_threads() == 64
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert compute.available_threads() == 2
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert compute.available_memory() == 600_000


def test_batches_move_whole_and_only_floats_change_type() -> None:
    machine = Machine(CPU)
    batch = {"input_ids": torch.tensor([[1, 2]]), "values": torch.ones(1, 2)}
    moved = compute.to_device(batch, machine, torch.bfloat16)
    assert {name: value.dtype for name, value in moved.items()} == {
        "input_ids": torch.int64,
        "values": torch.bfloat16,
    }
    assert compute.to_device(torch.ones(2, dtype=torch.uint8), machine, torch.bfloat16).dtype == torch.uint8


def test_the_prepared_copy_computes_and_leaves_the_original_alone() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    twin = compute.prepared(module, Machine(CPU, "bfloat16"))
    assert not twin.training
    assert not any(value.requires_grad for value in twin.parameters())
    assert twin[0].weight.dtype == torch.bfloat16
    assert twin[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert module.training
    assert all(value.requires_grad and value.dtype == torch.float32 for value in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_target_models_head_stays_in_float32() -> None:
    trunk = nn.Linear(4, 3)
    model = Grafted(backbone(trunk, 3), nn.Linear(3, 2))
    twin = compute.prepared(model, Machine(CPU, "bfloat16"))
    assert (twin.trunk.weight.dtype, twin.head.weight.dtype) == (torch.bfloat16, torch.float32)
    assert twin.backbone is model.backbone
    assert twin(torch.ones(1, 4, dtype=torch.bfloat16)).dtype == torch.float32


class Doubling(nn.Module):
    def forward(self, x):
        return x * 2

    def compact(self, device):
        return Halved() if device.type == "cpu" else None


class Halved(nn.Module):
    def forward(self, x):
        return x + x


def test_modules_give_their_compact_form_wherever_they_are() -> None:
    assert isinstance(compute.prepared(Doubling(), Machine(CPU)), Halved)
    nested = compute.prepared(nn.Sequential(nn.Identity(), Doubling()), Machine(CPU))
    assert isinstance(nested[1], Halved)


class Timed(nn.Module):
    """Takes as long as the clock says for its precision, and may lose digits in bfloat16."""

    def __init__(self, seconds: dict, noise: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.seconds, self.noise = seconds, noise

    def forward(self, x):
        CLOCK[0] += self.seconds[x.dtype]
        lost = self.noise if x.dtype == torch.bfloat16 else 0.0
        return x.float() + lost * torch.tensor([1.0, -1.0, 1.0, -1.0])


CLOCK = [0.0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute.time, "perf_counter", lambda: CLOCK[0])
    monkeypatch.setattr(compute, "knows_bfloat16", lambda device: True)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("half", "noise", "chosen"), [(0.5, 0.0, "bfloat16"), (0.9, 0.0, "float32"), (0.5, 5.0, "float32")]
)
def test_bfloat16_must_be_faster_and_agree(half: float, noise: float, chosen: str) -> None:
    module = Timed({torch.float32: 1.0, torch.bfloat16: half}, noise)
    assert compute.settle(backbone(module), rows(), Machine()).precision == chosen


@pytest.mark.usefixtures("clock")
def test_the_decision_is_remembered_by_fingerprint(tmp_path: Path) -> None:
    fast = backbone(Timed({torch.float32: 1.0, torch.bfloat16: 0.1}))
    slow = backbone(Timed({torch.float32: 1.0, torch.bfloat16: 9.0}))
    assert compute.settle(fast, rows(), Machine(), tmp_path).precision == "bfloat16"
    (held,) = tmp_path.glob("*.json")
    assert json.loads(held.read_bytes())["precision"] == "bfloat16"
    assert compute.settle(slow, rows(), Machine(), tmp_path).precision == "bfloat16"
    assert compute.settle(replace(slow, fingerprint="g"), rows(), Machine(), tmp_path).precision == "float32"
    held.write_bytes(b"{torn")
    assert compute.settle(slow, rows(), Machine(), tmp_path).precision == "float32"


@pytest.mark.usefixtures("clock")
def test_no_measurement_where_it_is_decided_or_pointless(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(compute, "_measure", never)
    weighty = backbone(nn.Linear(4, 4))
    assert compute.settle(weighty, rows(), Machine(precision="bfloat16")).precision == "bfloat16"
    assert compute.settle(backbone(nn.Identity()), rows(), Machine()).precision == "float32"
    assert compute.settle(weighty, rows(0), Machine()).precision == "float32"
    monkeypatch.setattr(compute, "knows_bfloat16", lambda device: False)
    assert compute.settle(weighty, rows(), Machine()).precision == "float32"


def test_only_devices_with_bfloat16_arithmetic_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not compute.knows_bfloat16(CPU)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert compute.knows_bfloat16(CPU)
    assert not compute.knows_bfloat16(torch.device("meta"))


def test_the_processor_has_a_name() -> None:
    assert compute.processor()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("not enough memory"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert compute.out_of_memory(error) is expected


def test_the_speed_of_the_machine_is_measured_once() -> None:
    compute._rate.cache_clear()
    machine = compute.machine("cpu", "float32")
    found = compute.speed(machine)
    assert found.float32 == found.fastest > 0
    assert compute.speed(machine) == found
    assert compute._rate.cache_info().misses == 1


def test_the_fastest_precision_is_the_one_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "knows_bfloat16", lambda device: True)
    monkeypatch.setattr(compute, "_rate", lambda device, dtype, threads: {torch.float32: 4.0}.get(dtype, 3.0))
    assert compute.speed(Machine(CPU)) == compute.Speed(4.0, 4.0)
    assert compute.speed(Machine(CPU, "bfloat16")) == compute.Speed(4.0, 3.0)
    assert compute.speed(Machine(CPU, "float32")) == compute.Speed(4.0, 4.0)


def test_free_memory_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "available_memory", lambda: 7)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 9))
    assert compute.free_memory(Machine(CPU)) == 7
    assert compute.free_memory(Machine(torch.device("cuda"))) == 5

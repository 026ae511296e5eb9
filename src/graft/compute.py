"""The machine: device, precision, threads, memory, and the copy of a network that only computes."""

from __future__ import annotations

import copy
import json
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Batch, Examples, Machine, Precision
from graft.errors import GraftError, RequestError
from graft.storage import digest, write_atomic

__all__ = [
    "Compact",
    "Speed",
    "available_memory",
    "available_threads",
    "bfloat16_pays",
    "dtype_of",
    "free_memory",
    "knows_bfloat16",
    "machine",
    "out_of_memory",
    "prepared",
    "processor",
    "settle",
    "speed",
    "to_device",
]

_DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}

_FASTER = 1.2
"""bfloat16 costs digits, so it has to be this many times as fast as float32 …"""
_ALIKE = 0.999
"""… and every row's features must point where the float32 ones do (cosine)."""
_PLAIN = 1.3
"""So many times as fast, or as slow, as what decides needs no second look."""

_EDGES = {"cpu": 512, "cuda": 4096}
"""Rows and columns of the matrices by which a device's speed is measured, …"""
_LOOKED_AT = 0.2
"""… and for how many seconds."""

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Speed:
    """Multiply-adds a second of large matrix products, which no network quite reaches.

    Parameters
    ----------
    float32
        In full precision.
    fastest
        In the precision that a network computes in.
    """

    float32: float
    fastest: float


@runtime_checkable
class Compact(Protocol):
    """A module that has a faster form of itself for inference, with the same weights and outputs."""

    def compact(self, device: torch.device) -> nn.Module | None:
        """The faster form, or ``None`` where there is none for ``device``."""


def machine(device: str = "auto", precision: str | None = "auto", threads: int | None = None) -> Machine:
    """Resolve where work runs, and let torch use as many threads as this process may have.

    Parameters
    ----------
    device
        ``auto`` (a CUDA device where there is one), or as torch writes it: ``cpu``, ``cuda:0``.
    precision
        ``float32``, ``bfloat16``, or ``auto``: measured once the source is known (:func:`settle`).
    threads
        CPU threads; ``None`` takes what the scheduler and the container allow.

    Raises
    ------
    RequestError
        For a device that is not there, an unknown precision, or less than one thread.
    """
    count = available_threads() if threads is None else threads
    if count < 1:
        raise RequestError(f"threads is {count}; expected at least 1.")
    if precision not in ("auto", None, *_DTYPES):
        raise RequestError(f"precision is {precision!r}; expected auto, float32 or bfloat16.")
    if count != torch.get_num_threads():
        torch.set_num_threads(count)
    settled = None if precision in ("auto", None) else precision
    return Machine(device=_device(device), precision=settled, threads=count)  # type: ignore[arg-type]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as exc:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        there = ", ".join(["auto", "cpu", *(f"cuda:{index}" for index in range(count))])
        raise RequestError(f"device {name!r} cannot be used here; expected one of {there}.") from exc
    return device


def available_threads() -> int:
    """CPU threads that this process may use: scheduler, container and ``OMP_NUM_THREADS`` considered."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_number("cpu.max", field=0), _cgroup_number("cpu.max", field=1)
    if quota[0] is not None and quota[1]:
        count = min(count, max(1, math.ceil(quota[0] / quota[1])))
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return min(count, int(asked)) if asked.isdigit() and int(asked) > 0 else count


def available_memory() -> int | None:
    """Bytes that can still be had: the machine's and the container's; ``None`` where nothing tells."""
    left = []
    limit, used = _cgroup_number("memory.max"), _cgroup_number("memory.current")
    if limit is not None and used is not None:
        left.append(limit - used)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    left += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return max(0, min(left)) if left else None


def free_memory(machine: Machine) -> int | None:
    """Bytes that a network can still have where it runs; ``None`` where nothing tells."""
    if machine.device.type == "cuda":
        return int(torch.cuda.mem_get_info(machine.device)[0])
    return available_memory()


def out_of_memory(exc: BaseException) -> bool:
    """Whether an exception says that memory ran out; torch's CPU allocator says so in words alone."""
    if isinstance(exc, MemoryError | torch.OutOfMemoryError):
        return True
    signs = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(exc, RuntimeError) and any(sign in str(exc) for sign in signs)


def _cgroup_number(file: str, field: int = 0) -> int | None:
    try:
        value = (_CGROUP / file).read_text().split()[field]
    except (OSError, IndexError):
        return None
    return int(value) if value.isdigit() else None


def dtype_of(machine: Machine) -> torch.dtype:
    """The torch type of a machine's precision; float32 until it is settled."""
    return _DTYPES[machine.precision or "float32"]


def to_device(batch: Batch, machine: Machine, dtype: torch.dtype | None = None) -> Batch:
    """A batch on the machine's device; floating-point tensors become ``dtype``, others keep their type."""
    if isinstance(batch, Tensor):
        return _moved(batch, machine.device, dtype)
    return {name: _moved(tensor, machine.device, dtype) for name, tensor in batch.items()}


def _moved(tensor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=device, dtype=wanted, non_blocking=True)


def prepared(module: nn.Module, machine: Machine) -> nn.Module:
    """A copy of ``module`` that only computes: evaluation mode, on the device, in its precision.

    Convolutional networks get channels-last weights, modules that are :class:`Compact` their
    faster form.  Where a target model is given, its trunk alone changes precision: its head works
    in float32.
    """
    dtype = dtype_of(machine)
    twin = _copied(module).eval().requires_grad_(False)
    trunk = getattr(twin, "trunk", None)
    if isinstance(trunk, nn.Module):
        # nn.Module.__setattr__ replaces the registered child, so that forward() runs the new one.
        twin.trunk = _ready(trunk, dtype, machine.device)
    else:
        twin = _ready(twin, dtype, machine.device)
    return twin.to(machine.device)


def _ready(module: nn.Module, dtype: torch.dtype, device: torch.device) -> nn.Module:
    module = _compacted(module.to(dtype), device).eval().requires_grad_(False)
    if any(isinstance(part, nn.Conv2d) for part in module.modules()):
        module = module.to(memory_format=torch.channels_last)
    return module


def _compacted(module: nn.Module, device: torch.device) -> nn.Module:
    if isinstance(module, Compact):
        return module.compact(device) or module
    for name, child in module.named_children():
        setattr(module, name, _compacted(child, device))
    return module


def _copied(module: nn.Module) -> nn.Module:
    """A deep copy that shares what is no part of the network: a target model also holds its backbone's record."""
    records = [held for part in module.modules() for held in vars(part).values() if isinstance(held, Backbone)]
    return copy.deepcopy(module, {id(record): record for record in records})


def processor() -> str:
    """The processor's name, as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def knows_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices by itself; elsewhere they are slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in asked)


def settle(backbone: Backbone, examples: Examples, machine: Machine, memo: Path | None = None) -> Machine:
    """The machine with its precision decided by a short measurement, where it is not decided yet.

    bfloat16 is taken where a few of the rows run at least 1.2 times as fast in it and all their
    features keep a cosine of 0.999 with the float32 ones.

    Parameters
    ----------
    memo
        Folder that remembers the decision for this source on this processor, so that later runs
        take the same and find the same cached features; ``None`` measures every time.
    """
    if machine.precision is not None:
        return machine
    if not knows_bfloat16(machine.device) or not any(True for _ in backbone.module.parameters()):
        return replace(machine, precision="float32")
    place = None
    if memo is not None and backbone.fingerprint is not None:
        chip = processor() if machine.device.type == "cpu" else torch.cuda.get_device_name(machine.device)
        name = digest(backbone.fingerprint, machine.device.type, chip, str(machine.threads), torch.__version__)
        place = memo / f"{name}.json"
        if (known := _remembered(place)) is not None:
            return replace(machine, precision=known)
    batch = _sample(backbone, examples)
    if batch is None:
        return replace(machine, precision="float32")
    speedup, cosine = _measure(backbone.module, batch, machine)
    chosen: Precision = "bfloat16" if speedup >= _FASTER and cosine >= _ALIKE else "float32"
    if place is not None:
        found = {"precision": chosen, "speedup": round(speedup, 3), "cosine": round(cosine, 6)}
        write_atomic(place, json.dumps(found).encode())
    return replace(machine, precision=chosen)


def _remembered(place: Path) -> Precision | None:
    try:
        held = json.loads(place.read_bytes())["precision"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return held if held in _DTYPES else None


def _sample(backbone: Backbone, examples: Examples) -> Batch | None:
    """A batch of rows from all over the data; rows that cannot be read are left to whoever reads them all."""
    items: list[Any] = []
    weight = 0
    for row in np.linspace(0, len(examples) - 1, num=min(64, len(examples))).astype(int).tolist():
        try:
            item = backbone.preprocess.items([examples[row]])[0]
        except (GraftError, ValueError, OSError, SyntaxError):
            continue
        cost = backbone.preprocess.cost(item)
        items.append(item)
        weight += cost
        if weight >= 1024 or (cost == 1 and len(items) >= 16):
            break
    return backbone.preprocess.collate(items) if items else None


def _measure(module: nn.Module, batch: Batch, machine: Machine) -> tuple[float, float]:
    """How many times as fast bfloat16 is, and the smallest cosine between the features of a row."""
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    sides = [replace(machine, precision=precision) for precision in precisions]
    networks = [prepared(module, side) for side in sides]
    batches = [to_device(batch, side, dtype_of(side)) for side in sides]
    seconds = [math.inf, math.inf]
    features: list[Tensor] = []
    with torch.inference_mode():
        for network, each in zip(networks, batches, strict=True):
            features.append(network(each).float().flatten(1))
        for _ in range(3):  # in turns, so that another process disturbs both alike; the best is the undisturbed one
            for side, (network, each) in enumerate(zip(networks, batches, strict=True)):
                _wait(machine)
                started = time.perf_counter()
                network(each)
                _wait(machine)
                seconds[side] = min(seconds[side], time.perf_counter() - started)
        alike = nn.functional.cosine_similarity(features[0], features[1])
    return seconds[0] / max(seconds[1], 1e-9), float(alike.nan_to_num(-1.0).min())


def bfloat16_pays(run: Callable[[bool], object], machine: Machine) -> bool:
    """Whether a training step is clearly faster in bfloat16, by a few of them.

    Networks of depthwise convolutions are slower in it on CPUs, however well it suits their forward pass.

    Parameters
    ----------
    run
        One step, in bfloat16 where it is told ``True``.
    """
    if not knows_bfloat16(machine.device):
        return False
    seconds = {False: math.inf, True: math.inf}
    for turn in range(4):
        for halves in seconds:
            _wait(machine)
            started = time.perf_counter()
            run(halves)
            _wait(machine)
            if turn:  # the first one warms up
                seconds[halves] = min(seconds[halves], time.perf_counter() - started)
        ratio = seconds[False] / seconds[True] / _FASTER if turn else 1.0
        if not 1 / _PLAIN < ratio < _PLAIN:
            break
    return seconds[False] >= _FASTER * seconds[True]


def speed(machine: Machine) -> Speed:
    """How fast the machine multiplies matrices now, by products of one size; measured once a process."""
    plain = _rate(machine.device, torch.float32, torch.get_num_threads())
    if machine.precision == "float32" or not knows_bfloat16(machine.device):
        return Speed(plain, plain)
    short = _rate(machine.device, torch.bfloat16, torch.get_num_threads())
    return Speed(plain, short if machine.precision == "bfloat16" else max(plain, short))


@cache
def _rate(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """Multiply-adds a second over a fifth of a second, so that what other processes take counts too."""
    edge, here = _EDGES.get(device.type, _EDGES["cpu"]), Machine(device)
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(edge, edge, generator=generator).to(device, dtype) for _ in range(2))
    one @ other  # the first builds kernels
    _wait(here)
    started, count, spent = time.perf_counter(), 0, 0.0
    while spent < _LOOKED_AT:
        one @ other
        _wait(here)
        count, spent = count + 1, time.perf_counter() - started
    return count * float(edge) ** 3 / spent


def _wait(machine: Machine) -> None:
    if machine.device.type == "cuda":
        torch.cuda.synchronize(machine.device)

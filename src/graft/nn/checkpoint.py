"""The state of an unfinished fit on disk: one file that is whole or absent, tensors and a small header, no pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graft.storage import sweep, write_atomic

__all__ = ["Stored", "read_state", "write_state"]

_FILE = "state.safetensors"


def write_state(folder: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Replace what the folder holds.

    Parameters
    ----------
    header
        Values for JSON; floats come back to the bit.

    Raises
    ------
    MachineError
        Where the disk refuses.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(folder / _FILE, safetensors.torch.save(plain, {"header": json.dumps(header, sort_keys=True)}))


class Stored(Mapping[str, Tensor]):
    """Tensors that wait on disk: each is read when it is asked for, and none is kept.

    Parameters
    ----------
    folder
        What it holds is replaced.
    tensors
        What is put there.

    Raises
    ------
    MachineError
        Where the disk refuses.
    """

    def __init__(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        self.names = tuple(tensors)
        self.path = folder / _FILE
        write_state(folder, tensors, {})

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self.path, framework="pt") as file:
            found: Tensor = file.get_tensor(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and header, or ``None`` where there is no file or it cannot be read: then the fit starts anew."""
    if not folder.is_dir():
        return None
    sweep(folder)
    try:
        with safe_open(folder / _FILE, framework="pt") as file:
            header: dict[str, Any] = json.loads(file.metadata()["header"])
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None

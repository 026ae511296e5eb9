"""Tensors from files of strangers: read as data, or refused; nothing in a file is ever run.

PyTorch files go through ``weights_only``, and where that refuses a file, the file is refused.  What
it lets through can still be made to fill the memory (a compressed archive, bytes encoded again and
again, a tensor that claims more than its file holds), so a file is looked at before it is read.
"""

from __future__ import annotations

import difflib
import mmap
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from graft.errors import UnavailableError, WeightsError
from graft.wording import listed

__all__ = ["State", "read_state"]

_TORCH_SUFFIXES = {".pt", ".pth", ".th", ".ckpt", ".bin", ".tar"}
_KERAS_SUFFIXES = {".h5", ".hdf5", ".keras"}

# Averaged weights first: they are what an author who kept both evaluated.
_NESTS = (
    "state_dict_ema",
    "model_ema",
    "ema",
    "ema_state_dict",
    "state_dict",
    "model_state_dict",
    "net_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
_DEEPEST = 8
"""Mappings that tensors may be nested in; one that contains itself would never end."""

_LONGEST_HEADER = 10_000_000
"""Bytes of names and shapes in a safetensors file: about a hundred thousand tensors."""

_SLACK = 1 << 20
"""Bytes that tensors may claim beyond the size of their file: alignment, and scalars kept as code."""

_SWELLING = (b"c_codecs\n", b"bytearray\n")
"""What a pickle would name to make bytes, which may grow without end while they are read."""


class State(dict[str, Tensor]):
    """Tensors by name, as a file holds them.

    Parameters
    ----------
    tensors
        By name.
    notes
        What was left out or looked up inside the file, a sentence each.
    """

    def __init__(self, tensors: Mapping[str, Tensor], notes: tuple[str, ...] = ()) -> None:
        super().__init__(tensors)
        self.notes = notes


def read_state(path: str | Path) -> State:
    """Read a checkpoint: ``.safetensors``, or a PyTorch file that ``weights_only`` accepts.

    Tensors nested under ``state_dict``, ``model``, ``ema`` and the like are found; what is not a
    tensor is left out; both are told in ``State.notes``.  Tensors of other devices come to the CPU.

    Raises
    ------
    UnavailableError
        Where there is no such file; names the nearest one in its folder.
    WeightsError
        Where the file is damaged, of a kind that cannot be read, or holds anything but data.
    """
    path = Path(path)
    if not path.is_file():
        raise UnavailableError(
            f"there is no weights file {path}{_nearest_file(path)}. Give its path, from here or from the root."
        )
    with open(path, "rb") as file:
        start = file.read(64)
    if path.suffix.lower() in _KERAS_SUFFIXES or start.startswith(b"\x89HDF"):
        raise WeightsError(
            f"{path} is a Keras / HDF5 file, and this route reads .safetensors and PyTorch state dicts; "
            f"name it as a Keras source: keras/{path}."
        )
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a Git LFS pointer, not the weights; run `git lfs pull` in its folder.")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    if path.suffix.lower() in _TORCH_SUFFIXES:
        return _read_torch(path)
    known = ", ".join(sorted({".safetensors", *_TORCH_SUFFIXES}))
    raise WeightsError(f"{path} has no known ending for weights; expected one of {known}.")


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; its folder {path.parent} does not exist either"
    beside = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.4)
    return f"; did you mean {path.with_name(near[0])}" if near else ""


def _read_safetensors(path: Path) -> State:
    with open(path, "rb") as file:
        stated = file.read(8)
    if len(stated) == 8 and (length := struct.unpack("<Q", stated)[0]) > _LONGEST_HEADER:
        raise WeightsError(
            f"{path} is damaged or no safetensors file (its header would take {length:_} bytes, "
            f"and {_LONGEST_HEADER:_} are expected at most); fetch it again."
        )
    try:
        return State(load_file(path))
    except Exception as exc:  # a header that lies makes the reader fail in ways of torch's, not only in its own
        raise WeightsError(f"{path} is damaged or no safetensors file ({exc}); fetch it again.") from exc


def _read_torch(path: Path) -> State:
    _look_at(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: what it cannot read, it refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        reason = next((line for line in str(exc).splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
        raise _untrusted(path, reason.strip()) from exc
    except Exception as exc:  # damage reads as any instruction of a pickle, so it fails like any of them
        first = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise WeightsError(f"{path} is damaged or no PyTorch state dict ({first}); fetch it again.") from exc
    state = _unnest(content, path)
    _check_tensors(state, path)
    return state


def _untrusted(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path} holds more than tensors, or is no PyTorch file, and loading it could run code or fill the memory, "
        f"so it is refused. {reason}\nWhere you trust its author, write its tensors alone: "
        "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
    )


def _look_at(path: Path) -> None:
    """Refuse what would grow while it is read; looks at names and sizes only."""
    size = path.stat().st_size
    if size == 0:
        raise WeightsError(f"{path} is damaged: it is empty; fetch it again.")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        if whole[257:262] == b"ustar":
            raise _untrusted(path, "It is an archive of the first PyTorch versions, which holds pickles.")
        if whole[:4] != b"PK\x03\x04":  # what torch goes by
            swelling = any(whole.find(name) >= 0 for name in _SWELLING)
        else:
            swelling = any(name in held for held in _pickles(path, size) for name in _SWELLING)
    if swelling:
        raise _untrusted(path, "It makes bytes beside its tensors.")


def _pickles(path: Path, size: int) -> list[bytes]:
    """What an archive holds beside its tensors' bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(each.compress_type != zipfile.ZIP_STORED for each in members):
                raise _untrusted(path, "It is a compressed archive, and PyTorch writes none.")
            if sum(each.file_size for each in members) > size:
                raise _untrusted(path, "Its parts are larger than the whole.")
            return [archive.read(each) for each in members if each.filename.endswith(".pkl")]
    except (zipfile.BadZipFile, RuntimeError, EOFError, OverflowError, ValueError, struct.error, OSError) as exc:
        if isinstance(exc, WeightsError):
            raise
        raise WeightsError(f"{path} is damaged or no PyTorch state dict ({exc}); fetch it again.") from exc


def _check_tensors(state: State, path: Path) -> None:
    """Every tensor is there: dense, on the CPU, and no larger than what the file holds."""
    odd = [name for name, value in state.items() if value.layout != torch.strided or value.device.type != "cpu"]
    odd += [name for name, value in state.items() if name not in odd and value.is_quantized]
    if odd:
        raise WeightsError(
            f"{path} holds tensors of a kind that no network takes as they are (sparse, quantised or without data): "
            f"{', '.join(odd[:6])}. Write them as plain tensors first."
        )
    held = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in state.values()}
    most = path.stat().st_size + _SLACK
    large = [name for name, value in state.items() if value.numel() * value.element_size() > most]
    if large or sum(held.values()) > most:
        raise WeightsError(
            f"{path} is damaged: its tensors claim more than the file holds"
            f"{f' ({large[0]}: {tuple(state[large[0]].shape)})' if large else ''}; fetch it again."
        )


def _unnest(content: Any, path: Path) -> State:
    trail: list[str] = []
    left: list[str] = []
    without: set[int] = set()
    while isinstance(content, Mapping):
        nests = [key for key in _NESTS if isinstance(content.get(key), Mapping) and _has_tensors(content[key], without)]
        if any(isinstance(value, Tensor) for value in content.values()) or not nests or len(trail) == _DEEPEST:
            break
        left += [".".join([*trail, str(key)]) for key in content if key != nests[0]]
        trail.append(nests[0])
        content = content[nests[0]]
    tensors = (
        {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        found = (
            f"the keys {', '.join(_short(key) for key in islice(content, 10))}"
            if isinstance(content, Mapping)
            else type(content)
        )
        raise WeightsError(f"{path} holds no state dict: found {found}; expected tensors by name.")
    left += [".".join([*trail, _short(name)]) for name in content if not isinstance(content[name], Tensor)]
    notes = [f"read from {'.'.join(trail)!r} inside {path.name}"] if trail else []
    if left:
        notes.append(f"left out of {path.name}: {listed(left, 6)}")
    return State(tensors, tuple(notes))


def _short(key: object) -> str:
    return key[:80] if isinstance(key, str) else type(key).__name__


def _has_tensors(content: Mapping[Any, Any], without: set[int]) -> bool:
    """Whether there is a tensor anywhere inside; every mapping is looked at once, also where it contains itself."""
    waiting, seen = [content], {id(content)}
    while waiting:
        for value in waiting.pop().values():
            if isinstance(value, Tensor):
                return True
            if isinstance(value, Mapping) and id(value) not in seen and id(value) not in without:
                seen.add(id(value))
                waiting.append(value)
    without |= seen
    return False

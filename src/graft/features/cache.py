"""The feature cache on disk: a folder a space, a file for every window that was computed.

A space belongs to one source, preprocessing, precision and kind of device; its name is their
digest.  A shard holds ``keys`` ``(n, 16)`` uint8 and ``features`` ``(n, d)`` float32 as
safetensors, named by its keys, and is written whole or not at all: processes share a space without
locks, and the worst that two can do to each other is to compute a row twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from graft.contracts import Array, Backbone, Machine
from graft.storage import digest, disk_errors, is_temporary, sweep, write_atomic

__all__ = ["Keys", "Space", "SpaceInfo", "packed_keys", "prune", "spaces", "verify"]

_LAYOUT = "1"
"""Changes with what a shard is, so that older ones are never misread."""
_ABOUT = "space.json"
_ENDING = ".safetensors"
_MOST_HEADER = 1 << 20

Keys = npt.NDArray[np.bytes_]
Rows = npt.NDArray[np.int64]


def packed_keys(keys: npt.NDArray[np.uint8]) -> Keys:
    """``(n, 16)`` digests as ``(n,)`` sortable values."""
    return np.ascontiguousarray(keys).view("S16").reshape(-1)


@dataclass(frozen=True)
class _Shard:
    path: Path
    rows: int
    dim: int
    keys_at: int
    features_at: int
    check: str

    def keys(self) -> Keys:
        with open(self.path, "rb") as file:
            file.seek(self.keys_at)
            return np.frombuffer(file.read(self.rows * 16), "S16")

    def features(self) -> npt.NDArray[np.float32]:
        return np.memmap(self.path, np.float32, "r", self.features_at, (self.rows, self.dim))

    def sound(self) -> bool:
        return _checksum(self.keys(), self.features()) == self.check


def _checksum(keys: Keys, features: Array) -> str:
    hasher = hashlib.sha256(keys.tobytes())
    hasher.update(np.ascontiguousarray(features).view(np.uint8).data)
    return hasher.hexdigest()


def _shard_files(folder: Path) -> list[Path]:
    """The finished files; temporary ones are still being written by somebody."""
    return [path for path in sorted(folder.glob(f"*{_ENDING}")) if not is_temporary(path)]


def _open_shard(path: Path) -> _Shard | None:
    """The shard, or ``None`` where its header or its size is wrong."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _MOST_HEADER):
                return None
            header = json.loads(file.read(length))
        keys, features = header["keys"], header["features"]
        (rows, width), (count, dim) = keys["shape"], features["shape"]
        kinds = keys["dtype"], features["dtype"]
        spans = sorted([tuple(keys["data_offsets"]), tuple(features["data_offsets"])])
        check = str(header["__metadata__"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None
    start = 8 + length
    fits = {tuple(keys["data_offsets"]): rows * 16, tuple(features["data_offsets"]): count * dim * 4}
    whole = spans[0][0] == 0 and spans[0][1] == spans[1][0] and start + spans[1][1] == size
    if not whole or kinds != ("U8", "F32") or width != 16 or rows != count:
        return None
    if any(end - begin != expected for (begin, end), expected in fits.items()):
        return None
    return _Shard(path, rows, dim, start + keys["data_offsets"][0], start + features["data_offsets"][0], check)


@dataclass(frozen=True)
class _Index:
    """Sorted keys, and for each the shard and the row in it."""

    keys: Keys
    shard: Rows
    row: Rows

    def find(self, wanted: Keys) -> tuple[Rows, Rows]:
        """Shard and row of each wanted key; −1 where it is not here."""
        if not len(self.keys):
            return np.full(len(wanted), -1), np.full(len(wanted), -1)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        there = self.keys[place] == wanted
        return np.where(there, self.shard[place], -1), np.where(there, self.row[place], -1)


class Space:
    """The cached features of one source under one preprocessing, precision and kind of device.

    Parameters
    ----------
    folder
        Where its shards are; it is made with the first one.
    about
        What ``graft cache`` tells about it.
    dim
        Width of the features; shards of another width are ignored.
    """

    def __init__(self, folder: Path, about: dict[str, Any], dim: int) -> None:
        self.folder = folder
        self.about = about
        self.dim = dim
        self._shards: list[_Shard] = []
        found = []
        if folder.is_dir():
            sweep(folder)
            with contextlib.suppress(OSError):
                os.utime(folder / _ABOUT)  # prune() removes what was not used for longest
            for path in _shard_files(folder):
                shard = _open_shard(path)
                if shard is not None and shard.dim == dim:
                    found.append(self._added(shard, shard.keys()))
        self._indexes = [_merged(found)] if found else []

    @classmethod
    def of(cls, backbone: Backbone, machine: Machine, cache: Path | None) -> Space | None:
        """The space of a backbone on a machine; ``None`` where nothing may be cached."""
        if cache is None or backbone.fingerprint is None:
            return None
        files = sorted(backbone.preprocess.files().items())
        precision, device = machine.precision or "float32", machine.device.type
        parts = [part for file in files for part in file]
        name = digest(_LAYOUT, backbone.fingerprint, precision, device, *parts)
        about = {"source": backbone.card.name, "dim": backbone.dim, "precision": precision, "device": device}
        return cls(Path(cache) / name, about, backbone.dim)

    def missing(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """``(n,)``: which keys are not here."""
        return self._find(keys)[0] < 0

    def read(self, keys: Keys) -> tuple[Array, npt.NDArray[np.bool_]]:
        """``(n, d)`` features and ``(n,)`` whether each was found; others are left undefined."""
        shards, rows = self._find(keys)
        features = np.empty((len(keys), self.dim), np.float32)
        found = shards >= 0
        for number in np.unique(shards[found]).tolist():
            here = shards == number
            try:
                features[here] = self._shards[number].features()[rows[here]]
            except (OSError, ValueError):  # another process has pruned it
                found &= ~here
        return features, found

    def add(self, keys: Keys, features: Array) -> None:
        """Keep the features of a window, whole or not at all.

        Raises
        ------
        MachineError
            Where the disk refuses.
        """
        features = np.ascontiguousarray(features, np.float32)
        held = {"keys": keys.view(np.uint8).reshape(-1, 16), "features": features}
        path = self.folder / f"{digest(keys.tobytes())}{_ENDING}"
        if not (self.folder / _ABOUT).exists():
            write_atomic(self.folder / _ABOUT, json.dumps(self.about, sort_keys=True).encode())
        write_atomic(path, safetensors.numpy.save(held, metadata={"sha256": _checksum(keys, features)}))
        shard = _open_shard(path)
        if shard is not None:  # else another process has pruned it already
            self._indexes.append(_merged([self._added(shard, keys)]))

    def _added(self, shard: _Shard, keys: Keys) -> _Index:
        self._shards.append(shard)
        return _Index(keys, np.full(len(keys), len(self._shards) - 1), np.arange(len(keys)))

    def _find(self, keys: Keys) -> tuple[Rows, Rows]:
        shards, rows = np.full(len(keys), -1), np.full(len(keys), -1)
        for index in self._indexes:
            found, row = index.find(keys)
            shards, rows = np.where(found >= 0, found, shards), np.where(found >= 0, row, rows)
        return shards, rows


def _merged(parts: list[_Index]) -> _Index:
    keys = np.concatenate([part.keys for part in parts])
    order = np.argsort(keys, kind="stable")
    shard = np.concatenate([part.shard for part in parts])
    row = np.concatenate([part.row for part in parts])
    return _Index(keys[order], shard[order], row[order])


@dataclass(frozen=True)
class SpaceInfo:
    """What ``graft cache`` tells about a space; ``used`` is in seconds since 1970."""

    folder: Path
    source: str
    precision: str
    device: str
    rows: int
    bytes: int
    used: float


def spaces(cache: Path) -> tuple[SpaceInfo, ...]:
    """What the cache holds, the most recently used first."""
    held = []
    for about in Path(cache).glob(f"*/{_ABOUT}"):
        try:
            told, used = json.loads(about.read_bytes()), about.stat().st_mtime
            source, precision, device = (str(told[name]) for name in ("source", "precision", "device"))
        except (OSError, ValueError, KeyError, TypeError):
            source, precision, device, used = "(damaged)", "", "", 0.0
        shards = [shard for path in _shard_files(about.parent) if (shard := _open_shard(path))]
        size = sum(file.stat().st_size for file in about.parent.iterdir() if file.is_file())
        rows = sum(shard.rows for shard in shards)
        held.append(SpaceInfo(about.parent, source, precision, device, rows, size, used))
    return tuple(sorted(held, key=lambda info: (-info.used, info.folder.name)))


def prune(cache: Path, keep_bytes: int = 0) -> int:
    """Remove whole spaces, the longest unused first, until at most ``keep_bytes`` are left; returns the bytes freed.

    Raises
    ------
    MachineError
        Where the disk refuses.
    """
    held = spaces(cache)
    size = sum(info.bytes for info in held)
    freed = 0
    for info in reversed(held):
        if size - freed <= keep_bytes:
            break
        with disk_errors(info.folder):
            shutil.rmtree(info.folder)
        freed += info.bytes
    return freed


def verify(cache: Path, remove: bool = False) -> tuple[Path, ...]:
    """The shards whose content is not what was written; ``remove`` deletes them, and they are computed again."""
    damaged = []
    for about in sorted(Path(cache).glob(f"*/{_ABOUT}")):
        for path in _shard_files(about.parent):
            shard = _open_shard(path)
            if shard is None or not shard.sound():
                damaged.append(path)
                if remove:
                    with disk_errors(path):
                        path.unlink(missing_ok=True)
    return tuple(damaged)

"""Keras files, looked over before anything in them is believed: ``.keras`` archives and HDF5, of Keras 1 to 3.

HDF5 can point outside of itself, declare arrays that it does not hold, and name filters to load;
an archive can unpack to more than the machine has.  All of that is refused by what the file states,
before a byte of an array is read.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.errors import UnavailableError, WeightsError
from graft.nn.keras.backend import keras
from graft.nn.keras.config import cleaned

__all__ = ["Opened", "names_in", "opened"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_INSIDE = "model.weights.h5"

_SLACK = 1 << 20
_RATIO = 4  # weights hardly compress: what claims to grow further than this is no model
_MOST_OBJECTS = 100_000
_LONGEST_CONFIG = 64 << 20
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})  # HDF5's own, and lzf; others are libraries to load
_CHUNKED = re.compile(r"\d+")


@dataclass(frozen=True)
class Opened:
    """A Keras file that was looked over.

    Parameters
    ----------
    config
        Its architecture, made harmless; ``None`` where it holds weights alone.
    hdf5
        The file that holds the weights: itself, or what was taken out of the archive.
    legacy
        Name of the group in which Keras 1 and 2 keep layers in their order, ``"/"`` for the file
        itself; ``None`` where Keras 3 keeps them by place.
    total
        Bytes of all weights, as the file declares them.
    """

    config: dict[str, Any] | None
    hdf5: Path
    legacy: str | None
    total: int


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Look a Keras file over, and give what is in it for the length of the block.

    Raises
    ------
    UnavailableError
        Where there is no such file.
    WeightsError
        Where it is damaged, no Keras file, or not to be trusted.
    """
    if not path.is_file():
        raise UnavailableError(f"there is no Keras file {path}.")
    with open(path, "rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a Git LFS pointer, not the model; run `git lfs pull` in its folder.")
    with contextlib.ExitStack() as stack, _translated(path):
        if start.startswith(_ZIP):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            config, hdf5 = _unpacked(path, folder)
            yield _looked_over(hdf5, config)
        elif start.startswith(_HDF5):
            yield _looked_over(path, None)
        else:
            raise WeightsError(f"{path} is neither a .keras archive nor HDF5: it is damaged or another kind of file.")


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Damage shows wherever the file is read next, and its readers fail in many ways."""
    try:
        yield
    except WeightsError as exc:
        raise WeightsError(str(exc) if str(path) in str(exc) else f"{path}: {exc}") from exc
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise WeightsError(f"{path} is damaged ({exc}); fetch it again.") from exc
    except (OSError, KeyError, RuntimeError, RecursionError, NotImplementedError) as exc:
        raise WeightsError(f"{path} is damaged or cut short ({exc}); fetch it again.") from exc


def _unpacked(path: Path, folder: Path) -> tuple[dict[str, Any], Path]:
    """Architecture and weights of an archive; nothing else in it is touched, and no name in it is a path here."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        missing = [name for name in ("config.json", _INSIDE) if name not in members]
        if missing:
            raise WeightsError(f"{path} holds no {' and no '.join(missing)}; it is no model that Keras saved.")
        stated, weights = members["config.json"], members[_INSIDE]
        limit = _RATIO * path.stat().st_size + _SLACK
        if stated.file_size > _LONGEST_CONFIG or stated.file_size + weights.file_size > limit:
            raise WeightsError(f"{path} would unpack to more than {_RATIO} times its size, which no model does.")
        with archive.open(stated) as source:
            text = source.read(stated.file_size + 1)
        out = folder / _INSIDE
        with archive.open(weights) as source, open(out, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    return cleaned(json.loads(text)), out


def _looked_over(path: Path, config: dict[str, Any] | None) -> Opened:
    keras()  # says how to install h5py where it is missing
    import h5py

    with h5py.File(path, "r") as file:
        total = _walked(file, path.stat().st_size)
        stated = _attribute(file, "model_config")
        if config is None and stated is not None:
            config = cleaned(json.loads(stated))
        nest = "model_weights" if "model_weights" in file else "/"
        legacy = nest if names_in(file[nest], "layer_names") is not None else None
    return Opened(config, path, legacy, total)


def _walked(file: Any, size: int) -> int:
    """Check every object of the file, and return how many bytes its arrays declare."""
    import h5py

    total, seen, waiting = 0, {h5py.h5o.get_info(file.id).addr}, [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsError(f"its entry {name[:80]!r} points to another place or file; it is not followed.")
            held = group[name]
            address = h5py.h5o.get_info(held.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MOST_OBJECTS:
                raise WeightsError(f"it holds more than {_MOST_OBJECTS} objects, which no model does.")
            if isinstance(held, h5py.Group):
                waiting.append(held)
            elif isinstance(held, h5py.Dataset):
                total += _declared(held)
            else:
                raise WeightsError(f"its entry {name[:80]!r} is neither a group nor an array.")
    if total > _RATIO * size + _SLACK:
        raise WeightsError(f"it declares arrays of {total:,} bytes, and has {size:,}: it is damaged or hostile.")
    return total


def _declared(held: Any) -> int:
    """Bytes of an array as the file declares it, if it is one that Keras writes."""
    plan = held.id.get_create_plist()
    if held.is_virtual or plan.get_external_count():
        raise WeightsError(f"the array {held.name[:80]!r} lies in another file; it is not followed.")
    if held.dtype.kind not in "biufV" or held.dtype.hasobject or held.shape is None:
        raise WeightsError(f"the array {held.name[:80]!r} holds {held.dtype}, expected numbers.")
    used = {plan.get_filter(place)[0] for place in range(plan.get_nfilters())}
    if used - _FILTERS:
        raise WeightsError(f"the array {held.name[:80]!r} needs the filter {max(used)} of HDF5, which is not loaded.")
    return int(math.prod(held.shape)) * int(held.dtype.itemsize)


def _attribute(held: Any, name: str) -> Any:
    """An attribute, read if it is of a size that the file can hold; ``None`` where there is none."""
    import h5py

    if name not in held.attrs:
        return None
    low = h5py.h5a.open(held.id, name.encode())
    if math.prod(low.shape or ()) > _MOST_OBJECTS or low.get_storage_size() > _LONGEST_CONFIG:
        raise WeightsError(f"its attribute {name!r} is larger than any that Keras writes.")
    value = held.attrs[name]
    return value.decode() if isinstance(value, bytes) else value


def names_in(group: Any, name: str) -> list[str] | None:
    """A list of names that Keras keeps in an attribute, or in several where they are many."""
    stems = [
        key for key in group.attrs if key == name or (key.startswith(name) and _CHUNKED.fullmatch(key[len(name) :]))
    ]
    if not stems:
        return None
    parts = [_attribute(group, stem) for stem in sorted(stems, key=lambda stem: int(stem[len(name) :] or 0))]
    return [each.decode() if isinstance(each, bytes) else str(each) for part in parts for each in part]

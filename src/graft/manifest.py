"""The manifest of a saved model: what the folder holds, under a checksum each, and a seal over it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

from graft.errors import BundleError
from graft.storage import file_sha256
from graft.version import __version__

__all__ = ["ENSEMBLE", "FORMAT", "is_bundle", "members", "plain_json", "read_manifest", "sealed", "verify"]

FORMAT = 1
"""The number of the folder's layout; a reader refuses numbers that it does not know."""

ENSEMBLE = 2
"""The number of the layout of several models that speak as one: each is a folder of its own within."""

_COMMON = frozenset({"card", "files", "fitted", "format", "graft", "result", "task"})

_PARTS = {FORMAT: _COMMON | {"precision", "source", "strategy"}, ENSEMBLE: _COMMON | {"members"}}
"""Format → what a manifest says at least."""

_MOST_MEMBERS = 1000

_LARGEST_MANIFEST = 64 << 20
"""Bytes; what was measured on the widest of tasks takes a few of these."""


def is_bundle(path: str | Path) -> bool:
    """Whether ``path`` looks like a saved model."""
    return (Path(path) / "manifest.json").is_file()


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest, its own seal checked.

    Raises
    ------
    BundleError
        Where it is missing, damaged or of a format that is not known.
    """
    path = Path(path)
    if not is_bundle(path):
        raise BundleError(f"{path} is not a saved model: it has no manifest.json. Give a folder that graft fit wrote.")
    large = (path / "manifest.json").stat().st_size > _LARGEST_MANIFEST
    raw = b"" if large else (path / "manifest.json").read_bytes()
    try:
        manifest = json.loads(raw)
        seal = manifest.pop("seal")
        sound = sealed(manifest) == raw and seal == _seal(manifest)
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise BundleError(f"{path / 'manifest.json'} is damaged: its checksum does not fit. Restore it or fit again.")
    stated = manifest.get("format")
    if not isinstance(stated, int) or stated not in _PARTS:
        raise BundleError(
            f"{path} has format {stated}, and this graft {__version__} reads the formats {FORMAT} and {ENSEMBLE}; "
            f"it was written by graft {manifest.get('graft', 'of an unknown version')}."
        )
    if missing := sorted(_PARTS[stated] - manifest.keys()):
        raise BundleError(f"{path / 'manifest.json'} says nothing of {', '.join(missing)}; fit the model again.")
    if not _lists_files(manifest["files"]):
        raise BundleError(f"{path / 'manifest.json'} does not list the files with their sizes; fit the model again.")
    if stated == ENSEMBLE and not _lists_members(manifest["members"]):
        raise BundleError(f"{path / 'manifest.json'} does not say how often each member counts; fit the model again.")
    return cast("dict[str, Any]", manifest)


def _lists_files(files: object) -> bool:
    return isinstance(files, dict) and all(
        isinstance(stated, dict) and {"bytes", "sha256"} <= stated.keys() for stated in files.values()
    )


def _lists_members(listed: object) -> bool:
    return (
        isinstance(listed, list)
        and 0 < len(listed) <= _MOST_MEMBERS
        and all(isinstance(each, dict) and type(each.get("times")) is int and each["times"] > 0 for each in listed)
    )


def members(manifest: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Folder and times of each member; empty for a model of one network."""
    if manifest["format"] != ENSEMBLE:
        return ()
    return tuple((f"members/{place}", each["times"]) for place, each in enumerate(manifest["members"]))


def _needed(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The files without which there is no model."""
    yield "selftest/outputs.json"
    within = members(manifest)
    yield from (f"{folder}/manifest.json" for folder, _ in within) if within else ("weights.safetensors",)


def _is_plain(folder: Path, parts: Sequence[str]) -> bool:
    """Whether this is a file with one name, and no part of its path is a link."""
    try:
        if any((folder / Path(*parts[:end])).is_symlink() for end in range(1, len(parts) + 1)):
            return False
        return (folder / Path(*parts)).is_file()
    except OSError:  # a name longer than the file system knows
        return False


def verify(path: str | Path) -> dict[str, Any]:
    """Check every file against the manifest, and return the manifest.

    Raises
    ------
    BundleError
        Naming every file that is missing, altered, or not a plain file of the bundle.
    """
    path = Path(path)
    manifest = read_manifest(path)
    faults = [f"{name}: not listed" for name in _needed(manifest) if name not in manifest["files"]]
    for name, stated in manifest["files"].items():
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\0" in name or "\\" in name:
            faults.append(f"{name[:200]!r}: leads out of the folder, or is no name")
        elif not _is_plain(path, parts):
            faults.append(f"{name[:200]}: missing, or not a plain file")
        elif (path / name).stat().st_size != stated["bytes"] or file_sha256(path / name) != stated["sha256"]:
            faults.append(f"{name[:200]}: its content was altered")
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise BundleError(f"{path} is damaged:\n{listed}\nRestore these files from a copy, or fit again.")
    return manifest


def plain_json(document: Mapping[str, Any]) -> bytes:
    """A document as JSON, always in the same bytes."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _seal(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(plain_json(manifest)).hexdigest()


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is written: with a checksum of its own."""
    return plain_json({**manifest, "seal": _seal(manifest)})

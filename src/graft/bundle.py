"""A saved model is a folder: ``manifest.json`` and ``*.safetensors``, no pickle anywhere.

::

    manifest.json        what the model is made of, its scores, and a checksum of every other file
    weights.safetensors  trunk and head, float32
    source/…             the source's small files: architecture, preprocessing, tokenizer
    selftest/…           a few training rows, and the outputs that they must give

It is written under a temporary name and renamed, so it is whole or absent.  Loading checks every
checksum, rebuilds the network without the source's original or a network connection, matches the
weights strictly, and runs the self-test.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import safetensors.torch
from safetensors import SafetensorError

from graft import compute, registry
from graft.contracts import Array, Backbone, Card, Examples, Precision
from graft.data import keepsake
from graft.errors import BundleError, GraftError, MachineError, RequestError
from graft.model import Model
from graft.nn.grafted import Grafted
from graft.nn.weights import match
from graft.storage import file_sha256, new_folder
from graft.version import __version__

__all__ = ["FORMAT", "checked_place", "is_bundle", "load", "read_manifest", "save", "verify"]

FORMAT = 1
"""The number of the folder's layout; a reader refuses numbers that it does not know."""

_PARTS = frozenset({"card", "files", "fitted", "format", "graft", "precision", "result", "source", "strategy", "task"})
"""What a manifest says at least."""

_NEEDED = ("selftest/outputs.json", "weights.safetensors")

_FOREIGN = (GraftError, SafetensorError, AttributeError, KeyError, TypeError, ValueError)
"""What a file that Graft did not write may lead to, however well it is sealed."""

_SELF_TEST_ROWS = 4
_TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest difference of an output, relative to the largest one, that another machine may give."""


def save(
    model: Model, path: str | Path, *, rows: Examples, result: Mapping[str, Any] | None = None, replace: bool = False
) -> Path:
    """Write a fitted model.

    Parameters
    ----------
    rows
        Examples from which the self-test's few rows are taken.
    result
        What was measured, as JSON; kept in the manifest.
    replace
        Whether a folder that exists may be replaced.

    Raises
    ------
    MachineError
        Where the disk refuses, or ``path`` exists.
    RequestError
        Where the source or strategy cannot be described as JSON.
    """
    path = checked_place(path, replace)
    described = _describe(model)
    with new_folder(path, replace=replace) as folder:
        backbone = model.module.backbone
        for name, content in sorted({**backbone.files, **backbone.preprocess.files()}.items()):
            _write(folder / "source" / name, content)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.module.state_dict().items()}
        _write(folder / "weights.safetensors", safetensors.torch.save(state))
        kept = keepsake.pack(rows, _SELF_TEST_ROWS)
        for name, content in kept.items():
            _write(folder / "selftest" / name, content)
        expected = model.outputs(keepsake.unpack(kept))
        _write(folder / "selftest" / "outputs.json", _json({"outputs": expected.astype(float).tolist()}))
        described["result"] = dict(result or {})
        described["files"] = {
            str(file.relative_to(folder).as_posix()): {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        _write(folder / "manifest.json", _sealed(described))
    return path


def checked_place(path: str | Path, replace: bool) -> Path:
    """A path where a model may be written: replacing is for models, never for a folder of something else.

    Raises
    ------
    RequestError
        For a path without a name of its own, such as ``.``.
    MachineError
        Where ``replace`` would delete what is not a saved model.
    """
    path = Path(path)
    if path.name in ("", "..", "."):
        raise RequestError(f"{str(path)!r} is no name for a new folder; give one, such as {path / 'model'}.")
    if replace and path.exists() and not is_bundle(path) and not (path.is_dir() and not any(path.iterdir())):
        raise MachineError(f"{path} holds something else than a saved model, and is not replaced; choose another name.")
    return path


def _describe(model: Model) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "graft": __version__,
        "source": registry.spec(model.source),
        "strategy": registry.spec(model.strategy),
        "task": registry.spec(model.task),
        "fitted": model.fitted.state(),
        "precision": model.machine.precision or "float32",
        "card": dataclasses.asdict(model.card),
        "versions": {
            name: metadata.version(name)
            for name in ("torch", "transformers", "timm", "scikit-learn", "numpy", "pillow")
        },
        "machine": {"processor": platform.machine(), "python": platform.python_version()},
    }


def load(path: str | Path, *, device: str = "auto", test: bool = True) -> Model:
    """Read a saved model; nothing in it is executed, and no network is used.

    Parameters
    ----------
    test
        Whether to run the self-test.

    Raises
    ------
    BundleError
        Where a file is damaged, missing or foreign, or the self-test fails.
    """
    path = Path(path)
    manifest = verify(path)
    try:
        model = _rebuild(path, manifest, device)
        if test:
            _self_test(path, manifest, model)
    except BundleError:
        raise
    except _FOREIGN as exc:
        raise BundleError(f"{path} cannot be rebuilt: {exc}") from exc
    return model


def _rebuild(path: Path, manifest: Mapping[str, Any], device: str) -> Model:
    source = registry.restore("sources", manifest["source"])
    strategy = registry.restore("strategies", manifest["strategy"])
    task = registry.restore("tasks", manifest["task"])
    fitted = task.restore(manifest["fitted"])
    files = {
        name.removeprefix("source/"): (path / name).read_bytes()
        for name in manifest["files"]
        if name.startswith("source/")
    }
    backbone: Backbone = dataclasses.replace(source.rebuild(files), card=_card(manifest["card"]))
    module = cast("Grafted", strategy.build(backbone, fitted))
    match(module, safetensors.torch.load_file(path / "weights.safetensors"))
    machine = compute.machine(device, precision=cast("Precision", manifest["precision"]))
    return Model(source, strategy, task, fitted, module, machine)


def _card(document: Mapping[str, Any]) -> Card:
    return Card(**{**document, "notes": tuple(document["notes"])})


def _self_test(path: Path, manifest: Mapping[str, Any], model: Model) -> None:
    names = [name for name in manifest["files"] if name.startswith("selftest/")]
    kept = {name.removeprefix("selftest/"): (path / name).read_bytes() for name in names}
    expected: Array = np.asarray(json.loads(kept.pop("outputs.json"))["outputs"], dtype=np.float64)
    given = model.outputs(keepsake.unpack(kept)).astype(np.float64)
    worst = float(np.abs(given - expected).max(initial=0.0))
    allowed = _TOLERANCE[model.machine.precision or "float32"] * max(1.0, float(np.abs(expected).max(initial=0.0)))
    if not worst <= allowed:
        raise BundleError(
            f"{path} fails its self-test: an output differs by {worst:.3g}, and {allowed:.3g} is allowed. "
            "The libraries here may compute it differently; the manifest names the versions that it was saved with."
        )


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
    raw = (path / "manifest.json").read_bytes()
    try:
        manifest = json.loads(raw)
        seal = manifest.pop("seal")
        sound = _sealed(manifest) == raw and seal == _seal(manifest)
    except (ValueError, KeyError, AttributeError, TypeError):
        sound = False
    if not sound:
        raise BundleError(f"{path / 'manifest.json'} is damaged: its checksum does not fit. Restore it or fit again.")
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"{path} has format {manifest.get('format')}, and this graft {__version__} reads format {FORMAT}; "
            f"it was written by graft {manifest.get('graft', 'of an unknown version')}."
        )
    if missing := sorted(_PARTS - manifest.keys()):
        raise BundleError(f"{path / 'manifest.json'} says nothing of {', '.join(missing)}; fit the model again.")
    return cast("dict[str, Any]", manifest)


def verify(path: str | Path) -> dict[str, Any]:
    """Check every file against the manifest, and return the manifest.

    Raises
    ------
    BundleError
        Naming every file that is missing, altered, or not a plain file of the bundle.
    """
    path = Path(path)
    manifest = read_manifest(path)
    faults = [f"{name}: not listed" for name in _NEEDED if name not in manifest["files"]]
    for name, stated in manifest["files"].items():
        file = path / name
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute():
            faults.append(f"{name}: leads out of the folder")
        elif any((path / Path(*parts[:end])).is_symlink() for end in range(1, len(parts) + 1)) or not file.is_file():
            faults.append(f"{name}: missing, or not a plain file")
        elif file.stat().st_size != stated["bytes"] or file_sha256(file) != stated["sha256"]:
            faults.append(f"{name}: its content was altered")
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise BundleError(f"{path} is damaged:\n{listed}\nRestore these files from a copy, or fit again.")
    return manifest


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _seal(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(manifest)).hexdigest()


def _sealed(manifest: Mapping[str, Any]) -> bytes:
    return _json({**manifest, "seal": _seal(manifest)})


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

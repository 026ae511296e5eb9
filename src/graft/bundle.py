"""A saved model is a folder: ``manifest.json`` and ``*.safetensors``, no pickle anywhere.

::

    manifest.json        what the model is made of, its scores, and a checksum of every other file
    weights.safetensors  trunk and head, float32
    source/…             the source's small files: architecture, preprocessing, tokenizer
    selftest/…           a few training rows, and the outputs that they must give

An ensemble has ``members/0``, ``members/1``, … in place of weights and source: each such a folder of
its own, which can be loaded alone.

It is written under a temporary name and renamed, so it is whole or absent.  Loading checks every
checksum, rebuilds the network without the source's original or a network connection, matches the
weights strictly, and runs the self-test.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from graft import compute, registry
from graft.assembly import assemble
from graft.contracts import Array, Examples
from graft.data import keepsake
from graft.errors import BundleError, GraftError, MachineError, RequestError
from graft.manifest import ENSEMBLE, FORMAT, is_bundle, members, plain_json, verify
from graft.manifest import sealed as _sealed
from graft.model import Ensemble, Model, Predictor
from graft.nn import factories
from graft.storage import file_sha256, new_folder
from graft.version import __version__

__all__ = ["checked_place", "load", "save"]

_SELF_TEST_ROWS = 4
_TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""Largest difference of an output, relative to the largest one, that another machine may give."""


def save(
    model: Predictor,
    path: str | Path,
    *,
    rows: Examples,
    result: Mapping[str, Any] | None = None,
    replace: bool = False,
    notes: Sequence[str] = (),
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
    notes
        Beside those of the model's card: what whoever loads it has to know.

    Raises
    ------
    MachineError
        Where the disk refuses, or ``path`` exists.
    RequestError
        Where the source or strategy cannot be described as JSON.
    """
    path = checked_place(path, replace)
    described = _describe(model)
    described["card"]["notes"] = [*model.card.notes, *notes]
    with new_folder(path, replace=replace) as folder:
        _fill(folder, model, described, keepsake.pack(rows, _SELF_TEST_ROWS), result or {})
    return path


def _fill(
    folder: Path, model: Predictor, described: dict[str, Any], kept: Mapping[str, bytes], result: Mapping[str, Any]
) -> None:
    """Write all that a saved model is into an empty folder, the manifest last."""
    if isinstance(model, Ensemble):
        for place, member in enumerate(model.members):
            _fill(folder / "members" / str(place), member, _describe(member), kept, {})
    elif isinstance(model, Model):
        _write_network(folder, model)
    for name, content in kept.items():
        _write(folder / "selftest" / name, content)
    expected = model.outputs(keepsake.unpack(kept))
    _write(folder / "selftest" / "outputs.json", plain_json({"outputs": expected.astype(float).tolist()}))
    described["result"] = dict(result)
    described["files"] = {
        str(file.relative_to(folder).as_posix()): {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    _write(folder / "manifest.json", _sealed(described))


def _write_network(folder: Path, model: Model) -> None:
    backbone = model.module.backbone
    for name, content in sorted({**backbone.files, **backbone.preprocess.files()}.items()):
        _write(folder / "source" / name, content)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.module.state_dict().items()}
    _write(folder / "weights.safetensors", safetensors.torch.save(state))


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


def _describe(model: Predictor) -> dict[str, Any]:
    """What the manifest says of it, but for its result and its files."""
    return {
        **_made_of(model),
        "graft": __version__,
        "task": registry.spec(model.task),
        "fitted": model.fitted.state(),
        "card": dataclasses.asdict(model.card),
        "versions": _versions(),
        "machine": {"processor": platform.machine(), "python": platform.python_version()},
    }


def _made_of(model: Predictor) -> dict[str, Any]:
    if isinstance(model, Ensemble):
        return {"format": ENSEMBLE, "members": [{"times": each} for each in model.times]}
    assert isinstance(model, Model), "a model is of one network or of several"
    return {
        "format": FORMAT,
        "source": registry.spec(model.source),
        "strategy": registry.spec(model.strategy),
        "precision": model.machine.precision or "float32",
    }


def _versions() -> dict[str, str]:
    """Of what may compute the outputs, as far as it is installed."""
    found = {}
    for name in ("torch", "torchvision", "transformers", "timm", "keras", "scikit-learn", "numpy", "pillow"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def load(
    path: str | Path, *, device: str = "auto", test: bool = True, code: str | Sequence[str] | None = None
) -> Predictor:
    """Read a saved model; nothing in it is executed, and no network is used.

    Parameters
    ----------
    test
        Whether to run the self-test.
    code
        Your own functions that make its network, ``nets.py:make``, where it was fitted with such:
        they run because you name them here, and only as the model was saved with.

    Raises
    ------
    BundleError
        Where a file is damaged, missing or foreign, the self-test fails, or it is made by code that
        ``code`` does not name.
    """
    path = Path(path)
    manifest = verify(path)
    with factories.allowed(code):
        try:
            model = _rebuild(path, manifest, device)
            if test:
                _self_test(path, manifest, model)
        except BundleError:
            raise
        except GraftError as exc:
            raise BundleError(f"{path} cannot be rebuilt: {exc}") from exc
        except Exception as exc:  # a file that Graft did not write may lead to any, however well it is sealed
            raise BundleError(f"{path} cannot be rebuilt: {type(exc).__name__}: {exc}") from exc
    return model


def _rebuild(path: Path, manifest: Mapping[str, Any], device: str) -> Predictor:
    within = members(manifest)
    if not within:
        return _network(path, manifest, device)
    found = []
    for folder, _ in within:
        stated = verify(path / folder)
        if [stated["task"], stated["fitted"]] != [manifest["task"], manifest["fitted"]]:
            raise BundleError(f"{path / folder} is no member of {path}: it was fitted for another task.")
        found.append(_network(path / folder, stated, device))
    return Ensemble(found, [times for _, times in within])


def _network(path: Path, manifest: Mapping[str, Any], device: str) -> Model:
    parts = assemble(path, manifest)
    machine = compute.machine(device, precision=parts.precision)
    return Model(parts.source, parts.strategy, parts.task, parts.fitted, parts.module, machine)


def _self_test(path: Path, manifest: Mapping[str, Any], model: Predictor) -> None:
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


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

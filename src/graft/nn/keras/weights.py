"""Values of a Keras model's variables out of a file that was looked over, all of them or an error."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from graft.errors import WeightsError
from graft.nn.keras.backend import architecture_only
from graft.nn.keras.files import Opened
from graft.nn.keras.network import leaves, variables_of
from graft.wording import listed

__all__ = ["read_values"]

_FOUR = 4  # bytes of a float32


def read_values(model: Any, file: Opened) -> dict[str, dict[str, Tensor]]:
    """Values by part and name (``keras_network.parts_of``), read as Keras reads them.

    Raises
    ------
    WeightsError
        Where the file does not hold this model's weights, or they are no finite numbers.
    """
    needed = _FOUR * sum(math.prod(variable.shape) for variable in model.weights)
    if needed > 2 * file.total + (1 << 20):
        raise WeightsError(
            f"the architecture needs {needed:,} bytes of weights, and the file has {file.total:,}. "
            "Name the architecture and the options that the weights were trained with."
        )
    values: dict[int, Any] = {}
    try:
        with architecture_only() as scope:
            _assign(model, file)
            values = {id(each): scope.get_current_value(each) for each in model.weights}
    except Exception as exc:  # Keras says in many ways that something does not fit
        raise WeightsError(f"the weights do not fit or are damaged: {_brief(exc)}") from exc
    return _named(model, values)


def _assign(model: Any, file: Opened) -> None:
    """Let Keras assign all variables, by their order in old files and by their place in new ones."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format
    from keras.src.saving import saving_lib

    if file.legacy is not None:
        with h5py.File(file.hdf5, "r") as held:
            legacy_h5_format.load_weights_from_hdf5_group(held[file.legacy], model)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "model.weights.h5")  # Keras goes by the name
        link.symlink_to(file.hdf5.resolve())
        saving_lib.load_weights_only(model, str(link))


def _named(model: Any, values: dict[int, Any]) -> dict[str, dict[str, Tensor]]:
    named: dict[str, dict[str, Tensor]] = {}
    missing, bad = [], []
    for part, layer in leaves(model):
        for name, variable in variables_of(layer).items():
            value = values.get(id(variable))
            if value is None:
                missing.append(f"{part}.{name}")
                continue
            if not bool(torch.isfinite(value).all()):
                bad.append(f"{part}.{name}")
            named.setdefault(part, {})[name] = cast("Tensor", value).detach().clone()
    if missing:
        raise WeightsError(f"the weights lack {listed(missing)}; the file is damaged, or of another architecture.")
    if bad:
        raise WeightsError(f"weights are not finite numbers: {listed(bad)}; the file is damaged, fetch it again.")
    return named


def _brief(exc: BaseException) -> str:
    lines = [" ".join(line.split()) for line in str(exc).splitlines() if line.strip()]
    return " ".join(lines)[:600] or type(exc).__name__

"""Keras 3 on its torch backend: imported when it is first needed, and asked to build without drawing weights."""

from __future__ import annotations

import collections
import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Any

from packaging.version import InvalidVersion, Version

from graft.errors import UnavailableError

__all__ = ["architecture_only", "keras"]

_OLDEST = "3.10"
_INSTALL = "pip install 'graft-transfer[keras]'"


def keras() -> Any:
    """The package, on its torch backend.

    Raises
    ------
    UnavailableError
        Where it, or h5py, is not installed, is too old, or already runs on another backend.
    """
    if "keras" not in sys.modules:
        missing = [name for name in ("keras", "h5py") if importlib.util.find_spec(name) is None]
        if missing:
            raise UnavailableError(f"Keras sources need {' and '.join(missing)}, not installed here: {_INSTALL}")
        os.environ["KERAS_BACKEND"] = "torch"  # read once, when the package is imported
    try:
        package = importlib.import_module("keras")
    except Exception as exc:  # a half-installed backend fails in its own ways
        raise UnavailableError(f"Keras cannot be imported here ({exc!r}). Install it again: {_INSTALL}") from exc
    version = str(getattr(package, "__version__", "0"))
    if not _recent(version):
        raise UnavailableError(f"Keras {version} is installed, and {_OLDEST} or later is needed: {_INSTALL}")
    if package.config.backend() != "torch":
        raise UnavailableError(
            f"Keras was already imported with its {package.config.backend()} backend, and a process has one alone. "
            "Start again with the environment variable KERAS_BACKEND=torch."
        )
    return package


def _recent(version: str) -> bool:
    try:
        return Version(version) >= Version(_OLDEST)
    except InvalidVersion:
        return False


@contextlib.contextmanager
def architecture_only() -> Iterator[Any]:
    """Inside the block Keras models are built without values, and get the names that a new process would give.

    Values are held outside of the models, by torch modules.  What the block changes of Keras's own
    state is put back.  Yields the scope: values assigned to variables inside it are in there.
    """
    package = keras()
    from keras.src.backend.common import global_state

    kept = {name: global_state.get_global_attribute(name) for name in ("object_name_uids", "uninitialized_variables")}
    layout, width = package.config.image_data_format(), package.config.floatx()
    policy = package.config.dtype_policy()
    global_state.set_global_attribute("object_name_uids", collections.defaultdict(int))
    global_state.set_global_attribute("uninitialized_variables", [])
    package.config.set_image_data_format("channels_last")
    package.config.set_floatx("float32")
    package.config.set_dtype_policy("float32")
    try:
        # On the CPU whatever the machine has: constants inside layers follow the batch later.
        with package.device("cpu"), package.StatelessScope(initialize_variables=False) as scope:
            yield scope
    finally:
        package.config.set_image_data_format(layout)
        package.config.set_floatx(width)
        package.config.set_dtype_policy(policy)
        for name, value in kept.items():
            global_state.set_global_attribute(name, value)

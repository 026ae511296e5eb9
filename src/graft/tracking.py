"""Keep a record of every trial elsewhere: TensorBoard's event files, or an MLflow store."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from graft.contracts import Epoch
from graft.errors import RequestError, UnavailableError
from graft.watching import Tracker

if TYPE_CHECKING:
    from graft.result import Result, Tried

__all__ = ["mlflow", "opened", "tensorboard"]

Value = float | int | str | bool


class _Run(Protocol):
    """Where one trial is written to."""

    def scalar(self, name: str, value: float, step: int) -> None: ...

    def end(self, given: Mapping[str, Value], found: Mapping[str, float]) -> None: ...


class _Record:
    """A tracker that writes a run a trial; what a killed fit had done before is written at the end."""

    def __init__(self, start: Callable[[str], _Run]) -> None:
        self._start = start
        self._runs: dict[str, _Run] = {}
        self._told: dict[str, set[int]] = {}

    def __call__(self, trial: str, epoch: int, found: Epoch) -> None:
        told = self._told.setdefault(trial, set())
        step = epoch + 1 if epoch + 1 not in told else max(told) + 1  # a second training begins anew
        told.add(step)
        for name, value in (("loss", found.loss), ("metric", found.metric), ("rate", found.rate)):
            if value is not None:
                self._run(trial).scalar(name, value, step)
        if found.seconds == found.seconds:
            self._run(trial).scalar("seconds", found.seconds, step)

    def finish(self, result: Result) -> None:
        """Write what is missing, the parameters of each trial, and its scores."""
        for each in result.tried:
            for epoch, found in enumerate(each.epochs):
                if epoch + 1 not in self._told.get(each.name, set()):
                    self(each.name, epoch, found)
            scores = {f"test/{name}": value.value for name, value in result.scores.get(each.name, {}).items()}
            inside = {} if each.inner is None else {f"inside/{result.metric}": each.inner}
            self._run(each.name).end(_given(each, result), {**inside, **scores})
        self._runs.clear()
        self._told.clear()

    def _run(self, trial: str) -> _Run:
        if trial not in self._runs:
            self._runs[trial] = self._start(trial)
        return self._runs[trial]


def _given(each: Tried, result: Result) -> dict[str, Value]:
    """What made the trial what it is, by name."""
    stated: dict[str, Value] = {
        "trial": each.name,
        "source": each.source,
        "role": each.role,
        "precision": each.precision,
        "seed": result.seed,
        "metric": result.metric,
        "data": result.origin,
        "request": result.request,
    }
    return stated | {f"chosen/{name}": value for name, value in each.chosen.items()}


def opened(text: str) -> Tracker:
    """The tracker that ``tensorboard:FOLDER``, ``mlflow:FOLDER`` or ``mlflow:URI`` names.

    Raises
    ------
    RequestError
        For anything else.
    UnavailableError
        Where its package is not installed.
    """
    kind, colon, place = text.partition(":")
    if kind not in ("tensorboard", "mlflow") or not colon or not place:
        raise RequestError(f"{text!r} names no place to log to; write tensorboard:FOLDER, mlflow:FOLDER or mlflow:URI.")
    return tensorboard(place) if kind == "tensorboard" else mlflow(place)


def tensorboard(folder: str | Path) -> Tracker:
    """Write every trial into a folder of its own below ``folder``, for ``tensorboard --logdir``.

    Raises
    ------
    UnavailableError
        Where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as exc:
        raise _missing("tensorboard", exc) from exc

    class Events:
        def __init__(self, trial: str) -> None:
            self.writer = SummaryWriter(str(Path(folder) / re.sub(r"[^\w.=+-]+", "_", trial)))

        def scalar(self, name: str, value: float, step: int) -> None:
            self.writer.add_scalar(name, value, step)
            self.writer.flush()

        def end(self, given: Mapping[str, Value], found: Mapping[str, float]) -> None:
            self.writer.add_text("parameters", f"```\n{json.dumps(given, indent=1)}\n```")
            self.writer.add_hparams(dict(given), dict(found), run_name=".")
            self.writer.close()

    return _Record(Events)


def mlflow(place: str | Path, experiment: str = "graft") -> Tracker:
    """Write every trial as a run of an MLflow experiment.

    Parameters
    ----------
    place
        A folder, where a database ``mlflow.db`` is kept, or the URI of a store or server.
    experiment
        Its name; it is made where it does not exist.

    Raises
    ------
    UnavailableError
        Where MLflow is not installed.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a fit calls nobody that it was not asked to
    try:
        library, errors = import_module("mlflow"), import_module("mlflow.exceptions")
    except ImportError as exc:
        raise _missing("mlflow", exc) from exc
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it would tell of every table that it makes
    uri, artifacts = str(place), None
    if "://" not in uri:  # MLflow's own store of plain files is no longer kept up, so it is a database
        folder = Path(place).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        uri, artifacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # how it uses its database is no matter of the user's
            client = library.MlflowClient(tracking_uri=uri)
            held = client.get_experiment_by_name(experiment)
            number = held.experiment_id if held else client.create_experiment(experiment, artifact_location=artifacts)
    except ImportError as exc:  # of its thin package, which lacks what a database needs
        raise _missing("mlflow", exc) from exc
    except errors.MlflowException as exc:
        raise UnavailableError(f"MLflow cannot log to {place}: {exc}. Check the place after mlflow:.") from exc

    class Run:
        def __init__(self, trial: str) -> None:
            self.name = client.create_run(number, run_name=trial).info.run_id

        def scalar(self, name: str, value: float, step: int) -> None:
            client.log_metric(self.name, name, value, step=step)

        def end(self, given: Mapping[str, Any], found: Mapping[str, float]) -> None:
            for name, value in given.items():
                client.log_param(self.name, name, value)
            for name, value in found.items():
                client.log_metric(self.name, name, value)
            client.set_terminated(self.name)

    return _Record(Run)


def _missing(name: str, exc: ImportError) -> UnavailableError:
    return UnavailableError(
        f"logging to {name} needs a package that is not installed ({exc.name or exc}). "
        f'Install it with: pip install "graft-transfer[{name}]"'
    )

"""Records elsewhere: what is written is read back by the packages themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graft
from graft import tracking
from graft.contracts import Epoch
from graft.errors import RequestError, UnavailableError


def fitted(tracker: Any, strategy: str = "mlp_head?epochs=3") -> graft.Result:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    rows = random.normal(size=(60, 3)).astype(np.float32)
    rows[:, 0] += 3 * labels
    data = (rows, [("left", "right")[label] for label in labels])
    return graft.fit(data, source="columns", strategy=strategy, controls=("majority",), callbacks=[tracker])


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = fitted(tracking.tensorboard(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["majority", "mlp_head_epochs=3"]
    read = EventAccumulator(str(tmp_path / "mlp_head_epochs=3"))
    read.Reload()
    losses = [(each.step, each.value) for each in read.Scalars("loss")]
    assert losses == [(place + 1, pytest.approx(each.loss)) for place, each in enumerate(result.tried[0].epochs)]
    score = result.scores["mlp_head?epochs=3"]["accuracy"].value
    assert [each.value for each in read.Scalars("test/accuracy")] == [pytest.approx(score)]
    assert "parameters/text_summary" in read.Tags()["tensors"]


def test_mlflow_reads_what_was_written(tmp_path: Path) -> None:
    library = pytest.importorskip("mlflow", reason="MLflow is not installed")
    pytest.importorskip("sqlalchemy", reason="MLflow's database is not installed")
    result = fitted(tracking.mlflow(tmp_path / "runs", experiment="clouds"))
    client = library.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    held = client.get_experiment_by_name("clouds")
    runs = {run.info.run_name: run for run in client.search_runs([held.experiment_id])}
    assert set(runs) == {"mlp_head?epochs=3", "majority"}
    run = runs["mlp_head?epochs=3"]
    assert run.info.status == "FINISHED"
    assert run.data.params["source"] == "columns"
    assert run.data.params["chosen/epochs"] == str(result.tried[0].chosen["epochs"])
    assert run.data.metrics["test/accuracy"] == result.scores["mlp_head?epochs=3"]["accuracy"].value
    steps = sorted((each.step, each.value) for each in client.get_metric_history(run.info.run_id, "loss"))
    assert steps == [(place + 1, each.loss) for place, each in enumerate(result.tried[0].epochs)]


class _Run:
    def __init__(self, trial: str) -> None:
        self.trial = trial
        self.steps: list[tuple[str, float, int]] = []
        self.ended: tuple[dict[str, Any], dict[str, float]] | None = None

    def scalar(self, name: str, value: float, step: int) -> None:
        self.steps.append((name, value, step))

    def end(self, given: dict[str, Any], found: dict[str, float]) -> None:
        self.ended = given, found


def test_epochs_from_before_a_kill_are_written_at_the_end() -> None:
    runs: list[_Run] = []

    def start(trial: str) -> Any:
        runs.append(_Run(trial))
        return runs[-1]

    record = tracking._Record(start)
    result = fitted(lambda *given: None)
    record("mlp_head?epochs=3", 2, result.tried[0].epochs[2])  # the first two were told to a process that died
    record.finish(result)
    head = next(run for run in runs if run.trial == "mlp_head?epochs=3")
    assert sorted(step for name, _, step in head.steps if name == "loss") == [1, 2, 3]
    assert head.ended is not None
    assert head.ended[0]["role"] == "transfer"
    assert "test/accuracy" in head.ended[1]


def test_a_second_training_of_one_trial_goes_on_counting() -> None:
    run = _Run("pretrain")
    record = tracking._Record(lambda trial: run)
    for epoch in (0, 1, 0, 1, 2):
        record("pretrain", epoch, Epoch(1.0, None, 0.1, 0.0))
    assert [step for name, _, step in run.steps if name == "loss"] == [1, 2, 3, 4, 5]
    assert not [name for name, *_ in run.steps if name == "metric"]


@pytest.mark.parametrize("text", ["tensorboard", "tensorboard:", "wandb:folder", ""])
def test_a_place_is_named_in_full(text: str) -> None:
    with pytest.raises(RequestError, match="write tensorboard:FOLDER, mlflow:FOLDER or mlflow:URI"):
        tracking.opened(text)


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")])
def test_a_missing_package_is_named_with_its_cure(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnavailableError, match=rf'pip install "graft-transfer\[{name}\]"'):
        tracking.opened(f"{name}:{tmp_path}")


def test_a_store_that_cannot_be_used_is_said() -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    with pytest.raises(UnavailableError, match="cannot log to nowhere://x"):
        tracking.opened("mlflow:nowhere://x")

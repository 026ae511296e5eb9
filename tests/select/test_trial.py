"""A trial that was kept is taken up; one that was damaged is run again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graft import compute
from graft.contracts import Rows, TransferData
from graft.data.examples import TableExamples
from graft.select.candidates import candidate
from graft.select.trial import Trial, run_trial
from graft.sources.columns import Columns
from graft.strategies.linear_probe import LinearProbe
from graft.tasks.classification import Classification

ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
LABELS = np.array(["up" if value > 0 else "down" for value in ROWS[:, 0]], dtype=object)


def run(folder: Path | None) -> Trial:
    task = Classification()
    fitted = task.start(LABELS)
    data = TransferData(train=Rows(TableExamples(ROWS), fitted.encode(LABELS)), machine=compute.machine("cpu"))
    return run_trial(candidate(Columns(), LinearProbe(), "table"), task, fitted, data, folder)


def test_a_kept_trial_is_not_fitted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path)
    monkeypatch.setattr(LinearProbe, "fit", lambda *given: pytest.fail("fitted again"))
    second = run(tmp_path)
    assert second.history == first.history
    assert second.seconds == first.seconds
    assert np.array_equal(second.model.outputs(TableExamples(ROWS)), first.model.outputs(TableExamples(ROWS)))


def test_damaged_weights_are_not_used(tmp_path: Path) -> None:
    first = run(tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    assert np.array_equal(run(tmp_path).model.predict(ROWS), first.model.predict(ROWS))

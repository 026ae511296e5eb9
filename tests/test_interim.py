"""While a race runs, what leads it is a complete saved model that says what it is, and costs next to no time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graft
from graft import bundle, interim
from graft.contracts import TransferData
from graft.errors import MachineError
from graft.interim import Interim, unfinished
from graft.manifest import read_manifest
from graft.order import Order
from graft.preparation import Prepared, prepare
from graft.select.clock import Clock
from graft.select.course import Measured
from graft.select.trial import Trial, run_trial

ROWS = [[float(place % 2) + 0.1 * (place % 7), float(place % 5)] for place in range(80)]
LABELS = [("even", "odd")[place % 2] for place in range(80)]


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(Order((ROWS, LABELS), source="columns", strategy=("linear_probe", "knn"), controls=()))


@pytest.fixture(scope="module")
def trials(prepared: Prepared) -> dict[str, Trial]:
    common = TransferData(train=prepared.rows(prepared.sides.train), machine=prepared.machine)
    return {
        each.name: run_trial(each, prepared.task, prepared.fitted, prepared.view(each.strategy, common))
        for each in prepared.plan.candidates
    }


MEASURED = Measured(outputs=np.zeros((12, 2), np.float32), score=0.75, rows=44, seconds=1.0, parameters=6)


class Kept:
    """An interim model whose clock stands still, with what was said of it."""

    def __init__(self, prepared: Prepared, folder: Path | None, patch: pytest.MonkeyPatch, budget: float = 60.0):
        self.now, self.said = 1000.0, list[str]()
        patch.setattr(time, "monotonic", lambda: self.now)
        rows = prepared.rows(prepared.pool).examples
        self.interim = Interim(
            folder, Clock(budget), rows, len(rows), prepared.request, prepared.machine,
            lambda step, text: self.said.append(text),
        )  # fmt: skip

    def interrupted(self) -> KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt) as raised, self.interim:
            raise KeyboardInterrupt
        return raised.value


def test_what_leads_is_a_model_that_opens_and_says_that_it_is_not_finished(
    prepared: Prepared, trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(prepared, tmp_path / "best", monkeypatch)
    kept.interim(trials["knn"], MEASURED)
    model = graft.load(tmp_path / "best")
    assert (model.predict(ROWS) == trials["knn"].model.predict(ROWS)).all()
    assert "a run that has not ended: chosen by 12 validation rows, not judged" in model.card.notes[-1]
    assert f"it learnt from 44 of {len(prepared.pool)} rows" in model.card.notes[-1]
    result = read_manifest(tmp_path / "best")["result"]
    assert result["unfinished"]["score"] == 0.75
    assert not {"verdict", "scores", "comparisons"} & result.keys()
    assert kept.said == [f"until the run has ended, {tmp_path / 'best'} holds the best so far"]
    assert kept.interim.sentence() == f"the best so far, knn, lies in {tmp_path / 'best'}"


def test_it_is_replaced_when_the_lead_changes_and_written_once(
    prepared: Prepared, trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(prepared, tmp_path / "best", monkeypatch)
    saved: list[str] = []
    real = bundle.save

    def save(model: Any, *given: Any, **named: Any) -> Path:
        saved.append(type(model.strategy).__name__)
        return real(model, *given, **named)

    monkeypatch.setattr(bundle, "save", save)
    for name in ("linear_probe", "linear_probe", "knn", "knn"):
        kept.interim(trials[name], MEASURED)
    assert saved == ["LinearProbe", "KNN"]
    assert unfinished(tmp_path / "best")["name"] == "knn"  # type: ignore[index]
    assert [each.name for each in tmp_path.iterdir()] == ["best"]
    assert len(kept.said) == 1


def test_what_would_take_too_long_to_write_waits_until_there_is_time(
    prepared: Prepared, trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(prepared, tmp_path / "best", monkeypatch, budget=60.0)
    monkeypatch.setattr(interim, "_AT_LEAST", 0.8)  # of 1.2 s in all, 0.3 s of them at once
    kept.interim(trials["knn"], MEASURED)
    assert not list(tmp_path.iterdir())
    kept.now += 40.0
    kept.interim(trials["knn"], MEASURED)
    assert (tmp_path / "best").exists()
    kept.interim(trials["linear_probe"], MEASURED)
    assert unfinished(tmp_path / "best")["name"] == "linear_probe"  # type: ignore[index]


def test_writing_takes_a_fiftieth_of_the_budget_at_most(
    prepared: Prepared, trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(prepared, tmp_path / "best", monkeypatch, budget=100.0)
    real, times = bundle.save, list[float]()

    def save(*given: Any, **named: Any) -> Path:
        kept.now += 0.6
        times.append(kept.now)
        return real(*given, **named)

    monkeypatch.setattr(bundle, "save", save)
    for turn in range(90):
        kept.now += 1.4
        kept.interim(trials[("knn", "linear_probe")[turn % 2]], MEASURED)
    assert len(times) == 3, "the fourth would be over two seconds"


def test_the_last_of_the_time_is_for_the_end(
    prepared: Prepared, trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(prepared, tmp_path / "best", monkeypatch, budget=60.0)
    kept.now += 55.0
    kept.interim(trials["knn"], MEASURED)
    assert not list(tmp_path.iterdir())
    assert kept.interrupted().__notes__ == [f"the best so far, knn, lies in {tmp_path / 'best'}"]


def test_an_interrupted_run_keeps_the_very_last_and_is_told_where(
    prepared: Prepared, trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(prepared, tmp_path / "best", monkeypatch)
    kept.interim(trials["linear_probe"], MEASURED)
    monkeypatch.setattr(interim, "_SHARE", 0.0)
    kept.interim(trials["knn"], MEASURED)
    assert unfinished(tmp_path / "best")["name"] == "linear_probe"  # type: ignore[index]
    assert kept.interrupted().__notes__ == [f"the best so far, knn, lies in {tmp_path / 'best'}"]


def test_without_a_folder_the_leader_is_held_in_memory(
    prepared: Prepared, trials: dict[str, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(prepared, None, monkeypatch)
    kept.interim(trials["knn"], MEASURED)
    assert not hasattr(kept.interrupted(), "__notes__")
    assert kept.interim.trial(trials["knn"].candidate) is trials["knn"]
    assert kept.interim.trial(trials["linear_probe"].candidate) is None


def test_a_disk_that_refuses_does_not_end_the_race(
    prepared: Prepared, trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **named: Any) -> Path:
        raise MachineError("the disk is full")

    kept = Kept(prepared, tmp_path / "best", monkeypatch)
    monkeypatch.setattr(bundle, "save", full)
    kept.interim(trials["knn"], MEASURED)
    assert kept.interim.sentence() == ""
    assert kept.said == []


def test_a_run_that_goes_on_takes_up_what_leads(
    prepared: Prepared, trials: dict[str, Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kept(prepared, tmp_path / "best", monkeypatch).interim(trials["knn"], MEASURED)
    again = Kept(prepared, tmp_path / "best", monkeypatch).interim
    found = again.trial(trials["knn"].candidate)
    assert found is not None
    assert found.history == trials["knn"].history
    assert found.model.card == trials["knn"].model.card, "the note is of the unfinished model alone"
    assert found.model.module.backbone.fingerprint == trials["knn"].model.module.backbone.fingerprint
    rows = prepared.rows(prepared.pool).examples
    assert found.model.outputs(rows).tobytes() == trials["knn"].model.outputs(rows).tobytes()
    assert again.trial(trials["linear_probe"].candidate) is None
    assert replace(again, request="another").trial(trials["knn"].candidate) is None
    weights = tmp_path / "best" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert again.trial(trials["knn"].candidate) is None, "damaged: it is fitted again"


def test_what_is_no_unfinished_model_says_nothing(trials: dict[str, Trial], prepared: Prepared, tmp_path: Path) -> None:
    assert unfinished(tmp_path) is None
    bundle.save(trials["knn"].model, tmp_path / "model", rows=prepared.rows(prepared.pool).examples)
    assert unfinished(tmp_path / "model") is None

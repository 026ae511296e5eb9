"""Judged by folds: everything that chooses stays inside, and what is handed over learnt from all rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from torch import nn

import graft
from graft import registry
from graft.contracts import Backbone, FittedTask, History, Strategy, TransferData
from graft.errors import DataError
from graft.evaluate.holm import holm
from graft.linear import fit_probe, frozen_trunk
from graft.order import Order
from graft.preparation import prepare


def clouds(n: int = 90, gap: float = 1.5, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    rows = random.normal(size=(n, 3)).astype(np.float32)
    rows[:, 0] += gap * labels
    return rows, [("left", "middle", "right")[label] for label in labels]


def table(n: int = 90) -> pd.DataFrame:
    rows, labels = clouds(n)
    return pd.DataFrame(rows, columns=["a", "b", "c"]).assign(label=labels)


SEEN: list[tuple[set[bytes], set[bytes]]] = []


class Watch(Strategy):
    """Learns by heart which rows it saw."""

    family: ClassVar[str] = "feature"
    uses_validation: ClassVar[bool] = True

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return frozen_trunk(backbone, task)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        assert data.valid is not None
        sides = (data.train, data.valid)
        SEEN.append(tuple({key.tobytes() for key in side.examples.keys()} for side in sides))  # type: ignore[arg-type]  # noqa: SIM118
        return fit_probe(module, task, data, None)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy counts as registered, under the name of its class."""
    real = registry.spec

    def spec(plugin: object) -> dict[str, object]:
        return {"name": "watch", "params": {}} if isinstance(plugin, Watch) else real(plugin)

    monkeypatch.setattr(registry, "spec", spec)
    SEEN.clear()


def test_folds_judge_every_row_and_all_rows_are_learnt_from_in_the_end() -> None:
    told: list[tuple[str, str]] = []
    result = graft.fit(
        clouds(), strategy=[Watch(), "majority"], controls=("shallow",), folds=3, repeats=2,
        say=lambda step, text: told.append((step, text)),
    )  # fmt: skip
    assert [step for step, _ in told if step] == ["read", "split", "plan", "folds", "folds", "fit", "fit", "fit"]
    assert result.rows == {"train": 90, "valid": 0, "test": 90, "unlabelled": 0}
    assert len(SEEN) == 7, "three folds twice, and all rows"
    every = SEEN[-1][0] | SEEN[-1][1]
    assert len(every) == 90
    for first in (0, 3):
        apart = [every - learnt - validated for learnt, validated in SEEN[first : first + 3]]
        assert set.union(*apart) == every
        assert sum(map(len, apart)) == 90
    assert result.crossed is not None
    assert (result.crossed.folds, result.crossed.repeats, result.crossed.ordered) == (3, 2, False)
    assert result.crossed.chosen == {"watch": 6}
    assert [len(each) for each in result.crossed.values.values()] == [6, 6]
    score = result.scores["watch"]["accuracy"]
    assert score.value == pytest.approx(np.mean(result.crossed.values["watch"]), abs=0.01)
    assert result.split is None


def test_labels_of_a_fold_never_reach_what_is_measured_on_it() -> None:
    """On labels by chance the choice inside looks good, and the folds do not."""
    rows = np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)
    labels = np.random.default_rng(1).integers(2, size=60).astype(str).tolist()
    result = graft.fit((rows, labels), strategy=["knn?k=1", "knn?k=3", "prototypes"], controls=("majority",), folds=4)
    found = result.scores[result.winner]["accuracy"]
    assert found.low < 0.5 < found.high
    assert result.verdict is not None
    assert result.verdict.word != "helps"


def test_where_transfer_does_not_help_the_control_is_handed_over_from_all_rows() -> None:
    result = graft.fit(clouds(), folds=3)
    assert result.verdict is not None
    assert result.verdict.word == "no evidence"
    assert result.handed_over == "shallow"
    assert set(result.scores["shallow"]) == set(result.scores["linear_probe"]), "what is handed over has every metric"
    assert set(result.scores["majority"]) == {"accuracy"}


def test_folds_are_as_wide_as_their_models_are_alike() -> None:
    """The same rows with one model for all would give intervals by a third narrower."""
    result = graft.fit(clouds(), folds=5, controls=("majority",))
    found = result.scores["linear_probe"]["accuracy"]
    plain = 2 * 1.96 * np.sqrt(found.value * (1 - found.value) / 90)
    assert found.high - found.low == pytest.approx(1.5 * plain, rel=0.15)


def test_controls_are_tested_at_once() -> None:
    for result in (graft.fit(clouds(gap=0.7)), graft.fit(clouds(gap=0.7), folds=3)):
        plain = [each.p_value for each in result.comparisons.values()]
        assert [each.adjusted for each in result.comparisons.values()] == pytest.approx(holm(plain))


def test_groups_stay_in_one_fold_and_have_values_of_their_own() -> None:
    frame = table().assign(who=[f"p{place % 9}" for place in range(90)])
    result = graft.fit(frame, target="label", group_by="who", folds=3, controls=("majority",))
    assert result.breakdown is not None
    assert result.breakdown.groups_measured == 9
    assert {each.rows for each in result.breakdown.groups} == {10}
    assert [each.rows for each in result.breakdown.classes] == [
        sum(frame.label == name) for name in ("left", "middle", "right")
    ]


def test_time_goes_on_in_folds_and_inside_of_them() -> None:
    frame = table().assign(day=pd.date_range("2024-01-01", periods=90).strftime("%Y-%m-%d"))
    places = {key.tobytes(): row for row, key in enumerate(_keys(frame))}
    result = graft.fit(frame, target="label", time_by="day", strategy=Watch(), controls=("majority",), folds=2)
    assert result.rows["test"] == 60
    assert result.crossed is not None
    assert result.crossed.ordered
    for (learnt, validated), rows in zip(SEEN, (30, 60, 90), strict=True):  # and the time is no feature
        at, later = ([places[key] for key in side] for side in (learnt, validated))
        assert sorted(at + later) == list(range(rows))
        assert max(at) < min(later), "what is validated by comes after what is learnt from"


def _keys(frame: pd.DataFrame) -> np.ndarray:
    from graft.data.examples import TableExamples

    return TableExamples(frame[["a", "b", "c"]].to_numpy(np.float32), columns=("a", "b", "c")).keys()


def test_a_split_in_time_learns_from_the_past() -> None:
    frame = table().assign(day=np.random.default_rng(3).permutation(90))
    prepared = prepare(Order(frame, target="label", time_by="day", strategy="mlp_head"))
    times = prepared.held.times
    assert times is not None
    sides = prepared.sides
    assert times[sides.train].max() < times[sides.valid].min() <= times[sides.valid].max() < times[sides.test].min()
    other = prepare(Order(frame.assign(day=range(90)), target="label", time_by="day", strategy="mlp_head"))
    assert other.request != prepared.request


def test_comparisons_know_time_too() -> None:
    frame = table().assign(day=range(90))
    found = graft.compare(frame, target="label", time_by="day", folds=2, controls=("majority",))
    assert found.rows == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "1 folds were asked for"),
        ({"folds": 91}, "can be cut into 2 to 90"),
        ({"folds": 3, "repeats": 0}, "repeats is 0"),
        ({"repeats": 2}, "there are no folds to deal anew"),
        ({"folds": 4, "group_by": "who"}, "3 units of rows"),
        ({"folds": 3, "repeats": 2, "time_by": "day"}, "time has one order"),
        ({"time_by": "day", "group_by": "who"}, "by time or by group, not by both"),
        ({"time_by": "days"}, "there is no column 'days'"),
    ],
)
def test_wrong_requests_are_refused(options: dict[str, object], message: str) -> None:
    frame = table().assign(day=range(90), who=[f"p{place % 3}" for place in range(90)])
    with pytest.raises(graft.RequestError, match=message):
        graft.fit(frame, target="label", **options)  # type: ignore[arg-type]


def test_wrong_data_are_refused(tmp_path: Path) -> None:
    frame = table().assign(day=[float("nan")] * 2 + list(range(88)))
    with pytest.raises(DataError, match="2 of 90 labelled rows"):
        graft.fit(frame, target="label", time_by="day", folds=3)
    with pytest.raises(graft.RequestError, match="states 30 test rows; leave folds away"):
        graft.fit(table().assign(split=["train"] * 60 + ["test"] * 30), target="label", folds=3)
    with pytest.raises(graft.RequestError, match="--time-by"):
        graft.fit(clouds(), time_by="day")
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.png").write_bytes(b"")
    with pytest.raises(graft.RequestError, match="--time-by day names a column, and a folder of images has none"):
        graft.fit(tmp_path, time_by="day")


def test_a_class_of_fewer_rows_than_folds_is_told_and_no_obstacle() -> None:
    rows, labels = clouds()
    told: list[str] = []
    result = graft.fit(
        (rows, ["rare", "rare", *labels[2:]]), folds=4, controls=("majority",), say=lambda _, text: told.append(text)
    )
    assert any("fewer rows than folds: class 'rare'" in each for each in told)
    assert result.rows["test"] == 90


def test_the_forecast_of_scratch_counts_every_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.planning.forecast_training", lambda *given: 10.0)
    result = graft.fit(
        clouds(40), source="table/mlp", strategy="pretrain?epochs=1", folds=2, budget=25.0, controls=("scratch",)
    )
    assert "its forecast of 30 s is over the 25 s" in result.left_out["scratch"]


def test_a_learning_curve_is_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    result = graft.fit(clouds(200), learning_curve=True, controls=(), output=tmp_path / "model")
    assert result.learning_curve is not None
    assert len(result.learning_curve.points) == 11
    assert result.learning_curve.rows == result.rows["train"]
    again = graft.fit(clouds(200), learning_curve=True, controls=(), output=tmp_path / "model")
    assert again.reused
    assert again.document() == result.document()
    assert graft.fit(clouds(200), controls=()).learning_curve is None


def test_what_folds_found_comes_back_from_disk(tmp_path: Path) -> None:
    frame = table().assign(who=[f"p{place % 9}" for place in range(90)])
    first, again = (
        graft.fit(frame, target="label", group_by="who", folds=3, learning_curve=True, output=tmp_path / "model")
        for _ in range(2)
    )
    assert again.reused
    assert again.document() == first.document()
    assert again.crossed == first.crossed
    with pytest.raises(graft.MachineError, match="--overwrite"):
        graft.fit(frame, target="label", group_by="who", folds=4, output=tmp_path / "model")


KILLED = """
import sys
import numpy as np
import graft
random = np.random.default_rng(0)
labels = random.integers(0, 2, 80)
rows = random.normal(size=(80, 3)).astype(np.float32)
rows[:, 0] += labels
data = (rows, [("left", "right")[label] for label in labels])
graft.fit(data, controls=("majority",), folds=3, learning_curve=True, output=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("point", ["after-fold", "before-folder-rename"])
def test_a_killed_fit_by_folds_goes_on_to_the_same_bytes(tmp_path: Path, point: str) -> None:
    def run(output: Path, cache: str, fail_point: str = "") -> int:
        environment = {**os.environ, "GRAFT_CACHE": str(tmp_path / cache), "GRAFT_FAIL_POINT": fail_point}
        return subprocess.run([sys.executable, "-c", KILLED, str(output)], env=environment, check=False).returncode

    assert run(tmp_path / "calm", "a") == 0
    assert run(tmp_path / "stormy", "b", point) == -signal.SIGKILL
    assert run(tmp_path / "stormy", "b") == 0
    calm = {path.name: path.read_bytes() for path in (tmp_path / "calm").rglob("*") if path.is_file()}
    stormy = {path.name: path.read_bytes() for path in (tmp_path / "stormy").rglob("*") if path.is_file()}
    assert calm == stormy

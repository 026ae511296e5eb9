"""Teach a student what a fitted model knows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import graft
from graft import bundle, distilling
from graft.errors import BundleError, MachineError, RequestError
from graft.strategies.distill import Distill

NONE: dict[str, Any] = {"controls": (), "precision": "float32"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    values = random.normal(size=(160, 4))
    frame = pd.DataFrame(values, columns=list("abcd")).assign(kind=np.where(values[:, 0] > 0, "up", "down"))
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def teacher(table: Path) -> Path:
    folder = table.parent / "teacher"
    graft.fit(table, source="table/mlp?hidden=[24,24]", strategy="fine_tune?epochs=8&lr=0.003", seed=3, **NONE).save(
        folder
    )
    return folder


def test_the_student_stands_beside_itself_and_its_teacher(table: Path, teacher: Path) -> None:
    said: list[str] = []
    result = graft.distill(teacher, table, epochs=2, say=lambda step, sentence: said.append(sentence), **NONE)
    assert result.winner.startswith(f"distill/{teacher}?")
    assert list(result.scores)[1:] == ["without teacher", "teacher"]
    assert "without teacher" in result.comparisons
    assert "the student is table/mlp, as none was named (--student)" in said
    expected = graft.load(teacher, device="cpu")
    assert result.scores["teacher"]["accuracy"].value > 0.7
    assert result.seed == 3
    assert result.metric == expected.fitted.metric
    found = result.model.strategy
    assert isinstance(found, Distill)
    assert found.start == "untrained", "table/mlp never learnt"


def test_the_teachers_test_rows_are_the_test_rows(table: Path, teacher: Path) -> None:
    for strategy in ("linear_probe", "fine_tune?epochs=1"):  # one without validation rows, and one with
        known = graft.fit(table, source="table/mlp", strategy=strategy, seed=5, **NONE)
        result = graft.distill(known, table, student="table/mlp", epochs=1, **NONE)
        assert known.split is not None
        assert result.split == known.split
        assert result.rows["test"] == known.rows["test"]
        assert not any("the teacher may have" in note for note in result.notes)
        inside = result.scores["teacher"]["accuracy"]
        assert inside == known.scores[known.winner]["accuracy"]


def test_other_rows_are_said_to_flatter(table: Path, teacher: Path, tmp_path: Path) -> None:
    flattered = "the teacher may have learnt from rows that are measured by here"
    others = [
        graft.distill(teacher, table, epochs=1, seed=4, **NONE),
        graft.distill(teacher, pd.read_csv(table)[:120], target="kind", epochs=1, **NONE),
        graft.distill(graft.load(teacher), table, epochs=1, output=tmp_path / "student", **NONE),
    ]
    for result in others:
        assert result.notes[-1].startswith(flattered)
    again = graft.distill(graft.load(teacher), table, epochs=1, output=tmp_path / "student", **NONE)
    assert again.reused
    assert again.notes[-1].startswith(flattered)
    assert again.split == others[-1].split
    assert again.scores["teacher"] == others[-1].scores["teacher"]


def test_another_teacher_in_its_place_is_another_request(table: Path, teacher: Path, tmp_path: Path) -> None:
    shutil.copytree(teacher, tmp_path / "teacher")
    graft.distill(tmp_path / "teacher", table, epochs=1, output=tmp_path / "student", **NONE)
    shutil.rmtree(tmp_path / "teacher")
    graft.fit(table, source="table/mlp", strategy="fine_tune?epochs=1", seed=3, **NONE).save(tmp_path / "teacher")
    with pytest.raises(MachineError, match="holds a model of other data, options or weights"):
        graft.distill(tmp_path / "teacher", table, epochs=1, output=tmp_path / "student", **NONE)


def test_what_cannot_be_taught_is_refused(
    table: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match="is the teacher itself"):
        graft.distill(teacher, table, output=teacher, overwrite=True, **NONE)
    with pytest.raises(BundleError, match="is not a saved model"):
        graft.distill(tmp_path, table, **NONE)
    frame = pd.read_csv(table)
    frame.loc[:20, "kind"] = "level"
    with pytest.raises(RequestError, match="does not know the classes level; it knows 2"):
        graft.distill(teacher, frame, target="kind", epochs=1, **NONE)
    texts = [f"{place} words" for place in range(60)], ["up", "down"] * 30
    with pytest.raises(RequestError, match="the source table/mlp reads rows of table, and the data are rows of text"):
        graft.distill(teacher, texts, **NONE)
    ignorant = graft.fit(table, target="kind", strategy="majority", controls=())
    with pytest.raises(RequestError, match="nothing is a control that says the same of every row, so nothing can be"):
        graft.distill(ignorant, table, **NONE)
    ignorant.save(table.parent / "majority")
    with pytest.raises(RequestError, match="majority is a control that says the same of every row"):
        graft.fit(table, source="columns", strategy=f"distill/{table.parent / 'majority'}?epochs=1", **NONE)
    monkeypatch.setattr(distilling, "STUDENTS", {})
    with pytest.raises(RequestError, match=r"no student for what the teacher reads .table. comes with Graft"):
        graft.distill(teacher, table, **NONE)


def test_a_student_can_start_from_what_it_knows(table: Path, teacher: Path) -> None:
    result = graft.distill(teacher, table, student=f"fitted/{teacher}", epochs=1, lr=1e-6, **NONE)
    assert isinstance(result.model.strategy, Distill)
    assert result.model.strategy.start == "pretrained"
    assert bundle.load(teacher).classes == result.model.classes

"""``graft distill`` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from graft.cli import app

RUN = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, and a model that was fitted on it."""
    random = np.random.default_rng(0)
    values = random.normal(size=(200, 3))
    place = tmp_path_factory.mktemp("rows")
    frame = pd.DataFrame(values, columns=list("abc")).assign(kind=np.where(values[:, 0] > 0, "up", "down"))
    frame.to_csv(place / "rows.csv", index=False)
    frame.drop(columns="kind").head(30).to_csv(place / "more.csv", index=False)
    given = [
        "fit",
        str(place / "rows.csv"),
        "-s",
        "table/mlp?hidden=[32,32]",
        "--strategy",
        "fine_tune?epochs=30&lr=0.01",
    ]
    done = RUN.invoke(app, [*given, "-o", str(place / "teacher"), "--control", "majority", "--quiet"])
    assert done.exit_code == 0, done.output
    return place


def taught(folder: Path, *more: str) -> tuple[int, str, str]:
    given = ["distill", str(folder / "teacher"), str(folder / "rows.csv"), "--epochs", "1", "--control", "majority"]
    found = RUN.invoke(app, [*given, "-o", str(folder / "student"), "--overwrite", *more])
    return found.exit_code, found.stdout, found.stderr


def test_it_says_what_the_teacher_adds(folder: Path) -> None:
    code, out, err = taught(folder)
    assert code == 0, err
    for step in ("read", "split", "plan", "fit", "judge", "verdict", "wrote", "next", "teacher", "student"):
        assert f"\n{step:<8} " in f"\n{out}", step
    assert "the student is table/mlp, as none was named" in out
    assert "the test rows are those of the teacher" in out
    assert "without the teacher" in out
    assert "the teacher adds" in out
    assert "parameters" in out
    predicted = RUN.invoke(app, ["predict", str(folder / "student"), str(folder / "more.csv")])
    assert len(predicted.stdout.splitlines()) == 31


@pytest.mark.parametrize("how", ["kd", "dkd", "hints", "relational"])
def test_json_is_one_document(folder: Path, how: str) -> None:
    code, out, err = taught(
        folder, "--json", "--how", how, "--student", "table/mlp?hidden=[4]", "--temperature", "3", "--weight", "0.8",
        "--start", "untrained", "--lr", "0.01", "--unlabelled", str(folder / "more.csv"), "--seed", "1",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert {"without teacher", "teacher", "majority"} < set(found["scores"])
    assert found["sizes"]["teacher"]["parameters"] > found["sizes"]["student"]["parameters"]
    assert found["sizes"]["student"]["bytes"] > 0
    assert "temperature=3" in found["winner"]
    assert "the teacher may have learnt from rows" in found["notes"][-1]


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--how", "kdd"], 2, "kd"),
        (["--start", "pretraned"], 2, "pretrained"),
        (["--weight", "1"], 2, "weight is 1.0"),
        (["--student", "tabel/mlp"], 2, "table"),
        (["--student", "graft/tiny"], 2, "reads rows of image"),
        (["--budget", "soon"], 2, "2m"),
    ],
)
def test_a_wrong_request_names_the_thing(folder: Path, more: list[str], code: int, message: str) -> None:
    found, _, err = taught(folder, *more)
    assert found == code, err
    assert message in err
    assert "Traceback" not in err


def test_a_damaged_teacher_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder / "teacher", tmp_path / "teacher")
    (tmp_path / "teacher" / "weights.safetensors").write_bytes(b"0")
    done = RUN.invoke(
        app, ["distill", str(tmp_path / "teacher"), str(folder / "rows.csv"), "-o", str(tmp_path / "new")]
    )
    assert done.exit_code == 5
    assert "content was altered" in done.stderr

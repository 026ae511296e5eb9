"""The one path through all rooms, on rows small enough to see through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import graft
from graft.contracts import TransferData
from graft.errors import DataError
from graft.order import Order
from graft.preparation import prepare
from graft.strategies.linear_probe import LinearProbe


def two_clouds(n: int = 120, gap: float = 4.0, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Two classes that a line separates when ``gap`` is wide."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    rows = random.normal(size=(n, 3)).astype(np.float32)
    rows[:, 0] += gap * labels
    return rows, [("left", "right")[label] for label in labels]


def test_a_fit_says_what_it_did_and_predicts() -> None:
    told: list[tuple[str, str]] = []
    result = graft.fit(two_clouds(), say=lambda step, text: told.append((step, text)))
    assert [step for step, _ in told if step] == ["read", "split", "plan", "fit", "fit", "fit"]
    assert result.scores[result.winner]["accuracy"].value > 0.9
    assert result.model.predict([[4.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).tolist() == ["right", "left"]
    assert set(result.comparisons) == {"majority", "shallow"}
    assert "scratch" in result.left_out


def test_where_transfer_does_not_help_the_control_is_handed_over() -> None:
    """Plain columns transfer nothing: the probe on them is the shallow control itself."""
    result = graft.fit(two_clouds())
    assert result.verdict is not None
    assert result.verdict.word == "no evidence"
    assert result.handed_over == "shallow"


@pytest.mark.parametrize(
    ("strategy", "caveat"),
    [
        ("knn", "columns never learnt anything: nothing is transferred, and the verdict compares models"),
        ("shallow", "shallow is a control: nothing is transferred, and the verdict compares models"),
    ],
)
def test_where_nothing_is_transferred_the_verdict_says_so(tmp_path: Path, strategy: str, caveat: str) -> None:
    told: list[str] = []
    result = graft.fit(
        two_clouds(),
        strategy=strategy,
        controls=["majority"],
        output=tmp_path / "m",
        say=lambda _, text: told.append(text),
    )
    assert caveat in told
    assert result.caveat == caveat
    assert graft.fit(two_clouds(), strategy=strategy, controls=["majority"], output=tmp_path / "m").caveat == caveat


def test_test_rows_are_never_fitted_on(tmp_path: Path) -> None:
    """Labels of the test rows are nonsense; nothing inside the training rows may notice."""
    rows, labels = two_clouds(200)
    given = graft.fit((rows[:150], labels[:150]), test=(rows[150:], ["left", "right"] * 25))
    assert given.rows["test"] == 50
    inner = {each.name: each.inner for each in given.tried}
    assert inner["linear_probe"] > 0.9
    assert given.scores["linear_probe"]["accuracy"].value < 0.7


def test_the_best_of_several_strategies_is_chosen_inside_the_training_rows() -> None:
    result = graft.fit(two_clouds(), strategy=["majority", "linear_probe"], controls=("shallow",))
    assert result.winner == "linear_probe"
    assert result.rows["valid"] > 0


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = (graft.fit(two_clouds(gap=1.0), seed=3).document() for _ in range(2))
    assert first == second


def test_preparing_trains_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LinearProbe, "fit", lambda *given: pytest.fail("trained"))
    prepared = prepare(Order(two_clouds()))
    assert prepared.plan.names() == ["linear_probe", "majority", "shallow"]
    assert not list(tmp_path.iterdir())


def test_a_finished_fit_is_taken_up_and_other_folders_are_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "model"
    first = graft.fit(two_clouds(), output=output)
    assert not first.reused
    assert not (tmp_path / "model.partial").exists()
    again = graft.fit(two_clouds(), output=output)
    assert again.reused
    assert again.document() == first.document()
    with pytest.raises(graft.MachineError, match="--overwrite"):
        graft.fit(two_clouds(seed=1), output=output)
    replaced = graft.fit(two_clouds(seed=1), output=output, overwrite=True)
    assert replaced.request != first.request


def test_bad_rows_fail_by_name_or_are_skipped_and_counted(tmp_path: Path) -> None:
    from PIL import Image

    for label, shade in (("dark", 20), ("light", 220)):
        (tmp_path / label).mkdir()
        for place in range(12):
            Image.new("RGB", (16, 16), (shade + place, shade, shade)).save(tmp_path / label / f"{place}.png")
    (tmp_path / "dark" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing follows")
    with pytest.raises(graft.BadRowsError, match=r"torn\.png"):
        graft.fit(tmp_path, source="pixels")
    result = graft.fit(tmp_path, source="pixels", on_bad_row="skip")
    assert "torn.png" in str(result.findings)
    assert sum(result.rows.values()) == 24


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(graft.RequestError, match="on_bad_row"):
        graft.fit(two_clouds(), on_bad_row="ignore")
    with pytest.raises(graft.RequestError, match="no strategy"):
        graft.fit(two_clouds(), strategy=[])
    with pytest.raises(graft.RequestError, match=r"reads rows of image.*no bridge leads from table to image"):
        graft.fit(two_clouds(), source="pixels")
    with pytest.raises(graft.UnknownNameError, match="linear_probe"):
        graft.fit(two_clouds(), strategy="linear_prob")


def test_other_weights_under_the_same_name_are_another_request(tmp_path: Path) -> None:
    """The spec of a source is a name; what the name holds may change between two commands."""
    import safetensors.torch
    import timm
    import torch

    weights = tmp_path / "net.safetensors"
    pictures = [np.full((32, 32, 3), 10 * place, np.uint8) for place in range(24)]
    labels = ["dark" if place < 12 else "light" for place in range(24)]

    def fit() -> graft.Result:
        source = f"file/{weights}?architecture=timm/resnet10t&size=32"
        return graft.fit((pictures, labels), source=source, controls=("majority",), output=tmp_path / "model")

    for seed in (0, 1):
        torch.manual_seed(seed)
        safetensors.torch.save_file(timm.create_model("resnet10t").state_dict(), weights)
        if seed == 0:
            assert not fit().reused
            assert fit().reused
    with pytest.raises(graft.MachineError, match="--overwrite"):
        fit()


def test_an_untrained_network_is_taken_up_too(tmp_path: Path) -> None:
    """Scratch starts from no weights, so their name is none, in the finished run as in the asking one."""
    import safetensors.torch
    import timm

    weights = tmp_path / "net.safetensors"
    safetensors.torch.save_file(timm.create_model("resnet10t").state_dict(), weights)
    pictures = [np.full((32, 32, 3), 10 * place, np.uint8) for place in range(24)]
    labels = ["dark" if place < 12 else "light" for place in range(24)]
    source = f"file/{weights}?architecture=timm/resnet10t&size=32"

    def fit() -> graft.Result:
        return graft.fit(
            (pictures, labels),
            source=source,
            strategy="scratch?epochs=1",
            controls=("majority",),
            output=tmp_path / "m",
        )

    assert not fit().reused
    assert fit().reused


def test_a_folder_that_is_no_model_is_not_offered_for_replacing(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"sun")
    with pytest.raises(graft.MachineError, match=r"something else than a saved model; choose another --output\.$"):
        graft.fit(two_clouds(), output=tmp_path / "photos")


def test_a_result_that_was_read_is_not_saved_again(tmp_path: Path) -> None:
    graft.fit(two_clouds(), output=tmp_path / "model")
    with pytest.raises(graft.RequestError, match="saved already"):
        graft.fit(two_clouds(), output=tmp_path / "model").save(tmp_path / "copy")


KILLED = """
import sys
import numpy as np
import graft
random = np.random.default_rng(0)
labels = random.integers(0, 2, 120)
rows = random.normal(size=(120, 3)).astype(np.float32)
rows[:, 0] += labels
graft.fit((rows, [("left", "right")[label] for label in labels]), output=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["before-rename", "after-rename", "before-journal-sync", "after-journal-line", "before-folder-rename"]
)
def test_a_killed_fit_goes_on_to_the_same_bytes(tmp_path: Path, point: str) -> None:
    def run(output: Path, cache: str, fail_point: str = "") -> int:
        environment = {**os.environ, "GRAFT_CACHE": str(tmp_path / cache), "GRAFT_FAIL_POINT": fail_point}
        return subprocess.run([sys.executable, "-c", KILLED, str(output)], env=environment, check=False).returncode

    assert run(tmp_path / "calm", "a") == 0
    assert run(tmp_path / "stormy", "b", point) == -signal.SIGKILL
    assert not (tmp_path / "stormy").exists()
    assert run(tmp_path / "stormy", "b") == 0
    calm = {path.name: path.read_bytes() for path in (tmp_path / "calm").rglob("*") if path.is_file()}
    stormy = {path.name: path.read_bytes() for path in (tmp_path / "stormy").rglob("*") if path.is_file()}
    assert calm == stormy
    left = [path.name for path in tmp_path.iterdir()]
    assert not [name for name in left if name.startswith(".graft-tmp") or name.endswith(".partial")]


def test_rows_without_labels_need_a_strategy_that_learns_from_them() -> None:
    with pytest.raises(graft.RequestError, match="no strategy here learns from rows without labels"):
        prepare(Order(two_clouds(), unlabelled=[[0.0, 1.0]]))


def test_copies_of_rows_that_are_measured_by_are_not_learnt_from() -> None:
    rows, labels = two_clouds()
    prepared = prepare(Order((rows, labels), strategy="pretrain", source="table/mlp", unlabelled=rows))
    common = TransferData(train=prepared.rows(prepared.sides.train))
    seen = prepared.view(prepared.plan.candidates[0].strategy, common).unlabelled
    apart = np.concatenate([prepared.sides.valid, prepared.sides.test])
    assert seen is not None
    assert not {key.tobytes() for key in seen.keys()} & {  # noqa: SIM118 (no mapping)
        key.tobytes()
        for key in prepared.held.examples.take(apart).keys()  # noqa: SIM118
    }
    assert len(seen) == len(prepared.sides.train)


def test_a_table_with_other_column_names_is_another_request() -> None:
    rows, labels = two_clouds()
    frames = [pd.DataFrame(rows, columns=names) for names in (["a", "b", "c"], ["b", "a", "c"])]
    first, second = (prepare(Order((frame, list(labels)))).request for frame in frames)
    assert first != second


def votes(n: int = 120, seed: int = 0) -> pd.DataFrame:
    """Two clouds, labelled by the votes of ten people."""
    rows, labels = two_clouds(n, seed=seed)
    ayes = np.random.default_rng(seed).binomial(10, np.where(np.array(labels) == "right", 0.8, 0.2)) / 10
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])
    return frame.assign(right=ayes, left=1 - ayes)


def test_rows_that_all_lack_a_label_are_refused() -> None:
    frame = pd.DataFrame({"text": ["a b", "c d"] * 10, "label": [None] * 20})
    with pytest.raises(DataError, match=r"no row of .* has a label: .*Name another column with --target"):
        graft.fit(frame, target="label")


def test_probabilities_of_classes_are_learnt_from() -> None:
    told: list[str] = []
    result = graft.fit(votes(), target=["right", "left"], say=lambda step, text: told.append(text))
    assert any("divided among 2 classes" in line for line in told)
    assert result.model.fitted.classes == ("left", "right")
    assert result.model.columns == ("a", "b", "c")
    assert result.scores[result.winner]["accuracy"].value > 0.8
    assert np.abs(result.model.predict_proba(votes(seed=1))[:, 1].mean() - 0.5) < 0.1
    near = result.model.predict_proba(pd.DataFrame({"a": [6.0], "b": [0.0], "c": [0.0]}))
    assert near[0, 1] < 0.95, "no one was ever sure"


def test_confidences_decide_what_is_learnt_and_not_what_is_measured(tmp_path: Path) -> None:
    rows, labels = two_clouds(160)
    wrong = np.arange(160) % 5 < 2
    told = np.where(wrong, np.where(np.array(labels) == "left", "right", "left"), labels)
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(kind=told, sure=np.where(wrong, 0.0, 1.0))
    trusting = graft.fit(frame.drop(columns="sure"), target="kind", test=(frame[["a", "b", "c"]], labels))
    careful = graft.fit(
        frame, target="kind", confidence="sure", test=frame.assign(kind=labels)[["a", "b", "c", "kind"]]
    )
    assert careful.model.columns == ("a", "b", "c")
    loss = [each.scores["linear_probe"]["log_loss"].value for each in (trusting, careful)]
    assert loss[1] < loss[0] / 2
    inner = {each.name: each.inner for each in careful.tried}
    assert inner["linear_probe"] < 0.75, "rows that count nothing are measured by all the same"
    apart = prepare(Order(frame, target="kind", confidence="sure"))
    assert apart.request != prepare(Order(frame.assign(sure=1.0), target="kind", confidence="sure")).request


def test_training_rows_that_all_count_nothing_are_refused() -> None:
    rows, labels = two_clouds(40)
    split = ["train"] * 30 + ["test"] * 10
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(kind=labels, split=split, sure=[0.0] * 30 + [1.0] * 10)
    with pytest.raises(DataError, match="every training row has a confidence of 0 in column 'sure'"):
        graft.fit(frame, target="kind", confidence="sure")

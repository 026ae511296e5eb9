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

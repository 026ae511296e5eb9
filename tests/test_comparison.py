"""Side by side: the same folds for all, nobody measured on what it learnt from, and what cannot run is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pandas as pd
import pytest
from torch import nn

import graft
from graft import registry
from graft.contracts import Backbone, FittedTask, History, Strategy, TransferData
from graft.linear import fit_probe, frozen_trunk
from graft.standings import Standings
from graft.strategies.linear_probe import LinearProbe


def clouds(n: int = 90, gap: float = 3.0, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    rows = random.normal(size=(n, 3)).astype(np.float32)
    rows[:, 0] += gap * labels
    return rows, [("left", "middle", "right")[label] for label in labels]


SEEN: list[tuple[set[bytes], int, int]] = []


class Watch(Strategy):
    """Learns by heart which rows it saw, and says how many."""

    family: ClassVar[str] = "feature"

    def __init__(self, uses: bool = False) -> None:
        self.uses = uses

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return frozen_trunk(backbone, task)

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        keys = {key.tobytes() for key in data.train.examples.keys()}  # noqa: SIM118 (no mapping)
        SEEN.append((keys, len(data.train), data.seed))
        return fit_probe(module, task, data, None)


class Needy(Watch):
    """Cannot do without a source with outputs of its own."""

    needs: ClassVar[str] = "a source with outputs of its own"

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        if backbone.head is None:
            raise graft.RequestError(f"needy needs {self.needs}; {backbone.card.name} has none.")
        return super().build(backbone, task)


class Late(Watch):
    """Refuses only once it is asked to learn."""

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        raise graft.RequestError("late cannot learn from these rows.")


class Unlabelled(Watch):
    """Is nothing without rows without labels."""

    needs: ClassVar[str] = "rows without labels"
    uses_unlabelled: ClassVar[bool] = True


class Adds(Watch):
    """Adds nothing to a probe, and says what it is without."""

    def __init__(self, penalty: float = 1.0) -> None:
        self.penalty = penalty

    def without(self) -> tuple[str, Strategy] | None:
        return "plain_probe", LinearProbe(penalties=(self.penalty,))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toys count as registered, under the name of their class."""
    real = registry.spec

    def spec(plugin: object) -> dict[str, object]:
        if type(plugin).__module__ == __name__:
            return {"name": type(plugin).__name__.lower(), "params": plugin.get_params()}  # type: ignore[attr-defined]
        return real(plugin)

    monkeypatch.setattr(registry, "spec", spec)
    SEEN.clear()


def test_every_row_is_measured_once_by_a_model_that_did_not_learn_from_it() -> None:
    rows, labels = clouds()
    rows[10:14] = rows[:4]  # copies stay in one fold
    found = graft.compare((rows, labels), strategy=Watch(), folds=3, repeats=2, controls=("majority",))
    assert (found.rows, found.folds, found.repeats) == (90, 3, 2)
    assert sum(90 - size for _, size, _ in SEEN) == 2 * 90
    assert [seed for *_, seed in SEEN] == [0, 0, 0, 1, 1, 1]
    every = set.union(*(keys for keys, *_ in SEEN))
    for repeat in (SEEN[:3], SEEN[3:]):
        apart = [every - keys for keys, *_ in repeat]
        assert set.union(*apart) == every
        assert not any(apart[place] & apart[place - 1] for place in range(3))
    assert SEEN[0][0] != SEEN[3][0], "another repeat deals anew"


def test_out_of_fold_outputs_equal_fits_by_hand() -> None:
    """Scikit-learn's splitter is not ours, so the folds are taken from what the strategy saw."""
    rows, labels = clouds(gap=1.0)
    found = graft.compare((rows, labels), strategy=Watch(), folds=3, controls=())
    right, values = 0, []
    from graft.data.examples import TableExamples

    keys = [key.tobytes() for key in TableExamples(rows).keys()]  # noqa: SIM118 (no mapping)
    for learnt, *_ in list(SEEN):
        inside = np.array([key in learnt for key in keys])
        model = graft.Transfer(strategy=LinearProbe()).fit(rows[inside], np.array(labels)[inside])
        hits = model.predict(rows[~inside]) == np.array(labels)[~inside]
        right += int(hits.sum())
        values.append(hits.mean())
    assert found.best.score.value == pytest.approx(right / 90)
    assert found.best.folds == pytest.approx(values)
    assert found.best.metrics["accuracy"] == found.best.score.value
    assert found.best.over_control is None
    assert found.best.trained == 12


def test_numbers_are_pooled_in_one_scale() -> None:
    """Each fold scales labels by its own rows; two folds of very different labels show it."""
    rows = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    values = [float(1000 * row[0] + 5000) for row in rows]
    found = graft.compare((rows, values), folds=4, strategy="linear_probe?penalties=[1e-6]", controls=("majority",))
    assert found["linear_probe?penalties=[1e-06]"].metrics["rmse"] < 5
    assert found["majority"].score.value < 0.05


def test_the_best_comes_first_and_tests_are_corrected_for_all_pairs() -> None:
    found = graft.compare(clouds(gap=1.5), strategy=["linear_probe?penalties=[1e4]", "linear_probe"], folds=3)
    values = [each.score.value for each in found.standings]
    assert values == sorted(values, reverse=True)
    assert found.best.name == "linear_probe"
    assert found.best.to_best is None
    weak = found["linear_probe?penalties=[10000.0]"]
    assert weak.over_control is not None
    assert weak.over_control.other == "shallow"
    assert weak.over_control.found.gain.value == pytest.approx(weak.score.value - found["shallow"].score.value)
    smallest = min(each.to_best.found.p_value for each in found.standings if each.to_best is not None)
    corrected = min(each.to_best.corrected for each in found.standings if each.to_best is not None)
    assert corrected == pytest.approx(min(1.0, smallest * 6)), "four candidates have six pairs"
    assert {each.name: each.role for each in found.standings}["majority"] == "control"
    assert "scratch" in found.left_out


def test_a_metric_that_falls_is_ordered_the_other_way() -> None:
    found = graft.compare(clouds(), strategy="linear_probe", metric="log_loss", folds=3)
    values = [each.score.value for each in found.standings]
    assert values == sorted(values)
    assert found.standings[-1].name == "majority"
    assert found.standings[-1].to_best is not None
    assert found.standings[-1].to_best.found.gain.value < 0


def test_several_sources_share_what_stands_on_none_of_them() -> None:
    found = graft.compare(clouds(), source=["columns", "table/mlp"], folds=2, budget=0.001)
    names = {each.name for each in found.standings}
    assert names == {"linear_probe on columns", "linear_probe on table/mlp", "majority", "shallow"}
    assert {each.source for each in found.standings} >= {"columns", "table/mlp"}


def test_scratch_runs_where_all_its_fits_are_affordable() -> None:
    strategies = ["scratch?epochs=1", "linear_probe"]
    found = graft.compare(clouds(60), source="table/mlp", strategy=strategies, folds=2, controls=("majority",))
    assert found["scratch?epochs=1"].trained > 100
    assert found["scratch?epochs=1"].role == "control"


def test_what_cannot_run_is_listed_and_the_others_go_on() -> None:
    told: list[str] = []
    found = graft.compare(
        clouds(),
        strategy=[Needy(), Late(), Unlabelled(), "linear_probe"],
        folds=2,
        say=lambda step, sentence: told.append(sentence),
    )
    assert set(found.refused) == {"needy", "late", "unlabelled"}
    assert "a source with outputs of its own" in found.refused["needy"]
    assert "rows without labels" in found.refused["unlabelled"]
    assert any(each.startswith("needy does not run: ") for each in told)
    assert any(each.startswith("late did not run: ") for each in told)
    assert not SEEN


def test_where_nothing_can_run_it_is_an_error() -> None:
    with pytest.raises(graft.RequestError, match=r"nothing is left to compare:\n.*outputs of its own"):
        graft.compare(clouds(), strategy=Needy())
    with pytest.raises(graft.RequestError, match=r"nothing is left to compare:\n.*late cannot learn"):
        graft.compare(clouds(), strategy=Late(), folds=2)


def test_a_twin_runs_as_a_control_once() -> None:
    found = graft.compare(clouds(), strategy=[Adds(), Adds(2.0)], folds=2, controls=("majority",))
    roles = {each.name: each.role for each in found.standings}
    assert sum(role == "control" for role in roles.values()) == 3
    assert roles["plain_probe"] == "control"
    twice = graft.compare(clouds(), strategy=[Adds(), LinearProbe(penalties=(1.0,))], folds=2, controls=("majority",))
    assert "plain_probe" not in {each.name for each in twice.standings}


def test_a_need_is_said_before_anything_is_trained_by_fit() -> None:
    with pytest.raises(graft.RequestError, match="needy needs a source with outputs of its own"):
        graft.fit(clouds(), strategy=[Watch(), Needy()])
    with pytest.raises(graft.RequestError, match="unlabelled needs rows without labels"):
        graft.fit(clouds(), strategy=[Watch(), Unlabelled()])
    assert not SEEN


def test_a_need_of_plain_features_is_seen_once_they_have_learnt() -> None:
    texts, labels = [f"{'warm' if n % 2 else 'cold'} day {n}" for n in range(40)], ["warm", "cold"] * 20
    with pytest.raises(graft.RequestError, match="outputs of its own; tfidf has none"):
        graft.fit((texts, labels), source="tfidf", strategy=[Watch(), Needy()])


def test_rows_that_the_data_state_as_test_rows_take_no_part() -> None:
    rows, labels = clouds()
    held = {"train": (rows[:60], labels[:60]), "test": (rows[60:], labels[60:])}
    told: list[str] = []
    found = graft.compare(held, folds=2, say=lambda step, sentence: told.append(sentence))
    assert found.rows == 60
    assert any("30 test rows of the data take no part" in each for each in told)


def test_a_class_of_one_row_is_no_obstacle() -> None:
    rows, labels = clouds()
    found = graft.compare((rows, [*labels[:-1], "alone"]), folds=3)
    assert found.best.score.value > 0.8


def test_groups_stay_in_one_fold_and_are_drawn_together() -> None:
    import pandas as pd

    rows, labels = clouds()
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(label=labels, who=[f"p{n // 5}" for n in range(90)])
    found = graft.compare(frame, strategy=Watch(), folds=3, group_by="who", target="label", controls=("majority",))
    for keys, *_ in SEEN:
        assert len(keys) % 5 == 0
    assert found.best.over_control is not None
    assert found.best.over_control.found.test == "permutation"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "1 folds were asked for"),
        ({"repeats": 0}, "repeats is 0, expected at least 1"),
        ({"strategy": []}, "no strategy was given"),
        ({"output": "."}, "is no name for a new folder"),
        ({"strategy": "linear_prob"}, "linear_probe"),
        ({"source": "pixels"}, "reads rows of image"),
        ({"on_bad_row": "ignore"}, "on_bad_row"),
        ({"unlabelled": [[1.0, 2.0, 3.0]]}, "no strategy here learns from rows without labels"),
    ],
)
def test_wrong_requests_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(graft.RequestError, match=message):
        graft.compare(clouds(), **cast("dict[str, int]", options))


def test_only_stated_test_rows_leave_nothing_to_compare_by() -> None:
    import pandas as pd

    rows, labels = clouds(20)
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(label=labels, split="test")
    with pytest.raises(graft.RequestError, match="states all labelled rows as test rows"):
        graft.compare(frame)


def test_a_finished_comparison_is_taken_up_and_other_folders_are_left_alone(tmp_path: Path) -> None:
    output = tmp_path / "compared"
    first = graft.compare(clouds(), folds=2, output=output)
    told: list[str] = []
    again = graft.compare(clouds(), folds=2, output=output, say=lambda step, sentence: told.append(step))
    assert "done" in told
    assert again.document() == first.document()
    assert again.standings[0].seconds is None
    assert replace(first.standings[0], seconds=None) == again.standings[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compared"]
    with pytest.raises(graft.MachineError, match="other data, options or weights"):
        graft.compare(clouds(), folds=3, output=output)
    assert graft.compare(clouds(), folds=3, output=output, overwrite=True).folds == 3
    (output / "comparison.json").write_text("{")
    with pytest.raises(graft.MachineError, match="is damaged"):
        graft.compare(clouds(), folds=3, output=output)
    (tmp_path / "photos").mkdir()
    with pytest.raises(graft.MachineError, match="something else than a comparison"):
        graft.compare(clouds(), output=tmp_path / "photos")


def test_values_come_back_from_their_document() -> None:
    found = graft.compare(clouds(), folds=2)
    assert Standings.from_document(found.document(seconds=True)) == found


KILLED = """
import sys
import numpy as np
import graft
random = np.random.default_rng(0)
labels = random.integers(0, 2, 80)
rows = random.normal(size=(80, 3)).astype(np.float32)
rows[:, 0] += labels
graft.compare(
    (rows, [("left", "right")[label] for label in labels]), source="table/mlp",
    strategy=["linear_probe", "fine_tune?epochs=2"], folds=2, controls=("majority",), output=sys.argv[1],
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("point", ["after-fold", "train-1-1", "before-rename", "before-folder-rename"])
def test_a_killed_comparison_goes_on_to_the_same_bytes(tmp_path: Path, point: str) -> None:
    def run(output: Path, cache: str, fail_point: str = "") -> int:
        environment = {**os.environ, "GRAFT_CACHE": str(tmp_path / cache), "GRAFT_FAIL_POINT": fail_point}
        return subprocess.run([sys.executable, "-c", KILLED, str(output)], env=environment, check=False).returncode

    assert run(tmp_path / "calm", "a") == 0
    assert run(tmp_path / "stormy", "b", point) == -signal.SIGKILL
    assert not (tmp_path / "stormy").exists()
    assert run(tmp_path / "stormy", "b") == 0
    calm, stormy = ((tmp_path / name / "comparison.json").read_bytes() for name in ("calm", "stormy"))
    assert calm == stormy
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")]


@pytest.mark.parametrize("heard", [6, 1])
def test_folds_beside_which_no_row_counts_are_refused_before_anything_is_trained(tmp_path: Path, heard: int) -> None:
    rows, labels = clouds(60)
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(label=labels, trust=0.0)
    frame.loc[: heard - 1, "trust"] = 1.0
    frame.to_csv(tmp_path / "rows.csv", index=False)
    told: list[str] = []
    strategy = "fine_tune?epochs=1" if heard == 6 else "linear_probe"
    if heard == 6:  # enough for the folds of a strategy that does not validate
        frame["group"] = ["heard"] * 6 + [f"g{row}" for row in range(54)]
        frame.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(
        graft.DataError, match=r"every row to learn from beside fold \d has a confidence of 0 in column 'trust'"
    ):
        graft.compare(
            str(tmp_path / "rows.csv"),
            source="table/mlp",
            strategy=strategy,
            target="label",
            confidence="trust",
            group_by="group" if heard == 6 else None,
            folds=3,
            controls=["majority"],
            say=lambda step, text: told.append(step),
        )
    assert "fit" not in told

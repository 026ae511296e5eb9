"""A run's own folder: taken up by the same request, replaced by another."""

from __future__ import annotations

from pathlib import Path

from graft.select.workspace import Workspace


def test_decisions_are_made_once(tmp_path: Path) -> None:
    answers = iter([{"seconds": 1.0}, {"seconds": 2.0}])
    first = Workspace(tmp_path / "model", "request")
    assert first.open() is None
    assert first.remember("plan", lambda: next(answers)) == {"seconds": 1.0}
    second = Workspace(tmp_path / "model", "request")
    assert "an earlier run of this command" in (second.open() or "")
    assert second.remember("plan", lambda: next(answers)) == {"seconds": 1.0}
    second.close()
    assert not list(tmp_path.iterdir())


def test_another_request_starts_anew(tmp_path: Path) -> None:
    first = Workspace(tmp_path / "model", "request")
    first.open()
    first.remember("plan", lambda: {"old": 1})
    other = Workspace(tmp_path / "model", "another")
    assert "it is replaced" in (other.open() or "")
    assert other.remember("plan", lambda: {"new": 1}) == {"new": 1}


def test_without_an_output_nothing_is_kept(tmp_path: Path) -> None:
    nowhere = Workspace(None, "request")
    assert nowhere.open() is None
    assert nowhere.folder("trial") is None
    assert nowhere.remember("plan", lambda: {"a": 1}) == {"a": 1}

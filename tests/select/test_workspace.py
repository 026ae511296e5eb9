"""A run's own folder: taken up by the same request, replaced by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from graft.errors import MachineError, RequestError
from graft.select.workspace import Workspace


def test_decisions_are_made_once(tmp_path: Path) -> None:
    answers = iter([{"seconds": 1.0}, {"seconds": 2.0}])
    with Workspace(tmp_path / "model", "request") as first:
        assert first.found is None
        assert first.remember("plan", lambda: next(answers)) == {"seconds": 1.0}
    with Workspace(tmp_path / "model", "request") as second:
        assert "an earlier run of this command" in (second.found or "")
        assert second.remember("plan", lambda: next(answers)) == {"seconds": 1.0}
        second.clear()
    assert not list(tmp_path.iterdir())


def test_another_request_starts_anew(tmp_path: Path) -> None:
    with Workspace(tmp_path / "model", "request") as first:
        first.remember("plan", lambda: {"old": 1})
    with Workspace(tmp_path / "model", "another") as other:
        assert "it is replaced" in (other.found or "")
        assert other.remember("plan", lambda: {"new": 1}) == {"new": 1}


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with Workspace(tmp_path / "model", "request"), pytest.raises(MachineError, match="another run works"):
        Workspace(tmp_path / "model", "request").__enter__()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "thesis.tex").write_text("years of work")
    with pytest.raises(MachineError, match=r"thesis\.tex"):
        Workspace(tmp_path / "model", "request").__enter__()
    assert (tmp_path / "model.partial" / "thesis.tex").exists()


def test_a_request_that_was_refused_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RequestError), Workspace(tmp_path / "model", "request"):
        raise RequestError("no such thing.")
    assert not list(tmp_path.iterdir())
    with Workspace(tmp_path / "model", "request") as late:
        late.remember("plan", lambda: {"a": 1})
    with pytest.raises(RequestError), Workspace(tmp_path / "model", "request"):
        raise RequestError("no such thing.")
    with pytest.raises(KeyboardInterrupt), Workspace(tmp_path / "other", "request"):
        raise KeyboardInterrupt
    assert {each.name for each in tmp_path.iterdir()} == {"model.partial", "other.partial"}


def test_without_an_output_nothing_is_kept(tmp_path: Path) -> None:
    with Workspace(None, "request") as nowhere:
        assert nowhere.found is None
        assert nowhere.folder("trial") is None
        assert nowhere.remember("plan", lambda: {"a": 1}) == {"a": 1}


def test_the_best_so_far_is_part_of_the_run(tmp_path: Path) -> None:
    with Workspace(tmp_path / "model", "request") as first:
        assert first.best == tmp_path / "model.partial" / "best"
        first.best.mkdir()
        first.remember("screen", lambda: {"a": 1})
    with Workspace(tmp_path / "model", "request") as again:
        assert again.best is not None
        assert again.best.exists()
    with Workspace(tmp_path / "model", "another") as other:
        assert other.best is not None
        assert not other.best.exists()
    with Workspace(None, "request") as nowhere:
        assert nowhere.best is None


def test_the_time_that_was_used_counts(tmp_path: Path) -> None:
    with Workspace(tmp_path / "model", "request") as first:
        first.remember("ran", lambda: {"spent": 12.0})
        first.used(30.0)
    with Workspace(tmp_path / "model", "request") as again:
        assert again.spent() == 30.0
    with Workspace(None, "request") as nowhere:
        nowhere.used(30.0)
        assert nowhere.spent() == 0.0


def test_a_plan_alone_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    def planned() -> None:
        with Workspace(tmp_path / "model", "request") as workspace:
            workspace.remember("field", lambda: {"speed": 1.0})
            raise RequestError("a budget too small for anything.")

    with pytest.raises(RequestError):
        planned()
    assert not list(tmp_path.iterdir())

"""Progress: nothing, plain lines, or a bar."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest

from graft import progress
from graft.progress import Lines, Silent, Terminal, for_stream


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_silent_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Silent().step("read", 2) as advance:
        advance()
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_lines_come_every_ten_seconds_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with Lines().step("features", 100) as advance:
        for clock.now in (1.0, 9.0, 10.0, 11.0, 21.0):
            advance(20)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "features: 60/100 after 10 s\nfeatures: 100/100 after 21 s\n"


def test_a_quick_step_writes_no_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Clock(monkeypatch)
    with Lines().step("read", 1) as advance:
        advance()
    assert capsys.readouterr().err == ""


def test_a_bar_appears_after_a_second_and_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    clock = Clock(monkeypatch)
    with Terminal().step("train", 4) as advance:
        advance()
        assert screen.getvalue() == ""
        clock.now = 1.5
        advance()
        advance()
    assert "train" in screen.getvalue()


def test_a_bar_ends_with_its_step_when_the_step_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Screen())
    with contextlib.suppress(RuntimeError), Terminal(delay=0.0).step("train", 4) as advance:
        advance()
        raise RuntimeError
    with Terminal(delay=0.0).step("train", 1) as advance:
        advance()


def test_the_display_fits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(for_stream(), Lines)
    assert isinstance(for_stream(quiet=True), Silent)
    monkeypatch.setattr(sys, "stderr", Screen())
    assert isinstance(for_stream(), Terminal)

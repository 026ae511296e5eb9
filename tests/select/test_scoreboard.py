"""Who is the best of all, where some climbed higher than others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graft.contracts import Array
from graft.select.course import Measured
from graft.select.heats import Rung
from graft.select.scoreboard import Scoreboard
from graft.select.sightings import sightings_of
from graft.tasks.classification import Classification

ROWS = 300
TRUTH = np.random.default_rng(0).integers(2, size=ROWS)


class Coins:
    """A course of three folds of a hundred rows each."""

    reference = Classification().start(np.array(["a", "b"], dtype=object))
    rungs = (Rung(1.0, 1), Rung(1.0, 3))
    rows, pool = 200, np.arange(ROWS)
    common: Any = type("Common", (), {"seed": 0})()

    def truth(self, rung: Rung) -> Array:
        return TRUTH[: 100 * rung.heats]

    def groups(self, rung: Rung) -> None:
        return None

    def signed(self, value: float) -> float:
        return value


class Glimpsed(Coins):
    """The first rung shows smaller images."""

    rungs = (Rung(1.0, 1, 0.5), Rung(1.0, 1), Rung(1.0, 3))


def outputs(right: float, seed: int, rows: int) -> Array:
    told = np.where(np.random.default_rng(seed).random(ROWS) < right, TRUTH, 1 - TRUTH)[:rows]
    return np.eye(2, dtype=np.float32)[told]


def board(course: Any = None, **measured: tuple[float, int]) -> Scoreboard:
    """Name → how often it is right, and how many rungs it was run on."""
    course = course or Coins()
    found = Scoreboard(course)
    for seed, (name, (right, rungs)) in enumerate(measured.items()):
        for level in range(rungs):
            said = outputs(right, seed, 100 * course.rungs[level].heats)
            score = float((said.argmax(1) == course.truth(course.rungs[level])).mean())
            found.found[name, level] = Measured(said, score, 200, 1.0, 10)
    return found


def test_a_large_gain_on_a_lower_rung_wins() -> None:
    assert board(slow=(0.95, 1), cheap=(0.7, 2)).winner() == "slow"


def test_what_is_worse_on_its_rung_does_not_win_by_having_stopped_there() -> None:
    assert board(slow=(0.6, 1), cheap=(0.8, 2), other=(0.7, 2)).winner() == "cheap"


def test_where_all_climbed_the_best_wins() -> None:
    found = board(one=(0.7, 2), other=(0.9, 2))
    assert found.winner() == found.leader(1) == "other"


@pytest.mark.parametrize(("right", "winner"), [(0.81, "cheap"), (0.97, "slow")])
def test_what_cannot_be_fitted_again_has_to_be_better_by_what_that_gives_away(right: float, winner: str) -> None:
    """With half as many rows again errors fall by a sixth: that is what the other one still gains."""
    found = board(slow=(right, 1), cheap=(0.8, 2))
    found.once.add("slow")
    assert found.winner() == winner


def test_what_was_seen_on_smaller_images_alone_does_not_win() -> None:
    assert board(Glimpsed(), slow=(0.95, 1), cheap=(0.7, 3)).winner() == "cheap"
    assert board(Glimpsed(), slow=(0.95, 2), cheap=(0.7, 3)).winner() == "slow"
    assert not board(Glimpsed(), slow=(0.95, 1)).eligible()


def test_what_is_expected_with_all_rows_is_told_by_whole_images() -> None:
    found = board(Glimpsed(), one=(0.9, 2))
    found.found["one", 0] = Measured(found.found["one", 0].outputs, 0.2, 20, 1.0, 10)
    assert found.reach("one") == found.found["one", 1].score


def test_sightings_of_a_rung_leave_out_the_rows_of_the_rung_below() -> None:
    class Folds(Coins):
        def measured(self, level: int) -> int:
            return 100 * self.rungs[level].heats

        def nested(self, level: int) -> bool:
            return level > 0

    found = board(Folds(), one=(0.7, 2), other=(0.8, 2))
    for name in ("one", "other"):
        low, high = (each for each in sightings_of(found, 0.1) if each.name == name)
        later = found.found[name, 1].outputs[100:].argmax(1) == TRUTH[100:]
        assert high.score == pytest.approx(later.mean())
        assert low.noise == pytest.approx(2 * high.noise)

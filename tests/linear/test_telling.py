"""Which setting is taken where the goal tells little."""

from __future__ import annotations

import numpy as np
import pytest

from graft.linear.telling import Told, told_best


def told(goal: float, parts: list[float], loss: float) -> Told:
    return Told(goal, np.array(parts), loss)


def test_a_lead_that_every_fold_shares_decides_whatever_the_loss() -> None:
    sure = told(0.90, [0.91, 0.89, 0.90], loss=2.0)
    assert told_best([told(0.80, [0.81, 0.79, 0.80], loss=0.5), sure]) == 1


def test_a_lead_that_the_folds_dispute_leaves_the_word_to_the_loss() -> None:
    ahead = told(0.82, [0.90, 0.76, 0.80], loss=1.3)
    behind = told(0.81, [0.80, 0.80, 0.83], loss=0.6)
    assert told_best([ahead, behind]) == 1
    assert told_best([behind, ahead]) == 0


@pytest.mark.parametrize("parts", [[[0.82], [0.81]], [[0.9, np.nan], [0.8, 0.82]], [[], []]])
def test_where_no_error_is_known_the_goal_decides_and_the_loss_among_equals(parts: list[list[float]]) -> None:
    ahead, behind = told(0.82, parts[0], loss=1.3), told(0.81, parts[1], loss=0.6)
    assert told_best([behind, ahead]) == 1
    assert told_best([ahead, told(0.82, parts[1], loss=0.6)]) == 1


def test_of_equals_in_all_the_first_is_taken() -> None:
    one = told(0.5, [0.5, 0.5], loss=1.0)
    assert told_best([one, one]) == 0


def test_what_is_not_defined_is_not_taken() -> None:
    nothing = told(np.nan, [np.nan, np.nan], loss=0.1)
    assert told_best([nothing, told(0.1, [0.1, 0.1], loss=9.0)]) == 1
    assert told_best([told(np.nan, [np.nan], loss=0.5), nothing, told(np.nan, [np.nan], np.nan)]) == 1


def test_a_loss_that_is_not_defined_is_the_worst() -> None:
    assert told_best([told(0.8, [0.8, 0.8], np.nan), told(0.8, [0.8, 0.8], loss=0.5)]) == 1

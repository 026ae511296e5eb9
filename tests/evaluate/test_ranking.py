"""How well a score ranks: against a published table, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from graft.errors import RequestError
from graft.evaluate.ranking import normalised_regret, ranking_metrics, regret

# Transfer-Learning-Library, examples/model_selection/README.md: 10 networks on Caltech101
BROUGHT = np.array([91.7, 94.3, 91.8, 93.1, 93.2, 91.9, 92.5, 93.4, 89.1, 91.5])
H_SCORE = np.array([75.88, 93.73, 91.65, 92.54, 92.91, 75.02, 86.37, 89.90, 75.82, 77.00])
NCE = np.array([-0.665, -0.560, -0.616, -0.603, -0.605, -0.609, -0.580, -0.590, -0.693, -0.690])


@pytest.mark.parametrize(("scores", "pearson", "tau"), [(H_SCORE, 0.748, 0.721), (NCE, 0.843, 0.810)])
def test_it_gives_the_published_figures(scores: np.ndarray, pearson: float, tau: float) -> None:
    found = dict(ranking_metrics(scores, BROUGHT))
    assert found["pearson"] == pytest.approx(pearson, abs=1e-3)
    assert found["weighted_kendall"] == pytest.approx(tau, abs=1e-3)
    assert found["regret@1"] == 0.0


def test_regret_is_what_the_choice_lacks_to_the_best() -> None:
    scores, brought = np.array([4.0, 3.0, 2.0, 1.0]), np.array([0.8, 0.6, 0.9, 0.5])
    assert regret(scores, brought) == pytest.approx(0.1)
    assert regret(scores, brought, 3) == 0.0
    assert normalised_regret(scores, brought) == pytest.approx(0.25)
    found = dict(ranking_metrics(scores, brought))
    assert found["regret@1"] == pytest.approx(0.1)
    assert found["regret@3"] == 0.0
    assert found["normalised_regret"] == pytest.approx(0.25)


def test_what_a_score_does_not_decide_it_has_not_won() -> None:
    assert regret(np.zeros(3), np.array([0.5, 0.9, 0.7])) == pytest.approx(0.4)
    assert np.isnan(dict(ranking_metrics(np.zeros(3), np.array([0.5, 0.9, 0.7])))["kendall"])


def test_a_source_without_a_score_is_chosen_last() -> None:
    scores, brought = np.array([np.nan, 2.0, 1.0]), np.array([0.9, 0.6, 0.7])
    assert regret(scores, brought) == pytest.approx(0.3)
    assert regret(scores, brought, 3) == 0.0
    assert dict(ranking_metrics(scores, brought))["kendall"] == -1.0


def test_sources_that_are_alike_leave_nothing_to_regret() -> None:
    assert normalised_regret(np.array([1.0, 2.0]), np.array([0.5, 0.5])) == 0.0


@pytest.mark.parametrize(
    ("scores", "brought", "message"),
    [
        (np.zeros(2), np.zeros(3), "give one number a source"),
        (np.zeros(0), np.zeros(0), "give one number a source"),
        (np.zeros(2), np.array([1.0, np.nan]), "not finite"),
    ],
)
def test_what_is_no_ranking_is_refused(scores: np.ndarray, brought: np.ndarray, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        list(ranking_metrics(scores, brought))


def test_none_of_the_sources_cannot_be_taken() -> None:
    with pytest.raises(RequestError, match="k is 0"):
        regret(np.ones(2), np.ones(2), 0)

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from graft.evaluate.noise import joint, mislabelled, noise_share, quality, thresholds

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def noisy(seed: int, n: int = 400, c: int = 4, share: float = 0.3) -> tuple[IntArray, IntArray, FloatArray]:
    """True and given classes, and probabilities of a fair model."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, c, n)
    given = np.where(draw.random(n) < share, (truth + draw.integers(1, c, n)) % c, truth)
    outputs = draw.normal(size=(n, c)) + 2.5 * np.eye(c)[truth]
    odds = np.exp(outputs)
    return truth, given, odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("c", [2, 4, 9])
def test_it_is_what_cleanlab_finds(seed: int, c: int) -> None:
    cleanlab: Any = pytest.importorskip("cleanlab", reason="cleanlab is not installed")
    _, given, chances = noisy(seed, c=c)
    np.testing.assert_allclose(thresholds(given, chances), cleanlab.count.get_confident_thresholds(given, chances))
    counts = cleanlab.count.compute_confident_joint(given, chances)
    # cleanlab rounds to whole rows
    np.testing.assert_allclose(joint(given, chances) * len(given), counts, atol=1.0)
    np.testing.assert_allclose(
        joint(given, chances),
        cleanlab.count.estimate_joint(given, chances, confident_joint=counts),
        atol=2 / len(given),
    )
    theirs = cleanlab.filter.find_label_issues(given, chances, filter_by="confident_learning", n_jobs=1)
    assert (mislabelled(given, chances) == theirs).all()
    scores = cleanlab.rank.get_label_quality_scores(given, chances, method="self_confidence")
    np.testing.assert_array_equal(quality(given, chances), scores)


def test_rows_with_a_wrong_label_are_found() -> None:
    truth, given, chances = noisy(0, n=3000)
    found, wrong = mislabelled(given, chances), truth != given
    assert (found & wrong).sum() / wrong.sum() > 0.7
    assert (found & wrong).sum() / found.sum() > 0.9
    assert noise_share(given, chances) == pytest.approx(wrong.mean(), abs=0.03)
    assert quality(given, chances)[wrong].mean() < 0.2 < 0.5 < quality(given, chances)[~wrong].mean()


def test_sound_labels_are_left_alone() -> None:
    truth, _, chances = noisy(0, share=0.0)
    assert noise_share(truth, chances) < 0.05
    assert mislabelled(truth, chances).mean() < 0.05


def test_the_joint_by_hand() -> None:
    # thresholds: class 0 (.9 + .2) / 2 = .55, class 1 (.7 + .9) / 2 = .8; rows 0 → 0, 1 → 1, 3 → 1, row 2 is unsure
    given = np.array([0, 0, 1, 1])
    chances = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]])
    np.testing.assert_allclose(thresholds(given, chances), [0.55, 0.8])
    np.testing.assert_allclose(joint(given, chances), [[0.25, 0.25], [0.0, 0.5]])
    assert noise_share(given, chances) == pytest.approx(0.25)
    assert mislabelled(given, chances).tolist() == [False, True, False, False]


def test_a_class_without_rows_is_nobodys() -> None:
    given = np.array([0, 0, 2, 2])
    chances = np.array([[0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.1, 0.5, 0.4], [0.1, 0.3, 0.6]])
    assert thresholds(given, chances)[1] == 2
    found = joint(given, chances)
    assert found.sum() == pytest.approx(1)
    assert (found[1] == 0).all()
    assert not mislabelled(given, chances).any()

"""What more labels would bring: laws that are known, an independent fit, and points that say nothing."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from scipy.optimize import least_squares

from graft.evaluate.learning_curve import LearningCurve, Point, learning_curve

SHARES = {0.125: 5, 0.25: 3, 0.5: 2, 1.0: 1}


def points(
    limit: float, scale: float, exponent: float, *, rows: int = 1000, noise: float = 0.0, seed: int = 0
) -> list[Point]:
    random = np.random.default_rng(seed)
    return [
        Point(n := int(rows * share), float(limit - scale * n**-exponent + noise / np.sqrt(share) * random.normal()))
        for share, often in SHARES.items()
        for _ in range(often)
    ]


def test_a_law_without_noise_is_found() -> None:
    found = learning_curve("accuracy", points(0.9, 1.5, 0.5))
    assert found.law is not None
    assert found.gain is not None
    assert float(found.law(1000)) == pytest.approx(0.9 - 1.5 * 1000**-0.5, abs=5e-4)
    wanted = 1.5 * (1000**-0.5 - 2000**-0.5)
    assert found.gain.value == pytest.approx(wanted, abs=5e-4)
    assert found.word == "more"
    assert str(found).startswith(
        "twice the labels (1000 → 2000 training rows) would bring accuracy 1.4 points higher ["
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_law_is_that_of_a_general_search(seed: int) -> None:
    """The same loss, minimised by scipy from several starts."""
    held = points(0.85, 2.0, 0.5, noise=0.008, seed=seed)
    found = learning_curve("accuracy", held)
    rows, values = (np.array([getattr(each, name) for each in held]) for name in ("rows", "value"))
    share = rows / rows.max()
    means = {n: values[rows == n].mean() for n in set(rows.tolist())}
    spread = [
        (value - means[n]) * np.sqrt(s) * np.sqrt((rows == n).sum() / ((rows == n).sum() - 1))
        for n, s, value in zip(rows.tolist(), share, values, strict=True)
        if n != rows.max()
    ]
    noise = np.sqrt(np.mean(np.square(spread))) / np.sqrt(share)

    def residuals(law: np.ndarray) -> np.ndarray:
        return np.asarray((law[0] - law[1] * share ** -law[2] - values) / noise)

    best = min(
        (
            least_squares(
                residuals,
                [0.8, 0.1, start],
                bounds=([-np.inf, -np.inf, 0.02], [1, np.inf, 2]),
                loss="soft_l1",
                xtol=1e-12,
            )
            for start in (0.1, 0.3, 0.6, 1.0, 1.5)
        ),
        key=lambda each: each.cost,
    )
    assert found.law is not None
    mine = (found.law(rows) - values) / noise
    cost = float((np.sqrt(1 + mine**2) - 1).sum())
    assert cost == pytest.approx(best.cost, rel=0.02, abs=1e-3)
    gain = float(best.x[1] * (1 - 2 ** -best.x[2]))
    assert found.gain is not None
    assert found.gain.value == pytest.approx(gain, abs=2e-3)


@pytest.mark.parametrize(("limit", "scale", "exponent"), [(0.95, 1.0, 0.4), (0.8, 0.6, 0.2), (0.7, 0.0, 0.5)])
def test_its_interval_holds_the_truth(limit: float, scale: float, exponent: float) -> None:
    true = scale * (1000**-exponent - 2000**-exponent)
    held, words = 0, Counter[str]()
    for seed in range(24):
        found = learning_curve("accuracy", points(limit, scale, exponent, noise=0.008, seed=seed), resamples=200)
        assert found.gain is not None
        held += int(found.gain.low <= true + 1e-12 and true <= found.gain.high)
        words[found.word] += 1
    assert held >= 20
    assert words["more"] <= 3 if not scale else words["more"] >= 14


def test_an_outlier_is_no_reason_to_expect_more() -> None:
    held = points(0.8, 1.0, 0.5, noise=0.004)
    lost = [Point(held[0].rows, 0.4), *held[1:]]
    plain, robust = (learning_curve("accuracy", each) for each in (held, lost))
    assert plain.gain is not None
    assert robust.gain is not None
    assert robust.gain.value == pytest.approx(plain.gain.value, abs=0.01)


def test_no_metric_passes_its_best() -> None:
    found = learning_curve("accuracy", [Point(p.rows, min(1.0, p.value)) for p in points(1.05, 1.0, 0.3, noise=0.01)])
    assert found.law is not None
    assert found.law.limit <= 1.0
    assert float(found.law(10**9)) <= 1.0


def test_an_error_falls() -> None:
    found = learning_curve("rmse", [Point(each.rows, 2 - each.value) for each in points(0.9, 1.5, 0.5, noise=0.003)])
    assert found.law is not None
    assert found.gain is not None
    assert found.gain.value > 0
    assert found.law(2000) < found.law(1000)
    assert "rmse 0.0" in str(found)
    assert "lower [" in str(found)


def test_a_flat_curve_says_that_more_brings_little() -> None:
    found = learning_curve("accuracy", points(0.7, 0.0, 0.5, noise=0.001))
    assert found.word == "little"
    assert "would bring little: accuracy at most 0." in str(found)


@pytest.mark.parametrize(
    "held",
    [
        [],
        [Point(100, 0.5)],
        [Point(100, 0.5), Point(100, 0.6), Point(200, 0.7)],
        [Point(100, 0.5), Point(200, 0.6), Point(400, 0.7)],
        [*points(0.9, 1.0, 0.5), Point(1000, float("nan"))],
    ],
)
def test_it_abstains_where_points_settle_nothing(held: list[Point]) -> None:
    found = learning_curve("accuracy", held)
    assert found.law is None
    assert found.word == "unknown"
    assert "do not tell what twice the labels" in str(found)


def test_it_abstains_where_noise_is_as_large_as_the_curve() -> None:
    words = Counter(learning_curve("accuracy", points(0.7, 0.3, 0.3, noise=0.05, seed=seed)).word for seed in range(20))
    assert words["unknown"] >= 14


@pytest.mark.parametrize("falls", [True, False], ids=["noise that falls with the rows", "noise that does not"])
@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_noise_makes_it_no_surer(falls: bool, noise: float) -> None:
    """Twice the rows would bring 1.5 points: hardly any of 40 noisy curves may say that they bring little."""
    true = 1000**-0.4 - 2000**-0.4
    held, words = 0, Counter[str]()
    for seed in range(40):
        random = np.random.default_rng(seed)
        drawn = [
            Point(each.rows, each.value + noise * (1000 / each.rows) ** (0.5 * falls) * float(random.normal()))
            for each in points(0.95, 1.0, 0.4)
        ]
        found = learning_curve("accuracy", drawn, resamples=200)
        assert found.gain is not None
        held += int(found.gain.low <= true <= found.gain.high)
        words[found.word] += 1
    assert held >= 34
    assert words["little"] <= 2


def test_it_comes_back_from_json() -> None:
    for held in (points(0.9, 1.0, 0.5, noise=0.01), []):
        found = learning_curve("accuracy", held, name="svm")
        assert LearningCurve.from_document(json.loads(json.dumps(found.document()))) == found

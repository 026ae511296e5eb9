"""What was seen of one candidate says something about others of its source, and about training on these rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graft.select import outlook
from graft.select.outlook import Nature, Outlook, Sighting

NATURES = {
    "probe on a": Nature("a", "probe", trains=False),
    "probe on b": Nature("b", "probe", trains=False),
    "tune on a": Nature("a", "tune", trains=True),
    "tune on b": Nature("b", "tune", trains=True),
    "lora on a": Nature("a", "lora", trains=True),
    "lora on b": Nature("b", "lora", trains=True),
}
PROBES = [Sighting("probe on a", 0, 0.8, 1e-4), Sighting("probe on b", 0, 0.7, 1e-4)]


def seen(sightings: list[Sighting], natures: dict[str, Nature] = NATURES) -> Outlook:
    """All that was measured may be chosen."""
    return Outlook(natures, sightings, {each.name for each in sightings})


def test_beliefs_are_those_of_a_bayesian_regression_on_the_parts() -> None:
    """The same model with its parts as weights: here they are solved for, there they are integrated out."""
    sightings = [*PROBES, Sighting("tune on a", 0, 0.75, 2e-3), Sighting("tune on a", 1, 0.9, 1e-3)]
    found = seen(sightings)
    parts: dict[tuple[object, ...], float] = {}
    for name, nature in NATURES.items():
        parts["source", nature.source] = outlook._SOURCE
        parts["strategy", nature.strategy] = outlook._STRATEGY
        parts["training",] = outlook._TRAINING
        parts["both", nature.source] = outlook._TRAINED_SOURCE
        parts["rest", name] = outlook._REMAINDER

    def design(name: str) -> np.ndarray:
        nature = NATURES[name]
        mine: set[tuple[object, ...]] = {("source", nature.source), ("strategy", nature.strategy), ("rest", name)}
        mine |= {("training",), ("both", nature.source)} if nature.trains else set()
        return np.array([float(part in mine) for part in parts])

    scales = np.array([*parts.values(), outlook._SHARED, outlook._SHARED]) * 0.9
    told = np.array([[*design(each.name), each.rows == 0, each.rows == 1] for each in sightings], dtype=float)
    precision = np.diag([1 / each.noise for each in sightings])
    covariance = np.linalg.inv(told.T @ precision @ told + np.diag(scales**-2))
    scores = np.array([each.score for each in sightings])
    weights = covariance @ told.T @ precision @ (scores - scores.mean())
    for name in NATURES:
        row = np.array([*design(name), 0.0, 0.0])
        assert found.mean(name) == pytest.approx(float(row @ weights), abs=1e-9)
        assert found.spread(name) == pytest.approx(math.sqrt(row @ covariance @ row), abs=1e-9)


def test_training_is_expected_to_do_best_on_the_source_whose_features_do() -> None:
    found = seen(PROBES)
    assert found.mean("tune on a") > found.mean("tune on b")
    assert found.worth("tune on a", 1e-3) > found.worth("tune on b", 1e-3)


def test_where_one_training_does_harm_the_others_promise_less() -> None:
    before = seen(PROBES)
    after = seen([*PROBES, Sighting("tune on a", 0, 0.5, 1e-3)])
    for name in ("tune on b", "lora on a", "lora on b"):
        assert after.mean(name) - after.mean("probe on a") < before.mean(name) - before.mean("probe on a")
        assert after.worth(name, 1e-3) < before.worth(name, 1e-3)


def test_scores_by_other_rows_are_compared_only_with_each_other() -> None:
    """Rows that are harder for all make nobody worse."""
    easy = seen([*PROBES, Sighting("probe on a", 1, 0.8, 1e-4), Sighting("tune on a", 1, 0.85, 1e-4)])
    hard = seen([*PROBES, Sighting("probe on a", 1, 0.3, 1e-4), Sighting("tune on a", 1, 0.35, 1e-4)])
    gains = [found.mean("tune on a") - found.mean("probe on a") for found in (easy, hard)]
    assert gains[0] == pytest.approx(gains[1], abs=2e-3)


def test_worth_is_the_mean_gain_of_choosing_after_the_measurement() -> None:
    found, noise = seen([*PROBES, Sighting("tune on a", 0, 0.78, 2e-3)]), 1e-3
    now = max(found.mean(name) for name in found.eligible)
    for name in ("tune on b", "lora on a", "probe on a"):
        others = max(found.mean(other) for other in found.eligible - {name})
        moves = found.spread(name) ** 2 / math.sqrt(found.spread(name) ** 2 + noise)
        later = found.mean(name) + moves * np.random.default_rng(0).normal(size=400_000)
        chosen = np.maximum(later, others).mean()
        assert found.worth(name, noise) == pytest.approx(chosen - now, abs=1e-4)


def test_while_nothing_is_seen_everything_is_worth_a_try_and_one_alone_no_second() -> None:
    assert seen([]).worth("tune on b", 1e-3) == math.inf
    assert seen(PROBES[:1]).worth("probe on a", 1e-3) == 0.0


def test_a_look_at_a_source_tells_but_cannot_be_chosen() -> None:
    looked = {**NATURES, "a": Nature("a", "", trains=False), "b": Nature("b", "", trains=False)}
    looks = [Sighting("a", -1, 0.6, 1e-3), Sighting("b", -1, 0.8, 1e-3)]
    found = Outlook(looked, looks, [])
    assert found.worth("tune on b", 1e-3) == math.inf
    assert found.mean("tune on b") > found.mean("tune on a")


def test_what_leads_but_was_not_seen_whole_is_worth_seeing() -> None:
    """Where it may be chosen already, what is far ahead is not measured again."""
    sightings = [*PROBES, Sighting("tune on a", 0, 0.95, 1e-3)]
    whole, glimpsed = seen(sightings), Outlook(NATURES, sightings, ["probe on a", "probe on b"])
    assert glimpsed.worth("tune on a", 1e-3) > 10 * whole.worth("tune on a", 1e-3)


def test_what_diverged_says_little_of_others() -> None:
    """Errors, turned so that higher is better: one is a hundred thousand times the others."""
    sane = [Sighting("probe on a", 0, -10.0, 1e-2), Sighting("probe on b", 0, -11.0, 1e-2)]
    found = seen([*sane, Sighting("tune on b", 0, -1e6, 1e-2)])
    assert found.unit == 10.0
    assert found.mean("probe on a") > found.mean("probe on b") + 0.5
    assert abs(found.mean("lora on a") - found.mean("probe on a")) < found.unit


def test_small_errors_are_told_apart_as_large_ones_are() -> None:
    def gaps(unit: float) -> float:
        found = seen(
            [Sighting("probe on a", 0, -unit, 1e-4 * unit**2), Sighting("probe on b", 0, -1.2 * unit, 1e-4 * unit**2)]
        )
        return (found.mean("tune on a") - found.mean("tune on b")) / unit

    assert gaps(1e-3) == pytest.approx(gaps(100.0))

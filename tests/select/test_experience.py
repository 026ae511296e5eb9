"""The prior: what won on like tasks comes first, what is unknown is neither, and nothing is more than an order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import rankdata

from graft.select.entry import Entry
from graft.select.experience import Expected, prior
from graft.select.sketch import Sketch, distance

HERE = Sketch("text", "classification", "softmax", 1000, 4, 1.0, {"words": 20.0, "digits": 0.05})
NEAR = replace(HERE, rows=1500)
FAR = replace(HERE, rows=100_000, facts={"words": 500.0, "digits": 0.6})


def trials(
    sketch: Sketch, data: str, scores: dict[str, float], metric: str = "accuracy", rows: int = 700
) -> list[Entry]:
    return [
        Entry(sketch, source, "linear_probe", metric, score, rows, 1.0, ((rows, score),), data)
        for source, score in scores.items()
    ]


def by_source(entries: Sequence[Entry], names: Sequence[str], sketch: Sketch = HERE) -> dict[str, Expected]:
    return prior(entries, sketch, names, by=lambda entry: entry.source)


def test_without_experience_there_is_no_preference() -> None:
    assert by_source([], ["a", "b"]) == {"a": Expected(0.0, 0.0), "b": Expected(0.0, 0.0)}
    known = trials(NEAR, "one", {"a": 0.9, "b": 0.8})
    assert by_source(known, ["never tried"])["never tried"] == Expected()


def test_what_won_on_near_tasks_comes_first() -> None:
    known = trials(NEAR, "one", {"a": 0.9, "b": 0.8, "c": 0.7}) + trials(NEAR, "two", {"a": 0.6, "b": 0.5, "c": 0.55})
    found = by_source(known, ["c", "b", "a", "new"])
    assert found["a"].gain > 0.5 > found["new"].gain == 0.0 > found["b"].gain
    assert list(found) == ["c", "b", "a", "new"]


def test_by_hand() -> None:
    """Two tasks: the same one, with three candidates, and one at a distance, with two of them."""
    known = trials(HERE, "one", {"a": 0.9, "b": 0.8, "c": 0.7}) + trials(NEAR, "two", {"a": 0.4, "b": 0.6})
    near = (1 - 1 / 2) * math.exp(-(distance(NEAR, HERE) ** 2) / (2 * 0.5**2))
    same = 1 - 1 / 3
    total = same + near
    expected = {
        "a": Expected((same * 1 - near) / (total + 1), total / (total + 1)),
        "b": Expected((same * 0 + near) / (total + 1), total / (total + 1)),
        "c": Expected(-same / (same + 1), same / (same + 1)),
    }
    for name, found in by_source(known, ["a", "b", "c"]).items():
        assert found.gain == pytest.approx(expected[name].gain)
        assert found.weight == pytest.approx(expected[name].weight)


def test_standings_are_centred_ranks() -> None:
    """Of one task alone the gains are SciPy's ranks with ties, brought to [-1, 1] and drawn to 0 by one factor."""
    random = np.random.default_rng(0)
    scores = np.round(random.random(30), 1)
    names = [f"source {place}" for place in range(30)]
    found = by_source(trials(HERE, "one", dict(zip(names, scores.tolist(), strict=True))), names)
    ranks = 2 * (rankdata(scores) - 1) / 29 - 1
    weight = found[names[0]].weight
    assert [found[name].gain for name in names] == pytest.approx((ranks * weight).tolist())
    assert sum(each.gain for each in found.values()) == pytest.approx(0.0)


def test_more_experience_weighs_more_and_never_all() -> None:
    weights, gains = [], []
    for count in range(1, 30):
        known = [
            each for place in range(count) for each in trials(NEAR, f"task {place}", {"a": 0.9, "b": 0.8, "c": 0.7})
        ]
        found = by_source(known, ["a"])["a"]
        weights.append(found.weight)
        gains.append(found.gain)
    assert weights == sorted(weights)
    assert gains == sorted(gains)
    assert 0 < gains[0] < 0.5 < gains[-1] < 1
    assert weights[-1] < 1


def test_far_tasks_count_little() -> None:
    near = by_source(trials(NEAR, "one", {"a": 0.9, "b": 0.8}), ["a"])["a"]
    far = by_source(trials(FAR, "one", {"a": 0.9, "b": 0.8}), ["a"])["a"]
    assert near.gain > 0.2
    assert far.gain < 0.001
    many = [each for place in range(20) for each in trials(FAR, f"far {place}", {"a": 0.1, "b": 0.9})]
    assert by_source([*many, *trials(NEAR, "one", {"a": 0.9, "b": 0.8})], ["a"])["a"].gain > 0.2


def test_another_modality_or_kind_of_output_counts_nothing() -> None:
    for strange in (replace(HERE, modality="image"), replace(HERE, link="identity")):
        assert by_source(trials(strange, "one", {"a": 0.9, "b": 0.8}), ["a", "b"]) == by_source([], ["a", "b"])


def test_scores_of_tasks_of_different_difficulty_are_not_compared() -> None:
    """b was tried on the easy task alone, and lost there: its higher score is no merit."""
    known = trials(NEAR, "easy", {"a": 0.99, "b": 0.95}) + trials(NEAR, "hard", {"a": 0.40, "c": 0.30})
    found = by_source(known, ["a", "b", "c"])
    assert found["a"].gain > 0 > found["b"].gain == pytest.approx(found["c"].gain)


def test_metrics_of_which_less_is_better() -> None:
    found = by_source(trials(NEAR, "one", {"a": 0.2, "b": 0.5}, metric="log_loss"), ["a", "b"])
    assert found["a"].gain > 0 > found["b"].gain


def test_one_metric_of_the_same_data_is_not_compared_with_another() -> None:
    known = trials(NEAR, "one", {"a": 0.2}, metric="log_loss") + trials(NEAR, "one", {"b": 0.9})
    assert by_source(known, ["a", "b"]) == by_source([], ["a", "b"])


def test_one_candidate_alone_says_nothing() -> None:
    assert by_source(trials(HERE, "one", {"a": 0.99}), ["a"])["a"] == Expected(0.0, 0.0)


def test_what_went_further_in_a_race_stands_before_what_dropped_out() -> None:
    """On few rows c looked best among those that stayed behind; the last of the final still beat it."""
    known = trials(NEAR, "one", {"c": 0.85, "d": 0.80}, rows=175) + trials(NEAR, "one", {"a": 0.9, "b": 0.7}, rows=700)
    found = by_source(known, ["a", "b", "c", "d"])
    assert found["a"].gain > found["b"].gain > found["c"].gain > found["d"].gain


def test_a_few_rows_more_are_no_step() -> None:
    """What validates learns from fewer rows than what does not; neither has gone further."""
    known = trials(NEAR, "one", {"a": 0.9}, rows=700) + trials(NEAR, "one", {"b": 0.8}, rows=850)
    found = by_source(known, ["a", "b"])
    assert found["a"].gain > 0 > found["b"].gain


def test_the_best_of_a_source_counts_and_the_mean_of_repeats() -> None:
    one = trials(NEAR, "one", {"a": 0.9, "b": 0.8})
    weak = [replace(each, strategy="majority", score=0.1) for each in trials(NEAR, "one", {"a": 0.9})]
    assert by_source([*one, *weak], ["a", "b"])["a"].gain > 0
    lucky = [*one, *trials(NEAR, "one", {"b": 0.95}), *trials(NEAR, "one", {"b": 0.5})]
    assert by_source(lucky, ["a", "b"])["b"].gain < 0


def test_candidates_are_named_by_strategy_and_source() -> None:
    known = [
        *trials(NEAR, "one", {"a": 0.9}),
        *(replace(each, strategy="fine_tune", score=0.7) for each in trials(NEAR, "one", {"a": 0.9})),
    ]
    found = prior(known, HERE, ["linear_probe on a", "fine_tune on a"])
    assert found["linear_probe on a"].gain > 0 > found["fine_tune on a"].gain


def test_trials_without_a_score_or_with_a_strange_metric_are_passed_over() -> None:
    known = trials(NEAR, "one", {"a": math.nan, "b": 0.8}) + trials(NEAR, "two", {"a": 0.9, "b": 0.8}, metric="bliss")
    assert by_source(known, ["a", "b"]) == by_source([], ["a", "b"])


def test_order_and_clock_change_nothing() -> None:
    known = trials(NEAR, "one", {"a": 0.9, "b": 0.8}) + trials(FAR, "two", {"a": 0.1, "b": 0.8})
    first = by_source(known, ["a", "b"])
    for turned in permutations(known):
        later = [replace(each, when="2999-01-01T00:00:00Z") for each in turned]
        for name, found in by_source(later, ["a", "b"]).items():
            assert found.gain == pytest.approx(first[name].gain)


def test_entries_of_the_very_same_data_count_and_are_no_certainty() -> None:
    found = by_source(trials(HERE, "these very rows", {"a": 0.9, "b": 0.8}), ["a", "b"])
    assert 0 < found["a"].gain <= 0.5
    assert 0 < found["a"].weight <= 0.5

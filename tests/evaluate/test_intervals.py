from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from graft.data.cells import objects
from graft.evaluate.intervals import Interval, affordable, blocks, bootstrap, finer, interval, resampled, units
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

LETTERS = np.array(["a", "b", "c"])


def classified(seed: int = 0, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.integers(3, size=n)
    return random.normal(size=(n, 3)) + 1.5 * np.eye(3)[targets], targets


def test_every_metric_of_every_task_lies_in_its_interval() -> None:
    outputs, targets = classified()
    labels = objects([("x",), ("y",), ("x", "y"), ()])
    several = Multilabel().start(labels)
    truth = np.random.default_rng(1).integers(2, size=(200, 2)).astype(np.float32)
    number = Regression().start(outputs[:, 0])
    for task, out, true in (
        (Classification().start(LETTERS), outputs, targets),
        (several, outputs[:, :2], truth),
        (number, outputs[:, :1], outputs[:, 1:2]),
    ):
        found = bootstrap(task, out, true, resamples=200)
        assert next(iter(found)) == task.metric
        assert {name: each.value for name, each in found.items()} == dict(task.metrics(out, true))
        for each in found.values():
            assert each.low <= each.value <= each.high
            assert each.high > each.low
    assert "f1/x" in bootstrap(several, outputs[:, :2], truth, resamples=10)


def test_intervals_equal_a_plain_bootstrap() -> None:
    outputs, targets = classified(n=150)
    task = Classification().start(LETTERS)
    found = bootstrap(task, outputs, targets, resamples=2000)["accuracy"]
    right = outputs.argmax(axis=1) == targets
    draws = np.random.default_rng(9).binomial(len(right), right.mean(), size=20_000) / len(right)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.012)
    assert found.high == pytest.approx(high, abs=0.012)


def test_the_seed_decides_and_the_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, targets = classified()
    task = Classification().start(LETTERS)
    first = bootstrap(task, outputs, targets, resamples=101, seed=3)
    assert bootstrap(task, outputs, targets, resamples=101, seed=3) == first
    assert bootstrap(task, outputs, targets, resamples=101, seed=4) != first
    monkeypatch.setattr("graft.evaluate.intervals._AT_ONCE", 200)
    again = bootstrap(task, outputs, targets, resamples=101, seed=3)
    assert again["accuracy"].resamples == 101
    assert list(blocks(5, 100)) == [2, 2, 1]


def test_rows_of_a_group_are_drawn_together() -> None:
    groups = np.array(["p", "q", "p", "r", "q"])
    for weights in resampled(5, groups, 50, seed=0):
        assert (weights[:, 0] == weights[:, 2]).all()
        assert (weights[:, 1] == weights[:, 4]).all()
        assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    outputs, targets = classified(n=30)
    task = Classification().start(LETTERS)
    copies = np.tile(np.arange(30), 10)
    alone = bootstrap(task, outputs[copies], targets[copies])["accuracy"]
    grouped = bootstrap(task, outputs[copies], targets[copies], groups=copies)["accuracy"]
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_one_row_or_one_group_or_no_value_has_no_interval() -> None:
    outputs, targets = classified(n=20)
    task = Classification().start(LETTERS)
    for found in (
        bootstrap(task, outputs, targets, groups=np.array(["g"] * 20))["accuracy"],
        bootstrap(task, outputs[:1], targets[:1])["accuracy"],
        bootstrap(task, outputs, np.zeros(20, int))["auroc"],
    ):
        assert np.isnan([found.low, found.high]).all()


def test_large_outputs_get_fewer_resamples_and_say_so() -> None:
    assert affordable(1000, np.empty((3000, 77))) == 1000
    few = affordable(1000, np.broadcast_to(0.0, (50_000, 1000)))
    assert few == 100


def test_the_interval_makes_up_for_the_bias_of_resampling() -> None:
    random = np.random.default_rng(0)
    shifted = interval(0.0, random.normal(1.0, 1.0, size=4000))
    assert shifted.low < 0 < shifted.high
    straight = interval(0.0, random.normal(0.0, 1.0, size=4000))
    assert (straight.low, straight.high) == pytest.approx((-1.96, 1.96), abs=0.15)
    assert interval(0.5, np.full(100, 0.5)) == Interval(0.5, 0.5, 0.5, 0.95, 100)
    assert interval(0.5, np.array([np.nan, 0.4, 0.6])).low >= 0.4


def test_an_interval_reads_well_and_survives_json() -> None:
    found = Interval(0.549, 0.475, 0.623)
    assert str(found) == "0.549 [0.475, 0.623]"
    assert f"{found:+}" == "+0.549 [0.475, 0.623]"
    assert Interval(**json.loads(json.dumps(asdict(found)))) == found


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "auroc", "log_loss"])
def test_intervals_hold_the_truth_as_often_as_they_say(metric: str) -> None:
    task = Classification(metric=metric).start(LETTERS)
    outputs, targets = classified(seed=999, n=200_000)
    truth = dict(task.metrics(outputs, targets))[metric]
    held = 0
    for seed in range(300):
        found = bootstrap(task, *classified(seed), resamples=400, seed=seed)[metric]
        held += found.low <= truth <= found.high
    assert 0.90 <= held / 300 <= 0.98


def test_all_rows_right_is_not_certainty() -> None:
    """Twenty of twenty: Clopper and Pearson leave room down to 0.8316."""
    from scipy.stats import binomtest

    task = Classification().start(np.array(["a", "b"], dtype=object))
    targets = np.arange(20) % 2
    outputs = np.where(targets[:, None] == np.arange(2), 5.0, -5.0)
    exact = binomtest(20, 20).proportion_ci(0.95)
    found = bootstrap(task, outputs, targets)["accuracy"]
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(exact.low)
    wrong = bootstrap(task, -outputs, targets)["accuracy"]
    assert (wrong.low, wrong.high) == (0.0, pytest.approx(1 - exact.low))
    grouped = bootstrap(task, outputs, targets, groups=np.repeat(np.arange(4), 5))["accuracy"]
    assert grouped.low < found.low


def test_a_row_without_a_group_is_drawn_alone() -> None:
    assert units(3, None).tolist() == [0, 1, 2]
    found = units(6, objects(["g", "", "h", "", "g", "h"]))
    assert found[0] == found[4]
    assert found[2] == found[5]
    assert len(set(found.tolist())) == 4
    assert found.max() == 3
    outputs, targets = classified(n=120)
    alone, plain = (
        bootstrap(Classification().start(LETTERS), outputs, targets, groups=groups, own_only=True)["accuracy"]
        for groups in (objects([""] * 120), None)
    )
    assert alone.high - alone.low == pytest.approx(plain.high - plain.low, rel=0.1)


def test_an_interval_is_widened_within_what_the_metric_can_be() -> None:
    outputs, targets = classified()
    task = Classification().start(LETTERS)
    plain, wide = (bootstrap(task, outputs, targets, widen=by, own_only=True)["accuracy"] for by in (1.0, 1.5))
    assert wide.value == plain.value
    assert wide.level == 0.95
    assert wide.high - wide.low == pytest.approx(1.5 * (plain.high - plain.low), rel=0.15)
    assert wide.resamples == finer(1000, 1.5) == 4000
    sure = bootstrap(task, 9 * np.eye(3)[targets], targets, widen=1.5, own_only=True)["accuracy"]
    assert sure.high == 1.0
    assert sure.low == pytest.approx(0.025 ** (1 / (200 / 1.5**2)))
    nearly = np.where(np.arange(200)[:, None] < 2, -1.0, 1.0) * np.eye(3)[targets]
    near = bootstrap(task, nearly, targets, widen=1.5, own_only=True)["accuracy"]
    assert near.value == 0.99
    assert near.high <= 1.0

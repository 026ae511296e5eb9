"""How sure a score is, and whether two sources can be told apart on the same rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t

from graft.contracts import Array, Card, Seen
from graft.data.cells import objects
from graft.evaluate.intervals import bootstrap
from graft.scores.knn import KNN
from graft.scores.logme import LogME
from graft.scores.nce import NCE
from graft.scores.probe import Probe
from graft.scores.size import Size
from graft.select.evidence import behind, evidence, parts_of
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

KEYS = np.arange(600, dtype=np.int64)[:, None].repeat(2, 1).view(np.uint8)
LABELS = np.array([("a", "b", "c")[row % 3] for row in range(600)], dtype=object)
TASK = Classification().start(LABELS)
TARGETS = np.arange(600) % 3


def seen(apart: float, n: int = 600, seed: int = 0) -> Seen:
    draw = np.random.default_rng(seed)
    means = np.random.default_rng(9).normal(size=(3, 6)) * apart
    return Seen((means[TARGETS[:n]] + draw.normal(size=(n, 6))).astype(np.float32), None, Card("a", "table", 10))


def parts(n: int = 600) -> Array | None:
    return parts_of(TASK.encode(LABELS[:n]), TASK, KEYS[:n], None, 0)


def test_outputs_are_measured_by_the_tasks_own_metric() -> None:
    here = seen(0.7)
    found = evidence(Probe(), here, TARGETS, TASK, parts=parts(), seed=3)
    assert found.span == bootstrap(TASK, Probe().outputs(here, TARGETS), TARGETS, seed=3)["accuracy"]
    assert found.value == pytest.approx(Probe().score(here, TARGETS))
    assert len(found.draws) == 1000


def test_a_metric_of_which_less_is_better_changes_its_sign() -> None:
    values = np.linspace(0, 9, 600) + np.random.default_rng(0).normal(size=600)
    task = Regression(metric="mae").start(values)
    targets = task.encode(values).numpy()
    here = Seen(np.linspace(0, 9, 600, dtype=np.float32)[:, None], None, Card("a", "table"))
    found = evidence(Probe(), here, targets, task, parts=None, seed=0)
    expected = bootstrap(task, Probe().outputs(here, targets), targets)["mae"]
    assert (found.span.value, found.span.low, found.span.high) == (-expected.value, -expected.high, -expected.low)
    assert -1 < found.value < -0.6


def test_a_class_that_these_rows_lack_is_said_by_nothing() -> None:
    task = Classification(metric="log_loss").start(np.append(LABELS, "d"))
    found = evidence(KNN(), seen(3.0), TARGETS, task, parts=None, seed=0)
    assert -0.2 < found.value < 0


def test_labels_are_measured_too() -> None:
    labels = objects([("x",) if row % 3 == 0 else ("x", "y") if row % 3 == 1 else () for row in range(600)])
    task = Multilabel().start(labels)
    found = evidence(Probe(), seen(3.0), task.encode(labels).numpy(), task, parts=None, seed=0)
    assert found.value > 0.95


def test_what_has_no_outputs_is_taken_again_without_each_part() -> None:
    here, dealt = seen(0.7), parts()
    assert dealt is not None
    found = evidence(LogME(), here, TARGETS, TASK, parts=dealt, seed=0)
    kept = [dealt != part for part in range(10)]
    draws = [LogME().score(Seen(here.features[each], None, here.card), TARGETS[each]) for each in kept]
    error = math.sqrt(9 / 10 * ((np.array(draws) - np.mean(draws)) ** 2).sum())
    assert found.draws.tolist() == draws
    assert found.span.high - found.value == pytest.approx(t.ppf(0.975, 9) * error)


def test_its_interval_is_about_as_wide_as_other_rows_would_make_it() -> None:
    values = [LogME().score(seen(0.7, seed=seed), TARGETS) for seed in range(60)]
    spans = [evidence(LogME(), seen(0.7, seed=seed), TARGETS, TASK, parts=parts(), seed=0).span for seed in range(6)]
    reach = np.mean([span.high - span.value for span in spans]) / t.ppf(0.975, 9)
    assert 0.6 < reach / np.std(values) < 1.7


def test_a_prior_has_no_interval() -> None:
    found = evidence(Size(), seen(1.0), TARGETS, TASK, parts=parts(), seed=0)
    assert found.value == 1.0
    assert math.isnan(found.span.low)
    assert math.isnan(behind(found, found, 0.95).low)


def test_too_few_rows_to_leave_any_out_give_no_interval() -> None:
    here = Seen(np.eye(3, dtype=np.float32)[[0, 1]], np.eye(2, dtype=np.float32), Card("a", "table"))
    found = evidence(NCE(), here, np.array([0, 1]), TASK, parts=np.array([0, 1]), seed=0)
    assert math.isnan(found.span.low)
    assert parts_of(TASK.encode(LABELS[:1]), TASK, KEYS[:1], None, 0) is None


def test_pairs_are_told_apart_where_alone_they_overlap() -> None:
    here = seen(0.7)
    worse = Seen(here.features.copy(), None, here.card)
    worse.features[:, 3] = 0
    one, other = (evidence(LogME(), each, TARGETS, TASK, parts=parts(), seed=0) for each in (here, worse))
    if one.value < other.value:
        one, other = other, one
    assert behind(one, other, 0.95).low > 0
    assert one.span.low < other.span.high


def test_behind_holds_its_level() -> None:
    """Of two sources that are alike, one is behind at 90 % in about one run of ten."""
    told = 0
    for seed in range(1000, 1080):
        one, other = (
            evidence(Probe(), seen(0.5, 200, 2 * seed + add), TARGETS[:200], TASK, parts=None, seed=0) for add in (0, 1)
        )
        best, rest = (one, other) if one.value >= other.value else (other, one)
        told += behind(best, rest, 0.90).low > 0
    assert told <= 16

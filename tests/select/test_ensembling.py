"""Greedy selection beside an independent rewrite of it, and when an ensemble is proposed at all."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss, root_mean_squared_error

from graft.contracts import FittedTask
from graft.data.cells import objects
from graft.errors import RequestError
from graft.select.ensembling import Ensembled, Library, check_ensemble, greedy
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

RANDOM = np.random.default_rng(0)
CLASSES = RANDOM.integers(3, size=120)
NUMBERS = RANDOM.normal(size=120)
MARKS = RANDOM.random((120, 3)) < 0.4


def noisy(signal: np.ndarray, models: int = 8, noise: float = 2.0, seed: int = 1) -> list[np.ndarray]:
    """Models that know the signal and err on their own, the later ones more."""
    random = np.random.default_rng(seed)
    return [
        (signal + noise * (1 + 0.05 * place) * random.normal(size=signal.shape)).astype(np.float32)
        for place in range(models)
    ]


def classified() -> tuple[FittedTask, list[np.ndarray], np.ndarray, Any]:
    fitted = Classification().start(objects([f"class {each}" for each in CLASSES]))

    def standing(means: np.ndarray) -> tuple[float, float]:
        return accuracy_score(CLASSES, means.argmax(axis=1)), -log_loss(CLASSES, means)

    return fitted, noisy(2.0 * np.eye(3)[CLASSES]), CLASSES, (lambda each: softmax(each, axis=1), standing)


def numbered() -> tuple[FittedTask, list[np.ndarray], np.ndarray, Any]:
    fitted = Regression(metric="rmse").start(objects(NUMBERS.tolist()))
    truth = fitted.encode(objects(NUMBERS.tolist())).numpy()

    def standing(means: np.ndarray) -> tuple[float, float]:
        return -root_mean_squared_error(truth, means), -float(((means - truth) ** 2).mean())

    return fitted, noisy(truth, noise=1.0), truth, (lambda each: each, standing)


def marked() -> tuple[FittedTask, list[np.ndarray], np.ndarray, Any]:
    labels = objects([tuple(np.array(["a", "b", "c"])[row].tolist()) for row in MARKS])
    fitted = Multilabel(metric="micro_f1").start(labels)

    def standing(means: np.ndarray) -> tuple[float, float]:
        losses = np.where(MARKS, -np.log(means), -np.log1p(-means))
        return f1_score(MARKS, means > 0.5, average="micro"), -float(losses.mean())

    return fitted, noisy(2.0 * (2 * MARKS - 1)), MARKS.astype(np.float32), (expit, standing)


def by_hand(outputs: list[np.ndarray], most: int, means: Any, standing: Any) -> list[int]:
    """Caruana's selection written again, over sums of probabilities and with scikit-learn's metrics."""
    said = [means(each.astype(np.float64)) for each in outputs]
    taken, best = [0], standing(said[0])
    while True:
        allowed = range(len(said)) if len(set(taken)) < most else sorted(set(taken))
        tried = [(standing(np.mean([said[one] for one in [*taken, each]], axis=0)), each) for each in allowed]
        (metric, loss), place = max(tried, key=lambda pair: pair[0])
        if metric < best[0] - 1e-9 or (abs(metric - best[0]) < 1e-9 and loss < best[1] + 1e-6):
            return taken
        best, taken = (metric, loss), [*taken, place]


@pytest.mark.parametrize("make", [classified, numbered, marked])
@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_selection_is_that_of_an_independent_rewrite(make: Any, most: int) -> None:
    fitted, outputs, truth, (means, standing) = make()
    found = greedy(outputs, fitted, truth, most)
    assert found == by_hand(outputs, most, means, standing)
    assert found[0] == 0
    assert len(set(found)) <= most
    if most > 1:
        assert len(found) > 1


@pytest.mark.parametrize("make", [classified, numbered, marked])
def test_several_that_err_on_their_own_are_better_together(make: Any) -> None:
    fitted, outputs, truth, (_, _) = make()
    found = library(fitted, outputs, truth).ensemble()
    assert found.wins
    assert found.members[0][0] == "m0"
    assert found.partners == tuple(name for name, _ in found.members[1:])
    assert dict(found.members) == {
        f"m{place}": often for place, often in Counter(greedy(outputs, fitted, truth, 4)).items()
    }
    assert str(found).startswith(f"An ensemble of {len(found.members)} models is better than the best alone (+")


def library(fitted: FittedTask, outputs: list[np.ndarray], truth: np.ndarray, **given: Any) -> Library:
    named = {f"m{place}": each for place, each in enumerate(outputs)}
    return Library(named, fitted, truth, **{"groups": None, "most": 4, "seed": 0, **given})


def test_models_that_say_the_same_are_no_ensemble() -> None:
    fitted, outputs, truth, _ = classified()
    found = library(fitted, [outputs[0]] * 5, truth).ensemble()
    assert not found.wins
    assert found.partners == ()
    assert found.gain.value == 0
    assert str(found).startswith("No ensemble of up to 4 models is better than m0 alone (+0.000")


def test_one_model_alone_is_said_to_be_alone() -> None:
    fitted, outputs, truth, _ = classified()
    found = library(fitted, outputs[:1], truth).ensemble()
    assert not found.wins
    assert str(found) == "There was nothing to make an ensemble of with m0."


def test_what_only_fits_the_rows_that_chose_it_is_not_proposed() -> None:
    """The best knows all there is to know of these rows; what others add is their noise."""
    fitted = Classification().start(objects(["no", "yes"] * 60))
    random = np.random.default_rng(0)
    truth = random.integers(2, size=300)
    seen = np.where(random.random(300) < 0.25, 1 - truth, truth)
    noise = [random.normal(size=(300, 2)).astype(np.float32) for _ in range(30)]
    outputs = [(4.0 * np.eye(2)[seen]).astype(np.float32), *(5 * each for each in noise)]
    held = library(fitted, outputs, truth)
    found = held.ensemble()
    assert found.score >= found.alone
    assert not found.wins


def test_rows_of_a_group_never_both_choose_and_measure() -> None:
    fitted, outputs, truth, _ = classified()
    groups = np.array([f"patient {place % 12}" for place in range(120)], dtype=object)
    parts = library(fitted, outputs, truth, groups=groups)._parts()
    assert np.array_equal(np.sum(parts, axis=0), np.ones(120))
    for part in parts:
        assert not set(groups[part]) & set(groups[~part])


def test_one_group_alone_proposes_nothing() -> None:
    fitted, outputs, truth, _ = classified()
    groups = np.array(["one"] * 120, dtype=object)
    assert not library(fitted, outputs, truth, groups=groups).ensemble().wins


def test_what_could_not_be_fitted_is_left_out_and_said() -> None:
    fitted, outputs, truth, _ = classified()
    held = library(fitted, outputs, truth)
    wanted = held.ensemble()
    assert held.fitted_in_time(wanted, {"m0", *wanted.partners}) is wanted
    gone = wanted.partners[0]
    fewer = held.fitted_in_time(wanted, {"m0", *wanted.partners[1:]})
    assert fewer.late == (gone,)
    assert gone not in dict(fewer.members)
    assert set(dict(fewer.members)) <= {"m0", *wanted.partners[1:]}
    assert str(fewer).endswith(f" There was no time to fit {gone}.")
    alone = held.fitted_in_time(wanted, {"m0"})
    assert not alone.wins
    assert str(alone).startswith(
        "m0 is handed over without the ensemble that it was to lead. There was no time to fit m"
    )


def test_the_record_is_read_again() -> None:
    fitted, outputs, truth, _ = classified()
    found = library(fitted, outputs, truth).ensemble()
    assert Ensembled.from_document(json.loads(json.dumps(asdict(found), sort_keys=True))) == found


def test_a_metric_that_is_not_defined_ends_the_selection() -> None:
    fitted = Classification(metric="auroc").start(objects(["no", "yes"] * 10))
    outputs = noisy(np.zeros((20, 2)))
    assert greedy(outputs, fitted, np.zeros(20, dtype=np.int64), 3)[0] == 0


@pytest.mark.parametrize("most", [0, -1, 2.0, "5", None, True])
def test_a_number_that_is_none_is_refused(most: object) -> None:
    with pytest.raises(RequestError, match=r"ensemble is how many models at most, a whole number from 1; .* was given"):
        check_ensemble(most, open=True, folds=None, learning_curve=False, prefer="accurate")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"open": False}, "give it a time, such as --budget 10m"),
        ({"folds": 3}, "leave --folds or --ensemble away"),
        ({"learning_curve": True}, "leave --learning-curve or --ensemble away"),
        ({"prefer": "small"}, "leave --prefer small or --ensemble away"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], reason: str) -> None:
    settings: dict[str, Any] = {"open": True, "folds": None, "learning_curve": False, "prefer": "accurate"}
    check_ensemble(1, **{**settings, **given})
    check_ensemble(2, **settings)
    with pytest.raises(RequestError, match=reason):
        check_ensemble(2, **{**settings, **given})

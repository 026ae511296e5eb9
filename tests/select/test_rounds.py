"""Whatever chooses, chooses inside the rows of a round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graft.contracts import TargetData, TransferData
from graft.data.cells import objects
from graft.data.examples import TableExamples
from graft.data.folds import deal
from graft.progress import Silent
from graft.select.candidates import candidate
from graft.select.procedure import best_trial, procedure
from graft.select.rounds import Round, Rounds, out_of_fold
from graft.select.trial import Trial
from graft.select.view import rows_at, started
from graft.sources.columns import Columns
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.majority import Majority
from graft.tasks.classification import Classification
from graft.tasks.regression import Regression


def clouds(n: int = 60, groups: bool = False) -> TargetData:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, n)
    rows = random.normal(size=(n, 2)).astype(np.float32)
    rows[:, 0] += 3 * labels
    named = objects([f"g{place % 12}" for place in range(n)]) if groups else None
    return TargetData(TableExamples(rows), objects([("left", "right")[each] for each in labels]), named)


def rounds_of(held: TargetData, folds: int = 3, repeats: int = 1) -> Rounds:
    assert held.labels is not None
    task = Classification()
    fitted = task.start(held.labels)
    places = np.arange(len(held.examples))
    dealt = deal(held, places, folds, repeats, 0, "classes")
    return Rounds(held, places, dealt, fitted, lambda rows: started(held, task, fitted, rows))


def common_of(rounds: Rounds) -> TransferData:
    return TransferData(rows_at(rounds.held, rounds.reference, rounds.places))


def nowhere(each: Round) -> None:
    return None


def test_a_procedure_sees_no_row_that_measures_it() -> None:
    rounds = rounds_of(clouds(), 4, 2)
    seen: list[tuple[str, set[int], set[int]]] = []
    inner = procedure([candidate(Columns(), LinearProbe(), "table")], Classification(), rounds.held, common_of(rounds))

    def choose(each: Round, folder: Path | None) -> tuple[Trial, float]:
        seen.append((str(each), set(each.sides.train.tolist()), set(each.sides.test.tolist())))
        return inner(each, folder)

    found = out_of_fold(rounds, choose, folder=nowhere, cache=None, progress=Silent())
    assert len(seen) == len(rounds) == 8
    for _, learnt, measured in seen:
        assert not learnt & measured
        assert learnt | measured == set(range(60))
    assert found.outputs.shape == (120, 2)
    truth = rounds.truth()
    assert (found.outputs.argmax(axis=1) == truth).mean() > 0.85
    assert len(found.folds) == 8
    assert found.chosen == {"linear_probe": 8}
    assert np.mean(found.folds) == pytest.approx((found.outputs.argmax(axis=1) == truth).mean())


def test_the_best_inside_is_what_a_round_settles_on() -> None:
    rounds = rounds_of(clouds())
    both = [candidate(Columns(), each, "table") for each in (Majority(), LinearProbe())]
    learn = procedure(both, Classification(), rounds.held, common_of(rounds))
    trials = [learn(each, None)[0] for each in rounds]
    assert {each.candidate.name for each in trials} == {"linear_probe"}
    assert best_trial(trials[:1]) is trials[0]


def test_copies_of_a_row_are_one_unit_and_groups_are_theirs() -> None:
    plain = rounds_of(clouds())
    assert (plain.copies(), plain.units(), plain.names()) == (None, None, None)
    twice = rounds_of(clouds(), repeats=2)
    copies, units = twice.copies(), twice.units()
    assert copies is not None
    assert units is not None
    assert copies.tolist() == [*range(60), *range(60)]
    assert len(np.unique(units)) == 60
    grouped = rounds_of(clouds(groups=True), repeats=2)
    units, names = grouped.units(), grouped.names()
    assert units is not None
    assert names is not None
    assert len(np.unique(units)) == 12
    assert names[0] == names[60] == "g0"


def test_the_earliest_rows_are_not_measured() -> None:
    held = clouds()
    held = TargetData(held.examples, held.labels, times=np.arange(60.0))
    rounds = rounds_of(held, 3)
    assert rounds.measured.sum() == 45
    assert len(rounds.truth()) == 45
    learn = procedure([candidate(Columns(), LinearProbe(), "table")], Classification(), held, common_of(rounds))
    found = out_of_fold(rounds, learn, folder=nowhere, cache=None, progress=Silent())
    assert found.outputs.shape == (45, 2)


def test_numbers_of_all_rounds_are_in_one_scale() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 2)).astype(np.float32)
    held = TargetData(TableExamples(rows), objects([float(1000 * row[0] + 5000) for row in rows]))
    assert held.labels is not None
    task = Regression()
    fitted = task.start(held.labels)
    places = np.arange(60)
    rounds = Rounds(
        held, places, deal(held, places, 3, 1, 0, "values"), fitted, lambda mine: started(held, task, fitted, mine)
    )
    learn = procedure([candidate(Columns(), LinearProbe(penalties=(1e-6,)), "table")], task, held, common_of(rounds))
    found = out_of_fold(rounds, learn, folder=nowhere, cache=None, progress=Silent())
    assert dict(fitted.metrics(found.outputs, rounds.truth()))["rmse"] < 5

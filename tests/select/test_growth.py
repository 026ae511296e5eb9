"""Ever more rows: nested subsets, and the points that they give."""

from __future__ import annotations

from collections import Counter

import numpy as np

from graft.contracts import TargetData, TransferData
from graft.data.cells import objects
from graft.data.examples import TableExamples
from graft.data.split import Split
from graft.select.candidates import candidate
from graft.select.growth import DRAWS, grow, subsets
from graft.select.view import rows_at
from graft.sources.columns import Columns
from graft.strategies.linear_probe import LinearProbe
from graft.tasks.classification import Classification


def clouds(n: int = 300, groups: bool = False) -> TargetData:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, n)
    rows = random.normal(size=(n, 8)).astype(np.float32)
    rows[:, :3] += 1.2 * np.eye(3)[labels]
    named = objects([f"g{place % 30}" for place in range(n)]) if groups else None
    return TargetData(TableExamples(rows), objects([("a", "b", "c")[each] for each in labels]), named)


def test_subsets_are_nested_and_keep_every_class() -> None:
    held = clouds()
    assert held.labels is not None
    fitted = Classification().start(held.labels)
    found = list(subsets(held, fitted, np.arange(200), 0))
    assert Counter(share for share, _, _ in found) == DRAWS
    at = {(share, draw): set(inside.tolist()) for share, draw, inside in found}
    for (share, draw), inside in at.items():
        assert abs(len(inside) - 200 * share) <= 4
        assert {held.labels[place] for place in inside} == {"a", "b", "c"}
        if share < 1 and (2 * share, draw) in at:
            assert inside < at[2 * share, draw]
    assert at[0.125, 0] != at[0.125, 1], "another draw takes other rows"


def test_groups_stay_whole() -> None:
    held = clouds(groups=True)
    assert held.labels is not None
    assert held.groups is not None
    fitted = Classification().start(held.labels)
    for _, _, inside in subsets(held, fitted, np.arange(300), 0):
        mine, others = set(held.groups[inside]), set(np.delete(held.groups, inside))
        assert not mine & others


def test_too_few_rows_give_no_point() -> None:
    held = clouds()
    assert held.labels is not None
    fitted = Classification().start(held.labels)
    assert {share for share, _, _ in subsets(held, fitted, np.arange(22), 0)} == {0.5, 1.0}
    assert not list(subsets(held, fitted, np.arange(5), 0))


def test_points_are_measured_on_the_test_rows_and_rise() -> None:
    held = clouds()
    assert held.labels is not None
    task = Classification()
    fitted = task.start(held.labels)
    sides = Split(np.arange(200), np.arange(0), np.arange(200, 300), np.arange(0), "")
    common = TransferData(rows_at(held, fitted, sides.train))
    chosen = candidate(Columns(), LinearProbe(), "table")
    found = grow(chosen, task, held, sides, fitted, common, folder=lambda name: None)
    assert found.name == "linear_probe"
    assert len(found.points) == 11
    values = {rows: [each.value for each in found.points if each.rows == rows] for rows in {25, 200}}
    assert np.mean(values[25]) < np.mean(values[200])
    assert found.rows == 200

"""What is chosen by."""

from __future__ import annotations

import math

import numpy as np

from graft.evaluate.goal import Goal, goal_of
from graft.tasks.classification import Classification


def test_the_goal_is_the_metric_of_the_task() -> None:
    labels = np.array(["a", "b", "a", "b"], dtype=object)
    outputs = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0], [0.0, 2.0]])
    for metric, value, higher in (("accuracy", 0.75, True), ("log_loss", 0.626928, False)):
        task = Classification(metric=metric).start(labels)
        goal = goal_of(task)
        assert np.isclose(goal.measure(outputs, task.encode(labels).numpy()), value)
        assert goal.higher_is_better is higher


def test_better_goes_the_way_of_the_metric_and_never_to_what_is_undefined() -> None:
    more, less = Goal(lambda outputs, targets: 0.0), Goal(lambda outputs, targets: 0.0, higher_is_better=False)
    assert more.better(0.9, 0.8)
    assert not more.better(0.8, 0.8)
    assert less.better(0.1, 0.2)
    assert more.better(0.1, None)
    assert not more.better(math.nan, None)

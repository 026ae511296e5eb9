"""What candidates, penalties and epochs are chosen by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graft.contracts import Array, FittedTask
from graft.evaluate.metrics import HIGHER_IS_BETTER

__all__ = ["Goal", "goal_of"]


@dataclass(frozen=True)
class Goal:
    """A measure of outputs ``(n, c)`` against targets, and which way is better."""

    measure: Callable[[Array, Array], float]
    higher_is_better: bool = True

    def better(self, value: float, best: float | None) -> bool:
        """Whether ``value`` beats ``best``; an undefined value (``nan``) never does, and anything beats ``None``."""
        if value != value:
            return False
        return best is None or (value > best if self.higher_is_better else value < best)


def goal_of(task: FittedTask) -> Goal:
    """The task's own metric."""

    def measure(outputs: Array, targets: Array) -> float:
        return float(next(value for name, value in task.metrics(outputs, targets) if name == task.metric))

    return Goal(measure, HIGHER_IS_BETTER[task.metric])

"""What a strategy needs of the task and of a source, as far as that can be told before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from graft.contracts import Card, Strategy
from graft.select.candidates import ROWS_WITHOUT_LABELS
from graft.select.forecast import Known

__all__ = ["missing_of_source", "missing_of_task"]

_LAYER = "an output layer of the source, and one class a row"

_OF_TASK: dict[str, tuple[Callable[[Strategy, Known], bool], str]] = {
    "a task with classes": (lambda strategy, known: bool(known.fitted.classes), "the task is {}"),
    "one class a row": (lambda strategy, known: known.fitted.link == "softmax", "the task is {}"),
    _LAYER: (lambda strategy, known: known.fitted.link == "softmax", "the task is {}"),
    "a teacher": (lambda strategy, known: getattr(strategy, "teacher", None) is not None, "none is named"),
    ROWS_WITHOUT_LABELS: (lambda strategy, known: known.unlabelled > 0, "there are none"),
}
"""Need → whether task and rows meet it, and what is said where they do not.

A need that stands in neither table is checked when the model is built.
"""

_OF_SOURCE = frozenset({"a source with outputs of its own", _LAYER})
"""Needs that a source without outputs of its own does not meet."""


def missing_of_task(strategy: Strategy, known: Known) -> str | None:
    """What the strategy lacks, whatever the source, in a sentence; ``None`` where nothing is known to be missing."""
    for package in strategy.packages:
        if find_spec(package) is None:
            return f"it needs the package {package}, which is not installed: pip install 'graft-transfer[{package}]'"
    meets, instead = _OF_TASK.get(strategy.needs, (lambda strategy, known: True, ""))
    return None if meets(strategy, known) else f"it needs {strategy.needs}, and {instead.format(known.fitted.kind)}"


def missing_of_source(strategy: Strategy, card: Card, rows: int) -> str | None:
    """What the source lacks for the strategy, in a sentence."""
    if strategy.starts_from in ("plain", "nothing"):
        return None
    if strategy.needs in _OF_SOURCE and card.outputs == 0:
        return f"it needs {strategy.needs}, and {card.name} has no outputs"
    if card.parameters == 0 and strategy.passes_over(rows).training:
        return f"it trains the weights of the source, and {card.name} has none"
    return None

"""Other settings of what still leads a race, proposed by those that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from graft import registry
from graft.select.candidates import Candidate
from graft.select.contest import Contest
from graft.select.raced import NO_TIME
from graft.select.space import proposed, settings, with_settings

__all__ = ["search"]

_PATIENCE = 6
"""Settings that may be tried in a row without a better one."""

_PARENTS = 2
"""Candidates whose settings are searched."""

_BEATEN = "every other candidate is beaten"

_UNLIKELY = "nothing else is likely enough to win"

_NO_SETTINGS = "nothing that may still win has settings to search"


def search(held: Contest) -> str:
    """Try other settings of what may still win, until time or patience ends; says which."""
    board, top = held.board, held.board.highest()
    beaten = board.beaten(top)
    rivals = sorted((name for name in board.at(top) if name not in beaten), key=lambda name: -board.reach(name))
    parents = [held.entered[name] for name in rivals if held.entered[name].strategy.space][:_PARENTS]
    if not parents:
        if held.late:
            return NO_TIME
        if board.all_beaten_but(board.winner()):
            return _BEATEN
        return _UNLIKELY if len(rivals) == 1 else _NO_SETTINGS
    held.late = False
    tried = {each.name: [(settings(each.strategy), board.found[each.name, top].score)] for each in parents}
    waited = count = 0
    while waited < _PATIENCE:
        parent = parents[count % len(parents)]
        count += 1
        variant = _variant(held, parent, tried[parent.name])
        waited += 1
        if variant.name in held.entered:
            continue
        held.costs.like(variant.name, parent.name)
        score = _climb(held, variant, top)
        if held.late:
            return NO_TIME
        if score is not None:
            tried[parent.name].append((settings(variant.strategy), score))
        if (variant.name, top) in board.found and board.winner() == variant.name:
            waited = 0
    return f"{_PATIENCE} other settings in a row brought nothing better"


def _variant(held: Contest, parent: Candidate, tried: Sequence[tuple[Mapping[str, Any], float]]) -> Candidate:
    strategy = with_settings(parent.strategy, proposed(parent.strategy, tried, held.course.common.seed))
    source = parent.name.partition(" on ")[2]
    return replace(parent, name=f"{registry.title(strategy)} on {source}", strategy=strategy)


def _climb(held: Contest, variant: Candidate, top: int) -> float | None:
    """Its score on the highest rung that it reaches: it stops where it is beaten."""
    score = None
    for level in range(held.course.whole, top + 1):
        measured = held.go(variant, level)
        if measured is None:
            return None
        score = measured.score
        if level < top and variant.name in held.board.beaten(level):
            break
    return score

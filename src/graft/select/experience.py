"""What earlier trials let one expect of a candidate: a prior for the order of trying, never a measurement."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from graft.evaluate.metrics import HIGHER_IS_BETTER, sign_of
from graft.select.entry import Entry
from graft.select.sketch import Sketch, distance

__all__ = ["Expected", "prior"]

_BANDWIDTH = 0.5
"""Distance at which a task counts ``exp(-1/2)`` = 0.61 of one that is the same."""
_DOUBT = 1.0
"""How much of earlier tasks, the same ones counting 1, weighs as much as knowing nothing."""


@dataclass(frozen=True)
class Expected:
    """What to expect of a candidate.

    Parameters
    ----------
    gain
        From -1 (it lost to all others on tasks like this one) to 1 (it beat all); 0 where nothing is known.
    weight
        From 0 (nothing is known) to 1: how much experience stands behind it.
    """

    gain: float = 0.0
    weight: float = 0.0


def prior(
    entries: Iterable[Entry],
    sketch: Sketch,
    names: Sequence[str],
    by: Callable[[Entry], str] = lambda entry: entry.name,
) -> dict[str, Expected]:
    r"""What the entries let one expect of each name on a task like ``sketch``.

    Scores of different tasks cannot be compared, so only places are.  On each task (same data, same
    metric) a candidate's standing is the share of the others that it beat less the share that beat
    it, from -1 to 1; on average over a task it is 0.  A candidate that learnt from more rows stands
    before one from fewer, as dropping out of a race is losing it; row counts that differ less than
    about 1.4-fold count as one step.  At the same step scores decide; of a name that several
    candidates share the best counts, of a candidate that ran several times the mean.

    With the standing :math:`g_t`, the distance :math:`d_t` of the task from this one and the number
    :math:`m_t` of its candidates,

    .. math::

        w_t = (1 - 1 / m_t) \exp(-d_t^2 / 2h^2), \quad
        weight = \frac{\sum w_t}{\sum w_t + k}, \quad
        gain = \frac{\sum w_t g_t}{\sum w_t + k}

    with :math:`h = 0.5` and :math:`k = 1`: the mean of the standings, drawn towards 0 where little is
    known.  A task on which only one candidate ran says nothing, nor does one of another modality.

    Parameters
    ----------
    entries
        Trials; such as came to no score, or by a metric that is not known here, are passed over.
    names
        What is asked about.
    by
        Gives the name that an entry counts for; ``lambda entry: entry.source`` ranks sources.

    Returns
    -------
    dict
        An answer for every one of ``names``.
    """
    total: dict[str, float] = defaultdict(float)
    gained: dict[str, float] = defaultdict(float)
    for near, trials in _tasks(entries, sketch):
        standings = _standings(trials, by)
        weight = (1 - 1 / len(standings)) * math.exp(-(near**2) / (2 * _BANDWIDTH**2))
        for name, standing in standings.items():
            total[name] += weight
            gained[name] += weight * standing
    return {
        name: Expected(gained[name] / (total[name] + _DOUBT), total[name] / (total[name] + _DOUBT)) for name in names
    }


def _tasks(entries: Iterable[Entry], sketch: Sketch) -> list[tuple[float, list[Entry]]]:
    """Entries of the same data and metric together, with the distance of the nearest of their sketches."""
    tasks: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.metric in HIGHER_IS_BETTER and math.isfinite(entry.score):
            tasks[entry.data, entry.metric].append(entry)
    found = [(min(distance(each.sketch, sketch) for each in trials), trials) for trials in tasks.values()]
    return [(near, trials) for near, trials in found if math.isfinite(near)]


def _standings(trials: Sequence[Entry], by: Callable[[Entry], str]) -> dict[str, float]:
    """Name → from -1 to 1: the share of the other names that it beat, less the share that beat it."""
    best: dict[str, tuple[int, float]] = {}
    for name, place in _places(trials, by):
        best[name] = max(place, best.get(name, place))
    ordered = sorted(best.values())
    others = max(1, len(ordered) - 1)
    return {
        name: (bisect_left(ordered, place) - (len(ordered) - bisect_right(ordered, place))) / others
        for name, place in best.items()
    }


def _places(trials: Sequence[Entry], by: Callable[[Entry], str]) -> list[tuple[str, tuple[int, float]]]:
    """Of each candidate its name, the step it came to (0: the most rows, -1: half of them), and its mean score."""
    sign = sign_of(trials[0].metric)
    most = max(each.rows for each in trials)
    runs: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    names: dict[tuple[str, str], str] = {}
    for each in trials:
        candidate = (each.source, each.strategy)
        step = round(math.log2(max(1, each.rows) / max(1, most)))
        runs[candidate][step].append(sign * each.score)
        names[candidate] = by(each)
    furthest: Mapping[tuple[str, str], int] = {candidate: max(steps) for candidate, steps in runs.items()}
    return [
        (names[candidate], (step, math.fsum(runs[candidate][step]) / len(runs[candidate][step])))
        for candidate, step in furthest.items()
    ]

"""Which sources a choice goes on with: every one is looked at, and as many as the time can train are tried."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from graft import registry
from graft.chosen import Choosing
from graft.errors import RequestError
from graft.select.choice import Look, interval_of
from graft.select.clock import Clock
from graft.select.entrant import Entrant
from graft.select.field import Field
from graft.select.outlook import Sighting
from graft.select.screen import screen

__all__ = ["Screening", "going", "promised", "screened", "to_come"]

_SHARE_OF_LOOKS = 0.45
"""Part of the budget within which every source is looked at once: what is never looked at cannot be chosen."""

_SHARE_OF_SCREEN = 0.2
"""Part of the budget within which they are looked at again, on more rows."""

_DEAR = 0.1
"""Part of the budget from which a look at a source is dear: those that take less come first."""

_SHARE_OF_TRIES = 0.5
"""Part of the time left that trying closed forms and one training on each source that goes on may take."""

_GO_ON = 3
"""Sources that go on at least, even where one is clearly the best as it is: others may learn more."""


@dataclass(frozen=True)
class Screening:
    """What the screen saw.

    Parameters
    ----------
    looks
        At the sources, in the order in which they promise to serve.
    paces
        Source → seconds in which its network reads a row, where that was seen.
    shrinks
        Sources whose networks also take images of half the edge.
    """

    looks: tuple[Look, ...]
    paces: Mapping[str, float]
    shrinks: frozenset[str]


def screened(asked: Choosing) -> Screening:
    """Look at the sources.  Decided once."""
    sources = {each.source: each for each in sorted(asked.field.entrants, key=partial(_promise, asked.field))}
    kept = asked.workspace.remember("screen", lambda: _looked_at(asked, sources))
    looks = tuple(Look(**{**each, "score": interval_of(each["score"])}) for each in kept["looks"])
    best = looks[0]
    count = "1 source" if len(looks) == 1 else f"{len(looks)} sources"
    if best.score is None:
        asked.say("screen", f"{count}; time was up before any of them could be told")
    else:
        leads = f"{best.source} leads with {kept['measure']} {best.score}"
        asked.say("screen", f"{count} on up to {best.rows} rows; {leads}")
    return Screening(looks, kept["paces"], frozenset(kept["shrinks"]))


def _promise(field: Field, entrant: Entrant) -> tuple[bool, int, float, float]:
    """Which source is looked at first, where the time may not hold all: near ones, accurate ones, large ones."""
    card, dear = entrant.card, entrant.forecast.shared > _DEAR * field.limits.budget
    size = entrant.forecast.shared if dear else -float(card.parameters or 0)
    return dear, entrant.setting.rank, -(card.top1 or 0.0), size


def _looked_at(asked: Choosing, sources: Mapping[str, Entrant]) -> dict[str, Any]:
    prepared = asked.prepared
    data = replace(asked.common, train=prepared.rows(prepared.pool), groups=prepared.groups(prepared.pool))
    left = max(0.0, asked.clock.left())
    first, clock = Clock(_SHARE_OF_LOOKS * left), Clock(_SHARE_OF_SCREEN * left)
    given = [each.candidate.source for each in sources.values()]
    titles = {registry.title(each.candidate.source): name for name, each in sources.items()}
    try:
        ranking = screen(given, data, prepared.fitted, clock=clock, first=first)
    except RequestError:
        if len(given) == 1 or first.left() > 0:
            raise
        # the first ones failed, and no time was left for the others: the race finds out
        looks = [Look(name, None, 0, 0.0) for name in sources]
        none = {"measure": "", "paces": {}, "shrinks": []}
        return none | {"looks": [asdict(each) for each in looks], "spent": asked.clock.spent()}
    looks, paces = [], {}
    for place, each in enumerate(ranking.entries):
        out, gap = each.failed or each.missing.get(ranking.score, ""), ranking.behind.get(each.source)
        if not out and each.source not in ranking.tied and place >= _GO_ON:
            out = f"behind {ranking.best.source}" + (f" by {gap}" if gap is not None else "")
        score, name = each.scores.get(ranking.score), titles[each.source]
        looks.append(Look(name, score, each.rows, each.seconds, out.strip().splitlines()[0] if out else ""))
        if each.pace is not None:
            paces[name] = each.pace
    return {
        "measure": ranking.measure,
        "looks": [asdict(each) for each in looks],
        "paces": paces,
        "shrinks": [titles[each.source] for each in ranking.entries if each.shrinks],
        "spent": asked.clock.spent(),
    }


def to_come(entrant: Entrant, looks: Sequence[Look], rows: int) -> float:
    """Seconds of its fit from now on: features that were read to look at its source are in the cache."""
    read = next((each.rows for each in looks if each.source == entrant.source), 0)
    return entrant.forecast.seconds - entrant.forecast.shared * min(1.0, read / rows)


def going(asked: Choosing, field: Field, looks: Sequence[Look], costs: Mapping[str, float]) -> tuple[Look, ...]:
    """As many sources go on as the time can train once each; the others stay behind, with that as the reason."""

    def decide() -> dict[str, Any]:
        left, names = _SHARE_OF_TRIES * asked.clock.left(), list[str]()
        for each in looks:
            mine = [entrant for entrant in field.entrants if entrant.source == each.source]
            left -= sum(costs[entrant.name] for entrant in mine if not entrant.trains)
            left -= min((costs[entrant.name] for entrant in mine if entrant.trains), default=0.0)
            if not each.out and (left >= 0 or not names or each.score is None):
                names.append(each.source)
        return {"names": names, "spent": asked.clock.spent()}

    kept = asked.workspace.remember("sources", decide)["names"]
    late = "the time left holds no more than the tries on " + (kept[0] if len(kept) == 1 else f"{len(kept)} others")
    found = tuple(each if each.out or each.source in kept else replace(each, out=late) for each in looks)
    for each in found:
        if each.out:
            asked.say("", f"{each.source} does not go on: {each.out}")
    return found


def promised(looks: Iterable[Look]) -> list[Sighting]:
    """What the screen says of the sources, for the race to begin with; half of its chance is that of the rows."""
    known = [(each.source, each.score) for each in looks if each.score is not None]
    return [
        Sighting(source, -1, score.value, score.spread**2 / 2)
        for source, score in known
        if math.isfinite(score.spread) and math.isfinite(score.value)
    ]

"""One ``graft fit DATA --budget S`` with nothing named, in a process of its own; ``apart.called`` starts it.

The order is JSON on the command line, the answer JSON on the last line.  The machine holds the sources that the
order lists (name → spec); no clock and no cache is anybody's but Graft's own.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from holding import holding

import graft
from graft import registry
from graft.errors import GraftError


def main() -> None:
    order = json.loads(sys.argv[1])
    sources = {name: registry.build("sources", spec) for name, spec in order["sources"].items()}
    titles = {registry.title(source): name for name, source in sources.items()}

    told: dict[str, Any] = {}
    fit = graft.fit  # imported only now, before its time begins
    with holding(sources.values()):
        started = time.monotonic()
        try:
            result = fit(
                order["train"],
                test=order["test"],
                target=order["target"],
                budget=order["seconds"],
                seed=order["seed"],
                ledger=False,
            )
        except GraftError as exc:
            told |= {"seconds": time.monotonic() - started, "failed": str(exc)[:300]}
            print(json.dumps(told))
            return
        told["seconds"] = time.monotonic() - started
    assert result.choice is not None
    strategy, _, title = result.choice.winner.partition(" on ")
    told |= {
        "source": titles.get(title, title),
        "strategy": strategy,
        "handed_over": result.handed_over,
        "metric": result.metric,
        "score": result.scores[result.handed_over][result.metric].value,
        "winner_score": result.scores[result.winner][result.metric].value,
        "chosen_after": result.choice.spent,
        "fits": len(result.choice.runs),
        "stopped": result.choice.stopped,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()

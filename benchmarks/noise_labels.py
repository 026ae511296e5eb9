"""Labels that are pure noise: does what is reported cover chance, and is "helps" ever said?

A table of normal columns with labels drawn by a coin, another draw in every run.  Several strategies
are tried and the best is chosen, beside the controls: on fresh rows every model is right half of the
time, whatever was chosen.  Once judged by a test side, once by folds.

The share of runs whose 95 % interval covers one half should be 0.95, and at least 0.93; "helps" may be
said in one run of twenty.  Beside them stands what would be reported without nesting: the winner's
inner score, by which it was chosen.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from bench import arguments, write
from scipy.stats import binomtest

import graft
from graft.evaluate.compare import Comparison

STRATEGIES = ("linear_probe", "prototypes", "knn?k=5", "knn?k=15")


def one(rows: int, columns: int, folds: int | None, seed: int) -> dict[str, Any]:
    """One run on noise: what was reported of the winner, and the verdict."""
    random = np.random.default_rng([20, seed])
    table = random.normal(size=(rows, columns)).astype(np.float32)
    labels = np.array(["heads", "tails"])[random.integers(2, size=rows)].tolist()
    result = graft.fit(
        (table, labels),
        source="columns",
        strategy=STRATEGIES,
        controls=("majority", "shallow"),
        folds=folds,
        seed=seed,
        cache=False,
    )
    found, verdict = result.scores[result.winner]["accuracy"], result.verdict
    assert verdict is not None
    inner = {each.name: each.inner for each in result.tried}[result.winner]
    return {
        "winner": result.winner,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "inner": inner,
        "alone": plain(found.value, result.rows["test"]),
        "verdict": verdict.word,
        "better_than_shallow": beats(result.comparisons["shallow"]),
    }


def plain(value: float, rows: int) -> list[float]:
    """The interval as if one model had measured all rows: what folds would say without their correction."""
    reach = binomtest(round(value * rows), rows).proportion_ci(method="wilson")
    return [float(reach.low), float(reach.high)]


def beats(found: Comparison) -> bool:
    """Whether the winner is said to beat the strongest control, which is as good as it is."""
    return found.gain.low > 0 and found.p_value < 0.05


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares over the runs, each with its exact 95 % interval."""
    covered = [run["low"] <= 0.5 <= run["high"] for run in runs]
    alone = [run["alone"][0] <= 0.5 <= run["alone"][1] for run in runs]
    words = Counter(run["verdict"] for run in runs)
    return {
        "covers_chance": share(sum(covered), len(runs)),
        "covers_chance_if_rows_were_independent": share(sum(alone), len(runs)),
        "better_than_shallow": share(sum(run["better_than_shallow"] for run in runs), len(runs)),
        "interval_above_chance": sum(run["low"] > 0.5 for run in runs) / len(runs),
        "interval_below_chance": sum(run["high"] < 0.5 for run in runs) / len(runs),
        "helps": share(words["helps"], len(runs)),
        "harms": share(words["harms"], len(runs)),
        "mean_reported": float(np.mean([run["value"] for run in runs])),
        "mean_inner": float(np.mean([run["inner"] for run in runs])),
        "mean_width": float(np.mean([run["high"] - run["low"] for run in runs])),
        "winners": Counter(run["winner"] for run in runs),
    }


def share(count: int, runs: int) -> dict[str, Any]:
    """A share of the runs with its interval."""
    reach = binomtest(count, runs).proportion_ci()
    return {"share": count / runs, "interval": [float(reach.low), float(reach.high)]}


def main() -> None:
    options = arguments(__doc__, runs=200, rows=200, columns=20, folds=5)
    held: dict[str, list[dict[str, Any]]] = {"test_side": [], "folds": []}
    for seed in range(options.runs):
        for name, folds in (("test_side", None), ("folds", options.folds)):
            held[name].append(one(options.rows, options.columns, folds, seed))
        if seed % 10 == 9:
            print({name: summary(runs)["covers_chance"]["share"] for name, runs in held.items()}, flush=True)
    document = {
        "rows": options.rows,
        "columns": options.columns,
        "runs": options.runs,
        "folds": options.folds,
        "strategies": STRATEGIES,
        **{name: {**summary(runs), "each": runs} for name, runs in held.items()},
    }
    write(document, options.out)


if __name__ == "__main__":
    main()

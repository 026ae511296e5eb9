"""Is the budget kept: how long ``graft fit DATA --budget S`` takes, with nothing named, by the clock on the wall.

Each run is a process of its own with an empty cache and no experience, on rows that lie in files; texts, images and
tables by turns, among the networks of the zoo.  ``--load 1`` lets another process load one core meanwhile.  A budget
is of the call of ``graft.fit``; what the whole process took, imports among it, is told beside it.  Runs that stand in
``--runs`` (JSON lines) are not run again.

    python budget.py --runs ../results/choosing_budget.jsonl --out ../results/choosing_budget.json
    python budget.py --runs ../results/choosing_budget.jsonl --out ../results/choosing_budget.json --load 1
    python budget.py --budgets 20 --count 1     # a try
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import apart
import zoo
from bench import arguments, write

import tasks

__all__ = ["TURNS", "Taken", "summary"]

TURNS = ("pacs_photo", "sst2", "adult", "mnist", "trec", "melbourne", "cifar10", "banking77", "omniglot", "cr")
"""Ten runs are of ten tasks, further ones of other rows of them."""


@dataclass(frozen=True)
class Taken:
    """One run.

    Parameters
    ----------
    load
        Other processes that each loaded a core.
    asked, seconds
        The budget, and what the call of ``graft.fit`` took.
    whole
        What its process took from its start to its end, imports among it.
    told
        What was chosen, and how good it is; why nothing was, in ``failed``.
    machine_load
        The machine's mean load of the last minute at the end: what else it did.
    """

    task: str
    seed: int
    load: int
    asked: float
    seconds: float
    whole: float
    told: dict[str, Any]
    machine_load: float

    @property
    def key(self) -> tuple[str, int, int, float]:
        """What is run once."""
        return self.task, self.seed, self.load, self.asked


def run(name: str, seed: int, load: int, budget: float) -> Taken:
    """Fit once."""
    task = tasks.load(name)
    sources = {each.name: each.spec for each in zoo.zoo(task.modality) if each.kind != "plain"}
    with tempfile.TemporaryDirectory() as folder:
        files = apart.written(task, seed, Path(folder))
        order = {"train": str(files.train), "test": str(files.test), "target": files.target, "sources": sources,
                 "seconds": budget, "seed": seed}  # fmt: skip
        with apart.busy(load):
            found = apart.called("one_fit.py", order, longest=3 * budget + 300)
    whole = found.pop("whole")
    return Taken(name, seed, load, budget, round(found.pop("seconds", whole), 2), round(whole, 2), found,
                 round(os.getloadavg()[0], 2))  # fmt: skip


def read(path: Path) -> list[Taken]:
    """The runs so far; a line that was being written when its run was stopped does not count."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Taken(**json.loads(line)) for line in lines if line.endswith("}")]


def summary(runs: Sequence[Taken]) -> dict[str, Any]:
    """Of runs with one budget: what they took beyond it."""
    held = [each for each in runs if "score" in each.told]
    beyond = [each.seconds - each.asked for each in held]
    whole = [each.whole - each.asked for each in held]
    shares = [over / each.asked for over, each in zip(beyond, held, strict=True)]
    return {
        "asked": runs[0].asked,
        "load": runs[0].load,
        "runs": len(runs),
        "failed": [f"{each.task} {each.seed}: {each.told.get('failed')}" for each in runs if each not in held],
        "taken": [each.seconds for each in held],
        "overrun_seconds": _spread(beyond),
        "overrun_share": _spread(shares),
        "overrun_seconds_with_imports": _spread(whole),
        "over_5_percent": sum(share > 0.05 for share in shares),
        "over_10_percent": sum(share > 0.10 for share in shares),
        "over_15_seconds": sum(over > 15 for over in beyond),
        "over_10_percent_and_15_seconds": sum(o > 15 and s > 0.10 for o, s in zip(beyond, shares, strict=True)),
        "machine_load": round(statistics.mean(each.machine_load for each in runs), 2),
        "choices": [
            {"task": each.task, "seed": each.seed, "seconds": each.seconds}
            | {name: each.told[name] for name in ("source", "strategy", "handed_over", "score")}
            for each in held
        ],
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Below 0: less than was asked for."""
    if not values:
        return None
    return {"median": round(statistics.median(values), 3), "worst": round(max(values), 3)}


def document(runs: Sequence[Taken]) -> dict[str, Any]:
    """A summary a budget and load."""
    kinds = sorted({(each.asked, each.load) for each in runs})
    return {"budgets": [summary([each for each in runs if (each.asked, each.load) == kind]) for kind in kinds]}


def main() -> None:
    options = arguments(__doc__, runs="", budgets="60,180,600", count=10, load=0, tasks=",".join(TURNS))
    names = [name for name in options.tasks.split(",") if name]
    path = Path(options.runs) if options.runs else None
    runs = [] if path is None else read(path)
    done = {each.key for each in runs}
    for budget in (float(each) for each in options.budgets.split(",")):
        for turn in range(options.count):
            name, seed = names[turn % len(names)], turn // len(names)
            if (name, seed, options.load, budget) in done:
                continue
            made = run(name, seed, options.load, budget)
            runs.append(made)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "a") as file:
                    file.write(json.dumps(asdict(made)) + "\n")
            what = (
                made.told.get("failed") or f"{made.told['strategy']} on {made.told['source']} {made.told['score']:.3f}"
            )
            print(f"{name} {seed}: {made.seconds:.1f} of {budget:.0f} s ({made.whole:.1f}); {what}", flush=True)
    write(document(runs), options.out)


if __name__ == "__main__":
    main()

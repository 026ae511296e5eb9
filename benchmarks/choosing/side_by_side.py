"""Graft beside others that choose, at equal seconds: the metric on rows apart.

``graft``: ``graft fit DATA --budget S``, nothing named.  ``optuna``: a study over the same sources, strategies and
settings.  ``autogluon``: AutoGluon's MultiModalPredictor in an environment of its own (``--autogluon PYTHON``), on
the checkpoints that this machine holds, since no hub is reached; what it cannot do is left out with the reason.  All
learn from the same rows by files, with as many threads, each in a process of its own, and by turns.  What is done
already stands in ``--runs`` (JSON lines) and is not done again.

    python side_by_side.py --runs ../results/choosing_rivals.jsonl --out ../results/choosing_rivals.json --seeds 0,1,2
    python side_by_side.py --tasks sst2 --budgets 60 --autogluon /path/to/environment/bin/python
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
os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import apart
import regret
import zoo
from bench import arguments, data_root, write

import tasks

__all__ = ["Ran", "document", "run"]

TASKS = ("sst2", "trec", "pacs_photo", "cifar10", "adult")


@dataclass(frozen=True)
class Ran:
    """One rival on the rows of one seed.

    Parameters
    ----------
    asked
        Seconds that it was given.
    told
        Its score, its seconds and what it chose; why there is none, in ``failed``.
    """

    rival: str
    task: str
    seed: int
    asked: float
    told: dict[str, Any]


def run(rival: str, name: str, seed: int, seconds: float, autogluon: str) -> Ran:
    """Let one rival choose."""
    task = tasks.load(name)
    sources = {each.name: each.spec for each in zoo.zoo(task.modality) if each.kind != "plain"}
    script, python = {
        "graft": ("one_fit.py", sys.executable),
        "optuna": ("one_search.py", sys.executable),
        "autogluon": ("one_predictor.py", autogluon),
    }[rival]
    if rival == "autogluon" and (why := _no_autogluon(autogluon)):
        return Ran(rival, name, seed, seconds, {"failed": why})
    with tempfile.TemporaryDirectory() as folder:
        files = apart.written(task, seed, Path(folder))
        order = {
            "train": str(files.train),
            "test": str(files.test),
            "target": files.target,
            "modality": files.modality,
            "sources": sources,
            "start": _start(task.modality),
            "threads": int(os.environ["OMP_NUM_THREADS"]),
            "seconds": seconds,
            "seed": seed,
        }
        return Ran(rival, name, seed, seconds, apart.called(script, order, longest=3 * seconds + 300, python=python))


def _no_autogluon(python: str) -> str:
    if not python:
        return "no environment of AutoGluon was named: --autogluon PYTHON"
    return "" if Path(python).exists() else f"{python} is absent"


def _start(modality: str) -> dict[str, Any] | None:
    """The best network of this kind that AutoGluon can start from; it fits one, and does not choose."""
    if modality == "text":
        return {"name": "minilm", "folder": str(zoo.minilm_folder())}
    if modality == "image":
        file = data_root() / "weights/mobilenetv2_100_imagenet.timm.safetensors"
        return {
            "name": "mobilenetv2",
            "architecture": "mobilenetv2_100",
            "file": str(file),
            "options": {"pad_type": "same"},
            "size": [3, zoo.SIZE, zoo.SIZE],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        }
    return None


def read(path: Path) -> list[Ran]:
    """What is done already."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Ran(**json.loads(line)) for line in lines if line.endswith("}")]


def document(runs: Sequence[Ran]) -> dict[str, Any]:
    """Scores, seconds and Graft's paired gain over each rival, a budget at a time."""
    told = []
    for asked in sorted({each.asked for each in runs}):
        here = [each for each in runs if each.asked == asked]
        rivals = list(dict.fromkeys(each.rival for each in here))
        scores = {rival: _of(here, rival, "score") for rival in rivals}
        gains = {
            rival: regret.summary(
                {key: 100 * (scores["graft"][key] - held[key]) for key in held.keys() & scores["graft"]}
            )
            for rival, held in scores.items()
            if rival != "graft" and held.keys() & scores.get("graft", {}).keys()
        }
        told.append(
            {
                "seconds": asked,
                "tasks": {
                    task: {rival: _cell(here, rival, task) for rival in rivals}
                    for task in dict.fromkeys(each.task for each in here)
                },
                "points_of_graft_over": gains,
            }
        )
    return {"equal_seconds": told, "threads": os.environ["OMP_NUM_THREADS"]}


def _of(runs: Sequence[Ran], rival: str, what: str) -> dict[tuple[str, int], float]:
    return {(each.task, each.seed): each.told[what] for each in runs if each.rival == rival and what in each.told}


def _cell(runs: Sequence[Ran], rival: str, task: str) -> dict[str, Any]:
    mine = [each for each in runs if (each.rival, each.task) == (rival, task)]
    held = [each.told for each in mine if "score" in each.told]
    reasons = sorted({str(each.told.get("failed", "")) for each in mine} - {""})
    if not held:
        return {"failed": reasons}
    means = {name: round(statistics.mean(each[name] for each in held), 4) for name in ("score", "seconds", "whole")}
    return {"n": len(held), **means, "scores": [round(each["score"], 4) for each in held]} | (
        {"failed": reasons} if reasons else {}
    )


def main() -> None:
    options = arguments(
        __doc__, runs="", tasks=",".join(TASKS), budgets="120", seeds="0,1,2", rivals="graft,optuna,autogluon",
        autogluon="",
    )  # fmt: skip
    path = Path(options.runs) if options.runs else None
    runs = [] if path is None else read(path)
    done = {(each.rival, each.task, each.seed, each.asked) for each in runs}
    names, rivals = options.tasks.split(","), options.rivals.split(",")
    turns = [(seed, asked, name, rival) for seed in map(int, options.seeds.split(",")) for name in names
             for asked in map(float, options.budgets.split(",")) for rival in rivals]  # fmt: skip
    for seed, asked, name, rival in turns:
        if (rival, name, seed, asked) in done:
            continue
        made = run(rival, name, seed, asked, options.autogluon)
        runs.append(made)
        if path is not None and "score" in made.told:  # what failed is tried again
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a") as file:
                file.write(json.dumps(asdict(made)) + "\n")
        what = made.told.get("failed") or f"{made.told['score']:.3f} in {made.told['seconds']:.0f} s"
        print(f"{name} {seed}, {asked:.0f} s, {rival}: {what}", flush=True)
    write(document(runs), options.out)


if __name__ == "__main__":
    main()

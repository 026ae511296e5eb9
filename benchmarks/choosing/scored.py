"""Every transferability score of every network, on the rows that the table's cells learn from.

JSON lines, one for a task, a source and a seed; what stands there is not computed again.  With ``--table`` the
ranks that each score gives are compared with those of the table: Kendall's tau-b and Pearson's r with the best score
that a source reaches by any strategy, a task and a seed at a time, and how far below the best source the first one is.

    python scored.py --scores ../results/choosing_scores.jsonl --table ../results/choosing_table.csv --out …
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import regret
import table
import torch
import zoo
from bench import arguments, write
from scipy import stats

import tasks
from graft import compute, registry
from graft.contracts import Seen
from graft.errors import GraftError
from graft.features import Extractor, extract
from graft.reading import read, resolve_task
from graft.select.candidates import candidate, graft_backbone
from graft.storage import cache_root


def seen(task: str, entry: zoo.Entry, seed: int) -> tuple[Seen, Any]:
    """One frozen pass over the rows to learn from, read from the cache where it is there, and their targets."""
    data = tasks.load(task).drawn(seed)
    held = read((data.train, data.train_labels))
    assert held.labels is not None
    fitted = resolve_task(None, held.labels)[0].start(held.labels)
    probe = registry.build("strategies", "linear_probe")
    backbone = graft_backbone(candidate(entry.source(), probe, held.examples.modality), held.examples)
    machine = compute.machine("cpu", "float32", 1)
    features = extract(backbone, held.examples, machine=machine, cache=cache_root() / "features")
    outputs = None
    if backbone.head is not None:
        with torch.inference_mode():
            outputs = backbone.head.eval()(torch.from_numpy(features)).numpy()
    elif backbone.outputs is not None:
        outputs = Extractor(backbone.outputs, backbone.preprocess, machine).run(held.examples)
    return Seen(features, outputs, backbone.card), fitted.encode(held.labels).numpy()


def scored(task: str, entry: zoo.Entry, seed: int) -> dict[str, Any]:
    """All scores, with the CPU seconds of each; one that is not defined here is left out."""
    what, targets = seen(task, entry, seed)
    values, seconds = {}, {}
    for name in registry.names("scores"):
        started = time.process_time()
        try:
            values[name] = float(registry.build("scores", name).score(what, targets))
        except GraftError:
            continue
        seconds[name] = round(time.process_time() - started, 4)
    return {"task": task, "source": entry.name, "seed": seed, "scores": values, "seconds": seconds}


def ranks(oracle: regret.Oracle) -> dict[str, Any]:
    """How well each score orders the networks of a task, over tasks and seeds."""
    found: dict[str, dict[str, dict[tuple[str, int], float]]] = {}
    for key, rows in oracle.rows.items():
        best: dict[str, float] = {}
        for (source, _), row in rows.items():
            if row.kind != "plain" and row.score is not None:
                best[source] = max(best.get(source, 0.0), row.score)
        held = oracle.scored.get(key, {})
        for score in sorted({name for values in held.values() for name in values}):
            names = [name for name in best if score in held.get(name, {})]
            if len(names) < 4:
                continue
            told, true = [held[name][score] for name in names], [best[name] for name in names]
            if np.ptp(told) == 0 or np.ptp(true) == 0:
                continue
            each = found.setdefault(score, {"kendall": {}, "pearson": {}, "points_below_the_best_source": {}})
            each["kendall"][key] = float(stats.kendalltau(told, true).statistic)
            each["pearson"][key] = float(stats.pearsonr(told, true).statistic)
            each["points_below_the_best_source"][key] = 100 * (max(true) - true[int(np.argmax(told))])
    return {score: {name: regret.summary(values) for name, values in each.items()} for score, each in found.items()}


def main() -> None:
    options = arguments(__doc__, scores="", table="", seeds="0,1,2")
    results = Path(__file__).resolve().parents[1] / "results"
    path, oracle = (
        Path(options.scores or results / "choosing_scores.jsonl"),
        Path(options.table or results / "choosing_table.csv"),
    )
    lines = path.read_text().splitlines() if path.exists() else []
    done = {(each["task"], each["source"], each["seed"]) for each in map(json.loads, lines)}
    for seed in map(int, options.seeds.split(",")):
        for task in tasks.TASKS:
            for entry in zoo.zoo(table.modality_of(task)):
                if entry.kind == "plain" or (task, entry.name, seed) in done:
                    continue
                with open(path, "a") as file:
                    file.write(json.dumps(scored(task, entry, seed)) + "\n")
            print(f"{task} {seed}", flush=True)
    held = regret.Oracle.read(oracle, path)
    write({"ranks": ranks(held), "tasks_and_seeds": len(held.rows)}, options.out)


if __name__ == "__main__":
    main()

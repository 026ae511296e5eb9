"""Forecasts beside what fits then took: seconds and peak memory of real pairs of source and strategy.

Each runs in a process of its own, which measures the speed of the machine as it is then, other processes
included.  Early stopping is off, as forecasts do not count on it; nothing is cached.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
from bench import arguments, data_root, write

MOBILENET = (
    "file/{weights}/mobilenetv2_100_imagenet.timm.safetensors?architecture=timm/mobilenetv2_100&"
    'options.pad_type="same"&options.num_classes=1001&mean=[0.5,0.5,0.5]&std=[0.5,0.5,0.5]'
)
PAIRS: tuple[tuple[str, int, str, str], ...] = (
    ("banking77", 1000, "minilm", "linear_probe"),
    ("banking77", 200, "minilm", "fine_tune?epochs=2&patience=null"),
    ("banking77", 200, "minilm", "lora?epochs=2&tuning.patience=null"),
    ("photos of PACS", 300, "graft/tiny", "linear_probe"),
    ("photos of PACS", 200, "graft/tiny", "lp_ft?epochs=3&tuning.patience=null"),
    ("photos of PACS", 100, MOBILENET, "linear_probe"),
    ("photos of PACS", 50, MOBILENET, "fine_tune?epochs=1&patience=null"),
)
"""Data, training rows, source, strategy."""


def examples_of(data: str, rows: int) -> tuple[Any, Any]:
    """Rows from all over the data, and their labels."""
    from graft.data.examples import ImageExamples, TextExamples

    random = np.random.default_rng(0)
    if data == "banking77":
        held = pd.read_csv(data_root() / "text/banking77/train.csv")
        held = held.iloc[random.permutation(len(held))[:rows]]
        return TextExamples(held["text"].tolist()), held["category"].to_numpy(dtype=object)
    paths = sorted((data_root() / "images/pacs_subset/photo").rglob("*.jpg"))
    paths = [paths[place] for place in random.permutation(len(paths))[:rows]]
    return ImageExamples([str(path) for path in paths]), np.array([path.parent.name for path in paths], dtype=object)


def measured(data: str, rows: int, source: str, strategy: str) -> dict[str, Any]:
    """One pair, in this process."""
    from graft import compute, registry
    from graft.contracts import Rows, TransferData
    from graft.select.candidates import candidate
    from graft.select.entrant import Limits
    from graft.select.field import lay_out
    from graft.select.forecast import Known, typical_length
    from graft.select.offers import named
    from graft.select.trial import run_trial
    from graft.tasks.classification import Classification

    examples, labels = examples_of(data, rows)
    machine, task = compute.machine(), Classification()
    fitted = task.start(labels)
    known = Known(examples.modality, fitted, rows, 0, typical_length(examples), data)
    made, recipe = registry.build("sources", source), registry.build("strategies", strategy)
    could, _ = named([made], known, None)
    speed = compute.speed(machine)
    (entrant,) = lay_out(known, could, Limits(math.inf), speed, strategies=[recipe]).entrants
    held = Rows(examples, fitted.encode(labels))
    some = Rows(examples.take(np.arange(rows // 5)), held.targets[: rows // 5]) if recipe.uses_validation else None
    before = resource.getrusage(resource.RUSAGE_SELF)
    started, busy = time.perf_counter(), time.process_time()
    run_trial(candidate(made, recipe, examples.modality), task, fitted, TransferData(held, some, machine=machine))
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before.ru_maxrss)
    cost = entrant.forecast
    return {
        "forecast": {"seconds": cost.seconds, "memory": cost.memory, "basis": cost.basis},
        "measured": {"seconds": seconds, "processor_seconds": busy / machine.threads, "memory": grown},
        "speed": {"float32": speed.float32, "fastest": speed.fastest},
    }


def main() -> None:
    options = arguments(__doc__, rounds=1)
    found = []
    for data, rows, source, strategy in PAIRS:
        named = source.format(weights=data_root() / "weights")
        runs = [_child(data, rows, named, strategy) for _ in range(options.rounds)]
        ratios = {
            "seconds": statistics.median(_over(run, "seconds") for run in runs),
            "processor_seconds": statistics.median(_over(run, "processor_seconds") for run in runs),
            "memory": statistics.median(_over(run, "memory") for run in runs),
        }
        name = "mobilenetv2_100" if source == MOBILENET else source
        found.append({"data": data, "rows": rows, "source": name, "strategy": strategy, "ratio": ratios, "runs": runs})
        print(name, strategy, ratios, file=sys.stderr)
    logs = [math.log(each["ratio"]["seconds"]) for each in found]
    spread = math.exp(statistics.fmean(abs(each) for each in logs))
    write({"forecast over measured": found, "off by a factor of": spread}, options.out)


def _child(data: str, rows: int, source: str, strategy: str) -> dict[str, Any]:
    code = f"import json, forecast; print(json.dumps(forecast.measured({data!r}, {rows}, {source!r}, {strategy!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.path.dirname(__file__))
    if done.returncode:
        raise SystemExit(done.stderr)
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def _over(run: Mapping[str, Any], what: str) -> float:
    return float(run["forecast"]["memory" if what == "memory" else "seconds"] / max(run["measured"][what], 1e-9))


if __name__ == "__main__":
    main()

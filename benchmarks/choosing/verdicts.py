"""Is the verdict to be trusted: how often is what is handed over worse than the best control, and "helps" untrue?

Pairs of a source and a task, good ones and some built to harm: networks that never learnt or learnt nonsense,
encoders of texts over rows of a table, labels of the target shuffled.  Each is fitted as a user with 250 rows does,
100 of them to judge by; what is true is then measured on fresh rows, as many as there are.  The controls are refitted
on the same rows for that.  What is done already stands in ``--cells`` (JSON lines) and is not done again.

    python verdicts.py --cells ../results/choosing_verdicts.jsonl --out ../results/choosing_verdicts.json --seeds 0
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import zoo
from bench import arguments, write
from scipy.stats import beta, binomtest

import graft
import tasks
from graft import registry
from graft.reading import read

TRAIN, TEST, FRESH = 150, 100, 2000
SMALL = {"pacs_photo": (120, 80), "pacs_sketch": (120, 80), "omniglot": (140, 100)}
"""Of tasks with few rows."""
SCRATCH = "scratch?epochs=8&batch_size=16"
CONTROLS = {
    "image": ("majority", "shallow", SCRATCH),
    "text": ("majority", "shallow"),
    "table": ("majority", "shallow"),
}
"""MiniLM from scratch takes minutes, and learns nothing from 150 rows that counted words do not tell."""

IMAGES = ("mobilenetv1-025", "cifar-resnet20", "wake-words", "emotions", "graft/tiny", "mobilenet-noised",
          "mobilenet-untrained", "mobilenet-shuffled")  # fmt: skip
TEXTS = ("minilm", "minilm-1", "minilm-noised", "minilm-untrained", "minilm-shuffled")
TABLES = ("minilm", "minilm-1", "minilm-untrained")
PAIRS = [
    *((task, name, "") for task in ("pacs_photo", "pacs_sketch", "mnist", "cifar10") for name in IMAGES),
    *((task, name, "") for task in ("sst2", "cr", "trec", "ag_news") for name in TEXTS),
    *((task, name, "") for task in ("adult", "melbourne") for name in TABLES if name != "minilm-1"),
    *((task, name, "shuffled labels") for task, name in (
        ("pacs_photo", "mobilenetv1-025"), ("mnist", "graft/tiny"), ("cifar10", "cifar-resnet20"),
        ("trec", "minilm"), ("ag_news", "minilm"), ("adult", "minilm"),
    )),
]  # fmt: skip
"""Task, source, and what was done to the labels that are learnt from and judged by."""


def harmful(name: str, shuffled: str) -> bool:
    """Whether a pair was built to harm."""
    return bool(shuffled) or name.endswith(("untrained", "shuffled"))


def drawn(task: tasks.Pool, seed: int, shuffled: bool) -> tuple[tasks.Drawn, Any, np.ndarray]:
    """Rows to learn from and to judge by, and fresh ones with their true labels."""
    train, test = SMALL.get(task.name, (TRAIN, TEST))
    draw = np.random.default_rng(1000 + seed)
    order = draw.permutation(len(task.labels))[: train + test + FRESH]
    labels = task.labels.copy()
    if shuffled:
        labels = draw.permutation(labels)
    one, two, three = np.split(order, [train, train + test])
    known = np.isin(task.labels[three], labels[one])  # a class that nobody learnt from tells nothing
    three, two = three[known], two[np.isin(labels[two], labels[one])]
    held = tasks.Drawn(task.at(one), labels[one], task.at(two), labels[two])
    # labels that were shuffled say nothing of fresh rows either: these are shuffled too
    return held, task.at(three), labels[three] if shuffled else task.labels[three]


def right(model: Any, rows: Any, labels: np.ndarray) -> np.ndarray:
    """Whether each row is told right; a class that the model does not know is told wrong."""
    held = read((rows, labels))
    said = model.fitted.decode(model.outputs(model.accepted(held.examples)))
    return np.array([str(one) == str(other) for one, other in zip(said, labels, strict=True)])


def measured(name: str, source: str, shuffled: str, seed: int) -> dict[str, Any]:
    """Fit a pair, and compare what is handed over with every control on fresh rows."""
    task = tasks.load(name)
    entry = next(each for each in zoo.zoo(task.modality) if each.name == source)
    data, fresh, labels = drawn(task, seed, bool(shuffled))
    started = time.process_time()
    result = graft.fit(
        (data.train, data.train_labels),
        test=(data.test, data.test_labels),
        source=entry.source(),
        strategy="linear_probe",
        controls=CONTROLS[task.modality],
        budget=1e9,
        seed=seed,
        precision="float32",
        cache=False,
    )
    assert result.verdict is not None
    controls = {}
    for control in CONTROLS[task.modality]:
        strategy = registry.build("strategies", control)
        again = graft.Transfer(entry.source(), strategy=strategy, seed=seed, precision="float32", cache=False)
        again.fit(data.train, data.train_labels)
        controls[control.partition("?")[0]] = right(again.model_, fresh, labels)
    shipped = right(result.model, fresh, labels)
    best = max(controls, key=lambda each: controls[each].mean())
    better, worse = int((shipped & ~controls[best]).sum()), int((~shipped & controls[best]).sum())
    return {
        "task": name, "source": source, "labels": shuffled or "true", "seed": seed,
        "harmful": harmful(source, shuffled),
        "verdict": result.verdict.word, "handed_over": result.handed_over.partition("?")[0], "fresh_rows": len(labels),
        "shipped": float(shipped.mean()), "controls": {each: float(told.mean()) for each, told in controls.items()},
        "best_control": best, "better": better, "worse": worse,
        "p_worse": float(binomtest(worse, better + worse, 0.5, "greater").pvalue) if better + worse else 1.0,
        "seconds": round(time.process_time() - started, 2),
    }  # fmt: skip


def share(told: Sequence[bool]) -> dict[str, Any]:
    """How many, and the exact 95 % interval of the share (Clopper and Pearson)."""
    k, n = sum(told), len(told)
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return {"count": k, "of": n, "share": k / n if n else None, "interval": [round(low, 4), round(high, 4)]}


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was promised, over all pairs and over those that were built to harm."""
    helps = [each for each in found if each["verdict"] == "helps"]

    def gain(each: dict[str, Any]) -> float:
        return float(each["shipped"] - each["controls"][each["best_control"]])

    def worse(some: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            "at_all": share([gain(each) < 0 for each in some]),
            "by_a_point": share([gain(each) < -0.01 for each in some]),
            "beyond_chance": share([gain(each) < 0 and each["p_worse"] < 0.025 for each in some]),
        }

    other = [each for each in found if each["verdict"] != "helps"]
    return {
        "pairs": len({(each["task"], each["source"], each["labels"]) for each in found}),
        "fits": len(found),
        "verdicts": dict(Counter(each["verdict"] for each in found)),
        "shipped_worse_than_best_control": worse(found),
        "of_them_the_best_control_itself_or_another": {
            "transfer": worse(helps),
            "a control": worse(other),
        },
        "false_helps": {
            "of_all": share([each["verdict"] == "helps" and gain(each) <= 0 for each in found]),
            "of_helps": share([gain(each) <= 0 for each in helps]),
            "of_harmful": share([each["verdict"] == "helps" and gain(each) <= 0 for each in found if each["harmful"]]),
        },
        "helps_among_harmful": share([each["verdict"] == "helps" for each in found if each["harmful"]]),
    }


def main() -> None:
    options = arguments(__doc__, cells="", seeds="0")
    path = Path(options.cells or Path(__file__).resolve().parents[1] / "results/choosing_verdicts.jsonl")
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    if len(found) < len(lines):  # a kill left a part of a line
        path.write_text("".join(json.dumps(each) + "\n" for each in found))
    done = {(each["task"], each["source"], each["labels"], each["seed"]) for each in found}
    for seed in map(int, options.seeds.split(",")):
        for name, source, shuffled in PAIRS:
            if (name, source, shuffled or "true", seed) in done:
                continue
            each = measured(name, source, shuffled, seed)
            with open(path, "a") as file:
                file.write(json.dumps(each) + "\n")
            found.append(each)
            print(f"{name:12} {source:20} {shuffled:16} {each['verdict']:12} {each['handed_over']:13} "
                  f"{each['shipped']:.3f} {each['best_control']:9} {each['seconds']:.0f} s", flush=True)  # fmt: skip
    write({"seeds": options.seeds, "controls": CONTROLS, **summary(found)}, options.out)


if __name__ == "__main__":
    main()

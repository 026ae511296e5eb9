"""Wrong labels: robust losses, co-teaching and confident learning, each beside the same model without it.

MiniLM on TREC, and on AG News for what does not train the network; a few hundred rows of which 35 % were given
another class at random, those that the fit validates by among them.  Judged by 300 test rows with their true labels.
Paired: with a seed, all see the same rows and the same wrong labels.  ``last=2`` trains two of MiniLM's six layers.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
from bench import arguments, data_root, paired, write

import graft
from graft import registry

SHARE = 0.35
LAST = "fine_tune?batch_size=16&patience=null&epochs={epochs}&tuning.last=2"
WAYS = {
    "linear_probe": "linear_probe",
    "confident, prune": "confident",
    "confident, weight": "confident?how=weight",
    "fine_tune, last=2": LAST,
    "fine_tune, last=2, gce": LAST + "&tuning.loss=gce",
    "fine_tune, last=2, sce": LAST + "&tuning.loss=sce",
    "fine_tune": "fine_tune?batch_size=16&patience=null&epochs={epochs}",
    "co_teaching": "co_teaching?batch_size=16&patience=null&epochs={epochs}",
}
CLOSED = ("linear_probe", "confident, prune", "confident, weight")
WHOLE = ("fine_tune", "co_teaching")
"""What trains the whole network; it takes longer than all others together, and runs with ``--whole 1``."""
OVER = {
    "confident, prune": "linear_probe",
    "confident, weight": "linear_probe",
    "fine_tune, last=2, gce": "fine_tune, last=2",
    "fine_tune, last=2, sce": "fine_tune, last=2",
    "co_teaching": "fine_tune",
}
"""What each is compared with."""


def texts(name: str) -> tuple[np.ndarray, np.ndarray]:
    folder = data_root() / "text"
    if name == "trec":
        lines = (folder / "sent_conv/TREC.train.all").read_text("latin-1").splitlines()
        # without abbreviations, one row in sixty
        labels, rows = zip(*(line.split(" ", 1) for line in lines if not line.startswith("2 ")), strict=True)
    else:
        frame = pd.read_csv(folder / "ag_news/test.csv", header=None)
        labels, rows = frame[0].astype(str), frame[1] + " " + frame[2]
    return np.array(rows, dtype=object), np.array(labels, dtype=object)


def flipped(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A share of the labels replaced by another class, drawn at random."""
    classes, places = np.unique(labels, return_inverse=True)
    wrong = random.permutation(len(labels))[: round(SHARE * len(labels))]
    places[wrong] = (places[wrong] + random.integers(1, len(classes), len(wrong))) % len(classes)
    return classes[places]


def main() -> None:
    options = arguments(__doc__, seeds=3, rows=240, tests=300, epochs=5, whole=0)
    document: dict[str, Any] = {"seeds": options.seeds, "rows": options.rows, "wrong": SHARE, "sets": {}}
    for name in ("trec", "ag_news"):
        rows, labels = texts(name)
        found: dict[str, list[float]] = {
            way: [] for way in WAYS if way in CLOSED or (name == "trec" and (options.whole or way not in WHOLE))
        }
        for seed in range(options.seeds):
            random = np.random.default_rng(seed)
            train, test = np.split(random.permutation(len(rows))[: options.rows + options.tests], [options.rows])
            given = flipped(labels[train], random)
            for way, each in found.items():
                strategy = registry.build("strategies", WAYS[way].format(epochs=options.epochs))
                model = graft.Transfer(registry.build("sources", "minilm"), strategy=strategy, seed=seed, cache=False)
                model.fit(rows[train].tolist(), given)
                each.append(float(model.score(rows[test].tolist(), labels[test])))
                print(f"{name:8} {way:24} seed {seed} {each[-1]:.3f}", dict(model.history_.chosen), flush=True)
        document["sets"][name] = {
            way: {
                "accuracy": float(np.mean(each)),
                "all": each,
                **({"over": OVER[way], "gain": paired(each, found[OVER[way]])} if way in OVER else {}),
            }
            for way, each in found.items()
        }
    write(document, options.out)


if __name__ == "__main__":
    main()

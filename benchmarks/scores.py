"""How well scores rank ten networks on eight public data sets, by what fine-tuning each of them brought.

The accuracies, and the scores beside them, are those that Transfer-Learning-Library publishes (``tllib.csv``,
from its ``examples/model_selection/README.md``); NCE is left out for DTD, where the page repeats LogME.
``imagenet_top1`` and ``size`` are Graft's own, of the catalogue's cards: whatever a score claims is to be read
beside these two, which look at no row.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from bench import arguments, write

from graft import catalogue, registry
from graft.contracts import Card, Seen
from graft.evaluate.ranking import ranking_metrics

TABLE = Path(__file__).with_name("tllib.csv")
PUBLISHED = ("h_score", "leep", "logme", "nce")
PRIORS = ("imagenet_top1", "size")


def card(network: str) -> Card:
    """The card of the torchvision weights that were fine-tuned."""
    entry = catalogue.find(f"torchvision/{network}.IMAGENET1K_V1")
    assert entry is not None, network
    return Card(entry.name, "image", parameters=entry.parameters, top1=entry.top1)


def prior(name: str, network: str) -> float:
    nothing = Seen(np.zeros((2, 0), np.float32), None, card(network))
    value: float = registry.build("scores", name).score(nothing, np.array([0, 1]))
    return value


def main() -> None:
    options = arguments(__doc__)
    table = pd.read_csv(TABLE)
    for name in PRIORS:
        known = {network: prior(name, network) for network in table["network"].unique()}
        table[name] = table["network"].map(known)
    each: dict[str, dict[str, dict[str, float]]] = {}
    for data, rows in table.groupby("data"):
        for name in (*PUBLISHED, *PRIORS):
            if rows[name].notna().all():
                found = dict(ranking_metrics(rows[name].to_numpy(), rows["accuracy"].to_numpy()))
                each.setdefault(name, {})[str(data)] = {key: round(value, 4) for key, value in found.items()}
    mean = {
        name: {key: round(float(np.mean([row[key] for row in rows.values()])), 4) for key in next(iter(rows.values()))}
        for name, rows in each.items()
    }
    write({"networks": 10, "mean": mean, "each": each}, options.out)


if __name__ == "__main__":
    main()

"""Fine-tuning that holds on to the source beside the plain one: with few rows, and on rows unlike those of training.

Few rows: a quarter of the photos of PACS and of its sketches to learn from, the others to judge by.
Shift: half of the photos of PACS to learn from; the other half, and the other three domains, to judge by.
All from MobileNetV1 0.25 at 96 pixels, and paired: with a seed, all see the same rows, in batches of 16 and at the
same rate, 5e-4; ``default_rate`` repeats some of few rows at 1e-4.  Pictures are made small once: reading them takes
longer than the network.  ``--parts`` runs some parts alone; the others stay as they are in the file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from bench import arguments, data_root, paired, write
from PIL import Image

import graft
from graft import registry
from graft.sources.file import File

SAME = "epochs={epochs}&lr={lr}&"
TUNED = SAME + "tuning.batch_size=16&tuning.patience=null"
FEW = {
    "linear_probe": "linear_probe",
    "fine_tune": "fine_tune?" + SAME + "batch_size=16&patience=null",
    "l2_sp": "l2_sp?" + TUNED,
    "delta": "delta?" + TUNED,
    "bss": "bss?" + TUNED,
    "stoch_norm": "stoch_norm?" + TUNED,
    "kl_anchor": "kl_anchor?" + TUNED,
    "co_tuning": "co_tuning?" + TUNED,
    "bi_tuning": "bi_tuning?" + TUNED,
    "lp_ft": "lp_ft?" + TUNED,
    "wise_ft": "wise_ft?" + TUNED,
    "soup": "soup?epochs={epochs}&lrs=[0.00025,0.0005,0.001]&seeds=[0]&tuning.batch_size=16&tuning.patience=null",
}
SHIFT = {name: FEW[name] for name in ("linear_probe", "fine_tune", "lp_ft", "wise_ft")}
SHIFT["wise_ft_half"] = "wise_ft?alphas=[0.5]&" + TUNED
DEFAULT_RATE = {
    **{name: FEW[name] for name in ("fine_tune", "delta", "kl_anchor", "co_tuning")},
    "co_tuning, weight=0.1": "co_tuning?weight=0.1&" + TUNED,
}
DOMAINS = ("photo", "art_painting", "cartoon", "sketch")
FEW_SHARE, SHIFT_SHARE = 0.25, 0.5
"""Of the rows, to learn from."""
SIZE = 96

Pictures = tuple[list[np.ndarray], np.ndarray]


def source() -> File:
    path = data_root() / "weights/mobilenetv1_025_224_imagenet_float.timm.safetensors"
    return File(
        str(path),
        architecture="timm/mobilenetv1_100",
        options={"pad_type": "same", "num_classes": 1000, "width": 0.25},
        size=SIZE,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def pacs(domain: str) -> Pictures:
    paths = sorted((data_root() / "images/pacs_subset" / domain).glob("*/*.*"))
    side = SIZE * 8 // 7
    small = [np.asarray(Image.open(path).convert("RGB").resize((side, side))) for path in paths]
    return small, np.array([path.parent.name for path in paths])


def taken(pictures: Pictures, chosen: np.ndarray) -> Pictures:
    return [pictures[0][row] for row in np.flatnonzero(chosen)], pictures[1][chosen]


def drawn(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Whether each row is learnt from: a share of every class."""
    draw, chosen = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for each in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == each))
        chosen[rows[: max(2, round(share * len(rows)))]] = True
    return chosen


def fitted(strategy: str, epochs: int, rows: Pictures, seed: int, lr: float = 5e-4) -> graft.Transfer:
    made = registry.build("strategies", strategy.format(epochs=epochs, lr=lr))
    return graft.Transfer(source(), strategy=made, seed=seed, precision="float32").fit(*rows)


def summary(accuracies: Mapping[str, Sequence[float]], over: str) -> dict[str, Any]:
    """Means, and the paired gain over a rival with its interval."""
    return {
        name: {"accuracy": float(np.mean(each)), "gain": paired(each, accuracies[over]), "all": list(each)}
        for name, each in accuracies.items()
    }


def few_rows(
    pictures: Pictures, epochs: int, seeds: int, strategies: Mapping[str, str], lr: float = 5e-4
) -> dict[str, Any]:
    found: dict[str, list[float]] = {name: [] for name in strategies}
    for seed in range(seeds):
        learnt = drawn(pictures[1], FEW_SHARE, seed)
        for name, strategy in strategies.items():
            started = time.perf_counter()
            model = fitted(strategy, epochs, taken(pictures, learnt), seed, lr)
            found[name].append(float(model.score(*taken(pictures, ~learnt))))
            print(f"{name:13} seed {seed} {found[name][-1]:.3f} {time.perf_counter() - started:.1f} s", flush=True)
    return summary(found, "fine_tune")


def shifted(held: Mapping[str, Pictures], epochs: int, seeds: int) -> dict[str, Any]:
    found: dict[str, dict[str, list[float]]] = {domain: {name: [] for name in SHIFT} for domain in DOMAINS}
    for seed in range(seeds):
        learnt = drawn(held["photo"][1], SHIFT_SHARE, seed)
        for name, strategy in SHIFT.items():
            model = fitted(strategy, epochs, taken(held["photo"], learnt), seed)
            for domain in DOMAINS:
                there = taken(held["photo"], ~learnt) if domain == "photo" else held[domain]
                found[domain][name].append(float(model.score(*there)))
            print(
                f"{name:13} seed {seed}", {domain: round(found[domain][name][-1], 3) for domain in DOMAINS}, flush=True
            )
    return {domain: summary(accuracies, "fine_tune") for domain, accuracies in found.items()}


def main() -> None:
    options = arguments(__doc__, seeds=3, epochs=10, parts="few_rows,default_rate,shift")
    held = {domain: pacs(domain) for domain in DOMAINS}
    document: dict[str, Any] = {}
    if options.out is not None and options.out.exists():
        document = json.loads(options.out.read_text())
    document |= {"seeds": options.seeds, "epochs": options.epochs}
    document["rows"] = {
        "few_rows": int(drawn(held["photo"][1], FEW_SHARE, 0).sum()),
        "shift": int(drawn(held["photo"][1], SHIFT_SHARE, 0).sum()),
    }
    few = {
        "few_rows": (FEW, 5e-4, ("photo", "sketch")),
        "default_rate": (DEFAULT_RATE, 1e-4, ("photo",)),
    }
    for part in options.parts.split(","):
        if part == "shift":
            document[part] = shifted(held, options.epochs, options.seeds)
            continue
        names, rate, domains = few[part]
        document[part] = {
            f"pacs_{domain}": few_rows(held[domain], options.epochs, options.seeds, names, rate) for domain in domains
        }
    write(document, options.out)


if __name__ == "__main__":
    main()

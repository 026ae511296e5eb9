"""Fine-tuning that holds on to the source beside the plain one: with few rows, and on rows unlike those of training.

Few rows: 15 % of the photos of PACS, of its sketches and of pictures of CIFAR-10 to learn from, the others to judge by.
Shift: photos of PACS to learn from; photos that were held out, and the other three domains, to judge by.
All from MobileNetV1 0.25 at 128 pixels, and paired: in a round, that is with a seed, all see the same rows.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from bench import arguments, data_root, write

import graft
from graft import registry
from graft.sources.file import File

TUNED = "epochs={epochs}&tuning.patience=null"
FEW = {
    "linear_probe": "linear_probe",
    "fine_tune": "fine_tune?epochs={epochs}&patience=null",
    "l2_sp": "l2_sp?" + TUNED,
    "delta": "delta?" + TUNED,
    "bss": "bss?" + TUNED,
    "stoch_norm": "stoch_norm?" + TUNED,
    "kl_anchor": "kl_anchor?" + TUNED,
    "co_tuning": "co_tuning?" + TUNED,
    "bi_tuning": "bi_tuning?" + TUNED,
    "lp_ft": "lp_ft?" + TUNED,
    "wise_ft": "wise_ft?" + TUNED,
    "soup": "soup?lrs=[0.00003,0.0001,0.0003]&seeds=[0]&" + TUNED,
}
SHIFT = {name: FEW[name] for name in ("linear_probe", "fine_tune", "lp_ft", "wise_ft")}
SHIFT["wise_ft_half"] = "wise_ft?alphas=[0.5]&" + TUNED
DOMAINS = ("photo", "art_painting", "cartoon", "sketch")
SHARE = 0.15
"""Of the rows, to learn from."""
A_CLASS = 40
"""Pictures of CIFAR-10 that are taken of each class."""

Pictures = tuple[np.ndarray, np.ndarray]


def source() -> File:
    path = data_root() / "weights/mobilenetv1_025_224_imagenet_float.timm.safetensors"
    return File(
        str(path),
        architecture="timm/mobilenetv1_100",
        options={"pad_type": "same", "num_classes": 1000, "width": 0.25},
        size=128,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def pacs(domain: str) -> Pictures:
    paths = sorted((data_root() / "images/pacs_subset" / domain).glob("*/*.*"))
    return np.array([str(path) for path in paths]), np.array([path.parent.name for path in paths])


def cifar(folder: Path) -> Pictures:
    """Some of the test pictures, unpacked."""
    taken: dict[str, int] = {}
    paths = []
    with tarfile.open(data_root() / "images/cifar10_jpg.tar.xz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if not member.isfile() or "test" not in parts or taken.get(parts[-2], 0) >= A_CLASS:
                continue
            taken[parts[-2]] = taken.get(parts[-2], 0) + 1
            archive.extract(member, folder, filter="data")
            paths.append(folder / member.name)
            if len(taken) == 10 and min(taken.values()) >= A_CLASS:
                break
    return np.array([str(path) for path in paths]), np.array([path.parent.name for path in paths])


def drawn(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Whether each row is learnt from: a share of every class."""
    draw, chosen = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for each in np.unique(labels):
        rows = draw.permutation(np.flatnonzero(labels == each))
        chosen[rows[: max(2, round(share * len(rows)))]] = True
    return chosen


def fitted(strategy: str, epochs: int, paths: np.ndarray, labels: np.ndarray, seed: int) -> graft.Transfer:
    made = registry.build("strategies", strategy.format(epochs=epochs))
    return graft.Transfer(source(), strategy=made, seed=seed, precision="float32").fit(list(paths), labels)


def summary(accuracies: Mapping[str, Sequence[float]], over: str) -> dict[str, Any]:
    """Means, and the paired gain over a rival with its standard error."""
    found: dict[str, Any] = {}
    for name, each in accuracies.items():
        gains = np.subtract(each, accuracies[over])
        error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else None
        found[name] = {"accuracy": float(np.mean(each)), "gain": float(gains.mean()), "error": error, "all": list(each)}
    return found


def few_rows(pictures: Pictures, epochs: int, seeds: int) -> dict[str, Any]:
    paths, labels = pictures
    found: dict[str, list[float]] = {name: [] for name in FEW}
    for seed in range(seeds):
        learnt = drawn(labels, SHARE, seed)
        for name, strategy in FEW.items():
            started = time.perf_counter()
            model = fitted(strategy, epochs, paths[learnt], labels[learnt], seed)
            found[name].append(float(model.score(list(paths[~learnt]), labels[~learnt])))
            print(f"{name:13} seed {seed} {found[name][-1]:.3f} {time.perf_counter() - started:.1f} s", flush=True)
    return summary(found, "fine_tune")


def shifted(epochs: int, seeds: int) -> dict[str, Any]:
    paths, labels = pacs("photo")
    found: dict[str, dict[str, list[float]]] = {domain: {name: [] for name in SHIFT} for domain in DOMAINS}
    for seed in range(seeds):
        learnt = drawn(labels, 0.7, seed)
        for name, strategy in SHIFT.items():
            model = fitted(strategy, epochs, paths[learnt], labels[learnt], seed)
            for domain in DOMAINS:
                there = (paths[~learnt], labels[~learnt]) if domain == "photo" else pacs(domain)
                found[domain][name].append(float(model.score(list(there[0]), there[1])))
            print(
                f"{name:13} seed {seed}", {domain: round(found[domain][name][-1], 3) for domain in DOMAINS}, flush=True
            )
    return {domain: summary(accuracies, "fine_tune") for domain, accuracies in found.items()}


def main() -> None:
    options = arguments(__doc__, seeds=3, epochs=12)
    started = time.perf_counter()
    document: dict[str, Any] = {"seeds": options.seeds, "epochs": options.epochs, "share": SHARE}
    with tempfile.TemporaryDirectory() as folder:
        sets = {"pacs_photo": pacs("photo"), "pacs_sketch": pacs("sketch"), "cifar10": cifar(Path(folder))}
        document["few_rows"] = {}
        for name, pictures in sets.items():
            print(name, len(pictures[0]), flush=True)
            document["few_rows"][name] = few_rows(pictures, options.epochs, options.seeds)
    document["shift"] = shifted(options.epochs, options.seeds)
    document["seconds"] = time.perf_counter() - started
    write(document, options.out)


if __name__ == "__main__":
    main()

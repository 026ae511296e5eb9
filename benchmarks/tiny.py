"""A linear probe on graft/tiny beside pixels, its untrained twin and its teacher, on pictures none of it learnt from.

Few rows a class to learn from, all others to judge by; a seed draws the rows, and the twin's weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from bench import arguments, data_root, write
from scipy import stats
from sklearn.datasets import load_digits

from graft import compute
from graft.contracts import Array, Backbone
from graft.data.examples import ImageExamples
from graft.evaluate.goal import Goal
from graft.features import Extractor
from graft.linear.models import fit_linear
from graft.nn.initialise import fresh
from graft.sources.file import File
from graft.sources.graft import Graft
from graft.sources.pixels import Pixels

RIGHT = Goal(lambda outputs, targets: float((outputs.argmax(1) == targets).mean()))
"""Accuracy, which penalties are chosen by."""
SOURCES = ("graft/tiny", "untrained", "pixels", "mobilenetv2")


@dataclass(frozen=True)
class Pictures:
    """A data set: ``pool`` are the rows to learn from, and what is not learnt from is judged by where it says so."""

    images: list[Any]
    labels: Array
    pool: Array
    shots: tuple[int, ...]

    def draws(self, shots: int, seed: int) -> tuple[Array, Array]:
        """Rows to learn from, ``shots`` a class, and rows to judge by."""
        draw = np.random.default_rng(seed)
        rows = [draw.permutation(self.pool[self.labels[self.pool] == each])[:shots] for each in np.unique(self.labels)]
        train = np.concatenate(rows)
        apart = np.setdiff1d(np.arange(len(self.labels)), self.pool)
        return train, apart if len(apart) else np.setdiff1d(self.pool, train)


def pictures(root: Path) -> Iterator[tuple[str, Pictures]]:
    """The four data sets."""
    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    yield "digits", Pictures(list(grey), digits.target, np.arange(len(grey)), (10, 50))
    with np.load(root / "images/mnist.npz") as held:  # sorted by class
        draw = np.random.default_rng(0)
        rows = {part: draw.permutation(len(held[f"y_{part}"]))[:2000] for part in ("train", "test")}
        images = np.concatenate([held[f"x_{part}"][rows[part]] for part in rows])
        labels = np.concatenate([held[f"y_{part}"][rows[part]] for part in rows])
    yield "mnist", Pictures(list(images), labels.astype(np.int64), np.arange(2000), (10, 50))
    for domain in ("photo", "sketch"):
        paths = sorted((root / "images/pacs_subset" / domain).glob("*/*.*"))
        _, labels = np.unique([path.parent.name for path in paths], return_inverse=True)
        yield f"pacs_{domain}", Pictures(list(paths), labels, np.arange(len(paths)), (10, 30))


def teacher(root: Path) -> File:
    """MobileNetV2, as it is used at 224 pixels."""
    path = str(root / "weights/mobilenetv2_100_imagenet.timm.safetensors")
    return File(path, "timm/mobilenetv2_100", {"pad_type": "same"}, mean=(0.5,) * 3, std=(0.5,) * 3)


def features(backbone: Backbone, images: list[Any]) -> Array:
    """``(n, d)`` in float32."""
    machine = compute.machine("cpu", "float32")
    return Extractor(backbone.module, backbone.preprocess, machine).run(ImageExamples(images))


def accuracy(x: Array, labels: Array, train: Array, test: Array, seed: int) -> float:
    """Share of the test rows that the probe gets right."""
    count = int(labels.max()) + 1
    targets = torch.from_numpy(labels[train])
    found = fit_linear(x[train], targets, "softmax", n_outputs=count, goal=RIGHT, seed=seed)
    outputs = torch.from_numpy(x[test]) @ found.weight.T + found.bias
    return float((outputs.argmax(1).numpy() == labels[test]).mean())


def summary(values: list[float]) -> dict[str, Any]:
    """Mean and 95 % interval (Student's t over the seeds)."""
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else float("nan")
    return {
        "mean": round(mean, 4),
        "interval": [round(mean - half, 4), round(mean + half, 4)],
        "each": np.round(values, 4).tolist(),
    }


def main() -> None:
    options = arguments(__doc__, seeds=5)
    root = data_root()
    fixed = {"graft/tiny": Graft("tiny").load(), "pixels": Pixels().load(), "mobilenetv2": teacher(root).load()}
    table: dict[str, Any] = {}
    for name, data in pictures(root):
        held = {source: features(backbone, data.images) for source, backbone in fixed.items()}
        for shots in data.shots:
            scores: dict[str, list[float]] = {source: [] for source in SOURCES}
            for seed in range(options.seeds):
                bare = Graft("tiny").load(weights=False)
                held["untrained"] = features(replace(bare, module=fresh(bare.module, seed)), data.images)
                train, test = data.draws(shots, seed)
                for source, values in scores.items():
                    values.append(accuracy(held[source], data.labels, train, test, seed))
            table[f"{name}, {shots} a class"] = {source: summary(values) for source, values in scores.items()}
            print(name, shots, {source: np.mean(values).round(3) for source, values in scores.items()}, flush=True)
    write({"accuracy": table, "seeds": options.seeds}, options.out)


if __name__ == "__main__":
    main()

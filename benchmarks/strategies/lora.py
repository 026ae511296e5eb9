"""LoRA, DoRA, BitFit and adapters beside training the whole network: accuracy on rows apart, and seconds.

The same rows and the same split for all; a seed draws them.  MiniLM on ten classes of Banking77, MobileNetV1 0.25 at
96 pixels on photos of PACS.  Rates are the defaults of each strategy.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd

sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import arguments, data_root, paired, write  # noqa: E402

import graft  # noqa: E402
from graft import registry  # noqa: E402

STRATEGIES = ("linear_probe", "fine_tune", "lora", "dora", "bitfit", "adapter")
OWN = {"fine_tune": "fine_tune?batch_size=16"}
MOBILE = "weights/mobilenetv1_025_224_imagenet_float.timm.safetensors"


def sets() -> Iterator[tuple[str, str, Any, Any, int, int]]:
    """Name, source, rows, labels, rows a class to learn from, and epochs."""
    frame = pd.read_csv(data_root() / "text/banking77/train.csv")
    few = sorted(frame["category"].unique())[:10]
    frame = frame[frame["category"].isin(few)]
    yield "banking77, 10 classes", "minilm", frame["text"].to_numpy(object), frame["category"].to_numpy(object), 10, 10
    paths = sorted((data_root() / "images/pacs_subset/photo").rglob("*.jpg"))
    names = np.array([path.parent.name for path in paths], object)
    pictures = np.array([str(path) for path in paths], object)
    spec = f"file/{data_root() / MOBILE}?architecture=timm/mobilenetv1_100&options.pad_type=same&options.width=0.25"
    yield (
        "pacs photos, mobilenet",
        f"{spec}&options.num_classes=1000&size=96&mean=[0.5,0.5,0.5]&std=[0.5,0.5,0.5]",
        pictures,
        names,
        10,
        10,
    )


def drawn(labels: Any, shots: int, seed: int, apart: int) -> tuple[Any, Any]:
    """Rows to learn from, so many a class, and others to judge by."""
    draw = np.random.default_rng(seed)
    train = np.concatenate([draw.permutation(np.flatnonzero(labels == each))[:shots] for each in np.unique(labels)])
    others = draw.permutation(np.setdiff1d(np.arange(len(labels)), train))[:apart]
    return draw.permutation(train), others


def strategy(name: str, epochs: int) -> Any:
    if name == "linear_probe":
        return registry.build("strategies", name)
    spec = OWN.get(name, f"{name}?tuning.batch_size=16")
    return registry.build("strategies", f"{spec}&epochs={epochs}&tuning.augment=false")


def main() -> None:
    options = arguments(__doc__, seeds=3, apart=200, epochs=0)
    found: dict[str, Any] = {}
    for name, source, rows, labels, shots, epochs in sets():
        each: dict[str, Any] = {kind: {"accuracy": [], "seconds": []} for kind in STRATEGIES}
        for seed in range(options.seeds):
            train, apart = drawn(labels, shots, seed, options.apart)
            for kind in STRATEGIES:
                model = graft.Transfer(
                    registry.build("sources", source),
                    strategy=strategy(kind, options.epochs or epochs),
                    seed=seed,
                    cache=False,
                )
                started = time.perf_counter()
                model.fit(rows[train].tolist(), labels[train])
                each[kind]["seconds"].append(time.perf_counter() - started)
                each[kind]["accuracy"].append(model.score(rows[apart].tolist(), labels[apart]))
                each[kind]["chosen"] = dict(model.history_.chosen)
        for kind, values in each.items():
            values["mean"] = statistics.mean(values["accuracy"])
            values["gain"] = paired(values["accuracy"], each["fine_tune"]["accuracy"])
            values["median_seconds"] = statistics.median(values["seconds"])
            print(f"{name:24} {kind:14} {values['mean']:.3f}  {values['median_seconds']:.1f} s", values["chosen"])
        found[name] = {"rows_a_class": shots, **each}
    write(found, options.out)


if __name__ == "__main__":
    main()

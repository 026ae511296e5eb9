"""PACS photos: does a probe on MobileNetV2 beat pixels and the untrained twin, and is luck never called help?"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from bench import arguments, data_root, write

import graft
from graft.data.examples import ImageExamples
from graft.sources.file import File
from graft.strategies.linear_probe import LinearProbe


class Untrained(File):
    """The same network without its weights."""

    def load(self, weights: bool = True) -> Any:
        return super().load(weights=False)


def source(kind: type[File] = File) -> File:
    return kind(
        str(data_root() / "weights/mobilenetv2_100_imagenet.timm.safetensors"),
        architecture="timm/mobilenetv2_100",
        options={"pad_type": "same", "num_classes": 1001},
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def main() -> None:
    options = arguments(__doc__, seeds=20, budget=120.0)
    folder = data_root() / "images/pacs_subset/photo"
    result = graft.fit(str(folder), source=source(), budget=options.budget, say=lambda step, text: print(step, text))
    print(result.verdict)
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    labels = np.array([path.split("/")[-2] for path in paths])
    order = np.random.default_rng(0).permutation(len(paths))
    train, test = order[: int(0.85 * len(order))], order[int(0.85 * len(order)) :]
    twins = {}
    for name, kind in (("pretrained", File), ("untrained", Untrained)):
        model = graft.Transfer(source(kind), strategy=LinearProbe())
        model.fit([paths[row] for row in train], labels[train])
        twins[name] = model.score([paths[row] for row in test], labels[test])
    shuffled = []
    for seed in range(options.seeds):
        mixed = np.random.default_rng(seed).permutation(labels)
        found = graft.fit((ImageExamples(paths), mixed), source=source(), controls=("majority", "shallow"), seed=seed)
        assert found.verdict is not None
        shuffled.append(found.verdict.word)
        print(seed, found.verdict)
    document = {
        "verdict": str(result.verdict),
        "scores": {name: values["accuracy"].value for name, values in result.scores.items()},
        "left_out": dict(result.left_out),
        "probe_on_twins": twins,
        "shuffled_labels": {word: shuffled.count(word) for word in ("helps", "no evidence", "harms")},
    }
    write(document, options.out)


if __name__ == "__main__":
    main()

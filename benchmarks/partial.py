"""Training the last stages: seconds an epoch where what is frozen is computed once a row, and where it is not.

MiniLM on Banking77 (last layer), ResNet-18 (last stage) and MobileNetV2 (last three stages) on photos and sketches of
PACS without augmentation.  ResNet-18 starts from random weights, which cost the same.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import torch
from bench import arguments, data_root, write

from graft import compute, registry
from graft.contracts import Backbone, Rows, TransferData
from graft.data.examples import ImageExamples, TextExamples
from graft.features import Extractor
from graft.tasks.classification import Classification
from graft.tuning import Tuning, body, tunable, tune


def cases(rows: int) -> Iterator[tuple[str, Backbone, Any, Any, int]]:
    """Name, source, rows, labels, and how many stages train."""
    frame = pd.read_csv(data_root() / "text/banking77/train.csv").sample(frac=1, random_state=0)[:rows]
    texts = TextExamples(frame["text"].tolist())
    yield "minilm", registry.build("sources", "minilm").load(), texts, frame["category"].to_numpy(object), 1
    folder = data_root() / "images/pacs_subset"
    paths = sorted(path for domain in ("photo", "sketch") for path in (folder / domain).rglob("*.jpg"))
    paths = [paths[place] for place in np.random.default_rng(0).permutation(len(paths))[:rows]]
    labels = np.array([path.parent.name for path in paths], dtype=object)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        resnet = registry.build("sources", "timm/resnet18").load(weights=False)
    yield "resnet18", resnet, ImageExamples(paths), labels, 1
    weights = data_root() / "weights/mobilenetv2_100_imagenet.timm.safetensors"
    spec = f"file/{weights}?architecture=timm/mobilenetv2_100&options.pad_type=same&options.num_classes=1001"
    yield "mobilenetv2", registry.build("sources", spec).load(), ImageExamples(paths), labels, 3


def measured(backbone: Backbone, examples: Any, labels: Any, last: int, epochs: int, once: bool) -> dict[str, Any]:
    task = Classification().start(labels)
    targets, cut = task.encode(labels), int(0.8 * len(examples))
    train, valid = (Rows(examples.take(part), targets[part]) for part in np.split(np.arange(len(examples)), [cut]))
    machine = compute.settle(backbone, train.examples, compute.machine(), None)
    state = {name: tensor.clone() for name, tensor in backbone.module.state_dict().items()}
    tuning = Tuning(last=last, augment=False, patience=None)
    grafted = tunable(backbone, task, tuning)
    started = time.perf_counter()
    data = TransferData(train, valid, machine=machine)
    with contextlib.nullcontext() if once else mock.patch.object(body, "frozen_once", return_value=None):
        history = tune(grafted, task, data, epochs=epochs, lr=1e-4, tuning=tuning)
    seconds = time.perf_counter() - started
    outputs = Extractor(grafted, backbone.preprocess, replace(machine, precision="float32")).run(valid.examples)
    backbone.module.load_state_dict(state)
    each = [epoch.seconds for epoch in history.epochs]
    return {
        "seconds_an_epoch": statistics.median(each),
        "seconds_before": seconds - sum(each),
        "seconds": seconds,
        "score": history.score,
        "computed": history.chosen.get("frozen_stages_computed", "every epoch"),
        "outputs": outputs,
    }


def main() -> None:
    options = arguments(__doc__, rows=2000, epochs=5)
    found = {}
    for name, backbone, examples, labels, last in cases(options.rows):
        sides = {
            side: measured(backbone, examples, labels, last, options.epochs, side == "once")
            for side in ("once", "every_epoch")
        }
        outputs = [each.pop("outputs") for each in sides.values()]
        found[name] = {
            "rows": len(examples),
            "stages_that_train": last,
            **sides,
            "epoch_ratio": sides["every_epoch"]["seconds_an_epoch"] / sides["once"]["seconds_an_epoch"],
            "whole_ratio": sides["every_epoch"]["seconds"] / sides["once"]["seconds"],
            "largest_difference_of_an_output": float(np.abs(outputs[0] - outputs[1]).max()),
        }
        print(name, found[name])
    write(found, options.out)


if __name__ == "__main__":
    main()

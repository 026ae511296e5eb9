"""One row from a loaded model: ``predict`` beside the bare forward pass of its network."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import torch
from bench import arguments, data_root, interleaved, write

import graft
from graft import compute
from graft.sources.minilm import Minilm
from graft.strategies.linear_probe import LinearProbe


def main() -> None:
    options = arguments(__doc__, rounds=200)
    table = pd.read_csv(data_root() / "text/banking77/train.csv").iloc[::10]
    fitted = graft.Transfer(Minilm(), strategy=LinearProbe()).fit(table["text"].tolist(), table["category"].tolist())
    with tempfile.TemporaryDirectory() as folder:
        model = graft.load(fitted.save(Path(folder) / "model"))
    text = "What can I do if my card still hasn't arrived after 2 weeks?"
    backbone = model.module.backbone
    trunk = compute.prepared(backbone.module, model.machine)
    batch = backbone.preprocess.collate(backbone.preprocess.items([text]))

    def bare() -> Any:
        with torch.inference_mode():
            return trunk(batch)

    def predict() -> Any:
        return model.predict([text])

    interleaved({"bare": bare, "predict": predict}, 20)
    times = interleaved({"bare": bare, "predict": predict}, options.rounds)
    ratio = float(np.median(np.array(times["predict"]["seconds"]) / np.array(times["bare"]["seconds"])))
    milliseconds = {name: 1000 * each["median"] for name, each in times.items()}
    write({"milliseconds": milliseconds, "ratio": ratio, "precision": model.machine.precision}, options.out)


if __name__ == "__main__":
    main()

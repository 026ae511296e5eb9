"""A student with and without its teacher: soft targets, decoupled, hints, relations; with and without unlabelled rows.

Pictures: PACS, a probe on MobileNetV2 teaches graft/tiny, which starts from no weights.  Tables: adult, a wide
network that saw many labels teaches a narrow one that sees few.  The same rows, seeds and epochs for all; accuracy on
test rows that neither teacher nor student saw, and the paired gain over the student without a teacher.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
from bench import arguments, data_root, paired, write
from PIL import Image

from graft import compute, registry
from graft.contracts import Examples, FittedTask, Request, Rows, Source, TransferData
from graft.data.cells import objects
from graft.data.examples import ImageExamples
from graft.data.split import hold_out
from graft.model import Model
from graft.reading import read
from graft.select.candidates import candidate
from graft.select.trial import run_trial
from graft.strategies.distill import Distill
from graft.tasks.classification import Classification

WAYS: Mapping[str, dict[str, Any]] = {
    "without": {"weight": 0.0},
    "kd": {"how": "kd"},
    "dkd": {"how": "dkd"},
    "hints": {"how": "hints"},
    "relational": {"how": "relational"},
}


@dataclass(frozen=True)
class Setting:
    """Rows, a teacher's recipe and a student's."""

    examples: Examples
    labels: Any
    teacher: Source
    teaching: str
    student: Source
    given: dict[str, Any]
    known: int
    """Labels that the student has."""
    taught: int
    """Rows that the teacher learns from."""


def pictures(scale: float) -> Setting:
    folder = data_root() / "images/pacs_subset"
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    paths = paths[:: max(1, round(1 / scale))]
    teacher = registry.build(
        "sources",
        f"file/{data_root()}/weights/mobilenetv2_100_imagenet.timm.safetensors?architecture=timm/mobilenetv2_100"
        "&options.pad_type=same&options.num_classes=1001&mean=[0.5,0.5,0.5]&std=[0.5,0.5,0.5]",
    )
    given = {"start": "untrained", "epochs": 10, "tuning": {"patience": None}}
    labels = objects([path.split("/")[-2] for path in paths])
    n = len(paths)
    student = registry.build("sources", "graft/tiny")
    # small once: reading takes longer than the student
    small = ImageExamples([np.asarray(Image.open(path).convert("RGB").resize((96, 96))) for path in paths])
    return Setting(small, labels, teacher, "linear_probe", student, given, n // 6, n // 2)


def tables(scale: float) -> Setting:
    frame = pd.read_csv(data_root() / "tables/adultos.csv").sample(int(6000 * scale), random_state=0)
    held = read(frame.reset_index(drop=True), Request(target=frame.columns[-1]))
    assert held.labels is not None
    wide, narrow = (registry.build("sources", f"table/mlp?hidden={hidden}") for hidden in ("[128,128]", "[8]"))
    given = {"start": "untrained", "epochs": 40, "lr": 3e-3, "tuning": {"patience": None}}
    n = len(held.labels)
    return Setting(held.examples, held.labels, wide, "fine_tune?lr=0.001&epochs=10", narrow, given, n // 20, n // 2)


def measured(model: Model, fitted: FittedTask, examples: Examples, labels: Any) -> float:
    outputs = model.outputs(examples)
    return float(np.mean(fitted.decode(outputs) == labels))


def one_seed(setting: Setting, seed: int, cache: Path) -> dict[str, float]:
    """Accuracies of the teacher and of every student, on a third of the rows."""
    task = Classification()
    fitted, examples, labels = task.start(setting.labels), setting.examples, setting.labels
    rest, test = hold_out(examples.keys(), labels, None, 1 / 3, seed)
    rest = np.random.default_rng(seed).permutation(rest)
    machine = compute.machine("cpu", "float32")

    def rows(places: Any) -> Rows:
        return Rows(examples.take(places), fitted.encode(labels[places]))

    def cut(places: Any) -> dict[str, Any]:
        valid = max(len(places) // 5, 1)
        return {"train": rows(places[valid:]), "valid": rows(places[:valid])}

    common = {"seed": seed, "machine": machine, "cache": cache}
    known, more = rest[: setting.known], rest[setting.known : setting.taught]
    chosen = candidate(setting.teacher, registry.build("strategies", setting.teaching), examples.modality)
    teacher = run_trial(chosen, task, fitted, TransferData(**cut(rest[: setting.taught]), **common)).model
    found = {"teacher": measured(teacher, fitted, examples.take(test), labels[test])}
    data = TransferData(**cut(known), **common)
    for name, options in WAYS.items():
        strategy = Distill(None if name == "without" else teacher, **{**setting.given, **options})
        for unlabelled in (None, examples.take(more)) if name == "kd" else (None,):
            view = replace(data, unlabelled=unlabelled)
            student = run_trial(candidate(setting.student, strategy, examples.modality), task, fitted, view).model
            key = f"{name} + {len(more)} unlabelled" if unlabelled is not None else name
            found[key] = measured(student, fitted, examples.take(test), labels[test])
    return found


def summary(runs: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean accuracy, and the paired gain over the student without a teacher."""
    over = [run["without"] for run in runs]
    found = {name: [run[name] for run in runs] for name in runs[0]}
    return {
        name: {"accuracy": float(np.mean(each)), "gain": paired(each, over), "all": each}
        for name, each in found.items()
    }


def main() -> None:
    options = arguments(__doc__, seeds=3, scale=0.3, only="")
    made = {
        "pacs, graft/tiny untrained": lambda: pictures(options.scale),
        "adult, narrow mlp": lambda: tables(options.scale),
    }
    document: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name, make in made.items():
            if options.only not in name:
                continue
            setting = make()
            runs = [one_seed(setting, seed, Path(cache)) for seed in range(options.seeds)]
            found = summary(runs)
            document[name] = {"students": found, "known": setting.known, "taught": setting.taught}
            for way, values in found.items():
                gain = f"{values['gain']['mean']:+.3f} {values['gain']['interval']}"
                print(f"{name:<30} {way:<24} {values['accuracy']:.3f}  {gain}", flush=True)
    write(document, options.out)


if __name__ == "__main__":
    main()

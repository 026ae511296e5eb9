"""Real tasks of few rows, on which choosing a source and a strategy is measured.

A task is a pool of rows that a seed parts anew: few to learn from, all others to judge by, so that features of the
pool serve every seed.  Beyond the pool lie rows that only verdicts are checked by.  Pictures are made small once.
"""

from __future__ import annotations

import csv
import io
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd
from bench import data_root
from PIL import Image

from graft.storage import cache_root

__all__ = ["TASKS", "Drawn", "Pool", "cifar", "folder", "load", "reviews"]

Rows = Any
"""A list of texts, a list of pictures ``(h, w, 3)``, or a frame."""

LONGEST = 160
"""Characters of a review or of a piece of news that are read: the first lines say what it is."""
EDGE = 110
"""Pixels of an edge of a photo: the networks see 96 of them."""


@dataclass(frozen=True)
class Drawn:
    """Rows to learn from and rows to judge by."""

    train: Rows
    train_labels: np.ndarray
    test: Rows
    test_labels: np.ndarray


@dataclass(frozen=True)
class Pool:
    """A task.

    Parameters
    ----------
    rows, labels
        All of them, in an order of no meaning; the first of them are the pool.
    train, test
        How many rows of the pool are learnt from and judged by.
    shots
        Whether every class has as many rows to learn from; else they are drawn as they come.
    """

    name: str
    modality: str
    rows: Rows
    labels: np.ndarray
    train: int
    test: int
    shots: bool = False

    @property
    def pool(self) -> np.ndarray:
        """Places of the pool."""
        return np.arange(min(self.train + self.test, len(self.labels)))

    def at(self, places: np.ndarray) -> Rows:
        """The rows there."""
        if isinstance(self.rows, pd.DataFrame):
            return self.rows.iloc[places].reset_index(drop=True)
        return [self.rows[place] for place in places]

    def places(self, seed: int, train: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Where the rows to learn from lie, and those to judge by."""
        count = self.train if train is None else train
        order = np.random.default_rng(seed).permutation(self.pool)
        if self.shots:
            kinds = np.unique(self.labels[self.pool])
            each = [order[self.labels[order] == kind][: count // len(kinds)] for kind in kinds]
            learnt = np.concatenate(each)
        else:
            learnt = order[:count]
        return learnt, np.setdiff1d(self.pool, learnt)

    def drawn(self, seed: int) -> Drawn:
        """The rows of a seed."""
        learnt, apart = self.places(seed)
        return Drawn(self.at(learnt), self.labels[learnt], self.at(apart), self.labels[apart])


def folder() -> Path:
    """Where pictures that were made small, and checkpoints that were made worse, are kept."""
    place = cache_root() / "choosing"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _mixed(name: str, modality: str, rows: Rows, labels: Any, **sizes: Any) -> Pool:
    """In a random order; for as many rows of all classes, so that any number from the start holds all alike."""
    labels = np.array([str(label) for label in labels], dtype=object)
    draw = np.random.default_rng(0)
    order = draw.permutation(len(labels))
    if sizes.get("shots"):
        turn = np.zeros(len(labels), int)
        for kind in np.unique(labels):
            places = order[labels[order] == kind]
            turn[places] = np.arange(len(places))
        order = order[np.argsort(turn[order], kind="stable")]
    rows = rows.iloc[order].reset_index(drop=True) if isinstance(rows, pd.DataFrame) else [rows[row] for row in order]
    return Pool(name, modality, rows, labels[order], **sizes)


def _texts(name: str, texts: Any, labels: Any, **sizes: Any) -> Pool:
    """Each text once: a copy among the rows to judge by would be known by heart."""
    frame = pd.DataFrame({"text": list(texts), "label": [str(each) for each in labels]})
    frame = frame.drop_duplicates("text", ignore_index=True)
    return _mixed(name, "text", frame["text"].tolist(), frame["label"], **sizes)


def _lines(*names: str) -> tuple[list[str], list[str]]:
    """Label and text of each line, as these sets are written."""
    place = data_root() / "text/sent_conv"
    lines = [line for name in names for line in (place / name).read_bytes().decode("latin-1").split("\n")]
    parted = [line.split(" ", 1) for line in lines if line.strip()]
    return [text for _, text in parted], [label for label, _ in parted]


def _banking() -> tuple[list[str], list[str]]:
    """Messages of every fourth intent."""
    place = data_root() / "text/banking77"
    frame = pd.concat([pd.read_csv(place / f"{name}.csv") for name in ("train", "test")])
    kept = sorted(frame["category"].unique())[::4]
    frame = frame[frame["category"].isin(kept)]
    return frame["text"].tolist(), frame["category"].tolist()


def reviews(domain: str, longest: int = LONGEST) -> tuple[list[str], list[str]]:
    """Beginnings of Amazon reviews, and what their writers think."""
    place = data_root() / "text/amazon_reviews" / domain
    texts, labels = [], []
    for path in sorted(place.iterdir()):
        for line in path.read_text("latin-1").split("\n"):
            if line.strip():
                texts.append(line.strip()[:longest])
                labels.append(path.stem)
    return texts, labels


def _banking77() -> Pool:
    return _texts("banking77", *_banking(), train=160, test=500, shots=True)


def _sst2() -> Pool:
    return _texts("sst2", *_lines("stsa.binary.train", "stsa.binary.test"), train=150, test=500)


def _cr() -> Pool:
    return _texts("cr", *_lines("custrev.all"), train=150, test=500)


def _trec() -> Pool:
    texts, labels = _lines("TREC.train.all", "TREC.test.all")
    kept = [row for row, label in enumerate(labels) if label != "2"]  # abbreviations: one row in sixty
    return _texts("trec", [texts[row] for row in kept], [labels[row] for row in kept], train=150, test=500)


def _ag_news() -> Pool:
    frame = pd.read_csv(data_root() / "text/ag_news/test.csv", header=None)
    return _texts("ag_news", (frame[1] + ". " + frame[2]).str[:LONGEST], frame[0], train=150, test=500)


def _amazon_kitchen() -> Pool:
    return _texts("amazon_kitchen", *reviews("kitchen"), train=150, test=500)


def _small(path: Any) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB").resize((EDGE, EDGE)))


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[:, :, None], 3, 2)


def _pacs(domain: str) -> Pool:
    paths = sorted((data_root() / "images/pacs_subset" / domain).glob("*/*.*"))
    labels = [path.parent.name for path in paths]
    return _mixed(f"pacs_{domain}", "image", [_small(path) for path in paths], labels, train=140, test=280, shots=True)


@lru_cache(maxsize=1)
def cifar() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """300 pictures a class of ``train`` and of ``test``, ``(n, 32, 32, 3)``, with their labels."""
    kept = folder() / "cifar10.npz"
    if not kept.exists():
        found: dict[str, list[Any]] = {"train": [], "test": []}
        with tarfile.open(data_root() / "images/cifar10_jpg.tar.xz", "r|xz") as members:
            for each in members:
                parts = each.name.split("/")
                file = members.extractfile(each) if each.isfile() and each.name.endswith(".jpg") else None
                if file is not None and sum(label == parts[2] for _, label in found[parts[1]]) < 300:
                    found[parts[1]].append((np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")), parts[2]))
        held = {f"{side}_x": np.stack([image for image, _ in rows]) for side, rows in found.items()}
        held |= {f"{side}_y": np.array([label for _, label in rows]) for side, rows in found.items()}
        np.savez(kept, **held)
    with np.load(kept) as held:
        return {side: (held[f"{side}_x"], held[f"{side}_y"]) for side in ("train", "test")}


def _cifar10() -> Pool:
    images, labels = cifar()["test"]  # networks of this zoo learnt from the training images
    return _mixed("cifar10", "image", list(images), labels, train=200, test=500, shots=True)


def _mnist() -> Pool:
    with np.load(data_root() / "images/mnist.npz") as held:
        images, labels = held["x_test"], held["y_test"]
    return _mixed("mnist", "image", [_grey(each) for each in images], labels, train=150, test=500, shots=True)


def _omniglot() -> Pool:
    """Twenty characters of five alphabets, five drawings of each to learn from."""
    images, labels = [], []
    with zipfile.ZipFile(data_root() / "images/omniglot_background_small1.zip") as held:
        names = sorted(name for name in held.namelist() if name.endswith(".png"))
        kinds = sorted({name.rsplit("/", 1)[0] for name in names})
        alphabets = sorted({kind.split("/")[1] for kind in kinds})
        kept = {kind for each in alphabets for kind in [k for k in kinds if k.split("/")[1] == each][:4]}
        for name in names:
            if (kind := name.rsplit("/", 1)[0]) in kept:
                with Image.open(io.BytesIO(held.read(name))) as image:
                    images.append(_grey(np.asarray(image.convert("L").resize((56, 56), Image.Resampling.BILINEAR))))
                labels.append("/".join(kind.split("/")[1:]))
    return _mixed("omniglot", "image", images, labels, train=100, test=300, shots=True)


def _adult() -> Pool:
    frame = pd.read_csv(data_root() / "tables/adultos.csv", skipinitialspace=True)
    frame = frame.rename(columns=lambda name: name.lower()).drop(columns="fnlwgt")
    for name in frame.select_dtypes(exclude="number"):
        frame[name] = frame[name].str.strip()
    labels = frame.pop("above50k").map({0: "below", 1: "above"})
    return _mixed("adult", "table", frame, labels, train=150, test=500)


def _melbourne() -> Pool:
    """House, unit or townhouse?"""
    frame = pd.read_csv(data_root() / "tables/melb_data.csv")
    names = ["Rooms", "Price", "Distance", "Bathroom", "Car", "Landsize", "BuildingArea", "YearBuilt", "Suburb"]
    return _mixed("melbourne", "table", frame[names].rename(columns=str.lower), frame["Type"], train=150, test=500)


TASKS: dict[str, Callable[[], Pool]] = {
    "pacs_photo": lambda: _pacs("photo"),
    "sst2": _sst2,
    "mnist": _mnist,
    "trec": _trec,
    "omniglot": _omniglot,
    "adult": _adult,
    "cr": _cr,
    "cifar10": _cifar10,
    "banking77": _banking77,
    "pacs_sketch": lambda: _pacs("sketch"),
    "melbourne": _melbourne,
    "ag_news": _ag_news,
    "amazon_kitchen": _amazon_kitchen,
}
"""In the order in which the table is filled: kinds of rows by turns, so that a part of it is of use."""


@lru_cache(maxsize=len(TASKS))
def load(name: str) -> Pool:
    """A task by its name."""
    return TASKS[name]()


if __name__ == "__main__":
    writer = csv.writer(sys.stdout)
    writer.writerow(["task", "modality", "rows", "classes", "train", "test", "commonest"])
    for name in TASKS:
        task = load(name)
        learnt, apart = task.places(0)
        shares = pd.Series(task.labels[apart]).value_counts(normalize=True)
        writer.writerow(
            [
                name,
                task.modality,
                len(task.labels),
                len(shares),
                len(learnt),
                len(apart),
                round(float(shares.iloc[0]), 3),
            ]
        )

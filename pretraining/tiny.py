"""Distil MobileNetV2 into graft/tiny: views and the teacher's word on them once, then a student that learns to say it.

Three steps, each of which goes on where it was stopped: ``views.npy`` and ``teacher.npz`` are kept in
the working folder, and so is the state of the student after every epoch.
"""

from __future__ import annotations

import argparse
import json
import math
import tarfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawing import drawn, varied
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from graft import compute
from graft.contracts import Array
from graft.data.examples import ImageExamples
from graft.data.images import open_image
from graft.features import Extractor
from graft.nn.initialise import seeded
from graft.nn.tiny import Tiny
from graft.sources.file import File
from graft.sources.graft import Graft
from graft.storage import file_sha256

EDGE = 64
"""Pixels along the edge of a view, as the student sees it …"""
TEACHER_EDGE = 112
"""… and as the teacher does: half of what it learnt with, which takes a quarter of the time."""
SMALL, LARGE = (32, 32, 40, 48), (48, 64, 64, 80)
"""Edges that batches are resized to, so that the student knows any size; one is drawn for each batch.
Small ones, which cost a quarter, come first."""
GROWS = 0.6
"""Share of the training after which they are large, and views are told apart."""
DOMAINS = ("art_painting", "cartoon")
"""The only domains of PACS that are read; photo and sketch are what the student is tested on."""
KINDS = 256
"""Directions of the teacher's features that the student learns, after whitening."""


@dataclass(frozen=True)
class Targets:
    """What the student is told of each view.

    Parameters
    ----------
    directions
        ``(n, KINDS)`` float16: the teacher's features, whitened.
    logits
        ``(n, c)`` float16: the teacher's own outputs.
    labels
        ``(n,)``: the class of the image in its own data set.
    weights
        ``(n,)``: how likely the view is to be drawn in an epoch.
    """

    directions: Tensor
    logits: Tensor
    labels: Tensor
    weights: Tensor


def cifar(path: Path) -> tuple[list[Image.Image], list[str]]:
    """The training images of CIFAR-10 and their classes; the test images are passed over unread."""
    images, labels = [], []
    with tarfile.open(path) as archive:
        for member in archive:
            folders = Path(member.name).parts
            if member.isfile() and "train" in folders and (file := archive.extractfile(member)):
                images.append(open_image(file.read()))
                labels.append(f"cifar/{folders[-2]}")
    return images, labels


def pacs(folder: Path) -> tuple[list[Image.Image], list[str]]:
    """The images of the allowed domains of PACS and their classes."""
    paths = [path for domain in DOMAINS for path in sorted((folder / domain).glob("*/*.*"))]
    return [open_image(path) for path in paths], [f"pacs/{path.parent.name}" for path in paths]


def part(image: Image.Image, edge: int, draw: np.random.Generator) -> Image.Image:
    """A random part of 35 % to 100 % of the image, resized."""
    width, height = image.size
    share, aspect = draw.uniform(0.35, 1.0), math.exp(draw.uniform(-0.25, 0.25))
    w = min(width, width * math.sqrt(share * aspect))
    h = min(height, height * math.sqrt(share / aspect))
    left, top = draw.uniform(0, width - w), draw.uniform(0, height - h)
    return image.resize((edge, edge), Image.Resampling.BICUBIC, (left, top, left + w, top + h))


def make_views(images: list[Image.Image], copies: int, drawings: int, edge: int, seed: int) -> Array:
    """``(len(images) * copies, edge, edge, 3)`` uint8; the last ``drawings`` of each image's copies are drawn."""
    draw = np.random.default_rng(seed)
    views = np.empty((len(images) * copies, edge, edge, 3), np.uint8)
    for place in range(len(views)):
        views[place] = np.asarray(part(images[place // copies], edge, draw))
    chosen = np.flatnonzero(np.arange(len(views)) % copies >= copies - drawings)
    generator = torch.Generator().manual_seed(seed)
    for rows in np.array_split(chosen, max(1, len(chosen) // 512)):
        pixels = torch.from_numpy(views[rows]).permute(0, 3, 1, 2).float().div_(255)
        sketches = drawn(pixels, generator).mul_(255).round_().to(torch.uint8)
        views[rows] = sketches.permute(0, 2, 3, 1).numpy()
    return views


def ask_teacher(teacher: File, views: Array) -> Array:
    """``(n, d)`` features of the views, by Graft's own engine."""
    backbone = teacher.load()
    # A few bits of noise in what a student is told do no harm, and bfloat16 takes half of the time.
    machine = compute.machine("cpu", "bfloat16")
    preprocess = replace(backbone.preprocess, crop=1.0)  # a view is a crop already
    extractor = Extractor(backbone.module, preprocess, machine)
    parts = np.array_split(np.arange(len(views)), max(1, len(views) // 8192))
    found = []
    for number, rows in enumerate(parts):
        started = time.monotonic()
        found.append(extractor.run(ImageExamples(list(views[rows]))).astype(np.float16))
        say(f"teacher: part {number + 1} of {len(parts)}, {len(rows) / (time.monotonic() - started):.0f} views/s")
    return np.concatenate(found)


def prepare(options: argparse.Namespace) -> None:
    """Write the views and the teacher's features, unless they are there."""
    if (options.work / "teacher.npz").exists():
        return
    teacher = File(
        str(options.teacher), "timm/mobilenetv2_100", {"pad_type": "same"}, TEACHER_EDGE, (0.5,) * 3, (0.5,) * 3
    )
    views, features, labels, weights = [], [], [], []
    sets = ((cifar(options.cifar), 2, 1, EDGE, 1.0), (pacs(options.pacs), 18, 6, TEACHER_EDGE, options.pacs_weight))
    for seed, ((images, names), copies, drawings, edge, weight) in enumerate(sets):
        started = time.monotonic()
        made = make_views(images, copies, drawings, edge, seed)
        say(f"{len(made)} views of {len(images)} images in {time.monotonic() - started:.0f} s")
        features.append(ask_teacher(teacher, made))
        views.append(made if edge == EDGE else shrunk(made))
        labels += [name for name in names for _ in range(copies)]
        # A photo is drawn twice as often as a drawing that was made of one.
        each = [2.0 / (copies - drawings)] * (copies - drawings) + [1.0 / drawings] * drawings
        weights += [weight * share for share in each] * len(images)
    np.save(options.work / "views.npy", np.concatenate(views))
    classes, targets = np.unique(labels, return_inverse=True)
    np.savez(
        options.work / "teacher.npz",
        features=np.concatenate(features), labels=targets, classes=classes, weights=np.array(weights),
    )  # fmt: skip


def shrunk(views: Array) -> Array:
    """Views at the student's edge."""
    return np.stack([np.asarray(Image.fromarray(view).resize((EDGE, EDGE), Image.Resampling.BOX)) for view in views])


def read_targets(options: argparse.Namespace) -> Targets:
    """Whitened features and logits of all views."""
    held = np.load(options.work / "teacher.npz", allow_pickle=False)
    features = torch.from_numpy(held["features"])
    backbone = File(str(options.teacher), "timm/mobilenetv2_100", {"pad_type": "same"}).load()
    assert backbone.head is not None
    weight, bias = (value.detach() for value in (backbone.head.weight, backbone.head.bias))
    mean = features.float().mean(0)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for rows in features.split(16384):
        centred = rows.float() - mean
        covariance += (centred.T @ centred).double()
    values, vectors = torch.linalg.eigh(covariance / len(features))
    # A floor under the eigenvalues keeps the weakest directions from being as loud as the strongest.
    scale = (values[-KINDS:] + 0.3 * values[-KINDS:].mean()).rsqrt()
    whiten = (vectors[:, -KINDS:] * scale).float()
    return Targets(
        directions=torch.cat([((rows.float() - mean) @ whiten).half() for rows in features.split(16384)]),
        logits=torch.cat([(rows.float() @ weight.T + bias).half() for rows in features.split(16384)]),
        labels=torch.from_numpy(held["labels"]),
        weights=torch.from_numpy(held["weights"]).double(),
    )


class Student(nn.Module):
    """The network, and the linear layers that read its last two stages, through which it is told what to learn."""

    def __init__(self, outputs: int, classes: int) -> None:
        super().__init__()
        self.network = Tiny()
        self.read = self.network.widths[-1] + self.network.grid**2 * self.network.widths[-2]
        self.directions = nn.Linear(self.read, KINDS)
        self.logits = nn.Linear(self.read, outputs)
        self.labels = nn.Linear(self.read, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.network(images)[:, : self.read]
        return self.directions(features).float(), self.logits(features).float(), self.labels(features).float()


def loss_of(said: tuple[Tensor, Tensor, Tensor], targets: Targets, rows: Tensor, apart: bool) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and its parts: direction, logits, labels, and (where ``apart``) which view it is.

    The last asks that a view's direction is the teacher's for this view rather than for another
    of the batch (Tian et al., 2020): what tells two drawings apart counts, not only what they share.
    """
    directions, logits, labels = said
    warmth, sharpness = 2.0, 10.0
    wanted = functional.softmax(targets.logits[rows].float() / warmth, 1)
    told = functional.normalize(targets.directions[rows].float())
    alike = functional.normalize(directions) @ told.T
    parts = torch.stack([
        1 - alike.diagonal().mean(),
        functional.kl_div(functional.log_softmax(logits / warmth, 1), wanted, reduction="batchmean"),
        functional.cross_entropy(labels, targets.labels[rows], label_smoothing=0.1),
        functional.cross_entropy(sharpness * alike, torch.arange(len(rows))) if apart else torch.zeros(()),
    ])  # fmt: skip
    return (parts * torch.tensor([4.0, 1.0, 0.5, 0.5])).sum(), parts.detach()


def averaged(mean: nn.Module, now: nn.Module, step: int) -> None:
    """Move the running mean of the weights a little towards the weights."""
    keep = min(0.998, (1 + step) / (10 + step))
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), now.state_dict().values(), strict=True):
            old.lerp_(new, 1 - keep) if old.is_floating_point() else old.copy_(new)


def train(options: argparse.Namespace) -> None:
    """The student; its state is written after every epoch, and so are the weights so far."""
    targets = read_targets(options)
    views = np.load(options.work / "views.npy", mmap_mode="r")
    with seeded(options.seed):
        student = Student(targets.logits.shape[1], int(targets.labels.max()) + 1)
        mean = Student(targets.logits.shape[1], int(targets.labels.max()) + 1)
    student, mean = (each.to(memory_format=torch.channels_last) for each in (student, mean))
    plain = [value for value in student.parameters() if value.ndim < 2]
    heavy = [value for value in student.parameters() if value.ndim > 1]
    optimiser = torch.optim.AdamW(
        [{"params": heavy, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}], lr=options.rate, fused=True
    )
    steps = options.rows // options.batch
    first, spent = 0, 0.0
    kept = options.work / "student.pt"
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        student.load_state_dict(state["student"])
        mean.load_state_dict(state["mean"])
        optimiser.load_state_dict(state["optimiser"])
        first, spent = state["epoch"], state["seconds"]
    started = time.monotonic() - spent
    for epoch in range(first, options.epochs):
        random = torch.Generator().manual_seed(1000 * options.seed + epoch)
        rows = torch.multinomial(targets.weights, steps * options.batch, generator=random)
        sums, begun = torch.zeros(4), time.monotonic()
        for step, chosen in enumerate(rows.split(options.batch)):
            gone = (time.monotonic() - started) / (60 * options.minutes)
            share = min(1.0, max((epoch * steps + step) / (options.epochs * steps), gone))
            rise = min(1.0, (epoch * steps + step + 1) / 400)
            for group in optimiser.param_groups:
                group["lr"] = options.rate * rise * max(0.5 * (1 + math.cos(math.pi * share)), 1e-4)
            sizes = SMALL if share < GROWS else LARGE
            size = sizes[int(torch.randint(len(sizes), (), generator=random))]
            images = torch.from_numpy(views[chosen.numpy()]).permute(0, 3, 1, 2).float().div_(255)
            images = varied(resized(images, size), random).mul_(4).sub_(2)  # mean 0.5, deviation 0.25 of a channel
            with torch.autocast("cpu", torch.bfloat16):
                said = student(images.contiguous(memory_format=torch.channels_last))
            value, parts = loss_of(said, targets, chosen, apart=share >= GROWS)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 5.0)
            optimiser.step()
            averaged(mean, student, epoch * steps + step)
            sums += parts
            if step % 50 == 49:
                pace = (step + 1) * options.batch / (time.monotonic() - begun)
                say(f"epoch {epoch + 1} step {step + 1}/{steps}: {(sums / (step + 1)).tolist()} {pace:.0f} images/s")
        state = {"student": student.state_dict(), "mean": mean.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save({**state, "epoch": epoch + 1, "seconds": time.monotonic() - started}, kept.with_suffix(".new"))
        kept.with_suffix(".new").replace(kept)
        write(mean.network, options.out)
        say(f"epoch {epoch + 1} of {options.epochs} done after {(time.monotonic() - started) / 60:.1f} minutes")
        if time.monotonic() - started >= 60 * options.minutes:
            break


def resized(images: Tensor, size: int) -> Tensor:
    """Images at another edge."""
    if size == images.shape[-1]:
        return images
    return functional.interpolate(images, size=(size, size), mode="bilinear", antialias=size < images.shape[-1])


def write(network: nn.Module, out: Path) -> None:
    """The weights: convolutions in float16, which halves the file; norms as they are."""
    state: dict[str, Any] = {
        name: (value.half() if value.ndim > 1 else value).contiguous().clone()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(state, out)
    out.chmod(0o644)


def describe(out: Path, figures: Path | None) -> None:
    """The card beside the weights: what they are, and how well a linear probe on them does."""
    card = Graft("tiny").load(weights=False).card
    stated: dict[str, Any] = {
        "name": card.name,
        "sha256": file_sha256(out),
        "parameters": card.parameters,
        "flops": card.flops,
        "licence": "Apache-2.0",
        "pretraining": "CIFAR-10 (training images), PACS (paintings, cartoons), taught by MobileNetV2 (ImageNet-1k)",
        "data": {
            "CIFAR-10, training images": "no licence stated",
            "PACS, art_painting and cartoon (840 images)": "no licence stated",
            "MobileNetV2 1.0 for ImageNet-1k, the teacher": "Apache-2.0",
        },
        "recipe": "pretraining/tiny.py",
    }
    if figures is not None:
        table = json.loads(figures.read_text())["accuracy"]
        stated["accuracy of a linear probe"] = {
            task: {source: values["mean"] for source, values in row.items()} for task, row in table.items()
        }
    out.with_suffix(".json").write_text(json.dumps(stated, indent=1) + "\n")


def say(text: str) -> None:
    """A line of the log, now."""
    print(text, flush=True)


def main() -> None:
    """Read what is asked for, and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, help="what benchmarks/tiny.py wrote, for the card; trains nothing")
    parser.add_argument("--teacher", type=Path, help="safetensors of timm's mobilenetv2_100")
    parser.add_argument("--cifar", type=Path, help="tar of CIFAR-10 as JPEG, train/<class>/*.jpg in it")
    parser.add_argument("--pacs", type=Path, help="folder of PACS, <domain>/<class>/*")
    parser.add_argument("--work", type=Path, help="folder for views, targets and the running state")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rows", type=int, default=25600, help="views an epoch")
    parser.add_argument("--minutes", type=float, default=math.inf, help="the rates reach 0 by then at the latest")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--pacs-weight", type=float, default=8.0, help="how often a PACS image is drawn; CIFAR's: 1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.figures is not None:
        describe(options.out, options.figures)
        return
    for name in ("teacher", "cifar", "pacs", "work"):
        if getattr(options, name) is None:
            parser.error(f"--{name} is needed to train")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    prepare(options)
    torch.set_num_threads(options.threads)
    train(options)
    describe(options.out, None)


if __name__ == "__main__":
    main()

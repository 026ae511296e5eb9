"""Seconds to load a source: Graft beside the library that made it, all packages imported already.

Checkpoints of hub and torchvision names are written with random weights into caches of their own, as no
network is needed to time reading, checking, hashing and matching.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CACHE = Path(tempfile.mkdtemp(prefix="graft-loading-"))
os.environ |= {"HF_HUB_CACHE": str(CACHE / "hub"), "TORCH_HOME": str(CACHE / "torch"), "HF_HUB_OFFLINE": "1"}

import numpy as np  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
from bench import arguments, data_root, interleaved, write  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from graft import registry  # noqa: E402

Pair = tuple[Callable[[], Any], Callable[[], Any]]


def timm_pair(name: str) -> Pair:
    """A hub name of timm, its snapshot in the cache."""
    config = timm.get_pretrained_cfg(name)
    folder = CACHE / "hub" / f"models--{config.hf_hub_id.rstrip('/').replace('/', '--')}"
    commit = "0" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    save_file(timm.create_model(name).state_dict(), folder / "snapshots" / commit / "model.safetensors")
    return lambda: timm.create_model(name, pretrained=True), registry.build("sources", f"timm/{name}").load


def torchvision_pair(name: str) -> Pair:
    """A name of torchvision, its file in the cache."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    place = CACHE / "torch/hub/checkpoints" / weights.url.rsplit("/", 1)[-1]
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torchvision.models.get_model(name).state_dict(), place)
    source = registry.build("sources", f"torchvision/{name}")
    return lambda: torchvision.models.get_model(name, weights=weights), source.load


def text_pair() -> Pair:
    """The folder of MiniLM, by transformers."""
    from transformers import AutoModel, AutoTokenizer

    from graft.sources import minilm

    folder = str(minilm._folder())

    def theirs() -> Any:
        return AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    return theirs, registry.build("sources", f"hf/{folder}").load


def file_pair() -> Pair:
    """A safetensors file, by timm."""
    path = data_root() / "weights/mobilenetv2_100_imagenet.timm.safetensors"

    def theirs() -> Any:
        model = timm.create_model("mobilenetv2_100", num_classes=1001, pad_type="same")
        model.load_state_dict(load_file(path))
        return model

    spec = f"file/{path}?architecture=timm/mobilenetv2_100&options.pad_type=same"
    return theirs, registry.build("sources", spec).load


def keras_pair() -> Pair:
    """A Keras weights file, by Keras."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    path = data_root() / "weights/mobilenet_v1_0.25_224_imagenet.h5"

    def theirs() -> Any:
        return keras.applications.MobileNet(alpha=0.25, weights=str(path))

    spec = f"keras/{path}?architecture=MobileNet&options.alpha=0.25"
    return theirs, registry.build("sources", spec).load


def main() -> None:
    options = arguments(__doc__, rounds=7)
    document: dict[str, Any] = {}
    pairs: dict[str, Callable[[], Pair]] = {
        "timm/resnet50.a1_in1k": lambda: timm_pair("resnet50.a1_in1k"),
        "timm/vit_base_patch16_224.augreg_in21k": lambda: timm_pair("vit_base_patch16_224.augreg_in21k"),
        "torchvision/resnet50": lambda: torchvision_pair("resnet50"),
        "hf (MiniLM)": text_pair,
        "file (MobileNetV2)": file_pair,
        "keras (MobileNet 0.25)": keras_pair,
    }
    for name, make in pairs.items():
        theirs, ours = make()
        theirs()
        ours()
        before = set(sys.modules)
        times = interleaved({"graft": ours, "library": theirs}, options.rounds)
        ratio = np.array(times["graft"]["seconds"]) / np.array(times["library"]["seconds"])
        document[name] = {
            "seconds": {each: value["median"] for each, value in times.items()},
            "ratio": {"median": float(np.median(ratio)), "best": times["graft"]["best"] / times["library"]["best"]},
            "modules_imported_again": len(set(sys.modules) - before),
        }
    write(document, options.out)


if __name__ == "__main__":
    main()

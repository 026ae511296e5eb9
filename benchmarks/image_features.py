"""Images per second of frozen features from JPEG files: Graft beside a DataLoader and a float32 loop.

224-pixel JPEGs are made from the PACS photos; where the time goes is measured apart: decode,
transform, forward.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from bench import arguments, data_root, interleaved, write
from PIL import Image
from timm.data import create_transform

from graft import compute
from graft.contracts import Backbone
from graft.data.examples import ImageExamples
from graft.data.preprocess.images import ImagePreprocess
from graft.features import extract
from graft.sources.file import File
from graft.sources.timm import Timm


class _Files(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, paths: list[Path], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        tensor: torch.Tensor = self.transform(Image.open(self.paths[row]).convert("RGB"))
        return tensor


def plain(model: torch.nn.Module, paths: list[Path], shape: ImagePreprocess) -> np.ndarray:
    """What one writes first: a DataLoader with its defaults, float32, no gradient."""
    transform = create_transform(
        (3, *shape.size), mean=shape.mean, std=shape.std, interpolation=shape.interpolation, crop_pct=shape.crop
    )
    loader = torch.utils.data.DataLoader(_Files(paths, transform), batch_size=32)
    with torch.no_grad():
        return torch.cat([model(batch) for batch in loader]).numpy()


def shares(backbone: Backbone, paths: list[Path], precision: Any) -> dict[str, float]:
    """Milliseconds an image of each part, one after the other on this machine."""
    machine = compute.machine("cpu", precision)
    examples = ImageExamples(paths)
    started = time.perf_counter()
    pictures = [examples[row] for row in range(len(paths))]
    decoded = time.perf_counter()
    items = backbone.preprocess.items(pictures)
    shaped = time.perf_counter()
    module = compute.prepared(backbone.module, machine)
    batches = [backbone.preprocess.collate(items[at : at + 32]) for at in range(0, len(items), 32)]
    with torch.inference_mode():
        module(compute.to_device(batches[0], machine, next(module.parameters()).dtype))
        ready = time.perf_counter()
        for batch in batches:
            module(compute.to_device(batch, machine, next(module.parameters()).dtype))
    done = time.perf_counter()
    each = 1000 / len(paths)
    return {
        "decode": (decoded - started) * each,
        "transform": (shaped - decoded) * each,
        "forward": (done - ready) * each,
    }


def main() -> None:
    options = arguments(__doc__, rounds=3, images=420)
    weights = data_root() / "weights/mobilenetv2_100_imagenet.timm.safetensors"
    mobilenet = File(
        str(weights), architecture="timm/mobilenetv2_100", options={"pad_type": "same", "num_classes": 1001},
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    pairs = {
        "mobilenetv2": (mobilenet.load(), timm.create_model("mobilenetv2_100", num_classes=0, pad_type="same").eval()),
        "resnet18": (Timm("resnet18").load(weights=False), timm.create_model("resnet18", num_classes=0).eval()),
    }
    document: dict[str, Any] = {"images": options.images}
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for place, path in enumerate(
            sorted((data_root() / "images/pacs_subset/photo").rglob("*.jpg"))[: options.images]
        ):
            paths.append(Path(folder) / f"{place}.jpg")
            Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC).save(paths[-1], quality=92)
        for name, (backbone, model) in pairs.items():
            state = backbone.module.state_dict()
            model.load_state_dict({key.removeprefix("network."): state[key] for key in state if "network." in key})
            shape = backbone.preprocess
            examples = ImageExamples(paths)
            machine = compute.settle(backbone, examples, compute.machine(), None)
            kept: dict[str, np.ndarray] = {}

            def ours(backbone: Any = backbone, machine: Any = machine, kept: Any = kept) -> None:
                kept["graft"] = extract(backbone, ImageExamples(paths), machine=machine, cache=None)

            def theirs(model: Any = model, kept: Any = kept, shape: Any = shape) -> None:
                kept["plain"] = plain(model, paths, shape)

            ours()
            times = interleaved({"graft": ours, "plain": theirs}, options.rounds)
            ratios = np.array(times["plain"]["seconds"]) / np.array(times["graft"]["seconds"])
            cosine = (kept["graft"] * kept["plain"]).sum(1) / (
                np.linalg.norm(kept["graft"], axis=1) * np.linalg.norm(kept["plain"], axis=1)
            )
            document[name] = {
                "precision": machine.precision,
                "images_per_second": {each: len(paths) / value["median"] for each, value in times.items()},
                "ratio": {"median": float(np.median(ratios)), "each": ratios.tolist()},
                "cosine_minimum": float(cosine.min()),
                "milliseconds_an_image": shares(backbone, paths, machine.precision),
            }
    write(document, options.out)


if __name__ == "__main__":
    main()

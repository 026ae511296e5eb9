"""Clips per second of spectrogram features from sound files: Graft beside a DataLoader and a float32 loop.

Five-second clips of noise and tones at 44.1 kHz go over the bridge from sound to spectrogram into
MobileNetV2 and ResNet-18; the rival turns clip after clip into the same picture, and runs the network as
one writes it first.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import timm
import torch
from bench import arguments, interleaved, write

from graft import compute
from graft.bridges.spectrogram import Spectrogram
from graft.data.examples import AudioExamples
from graft.data.sounds import open_sound
from graft.features import extract
from graft.sources.bridged import Bridged
from graft.sources.timm import Timm

RATE = 44_100


class _Clips(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, paths: list[Path], bridge: Spectrogram, preprocess: Any) -> None:
        self.paths, self.bridge, self.preprocess = paths, bridge, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        image = self.bridge.convert(open_sound(self.paths[row]))
        pixels = self.preprocess.items([image])[0].float() / 255
        mean, std = (torch.tensor(each)[:, None, None] for each in (self.preprocess.mean, self.preprocess.std))
        return (pixels - mean) / std


def main() -> None:
    options = arguments(__doc__, rounds=3, clips=240)
    draw = np.random.default_rng(0)
    document: dict[str, Any] = {"clips": options.clips}
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for place in range(options.clips):
            seconds = np.arange(int(RATE * draw.uniform(4, 6))) / RATE
            tone = np.sin(2 * np.pi * draw.uniform(100, 4000) * seconds) + draw.normal(0, 0.3, len(seconds))
            paths.append(Path(folder) / f"{place}.wav")
            soundfile.write(paths[-1], (0.3 * tone).astype(np.float32), RATE)
        bridge = Spectrogram()
        for name in ("mobilenetv2_100", "resnet18"):
            backbone = Bridged(Timm(name), bridge).load(weights=False)
            inner = Timm(name).load(weights=False).preprocess.uncropped()
            model = timm.create_model(name, num_classes=0).eval()
            state = backbone.module.state_dict()
            model.load_state_dict({key.removeprefix("network."): state[key] for key in state if "network." in key})
            machine = compute.settle(backbone, AudioExamples(paths), compute.machine(), None)
            kept: dict[str, np.ndarray] = {}

            def ours(backbone: Any = backbone, machine: Any = machine, kept: Any = kept) -> None:
                kept["graft"] = extract(backbone, AudioExamples(paths), machine=machine, cache=None)

            def theirs(model: Any = model, kept: Any = kept, inner: Any = inner) -> None:
                loader = torch.utils.data.DataLoader(_Clips(paths, bridge, inner), batch_size=32)
                with torch.no_grad():
                    kept["plain"] = torch.cat([model(batch) for batch in loader]).numpy()

            ours()
            times = interleaved({"graft": ours, "plain": theirs}, options.rounds)
            ratios = np.array(times["plain"]["seconds"]) / np.array(times["graft"]["seconds"])
            cosine = torch.nn.functional.cosine_similarity(*map(torch.from_numpy, (kept["graft"], kept["plain"])))
            document[name] = {
                "precision": machine.precision,
                "clips_per_second": {each: len(paths) / value["median"] for each, value in times.items()},
                "ratio": {"median": float(np.median(ratios)), "each": ratios.tolist()},
                "cosine_minimum": float(cosine.min()),
            }
    write(document, options.out)


if __name__ == "__main__":
    main()

"""One MultiModalPredictor of AutoGluon, run by the Python of an environment that has it; ``apart.called`` starts it.

Its presets ask hubs for checkpoints; no hub is reached, so it starts from what the order names: the folder of a text
encoder, or the file of a timm network.  These are as good as what Graft may choose from, and set as they want to be
(mean pooling; padding and norm of the network), everything else is AutoGluon's own.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")


def told(**found: Any) -> None:
    """The answer, on a line of its own: the library prints what it likes."""
    print("\n" + json.dumps(found), flush=True)
    os._exit(0)  # its loaders and loggers may outlive it


def network(order: dict[str, Any], place: Path) -> dict[str, Any]:
    """What it starts from, as its hyperparameters; a timm network as the folder that it reads."""
    start = order["start"]
    if order["modality"] == "text":
        return {
            "model.names": ["hf_text"],
            "model.hf_text.checkpoint_name": start["folder"],
            "model.hf_text.pooling_mode": "mean",
        }
    import timm
    import torch
    from autogluon.multimodal.models import timm_image
    from safetensors.torch import load_file

    bare = timm.create_model(start["architecture"], num_classes=0, **start["options"])
    state = {name: value for name, value in load_file(start["file"]).items() if name in bare.state_dict()}
    torch.save(state, place / "pytorch_model.bin")
    config = {"architecture": start["architecture"], "num_features": bare.num_features}
    config |= {"input_size": start["size"], "mean": start["mean"], "std": start["std"]}
    (place / "config.json").write_text(json.dumps(config))
    timm_image.create_model = functools.partial(timm.create_model, **start["options"])
    return {
        "model.names": ["timm_image"],
        "model.timm_image.checkpoint_name": str(place),
        "model.timm_image.image_norm": "inception",  # what this network learnt with: numbers from -1 to 1
    }


def frame(order: dict[str, Any], path: str) -> Any:
    """Rows with a column ``label``."""
    import pandas as pd

    if order["target"] is not None:
        return pd.read_csv(path)
    files = sorted(Path(path).glob("*/*.png"))
    return pd.DataFrame({"image": [str(each) for each in files], "label": [each.parent.name for each in files]})


def main() -> None:
    order = json.loads(sys.argv[1])
    if order["start"] is None:
        told(failed=f"no checkpoint for rows of this kind ({order['modality']}) is at hand that it can start from")
    import torch
    from autogluon.multimodal import MultiModalPredictor

    torch.set_num_threads(order["threads"])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "network"
        place.mkdir()
        settings = network(order, place) | {"env.num_gpus": 0, "env.num_workers": 0, "env.num_workers_inference": 0}
        train, test = frame(order, order["train"]), frame(order, order["test"])
        started = time.monotonic()
        predictor = MultiModalPredictor(
            label="label", problem_type="classification", eval_metric="accuracy",
            path=str(Path(folder) / "model"), verbosity=0,
        )  # fmt: skip
        predictor.fit(train, time_limit=order["seconds"], seed=order["seed"], hyperparameters=settings)
        seconds = time.monotonic() - started
        said = predictor.predict(test.drop(columns="label"))
        score = float((said.to_numpy(str) == test["label"].to_numpy(str)).mean())
        told(seconds=seconds, score=score, metric="accuracy", chosen=order["start"]["name"])


if __name__ == "__main__":
    main()

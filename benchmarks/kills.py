"""SIGKILL at random times over ``graft fit``, started again until it ends: the same bytes as an undisturbed run?"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from bench import arguments, data_root, write

from graft import bundle, manifest

VARIANTS = (
    ["--strategy", "linear_probe", "--control", "majority", "--control", "shallow"],
    ["--strategy", "fine_tune?epochs=3&lr=3e-4", "--control", "majority"],
)
"""A closed form on cached features, and a training loop with its checkpoints."""


def command(rows: Path, output: Path, variant: int) -> list[str]:
    graft = str(Path(sys.executable).with_name("graft"))
    return [graft, "fit", str(rows), "--source", "minilm", *VARIANTS[variant], "--output", str(output), "--quiet"]


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def main() -> None:
    options = arguments(__doc__, kills=50, rows=400, seed=0)
    random.seed(options.seed)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.csv"
        table = pd.read_csv(data_root() / "text/banking77/train.csv")
        kept = table[table["category"].isin(sorted(table["category"].unique())[:8])]
        kept.sample(options.rows, random_state=0).to_csv(rows, index=False)
        whole, expected = [], []
        for variant in range(len(VARIANTS)):
            started = time.monotonic()
            calm = {**environment, "GRAFT_CACHE": str(folder / f"calm-cache-{variant}")}
            output = folder / f"calm-{variant}"
            subprocess.run(command(rows, output, variant), env=calm, check=True, stdout=subprocess.DEVNULL)
            whole.append(time.monotonic() - started)
            expected.append(contents(output))
        kills = runs = corrupt = different = 0
        while kills < options.kills:
            variant = runs % len(VARIANTS)
            runs += 1
            stormy = {**environment, "GRAFT_CACHE": str(folder / f"cache-{runs}")}
            output = folder / f"stormy-{runs}"
            while True:
                process = subprocess.Popen(
                    command(rows, output, variant),
                    env=stormy,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                try:
                    process.wait(timeout=random.uniform(0.2, 1.0) * whole[variant] if kills < options.kills else None)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                    if output.exists():
                        corrupt += _is_corrupt(output)
            corrupt += _is_corrupt(output)
            different += contents(output) != expected[variant]
            shutil.rmtree(output)
            print(f"run {runs}: {kills} kills, {corrupt} corrupt, {different} different", file=sys.stderr, flush=True)
    document = {"kills": kills, "runs": runs, "corrupt": corrupt, "different": different, "seconds_undisturbed": whole}
    write(document, options.out)


def _is_corrupt(output: Path) -> bool:
    try:
        manifest.verify(output)
    except bundle.BundleError:
        return True
    return False


if __name__ == "__main__":
    main()

"""What the benchmarks share: where data lie, the machine in words, interleaved timing, JSON out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["arguments", "data_root", "interleaved", "machine", "paired", "write"]

ROOT = Path(__file__).resolve().parents[1]


def data_root() -> Path:
    """Folder of the public data sets: ``$GRAFT_TEST_DATA``, else ``shared/data`` beside the clone."""
    folder = Path(os.environ.get("GRAFT_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        raise SystemExit(f"{folder} is absent; point GRAFT_TEST_DATA at the data sets that benchmarks/README.md names")
    return folder


def arguments(doc: str | None, **options: Any) -> argparse.Namespace:
    """``--out FILE`` and the given options, with their defaults."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """Processor, threads, load and versions."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "amx_bf16": "amx_bf16" in flags,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "timm", "numpy")},
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def interleaved(rivals: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds of each rival, run in turn, so that a busy neighbour slows them all alike."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {
        name: {"seconds": each, "median": statistics.median(each), "best": min(each)} for name, each in times.items()
    }


def paired(ours: Sequence[float], over: Sequence[float]) -> dict[str, Any]:
    """Mean gain of ours over the other, on the same rows seed by seed, and Student's 95 % interval over seeds."""
    gains = np.subtract(ours, over)
    reach = float(stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)) if len(gains) > 1 else float("inf")
    return {"mean": float(gains.mean()), "interval": [float(gains.mean()) + side * reach for side in (-1, 1)]}


def write(document: dict[str, Any], out: Path | None) -> None:
    """Print the document, and keep it where asked."""
    text = json.dumps({**document, "machine": machine()}, indent=1)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")

"""Peak resident memory of extracting features of 100 000 rows beside 10 000: it should not grow."""

from __future__ import annotations

import json
import subprocess
import sys

from bench import arguments, write

CHILD = """
import json, resource, sys, tempfile
from pathlib import Path
import numpy as np
from graft import compute
from graft.features import stream
from graft.sources.minilm import Minilm

class Numbered:
    modality = "text"
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __getitem__(self, row): return f"message number {row} about card {row % 977}"
    def name(self, row): return f"row {row}"
    def keys(self):
        keys = np.zeros((self.n, 16), np.uint8)
        keys[:, :8] = np.arange(self.n, dtype="<u8").view(np.uint8).reshape(self.n, 8)
        return keys
    def take(self, rows): raise NotImplementedError

n = int(sys.argv[1])
backbone = Minilm().load()
examples = Numbered(n)
machine = compute.settle(backbone, Numbered(256), compute.machine(), None)
total = np.zeros(backbone.dim)
with tempfile.TemporaryDirectory() as cache:
    for features in stream(backbone, examples, machine=machine, cache=Path(cache)):
        total += features.sum(0)
print(json.dumps({"rows": n, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def main() -> None:
    options = arguments(__doc__, few=10_000, many=100_000)
    found = {}
    for n in (options.few, options.many):
        done = subprocess.run([sys.executable, "-c", CHILD, str(n)], capture_output=True, text=True, check=True)
        found[n] = json.loads(done.stdout)["peak_mb"]
    write({"peak_mb": found, "ratio": found[options.many] / found[options.few]}, options.out)


if __name__ == "__main__":
    main()

"""What lies in a checkpoint's folder: files of weights, their names by content, and the model card."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from graft.errors import WeightsError
from graft.nn.hub.config import read_json
from graft.nn.state_files import read_state
from graft.storage import digest, file_sha256

__all__ = ["Held", "hold", "tensors", "weights_in"]

_BLOB = re.compile(r"[0-9a-f]{64}")
_LISTED = 6
"""Data sets that a card names."""


class Held:
    """The weights of a checkpoint on disk, named by their content while other work goes on.

    Parameters
    ----------
    files
        All safetensors files, in the order that they are read.
    facts
        Licence and training data, where the model card states them.
    revision
        Names the weights; ``None`` takes the first file's own digest.
    """

    def __init__(self, files: Sequence[Path], facts: Mapping[str, Any], revision: str | None) -> None:
        self.files = tuple(files)
        self._facts = dict(facts)
        self._revision = revision
        self._content: Future[list[str]] = Future()

    def start(self) -> None:
        """Read the files once more for their digests, beside the thread that loads them."""
        workers = ThreadPoolExecutor(1)
        self._content = workers.submit(lambda: [_name(path) for path in self.files])
        workers.shutdown(wait=False)

    def facts(self, left: Sequence[str] = ()) -> dict[str, Any]:
        """Fields of the card; ``left`` names what nothing took from the files."""
        return {
            **self._facts,
            "bytes": sum(path.stat().st_size for path in self.files),
            "notes": (f"left out of the checkpoint: {', '.join(left)}",) if left else (),
            "revision": self._revision or self._content.result()[0],
        }

    def fingerprint(self, *files: Mapping[str, bytes]) -> str:
        """Names weights and the small files that belong to them by content."""
        return digest(*self._content.result(), *(value for held in files for value in held.values()))


def hold(folder: Path, files: Sequence[Path], revision: str | None = None) -> Held:
    """Start to name the weights in ``files`` of a checkpoint in ``folder``."""
    held = Held(files, _readme(folder), revision)
    held.start()
    return held


def tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    """All tensors of a checkpoint's files, by name; they stay on the disk until they are used.

    Raises
    ------
    WeightsError
        Where a file is damaged.
    """
    state: dict[str, Tensor] = {}
    for path in files:
        state.update(read_state(path))
    return state


def weights_in(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of the network in a folder.

    Raises
    ------
    WeightsError
        Where there is none; says how to convert what is there.
    """
    listing = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return (folder / "model.safetensors",)
    if listing.is_file():
        places = read_json(listing).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise WeightsError(f"{listing} says for no weight in which file it is. Fetch it again.")
        names = {PurePosixPath(str(name)).name for name in places.values()}
        return tuple(folder / name for name in sorted(names))
    others = sorted(path.name for path in folder.glob("*.bin"))
    raise WeightsError(
        f"{folder} has no model.safetensors"
        + (f", only {', '.join(others)}, which can run code when it is read" if others else "")
        + ". Where you trust it, convert it once: "
        "transformers.AutoModel.from_pretrained(folder).save_pretrained(folder)."
    )


def _name(path: Path) -> str:
    """The SHA-256 of a file; the hub's cache names large ones by it already."""
    real = path.resolve()
    if real.parent.name == "blobs" and _BLOB.fullmatch(real.name):
        return real.name
    facts = real.stat()
    return _digest(real, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed: int, inode: int) -> str:
    """Kept while the file stays what it is: a run loads the same one many times."""
    return file_sha256(path)


def _readme(folder: Path) -> dict[str, Any]:
    """Licence and training data from the head of the model card; what it does not say stays unknown."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:65536]
    except OSError:
        return {}
    found = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    stated: dict[str, list[str]] = {}
    key = ""
    for line in found.group(1).splitlines() if found else []:
        if line.lstrip().startswith("- ") and key:
            stated[key].append(_plain(line.lstrip()[2:]))
        elif line[:1].strip() and ":" in line:
            key, _, value = line.partition(":")
            stated[key] = [_plain(entry) for entry in value.strip().strip("[]").split(",") if _plain(entry)]
        elif line[:1].strip():
            key = ""
    facts: dict[str, Any] = {}
    if licence := [*stated.get("license", []), *stated.get("license_name", [])]:
        # "other" sends the reader to the name of a licence that the hub does not list.
        facts["licence"] = licence[-1] if licence[0] == "other" else licence[0]
    if data := [entry for entry in stated.get("datasets", []) if entry]:
        facts["pretraining"] = ", ".join(data[:_LISTED]) + (", …" if len(data) > _LISTED else "")
    return facts


def _plain(value: str) -> str:
    return value.strip().strip("'\"").strip()

"""Text encoders of the Hugging Face hub, and folders of their kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from graft.contracts import Backbone, Source
from graft.data.preprocess.tokens import TokenPreprocess
from graft.errors import RequestError, UnavailableError, WeightsError
from graft.nn.hub_config import TEXT_ENCODERS
from graft.nn.text_checkpoint import backbone
from graft.nn.text_recipe import Recipe, config_files, read, transformer_folder, weight_files

__all__ = ["HF"]

_SMALL = ["*.json", "*.txt", "*.model", "README.md"]
_WEIGHTS = ["*.safetensors"]
_NEVER = ["onnx/*", "openvino/*", "*.bin", "*.py"]


class HF(Source):
    """Text encoders of the Hugging Face hub (transformers, sentence-transformers), by name or from a local folder.

    Parameters
    ----------
    name
        ``owner/name`` on the hub, or the path of a folder.
    revision
        A commit, tag or branch of the hub's repository; ``None`` takes the one in the cache, else
        the newest.
    pooling
        ``mean``, ``cls``, ``max`` or ``lasttoken``; ``None`` does as the checkpoint says, or takes
        the mean where it says nothing.

    Examples
    --------
    >>> HF("sentence-transformers/all-MiniLM-L6-v2").reads()
    'text'
    """

    modality: ClassVar[str] = "text"

    def __init__(self, name: str, revision: str | None = None, pooling: str | None = None) -> None:
        self.name = name
        self.revision = revision
        self.pooling = pooling

    def load(self, weights: bool = True) -> Backbone:
        folder = self._folder(weights)
        recipe = read(folder, self.pooling)
        preprocess = TokenPreprocess.from_folder(transformer_folder(folder), recipe.longest, recipe.pad)
        return backbone(
            recipe,
            preprocess,
            name=f"hf/{self.name}",
            folder=folder,
            weights=weights,
            revision=folder.name if folder.parent.name == "snapshots" else None,
        )

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        return backbone(Recipe.from_files(files), TokenPreprocess.from_files(files), name=f"hf/{self.name}")

    @classmethod
    def local(cls) -> tuple[str, ...]:
        from huggingface_hub import constants

        found = []
        for held in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
            if any(_is_encoder(config.parent) for config in held.glob("snapshots/*/config.json")):
                found.append("hf/" + held.name.removeprefix("models--").replace("--", "/"))
        return tuple(found)

    def _folder(self, weights: bool) -> Path:
        if Path(self.name).is_dir():
            return Path(self.name)
        if self.name.startswith((".", "/", "~")) or self.name.count("/") > 1 or not self.name:
            raise UnavailableError(
                f"there is no folder {self.name!r}; give a folder that exists, or owner/name of the hub."
            )
        return self._snapshot(weights)

    def _snapshot(self, weights: bool) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        lacks = None
        try:
            held = Path(snapshot_download(self.name, revision=self.revision, local_files_only=True))
            lacks = _missing(held, weights)
            if lacks is None:
                return held
        except LocalEntryNotFoundError:
            pass
        except HFValidationError as exc:
            raise RequestError(f"{self.name!r} is no name of the hub ({exc}); expected owner/name.") from exc
        patterns = [*_SMALL, *(_WEIGHTS if weights else [])]
        try:
            held = Path(
                snapshot_download(self.name, revision=self.revision, allow_patterns=patterns, ignore_patterns=_NEVER)
            )
        except Exception as exc:
            # The transport has errors of its own, other ones with every version of the hub's client.
            reason = (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
            raise self._absent(f"{lacks} is missing: {reason}" if lacks else reason) from exc
        if lacks := _missing(held, weights):  # without a network the hub's client gives what little it has
            raise self._absent(f"{lacks} is missing; a repository that has none needs converting first")
        return held

    def _absent(self, reason: str) -> UnavailableError:
        fetch = f"hf download {self.name}" + (f" --revision {self.revision}" if self.revision else "")
        return UnavailableError(
            f"hf/{self.name} is not on this machine, or not all of it, and cannot be fetched now ({reason}). "
            f"Where there is a network: {fetch}"
        )


def _missing(folder: Path, weights: bool) -> str | None:
    """The first file that a snapshot in the hub's cache lacks; ``None`` where it is enough to go on with."""
    try:
        held = transformer_folder(folder)
        wanted = list(config_files(folder))
        wanted += [] if (held / "vocab.txt").is_file() else [held / "tokenizer.json"]
        if weights and not (held / "model.safetensors.index.json").is_file():
            wanted.append(held / "model.safetensors")
        lost = [path for path in wanted if not path.is_file()]
        if weights and not lost:
            lost = [path for path in weight_files(folder) if not path.is_file()]
    except WeightsError:  # nothing is missing: whoever reads it says what is wrong
        return None
    return lost[0].relative_to(folder).as_posix() if lost else None


def _is_encoder(folder: Path) -> bool:
    """Whether a snapshot holds an encoder that Graft builds, and its weights."""
    try:
        kind = json.loads((folder / "config.json").read_bytes()).get("model_type")
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(kind, str) and kind in TEXT_ENCODERS and _missing(folder, True) is None

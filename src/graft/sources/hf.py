"""Encoders of the Hugging Face hub for text, images and sound, and folders of their kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft.contracts import Backbone, FeatureMaps, Source
from graft.data.preprocess.hub_images import HubImages
from graft.data.preprocess.hub_mels import HubMels
from graft.data.preprocess.hub_waves import HubWaves
from graft.data.preprocess.stated import FILES
from graft.data.preprocess.tokens import TokenPreprocess
from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.fetch import offline
from graft.nn.architectures import Images
from graft.nn.hub.config import clean, modality_of, read_json
from graft.nn.hub.images import image_backbone
from graft.nn.hub.maps import image_maps
from graft.nn.hub.recipe import Recipe, config_files, read, transformer_folder, weight_files
from graft.nn.hub.sounds import audio_backbone
from graft.nn.hub.texts import backbone
from graft.nn.hub.towers import joined, reach, rejoined

__all__ = ["HF"]

_SMALL = ["*.json", "*.txt", "*.model", "README.md"]
_WEIGHTS = ["*.safetensors"]
_NEVER = ["onnx/*", "openvino/*", "original/*", "consolidated*", "*.bin", "*.py"]
_LISTS = "encoder.json"
_MELS = ("audio-spectrogram-transformer", "whisper")


class HF(Source):
    """A checkpoint of transformers or sentence-transformers, by its name on the hub or from a local folder.

    Text encoders and decoders, image encoders and sound encoders; which of them it is, its
    ``config.json`` says.  Weights are read from safetensors alone, and no code of a checkpoint runs.

    Parameters
    ----------
    name
        ``owner/name`` on the hub, or the path of a folder.
    revision
        A commit, tag or branch of the hub's repository; ``None`` takes the one in the cache, else
        the newest.
    pooling
        For text: ``mean``, ``cls``, ``max`` or ``lasttoken``; ``None`` does as the checkpoint says,
        or, where it says nothing, takes the last token of a decoder, the token that an encoder's own
        classifier reads, else the mean.
    seconds
        For sound: how much of a clip is heard, as far as the network reaches.
    joint
        For images: the features of CLIP or SigLIP in the space that images and texts share, so that
        ``zero_shot`` can read the names of classes.

    Examples
    --------
    >>> HF("facebook/dinov2-small", revision="main")
    HF(name='facebook/dinov2-small', revision='main')
    """

    def __init__(
        self,
        name: str,
        revision: str | None = None,
        pooling: str | None = None,
        seconds: float = 30.0,
        joint: bool = False,
    ) -> None:
        self.name = name
        self.revision = revision
        self.pooling = pooling
        self.seconds = seconds
        self.joint = joint

    def reads(self) -> str:
        if Path(self.name).is_dir():
            return _modality(Path(self.name))
        self._check_name()
        for file in ("modules.json", "config.json"):
            if held := self._cached(file):
                return _modality(held.parent)
        return _modality(self._fetched("config.json").parent)

    def load(self, weights: bool = True) -> Backbone:
        folder = self._folder(weights)
        revision = folder.name if folder.parent.name == "snapshots" else None
        named: dict[str, Any] = {"name": f"hf/{self.name}", "folder": folder, "weights": weights, "revision": revision}
        modality = _modality(folder)
        if self.joint and modality != "image":
            raise RequestError(f"joint is for networks of images and texts; hf/{self.name} reads {modality} alone.")
        if modality == "text":
            recipe = read(folder, self.pooling)
            tokens = TokenPreprocess.from_folder(transformer_folder(folder), recipe.longest, recipe.pad)
            return backbone(recipe, tokens, **named)
        self._check_pooling(modality)
        config = clean(read_json(folder / "config.json"))
        if modality == "image":
            images = HubImages.from_folder(folder, str(config["model_type"]))
            made = image_backbone(config, images, Images(**vars(images)), **named)
            return self._joined(made, folder, weights) if self.joint else made
        kind = HubMels if config["model_type"] in _MELS else HubWaves
        return audio_backbone(config, kind.from_folder(folder, config, self.seconds), **named)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        try:
            config = json.loads(files[_LISTS])["config"]
            modality = modality_of(config)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise BundleError(f"{_LISTS} is missing or damaged ({exc!r}); save or fetch the model again.") from exc
        name = f"hf/{self.name}"
        if modality == "text":
            return backbone(Recipe.from_files(files), TokenPreprocess.from_files(files), name=name)
        config = clean(config)
        if modality == "image":
            images = HubImages.from_files(files)
            return rejoined(image_backbone(config, images, Images(**vars(images)), name=name), files)
        kind = HubMels if config["model_type"] in _MELS else HubWaves
        return audio_backbone(config, kind.from_files(files), name=name)

    def maps(self, weights: bool = True) -> FeatureMaps:
        if (modality := self.reads()) != "image":
            raise RequestError(f"hf/{self.name} reads {modality}; only image encoders have feature maps.")
        held = self.load(weights)
        return image_maps(held)

    @classmethod
    def local(cls) -> tuple[str, ...]:
        from huggingface_hub import constants

        found = []
        for held in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
            if any(_is_encoder(config.parent) for config in held.glob("snapshots/*/config.json")):
                found.append("hf/" + held.name.removeprefix("models--").replace("--", "/"))
        return tuple(found)

    def _joined(self, made: Backbone, folder: Path, weights: bool) -> Backbone:
        """With the tower for texts, which reads words."""
        stated = read_json(folder / "config.json")
        tokens = TokenPreprocess.from_folder(folder, *reach(stated))
        return joined(made, stated, folder, tokens if weights else None)

    def _check_pooling(self, modality: str) -> None:
        if self.pooling is not None:
            raise RequestError(
                f"pooling is {self.pooling!r}, but hf/{self.name} reads {modality}, and pools as it was trained to; "
                "leave pooling out."
            )

    def _check_name(self) -> None:
        if self.name.startswith((".", "/", "~")) or self.name.count("/") > 1 or not self.name:
            raise UnavailableError(
                f"there is no folder {self.name!r}; give a folder that exists, or owner/name of the hub."
            )

    def _folder(self, weights: bool) -> Path:
        if Path(self.name).is_dir():
            return Path(self.name)
        self._check_name()
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
        self._check_network(f"{lacks} is missing, and " if lacks else "")
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

    def _cached(self, file: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            found = try_to_load_from_cache(self.name, file, revision=self.revision)
        except HFValidationError as exc:
            raise RequestError(f"{self.name!r} is no name of the hub ({exc}); expected owner/name.") from exc
        return Path(found) if isinstance(found, str) else None

    def _fetched(self, file: str) -> Path:
        from huggingface_hub import hf_hub_download

        self._check_network()
        try:
            return Path(hf_hub_download(self.name, file, revision=self.revision))
        except Exception as exc:  # as in _snapshot
            raise self._absent((str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")) from exc

    def _check_network(self, before: str = "") -> None:
        if (switch := offline()) == "GRAFT_OFFLINE":  # of which the hub's own client does not know
            raise self._absent(f"{before}{switch} is set")

    def _absent(self, reason: str) -> UnavailableError:
        fetch = f"hf download {self.name}" + (f" --revision {self.revision}" if self.revision else "")
        return UnavailableError(
            f"hf/{self.name} is not on this machine, or not all of it, and cannot be fetched now ({reason}). "
            f"Where there is a network: {fetch}"
        )


def _modality(folder: Path) -> str:
    """What the checkpoint in a folder reads; only sentence-transformers lists modules, and those of text are built."""
    return "text" if (folder / "modules.json").is_file() else modality_of(read_json(folder / "config.json"))


def _missing(folder: Path, weights: bool) -> str | None:
    """The first file that a snapshot in the hub's cache lacks; ``None`` where it is enough to go on with."""
    try:
        held = transformer_folder(folder)
        wanted = list(config_files(folder))
        lost = [path for path in wanted if not path.is_file()]
        if not lost and _modality(folder) == "text":
            wanted += [] if (held / "vocab.txt").is_file() else [held / "tokenizer.json"]
        elif not lost and not any((folder / name).is_file() for name in FILES):
            wanted.append(folder / FILES[0])
        if weights and not (held / "model.safetensors.index.json").is_file():
            wanted.append(held / "model.safetensors")
        lost = [path for path in wanted if not path.is_file()]
        if weights and not lost:
            lost = [path for path in weight_files(folder) if not path.is_file()]
    except (WeightsError, UnknownNameError):  # nothing is missing: whoever reads it says what is wrong
        return None
    return lost[0].relative_to(folder).as_posix() if lost else None


def _is_encoder(folder: Path) -> bool:
    """Whether a snapshot holds a network that Graft builds, and its weights."""
    try:
        _modality(folder)
    except (WeightsError, UnknownNameError):
        return False
    return _missing(folder, True) is None

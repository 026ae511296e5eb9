"""The image models of timm."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from graft.contracts import Backbone, Card, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.nn import architectures
from graft.nn.initialise import seeded
from graft.storage import digest, file_sha256

__all__ = ["Timm"]

_FILE = "architecture.json"
_WEIGHTS = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")

# What the last part of a tag says that the weights learnt from.
_PRETRAINING = {
    "in1k": "ImageNet-1k",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "laion2b": "LAION-2B",
    "laion400m": "LAION-400M",
    "openai": "OpenAI's image-text pairs",
    "datacompxl": "DataComp-XL",
    "webli": "WebLI",
}


class Timm(Source):
    """Any pretrained image model of timm, by name and tag, with the preprocessing of its checkpoint.

    Parameters
    ----------
    name
        As timm writes it, such as ``resnet18`` or ``vit_small_patch14_dinov2.lvd142m``.
    size
        Edge of the images in pixels, or ``[height, width]``; ``None`` takes the checkpoint's own.

    Examples
    --------
    >>> Timm("resnet18").load(weights=False).dim
    512
    """

    modality: ClassVar[str] = "image"

    def __init__(self, name: str, size: int | Sequence[int] | None = None) -> None:
        self.name = name
        self.size = size

    def load(self, weights: bool = True) -> Backbone:
        from timm.models import get_pretrained_cfg

        name, images = f"timm/{_full(self.name)}", self._images()
        config = get_pretrained_cfg(name.removeprefix("timm/")).to_dict()
        if not weights:
            return self._backbone(architectures.network(name), name, images, config, None, None)
        network, held = _pretrained(name.removeprefix("timm/"), config)
        return self._backbone(network, name, images, config, _revision(held), held)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        try:
            stated = json.loads(files[_FILE])
            name = str(stated["name"])
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc
        preprocess = ImagePreprocess.from_files(files)
        images = architectures.Images(**vars(preprocess))
        return self._backbone(architectures.network(name), name, images, {}, None, None)

    @classmethod
    def local(cls) -> tuple[str, ...]:
        from huggingface_hub import constants

        folders = sorted(Path(constants.HF_HUB_CACHE).glob("models--timm--*"))
        return tuple(
            f"timm/{folder.name.removeprefix('models--timm--')}"
            for folder in folders
            if any(any(folder.glob(f"snapshots/*/{file}")) for file in _WEIGHTS)
        )

    def _images(self) -> architectures.Images:
        images = architectures.expected(f"timm/{_full(self.name)}")
        return images if self.size is None else replace(images, size=_edges(self.size))

    def _backbone(
        self,
        network: nn.Module,
        name: str,
        images: architectures.Images,
        config: Mapping[str, Any],
        revision: str | None,
        held: Path | None,
    ) -> Backbone:
        parts = architectures.split(network, name, None, images)
        preprocess = ImagePreprocess(**vars(images))
        files = {_FILE: json.dumps({"name": name}).encode(), **preprocess.files()}
        card = Card(
            name=name,
            modality="image",
            parameters=sum(value.numel() for value in parts.module.parameters()),
            bytes=held.stat().st_size if held else None,
            licence=config.get("license"),
            pretraining=_pretraining(config.get("tag")) if revision else "none",
            revision=revision,
        )
        return Backbone(
            module=parts.module,
            dim=parts.dim,
            preprocess=preprocess,
            stages=parts.stages,
            card=card,
            head=parts.head,
            files=files,
            fingerprint=digest(revision, *files.values()) if revision else None,
        )


def _full(name: str) -> str:
    """The name with its tag, so that what is saved names one checkpoint."""
    import timm
    from timm.models import get_pretrained_cfg

    model, _, tag = name.partition(".")
    if model not in (known := timm.list_models()):
        raise UnknownNameError("timm model", name, known)
    tags = timm.list_models(f"{model}.*", include_tags=True)
    if tag and name not in tags:
        raise UnknownNameError(f"tag of timm's {model}", name, tags)
    config = get_pretrained_cfg(name)
    return f"{model}.{config.tag}" if config and config.tag else name


def _edges(size: int | Sequence[int]) -> tuple[int, int]:
    edges = (size, size) if isinstance(size, int) else tuple(size)
    if len(edges) != 2 or not all(isinstance(edge, int) and edge > 0 for edge in edges):
        raise RequestError(f"the image size is {size!r}; expected a number of pixels, or [height, width].")
    return edges[0], edges[1]


def _pretrained(name: str, config: Mapping[str, Any]) -> tuple[nn.Module, Path]:
    """The network with its weights, and the file that they came from."""
    import timm
    from huggingface_hub import constants
    from safetensors import SafetensorError

    repository, url = config.get("hf_hub_id"), config.get("url")
    if not repository and not url and not config.get("file"):
        tags = timm.list_models(f"{name.partition('.')[0]}.*", pretrained=True)
        raise RequestError(
            f"timm has no weights for {name}; with weights there are: {', '.join(tags) or 'none of this architecture'}."
        )
    if repository and _cached(config) is None and constants.HF_HUB_OFFLINE:
        raise _absent(name, config, "HF_HUB_OFFLINE is set")
    try:
        with seeded(0):
            network = timm.create_model(name, pretrained=True)
    except (RuntimeError, SafetensorError, ValueError, KeyError, pickle.UnpicklingError) as exc:
        if isinstance(exc, OSError):  # the hub's "not in the cache" is both
            raise _absent(name, config, _first_line(exc)) from exc
        raise WeightsError(f"the weights of timm/{name} do not fit or are damaged: {exc}. Fetch them again.") from exc
    except Exception as exc:  # the hub's transport has errors of its own, which share no base with others
        raise _absent(name, config, _first_line(exc)) from exc
    held = _cached(config)
    if held is None:
        raise _absent(name, config, "what was fetched is not in the cache")
    return network, held


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")


def _absent(name: str, config: Mapping[str, Any], reason: str) -> UnavailableError:
    repository = config.get("hf_hub_id")
    fetch = f"hf download {repository}" if repository else f"curl -LO {config.get('url')}"
    return UnavailableError(
        f"the weights of timm/{name} are not on this machine, and cannot be fetched now ({reason}). "
        f"Where there is a network: {fetch}"
    )


def _cached(config: Mapping[str, Any]) -> Path | None:
    """The file of weights in the cache of the hub, or of torch."""
    from huggingface_hub import try_to_load_from_cache
    from torch.hub import get_dir

    if repository := config.get("hf_hub_id"):
        stem, _, revision = repository.partition("@")
        named = config.get("hf_hub_filename")
        for file in (named,) if named else _WEIGHTS:
            found = try_to_load_from_cache(stem, file, revision=revision or None)
            if isinstance(found, str):
                return Path(found)
        return None
    if url := config.get("url"):
        file = url.rsplit("/", 1)[-1] if isinstance(url, str) else url[1]
        held = Path(get_dir()) / "checkpoints" / file
        return held if held.is_file() else None
    return None


def _revision(held: Path) -> str:
    """The hub's revision, which names the content; else the content's own digest."""
    return held.parent.name if held.parent.parent.name == "snapshots" else file_sha256(held)


def _pretraining(tag: str | None) -> str | None:
    parts = [_PRETRAINING[part] for part in (tag or "").split("_") if part in _PRETRAINING]
    return ", then ".join(parts) or tag

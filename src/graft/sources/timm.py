"""The image models of timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from torch import nn

from graft.contracts import Backbone, Card, FeatureMaps, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.errors import GraftError
from graft.nn import architectures, timm_checkpoint
from graft.nn.feature_maps import timm_features, timm_pyramid
from graft.nn.hub.config import read_json
from graft.nn.image_backbone import assembled, described, edges, stated
from graft.nn.timm_checkpoint import WEIGHTS, Checkpoint

__all__ = ["Timm"]

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
        As timm writes it, such as ``resnet18`` or ``vit_small_patch14_dinov2.lvd142m``; or
        ``hf-hub:<owner>/<name>`` for a repository of anybody on the Hugging Face hub, of which the
        architecture and its options are taken where they are known here.
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
        checkpoint = timm_checkpoint.resolve(self.name)
        images = self._images(checkpoint)
        file = timm_checkpoint.fetched(checkpoint) if weights else None
        network = (
            timm_checkpoint.filled(checkpoint, file)
            if file
            else architectures.network(checkpoint.name, checkpoint.options, config=checkpoint.config)
        )
        return _backbone(network, checkpoint, images, file)

    def maps(self, weights: bool = True) -> FeatureMaps:
        checkpoint = timm_checkpoint.resolve(self.name)
        images = self._images(checkpoint)
        file = timm_checkpoint.fetched(checkpoint) if weights else None
        features = (
            timm_checkpoint.filled_features(checkpoint, file, images.size)
            if file
            else timm_features(checkpoint.name, images.size, options=checkpoint.options, config=checkpoint.config)
        )
        made = timm_pyramid(features, checkpoint.name, images, options=checkpoint.options)
        preprocess = ImagePreprocess(**vars(images))
        return FeatureMaps(
            made.module, made.channels, made.strides, preprocess, _card(checkpoint, made.module, 0, file)
        )

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        name, options = stated(files)
        images = architectures.Images(**vars(ImagePreprocess.from_files(files)))
        return _backbone(architectures.network(name, options), Checkpoint(name, name, {}, options), images, None)

    @classmethod
    def local(cls) -> tuple[str, ...]:
        from huggingface_hub import constants

        found = []
        for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
            owner, name = folder.name.removeprefix("models--").split("--", 1)
            if not any(any(folder.glob(f"snapshots/*/{file}")) for file in WEIGHTS):
                continue
            if owner == "timm":
                found.append(f"timm/{name}")
            elif any(_is_timms(config) for config in folder.glob("snapshots/*/config.json")):
                found.append(f"timm/hf-hub:{owner}/{name}")
        return (*found, *_from_the_web())

    def _images(self, checkpoint: Checkpoint) -> architectures.Images:
        return checkpoint.images if self.size is None else replace(checkpoint.images, size=edges(self.size))


def _backbone(network: nn.Module, checkpoint: Checkpoint, images: architectures.Images, file: Path | None) -> Backbone:
    parts = architectures.split(network, checkpoint.name, checkpoint.options, images)
    card = _card(checkpoint, parts.module, parts.classes, file)
    return assembled(parts, ImagePreprocess(**vars(images)), card, described(checkpoint.name, checkpoint.options))


def _card(checkpoint: Checkpoint, module: nn.Module, outputs: int, file: Path | None) -> Card:
    return Card(
        name=checkpoint.spec,
        modality="image",
        parameters=sum(value.numel() for value in module.parameters()),
        bytes=file.stat().st_size if file else None,
        licence=checkpoint.config.get("license"),
        pretraining=_pretraining(checkpoint.config.get("tag")) if file else "none",
        outputs=outputs,
        revision=timm_checkpoint.revision(file) if file else None,
    )


def _is_timms(config: Path) -> bool:
    try:
        timm_checkpoint.describes(read_json(config), str(config))
    except GraftError:
        return False
    return True


def _from_the_web() -> tuple[str, ...]:
    """The few whose weights are on no hub, where torch's cache holds them."""
    from torch.hub import get_dir

    held = {file.name for file in Path(get_dir(), "checkpoints").glob("*.*")}
    if not held:
        return ()
    import timm
    from timm.models import get_pretrained_cfg

    configs = ((name, get_pretrained_cfg(name)) for name in timm.list_pretrained())
    return tuple(
        f"timm/{name}"
        for name, config in configs
        if config and config.url and not config.hf_hub_id and str(config.url).rsplit("/", 1)[-1] in held
    )


def _pretraining(tag: str | None) -> str | None:
    parts = [_PRETRAINING[part] for part in (tag or "").split("_") if part in _PRETRAINING]
    return ", then ".join(parts) or tag

"""The networks of ``keras.applications``: what each expects, where its weights are, and how they are fetched."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.errors import RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.fetch import fetch
from graft.nn.keras.backend import architecture_only, keras

__all__ = ["APPLICATIONS", "Application", "Asked", "application", "cached", "fetched", "guessed"]


@dataclass(frozen=True)
class Application:
    """What is known of one network.

    Parameters
    ----------
    scale
        How its pixels are scaled (``keras.network.SCALES``); ``none`` where layers inside do it.
    size
        Edge of its images in pixels.
    top1
        On ImageNet-1k's validation images, as Keras's page of applications states it.
    licence
        Of its weights, where their authors state one.
    """

    scale: str
    size: int = 224
    top1: float | None = None
    licence: str | None = None


def _table() -> dict[str, Application]:
    apache, mit, bsd, voices = "Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-4.0"
    found = {
        "VGG16": Application("caffe", 224, 0.713, voices),
        "VGG19": Application("caffe", 224, 0.713, voices),
        "ResNet50": Application("caffe", 224, 0.749, mit),
        "ResNet101": Application("caffe", 224, 0.764, mit),
        "ResNet152": Application("caffe", 224, 0.766, mit),
        "ResNet50V2": Application("tf", 224, 0.760),
        "ResNet101V2": Application("tf", 224, 0.772),
        "ResNet152V2": Application("tf", 224, 0.780),
        "InceptionV3": Application("tf", 299, 0.779, apache),
        "InceptionResNetV2": Application("tf", 299, 0.803, apache),
        "Xception": Application("tf", 299, 0.790, mit),
        "MobileNet": Application("tf", 224, 0.704, apache),
        "MobileNetV2": Application("tf", 224, 0.713, apache),
        "MobileNetV3Small": Application("none", 224, None, apache),
        "MobileNetV3Large": Application("none", 224, None, apache),
        "DenseNet121": Application("torch", 224, 0.750, bsd),
        "DenseNet169": Application("torch", 224, 0.762, bsd),
        "DenseNet201": Application("torch", 224, 0.773, bsd),
    }
    sizes = (224, 240, 260, 300, 380, 456, 528, 600)
    rights = (0.771, 0.791, 0.801, 0.816, 0.829, 0.836, 0.840, 0.843)
    for place, (size, top1) in enumerate(zip(sizes, rights, strict=True)):
        found[f"EfficientNetB{place}"] = Application("none", size, top1, apache)
    second = {"B0": (224, 0.787), "B1": (240, 0.798), "B2": (260, 0.805), "B3": (300, 0.820)}
    second |= {"S": (384, 0.839), "M": (480, 0.853), "L": (480, 0.857)}
    found |= {f"EfficientNetV2{kind}": Application("none", *each, apache) for kind, each in second.items()}
    widths = {"Tiny": 0.813, "Small": 0.823, "Base": 0.853, "Large": 0.863, "XLarge": 0.867}
    return found | {f"ConvNeXt{kind}": Application("none", 224, top1, apache) for kind, top1 in widths.items()}


APPLICATIONS: Mapping[str, Application] = _table()
"""By Keras's names; the ones that work on its torch backend."""

_OPTIONS = frozenset({"alpha", "classes", "depth_multiplier", "dropout", "dropout_rate", "include_top", "minimalistic"})

# How files of the usual form begin in Keras's cache; what is no longer than this is found without Keras.
_FILES = {
    "vgg16_weights": "VGG16",
    "vgg19_weights": "VGG19",
    "resnet50_weights": "ResNet50",
    "resnet101_weights": "ResNet101",
    "resnet152_weights": "ResNet152",
    "resnet50v2_weights": "ResNet50V2",
    "resnet101v2_weights": "ResNet101V2",
    "resnet152v2_weights": "ResNet152V2",
    "inception_v3_weights": "InceptionV3",
    "inception_resnet_v2_weights": "InceptionResNetV2",
    "xception_weights": "Xception",
    "mobilenet_1_0_224": "MobileNet",
    "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224": "MobileNetV2",
    "weights_mobilenet_v3_small_224_1.0_float": "MobileNetV3Small",
    "weights_mobilenet_v3_large_224_1.0_float": "MobileNetV3Large",
    "densenet121_weights": "DenseNet121",
    "densenet169_weights": "DenseNet169",
    "densenet201_weights": "DenseNet201",
    **{f"{name.lower()}.h5": name for name in APPLICATIONS if name.startswith("EfficientNetB")},
    **{f"{name.lower().replace('v2', 'v2-')}.h5": name for name in APPLICATIONS if name.startswith("EfficientNetV2")},
    **{f"convnext_{name.removeprefix('ConvNeXt').lower()}.h5": name for name in APPLICATIONS if "ConvNeXt" in name},
}

# Where Keras names a model after an application, its file was made from it.
_NAMES = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
    "xception": "Xception",
    "mobilenet_": "MobileNet",
    "mobilenetv2_": "MobileNetV2",
    **{name.lower(): name for name in APPLICATIONS if name.startswith(("ResNet", "DenseNet"))},
}

_ONE = threading.Lock()


@dataclass(frozen=True)
class Asked:
    """The file of weights that an application asks Keras for."""

    file: str
    url: str
    sha: str | None

    @property
    def held(self) -> Path:
        """Where Keras keeps it, whether it is there or not."""
        return _home() / "models" / self.file


def application(
    name: str, options: Mapping[str, Any], size: tuple[int, int] | None
) -> tuple[Any, Asked | None, str | None]:
    """The Keras model without values, the file of its ImageNet weights, and why there is none.

    Raises
    ------
    UnknownNameError
        For a name that is no application.
    RequestError
        For an option or a size that it does not take.
    """
    if name not in APPLICATIONS:
        raise UnknownNameError("Keras application", name, APPLICATIONS)
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise RequestError(
            f"{name} does not take the option {', '.join(unknown)}; it may take {', '.join(sorted(_OPTIONS))}."
        )
    keras()  # what it says of its own absence is no fault of the options
    edge = APPLICATIONS[name].size
    shape = (*(size or (edge, edge)), 3)
    given = {**options, "input_shape": shape}
    try:
        with _watched() as asked:
            # With weights some build another graph than without: another scaling of the pixels.
            return _made(name, {**given, "weights": "imagenet"}), asked[0], None
    except Exception as exc:  # Keras checks the options in its own words
        why = _brief(exc)
    try:
        return _made(name, {**given, "weights": None}), None, why
    except Exception as exc:
        shown = ", ".join(f"{key}={value!r}" for key, value in {**options, "size": list(shape[:2])}.items())
        raise RequestError(f"{name} cannot be built with {shown}: {_brief(exc)}. Change the options.") from exc


def _made(name: str, options: Mapping[str, Any]) -> Any:
    with architecture_only():
        return getattr(keras().applications, name)(**options)


def _brief(exc: BaseException | None) -> str:
    return " ".join(str(exc).split())[:400].rstrip(".") or type(exc).__name__


@contextlib.contextmanager
def _watched() -> Iterator[list[Asked]]:
    """Inside the block applications ask for their file of weights in vain, and what they ask for is written down.

    Keras names the files inside the functions that build the networks, and nowhere else.  It would
    also refuse the weights for any size but the usual one, which most of them serve.
    """
    package = keras()
    from keras.src.applications import imagenet_utils
    from keras.src.utils import file_utils

    asked: list[Asked] = []

    def note(fname: str, origin: str, *args: Any, file_hash: str | None = None, **kwargs: Any) -> str:
        asked.append(Asked(fname, origin, file_hash))
        return fname

    with _ONE, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the weights are another size's
        taken, load, shape = file_utils.get_file, package.Model.load_weights, imagenet_utils.obtain_input_shape

        def any_shape(*args: Any, weights: Any = None, **kwargs: Any) -> Any:
            return shape(*args, weights=None, **kwargs)

        file_utils.get_file, package.Model.load_weights = note, lambda *args, **kwargs: None
        imagenet_utils.obtain_input_shape = any_shape
        try:
            yield asked
        finally:
            file_utils.get_file, package.Model.load_weights = taken, load
            imagenet_utils.obtain_input_shape = shape


def fetched(name: str, asked: Asked) -> Path:
    """The file of weights: from Keras's cache, else fetched into it; an interrupted fetch goes on where it was.

    Raises
    ------
    UnavailableError
        Where it is not here and cannot be fetched; names the command that fetches it.
    WeightsError
        Where what came is not what Keras states; it is removed.
    """
    if asked.held.is_file():
        return asked.held
    try:
        path = fetch(asked.url, asked.held)
    except UnavailableError as exc:
        raise UnavailableError(f"the weights of keras/{name} are missing: {exc}") from exc
    if asked.sha is not None and _digest(path, asked.sha) != asked.sha:
        path.unlink()
        raise WeightsError(
            f"what came from {asked.url} is not what Keras states: its digest is not {asked.sha}. Fetch it again."
        )
    return path


def _digest(path: Path, stated: str) -> str:
    """Keras states MD5 or SHA-256, told apart by their lengths."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256" if len(stated) == 64 else "md5").hexdigest()


def _home() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser()


def cached() -> tuple[str, ...]:
    """Applications whose usual weights are in Keras's cache."""
    files = [path.name for path in (_home() / "models").glob("*.h5")]
    whole = [file for file in files if "notop" not in file and "no_top" not in file]
    return tuple(sorted({name for start, name in _FILES.items() if any(file.startswith(start) for file in whole)}))


def guessed(model_name: str) -> str | None:
    """The application that a model was made by, where its name tells."""
    exact = _NAMES.get(model_name)
    starts = [name for start, name in _NAMES.items() if start.endswith("_") and model_name.startswith(start)]
    return exact or (starts[0] if starts else None)

"""Weights of timm by name: which network they belong to, where they are, and the network filled with them.

``hf-hub:<owner>/<name>`` names a repository of anybody.  Its ``config.json`` may say which of
timm's networks it is, with which of the options that we know, and what images it expects; nothing
else of it is read.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn

from graft.errors import GraftError, RequestError, UnavailableError, WeightsError
from graft.fetch import fetch, offline
from graft.nn.architectures import Images, timm_images
from graft.nn.feature_maps import timm_features
from graft.nn.hub.config import is_size, read_json
from graft.nn.image_names import check_name, check_options
from graft.nn.initialise import seeded
from graft.nn.undrawn import Undrawn, check_finite
from graft.storage import file_sha256
from graft.wording import listed

__all__ = ["WEIGHTS", "Checkpoint", "describes", "fetched", "filled", "filled_features", "held", "resolve", "revision"]

WEIGHTS = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
"""What a repository of timm's calls its weights, the best first."""

_REPOSITORY = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "random")
_MODES = ("center", "squash", "border")
_LARGEST = 4096
_MOST_CLASSES = 200_000


@dataclass(frozen=True)
class Checkpoint:
    """What a name of timm means.

    Parameters
    ----------
    spec
        The source's spec: ``timm/resnet18.a1_in1k``.
    name
        Of the network, with its tag where it has one, as ``architectures.network`` takes it.
    config
        What timm calls the pretrained configuration.
    options
        Of the network.
    repository, commit
        On the hub, where the weights are there; and the revision that was asked for.
    """

    spec: str
    name: str
    config: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    repository: str | None = None
    commit: str | None = None

    @property
    def images(self) -> Images:
        """What it expects of its images."""
        return timm_images(self.config)

    @property
    def place(self) -> Path | None:
        """Where a file from the web is kept; ``None`` where the weights are on the hub, or there are none."""
        from torch.hub import get_dir

        url = None if self.repository else self.config.get("url")
        return Path(get_dir()) / "checkpoints" / str(url).rsplit("/", 1)[-1] if url else None


def resolve(name: str) -> Checkpoint:
    """The checkpoint that ``<model>``, ``<model>.<tag>`` or ``hf-hub:<owner>/<name>`` means.

    Raises
    ------
    UnknownNameError
        For a name, or a tag, that timm does not carry.
    UnavailableError
        Where a repository's ``config.json`` is not here and cannot be fetched.
    WeightsError
        Where a repository's ``config.json`` is none of timm's.
    RequestError
        For an option in it that is not among those that may be given.
    """
    prefix, colon, repository = name.partition(":")
    if colon:
        if prefix not in ("hf-hub", "hf_hub"):
            raise RequestError(f"timm/{name} is not read; write timm/<name>, or timm/hf-hub:<owner>/<name>.")
        return _from_hub(repository)
    from timm.models import get_pretrained_cfg

    check_name(f"timm/{name}")
    found = get_pretrained_cfg(name)
    config = found.to_dict() if found else {}
    model, tag = name.partition(".")[0], config.get("tag")
    # With its tag, so that what is saved names one checkpoint.
    full = f"timm/{model}.{tag}" if tag else f"timm/{name}"
    repository, _, commit = str(config.get("hf_hub_id") or "").partition("@")
    return Checkpoint(full, full, config, repository=repository or None, commit=commit or None)


def _from_hub(given: str) -> Checkpoint:
    found = _REPOSITORY.fullmatch(given)
    if found is None:
        raise RequestError(f"{given!r} names no repository; write timm/hf-hub:<owner>/<name>, or …@<revision>.")
    repository, commit = found["id"], found["revision"]
    spec = f"timm/hf-hub:{given}"
    path = _from_cache(repository, "config.json", commit) or _download(spec, repository, "config.json", commit)
    if path is None:
        raise WeightsError(f"{repository} has no config.json, so it is no repository of timm's.")
    name, options, config = describes(read_json(path), spec)
    return Checkpoint(spec, name, config, options, repository, commit)


def describes(held: Mapping[str, Any], spec: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name, options and configuration of the network that a ``config.json`` of timm's describes.

    Raises
    ------
    UnknownNameError
        For a network that timm does not carry.
    WeightsError
        Where it is none of timm's, or a fact in it cannot be.
    RequestError
        For an option that is not among those that may be given.
    """
    architecture = held.get("architecture")
    if not isinstance(architecture, str):
        raise WeightsError(f"config.json of {spec} names no architecture of timm's; for other models there is hf/….")
    from timm.models import get_pretrained_cfg

    name = f"timm/{architecture}"
    check_name(name)
    nested = held.get("pretrained_cfg", held)
    options = held.get("model_args") or {}
    if not isinstance(nested, Mapping) or not isinstance(options, Mapping):
        raise WeightsError(f"config.json of {spec} is damaged: its parts are no JSON objects.")
    given = dict(nested)
    if "num_classes" in held:
        given["num_classes"] = held["num_classes"]
    options = dict(options)
    built = options.pop("img_size", None)
    if built is not None:
        given["input_size"] = [3, *_pair(built)]
    if options.pop("in_chans", 3) != 3:
        raise WeightsError(f"config.json of {spec} describes a network for other images than RGB.")
    check_options(name, options)
    _check(options, _OPTIONS, spec)
    facts = {key: given[key] for key in _FACTS if given.get(key) is not None}
    _check(facts, _FACTS, spec)
    base = get_pretrained_cfg(architecture)
    own = base.to_dict(remove_source=True) if base else {}
    config = {**own, "license": None, "tag": None}
    config |= {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    options["num_classes"] = config["num_classes"]
    dynamic = bool(options.get("dynamic_img_size"))
    if own.get("fixed_input_size") and config["input_size"] != own["input_size"] and (built is not None or not dynamic):
        options["img_size"] = config["input_size"][1:]
    if dynamic:
        config["fixed_input_size"] = False
    return name, options, config


def _pair(size: object) -> list[Any]:
    return list(size) if isinstance(size, list) else [size, size]


def _three(value: object, check: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(check(each) for each in value)


def _number(value: object, most: float = 1e6) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -most <= value <= most


def _plain(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[\w.-]{0,64}", value) is not None
    return isinstance(value, bool) or _number(value)


# What each fact must be; whatever else a stranger's configuration says is not read.
_FACTS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "input_size": (
        lambda value: _three(value, lambda edge: is_size(edge, _LARGEST) and edge > 0) and value[0] == 3,
        f"[3, height, width] of at most {_LARGEST} pixels",
    ),
    "mean": (lambda value: _three(value, _number), "three numbers"),
    "std": (lambda value: _three(value, lambda each: _number(each) and each > 0), "three numbers above 0"),
    "interpolation": (lambda value: value in _INTERPOLATIONS, f"one of {', '.join(_INTERPOLATIONS)}"),
    "crop_pct": (lambda value: _number(value, 2) and value > 0, "a share above 0 and at most 2"),
    "crop_mode": (lambda value: value in _MODES, f"one of {', '.join(_MODES)}"),
    "num_classes": (lambda value: is_size(value, _MOST_CLASSES), f"a whole number up to {_MOST_CLASSES}"),
    "fixed_input_size": (lambda value: isinstance(value, bool), "true or false"),
    "license": (lambda value: isinstance(value, str) and len(value) <= 100, "a short text"),
}
_OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "num_classes": _FACTS["num_classes"],
    "": (_plain, "a word, a truth value or a number"),
}


def _check(values: Mapping[str, Any], rules: Mapping[str, tuple[Callable[[Any], bool], str]], spec: str) -> None:
    for key, value in values.items():
        check, wanted = rules.get(key) or rules[""]
        if not check(value):
            raise WeightsError(f"config.json of {spec} says {key}={value!r}; expected {wanted}.")


def held(checkpoint: Checkpoint) -> Path | None:
    """The file of weights in the cache of the hub, or of torch; ``None`` where it is not here."""
    if checkpoint.repository is not None:
        for file in _files(checkpoint):
            if path := _from_cache(checkpoint.repository, file, checkpoint.commit):
                return path
        return None
    return checkpoint.place if checkpoint.place is not None and checkpoint.place.is_file() else None


def fetched(checkpoint: Checkpoint) -> Path:
    """The file of weights, fetched where it is not here.

    Raises
    ------
    UnavailableError
        Where it cannot be fetched now; names the command that does it.
    RequestError
        Where there are no weights of that name.
    """
    if path := held(checkpoint):
        return path
    if checkpoint.repository is None:
        if checkpoint.place is None:
            raise _weightless(checkpoint)
        return fetch(str(checkpoint.config["url"]), checkpoint.place)
    for file in _files(checkpoint):
        if path := _download(checkpoint.spec, checkpoint.repository, file, checkpoint.commit):
            return path
    raise _absent(checkpoint.spec, checkpoint.repository, f"it holds none of {', '.join(_files(checkpoint))}")


def _weightless(checkpoint: Checkpoint) -> RequestError:
    import timm

    model = checkpoint.name.partition("/")[2]
    tags = timm.list_models(f"{model.partition('.')[0]}.*", pretrained=True)
    return RequestError(
        f"timm has no weights for {model}; with weights there are: {', '.join(tags) or 'none of this architecture'}."
    )


def _files(checkpoint: Checkpoint) -> tuple[str, ...]:
    named = checkpoint.config.get("hf_hub_filename")
    return (str(named),) if named else WEIGHTS


def _from_cache(repository: str, file: str, commit: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, revision=commit)
    return Path(found) if isinstance(found, str) else None


def _download(spec: str, repository: str, file: str, commit: str | None) -> Path | None:
    """A file of a repository, by the hub's own client, which resumes; ``None`` where there is no such file."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if switch := offline() or ("HF_HUB_OFFLINE" if constants.HF_HUB_OFFLINE else None):
        raise _absent(spec, repository, f"{switch} is set")
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=commit))
    except LocalEntryNotFoundError as exc:
        raise _absent(spec, repository, _first_line(exc)) from exc
    except EntryNotFoundError:
        return None
    except Exception as exc:  # the hub's transport has errors of its own, which share no base with others
        raise _absent(spec, repository, _first_line(exc)) from exc


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")


def _absent(spec: str, repository: str, reason: str) -> UnavailableError:
    return UnavailableError(
        f"the weights of {spec} are not on this machine, and cannot be fetched now ({reason}). "
        f"Where there is a network: hf download {repository}"
    )


def revision(file: Path) -> str:
    """What names the weights by content: the hub's revision, or the file's own digest."""
    return file.parent.name if file.parent.parent.name == "snapshots" else file_sha256(file)


def filled(checkpoint: Checkpoint, file: Path) -> nn.Module:
    """The network with the weights in ``file``, every one of them.

    Raises
    ------
    WeightsError
        Where they do not fit, are damaged or are no finite numbers.
    """
    import timm

    def build() -> nn.Module:
        options = {**checkpoint.options, **_given(checkpoint, file)}
        return cast("nn.Module", timm.create_model(checkpoint.name.partition("/")[2], **options))

    return _filled(checkpoint.spec, build)


def filled_features(checkpoint: Checkpoint, file: Path, size: tuple[int, int]) -> nn.Module:
    """The extractor of feature maps with the same weights.

    Raises
    ------
    WeightsError
        Where they do not fit, are damaged or are no finite numbers.
    RequestError
        Where timm has no maps for this network, or it does not take images of this size.
    """

    def build(edges: tuple[int, int]) -> nn.Module:
        options, config = checkpoint.options, checkpoint.config
        return timm_features(checkpoint.name, edges, options=options, config=config, given=_given(checkpoint, file))

    made = _filled(checkpoint.spec, partial(build, checkpoint.images.size))
    # A change of size computes some weights anew from those that were loaded, after they were seen to be complete.
    return made if size == checkpoint.images.size else _filled(checkpoint.spec, partial(build, size), False)


def _given(checkpoint: Checkpoint, file: Path) -> dict[str, Any]:
    """What tells timm to take the weights from this file; its own names of old checkpoints it knows best itself."""
    return {"pretrained": True, "pretrained_cfg": {**checkpoint.config, "file": str(file), "custom_load": False}}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Maps need no classifier, and timm warns of every weight that nothing takes; what is missing is an error here."""
    logger = logging.getLogger("timm.models._builder")
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _filled(spec: str, build: Callable[[], nn.Module], complete: bool = True) -> nn.Module:
    try:
        with seeded(0), _quiet(), Undrawn() as block:
            network = build()
    except GraftError:
        raise
    except Exception as exc:  # what is damaged fails in any way
        raise WeightsError(f"the weights of {spec} do not fit or are damaged: {exc}. Fetch them again.") from exc
    if complete and (left := block.left(network)):
        raise WeightsError(f"the weights of {spec} lack {listed(left)}. Fetch them again.")
    check_finite(network, spec)
    return network

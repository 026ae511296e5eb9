"""A folder as transformers or sentence-transformers saves it, read as plain values: nothing of it is run or trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from graft.errors import BundleError, WeightsError
from graft.nn.hub.config import TEXT_DECODERS, classes, clean, is_size, modality_of, read_json
from graft.nn.hub.folder import weights_in

__all__ = ["ACTIVATIONS", "Recipe", "config_files", "read", "transformer_folder", "weight_files"]

_FILE = "encoder.json"
_POOLING = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU")
"""What may follow a Dense layer: classes of ``torch.nn``."""

_WIDEST = 1_000_000

_LATE_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet"}
"""Values of ``model_type`` that count positions from the one after the padding's."""


@dataclass(frozen=True)
class Recipe:
    """All that is needed to build an encoder.

    Parameters
    ----------
    config
        The cleaned configuration of its transformer.
    pooling
        How token vectors become one.
    normalise
        Whether features are scaled to length 1.
    dense
        Layers after the pooling: ``in``, ``out``, ``bias``, ``activation``.
    outputs
        How many outputs the checkpoint's own classifier has; 0 where it has none.
    """

    config: dict[str, Any]
    pooling: str = "mean"
    normalise: bool = False
    dense: tuple[dict[str, Any], ...] = ()
    outputs: int = 0

    def __post_init__(self) -> None:
        odd = [layer for layer in self.dense if not _plain(layer)]
        if odd or not is_size(self.outputs, _WIDEST):
            raise WeightsError(
                f"an encoder cannot end in {odd[0] if odd else self.outputs!r}; Graft builds plain Dense layers "
                f"with the activation {', '.join(ACTIVATIONS)}, and up to {_WIDEST:_} outputs."
            )

    @property
    def pad(self) -> int:
        """The id that fills up shorter rows: the padding token, else the one that ends a text."""
        for name in ("pad_token_id", "eos_token_id"):
            token: Any = self.config.get(name)
            token = token[0] if isinstance(token, list) and token else token
            if is_size(token, int(self.config.get("vocab_size") or _WIDEST) - 1):
                return int(token)
        return 0

    @property
    def longest(self) -> int | None:
        """Tokens that the position table has room for; ``None`` where positions are not counted."""
        known = (self.config.get(name) for name in ("max_position_embeddings", "n_positions", "max_seq_len"))
        positions = next((each for each in known if isinstance(each, int)), None)
        if positions is None or positions < 3:
            return None
        return positions - self.pad - 1 if self.config["model_type"] in _LATE_POSITIONS else positions

    def files(self) -> dict[str, bytes]:
        """A small file from which :meth:`from_files` makes it again."""
        return {_FILE: json.dumps(asdict(self), indent=1, sort_keys=True).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Recipe:
        """The recipe that ``files()`` described.

        Raises
        ------
        BundleError
            Where the description is missing or damaged.
        """
        try:
            stated = json.loads(files[_FILE])
            stated["dense"] = tuple(stated["dense"])
            return cls(**{**stated, "config": _text(clean(stated["config"]))})
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc


def _plain(layer: object) -> bool:
    """Whether a Dense layer is one that can be built."""
    if not isinstance(layer, Mapping) or layer.get("activation") not in ACTIVATIONS:
        return False
    widths = [layer.get(side) for side in ("in", "out")]
    return isinstance(layer.get("bias"), bool) and all(width and is_size(width, _WIDEST) for width in widths)


def read(folder: Path, pooling: str | None = None) -> Recipe:
    """How the encoder in a folder is built; looks at no weights.

    Parameters
    ----------
    pooling
        Overrides what the folder says.

    Raises
    ------
    WeightsError
        Where the folder is no checkpoint, or asks for a module that Graft does not have.
    """
    folder = Path(folder)
    modules = _modules(folder)
    config = _text(clean(read_json(_inside(folder, modules["Transformer"][0]) / "config.json")))
    outputs = 0 if modules["Pooling"] else classes(config, "ForSequenceClassification")
    if pooling is None and modules["Pooling"]:
        pooling = _pooling(read_json(_inside(folder, modules["Pooling"][0]) / "config.json"))
    return Recipe(
        config=config,
        pooling=pooling or _usual(config, outputs),
        normalise=bool(modules["Normalize"]),
        dense=tuple(_dense(read_json(_inside(folder, path) / "config.json")) for path in modules["Dense"]),
        outputs=outputs,
    )


def _modules(folder: Path) -> dict[str, list[str]]:
    """The sub-folders of each kind of module; a plain transformers folder is a transformer alone."""
    found: dict[str, list[str]] = {kind: [] for kind in ("Transformer", "Pooling", "Dense", "Normalize")}
    listing = folder / "modules.json"
    if not listing.exists():
        found["Transformer"].append("")
        return found
    try:
        entries = [(str(entry["type"]), str(entry["path"])) for entry in json.loads(listing.read_bytes())]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise WeightsError(f"{listing} is damaged: {exc!r}. Fetch it again.") from exc
    order = []
    for kind, path in entries:
        library, _, name = kind.rpartition(".")
        if library.partition(".")[0] != "sentence_transformers" or name not in found:
            raise WeightsError(
                f"{listing} asks for the module {kind!r}; Graft builds {', '.join(found)} of sentence_transformers, "
                "and runs no code that a checkpoint names."
            )
        found[name].append(path)
        order.append(name)
    if order != sorted(order, key=list(found).index) or len(found["Transformer"]) != 1 or len(found["Pooling"]) > 1:
        raise WeightsError(f"{listing} chains {' → '.join(order)}; expected {' → '.join(found)}.")
    return found


def _inside(folder: Path, path: str) -> Path:
    parts = PurePosixPath(path).parts
    if ".." in parts or PurePosixPath(path).is_absolute():
        raise WeightsError(f"{folder / 'modules.json'} names {path!r}, which leads out of its folder.")
    return folder.joinpath(*parts)


def _pooling(stated: Mapping[str, Any]) -> str:
    modes = stated.get("pooling_mode") or [mode for key, mode in _POOLING.items() if stated.get(key)]
    modes = modes if isinstance(modes, list) else [modes]
    others = [key for key, value in stated.items() if key.startswith("pooling_mode_") and value and key not in _POOLING]
    if len(modes) != 1 or modes[0] not in _POOLING.values() or others:
        raise WeightsError(
            f"the checkpoint pools by {', '.join([*map(str, modes), *others]) or 'nothing'}; "
            f"Graft knows {', '.join(_POOLING.values())}. Choose one of them: pooling=mean."
        )
    return str(modes[0])


def _dense(stated: Mapping[str, Any]) -> dict[str, Any]:
    activation = str(stated.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    layer = {
        "in": stated.get("in_features"),
        "out": stated.get("out_features"),
        "bias": bool(stated.get("bias", True)),
        "activation": activation,
    }
    if not _plain(layer) or stated.get("use_residual"):
        raise WeightsError(
            f"the checkpoint has a Dense module {dict(stated)!r}; Graft builds plain ones with the activation "
            f"{', '.join(ACTIVATIONS)}."
        )
    return layer


def _text(config: dict[str, Any]) -> dict[str, Any]:
    if (modality := modality_of(config)) != "text":
        raise WeightsError(f"the checkpoint is a {config['model_type']}, which reads {modality}; expected text.")
    return config


def _usual(config: Mapping[str, Any], outputs: int) -> str:
    """Where a checkpoint that says nothing keeps what it knows of a text."""
    if config["model_type"] in TEXT_DECODERS:
        return "lasttoken"  # the only one that has seen the whole text
    return str(config.get("classifier_pooling", "cls")) if outputs else "mean"


def transformer_folder(folder: Path) -> Path:
    """Where the transformer itself, and its tokenizer, are: the folder or one inside it."""
    return _inside(Path(folder), _modules(Path(folder))["Transformer"][0])


def config_files(folder: Path) -> tuple[Path, ...]:
    """The ``config.json`` of every module that :func:`read` asks for one."""
    modules = _modules(Path(folder))
    paths = [path for kind in ("Transformer", "Pooling", "Dense") for path in modules[kind]]
    return tuple(_inside(Path(folder), path) / "config.json" for path in paths)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files with a checkpoint's weights, its Dense modules' included.

    Raises
    ------
    WeightsError
        Where there is none; says how to convert what is there.
    """
    folder = Path(folder)
    dense = (_inside(folder, path) / "model.safetensors" for path in _modules(folder)["Dense"])
    return (*weights_in(transformer_folder(folder)), *dense)

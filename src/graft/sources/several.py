"""Several sources at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from graft.contracts import Backbone, Card, Examples, Source
from graft.data.preprocess.together import TogetherPreprocess
from graft.errors import RequestError
from graft.nn.together import Together
from graft.storage import below, digest

__all__ = ["Several"]


class Several(Source):
    """Several sources of one modality, their features end to end; written ``one + other``.

    Parameters
    ----------
    sources
        Two or more; they read the same rows, each by its own preprocessing.
    normalise
        Whether each source's features are scaled to length 1, so that none is louder than the others.

    Examples
    --------
    >>> from graft.sources.pixels import Pixels
    >>> Several([Pixels(size=4), Pixels(size=8)]).load().dim
    240
    """

    def __init__(self, sources: Sequence[Source], normalise: bool = True) -> None:
        self.sources = sources
        self.normalise = normalise

    @property
    def pretrained(self) -> bool:  # type: ignore[override]
        """Whether any of them ever learnt."""
        return any(source.pretrained for source in self.sources)

    def reads(self) -> str:
        self._check()
        modalities = list(dict.fromkeys(source.reads() for source in self.sources))
        if len(modalities) > 1:
            raise RequestError(
                f"sources of {' and '.join(modalities)} cannot be taken together: they read rows of one kind. "
                "Take a bridge for one of them, or leave it out."
            )
        return modalities[0]

    def load(self, weights: bool = True) -> Backbone:
        self._check()
        return self._joined([source.load(weights) for source in self.sources])

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        return self._joined([source.rebuild(below(f"{place}/", files)) for place, source in enumerate(self.sources)])

    def _check(self) -> None:
        if len(self.sources) < 2 or not all(isinstance(source, Source) for source in self.sources):
            raise RequestError("several sources are two or more; write them with a plus: 'graft/tiny + pixels'.")

    def _joined(self, parts: Sequence[Backbone]) -> Backbone:
        if wide := [part.card.name for part in parts if part.sparse is not None]:
            raise RequestError(
                f"the features of {wide[0]} are too many to stand beside those of others; take it alone, or leave it."
            )
        module = Together([part.module for part in parts], self.normalise)
        preprocess = TogetherPreprocess([part.preprocess for part in parts])
        prints = [part.fingerprint for part in parts]
        learns = any(part.learn is not None for part in parts)
        return Backbone(
            module=module,
            dim=sum(part.dim for part in parts),
            preprocess=preprocess,
            stages=_stages(parts),
            card=_card([part.card for part in parts]),
            files={f"{place}/{name}": held for place, part in enumerate(parts) for name, held in part.files.items()},
            fingerprint=digest(str(self.normalise), *map(str, prints)) if all(prints) else None,
            learn=(lambda examples: self._learnt(parts, examples)) if learns else None,
        )

    def _learnt(self, parts: Sequence[Backbone], examples: Examples) -> Backbone:
        return self._joined([part if part.learn is None else part.learn(examples) for part in parts])


def _stages(parts: Sequence[Backbone]) -> tuple[str, ...]:
    """From input to output: what is as deep in one network as in another stands beside it."""
    placed: list[tuple[float, int, str]] = []
    for place, part in enumerate(parts):
        depth = len(part.stages)
        placed += [((step + 1) / depth, place, f"parts.{place}.{stage}") for step, stage in enumerate(part.stages)]
    return tuple(stage for _, _, stage in sorted(placed, key=lambda each: each[:2]))


def _card(cards: Sequence[Card]) -> Card:
    def total(name: str) -> int | None:
        counts: list[Any] = [getattr(card, name) for card in cards]
        return None if None in counts else sum(counts)

    def listed(name: str) -> str | None:
        words: list[Any] = [getattr(card, name) for card in cards]
        return None if None in words else "; ".join(dict.fromkeys(words))

    card = Card(name=" + ".join(card.name for card in cards), modality=cards[0].modality)
    return replace(
        card,
        parameters=total("parameters"),
        bytes=total("bytes"),
        flops=total("flops"),
        licence=listed("licence"),
        pretraining=listed("pretraining"),
        outputs=0,
        revision=listed("revision"),
        notes=tuple(f"{card.name}: {note}" for card in cards for note in card.notes),
    )

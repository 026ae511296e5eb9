"""Several fitted models of one task that speak as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from graft.contracts import Array, Card, Examples
from graft.licences import spdx
from graft.model.predictor import Predictor
from graft.model.single import Model
from graft.nn.averaging import averaged
from graft.nn.grafted import Grafted
from graft.progress import Progress

__all__ = ["Ensemble"]


class Ensemble(Predictor):
    """The mean of what several models say: of their probabilities, or of their values.

    Parameters
    ----------
    members
        Models of the same task.
    times
        How often each counts.

    Examples
    --------
    >>> import graft
    >>> from graft.strategies.knn import KNN
    >>> rows, words = [[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"]
    >>> members = [graft.Transfer(strategy=strategy).fit(rows, words).model_ for strategy in (None, KNN(k=1))]
    >>> Ensemble(members, [2, 1]).predict([[0.2], [2.9]]).tolist()
    ['low', 'high']
    """

    def __init__(self, members: Sequence[Model], times: Sequence[int]) -> None:
        self.members = tuple(members)
        self.times = tuple(times)
        self.task = self.members[0].task
        self.fitted = self.members[0].fitted
        coarse = [member.machine for member in self.members if member.machine.precision == "bfloat16"]
        self.machine = coarse[0] if coarse else self.members[0].machine

    @cached_property
    def card(self) -> Card:
        """What is known of all its sources together; its licence is all of theirs."""
        return _card([member.card for member in self.members])

    @property
    def shares(self) -> tuple[float, ...]:
        """How much each member counts; their sum is 1."""
        whole = sum(self.times)
        return tuple(each / whole for each in self.times)

    @property
    def columns(self) -> tuple[str, ...]:
        return next((member.columns for member in self.members if member.columns), ())

    @property
    def networks(self) -> tuple[tuple[Grafted, float], ...]:
        return tuple((member.module, share) for member, share in zip(self.members, self.shares, strict=True))

    def accepted(self, examples: Examples) -> Examples:
        for member in self.members:
            examples = member.accepted(examples)
        return examples

    def outputs(self, examples: Examples, progress: Progress | None = None) -> Array:
        return self._averaged([member.outputs(examples, progress) for member in self.members])

    def outputs_cached(self, examples: Examples, cache: Path | None, progress: Progress | None = None) -> Array:
        return self._averaged([member.outputs_cached(examples, cache, progress) for member in self.members])

    def _averaged(self, outputs: Sequence[Array]) -> Array:
        return averaged(self.fitted.link, outputs, self.shares)


def _card(cards: Sequence[Card]) -> Card:
    """Of all sources together; where members stand on the same one, each holds its own copy of the weights."""

    def total(name: str) -> Any:
        counts: list[Any] = [getattr(card, name) for card in cards]
        return None if None in counts else sum(counts)

    learnt = [card for card in cards if card.pretraining != "none"]
    licences, data = [card.licence for card in learnt], [card.pretraining for card in learnt]
    return Card(
        name=" + ".join(dict.fromkeys(card.name for card in cards)),
        modality=next((card.modality for card in cards if card.modality != "any"), cards[0].modality),
        parameters=total("parameters"),
        flops=total("flops"),
        licence=None if None in licences else spdx(" AND ".join(filter(None, licences))),
        pretraining=None if None in data else "; ".join(dict.fromkeys(filter(None, data))) or "none",
        outputs=0,
        notes=tuple(dict.fromkeys(note for card in cards for note in card.notes)),
    )

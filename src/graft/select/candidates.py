"""A candidate is a source and a strategy; here it is checked against the data and made into a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from graft import registry
from graft.contracts import Backbone, Examples, FittedTask, Source, Strategy, TransferData
from graft.errors import RequestError
from graft.select.resolution import smaller
from graft.sources.bridged import Bridged

__all__ = [
    "DEFAULT_SOURCES",
    "ROWS_WITHOUT_LABELS",
    "Candidate",
    "candidate",
    "check_build",
    "default_source",
    "fitting_source",
    "graft_backbone",
]

DEFAULT_SOURCES = {"text": "minilm", "table": "columns", "image": "graft/tiny", "audio": "graft/tiny"}
"""The source of a modality where the user names none; only such as need no download.

One that reads another modality is taken over a bridge.
"""

ROWS_WITHOUT_LABELS = "rows without labels"
"""What a strategy states as its need where it is nothing without ``data.unlabelled``."""


@dataclass(frozen=True)
class Candidate:
    """One thing to try.

    ``source`` is what its strategy really stands on: for a control that may be other than the
    source that the user named.  ``scale`` is the share of the edge of its images that it sees.
    """

    name: str
    source: Source
    strategy: Strategy
    role: Literal["transfer", "control"] = "transfer"
    scale: float = 1.0

    @property
    def carries(self) -> bool:
        """Whether it brings knowledge: of a source that learnt, of a teacher, or of rows without labels."""
        if self.strategy.family == "knowledge" or getattr(self.strategy, "pretrains", False):
            return True
        return self.strategy.starts_from == "pretrained" and self.source.pretrained

    @property
    def trains(self) -> bool:
        """Whether a network learns, in passes over the rows."""
        return bool(self.strategy.passes_over(1).training)

    def load(self) -> Backbone:
        """Its fresh network: with the source's weights, or untrained where its strategy says so."""
        return smaller(self.source.load(weights=self.strategy.starts_from != "untrained"), self.scale)


def default_source(modality: str) -> Source:
    """The source to start from where none is named.

    Raises
    ------
    RequestError
        Where no source of this modality comes with Graft.
    """
    name = DEFAULT_SOURCES.get(modality)
    if name is None:
        raise RequestError(
            f"no source for rows of {modality} comes with Graft; name one, such as --source timm/resnet18 "
            "or --source 'file/weights.safetensors?architecture=timm/resnet18' (graft ls sources lists them)."
        )
    source: Source = registry.build("sources", name)
    return source


def candidate(source: Source, strategy: Strategy, modality: str, reads: str | None = None) -> Candidate:
    """Pair a source with a strategy, for data of a modality; over one bridge at most, where they do not fit.

    Parameters
    ----------
    reads
        What the source takes, where that is known; ``None`` asks it, and one that is not on this
        machine may not know.

    Raises
    ------
    RequestError
        Where the source reads another modality, and no bridge leads there.
    """
    start = strategy.starts_from
    stands_on = source
    if start == "nothing":
        stands_on, reads = registry.build("sources", "nothing"), None
    elif start == "plain":
        stands_on, reads = registry.plain_source(modality)(), None
    stands_on = fitting_source(stands_on, modality, reads)
    role: Literal["transfer", "control"] = "control" if strategy.family == "control" else "transfer"
    return Candidate(registry.title(strategy), stands_on, strategy, role)


def fitting_source(source: Source, modality: str, reads: str | None = None) -> Source:
    """The source for data of a modality: itself, or over the one bridge that leads to what it reads.

    Parameters
    ----------
    reads
        What the source reads, where that is known; else it is asked.

    Raises
    ------
    RequestError
        Where the source reads another modality, and no bridge leads there.
    """
    reads = reads or source.reads()
    return source if reads in ("any", modality) else _over_bridge(source, modality, reads)


def _over_bridge(source: Source, modality: str, reads: str) -> Source:
    """The source over the one bridge from the data's modality to its own."""
    refusal = f"the source {registry.title(source)} reads rows of {reads}, and the data are rows of {modality}"
    advice = f"choose a source for {modality} (graft ls sources)."
    if isinstance(source, Bridged):
        raise RequestError(f"{refusal}; it is taken over a bridge already, and never over a second: {advice}")
    bridges = [registry.load("bridges", name) for name in registry.names("bridges")]
    fits = [bridge for bridge in bridges if (bridge.takes, bridge.gives) == (modality, reads)]
    if not fits:
        raise RequestError(f"{refusal}; no bridge leads from {modality} to {reads}: {advice}")
    if len(fits) > 1:
        several = " and ".join(bridge.__name__ for bridge in fits)
        raise RequestError(f"{refusal}; {several} both lead there: choose one with Bridged(source, bridge) in Python.")
    return Bridged(source, fits[0]())


def graft_backbone(chosen: Candidate, train: Examples) -> Backbone:
    """The candidate's fresh network; plain features have learnt from the training rows what they need."""
    backbone = chosen.load()
    return backbone.learn(train) if backbone.learn is not None else backbone


def check_build(chosen: Candidate, fitted: FittedTask, see: Callable[[], TransferData]) -> Backbone:
    """Build the candidate's model and throw it away: what it lacks is said before anything is trained.

    Returns the backbone as it was loaded.

    Parameters
    ----------
    see
        Gives what the strategy sees of the rows; called where it states a need.

    Raises
    ------
    RequestError
        Where the strategy cannot make a model of this source, or needs rows that are not there.
    """
    backbone, needs = chosen.load(), chosen.strategy.needs
    data = see() if needs else None
    if data is not None and needs == ROWS_WITHOUT_LABELS and data.unlabelled is None:
        raise RequestError(
            f"{chosen.name} needs {needs}, and there are none; give some with --unlabelled, or leave labels empty."
        )
    if backbone.learn is None:
        chosen.strategy.build(backbone, fitted)
    elif data is not None:  # plain features learn from the rows; without a need that is left to the trial
        chosen.strategy.build(backbone.learn(data.train.examples), fitted)
    return backbone

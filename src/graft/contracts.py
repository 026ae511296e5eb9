"""What the rooms of the house agree on: eight roles, and the frozen values between them.

Shapes are written with fixed letters: ``n`` rows, ``d`` features, ``c`` outputs (classes),
``h w`` pixels, ``t`` tokens or samples of sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from graft.errors import RequestError
from graft.progress import Progress, Silent

__all__ = [
    "Array",
    "Backbone",
    "Batch",
    "Bridge",
    "Card",
    "Choice",
    "Epoch",
    "Examples",
    "FeatureMaps",
    "FittedTask",
    "History",
    "Link",
    "Machine",
    "Passes",
    "Precision",
    "Preprocess",
    "Range",
    "Reader",
    "Request",
    "Rows",
    "Score",
    "Seen",
    "Soft",
    "Sound",
    "Source",
    "Start",
    "Strategy",
    "TargetData",
    "Task",
    "TransferData",
]

Array = npt.NDArray[Any]
Batch = Tensor | dict[str, Tensor]
Precision = Literal["float32", "bfloat16"]
Link = Literal["softmax", "sigmoid", "identity"]
Start = Literal["pretrained", "untrained", "plain", "nothing"]


@dataclass(frozen=True)
class Sound:
    """A row of sound.

    Parameters
    ----------
    samples
        ``(t,)`` float32 in [-1, 1], one channel; at least one sample.
    rate
        Samples a second.
    """

    samples: npt.NDArray[np.float32]
    rate: int


@dataclass(frozen=True)
class Soft:
    """A label that is divided among classes, such as the votes of several people.

    Parameters
    ----------
    shares
        ``(class, probability)`` of every class that is known, in one order for all rows; they add
        up to 1.

    Examples
    --------
    >>> Soft((("cat", 0.7), ("dog", 0.3))).likeliest
    'cat'
    """

    shares: tuple[tuple[Any, float], ...]

    @property
    def likeliest(self) -> Any:
        """The class that it comes down to; of equals the first."""
        return max(self.shares, key=lambda share: share[1])[0]


class Examples(Protocol):
    """Lazy rows of one modality; a row is read when it is asked for.

    A row is a ``str`` (text), an RGB ``PIL.Image.Image`` (image), a float32 array ``(d,)`` (table)
    or a ``Sound`` (audio).
    """

    modality: str

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Any: ...

    def name(self, row: int) -> str:
        """Where the row comes from, for a person: ``cats/1.jpg``, ``train.csv row 17``."""

    def keys(self) -> npt.NDArray[np.uint8]:
        """``(n, 16)`` digests of the rows' bytes; equal bytes have equal keys.  Computed once."""

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        """The given rows, in the given order, as examples that share this one's storage."""


@dataclass(frozen=True)
class TargetData:
    """A dataset as it was read: nothing dropped, nothing encoded.

    Parameters
    ----------
    examples
        All ``n`` rows.
    labels
        ``(n,)`` objects in the user's own words (``str``, ``int``, ``float``, a tuple of ``str`` for
        several labels, or ``Soft`` where one is divided); ``None`` marks a row without a label.
    groups
        ``(n,)`` strings: rows of one group stay on one side of a split.
    given
        ``(n,)`` of ``"train"``, ``"valid"``, ``"test"`` or ``""``: the split that the files state.
    origin
        What was read, for a person.
    notes
        What was guessed and how to override it, a sentence each.
    weights
        ``(n,)`` float64, 0 or more: how much a row counts while learning; ``None``: all alike.
    times
        ``(n,)`` float64: when a row was seen, a number or seconds since 1970; NaN where that is not
        known.  Where they are given, rows are split in their order.
    """

    examples: Examples
    labels: Array | None
    groups: Array | None = None
    given: Array | None = None
    origin: str = "data"
    notes: tuple[str, ...] = ()
    weights: Array | None = None
    times: Array | None = None


@dataclass(frozen=True)
class Request:
    """How a reader is asked to read; ``None`` lets it guess.

    Parameters
    ----------
    target, input, group_by, confidence, time_by
        Names of the columns of the label (several: of the probability of each class), of the text or
        image path, of the group, of how much a row counts while learning, and of when it was seen.
    task
        The task kind that the labels are read for, such as ``"multilabel"``.
    delimiter
        What separates several labels in one cell.
    labelled
        Whether labels are expected; ``predict`` reads without.
    columns
        Columns that are known to be a table's: where one of them is there, none is taken for a text.
    """

    target: str | tuple[str, ...] | None = None
    input: str | None = None
    group_by: str | None = None
    task: str | None = None
    delimiter: str | None = None
    labelled: bool = True
    columns: tuple[str, ...] = ()
    confidence: str | None = None
    time_by: str | None = None


class Reader:
    """Reads one kind of data.  An option is a file in ``data/readers/``."""

    def accepts(self, data: Any) -> bool:
        """Whether ``data`` is of this reader's kind; looks at no more than names."""
        raise NotImplementedError

    def read(self, data: Any, request: Request) -> TargetData:
        """Read it.

        Raises
        ------
        DataError
            Where the data cannot be understood; says what was found and which option decides.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Rows:
    """Encoded rows: ``examples`` of length n, and ``targets`` as the task's loss takes them.

    ``weights`` ``(n,)`` float32, 0 or more, counts a row that much; ``None``: all count alike.
    """

    examples: Examples
    targets: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.examples)


@dataclass(frozen=True)
class Machine:
    """Where work runs: a torch device, the precision (``None``: measure and choose), CPU threads."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision | None = None
    threads: int = 1


@dataclass(frozen=True)
class TransferData:
    """All that a strategy may look at while it fits.  There is no test row in it.

    Parameters
    ----------
    train
        Rows to learn from.
    valid
        Rows to stop and choose by; ``None`` for strategies that do not use them.
    groups
        ``(n,)`` groups of the training rows, where rows of one group belong together.
    unlabelled
        Rows without labels.
    seed
        Decides every random draw.
    machine
        Where to run.
    cache
        Folder of the feature cache; ``None`` keeps features in memory.
    checkpoint
        Folder for state that lets a killed fit go on; ``None`` keeps none.
    progress
        Shows what takes over a second.
    callbacks
        Told of every epoch that training ends: its place from 0, and how it went.
    """

    train: Rows
    valid: Rows | None = None
    groups: Array | None = None
    unlabelled: Examples | None = None
    seed: int = 0
    machine: Machine = field(default_factory=Machine)
    cache: Path | None = None
    checkpoint: Path | None = None
    progress: Progress = field(default_factory=Silent)
    callbacks: tuple[Callable[[int, Epoch], None], ...] = ()


@dataclass(frozen=True)
class Card:
    """What is known of a source; an unknown fact is ``None``.

    Parameters
    ----------
    name, modality
        The spec that loads it, and what it reads.
    parameters
        How many weights the features take, without the head.
    bytes
        Of the weights on disk: what a download takes.
    flops
        Multiply-adds for one row as its preprocessing makes it, without the head.
    licence
        Of the weights, as SPDX writes it where that is known.
    pretraining
        The data that it learnt from; ``"none"`` for a source that never learnt.
    outputs
        How many outputs its own head has; 0 where there is none.
    top1
        Share of ImageNet-1k's validation images that its own head gets right, as its author states it.
    revision
        Names the weights by content.
    notes
        What was resolved or left out when it was loaded, a sentence each.
    """

    name: str
    modality: str
    parameters: int | None = None
    bytes: int | None = None
    flops: int | None = None
    licence: str | None = None
    pretraining: str | None = None
    outputs: int | None = None
    top1: float | None = None
    revision: str | None = None
    notes: tuple[str, ...] = ()


class Preprocess(Protocol):
    """The checkpoint's own way from rows to batches.  Thread-safe."""

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        """Shape raw rows into items: token ids, pixel tensors.

        ``seeds``, one a row, asks for the training form: random augmentation that depends on the
        row's seed alone.  Without it the form is the deterministic one for evaluation.
        """

    def cost(self, item: Any) -> int:
        """What an item weighs in a batch: its tokens, or 1."""

    def collate(self, items: Sequence[Any]) -> Batch:
        """Items to one batch, as the backbone's module takes it."""

    def files(self) -> dict[str, bytes]:
        """Small files from which ``Source.rebuild`` makes this preprocessing again."""


@dataclass(frozen=True)
class Backbone:
    """A fresh, trainable network with everything that belongs to it.

    Parameters
    ----------
    module
        batch → features ``(n, d)``.
    dim
        ``d``.
    preprocess
        From rows to batches.
    stages
        Parameter-name prefixes from input to output: unfreezing and layer-wise rates need an order.
    card
        What is known of it.
    head
        The source's own output layer, features → its own outputs, where it is a layer on the features.
    outputs
        batch → the source's own outputs ``(n, c)``, sharing weights with ``module``, where they are
        no layer on the features; ``None`` where ``head`` says it all, or there are none.
    files
        Small files (architecture, tokenizer, …) from which ``Source.rebuild`` makes the same
        network, without weights, network access or the original.
    fingerprint
        Names weights and preprocessing by content; ``None`` where features must not be cached.
    learn
        For plain features that learn from the training rows (a vocabulary, a scale): training
        examples → the backbone to use.
    sparse
        For features too wide to be dense: examples → a ``scipy.sparse.csr_array`` ``(n, d)``,
        equal to what ``module`` gives.
    words
        Texts → features ``(c, d)`` in the space of ``module``'s, where the source has a text side.
    """

    module: nn.Module
    dim: int
    preprocess: Preprocess
    stages: tuple[str, ...]
    card: Card
    head: nn.Module | None = None
    outputs: nn.Module | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    fingerprint: str | None = None
    learn: Callable[[Examples], Backbone] | None = None
    sparse: Callable[[Examples], Any] | None = None
    words: Callable[[Sequence[str]], Tensor] | None = None


@dataclass(frozen=True)
class FeatureMaps:
    """A fresh, trainable network that keeps places apart, for tasks with an answer a pixel or a box.

    Parameters
    ----------
    module
        batch → a list of maps ``(n, channels[i], h // strides[i], w // strides[i])``, finest first.
    channels, strides
        Of each map.
    preprocess
        From rows to batches.
    card
        What is known of the source.
    """

    module: nn.Module
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    preprocess: Preprocess
    card: Card


class Source(BaseEstimator):  # type: ignore[misc]
    """A pretrained model with its own preprocessing.  An option is a file in ``sources/``.

    The first constructor parameter takes what follows the slash in ``name/rest``.
    """

    modality: ClassVar[str] = ""
    """What it reads; empty where that depends on the checkpoint (see ``reads``)."""

    pretrained: ClassVar[bool] = True
    """False for plain features, which never learnt: they serve as controls."""

    def reads(self) -> str:
        """The modality that this source takes; loads no weights."""
        return self.modality

    def classes(self) -> tuple[str, ...]:
        """What its own outputs stand for, in words, where that can be told without loading it; else nothing."""
        return ()

    def load(self, weights: bool = True) -> Backbone:
        """A fresh backbone every time; ``weights=False`` gives the architecture alone, untrained.

        Raises
        ------
        UnavailableError
            Where it is not on this machine and cannot be fetched now.
        WeightsError
            Where the weights do not match or are not trusted.
        """
        raise NotImplementedError

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        """The same network from the files that a saved model carries; its weights are not set."""
        raise NotImplementedError

    def maps(self, weights: bool = True) -> FeatureMaps:
        """The same network as feature maps.

        Raises
        ------
        RequestError
            Where it has none.
        """
        raise RequestError(f"{type(self).__name__} gives one vector a row, and no feature maps.")

    @classmethod
    def local(cls) -> tuple[str, ...]:
        """Specs of this family that load now without a network."""
        return ()


class Bridge(BaseEstimator):  # type: ignore[misc]
    """Turns rows of one modality into rows of another, so that a source of that one can take them.

    An option is a file in ``bridges/``.
    """

    takes: ClassVar[str] = ""
    """The modality of the rows that it is given."""

    gives: ClassVar[str] = ""
    """The modality of the rows that it makes."""

    def learn(self, examples: Examples) -> Bridge:
        """The bridge to use, once it has looked at the training rows (names of columns, a scale)."""
        return self

    def convert(self, row: Any) -> Any:
        """One row → one row; thread-safe, the same for the same row.

        Raises
        ------
        DataError
            For a row that cannot be turned into one.
        """
        raise NotImplementedError

    def files(self) -> dict[str, bytes]:
        """Small files with what it learnt."""
        return {}

    def rebuild(self, files: Mapping[str, bytes]) -> Bridge:
        """The bridge as it was when it wrote ``files``."""
        return self


class FittedTask(Protocol):
    """A task that has seen the labels: it encodes them, judges outputs and decodes them.

    ``outputs`` are always raw scores ``(n, c)`` before the link (logits, values).  ``link`` maps them
    to means; ``metric`` names what everything is chosen by; ``classes`` is empty for numbers.
    """

    @property
    def kind(self) -> str: ...
    @property
    def n_outputs(self) -> int: ...
    @property
    def link(self) -> Link: ...
    @property
    def classes(self) -> tuple[Any, ...]: ...
    @property
    def metric(self) -> str: ...

    def encode(self, labels: Array) -> Tensor:
        """Labels → targets: ``(n,)`` int64 (softmax), ``(n, c)`` float32 (sigmoid, identity, soft labels).

        Raises
        ------
        DataError
            For a label that was not seen when the task was started.
        """

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean loss of a batch, a scalar; ``weights`` ``(n,)`` counts a row that much."""

    def prior(self, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """``(c,)``: the constant outputs that fit ``targets`` best, rows counted by ``weights``."""

    def decode(self, outputs: Array) -> Array:
        """Outputs → ``(n,)`` predictions in the user's own words."""

    def probabilities(self, outputs: Array) -> Array | None:
        """Outputs → ``(n, c)`` probabilities; ``None`` where the task has none."""

    def metrics(self, outputs: Array, targets: Array, weights: Array | None = None) -> Iterator[tuple[str, Any]]:
        """Every metric by name, the task's own first; ``weights`` ``(n,)`` counts a row that often.

        Weights ``(r, n)`` are ``r`` resamples at once, and each value is then ``(r,)``.
        """

    def state(self) -> dict[str, Any]:
        """What ``Task.restore`` needs, as JSON."""


class Task(BaseEstimator):  # type: ignore[misc]
    """What is to be learnt.  An option is a file in ``tasks/``."""

    estimator_type: ClassVar[Literal["classifier", "regressor"]] = "classifier"

    @classmethod
    def claims(cls, labels: Array) -> str | None:
        """Why these labels (no ``None`` among them) look like this task, or ``None``."""
        raise NotImplementedError

    def start(self, labels: Array) -> FittedTask:
        """Look at the labels of all rows.

        Raises
        ------
        DataError
            For labels that this task cannot learn from (one class only, no number, …).
        RequestError
            For a metric that it does not have.
        """
        raise NotImplementedError

    def restore(self, state: Mapping[str, Any]) -> FittedTask:
        """A fitted task from its ``state()``."""
        raise NotImplementedError


@dataclass(frozen=True)
class Epoch:
    """One pass: mean training loss, validation metric (``None`` without validation rows), highest rate, seconds."""

    loss: float
    metric: float | None
    rate: float
    seconds: float


@dataclass(frozen=True)
class History:
    """How a fit went.

    Parameters
    ----------
    score
        The task's metric on rows inside the training data that the measured weights did not learn
        from (cross-validation, or the validation rows); candidates are compared by it.
    chosen
        What was chosen inside the training data, such as ``{"C": 1.0}``.
    epochs
        One entry an epoch; empty for closed forms.
    """

    score: float | None = None
    chosen: Mapping[str, float | int | str] = field(default_factory=dict)
    epochs: tuple[Epoch, ...] = ()


@dataclass(frozen=True)
class Range:
    """Numbers that a setting may take: from ``low`` to ``high``; ``log``: by their magnitude."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """Values that a setting may take."""

    values: tuple[bool | int | float | str, ...]


@dataclass(frozen=True)
class Passes:
    """What a fit asks of the network, for each training row; forecasts stand on it.

    Parameters
    ----------
    forward
        How often a row is computed without learning from it.
    training
        How often a row goes forward and back, at most: an early stop is not counted on.
    back
        What the way back costs, in forward passes: 2 where all weights learn; 1 where few do and most
        gradients of weights are not computed; more where layers are added.
    learns
        Share of the weights that learn: each has a gradient and an optimiser's averages in memory.
    pairs
        Multiply-adds for each pair of training rows, for what compares every row with every other.
    """

    forward: float = 1.0
    training: float = 0.0
    back: float = 2.0
    learns: float = 1.0
    pairs: float = 0.0


class Strategy(BaseEstimator):  # type: ignore[misc]
    """How knowledge moves: a recipe that is read from top to bottom.  An option is a file in ``strategies/``."""

    family: ClassVar[str] = ""
    """feature, model, parameter, knowledge, domain, scarce or control."""

    starts_from: ClassVar[Start] = "pretrained"
    """What it makes of a source: its weights, its architecture alone, the modality's plain
    features instead of it, or nothing at all."""

    uses_validation: ClassVar[bool] = False
    """Whether ``fit`` needs ``data.valid``."""

    uses_unlabelled: ClassVar[bool] = False
    """Whether ``fit`` learns from ``data.unlabelled``."""

    needs: ClassVar[str] = ""
    """What it needs beside labelled rows, such as ``"a source with outputs of its own"``.
    Where that is missing, ``build`` refuses with these words."""

    space: ClassVar[Mapping[str, Range | Choice]] = {}
    """The arguments that are worth a search; what ``fit`` chooses itself is not among them."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that it imports while it trains, and that Graft does without."""

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        """What the model is and what of it trains (``requires_grad``); looks at no data."""
        raise NotImplementedError

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        """Train it in place; constructor arguments stay as they are."""
        raise NotImplementedError

    def without(self) -> tuple[str, Strategy] | None:
        """Name and strategy of the same model without what this one adds: a control that runs beside it."""
        return None

    def passes_over(self, rows: int) -> Passes:
        """What fitting this many training rows asks of the network; looks at no data.

        A strategy on frozen features computes every row once, one with ``epochs`` trains on it that
        often; a strategy that does otherwise says so itself.
        """
        epochs = self.get_params(deep=False).get("epochs", 0)
        frozen = self.family in ("feature", "model") or self.starts_from in ("plain", "nothing")
        return Passes(learns=0.0) if frozen or not epochs else Passes(training=float(epochs))


@dataclass(frozen=True)
class Seen:
    """What one frozen pass of a source over rows gives.

    Parameters
    ----------
    features
        ``(n, d)`` float32, or ``scipy.sparse`` where they are too wide to be dense.
    outputs
        ``(n, c)`` raw outputs of the source's own head; ``None`` where it has none.
    card
        What is known of the source.
    groups
        ``(n,)``: rows of one number belong together (a group, copies), so that none may speak for
        another; ``None``: each stands alone.
    """

    features: Array
    outputs: Array | None
    card: Card
    groups: Array | None = None


class Score(BaseEstimator):  # type: ignore[misc]
    """How well a source may serve a task, told from its frozen features alone; higher is better.

    An option is a file in ``scores/``.
    """

    needs: ClassVar[str] = ""
    """What it needs beside features, such as ``"a source with outputs of its own"``.  Where that is
    missing, ``score`` refuses with these words."""

    kinds: ClassVar[tuple[Link, ...]] = ("softmax", "sigmoid", "identity")
    """The links of the tasks that it is defined for."""

    prior: ClassVar[bool] = False
    """Whether it knows the card alone, so that no row needs to be seen."""

    def score(self, seen: Seen, targets: Array) -> float:
        """The score; only its order among sources on the same rows means something.

        Parameters
        ----------
        targets
            ``(n,)`` int64 classes (softmax), ``(n, k)`` zeros and ones (sigmoid) or numbers (identity).

        Raises
        ------
        RequestError
            Where the source or the rows lack what it ``needs``.
        DivergedError
            For features that are not finite.
        """
        raise NotImplementedError

    def outputs(self, seen: Seen, targets: Array) -> Array | None:
        """``(n, c)`` raw outputs for each row by a model that did not learn from it.

        Where a score is how good these are, the task's own metric can be measured on them, with an
        interval; ``None`` for a score of any other kind.
        """
        return None

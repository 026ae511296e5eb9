"""The finer points of fine-tuning, in one value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from graft.errors import RequestError, UnknownNameError
from graft.limits import Limit, above, among, at_least, between, faults, flag, refuse, whole
from graft.train import LIMITS, Schedule

__all__ = ["SETTINGS", "TRAINING", "Tuning"]

BatchNorm = Literal["keep", "adapt"]
Head = Literal["prior", "prototypes", "probe"]
Objective = Literal["task", "gce", "sce", "focal"]

_SHARE = between(0, 1, "a share from 0 to below 1", ends=(True, False))

SETTINGS: Mapping[str, Limit] = {
    **LIMITS,
    "batch_norm": among(get_args(BatchNorm)),
    "head": among(get_args(Head)),
    "loss": among(get_args(Objective)),
    **dict.fromkeys(("dropout", "label_smoothing", "token_dropout"), _SHARE),
    **dict.fromkeys(("weight_decay", "l1", "l2", "mixup", "cutmix"), at_least()),
    **dict.fromkeys(("find_lr", "class_weights", "balanced", "augment"), flag()),
    "rand_augment": between(0, 30, "a number from 0 to 30"),
    "unfreeze": whole(0),
    "last": whole(0).or_none(),
    "head_lr": above(),
    "layer_decay": between(0, 1, "a factor above 0 and at most 1", ends=(False, True)),
}

"""Of the finer points."""

TRAINING: Mapping[str, Limit] = {"epochs": whole(), "lr": above()}
"""What strategies that fine-tune take beside the finer points."""


@dataclass(frozen=True)
class Tuning:
    """The finer points of fine-tuning; strategies that fine-tune share them.

    Parameters
    ----------
    head_lr
        Highest learning rate of the head on features of mean square 1; fainter ones get a higher rate.
    batch_size, accumulate
        Rows a step, and the parts in which they are computed one after the other.
    weight_decay, l1, l2
        Share of a weight that a rate of 1 would take away; penalties on the sizes of the weights that
        train and on their squares, as part of the loss.
    warmup, schedule
        Share of all steps in which the rates rise; ``cosine``, ``one_cycle``, ``plateau`` or
        ``constant`` afterwards (see :class:`graft.train.Recipe`).
    find_lr
        Whether the rates are multiplied by what a learning-rate range test finds.
    patience
        Epochs without a better validation metric after which it stops; ``None``: never.
    clip
        Largest norm of the gradient; ``None``: any.
    ema
        Share of the old value that a running average of the weights keeps at a step; ``None``: none.
    last
        How many stages of the network train, counted from its output; 0: the head alone; ``None``: all.
    unfreeze
        Gradual unfreezing: the head trains first, and one more stage joins every so many epochs; 0:
        all from the start.
    layer_decay
        Each stage learns at so many times the rate of the next one.
    batch_norm
        ``keep`` the source's averages, those of a few small batches being worse, or ``adapt`` them.
    head
        Where the head starts: at the classes' shares (``prior``), as a nearest-mean classifier
        (``prototypes``) or as a linear probe (``probe``).
    loss, label_smoothing
        The task's own loss, or ``gce``, ``sce`` (labels that may be wrong) or ``focal`` (rare classes);
        the share of each target that is spread over all classes.
    class_weights, balanced
        Whether classes count alike in the loss; whether rows of all classes are drawn alike often.
    dropout
        Share of the features that a training step hides from the head.
    augment
        Whether rows take the source's own random training form (crops, flips), where it has one.
    rand_augment
        Strength of RandAugment on images, up to 30; 0: none.
    mixup, cutmix
        Parameters of the Beta distribution of the shares in which rows are mixed; 0: not at all.  Rows
        that are no images are mixed as features.
    token_dropout
        Share of the words of a text that a training step leaves out.

    Examples
    --------
    >>> Tuning.of({"last": 1, "mixup": 0.2}).last
    1

    References
    ----------
    Howard and Ruder, Universal language model fine-tuning for text classification, ACL 2018
    (gradual unfreezing, discriminative rates).
    """

    head_lr: float = 2e-3
    batch_size: int = 32
    accumulate: int = 1
    weight_decay: float = 0.01
    l1: float = 0.0
    l2: float = 0.0
    warmup: float = 0.1
    schedule: Schedule = "cosine"
    find_lr: bool = False
    patience: int | None = 3
    clip: float | None = 1.0
    ema: float | None = None
    last: int | None = None
    unfreeze: int = 0
    layer_decay: float = 1.0
    batch_norm: BatchNorm = "keep"
    head: Head = "prior"
    loss: Objective = "task"
    label_smoothing: float = 0.0
    class_weights: bool = False
    balanced: bool = False
    dropout: float = 0.0
    augment: bool = True
    rand_augment: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    token_dropout: float = 0.0

    def __post_init__(self) -> None:
        found = faults(self, SETTINGS)
        if self.rand_augment and self.augment is False:
            found.append("rand_augment varies rows and augment=false forbids it; choose one")
        refuse(found)

    @classmethod
    def of(cls, given: Tuning | Mapping[str, Any] | None) -> Tuning:
        """The settings that a strategy was given: as an object, by name, or none.

        Raises
        ------
        UnknownNameError
            For a name that is no setting.
        RequestError
            For a value that cannot be; all such are listed at once.
        """
        if isinstance(given, Tuning):
            return given
        if not isinstance(given, Mapping | None):
            raise RequestError(f"tuning is {given!r}, expected settings by name, such as tuning.head_lr=1e-3.")
        known = [field.name for field in dataclasses.fields(cls)]
        stated = dict(given or {})
        for name in stated:
            if name not in known:
                raise UnknownNameError("option of tuning", name, known)
        return cls(**stated)

    @classmethod
    def checked(cls, given: Any, limits: Mapping[str, Limit]) -> Tuning:
        """The finer points of a strategy, once all of its arguments are looked at.

        Parameters
        ----------
        given
            Has ``tuning``, and every attribute that ``limits`` names.

        Raises
        ------
        UnknownNameError
            For a name that is no setting.
        RequestError
            For all that cannot be, of its own arguments and of the finer points.
        """
        found = faults(given, limits)
        try:
            made = cls.of(given.tuning)
        except UnknownNameError:
            raise
        except RequestError as exc:
            refuse([*found, str(exc).removesuffix(".")])
            raise
        refuse(found)
        return made

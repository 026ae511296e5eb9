"""Which of the textbook's settings of transfer a source and the target data make.

Pan and Yang, A survey on transfer learning, IEEE TKDE 2010: a domain is what rows look like and how
they are distributed, a task is what is predicted of them.  The setting decides the order in which
candidates are tried, and never the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graft.contracts import Card, FittedTask

__all__ = ["Name", "Setting", "Side", "setting_of"]

Side = Literal["same", "different", "unknown"]
Name = Literal["traditional", "transductive", "inductive", "unknown", "none"]


@dataclass(frozen=True)
class Setting:
    """Whether the source learnt from rows like these, and for a task like this one.

    Parameters
    ----------
    domain, task
        Of the source, beside those of the target.
    why
        What the two rest on, a sentence.
    learnt
        Whether the source ever learnt anything; without that nothing is transferred.
    """

    domain: Side
    task: Side
    why: str = ""
    learnt: bool = True

    @property
    def name(self) -> Name:
        """The textbook's name, for target rows that have labels.

        Another task is *inductive* transfer, whatever the domains; the same task on another domain is
        *transductive* (domain adaptation), on the same one *traditional* learning.
        """
        if not self.learnt:
            return "none"
        if self.task == "different":
            return "inductive"
        known: dict[Side, Name] = {"same": "traditional", "different": "transductive", "unknown": "unknown"}
        return known[self.domain] if self.task == "same" else "unknown"

    @property
    def rank(self) -> int:
        """The nearer the source, the lower: 0 for the same task on the same domain, 4 for one that never learnt."""
        if not self.learnt:
            return 4
        return 2 * (self.task != "same") + (self.domain != "same")

    def __str__(self) -> str:
        if not self.learnt:
            return "no transfer: it never learnt"
        words = {"same": "same {}", "different": "other {}", "unknown": "{} unknown"}
        sides = f"{words[self.domain].format('domain')}, {words[self.task].format('task')}"
        return sides if self.name == "unknown" else f"{self.name} ({sides})"


def setting_of(card: Card, fitted: FittedTask, modality: str, origin: str = "", classes: Sequence[str] = ()) -> Setting:
    """The setting, as far as the card tells; what it does not tell is ``unknown``.

    Parameters
    ----------
    modality
        Of the target rows.
    origin
        What they were read from: data are the same where the card names them.
    classes
        What the source's own outputs stand for, where that is known.
    """
    if card.pretraining == "none":
        return Setting("unknown", "unknown", "it never learnt from any data", learnt=False)
    domain, about_rows = _domain(card, modality, origin)
    task, about_task = _task(card, fitted, classes)
    return Setting(domain, task, f"{about_rows}; {about_task}")


def _domain(card: Card, modality: str, origin: str) -> tuple[Side, str]:
    if card.modality != modality:
        return "different", f"it learnt from {card.modality}, and the rows are {modality}"
    if card.pretraining is None:
        return "unknown", "nothing says what it learnt from"
    for name in _collections(card.pretraining):
        if any(part.startswith(name) for part in _parts(origin)):
            return "same", f"it learnt from {card.pretraining}, which the data are named after"
    return "different", f"it learnt from {card.pretraining}"


def _collections(pretraining: str) -> list[str]:
    """``ImageNet-1k without labels, then CIFAR-10`` as names that a path may carry."""
    parts = re.split(r"[,;()]| and | then | without ", pretraining)
    names = [_bare(re.sub(r"^\s*then\b", "", part)) for part in parts]
    return [name for name in names if len(name) >= 4]


def _parts(origin: str) -> list[str]:
    """The files and folders of where data came from."""
    return [_bare(part) for part in re.split(r"[/\\]| and ", origin)]


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _task(card: Card, fitted: FittedTask, classes: Sequence[str]) -> tuple[Side, str]:
    wanted = {str(each) for each in fitted.classes}
    if classes:
        same = set(classes) == wanted
        return ("same", "it tells the same classes apart") if same else ("different", "it tells other classes apart")
    if card.outputs is None:
        return "unknown", "nothing says what it was made to tell"
    if card.outputs == 0:
        return "different", "it has no outputs of its own"
    if card.outputs != fitted.n_outputs:
        return "different", f"it has {card.outputs} outputs of its own, and the task has {fitted.n_outputs}"
    return "unknown", f"it has {card.outputs} outputs as the task has, and nothing says what they stand for"

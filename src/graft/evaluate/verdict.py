"""Did transfer help?  One word, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from graft.errors import RequestError
from graft.evaluate.compare import Comparison
from graft.evaluate.metrics import HIGHER_IS_BETTER

__all__ = ["Verdict", "verdict"]

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Verdict:
    """Whether transfer helped.

    Parameters
    ----------
    word
        ``"helps"``, ``"harms"`` or ``"no evidence"``.
    against
        The control that decided: the hardest to beat.
    comparison
        The winner against that control.
    sentence
        The same for a person.
    """

    word: Literal["helps", "harms", "no evidence"]
    against: str
    comparison: Comparison
    sentence: str

    def __str__(self) -> str:
        found = self.comparison
        return f"{self.word}: {found.gain:+} {found.metric} over {self.against}, {found.evidence}"


def verdict(comparisons: Mapping[str, Comparison]) -> Verdict:
    """Judge the winner from its comparison with every control.

    It *helps* where every control is beaten, each with an interval above zero and p < 0.05; it
    *harms* where the interval against some control lies below zero; else there is *no evidence*.
    Since every test must reject before "helps" is said, the chance to say it wrongly stays below
    0.05 without a correction for their number (the intersection-union test).

    Parameters
    ----------
    comparisons
        Control name → the winner against it.

    Raises
    ------
    RequestError
        Where there is no control to judge by.

    References
    ----------
    Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24, 1982.
    """
    if not comparisons:
        raise RequestError("there is no control to judge transfer by; let at least one of the controls run.")
    harmed = [name for name, each in comparisons.items() if each.gain.high < 0]
    open_ = [name for name, each in comparisons.items() if not (each.gain.low > 0 and each.p_value < _SIGNIFICANT)]
    word: Literal["helps", "harms", "no evidence"] = "harms" if harmed else "no evidence" if open_ else "helps"
    # the control that is named is one that gave the word, so that its figures explain it
    against = min(harmed or open_ or comparisons, key=lambda name: _order(comparisons[name]))
    return Verdict(word, against, comparisons[against], _sentence(word, against, comparisons))


def _order(found: Comparison) -> tuple[bool, float]:
    """Hardest control first; one that cannot be compared is the hardest."""
    unknown = found.gain.value != found.gain.value
    return (not unknown, 0.0 if unknown else found.gain.value)


def _sentence(word: str, against: str, comparisons: Mapping[str, Comparison]) -> str:
    found = comparisons[against]
    gain, metric = found.gain, found.metric
    if gain.value != gain.value:
        return f"There is no evidence that transfer helps: {metric} has no value on the test rows against {against}."
    more = (gain.value >= 0) == HIGHER_IS_BETTER[metric.partition("/")[0]]
    ends = sorted((abs(gain.low), abs(gain.high))) if gain.low * gain.high > 0 else None
    reach = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
    distance = f"{metric} is {abs(gain.value):.3f}{reach} {'higher' if more else 'lower'} than that of {against}"
    if word == "helps":
        many = f", the hardest of {len(comparisons)} controls to beat" if len(comparisons) > 1 else ""
        return f"Transfer helps: its {distance}{many} ({found.evidence})."
    if word == "harms":
        return f"Transfer harms: its {distance}, which needs no transfer ({found.evidence})."
    return (
        f"There is no evidence that transfer helps: its {distance}, "
        f"which these rows cannot tell from chance (gain {gain:+}, {found.evidence})."
    )

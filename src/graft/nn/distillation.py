"""What a student is told by its teacher, as losses: outputs, features, and how rows lie to each other.

Nothing flows back into the teacher: its tensors are taken as they are.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from graft.contracts import Link
from graft.errors import RequestError

__all__ = ["angles", "distances", "dkd", "expected_outputs", "hints", "soft_targets"]


def soft_targets(student: Tensor, teacher: Tensor, temperature: float, link: Link = "softmax") -> Tensor:
    """``(n,)``: how far the student's outputs are from the teacher's, at a temperature.

    One class a row (softmax): ``T² KL(softmax(teacher/T) ‖ softmax(student/T))``.  Several labels a
    row (sigmoid): every label is a coin of its own, and the mean of the coins' divergences counts;
    a softmax over labels that do not exclude each other would be wrong.  Numbers (identity): the
    mean squared difference; they have no temperature.  ``T²`` keeps the gradient's size, which
    falls with ``1/T²``.

    Parameters
    ----------
    student, teacher
        Raw outputs ``(n, c)``; the teacher may say ``-inf`` for a class that it rules out.
    temperature
        Above 0; the higher, the more the wrong classes tell.

    Examples
    --------
    >>> soft_targets(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]]), 4.0).item()
    0.0

    References
    ----------
    Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015.
    """
    teacher = teacher.detach()
    if link == "identity":
        return (student - teacher).square().mean(dim=1)
    if link == "sigmoid":
        return temperature**2 * _coins(student / temperature, teacher / temperature).mean(dim=1)
    return temperature**2 * _divergence(student / temperature, teacher / temperature)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """``(n,)``: KL of two categorical distributions, given by logits."""
    told, guessed = teacher.softmax(dim=1), student.log_softmax(dim=1)
    return functional.kl_div(guessed, told, reduction="none").sum(dim=1)


def _coins(student: Tensor, teacher: Tensor) -> Tensor:
    """KL of coins, element by element, given by logits."""
    sides = [
        functional.kl_div(functional.logsigmoid(sign * student), torch.sigmoid(sign * teacher), reduction="none")
        for sign in (1, -1)
    ]
    return sides[0] + sides[1]


def dkd(student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, beta: float, temperature: float) -> Tensor:
    """``(n,)``: soft targets taken apart: the class that is right against all others, and the others among themselves.

    ``T² (α TCKD + β NCKD)``.  Soft targets alone are ``TCKD + (1 - p) NCKD``, with ``p`` the teacher's
    probability of the right class: the surer a teacher, the less it tells of the wrong classes.
    Here both parts have a weight of their own.

    Parameters
    ----------
    student, teacher
        Raw outputs ``(n, c)``.
    targets
        ``(n,)`` int64: the class that is right.
    alpha, beta
        Weights of the two parts; 1 and 8 in the paper's experiments on CIFAR-100.

    References
    ----------
    Zhao, Cui, Song, Qiu and Liang, Decoupled knowledge distillation, CVPR 2022, eq. 7.
    """
    teacher = teacher.detach()
    right = functional.one_hot(targets, student.shape[1]).bool()
    odds, others = zip(*(_apart(outputs / temperature, right) for outputs in (student, teacher)), strict=True)
    return temperature**2 * (alpha * _coins(*odds) + beta * _divergence(*others))


def _apart(outputs: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """``(n,)`` log odds of the right class against all others, and ``(n, c - 1)`` the others' outputs."""
    others = outputs[~right].view(len(outputs), -1)
    return outputs[right] - others.logsumexp(dim=1), others


def hints(
    student: Tensor,
    teacher: Tensor,
    regressor: nn.Module | None = None,
    by: Literal["squares", "angle"] = "squares",
) -> Tensor:
    """``(n,)``: how far the student's features are from the teacher's.

    Parameters
    ----------
    student, teacher
        Features ``(n, d)`` and ``(n, k)``.
    regressor
        Student's features → ``(n, k)``: it learns along, and is thrown away; needed where widths differ.
    by
        ``squares``: the mean squared difference; ``angle``: 1 less the cosine, which leaves lengths free.

    Raises
    ------
    RequestError
        Where widths differ and there is no regressor.

    References
    ----------
    Romero et al., FitNets: hints for thin deep nets, ICLR 2015, eq. 3.
    """
    teacher = teacher.detach()
    guessed: Tensor = student if regressor is None else regressor(student)
    if guessed.shape != teacher.shape:
        raise RequestError(
            f"the student's features have width {guessed.shape[1]} and the teacher's {teacher.shape[1]}; "
            "give a regressor that leads from one to the other."
        )
    if by == "angle":
        return 1 - functional.cosine_similarity(guessed, teacher, dim=1)
    return (guessed - teacher).square().mean(dim=1)


def distances(student: Tensor, teacher: Tensor) -> Tensor:
    """A scalar: how far the distances between the rows differ, each side's in units of its mean distance.

    The mean over all ``n²`` pairs of the Huber loss, as in the authors' code; fewer than two rows
    tell nothing, and give 0.

    Parameters
    ----------
    student, teacher
        Features ``(n, d)`` and ``(n, k)``; the widths are free.

    References
    ----------
    Park, Kim, Lu and Cho, Relational knowledge distillation, CVPR 2019, eq. 6.
    """
    return _huber(_apartness(student), _apartness(teacher.detach()))


def _apartness(features: Tensor) -> Tensor:
    """``(n, n)`` distances, in units of the mean of those above 0."""
    squares = (features[:, None] - features[None]).square().sum(dim=2)
    apart = squares > 0
    # the root has no slope at 0, where a row meets itself
    lengths = torch.where(apart, squares, 1.0).sqrt() * apart
    return lengths / (lengths.sum() / apart.sum().clamp(min=1)).clamp(min=torch.finfo(lengths.dtype).tiny)


def _huber(one: Tensor, other: Tensor) -> Tensor:
    """The mean; 0 of nothing."""
    return functional.smooth_l1_loss(one, other, reduction="sum") / max(1, one.numel())


def angles(student: Tensor, teacher: Tensor) -> Tensor:
    """A scalar: how far the angles differ that every three rows make, by their cosines.

    The mean over all ``n³`` triples of the Huber loss, as in the authors' code.

    Parameters
    ----------
    student, teacher
        Features ``(n, d)`` and ``(n, k)``; the widths are free.

    References
    ----------
    Park, Kim, Lu and Cho, Relational knowledge distillation, CVPR 2019, eq. 8.
    """
    return _huber(_corners(student), _corners(teacher.detach()))


def _corners(features: Tensor) -> Tensor:
    """``(n, n, n)``: at each row the cosine between the directions to two others."""
    directions = features[None] - features[:, None]
    squares = directions.square().sum(dim=2, keepdim=True)
    apart = squares > 0
    directions = directions / torch.where(apart, squares, 1.0).sqrt()
    return directions @ directions.transpose(1, 2)


def expected_outputs(chances: Tensor, seen: Tensor, values: Tensor, prior: Tensor, strength: float) -> Tensor:
    """``(n, c)``: what a classifier of other classes says of ours, by which of them occur together.

    ``Σ_z P(ours | z) P(z | row)``: the expected empirical predictor of LEEP, with ``strength`` rows
    of ``prior`` added to each of its classes ``z``, since some occur but once.

    Parameters
    ----------
    chances
        ``(n, z)`` probabilities of its own classes for the rows to tell about.
    seen, values
        ``(m, z)`` the same for rows whose answer is known, times what the rows weigh, and these answers
        ``(m, c)``.
    prior
        ``(c,)``: the answer where nothing is known.

    References
    ----------
    Nguyen, Hassner, Seeger and Archambeau, LEEP: a new measure to evaluate transferability of
    learned representations, ICML 2020, §3.
    """
    together = seen.T @ values + strength * prior
    often = seen.sum(dim=0, keepdim=True).T + strength
    return chances @ (together / often.clamp(min=torch.finfo(often.dtype).tiny))

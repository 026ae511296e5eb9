"""How sure outputs are, and how far new ones are from what a source was sure of."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from graft.contracts import Link

__all__ = ["confidence", "divergence_from", "sureness"]


def confidence(outputs: Tensor) -> Tensor:
    """``1 - H(softmax(outputs)) / log c``, ``(n,)`` in [0, 1]: 1 for one answer alone, 0 for all alike.

    Examples
    --------
    >>> confidence(torch.tensor([[0.0, 0.0], [0.0, 90.0]]))
    tensor([0., 1.])
    """
    log = functional.log_softmax(outputs, -1)
    return (1 + (log.exp() * log).sum(-1) / math.log(outputs.shape[-1])).clamp(0, 1)


def divergence_from(before: Tensor, now: Tensor, temperature: float = 1.0) -> Tensor:
    """``T² KL(softmax(before / T) ‖ softmax(now / T))``, ``(n,)``; ``before`` gets no gradient.

    ``T²`` keeps the gradient's size whatever the temperature.

    References
    ----------
    Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015, §2.
    Li and Hoiem, Learning without forgetting, ECCV 2016, equation 2 (it renormalises the
    probabilities' powers, which is the same).
    """
    wanted = functional.log_softmax(before.detach() / temperature, -1)
    found = functional.log_softmax(now / temperature, -1)
    return temperature**2 * (wanted.exp() * (wanted - found)).sum(-1)


def sureness(outputs: Tensor, link: Link) -> Tensor:
    """What the outputs of a task lack of the largest entropy, ``(n,)`` in [0, 1]; 0 where they are numbers.

    For several labels a row it is the mean over the labels.
    """
    if link == "identity" or (link == "softmax" and outputs.shape[1] < 2):
        return outputs.sum(1) * 0.0
    if link == "softmax":
        return confidence(outputs)
    share = torch.sigmoid(outputs)
    entropy = -(share * functional.logsigmoid(outputs) + (1 - share) * functional.logsigmoid(-outputs))
    return (1 - entropy / math.log(2)).mean(1).clamp(0, 1)

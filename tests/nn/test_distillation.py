"""Each loss and its gradient against the authors' formula, written another way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import expit, rel_entr, softmax
from scipy.stats import entropy
from torch import Tensor, nn
from torch.nn import functional

from graft.errors import RequestError
from graft.nn.distillation import angles, distances, dkd, expected_outputs, hints, soft_targets

RANDOM = np.random.default_rng(0)


def drawn(*shape: int) -> Tensor:
    return torch.from_numpy(3 * RANDOM.normal(size=shape))


def slopes(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    place = at.clone().requires_grad_()
    loss(place).sum().backward()  # type: ignore[no-untyped-call]
    assert place.grad is not None
    return place.grad


@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
def test_soft_targets_are_hintons(temperature: float) -> None:
    student, teacher = drawn(6, 5), drawn(6, 5)
    p, q = (softmax(each.numpy() / temperature, axis=1) for each in (teacher, student))
    expected = temperature**2 * entropy(p, q, axis=1)
    assert np.allclose(soft_targets(student, teacher, temperature), expected)
    grad = slopes(lambda s: soft_targets(s, teacher, temperature), student)
    assert np.allclose(grad, temperature * (q - p)), "the gradient that the paper derives, times T²"
    assert torch.autograd.gradcheck(lambda s: soft_targets(s, teacher, temperature), student.clone().requires_grad_())


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_several_labels_are_coins(temperature: float) -> None:
    student, teacher = drawn(6, 4), drawn(6, 4)
    p, q = (expit(each.numpy() / temperature) for each in (teacher, student))
    expected = temperature**2 * (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).mean(axis=1)
    assert np.allclose(soft_targets(student, teacher, temperature, "sigmoid"), expected)
    grad = slopes(lambda s: soft_targets(s, teacher, temperature, "sigmoid"), student)
    assert np.allclose(grad, temperature * (q - p) / 4)
    # adding the same number to all labels changes a multilabel answer, and leaves a softmax as it is
    assert not torch.allclose(soft_targets(student + 1, teacher, 1.0, "sigmoid"), soft_targets(student, teacher, 1.0))
    far = torch.tensor([[200.0, -200.0]], dtype=torch.float64)
    assert torch.isfinite(soft_targets(far, -far, 1.0, "sigmoid")).all()


def test_numbers_are_squared_differences() -> None:
    student, teacher = drawn(6, 2), drawn(6, 2)
    expected = ((student.numpy() - teacher.numpy()) ** 2).mean(axis=1)
    for temperature in (1.0, 5.0):
        assert np.allclose(soft_targets(student, teacher, temperature, "identity"), expected)
    assert torch.allclose(slopes(lambda s: soft_targets(s, teacher, 1.0, "identity"), student), student - teacher)


def test_a_class_may_be_ruled_out() -> None:
    student = drawn(3, 3)
    teacher = torch.tensor([[0.0, 1.0, -torch.inf]], dtype=torch.float64).expand(3, 3)
    grad = slopes(lambda s: soft_targets(s, teacher, 2.0), student)
    assert torch.isfinite(soft_targets(student, teacher, 2.0)).all()
    assert torch.isfinite(grad).all()


def the_authors_dkd(
    student: Tensor, teacher: Tensor, targets: Tensor, alpha: float, beta: float, temperature: float
) -> Tensor:
    """As the paper's code has it: masks, and 1000 taken from the right class."""
    right = torch.zeros_like(student).scatter_(1, targets[:, None], 1)

    def two(outputs: Tensor) -> Tensor:
        p = (outputs / temperature).softmax(1)
        return torch.cat([(p * right).sum(1, keepdim=True), (p * (1 - right)).sum(1, keepdim=True)], 1)

    tckd = functional.kl_div(two(student).log(), two(teacher), reduction="sum") * temperature**2 / len(targets)
    nckd = functional.kl_div(
        (student / temperature - 1000 * right).log_softmax(1),
        (teacher / temperature - 1000 * right).softmax(1),
        reduction="sum",
    ) * (temperature**2 / len(targets))
    return alpha * tckd + beta * nckd


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 1.0), (1.0, 8.0)])
def test_decoupled_is_the_authors(alpha: float, beta: float) -> None:
    student, teacher, targets = drawn(7, 5), drawn(7, 5), torch.tensor([0, 1, 2, 3, 4, 0, 2])
    ours = dkd(student, teacher, targets, alpha, beta, 4.0)
    assert ours.shape == (7,)
    assert torch.allclose(ours.mean(), the_authors_dkd(student, teacher, targets, alpha, beta, 4.0))
    grads = [
        slopes(lambda s, loss=loss: loss(s, teacher, targets, alpha, beta, 4.0).mean(), student)  # type: ignore[misc]
        for loss in (dkd, the_authors_dkd)
    ]
    assert torch.allclose(*grads)


def test_decoupled_and_coupled_are_one() -> None:
    temperature = 2.0
    student, teacher, targets = drawn(7, 5), drawn(7, 5), torch.tensor([0, 1, 2, 3, 4, 0, 2])
    p = (teacher / temperature).softmax(1)[torch.arange(7), targets]
    parts = dkd(student, teacher, targets, 1.0, 0.0, temperature), dkd(student, teacher, targets, 0.0, 1.0, temperature)
    assert torch.allclose(parts[0] + (1 - p) * parts[1], soft_targets(student, teacher, temperature))
    sure = torch.tensor([[500.0, 0.0, 0.0]], dtype=torch.float64)
    assert torch.isfinite(dkd(sure, -sure, torch.tensor([0]), 1.0, 8.0, 1.0)).all()
    two = dkd(drawn(3, 2), drawn(3, 2), torch.tensor([0, 1, 1]), 0.0, 1.0, 1.0)
    assert torch.equal(two, torch.zeros(3, dtype=torch.float64)), "two classes have no others among themselves"


def test_hints_are_fitnets() -> None:
    student, teacher, regressor = drawn(6, 3), drawn(6, 5), nn.Linear(3, 5).double()
    guessed = student.numpy() @ regressor.weight.detach().numpy().T + regressor.bias.detach().numpy()
    assert np.allclose(hints(student, teacher, regressor).detach(), ((guessed - teacher.numpy()) ** 2).mean(axis=1))
    cosines = (guessed * teacher.numpy()).sum(1) / np.linalg.norm(guessed, axis=1) / np.linalg.norm(teacher, axis=1)
    assert np.allclose(hints(student, teacher, regressor, by="angle").detach(), 1 - cosines)
    for by in ("squares", "angle"):
        assert torch.autograd.gradcheck(
            lambda s, by=by: hints(s, teacher, regressor, by),
            student.clone().requires_grad_(),  # type: ignore[misc]
        )
    assert torch.allclose(hints(student, 2 * student, by="angle"), torch.zeros(6, dtype=torch.float64))
    with pytest.raises(RequestError, match="width 3 and the teacher's 5; give a regressor"):
        hints(student, teacher)


def the_authors_distances(student: Tensor, teacher: Tensor) -> Tensor:
    """As the paper's code has it, by the expanded square."""

    def spread(e: Tensor) -> Tensor:
        squares = e.pow(2).sum(1)
        found = (squares[:, None] + squares[None] - 2 * e @ e.T).clamp(min=1e-12).sqrt()
        found = found * (1 - torch.eye(len(e), dtype=e.dtype))
        return found / found[found > 0].mean()

    return functional.smooth_l1_loss(spread(student), spread(teacher))


def the_authors_angles(student: Tensor, teacher: Tensor) -> Tensor:
    def corners(e: Tensor) -> Tensor:
        unit = functional.normalize(e.unsqueeze(0) - e.unsqueeze(1), p=2, dim=2)
        return torch.bmm(unit, unit.transpose(1, 2)).view(-1)

    return functional.smooth_l1_loss(corners(student), corners(teacher))


@pytest.mark.parametrize(("ours", "theirs"), [(distances, the_authors_distances), (angles, the_authors_angles)])
def test_relations_are_the_authors(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, Tensor], Tensor]
) -> None:
    student, teacher = drawn(7, 3), drawn(7, 5)
    assert torch.allclose(ours(student, teacher), theirs(student, teacher))
    found, expected = (slopes(lambda s, each=each: each(s, teacher), student) for each in (ours, theirs))  # type: ignore[misc]
    assert torch.allclose(found, expected)
    assert ours(student, 5 * student + 2).item() == pytest.approx(0, abs=1e-12), "place and scale are free"


@pytest.mark.parametrize("ours", [distances, angles])
def test_equal_rows_and_single_rows_leave_the_gradient_finite(ours: Callable[[Tensor, Tensor], Tensor]) -> None:
    for student in (torch.ones(1, 3), torch.ones(4, 3), torch.tensor([[0.0, 1], [0, 1], [2, 3]])):
        grad = slopes(lambda s: ours(s, torch.arange(2.0 * len(s)).view(-1, 2)), student)
        assert torch.isfinite(grad).all()


def test_nothing_flows_back_into_the_teacher() -> None:
    teacher = drawn(4, 3).requires_grad_()
    student = drawn(4, 3).requires_grad_()
    targets = torch.tensor([0, 1, 2, 0])
    total = distances(student, teacher) + angles(student, teacher) + hints(student, teacher).sum()
    total = total + soft_targets(student, teacher, 2.0).sum() + dkd(student, teacher, targets, 1.0, 1.0, 2.0).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None
    assert student.grad is not None


def test_other_classes_speak_of_ours_by_what_occurs_together() -> None:
    seen, answers = torch.from_numpy(softmax(RANDOM.normal(size=(9, 4)), axis=1)), torch.arange(9) % 3
    values = functional.one_hot(answers, 3).double()
    joint = np.zeros((3, 4))
    for row in range(9):
        joint[answers[row]] += seen[row].numpy() / 9
    given = joint / joint.sum(axis=0)  # P(y | z), as LEEP counts it
    found = expected_outputs(seen, seen, values, values.mean(dim=0), strength=0.0)
    assert np.allclose(found, seen.numpy() @ given.T)
    unknown = expected_outputs(torch.eye(4).double(), torch.zeros(2, 4).double(), values[:2], values.mean(0), 1.0)
    assert torch.allclose(unknown, values.mean(0).expand(4, 3)), "what was never seen tells the prior"


def test_relations_of_no_rows_are_nothing() -> None:
    none = torch.zeros(0, 3, requires_grad=True)
    for loss in (distances, angles):
        assert loss(none, torch.zeros(0, 4)).item() == 0.0

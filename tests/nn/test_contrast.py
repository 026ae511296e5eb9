from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from graft.nn.contrast import cosine_loss, likeness, supcon_loss

CLASSES = torch.tensor([0, 1, 0, 2, 1, 0, 1])


@pytest.fixture
def features() -> Tensor:
    made = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return made.requires_grad_(True)


def gradient(loss: Tensor, features: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, features)
    return found


class _Given(nn.Module):
    """Stands where sentence-transformers expects its model: features are there already."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return features


def test_cosine_loss_is_sentence_transformers_on_as_many_pairs_of_either_kind(features: Tensor):
    losses = pytest.importorskip("sentence_transformers.losses")
    pairs = list(itertools.combinations(range(7), 2))
    near = [pair for pair in pairs if CLASSES[pair[0]] == CLASSES[pair[1]]]
    far = [pair for pair in pairs if CLASSES[pair[0]] != CLASSES[pair[1]]]
    drawn = torch.tensor(near * len(far) + far * len(near))
    labels = torch.tensor([1.0] * (len(near) * len(far)) + [0.0] * (len(near) * len(far)), dtype=torch.float64)
    reference = losses.CosineSimilarityLoss(_Given())
    theirs = reference([{"sentence_embedding": features[drawn[:, side]]} for side in (0, 1)], labels)
    ours = cosine_loss(features, likeness(CLASSES).double())
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours, features), gradient(theirs, features))


def supcon_by_loops(features: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Equation 2 of the paper as it stands, with sums over sets."""
    z = features / features.norm(dim=1, keepdim=True)
    rows = range(len(z))
    each = []
    for i in rows:
        found = [p for p in rows if p != i and targets[p] == targets[i]]
        if found:
            below = sum(torch.exp(z[i] @ z[a] / temperature) for a in rows if a != i)
            each.append(-sum(torch.log(torch.exp(z[i] @ z[p] / temperature) / below) for p in found) / len(found))
    return sum(each) / len(each)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_supcon_is_the_papers(features: Tensor, temperature: float):
    ours = supcon_loss(features, likeness(CLASSES), temperature)
    theirs = supcon_by_loops(features, CLASSES, temperature)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours, features), gradient(theirs, features))


@pytest.mark.parametrize("loss", [cosine_loss, supcon_loss])
def test_gradients_are_those_of_finite_differences(loss, features: Tensor):
    soft = torch.rand(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = torch.rand(7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda given: loss(given, likeness(soft), weights=weights), (features,))


@pytest.mark.parametrize("loss", [cosine_loss, supcon_loss])
def test_a_row_without_weight_is_not_there(loss, features: Tensor):
    weights = torch.tensor([1.0, 1, 1, 1, 1, 1, 0], dtype=torch.float64)
    alike = likeness(CLASSES).double()
    if loss is supcon_loss:  # it stays among those that a row is told from
        assert gradient(loss(features, alike, weights=weights), features)[6].abs().max() > 0
        ones = torch.ones(7, dtype=torch.float64)
        torch.testing.assert_close(loss(features, alike, weights=2 * ones), loss(features, alike))
    else:
        torch.testing.assert_close(loss(features, alike, weights=weights), loss(features[:6], alike[:6, :6]))


@pytest.mark.parametrize("loss", [cosine_loss, supcon_loss])
@pytest.mark.parametrize("targets", [torch.zeros(7, dtype=torch.int64), torch.arange(7)])
def test_batches_of_one_kind_are_finite(loss, targets: Tensor, features: Tensor):
    value = loss(features, likeness(targets).double())
    assert value.isfinite()
    assert gradient(value, features).isfinite().all()
    if loss is supcon_loss and len(set(targets.tolist())) == 7:
        assert value == 0, "nothing is to be found"


def test_likeness_of_classes_sets_and_shares():
    assert likeness(torch.tensor([3, 1, 3])).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    sets = torch.tensor([[1.0, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0]])
    found = likeness(sets)
    torch.testing.assert_close(found[0], torch.tensor([1.0, 1 / 3, 0.0, 0.0]))
    assert found[2, 3] == 1
    torch.testing.assert_close(
        likeness(nn.functional.one_hot(CLASSES).float()), likeness(CLASSES), msg="sure soft labels are classes"
    )

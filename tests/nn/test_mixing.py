from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import CutMix, MixUp

from graft.errors import RequestError
from graft.nn.mixing import blend, cutmix, mixed_pairs, mixup, paste, soft_targets

CLASSES = torch.tensor([0, 2, 1, 2, 0])


@pytest.fixture(autouse=True)
def leaves_the_generator_alone():
    with torch.random.fork_rng():
        yield


def pictures(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    made = torch.rand(5, 3, 13, 17, generator=torch.Generator().manual_seed(0))
    return (made * 255).to(dtype)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_is_torchvisions_with_the_same_draws(seed: int, alpha: float):
    torch.manual_seed(seed)
    images, targets = mixup(pictures(), CLASSES, alpha, 3)
    torch.manual_seed(seed)
    theirs, wanted = MixUp(alpha=alpha, num_classes=3)(pictures(), CLASSES)
    torch.testing.assert_close(images, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(targets, wanted)
    assert targets.dtype == torch.float32


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_cutmix_is_torchvisions_with_the_same_draws(seed: int, dtype: torch.dtype):
    torch.manual_seed(seed)
    images, targets = cutmix(pictures(dtype), CLASSES, 1.0, 3)
    torch.manual_seed(seed)
    theirs, wanted = CutMix(alpha=1.0, num_classes=3)(pictures(dtype), CLASSES)
    assert images.dtype == dtype
    assert torch.equal(images, theirs)
    torch.testing.assert_close(targets, wanted)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_soft_labels_sets_and_numbers_are_mixed_as_they_are(mix):
    for targets in (torch.rand(5, 3), (torch.rand(5, 3) > 0.5).float(), 40 * torch.rand(5, 1)):
        torch.manual_seed(3)
        _, mixed = mix(pictures(), targets, 1.0)
        torch.manual_seed(3)
        _, shares = mix(pictures(), torch.arange(5), 1.0, 5)
        torch.testing.assert_close(mixed, shares @ targets)


def test_the_share_of_a_pasted_box_is_that_of_the_pixels_that_stay():
    partner = torch.arange(5).roll(1)
    for seed in range(20):
        torch.manual_seed(seed)
        ones = torch.eye(5)[:, :, None, None].expand(5, 5, 13, 17)
        pasted, share = paste(ones, partner, 0.4)
        torch.testing.assert_close(pasted.diagonal().mean(dim=(0, 1)), torch.full((5,), share))
    same, whole = paste(pictures(), partner, 1.0)
    assert whole == 1.0
    assert torch.equal(same, pictures())


def test_partners_are_others_and_shares_follow_alpha():
    partner, _ = mixed_pairs(4, 1.0)
    assert partner.tolist() == [3, 0, 1, 2]
    assert mixed_pairs(1, 1.0)[0].tolist() == [0]
    torch.manual_seed(0)
    wide, narrow = (torch.tensor([mixed_pairs(2, alpha)[1] for _ in range(600)]) for alpha in (0.2, 50.0))
    assert 0.4 < float(wide.mean()) < 0.6
    assert float(wide.std()) > 0.38
    assert float(narrow.std()) < 0.06


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_is_a_number_above_0(alpha: float):
    with pytest.raises(RequestError, match="expected a number above 0"):
        mixed_pairs(3, alpha)


def test_classes_become_shares():
    assert soft_targets(torch.tensor([1, 0]), 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    with pytest.raises(RequestError, match="class 2 of 2"):
        soft_targets(CLASSES, 2)


def test_a_blend_has_the_gradient_of_a_weighted_sum():
    partner = torch.tensor([1, 2, 0])
    values = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: blend(given, partner, 0.3), (values,))
    torch.testing.assert_close(blend(values, partner, 0.3), 0.3 * values + 0.7 * values[partner])
    assert blend(torch.tensor([0, 255], dtype=torch.uint8), torch.tensor([1, 0]), 0.5).tolist() == [127.5, 127.5]

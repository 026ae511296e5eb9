from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode, RandAugment

from graft.data.preprocess.augmented import OPERATIONS, Augmented, Plain, vary
from graft.data.preprocess.columns import ColumnPreprocess
from graft.data.preprocess.images import ImagePreprocess
from graft.data.preprocess.tokens import TokenPreprocess, wordpiece
from graft.errors import RequestError

INNER = ImagePreprocess(size=(48, 40), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
THEIRS = {
    "identity": "Identity", "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX",
    "translate_y": "TranslateY", "rotate": "Rotate", "brightness": "Brightness", "colour": "Color",
    "contrast": "Contrast", "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    "auto_contrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip


def picture(seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((90, 70), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_every_operation_is_torchvisions(name: str, magnitude: int):
    (image,) = INNER.items([picture()])
    reference = RandAugment(interpolation=InterpolationMode.BILINEAR, fill=128.0)
    strengths, signed = reference._AUGMENTATION_SPACE[THEIRS[name]]
    held = strengths(31, *image.shape[-2:])
    for sign in (1.0, -1.0) if signed else (1.0,):
        strength = 0.0 if held is None else sign * float(held[magnitude])
        wanted = reference._apply_image_or_video_transform(
            image, THEIRS[name], strength, reference.interpolation, reference._fill
        )
        made = vary(image, name, magnitude, sign)
        assert made.dtype == torch.uint8
        # Strengths are worked out in other orders of rounding, which may move a byte by one.
        assert int((made.int() - wanted.int()).abs().max()) <= 1
        assert float((made != wanted).float().mean()) < 0.02


def test_draws_depend_on_the_rows_seed_alone():
    augmented = Augmented(INNER, magnitude=9)
    rows, seeds = [picture(each) for each in range(12)], list(range(12))
    expected = augmented.items(rows, seeds)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda place: augmented.items([rows[place]], [seeds[place]])[0], range(12)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    other = augmented.items(rows, [seed + 99 for seed in seeds])
    assert not all(torch.equal(ours, theirs) for ours, theirs in zip(other, expected, strict=True))


def test_it_comes_after_the_training_form():
    rows, seeds = [picture(each) for each in range(60)], list(range(60))
    varied, plain = Augmented(INNER, 20, 1).items(rows, seeds), INNER.items(rows, seeds)
    same = [torch.equal(ours, theirs) for ours, theirs in zip(varied, plain, strict=True)]
    assert 0 < sum(same) < 30, "the identity is one of the operations"
    assert all(item.shape == (3, 48, 40) for item in varied)


def test_the_evaluation_form_stays():
    rows = [picture(), picture(1)]
    for wrapped in (Augmented(INNER, 30), Plain(INNER)):
        items = wrapped.items(rows)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(items, INNER.items(rows), strict=True))
        assert torch.equal(wrapped.collate(items), INNER.collate(items))
        assert wrapped.files() == INNER.files()
        assert wrapped.cost(items[0]) == 1
        assert wrapped.notes() == ()


def test_plain_draws_nothing():
    rows = [picture(), picture(1)]
    items = Plain(INNER).items(rows, [3, 4])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(items, INNER.items(rows), strict=True))


def test_what_is_lost_of_texts_is_still_told():
    tokens = TokenPreprocess(wordpiece(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na"), 4)
    wrapped = Plain(tokens)
    wrapped.items(["a a a a a"], [1])
    assert wrapped.notes() == tokens.notes() != ()
    assert Augmented(tokens).notes() == tokens.notes()


def test_only_images_are_varied():
    columns = ColumnPreprocess.learn(np.eye(3, dtype=np.float32))
    with pytest.raises(RequestError, match="varies images"):
        Augmented(columns).items([np.zeros(3, np.float32)], [1])


@pytest.mark.parametrize(("magnitude", "operations"), [(-1, 2), (31, 2), (float("nan"), 2), (9, 0)])
def test_strengths_that_cannot_be_are_refused(magnitude: float, operations: int):
    with pytest.raises(RequestError, match="rand_augment"):
        Augmented(INNER, magnitude, operations)

"""What is learnt without labels: each objective against its formula."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graft.errors import RequestError
from graft.nn.encoder import TextEncoder
from graft.nn.initialise import seeded
from graft.nn.masking import restoring
from graft.nn.tabular import FeatureTokenizer, TabularMLP


def cells(n: int = 64) -> dict[str, Tensor]:
    with seeded(1):
        known = torch.rand(n, 4) < 0.9
        numbers = torch.randn(n, 2)
        codes = torch.stack([torch.randint(1, 4, (n,)), torch.randint(4, 6, (n,))], dim=1) * known[:, 2:]
        return {"numbers": numbers, "codes": codes, "known": known}


class Watched(TabularMLP):
    """Remembers what it was shown."""

    shown: dict[str, Tensor]

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        self.shown = batch
        return super().forward(batch)


def watched() -> Watched:
    return Watched(2, (3, 2), hidden=(16, 8), dropout=0.0)


def reference(module: Any, given: dict[str, Tensor], asked: Tensor) -> Tensor:
    """The losses written out cell by cell."""
    again = module.decoder(module.trunk(module.trunk.shown))
    losses = []
    for row in range(len(again)):
        total = torch.zeros(())
        for column in range(4):
            if not (given["known"][row, column] and asked[row, column]):
                continue
            if column < 2:
                total = total + (again[row, column] - given["numbers"][row, column]) ** 2
            else:
                start, count, first = ((2, 3, 1), (5, 2, 4))[column - 2]
                chances = torch.softmax(again[row, start : start + count], 0)
                total = total - chances[given["codes"][row, column - 2] - first].log()
        losses.append(total)
    return torch.stack(losses)[:, None]


def test_an_autoencoder_gives_everything_back() -> None:
    with seeded(0):
        module, given = restoring(watched(), 8, cells(), "autoencoder", 0.3), cells()
    losses = module(given)
    assert losses.shape == (64, 1)
    assert module.trunk.shown is given
    torch.testing.assert_close(losses, reference(module, given, torch.ones(64, 4, dtype=torch.bool)))


def test_its_gradient_for_numbers_is_that_of_the_squared_error() -> None:
    with seeded(0):
        trunk, rows = nn.Linear(3, 2), torch.randn(5, 3)
        module: Any = restoring(trunk, 2, rows, "autoencoder", 0.3)
    module(rows).sum().backward()
    with torch.no_grad():
        features = trunk(rows)
        wrong = 2 * (module.decoder(features) - rows)
        torch.testing.assert_close(module.decoder.weight.grad, wrong.T @ features)
        torch.testing.assert_close(trunk.weight.grad, (wrong @ module.decoder.weight).T @ rows)


def test_noise_is_what_the_column_holds() -> None:
    with seeded(0):
        module, given = restoring(watched(), 8, cells(4000), None, 0.3), cells(4000)
        losses = module(given)
    shown = module.trunk.shown
    for place in range(2):
        moved = shown["numbers"][:, place] != given["numbers"][:, place]
        assert 0.27 < moved.float().mean() < 0.33
        assert torch.isin(shown["numbers"][:, place], given["numbers"][:, place]).all()
    counts = [torch.bincount(each["codes"][:, 0], minlength=4) / 4000 for each in (shown, given)]
    torch.testing.assert_close(*counts, atol=0.03, rtol=0)
    torch.testing.assert_close(losses[:64], reference(module, given, torch.ones(4000, 4, dtype=torch.bool))[:64])


def test_only_what_is_hidden_is_asked_for() -> None:
    with seeded(0):
        module, given = restoring(watched(), 8, cells(), "masked", 0.5), cells()
        losses = module(given)
    hidden = given["known"] & ~module.trunk.shown["known"]
    assert 0.3 < hidden.float().mean() < 0.6
    assert not module.trunk.shown["numbers"][hidden[:, :2]].any()
    assert not module.trunk.shown["codes"][hidden[:, 2:]].any()
    torch.testing.assert_close(losses, reference(module, given, hidden))


@pytest.mark.parametrize("objective", ["autoencoder", "denoise", "masked"])
def test_images_are_given_back_small(objective: Any) -> None:
    shown: list[Tensor] = []

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, images: Tensor) -> Tensor:
            shown.append(images)
            return self.layer(images.float().mean((2, 3)) / 255)

    with seeded(0):
        images = torch.randint(1, 100, (8, 3, 48, 64), dtype=torch.uint8)
        module: Any = restoring(Small(), 4, images, objective, 0.4)
        losses = module(images)
    assert shown[0].dtype == torch.uint8
    wanted = nn.functional.adaptive_avg_pool2d(images.float() / 255, 32)
    wrong = (module.decoder(module.trunk(shown[0])) - wanted) ** 2
    if objective == "autoencoder":
        assert torch.equal(shown[0], images)
    elif objective == "denoise":
        black = (shown[0] == 0).all(1)
        assert 0.35 < black.float().mean() < 0.45
    else:
        grey = (shown[0] == 128).all(1)
        assert 0.3 < grey.float().mean() < 0.5
        wrong = wrong * nn.functional.interpolate(grey[:, None, ::6, ::8].float(), (32, 32))
    torch.testing.assert_close(losses, wrong.sum((1, 2, 3))[:, None])


def encoder() -> TextEncoder:
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    with seeded(0):
        return TextEncoder(BertModel(config)).eval()


def test_hidden_words_are_told_from_the_others() -> None:
    batch = {"input_ids": torch.arange(24).view(2, 12), "attention_mask": torch.ones(2, 12, dtype=torch.int64)}
    batch["attention_mask"][1, 6:] = 0
    with seeded(3):
        module: Any = restoring(encoder(), 16, batch, None, 0.4)
    with seeded(8):
        losses = module(batch)
    with seeded(8):
        hidden = torch.rand(2, 12) < 0.4
    hidden[:, 0] = False
    hidden &= batch["attention_mask"].bool()
    assert hidden.any(1).all()
    words = module.trunk.transformer.get_input_embeddings()
    vectors = words(batch["input_ids"])
    vectors[hidden] = 0
    states = module.trunk.transformer(inputs_embeds=vectors, attention_mask=batch["attention_mask"]).last_hidden_state
    told = (module.decoder(states) @ words.weight.T + module.bias).log_softmax(-1)
    lost = -told.gather(2, batch["input_ids"][:, :, None])[:, :, 0]
    torch.testing.assert_close(losses[:, 0], (lost * hidden).sum(1) / hidden.sum(1))
    losses.sum().backward()
    assert words.weight.grad.abs().sum() > 0


def test_requests_that_cannot_work_are_refused() -> None:
    rows = torch.zeros(2, 3)
    for change, message in (
        ({"objective": "guess"}, "objective is 'guess'"),
        ({"corrupt": 0.0}, "corrupt is 0.0"),
        ({"batch": torch.zeros(2, 3, 4)}, "columns, images or tokens"),
        ({"batch": {"input_ids": rows.long()}, "objective": "denoise"}, "objective=masked for texts"),
        ({"batch": {"input_ids": rows.long()}, "objective": "masked"}, "word vectors that it can reach"),
    ):
        given: dict[str, Any] = {"batch": rows, "objective": None, "corrupt": 0.3, **change}
        with pytest.raises(RequestError, match=message):
            restoring(nn.Linear(3, 2), 2, **given)


@pytest.mark.parametrize("objective", ["autoencoder", "denoise", "masked"])
def test_a_transformer_over_columns_learns_them_too(objective: Any) -> None:
    with seeded(0):
        module = restoring(FeatureTokenizer(2, (3, 2), dim=8, depth=1, heads=2), 8, cells(), objective, 0.3)
        optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
        losses = []
        for _ in range(60):
            optimiser.zero_grad()
            loss = module(cells()).mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])

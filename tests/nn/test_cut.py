from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graft.contracts import Batch
from graft.nn import architectures
from graft.nn.cut import Cut, cut, frozen_stages, resumed
from graft.nn.encoder import TextEncoder


def freeze_but(module: nn.Module, stages: Sequence[str]) -> None:
    for name, value in module.named_parameters():
        value.requires_grad_(any(name == stage or name.startswith(f"{stage}.") for stage in stages))


def go_on(found: Cut, batch: Batch) -> Tensor:
    with torch.no_grad():
        held = found.record(batch)
    blank = batch if found.blank is None or isinstance(batch, dict) else batch.new_zeros(*batch.shape[:2], *found.blank)
    features: Tensor = found.rest(resumed(blank, held))
    return features


def check(module: nn.Module, found: Cut | str, batch: Batch) -> None:
    """Features and gradients are the whole network's, and a step moves both."""
    assert isinstance(found, Cut), found
    module.eval()
    found.rest.eval()
    learning = [value for value in module.parameters() if value.requires_grad]
    assert all(
        one is other
        for one, other in zip(learning, [v for v in found.rest.parameters() if v.requires_grad], strict=True)
    )
    for _ in range(2):
        whole, rest = module(batch), go_on(found, batch)
        torch.testing.assert_close(rest, whole, rtol=1e-5, atol=1e-5 * float(whole.detach().abs().max()))
        given, wanted = (
            torch.autograd.grad(each.square().sum(), learning, allow_unused=True) for each in (rest, whole)
        )
        for one, other in zip(given, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
        with torch.no_grad():
            for value in learning:
                value.add_(torch.randn_like(value), alpha=1e-3)


@pytest.mark.parametrize("last", [1, 2, 4])
@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv2_100"])
def test_image_networks_go_on_from_the_cut(name: str, last: int) -> None:
    torch.manual_seed(0)
    parts = architectures.build(f"timm/{name}")
    freeze_but(parts.module, parts.stages[-last:])
    images = [torch.randint(0, 255, (n, 3, 224, 224), dtype=torch.uint8) for n in (3, 2, 4)]
    found = cut(parts.module, parts.stages, images[:2])
    assert isinstance(found, Cut), found
    assert found.place == parts.stages[-last - 1]
    assert found.blank == (1, 1), "images need not be read again"
    check(parts.module, found, images[2])


def tokens(*lengths: int) -> Batch:
    generator = torch.Generator().manual_seed(sum(lengths))
    longest = max(lengths)
    batch = {"input_ids": torch.randint(3, 20, (len(lengths), longest), generator=generator)}
    if min(lengths) < longest:
        batch["attention_mask"] = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    return batch


@pytest.mark.parametrize("family", ["Bert", "MPNet", "ModernBert"])
def test_text_networks_go_on_from_the_cut(family: str) -> None:
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    special = {f"{name}_token_id": place for place, name in enumerate(("pad", "bos", "eos", "cls", "sep"))}
    config = getattr(transformers, f"{family}Config")(**sizes, **special, intermediate_size=16)
    network = getattr(transformers, f"{family}Model")(config)
    for value in network.parameters():
        value.data.add_(0.1 * torch.randn_like(value))
    module = TextEncoder(network)
    layers = "layers" if family == "ModernBert" else "encoder.layer"
    stages = ("transformer.embeddings", *(f"transformer.{layers}.{place}" for place in range(3)))
    stages = (*stages, "transformer.final_norm") if family == "ModernBert" else stages
    freeze_but(module, stages[3:])
    found = cut(module, stages, [tokens(7, 9, 8), tokens(5, 4)])
    assert isinstance(found, Cut), found
    assert found.place == stages[2]
    check(module, found, tokens(3, 11, 6, 6))


class Net(nn.Module):
    """Three blocks; ``way`` says how the third sees the first."""

    def __init__(self, way: str = "") -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3))
        self.past = nn.Linear(4, 4)
        if way == "silent":
            nn.init.zeros_(self.past.weight)
        self.way, self.act = way, nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        first = self.one(x)
        second: Any = self.two(first)
        third = self.three(self.act(second))
        if self.way in ("past", "silent"):
            third = third + self.past(first)
        return third + second if self.way == "direct" else third


ROWS = [torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.ones(2, 4)]


def test_what_follows_may_work_in_place() -> None:
    module = Net("direct")
    freeze_but(module, ("three",))
    found = cut(module, ("one", "two", "three"), ROWS)
    assert isinstance(found, Cut)
    batch = resumed(ROWS[0], found.record(ROWS[0]).detach())
    assert torch.equal(found.rest(batch), found.rest(batch))
    check(module, found, ROWS[0])


@pytest.mark.parametrize("way", ["past", "silent"])
def test_a_path_around_the_cut_is_found(way: str) -> None:
    module = Net(way)
    freeze_but(module, ("three", "past"))
    found = cut(module, ("one", "two", "three", "past"), ROWS)
    assert found == "what trains sees more of the network than two", "even where no data goes along it yet"
    freeze_but(module, ("past",))
    assert "sees more" in str(cut(module, ("one", "two", "three", "past"), ROWS))


def test_what_has_no_cut_says_why() -> None:
    module = Net()
    freeze_but(module, ("one", "two", "three"))
    assert cut(module, ("one", "two", "three"), ROWS) == "the network has no frozen block at its input"

    class Pair(Net):
        def forward(self, x: Tensor) -> Tensor:
            left, right = self.two(x)
            return self.three(left + right)  # type: ignore[no-any-return]

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.layer(x), x

    pair = Pair()
    pair.two = Two()  # type: ignore[assignment]
    freeze_but(pair, ("three",))
    assert cut(pair, ("two", "three"), ROWS) == "two gives more than one tensor"


def test_where_nothing_trains_the_features_are_recorded() -> None:
    module = Net()
    freeze_but(module, ())
    found = cut(module, ("one", "two", "three"), ROWS)
    assert isinstance(found, Cut)
    assert torch.equal(go_on(found, ROWS[0]), module(ROWS[0]))


def test_a_tuple_comes_out_as_it_went_in() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            return self.layer(x), None

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = Inner(), Inner(), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.three(self.two(self.one(x)[0])[0])  # type: ignore[no-any-return]

    module = Outer()
    freeze_but(module, ("three",))
    found = cut(module, ("one", "two", "three"), ROWS)
    assert isinstance(found, Cut)
    assert found.place == "two"
    check(module, found, ROWS[0])


def test_a_part_that_is_asked_for_more_than_its_output_is_computed() -> None:
    class Asking(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.three(self.two(self.one(x).to(self.one[0].weight.dtype)))  # type: ignore[no-any-return]

    module = Asking()
    module.two = nn.Linear(4, 4)  # type: ignore[assignment]
    freeze_but(module, ("three",))
    found = cut(module, ("one", "two", "three"), ROWS)
    assert isinstance(found, Cut)
    assert isinstance(found.rest.get_submodule("one"), nn.Sequential), "it stands, as the network looks inside it"
    check(module, found, ROWS[0])


def test_modes_and_hooks_are_left_as_they_were() -> None:
    module = Net()
    freeze_but(module, ("three",))
    module.train()
    module.two.eval()
    assert isinstance(cut(module, ("one", "two", "three"), ROWS), Cut)
    assert module.training
    assert not module.two.training
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_stages_are_frozen_from_the_input_on() -> None:
    module = Net()
    freeze_but(module, ("two",))
    assert frozen_stages(module, ("one", "two", "three")) == ("one",)
    assert frozen_stages(module, ("one", "three")) == ("one", "three")

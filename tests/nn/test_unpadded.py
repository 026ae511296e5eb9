from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from graft.nn import encoder as encoders
from graft.nn.encoder import TextEncoder
from graft.nn.unpadded import _kept, last_hidden_state, trains_unpadded

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 90,
    "pad_token_id": 0,
}
DRY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def encoder(kind: str = "bert", pooling: str = "mean", dtype: torch.dtype = torch.float64, **options) -> TextEncoder:
    torch.manual_seed(0)
    sizes = {**SIZES, **DRY, **options}
    if kind == "bert":
        transformer = BertModel(BertConfig(**sizes), add_pooling_layer=False)
    else:
        transformer = RobertaModel(RobertaConfig(**{**sizes, "pad_token_id": 1}), add_pooling_layer=False)
    with torch.no_grad():  # as after training: nothing is 0 or 1 any more
        for value in transformer.parameters():
            value.add_(torch.randn_like(value) * 0.05)
    return TextEncoder(transformer, pooling).to(dtype).train()


def batch(*lengths: int, pad: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.full((len(lengths), max(lengths)), pad)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(3, 50, (length,), generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids} | ({"attention_mask": mask} if min(lengths) < max(lengths) else {})


def gradients(module: TextEncoder, rows: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    module.zero_grad()
    features = module(rows)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(2)).to(features.dtype)
    (features * weights).sum().backward()
    held = module.named_parameters()
    return features.detach(), {name: value.grad.clone() for name, value in held if value.grad is not None}


def plainly(module: TextEncoder, rows: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch):
    """The same by the network's own forward pass."""
    with monkeypatch.context() as patch:
        patch.setattr(encoders, "trains_unpadded", lambda transformer: False)
        return gradients(module, rows)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("lengths", [(1,), (8, 8), (3, 20), (64, 1, 9, 63), (32,) * 5, tuple(range(2, 40))])
def test_features_and_gradients_equal_transformers(
    kind: str, lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, rows = encoder(kind), batch(*lengths, pad=0 if kind == "bert" else 1)
    assert trains_unpadded(module.transformer)
    features, grads = gradients(module, rows)
    expected, wanted = plainly(module, rows, monkeypatch)
    torch.testing.assert_close(features, expected, rtol=1e-10, atol=1e-12)
    assert grads.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(grads[name], value, rtol=1e-8, atol=1e-11, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("pooling", ["cls", "max", "lasttoken"])
def test_every_pooling_reads_the_same_tokens(pooling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, rows = encoder(pooling=pooling), batch(4, 17, 9)
    features, _ = gradients(module, rows)
    expected, _ = plainly(module, rows, monkeypatch)
    torch.testing.assert_close(features, expected, rtol=1e-10, atol=1e-12)


def test_only_what_learns_has_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    module, rows = encoder(), batch(4, 17, 9)
    network = module.transformer
    network.embeddings.requires_grad_(False)
    network.encoder.layer[0].requires_grad_(False)
    network.encoder.layer[1].attention.self.key.requires_grad_(False)
    network.encoder.layer[1].output.dense.bias.requires_grad_(False)
    network.encoder.layer[1].output.LayerNorm.weight.requires_grad_(False)
    _, grads = gradients(module, rows)
    _, wanted = plainly(module, rows, monkeypatch)
    assert grads.keys() == wanted.keys() == {name for name, value in module.named_parameters() if value.requires_grad}
    for name, value in wanted.items():
        torch.testing.assert_close(grads[name], value, rtol=1e-8, atol=1e-11)


def test_in_bfloat16_features_and_gradients_point_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    module, rows = encoder(dtype=torch.float32), batch(*range(2, 80, 3))
    expected, wanted = plainly(module, rows, monkeypatch)
    with torch.autocast("cpu", torch.bfloat16):
        features, grads = gradients(module, rows)
    assert nn.functional.cosine_similarity(features.float(), expected).min() >= 0.999
    for name, value in wanted.items():
        assert grads[name].dtype == torch.float32
        if not name.endswith("key.bias"):  # its gradient is 0 but for rounding
            assert nn.functional.cosine_similarity(grads[name].flatten(), value.flatten(), dim=0) >= 0.99, name


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_dropout_keeps_its_share_and_the_mean(share: float) -> None:
    torch.manual_seed(0)
    keep, scale = _kept((400, 501), share)
    assert set(keep.unique().tolist()) <= {-1, 0}
    assert -keep.float().mean() == pytest.approx(1 - share, abs=3e-3)
    assert scale * (1 - share) == pytest.approx(1.0 if share < 1 else 0.0, abs=1e-4)
    neighbours = torch.stack([keep[:, :-1].flatten(), keep[:, 1:].flatten()]).float()
    if share < 1:
        assert abs(float(torch.corrcoef(neighbours)[0, 1])) < 0.01


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dropout_disturbs_around_the_features_without_it(dtype: torch.dtype) -> None:
    wet = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    module, rows = encoder(dtype=torch.float32, **wet), batch(5, 17, 9)
    network = module.transformer
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16), torch.no_grad():
        many = torch.stack([last_hidden_state(network, **names(rows)).float() for _ in range(400)])
        still = last_hidden_state(network.eval(), **names(rows)).float()
    inside = rows["attention_mask"].bool()
    assert (many.std(0)[inside] > 0).all()
    offset = (many.mean(0) - still)[inside]
    assert offset.abs().mean() < 0.1 * many.std(0)[inside].mean() + 0.02


def names(rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | None]:
    return {"ids": rows["input_ids"], "mask": rows.get("attention_mask")}


def test_gradients_go_by_the_same_draw() -> None:
    """Finite differences under a fixed seed: forward and backward drop the same values."""
    wet = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}
    module, rows = encoder(pooling="cls", **wet), batch(5, 7)
    weight = module.transformer.encoder.layer[0].attention.self.value.weight

    def value() -> torch.Tensor:
        torch.manual_seed(3)
        return module(rows).square().mul(torch.arange(32.0)).sum()

    value().backward()
    with torch.no_grad():
        ahead = torch.randn(weight.shape, generator=torch.Generator().manual_seed(4), dtype=weight.dtype)
        slope = (weight.grad * ahead).sum()
    before = weight.detach().clone()
    found = []
    for sign in (1, -1):
        weight.data.copy_(before + sign * 1e-5 * ahead)
        found.append(value().item())
    assert (found[0] - found[1]) / 2e-5 == pytest.approx(slope.item(), rel=1e-5)


def test_frozen_parts_do_not_drop() -> None:
    module, rows = encoder(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5), batch(5, 7)
    for part in module.transformer.children():
        part.eval()
    assert torch.equal(module(rows), module(rows))


def test_networks_that_were_changed_or_are_watched_run_themselves() -> None:
    def plain() -> nn.Module:
        return encoder().transformer

    assert trains_unpadded(plain())
    adapted = plain()
    adapted.encoder.layer[0].output.dense = nn.Sequential(adapted.encoder.layer[0].output.dense)
    watched = plain()
    watched.encoder.layer[1].register_forward_hook(lambda *_: None)
    parametrised = plain()
    nn.utils.parametrizations.weight_norm(parametrised.encoder.layer[0].intermediate.dense)
    unbiased = plain()
    unbiased.encoder.layer[0].attention.self.query = nn.Linear(32, 32, bias=False)
    replaced = plain()
    replaced.encoder.layer[0].forward = lambda *_: None
    saving = plain()
    saving.activation_checkpointing_enable()
    saving.train()
    others = [BertModel(BertConfig(**SIZES, is_decoder=True)), nn.Linear(2, 2), plain().to("meta")]
    others.append(BertModel(BertConfig(**SIZES, chunk_size_feed_forward=2)))
    for network in (adapted, watched, parametrised, unbiased, replaced, saving, *others):
        assert not trains_unpadded(network), network


def test_evaluation_and_computing_without_gradients_use_the_network_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    module, rows = encoder(), batch(5, 7)
    monkeypatch.setattr(encoders, "last_hidden_state", None)
    module.eval()(rows)
    with torch.no_grad():
        module.train()(rows)

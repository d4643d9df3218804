"""Cheap dropout drops as often as torch's, leaves what it keeps in scale, and does as its seed says."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from exabench.training._dropout import CheapDropout, attention, dropped


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_as_many_elements_go_as_the_probability_says_and_the_others_keep_the_mean(p):
    torch.manual_seed(0)
    x = torch.ones(300_001)
    made = dropped(x, p)
    gone = (made == 0).float().mean().item()
    assert abs(gone - p) < 4 * (p * (1 - p) / len(x)) ** 0.5
    assert made.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-4)


def test_elements_that_share_a_draw_go_independently():
    torch.manual_seed(1)
    gone = (dropped(torch.ones(400_000), 0.5) == 0).view(-1, 4).float()
    correlation = torch.corrcoef(gone.T) - torch.eye(4)
    assert correlation.abs().max() < 0.02


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_two_ends_keep_everything_and_nothing(p):
    assert dropped(torch.ones(5), p).tolist() == [1 - p] * 5


def test_the_seed_alone_decides_the_mask():
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return dropped(torch.ones(3, 7), 0.5)

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))


@pytest.mark.parametrize("given", [{"dropout_p": 0.3}, {"dropout_p": 0.3, "is_causal": True}])
def test_its_attention_is_torchs_in_the_mean(given):
    torch.manual_seed(2)
    query, key, value = torch.randn(3, 2, 4, 6, 8)
    plain = functional.scaled_dot_product_attention(query, key, value, is_causal=given.get("is_causal", False))
    mean = torch.stack([attention(query, key, value, **given) for _ in range(4000)]).mean(0)
    assert (mean - plain).abs().max() < 0.1


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_masked_position_gets_no_weight(kind):
    torch.manual_seed(3)
    query, key, value = torch.randn(3, 1, 1, 5, 4)
    keep = torch.tensor([True, True, False, True, False]).expand(1, 1, 5, 5)
    mask = keep if kind == "bool" else torch.zeros(1, 1, 5, 5).masked_fill(~keep, -1e9)
    other = value.clone()
    other[..., [2, 4], :] = 1e6
    for seed in range(5):
        torch.manual_seed(seed)
        first = attention(query, key, value, mask, 0.2)
        torch.manual_seed(seed)
        assert torch.allclose(attention(query, key, other, mask, 0.2), first)


def test_in_its_context_alone_modules_and_attention_drop_cheaply():
    layer, x = nn.Dropout(0.5).train(), torch.ones(64)
    torch.manual_seed(4)
    wanted = dropped(x, 0.5)
    torch.manual_seed(4)
    with CheapDropout():
        assert torch.equal(layer(x), wanted)
        assert torch.equal(layer.eval()(x), x), "a model that is not learning drops nothing"
    torch.manual_seed(4)
    outside = layer.train()(x)
    torch.manual_seed(4)
    assert torch.equal(outside, functional.dropout(x, 0.5))


def test_the_gradient_flows_through_what_was_kept():
    torch.manual_seed(5)
    x = torch.ones(40, requires_grad=True)
    made = dropped(x, 0.5)
    made.sum().backward()
    assert torch.equal(x.grad, made.detach())

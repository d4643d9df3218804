"""Strategies: hand-computed scores, gradients, and what happens to a score where float runs out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from exabench.models.strategies import STRATEGIES

TWO = ("difference", "log_softmax", "softmax")


def made(name):
    return STRATEGIES[name]()


def test_scores_are_those_worked_out_by_hand():
    logits = torch.tensor([[2.0, 1.0, 9.0], [0.0, 3.0, -9.0]])  # positive, negative, a token nobody asked about
    e = math.e
    assert made("difference")(logits, (0, 1)).tolist() == [1.0, -3.0]
    assert made("softmax")(logits, (0, 1)).tolist() == pytest.approx([e / (e + 1), 1 / (1 + e**3)])
    assert made("log_softmax")(logits, (0, 1)).tolist() == pytest.approx([-math.log(1 + 1 / e), -math.log(1 + e**3)])
    assert made("logit")(logits, (2,)).tolist() == [9.0, -9.0]
    assert made("difference")(logits, (2, 0)).tolist() == [7.0, -9.0], "the answers say which column is positive"


def test_the_first_token_is_taken_against_the_whole_vocabulary():
    rows = [
        [0.0, 0.0, 3.0, 0.0],  # the positive answer is the first token
        [0.0, 3.0, 0.0, 0.0],  # the negative one
        [0.0, 0.0, 0.0, 3.0],  # another spelling of the negative one
        [3.0, 0.0, 0.0, 0.0],  # neither: counts as relevant
    ]
    p = math.exp(3) / (math.exp(3) + 3)
    scores = made("first_token")(torch.tensor(rows), (2, 1, 3))
    assert scores.tolist() == pytest.approx([1 + p, 1 - p, 1 - p, 1 + p])


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_scores_are_float32_and_have_the_gradient_that_finite_differences_give(name, monkeypatch):
    halves = torch.tensor([[1.0, 2.0, 0.5]], dtype=torch.bfloat16)
    assert made(name)(halves, (0, 1)).dtype == torch.float32
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # in double precision, as gradcheck needs
    logits = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(7), requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: made(name)(values, (2, 4)), (logits,))


@settings(max_examples=30)
@given(st.lists(st.tuples(*[st.floats(-60, 60, width=32)] * 2), min_size=2, max_size=30))
def test_monot5_and_twolar_rank_alike_except_where_the_softmax_saturates(rows):
    logits = torch.tensor(rows, dtype=torch.float32)
    difference = made("difference")(logits, (0, 1)).numpy()
    for name in ("softmax", "log_softmax"):
        other = made(name)(logits, (0, 1)).numpy()
        order = np.argsort(difference, kind="stable")
        assert (np.diff(other[order]) >= 0).all(), "nothing that the difference puts higher comes out lower"
        tied = (np.diff(other[order]) == 0) & (np.diff(difference[order]) > 1e-4)
        saturated = (difference[order][:-1] > 7) | (np.abs(difference[order][:-1]) > 85)
        assert (saturated | ~tied).all(), "and only what is saturated ties"


def test_where_float_saturates_softmax_ties_and_the_others_do_not():
    logits = torch.tensor([[18.0, 0.0], [20.0, 0.0], [40.0, 0.0]])
    ties = {name: 3 - len(set(made(name)(logits, (0, 1)).tolist())) for name in TWO}
    assert ties == {"softmax": 2, "difference": 0, "log_softmax": 0}
    assert len(set(logits.log_softmax(-1)[:, 0].tolist())) == 1, "which a plain log-softmax would"

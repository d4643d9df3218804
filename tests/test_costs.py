"""What ranking took, summed up by hand, and the name of what it ran on."""

from __future__ import annotations

import itertools
import os
import re
import socket
import subprocess
import sys
import time

import pytest
import torch
from models import encoder_folder

import exabench
from exabench.core.errors import BadInput
from exabench.core.nouns import Timing, Usage
from exabench.models.costs import cost_of, hardware, price_of

A = Usage(100, 5000, 100, 1e15, 4e15, 3, 0, {"missing": 2})
B = Usage(50, 1000, 50, 3e15, 1e15, 1, 1, {"missing": 1, "repeated": 4})


def test_a_cost_holds_means_per_query_and_totals_of_counts() -> None:
    timing = Timing(0.1, 0.2, 10, None, "a machine")
    cost = cost_of({"a": A, "b": B}, {"a": 0.5, "b": 1.0}, precision="float32", parameters=22, timing=timing)
    assert (cost.prompts, cost.input_tokens, cost.output_tokens) == (75, 3000, 75)
    assert (cost.flops_paper, cost.flops_exact) == (2e15, 2.5e15)
    assert cost.rpp == pytest.approx({"paper": (0.5 + 1 / 3) / 2, "exact": (0.125 + 1) / 2})
    assert cost.qpp == pytest.approx({"paper": 0.5, "exact": 0.4})
    assert (cost.cut_passages, cost.cut_queries) == (4, 1)
    assert cost.repairs == {"missing": 3, "repeated": 4}
    assert (cost.precision, cost.parameters, cost.timing) == ("float32", 22, timing)


def test_the_same_ten_queries_are_timed_however_slow_a_model_is(tmp_path, monkeypatch) -> None:
    seconds = itertools.count(0, 1000)
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    folder = encoder_folder(tmp_path / "encoder")
    timing = exabench.evaluate(str(folder), "mini", depth=5, part="bi_encoder")["mini"].cost.timing
    assert timing.sample == 10 and timing.p50 >= 1000


def test_the_share_of_cut_passages_is_over_all_of_them_and_unknown_where_it_is_for_one_query() -> None:
    cut = {"a": Usage(cut_passages=3, passages=20), "b": Usage(cut_passages=0, passages=4)}
    cost = cost_of(cut, {"a": 0.5, "b": 1.0}, precision="", parameters=None)
    assert (cost.passages, cost.cut_share) == (24, 0.125)
    unknown = cost_of({**cut, "c": Usage(prompts=1)}, {"a": 0.5, "b": 1.0, "c": 0.0}, precision="", parameters=None)
    assert (unknown.passages, unknown.cut_share) == (None, None)
    assert cost_of({}, {}, precision="", parameters=None).cut_share is None


def test_flops_unknown_for_one_query_are_unknown_for_all() -> None:
    cost = cost_of({"a": A, "b": Usage(1, 2, 3, 1e15)}, {"a": 0.5, "b": 1.0}, precision="", parameters=None)
    assert (cost.flops_exact, cost.rpp["exact"], cost.qpp["exact"]) == (None, None, None)
    assert cost.flops_paper == 1e15 and cost.qpp["paper"] == 1


def test_a_query_without_candidates_counts_in_the_means_and_has_no_quotient() -> None:
    cost = cost_of({"a": A, "empty": Usage(0, 0, 0, 0.0, 0.0)}, {"a": 0.5, "empty": 0.0}, precision="", parameters=1)
    assert cost.flops_exact == 2e15 and cost.qpp["exact"] == 0.5
    assert cost.rpp["exact"] == 0.5 / 4  # 0 metric for 0 FLOPs is not a number


def test_nothing_ranked_cost_nothing() -> None:
    cost = cost_of({}, {}, precision="", parameters=None)
    assert (cost.prompts, cost.flops_exact, cost.rpp["exact"], cost.qpp["paper"]) == (0.0, 0.0, None, None)


def test_the_order_of_the_queries_changes_no_bit() -> None:
    usages = {str(i): Usage(i, i, i, 0.1 * i + 1, 0.7 * i + 1) for i in range(50)}
    values = {query_id: 1 / (int(query_id) + 3) for query_id in usages}
    back = dict(reversed(usages.items()))
    assert cost_of(back, values, precision="", parameters=None) == cost_of(
        usages, values, precision="", parameters=None
    )


def test_the_hardware_is_named_and_the_machine_is_not() -> None:
    named = hardware()
    assert re.search(r"\b\d+ cores?\b", named)
    assert socket.gethostname() not in named and os.getcwd() not in named and "\n" not in named


def test_hardware_loads_no_torch_of_its_own_and_names_the_one_that_is_there() -> None:
    code = "import sys; from exabench.models.costs import hardware; print(hardware()); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    named, loaded = done.stdout.splitlines()
    assert "core" in named and "torch" not in named and loaded == "False"
    assert f"torch {torch.__version__}" in hardware() or " x " in hardware()


@pytest.mark.parametrize(
    ("tokens", "prices", "price"),
    [
        ((3, 1), ("0.1", "0.30"), "0.0000006"),
        ((10**15 + 1, 0), ("0.1", "0.3"), "100000000.0000001"),
        ((10**7, 10**7), ("0.1", "0.3"), "4"),
        ((0, 0), ("100", "1"), "0"),
    ],
)
def test_a_price_is_exact(tokens: tuple[int, int], prices: tuple[str, str], price: str) -> None:
    assert price_of(*tokens, *prices) == price


@pytest.mark.parametrize("wrong", ["-1", "NaN", "cheap", "", "Infinity", "1e9"])
def test_what_is_no_price_is_refused(wrong: str) -> None:
    with pytest.raises(BadInput, match="a price is a decimal number of at least 0"):
        price_of(1, 1, "0.1", wrong)

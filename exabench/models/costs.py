"""What a reranking took: the Usage of every query becomes one Cost; what it was computed on; the price of tokens."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation, localcontext

from exabench.core.errors import BadInput, plural
from exabench.core.nouns import Cost, Timing, Usage
from exabench.measure.metric_values import mean
from exabench.models.flops import qpp, rpp


def cost_of(
    usages: Mapping[str, Usage],
    per_query: Mapping[str, float],
    *,
    precision: str,
    parameters: int | None,
    timing: Timing | None = None,
) -> Cost:
    """The Cost of ranking these queries; `per_query` is the headline metric that they got.

    FLOPs that are unknown for one query are unknown for the mean, and so are the quotients made of them.
    """
    repairs: Counter[str] = Counter()
    for usage in usages.values():
        repairs.update(usage.repairs)
    flops_of_queries = {
        "paper": _if_all_known({query_id: usage.flops_paper for query_id, usage in usages.items()}),
        "exact": _if_all_known({query_id: usage.flops_exact for query_id, usage in usages.items()}),
    }
    means: dict[str, float | None] = dict.fromkeys(flops_of_queries)
    rpp_by_estimate: dict[str, float | None] = dict.fromkeys(flops_of_queries)
    qpp_by_estimate: dict[str, float | None] = dict.fromkeys(flops_of_queries)
    for estimate, flops in flops_of_queries.items():
        if flops is not None:
            means[estimate] = mean(flops.values())
            rpp_by_estimate[estimate] = rpp(per_query, flops)
            qpp_by_estimate[estimate] = qpp(flops)
    return Cost(
        prompts=mean(usage.prompts for usage in usages.values()),
        input_tokens=mean(usage.input_tokens for usage in usages.values()),
        output_tokens=mean(usage.output_tokens for usage in usages.values()),
        flops_paper=means["paper"],
        flops_exact=means["exact"],
        rpp=rpp_by_estimate,
        qpp=qpp_by_estimate,
        cut_passages=sum(usage.cut_passages for usage in usages.values()),
        cut_queries=sum(usage.cut_queries for usage in usages.values()),
        repairs=dict(sorted(repairs.items())),
        precision=precision,
        parameters=parameters,
        timing=timing,
    )


def hardware() -> str:
    """What this process computes on: processor, cores it may use, GPUs and PyTorch, where PyTorch is loaded."""
    torch = sys.modules.get("torch")
    cores = torch.get_num_threads() if torch else _cores()
    parts = [_processor(), plural(cores, "core")]
    if torch:
        if torch.cuda.is_available():
            cards = Counter(torch.cuda.get_device_name(card) for card in range(torch.cuda.device_count()))
            parts += [f"{count} x {name}" for name, count in sorted(cards.items())]
        parts.append(f"torch {torch.__version__}")
    return ", ".join(parts)


def price_of(tokens_read: int, tokens_written: int, input_price: str, output_price: str) -> str:
    """The exact price of tokens as a decimal number, from the prices of a million tokens.

    Raises BadInput for a price that is no decimal number from 0 on.
    """
    with localcontext(prec=60):
        total = (tokens_read * _price(input_price) + tokens_written * _price(output_price)) / 1_000_000
    text = f"{total:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text)
        if 0 <= price < 10**9:
            return price
    except InvalidOperation:  # no number, or one that nothing can be compared with
        pass
    raise BadInput(f"a price is a decimal number from 0 on, as in 0.25, not {text!r}")


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _if_all_known(flops: Mapping[str, float | None]) -> dict[str, float] | None:
    known = {query_id: float(value) for query_id, value in flops.items() if value is not None}
    return known if len(known) == len(flops) else None

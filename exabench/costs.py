"""What a reranking took: the Usage of every query becomes one Cost; and what it was computed on."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from collections.abc import Callable, Mapping

from exabench.errors import plural
from exabench.flops import qpp, rpp
from exabench.metrics._measure import mean
from exabench.nouns import Cost, Timing, Usage

ESTIMATES: Mapping[str, Callable[[Usage], float | None]] = {
    "paper": lambda usage: usage.flops_paper,
    "exact": lambda usage: usage.flops_exact,
}


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
    used = list(usages.values())
    flops = {name: _known({query_id: of(one) for query_id, one in usages.items()}) for name, of in ESTIMATES.items()}
    repairs: Counter[str] = Counter()
    for usage in used:
        repairs.update(usage.repairs)
    return Cost(
        prompts=mean(usage.prompts for usage in used),
        input_tokens=mean(usage.input_tokens for usage in used),
        output_tokens=mean(usage.output_tokens for usage in used),
        flops_paper=_mean_of(flops["paper"]),
        flops_exact=_mean_of(flops["exact"]),
        rpp={name: None if known is None else rpp(per_query, known) for name, known in flops.items()},
        qpp={name: None if known is None else qpp(known) for name, known in flops.items()},
        cut_passages=sum(usage.cut_passages for usage in used),
        cut_queries=sum(usage.cut_queries for usage in used),
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
        cards = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        counted = Counter(torch.cuda.get_device_name(card) for card in cards)
        parts += [f"{count} x {name}" for name, count in sorted(counted.items())]
        parts.append(f"torch {torch.__version__}")
    return ", ".join(parts)


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            found = next(names, "")
    except OSError:
        found = ""
    return " ".join(found.split()) or platform.processor() or platform.machine() or "unknown processor"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _known(flops: Mapping[str, float | None]) -> dict[str, float] | None:
    known = {query_id: float(value) for query_id, value in flops.items() if value is not None}
    return known if len(known) == len(flops) else None


def _mean_of(flops: Mapping[str, float] | None) -> float | None:
    return None if flops is None else mean(flops.values())

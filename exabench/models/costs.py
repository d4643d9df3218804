"""Costs of reranking: the Usages of all queries as one Cost, the hardware as text, the price of tokens."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

from exabench.core.errors import BadInput, plural
from exabench.core.nouns import Cost, Prompt, Timing, Usage
from exabench.measure.metric_values import mean
from exabench.models.flops import Shape, exact, paper, qpp, rpp

CHARACTERS_A_TOKEN = 4
"""Of English text: T5's tokenizer has 4.1 to 4.3, BERT's 4.5 to 4.6 on the first 400 passages of TREC-DL 2019, SciFact
and NFCorpus, so that an estimate is rather too high; of other languages and of code it is too low."""


def tokens_to_read(prompts: Iterable[Prompt]) -> int:
    """About how many tokens a teacher would read of prompts: their characters by CHARACTERS_A_TOKEN, no template."""
    characters = 0
    for prompt in prompts:
        characters += sum(len(text) for _, text in prompt.turns)
    return round(characters / CHARACTERS_A_TOKEN)


def usage_of(
    shape: Shape | None, read: Sequence[int | None], written: Sequence[int | None], *, rows: int, **counts: Any
) -> Usage:
    """The Usage of a query from the tokens read and written for each of its prompts.

    `rows` are those of the vocabulary computed for a token that is written, as in flops.exact; `counts` are further
    fields of Usage. Without a shape (an unknown model) FLOPs are None; so are tokens of which one count is, and FLOPs.
    """
    counts["prompts"] = len(read)
    known_read = _all_known(read)
    known_written = _all_known(written)
    counts["input_tokens"] = None
    counts["output_tokens"] = None
    if known_read is not None:
        counts["input_tokens"] = sum(known_read)
    if known_written is not None:
        counts["output_tokens"] = sum(known_written)
    # FLOPs of a part of the prompts would look like those of all.
    if shape is not None and known_read is not None and known_written is not None:
        counts["flops_paper"] = float(paper(shape, known_read, known_written).sum())
        counts["flops_exact"] = float(exact(shape, known_read, known_written, rows=rows).sum())
    return Usage(**counts)


def _all_known(counts: Iterable[int | None]) -> list[int] | None:
    """The counts; None where one of them is not known."""
    known = []
    for count in counts:
        if count is None:
            return None
        known.append(count)
    return known


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
    used = usages.values()
    means: dict[str, float | None] = {"paper": None, "exact": None}
    rpps = dict(means)
    qpps = dict(means)
    for estimate in means:
        flops = {query_id: getattr(usage, f"flops_{estimate}") for query_id, usage in usages.items()}
        if None not in flops.values():
            means[estimate] = mean(flops.values())
            rpps[estimate] = rpp(per_query, flops)
            qpps[estimate] = qpp(flops)
    repairs = Counter[str]()
    passages: int | None = 0
    for usage in used:
        repairs.update(usage.repairs)
        if passages is None or usage.passages is None:  # a share of some queries' passages is another number
            passages = None
        else:
            passages += usage.passages
    return Cost(
        prompts=mean(usage.prompts for usage in used),
        input_tokens=_mean(usage.input_tokens for usage in used),
        output_tokens=_mean(usage.output_tokens for usage in used),
        flops_paper=means["paper"],
        flops_exact=means["exact"],
        rpp=rpps,
        qpp=qpps,
        cut_passages=sum(usage.cut_passages for usage in used),
        cut_queries=sum(usage.cut_queries for usage in used),
        repairs=dict(sorted(repairs.items())),
        precision=precision,
        parameters=parameters,
        timing=timing,
        passages=passages,
    )


def _mean(counts: Iterable[int | None]) -> float | None:
    """The mean; None where one of the counts is not known."""
    known = _all_known(counts)
    if known is None:
        return None
    return mean(known)


def gpus() -> list[str]:
    """The names of the GPUs that torch sees, one for each; torch is loaded for this."""
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def hardware() -> str:
    """The hardware of this process: processor, cores that it may use, and where PyTorch is loaded, GPUs and PyTorch."""
    processor = platform.processor() or platform.machine() or "unknown processor"
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                _, _, name = line.partition(":")
                processor = " ".join(name.split())
                break  # the first core stands for all
    torch = sys.modules.get("torch")
    if torch is None:
        cores = os.cpu_count() or 1
        if hasattr(os, "sched_getaffinity"):  # not on a Mac
            cores = len(os.sched_getaffinity(0))
        return f"{processor}, {plural(cores, 'core')}"
    parts = [processor, plural(torch.get_num_threads(), "core")]
    for name, count in sorted(Counter(gpus()).items()):
        parts.append(f"{count} x {name}")
    return ", ".join([*parts, f"torch {torch.__version__}"])


def price_of(tokens_read: int, tokens_written: int, input_price: str, output_price: str) -> str:
    """The exact price of tokens as a decimal number, from the prices of a million tokens.

    Raises BadInput for a price that is not a decimal number from 0 on.
    """
    total = Decimal(0)
    with localcontext(prec=60):
        for tokens, text in ((tokens_read, input_price), (tokens_written, output_price)):
            try:
                price = Decimal(text)
                is_price = 0 <= price < 10**9
            except InvalidOperation:  # no number, or one that nothing can be compared with
                is_price = False
            if not is_price:
                raise BadInput(f"a price is a decimal number of at least 0, as in 0.25, not {text!r}")
            total += tokens * price
        shown = f"{total / 1_000_000:f}"
    if "." in shown:
        shown = shown.rstrip("0").rstrip(".")
    return shown

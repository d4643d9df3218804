"""Scoring pairs, against sentence-transformers and against one pair per forward, in the same process on the same pairs.

Prints ratios (theirs / ours in seconds, medians of paired rounds) for every back-end that is installed, the share of
the machine's own matrix-product rate that real tokens reach, int8 beside float32, and a memory curve. Equal scores are
asserted (1e-4, of a T5 1e-5), speeds are not. Uses TREC-DL 2019 where EXABENCH_DATA has it, else the embedded
collection.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import transformers
from sentence_transformers import CrossEncoder

from exabench.core.nouns import Passage, Query
from exabench.measure.metric_values import mean, measure
from exabench.measure.rank_agreement import kendall_tau
from exabench.measure.runs import read_run, run_of
from exabench.models.backends import installed_backends
from exabench.parts.assembly import reranker
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection

sys.path.insert(0, str(Path(__file__).parents[1]))
from models import MINILM, classifier_folder, minilm_folder, real_t5_tokenizer, t5_tokenizer  # noqa: E402

PAIRS, T5_PAIRS, ROUNDS, PAIRED_ROUNDS = 500, 8, 3, 5
AIMS = {"torch float32": 1.15, "openvino float32": 1.2, "torch bfloat16": 2.0, "openvino bfloat16": 2.0}
Job = tuple[Query, list[Passage]]


def jobs_of(task: str, run_name: str = "bm25") -> list[Job]:
    """Queries of a task, each with the passages of a first stage's top 100."""
    data = os.environ.get("EXABENCH_DATA", "")
    collection = open_collection(single_task(task), data or None)
    queries = {query.id: query for query in collection.queries()}
    passages = {passage.id: passage for passage in collection.passages()}
    if task == "mini":
        return [(query, list(passages.values())[:100]) for query in queries.values()]
    run = read_run(Path(data) / task / "runs" / f"{run_name}.trec")
    return [(queries[q], [passages[p] for p in run.ranking(q)[:100]]) for q in run.query_ids if q in queries]


def sampled(jobs: Sequence[Job], count: int, seed: int = 0) -> list[Job]:
    """`count` pairs, drawn from those of all queries."""
    pairs = [(query, passage) for query, passages in jobs for passage in passages]
    drawn: dict[Query, list[Passage]] = {}
    for query, passage in random.Random(seed).sample(pairs, min(count, len(pairs))):
        drawn.setdefault(query, []).append(passage)
    return list(drawn.items())


def product_rate(size: int = 1024, rounds: int = 10) -> float:
    """FLOP/s of a float32 matrix product, the best of some."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = min(timed(torch.mm, a, b)[0] for _ in range(rounds))
    return 2 * size**3 / best


def minilm_cross_encoder(folder: Path) -> Path:
    """The pretrained MiniLM with a classification head drawn by seed: the size and the speed of a real one."""
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(minilm_folder(), num_labels=1)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(minilm_folder()).save_pretrained(folder)
    return folder


def t5_base_size(folder: Path) -> Path:
    """A T5 of the base size, weights drawn by seed, with T5's own tokenizer where the data has it."""
    torch.manual_seed(0)
    data = Path(os.environ.get("EXABENCH_DATA", ""))
    real = (data / "tokenizers" / "t5_spiece.model").is_file()
    tokenizer = real_t5_tokenizer(data, folder / "tokenizer") if real else t5_tokenizer()
    size = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12}
    config = transformers.T5Config(vocab_size=32_128, decoder_start_token_id=0, **size)
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def timed(action: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    value = action(*arguments)
    return time.perf_counter() - start, value


def apart(action: Callable[..., Any], *arguments: Any) -> Any:
    """The action's value, from a new process."""
    # Not spawn: a spawned process inherits the peak memory of its parent.
    with ProcessPoolExecutor(1, get_context("forkserver")) as process:
        return process.submit(action, *arguments).result()


def ours(part: Any, jobs: Sequence[Job]) -> tuple[np.ndarray, float]:
    """Scores of all jobs in order, tokenising included and no score remembered, and the exact FLOPs they took."""
    scores, flops = [], 0.0
    for values, usage in part.score_many(jobs):
        scores += values
        flops += usage.flops_exact
    return np.array(scores), flops


def engines() -> dict[str, dict[str, str]]:
    """The options of every engine that is installed; bfloat16 where the processor computes it."""
    found = {}
    for backend in installed_backends():
        found[f"{backend} float32"] = {"backend": backend}
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    if "avx512_bf16" in flags or "amx_bf16" in flags:
        for backend in ("torch", "openvino"):
            if f"{backend} float32" in found:
                found[f"{backend} bfloat16"] = {"backend": backend, "precision": "bfloat16"}
    return found


def against_sentence_transformers(folder: Path, jobs: Sequence[Job]) -> None:
    """A MiniLM cross-encoder by every engine beside CrossEncoder.predict as it comes, in as many threads.

    Each round has other pairs, which all of them score, theirs first: an engine keeps what it has scored.
    """
    theirs = CrossEncoder(str(folder), max_length=512, device="cpu")
    parts = {}
    for name, told in engines().items():
        # an empty store for each: in the user's own the scores of an earlier run would wait
        parts[name] = reranker("cross_encoder", model=str(folder), scores=tempfile.mkdtemp(dir=folder.parent), **told)
    ratios: dict[str, list[float]] = {name: [] for name in parts}
    taus: dict[str, list[float]] = {name: [] for name in parts}
    shares = []
    for number in range(PAIRED_ROUNDS):
        some = sampled(jobs, PAIRS, number)
        pairs = [(query.text, passage.flat()) for query, passages in some for passage in passages]
        rate = product_rate()
        their_time, expected = timed(lambda pairs=pairs: theirs.predict(pairs, activation_fn=torch.nn.Identity()))
        rates = [f"theirs {len(pairs) / their_time:.1f}"]
        for name, part in parts.items():
            our_time, (found, flops) = timed(ours, part, some)
            if name.endswith("float32"):
                assert np.abs(found - np.asarray(expected)).max() < 1e-4
            if name == "torch float32":
                shares.append(flops / our_time / max(rate, product_rate()))
            ratios[name].append(their_time / our_time)
            taus[name].append(kendall_tau(found, np.asarray(expected, dtype=float)))
            rates.append(f"{name} {len(pairs) / our_time:.1f}")
        print(f"  MiniLM {len(pairs)} pairs, pairs/s: {', '.join(rates)}", flush=True)
    for name, values in ratios.items():
        print(
            f"MiniLM cross-encoder, {name}: {statistics.median(values):.2f} times sentence-transformers "
            f"(aim {AIMS.get(name, 'none')}), tau {statistics.median(taus[name]):.4f}"
        )
    print(f"torch float32: {statistics.median(shares):.0%} of the matrix-product rate by real tokens (aim 75 %)")


def one_pair_per_forward(folder: Path, jobs: Sequence[Job]) -> np.ndarray:
    """As TWOLAR's published evaluation does it: tokenise, one forward with the whole vocabulary, the next pair."""
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    true, false = (tokenizer.convert_tokens_to_ids(word) for word in ("▁true", "▁false"))
    scores = []
    for query, passages in jobs:
        for passage in passages:
            text = [f"Query: {query.text} Document: {passage.flat()} Relevant: "]
            features = tokenizer(text, truncation=True, return_tensors="pt", max_length=500, padding=True)
            start = torch.full((1, 1), model.config.decoder_start_token_id, dtype=torch.long)
            with torch.no_grad():
                logits = model(**features, decoder_input_ids=start).logits[:, 0, :]
            scores.append(float(logits[0, true] - logits[0, false]))
    return np.array(scores)


def against_one_pair_per_forward(folder: Path, jobs: Sequence[Job]) -> None:
    """A T5 of the base size."""
    ratios = []
    for _ in range(ROUNDS):
        their_time, expected = timed(one_pair_per_forward, folder, jobs)
        with tempfile.TemporaryDirectory() as scores:
            part = reranker("monot5", model=str(folder), strategy="difference", max_length=500, scores=scores)
            our_time, (found, _) = timed(ours, part, jobs)
        assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())
        ratios.append(their_time / our_time)
        print(f"  T5-base size, {len(found)} pairs: theirs {their_time:.1f} s, ours {our_time:.1f} s")
    print(f"T5-base size, float32: {statistics.median(ratios):.2f} times one pair per forward (aim 4)")


def int8() -> None:
    """The trained MiniLM over the embedded collection's candidates in int8 beside float32."""
    jobs = jobs_of("mini")
    qrels = open_collection(single_task("mini"), None).qrels("test")
    parts = {name: reranker("bi_encoder", model=MINILM, precision=name) for name in ("float32", "int8")}
    rounds = [{name: timed(part.score, *job)[0] for name, part in parts.items()} for job in jobs[:ROUNDS]]
    faster = statistics.median(seconds["float32"] / seconds["int8"] for seconds in rounds)
    values = {}
    for name, part in parts.items():
        scored = zip(jobs, part.score_many(jobs), strict=True)
        run = {q.id: dict(zip([p.id for p in ps], found, strict=True)) for (q, ps), (found, _) in scored}
        values[name] = mean(measure(qrels, run_of(name, run), ["nDCG@10"])[1]["nDCG@10"])
    print(
        f"MiniLM int8: {faster:.2f} times float32, nDCG@10 on mini "
        f"{values['int8']:.4f} for {values['float32']:.4f} (aim .005)"
    )


def size_after(folder: Path, copies: int) -> float:
    """Score `copies` times 5,000 pairs, all different by their queries, and return the resident size in MiB."""
    torch.set_num_threads(1)
    passages = [Passage(str(i), f"passage {i} " + "of some words " * (i % 12)) for i in range(100)]
    with tempfile.TemporaryDirectory() as scores:
        part = reranker("cross_encoder", model=str(folder), scores=scores, batch_tokens=2048)
        for _ in part.score_many((Query(str(i), f"query {i}"), passages) for i in range(50 * copies)):
            pass
    return psutil.Process().memory_info().rss / 2**20


def memory(folder: Path) -> None:
    """The resident size after 20,000 and 60,000 pairs, each in a process of its own."""
    for copies in (4, 12):
        print(f"memory after {5000 * copies:>6} pairs: {apart(size_after, folder, copies):.0f} MiB")


def main() -> int:
    """Everything, in about ten minutes."""
    there = (Path(os.environ.get("EXABENCH_DATA", "")) / "trec-dl-2019" / "runs").is_dir()
    jobs = jobs_of("trec-dl-2019" if there else "mini")
    with tempfile.TemporaryDirectory() as work:
        minilm = minilm_cross_encoder(Path(work) / "minilm")
        against_sentence_transformers(minilm, jobs)
        against_one_pair_per_forward(t5_base_size(Path(work) / "t5"), sampled(jobs[:T5_PAIRS], T5_PAIRS))
        int8()
        memory(classifier_folder(Path(work) / "tiny"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

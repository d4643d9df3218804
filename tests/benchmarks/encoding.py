"""Encoding passages, against sentence-transformers' own encode in the same process on the same passages.

Prints ratios (theirs / ours in seconds, paired rounds), how long exact search takes by either backend, and the peak
memory of encoding and searching growing collections, each in a process of its own. Equal vectors are asserted
(1e-5), speeds are not. Uses SciFact where EXABENCH_DATA has it, else the embedded collection.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from reranking import apart, timed
from sentence_transformers import SentenceTransformer

from exabench.core.nouns import Passage, Query
from exabench.hub.client import model_folder
from exabench.models.batches import CPU_SHARD_TOKENS
from exabench.models.dual_encoder import DualEncoder
from exabench.parts.retrievers.dense import BACKENDS, Dense, find_rows
from exabench.parts.retrievers.splade import Splade
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection

sys.path.insert(0, str(Path(__file__).parents[1]))
from models import MINILM, bert_tokenizer, encoder_folder  # noqa: E402

PASSAGES, ROUNDS = 64, 3


def against_sentence_transformers(task: str) -> None:
    """MiniLM on passages as they come, batch_size 32 there and a budget of tokens here; vectors must agree."""
    collection = open_collection(single_task(task), os.environ.get("EXABENCH_DATA") or None)
    texts = [passage.flat() for passage, _ in zip(collection.passages(), range(PASSAGES), strict=False)]
    folder = model_folder(MINILM)
    encoder = DualEncoder(folder, ("cpu",), batch_tokens=CPU_SHARD_TOKENS)
    theirs = SentenceTransformer(str(folder.path), device="cpu")
    timed(encoder.encode, texts[:8], "passage")
    ratios = []
    for _ in range(ROUNDS):
        their_time, expected = timed(lambda: theirs.encode(texts, batch_size=32))
        our_time, vectors = timed(encoder.encode, texts, "passage")
        assert np.abs(vectors - expected).max() < 1e-5
        ratios.append(their_time / our_time)
    print(
        f"{len(texts)} passages of {task}: sentence-transformers {len(texts) / their_time:.1f} passages/s, exabench "
        f"{len(texts) / our_time:.1f}; ratio median {statistics.median(ratios):.2f} "
        f"(min {min(ratios):.2f}, max {max(ratios):.2f})"
    )


def backends() -> None:
    """Scores of 256 queries against a shard of 4,096 passages in 384 dimensions, once the floor is known."""
    drawn = np.random.default_rng(0)
    queries, block = (drawn.normal(size=(n, 384)).astype(np.float32) for n in (256, 4096))
    floors = np.sort(queries @ block.T, axis=1)[:, -100]
    for name in BACKENDS:
        asked = (name, "dot", torch.device("cpu"), queries, block, floors, 100)
        seconds = [timed(find_rows, *asked)[0] for _ in range(5)]
        print(f"exact search by {name}: {256 * 4096 / statistics.median(seconds) / 1e6:.0f} million scores/s")


def synthetic(count: int) -> Iterator[Passage]:
    for i in range(count):
        yield Passage(f"p{i}", f"passage number {i} has {i % 97} words " + "and more " * (i % 5))


def peak_of(part: str, folder: str, count: int) -> float:
    """Encode and search `count` short passages and return the peak resident size in MiB."""
    with tempfile.TemporaryDirectory() as cache:
        if part == "dense":
            stage: Any = Dense(synthetic(count), model=folder, cache=cache)
        else:
            stage = Splade(synthetic(count), model=folder, cache=cache, terms=64, shard=128)
        run = stage.search([Query(str(i), f"number {i * 31}") for i in range(64)], 100)
        assert len(run.scores) == 6400
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(work: Path) -> None:
    """The same models over collections that grow; what grows with them is the disk alone."""
    encoder_folder(work / "dense")
    config = transformers.AutoConfig.from_pretrained(work / "dense")
    model = transformers.AutoModelForMaskedLM.from_config(config)
    torch.nn.init.constant_(model.get_output_embeddings().bias, -3.0)
    model.save_pretrained(work / "splade")
    bert_tokenizer().save_pretrained(work / "splade")
    for part, sizes in (("dense", (5_000, 20_000, 80_000)), ("splade", (256, 1_024))):
        for count in sizes:
            peak = apart(peak_of, part, str(work / part), count)
            print(f"{part}: peak memory over {count:>6} passages: {peak:.0f} MiB")


def main() -> int:
    """Everything, in about a minute on two free cores."""
    there = (Path(os.environ.get("EXABENCH_DATA", "")) / "scifact").is_dir()
    against_sentence_transformers("scifact" if there else "mini")
    if there:
        against_sentence_transformers("mini")
    backends()
    with tempfile.TemporaryDirectory() as work:
        memory(Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())

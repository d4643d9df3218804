"""The engine: equal scores however they are batched, nothing scored twice, nothing lost to a kill or a full memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import classifier_folder, t5_folder, t5_tokenizer

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.models import engine
from exabench.models.heads import Classifier
from exabench.parts.assembly import reranker

WORDS = "light of short waves is scattered more than light of long waves so the sky looks blue to us".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier_folder(tmp_path_factory.mktemp("models") / "bert")


class Counted:
    """A reranker over a score store that says how many pairs the store did not have; it is stopped after `most`."""

    def __init__(self, name: str, *, most: int = 1 << 30, **options: Any) -> None:
        self._most = most
        self.part: Any = reranker(name, progress=self._told, **options)

    def _told(self, done: int, total: int, what: str) -> None:
        self.computed = done
        if done > self._most:
            raise KeyboardInterrupt

    def scores(self, given: list[tuple[Query, list[Passage]]]) -> list[list[float]]:
        self.computed = 0
        return [values for values, _ in self.part.score_many(given)]


@pytest.fixture
def made(folder: Path, tmp_path: Path) -> Callable[..., Counted]:
    """A cross-encoder over a store of its own, with any options."""
    return lambda **options: Counted("cross_encoder", model=str(folder), **{"scores": tmp_path / "scores", **options})


def jobs(queries: int = 6, passages: int = 20) -> list[tuple[Query, list[Passage]]]:
    rng = random.Random(0)
    listed = [Passage(f"p{j}", " ".join(rng.choices(WORDS, k=rng.randint(0, 60)))) for j in range(passages)]
    return [(Query(f"q{i}", " ".join(rng.choices(WORDS, k=4 + i))), listed) for i in range(queries)]


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[list[float]]:
    """The scores of `jobs`, each query alone."""
    part = reranker("cross_encoder", model=str(folder))
    return [part.score(*job) for job in jobs()]


@pytest.mark.parametrize(
    ("window", "options"),
    [
        (16_384, {"batch_tokens": 1}),
        (7, {"batch_tokens": 100_000}),
        (50, {"batch_tokens": 200, "devices": ("cpu", "cpu")}),
    ],
)
def test_neither_batches_nor_windows_nor_workers_nor_the_order_move_a_score(
    made: Callable[..., Counted], expected: Any, monkeypatch: pytest.MonkeyPatch, options: Any, window: int
) -> None:
    monkeypatch.setattr(engine, "WINDOW", window)
    turned = [(query, passages[::-1]) for query, passages in jobs()[::-1]]
    scores = made(**options).scores(turned)
    assert np.allclose([values[::-1] for values in scores[::-1]], expected, atol=1e-5)


def test_jobs_are_read_one_window_ahead_and_no_further(made, monkeypatch) -> None:
    monkeypatch.setattr(engine, "WINDOW", 20)
    read = []

    def noted():
        for job in jobs(queries=8):
            read.append(job[0].id)
            yield job

    next(made().part.score_many(noted()))
    time.sleep(0.05)
    assert len(read) <= 2


def test_a_list_is_scored_once_and_no_other_list_moves_a_bit_of_it(made, tmp_path) -> None:
    given = jobs()
    shorter = [(query, passages[:7]) for query, passages in given]
    longer = [(query, [*passages, Passage("new", "a passage that was not there before")]) for query, passages in given]
    lists = [given, shorter, longer, given[::-1], given[2:]]
    alone = [made(scores=tmp_path / str(place)).scores(one) for place, one in enumerate(lists)]
    for order in ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)):
        part = made(scores=tmp_path / f"order {order}")
        for place in order:
            assert part.scores(lists[place]) == alone[place], order
        again = made(scores=tmp_path / f"order {order}")
        for place in order:
            assert again.scores(lists[place]) == alone[place], order
            assert (again.computed, again.part.pairs_per_second) == (0, None), order


def test_what_was_scored_in_other_batches_is_not_taken_for_these(made, tmp_path) -> None:
    given = jobs()
    small = made(scores=tmp_path / "alone", batch_tokens=100).scores(given)
    made().scores(given)
    assert made(batch_tokens=100).scores(given) == small


def test_equal_words_are_one_pair_and_asking_for_one_query_neither_reads_nor_fills_the_store(made) -> None:
    part = made()
    part.part.score(*jobs()[0])
    part.scores(jobs()[:1])
    assert part.computed == 20
    [values] = part.scores([(Query("1", "blue sky"), [Passage("a", "light", "of waves")] * 5)])
    assert len(set(values)) == 1 and part.computed == 1
    part.scores([(Query("2", "blue sky"), [Passage("b", "of waves light")])])
    assert part.computed == 0, "a pair is known by its texts, whatever its ids and fields"


def test_a_model_shares_its_scores_with_its_copies_and_with_no_other_identity(tmp_path) -> None:
    given = jobs(queries=1, passages=3)
    here = str(t5_folder(tmp_path / "here", t5_tokenizer()))
    there = shutil.copytree(here, tmp_path / "there")
    other = t5_folder(tmp_path / "other", t5_tokenizer(), seed=1)
    for computed, options in (
        (3, {"model": here}),
        (0, {"model": str(there)}),
        (3, {"model": str(other)}),
        (3, {"model": here, "strategy": "softmax"}),
        (3, {"model": here, "precision": "bfloat16"}),
        (3, {"model": here, "max_length": 64}),
    ):
        part = Counted("monot5", scores=tmp_path / "scores", **options)
        part.scores(given)
        assert part.computed == computed, options


def scored_jobs(model: str, store: str, most: int = 1 << 30) -> tuple[list[list[float]], int]:
    """A fixed run scored over the store: its scores, and how many of them were computed now."""
    rng = random.Random(1)
    passages = [Passage(str(i), " ".join(rng.choices("sky blue light wave sun".split(), k=i % 40))) for i in range(60)]
    part = Counted("cross_encoder", most=most, model=model, scores=store, batch_tokens=128)
    return part.scores([(Query(str(i), f"query {i}"), passages) for i in range(12)]), part.computed


def test_a_run_that_is_stopped_again_and_again_ends_with_the_bits_of_one_that_is_not(folder, tmp_path) -> None:
    undisturbed, pairs = scored_jobs(str(folder), str(tmp_path / "undisturbed"))
    for most in (0, 100, 300):
        with pytest.raises(KeyboardInterrupt):
            scored_jobs(str(folder), str(tmp_path / "scores"), most)
    kept = stored(tmp_path / "scores")
    assert scored_jobs(str(folder), str(tmp_path / "scores")) == (undisturbed, pairs - kept) and 300 < kept < pairs


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_kills_lose_nothing_repeat_nothing_and_move_no_bit(folder, tmp_path, seed) -> None:
    undisturbed, pairs = scored_jobs(str(folder), str(tmp_path / "undisturbed"))
    store = tmp_path / "scores"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["exabench.parts.rerankers.cross_encoder", "test_engine"])
    for mark in sorted(random.Random(seed).sample(range(1, pairs * 3 // 4), 4)):
        process = context.Process(target=scored_jobs, args=(str(folder), str(store)))
        process.start()
        while process.is_alive() and stored(store) < mark:
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it was done before it could be killed"
    kept = stored(store)
    assert scored_jobs(str(folder), str(store)) == (undisturbed, pairs - kept), "a finished pair was scored again"


def test_scores_are_on_disk_before_their_progress_is_told(folder, tmp_path) -> None:
    told: list[tuple[int, int]] = []

    def note(done: int, total: int, what: str) -> None:
        told.append((done, stored(tmp_path)))

    part = reranker("cross_encoder", model=str(folder), scores=tmp_path, batch_tokens=128, progress=note)
    list(part.score_many(jobs()))
    assert len(told) > 5 and all(done == kept for done, kept in told)


def stored(folder: Path) -> int:
    """The pairs of a store that somebody may be writing at this moment, or about to create: 8 bytes are a checksum."""
    count = 0
    for file in folder.glob("*.sqlite"):
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(file)) as base:
            count += base.execute("SELECT total(length(outputs) - 8) FROM computed").fetchone()[0]
    return int(count) // np.dtype(np.float32).itemsize


def narrow(monkeypatch: pytest.MonkeyPatch, room: int) -> list[int]:
    """Classifiers run out of memory above so many padded tokens, as on a small GPU; the sizes that they were given."""
    sizes = []
    whole = Classifier.logits

    def logits(head: Any, ids: torch.Tensor, *more: Any) -> torch.Tensor:
        if ids.numel() > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        sizes.append(ids.numel())
        return whole(head, ids, *more)

    monkeypatch.setattr(Classifier, "logits", logits)
    return sizes


def test_what_memory_does_not_hold_is_halved_until_it_does_and_one_pair_too_large_is_one_line(
    made, expected, monkeypatch
) -> None:
    part = made(batch_tokens=2000)
    sizes = narrow(monkeypatch, 300)
    assert np.allclose(part.scores(jobs()), expected, atol=1e-5)
    assert part.computed == 120 and max(sizes) <= 300
    narrow(monkeypatch, 5)
    with pytest.raises(BadInput, match="not have enough memory for one input of .* tokens; lower max_length"):
        part.scores([(Query("new", "another sky"), [Passage("p", "is blue and wide")])])


def test_a_model_whose_scores_depend_on_their_batch_is_refused_with_the_numbers(made, monkeypatch) -> None:
    """A head that forgets the attention mask, as a pipeline once did when its library changed."""
    masked = Classifier.logits
    monkeypatch.setattr(
        Classifier, "logits", lambda head, ids, mask, types: masked(head, ids, torch.ones_like(mask), types)
    )
    with pytest.raises(BadInput, match=r"fails the probe: .* differs by [\d.e-]+ of the largest score"):
        made()


def test_a_model_without_finite_scores_is_refused(made, monkeypatch) -> None:
    part = made()
    monkeypatch.setattr(Classifier, "logits", lambda head, ids, mask, types: torch.full((len(ids), 1), torch.nan))
    with pytest.raises(BadInput, match="fails the probe: a score is not finite in float32"):
        made()
    with pytest.raises(BadInput, match="gave a score that is not finite"):
        part.scores(jobs())


def test_usage_counts_what_a_query_takes_not_what_the_store_saves(made) -> None:
    given = jobs(queries=2)
    fresh = [usage for _, usage in made().part.score_many(given)]
    kept = [usage for _, usage in made().part.score_many(given)]
    assert fresh == kept
    assert fresh[0].prompts == 20 and fresh[0].flops_exact > 0 and fresh[0].flops_paper > 0
    assert fresh[0].cut_passages == fresh[0].cut_queries == 0

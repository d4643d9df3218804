"""The engine: equal scores however they are batched, nothing scored twice, nothing lost to a kill or a full memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
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
from toys import killed_scoring, scored_jobs

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.models import engine as _engine
from exabench.parts.assembly import reranker

WORDS = "light of short waves is scattered more than light of long waves so the sky looks blue to us".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier_folder(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def made(folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """A cross-encoder over a store of its own, with any options."""
    return lambda **options: reranker("cross_encoder", model=str(folder), **{"scores": tmp_path / "scores", **options})


def jobs(queries: int = 6, passages: int = 20, seed: int = 0) -> list[tuple[Query, list[Passage]]]:
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(0, 60))) for _ in range(passages)]
    return [
        (
            Query(f"q{i}", " ".join(rng.choices(WORDS, k=4 + i))),
            [Passage(f"p{j}", text) for j, text in enumerate(texts)],
        )
        for i in range(queries)
    ]


def scores(part: Any, given: list[tuple[Query, list[Passage]]]) -> list[list[float]]:
    return [values for values, _ in part.score_many(given)]


def test_a_run_scored_together_is_each_query_scored_alone(made) -> None:
    part, given = made(), jobs()
    together = scores(part, given)
    assert np.allclose(together, [part.score(*job) for job in given], atol=1e-5)


@pytest.mark.parametrize("budget", [1, 64, 100_000])
def test_the_batch_budget_moves_no_score(made, tmp_path, budget) -> None:
    expected = scores(made(), jobs())
    assert np.allclose(scores(made(batch_tokens=budget, scores=tmp_path / "other"), jobs()), expected, atol=1e-5)


def test_the_order_of_the_pairs_moves_no_score(made, tmp_path) -> None:
    given = jobs()
    turned = [(query, passages[::-1]) for query, passages in given[::-1]]
    other = scores(made(scores=tmp_path / "other"), turned)
    assert np.allclose(scores(made(), given), [values[::-1] for values in other[::-1]], atol=1e-5)


def test_two_workers_give_what_one_gives(made, tmp_path) -> None:
    two = made(devices=("cpu", "cpu"), scores=tmp_path / "other", batch_tokens=200)
    assert np.allclose(scores(two, jobs()), scores(made(), jobs()), atol=1e-5)


def test_windows_of_any_size_give_the_same(made, tmp_path, monkeypatch) -> None:
    expected = scores(made(), jobs())
    monkeypatch.setattr(_engine, "WINDOW", 7)
    assert np.allclose(scores(made(scores=tmp_path / "other"), jobs()), expected, atol=1e-5)


def test_jobs_are_read_one_window_ahead_and_no_further(made, monkeypatch) -> None:
    monkeypatch.setattr(_engine, "WINDOW", 20)
    read = []

    def noted():
        for job in jobs(queries=8):
            read.append(job[0].id)
            yield job

    answers = made().score_many(noted())
    next(answers)
    time.sleep(0.2)
    assert len(read) <= 2


def test_a_pair_is_scored_once_whatever_list_it_comes_in(made) -> None:
    first, again = made(), made()
    given = jobs()
    expected = scores(first, given)
    assert scores(again, given[::-1]) == expected[::-1]
    assert (first._engine.computed, again._engine.computed) == (120, 0)
    assert again.pairs_per_second is None
    longer = [(query, [*passages, Passage("new", "a passage that was not there before")]) for query, passages in given]
    assert [values[:-1] for values in scores(again, longer)] == expected
    assert again._engine.computed == len(given)


def test_the_same_pair_twice_in_a_list_is_computed_once(made) -> None:
    part = made()
    (query, passages), *_ = jobs()
    [values] = scores(part, [(query, [passages[0]] * 5)])
    assert len(set(values)) == 1 and part._engine.computed == 1


def test_the_same_words_under_another_id_are_the_same_pair(made) -> None:
    part = made()
    scores(part, [(Query("1", "blue sky"), [Passage("a", "light", "of waves")])])
    scores(part, [(Query("2", "blue sky"), [Passage("b", "of waves light")])])
    assert part._engine.computed == 1


def test_asking_for_one_query_neither_reads_nor_fills_the_store(made) -> None:
    part = made()
    part.score(*jobs()[0])
    assert part._engine.computed == 0
    scores(part, jobs()[:1])
    assert part._engine.computed == 20


@pytest.mark.parametrize("killed", ["strategy", "precision", "max_length", "model"])
def test_another_identity_shares_no_score(tmp_path, killed) -> None:
    folder = t5_folder(tmp_path / "one", t5_tokenizer())
    other = t5_folder(tmp_path / "two", t5_tokenizer(), seed=1)
    changed = {
        "strategy": {"strategy": "softmax"},
        "precision": {"precision": "bfloat16"},
        "max_length": {"max_length": 64},
        "model": {"model": str(other)},
    }[killed]
    given = jobs(queries=1, passages=3)
    parts = [
        reranker("monot5", **{"model": str(folder), "scores": tmp_path / "scores", **options})
        for options in ({}, changed)
    ]
    for part in parts:
        scores(part, given)
    assert parts[1]._engine.computed == 3


def test_a_copy_of_a_model_in_another_folder_shares_its_scores(tmp_path) -> None:
    given = jobs(queries=1, passages=3)
    for name, computed in (("here", 3), ("there", 0)):
        part = reranker("monot5", model=str(t5_folder(tmp_path / name, t5_tokenizer())), scores=tmp_path / "scores")
        scores(part, given)
        assert part._engine.computed == computed


# -- faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stores", [1, pytest.param(5, marks=pytest.mark.slow)], ids=["four", "twenty"])
def test_kills_lose_nothing_repeat_nothing_and_move_no_bit(folder, tmp_path, stores) -> None:
    expected = scored_jobs(str(folder), str(tmp_path / "undisturbed"))[0]
    pairs = stored(tmp_path / "undisturbed")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["toys", "exabench.parts.rerankers.cross_encoder"])
    rng = random.Random(7)
    for number in range(stores):  # four kills in a row on each store
        store = tmp_path / f"scores{number}"
        for mark in sorted(rng.sample(range(1, pairs * 3 // 4), 4)):
            process = context.Process(target=killed_scoring, args=(str(folder), str(store)))
            process.start()
            while process.is_alive() and stored(store) < mark:
                time.sleep(0.002)
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL, "it was done before it could be killed"
        kept = stored(store)
        found, computed = scored_jobs(str(folder), str(store))
        assert found == expected, "a resumed score differs in some bit"
        assert computed == pairs - kept > 0, "a finished pair was scored again"


def stored(folder: Path) -> int:
    """The pairs of a score store that somebody may be writing at this moment, or about to create."""
    count = 0
    for file in folder.glob("*.sqlite"):
        with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(file)) as base:
            count += base.execute("SELECT count(*) FROM pairs").fetchone()[0]
    return count


class Narrow:
    """A head that runs out of memory above so many padded tokens, as a small GPU does."""

    def __init__(self, head: Any, room: int) -> None:
        self._head, self._room, self.sizes = head, room, []
        self.limit, self.rows, self.pad = head.limit, head.rows, head.pad

    def logits(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None) -> torch.Tensor:
        if ids.numel() > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.sizes.append(ids.numel())
        return self._head.logits(ids, mask, types)


def narrowed(part: Any, room: int) -> Narrow:
    device, head = part._engine._free.get()
    narrow = Narrow(head, room)
    part._engine._free.put((device, narrow))
    return narrow


def test_what_memory_does_not_hold_is_halved_until_it_does(made, tmp_path) -> None:
    expected = scores(made(), jobs())
    part = made(scores=tmp_path / "other", batch_tokens=2000)
    narrow = narrowed(part, 300)
    assert np.allclose(scores(part, jobs()), expected, atol=1e-5)
    assert part._engine.computed == 120 and max(narrow.sizes) <= 300


def test_one_pair_that_memory_does_not_hold_is_one_line(made) -> None:
    part = made()
    narrowed(part, 10)
    with pytest.raises(BadInput, match="no memory for one input of .* tokens; lower max_length"):
        scores(part, jobs())


class Unmasked:
    """A head that forgets the attention mask, as a pipeline once did when its library changed."""

    def __init__(self, head: Any) -> None:
        self._head = head
        self.limit, self.rows, self.pad = head.limit, head.rows, head.pad

    def logits(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None) -> torch.Tensor:
        return self._head.logits(ids, torch.ones_like(mask), types)


class Broken(Unmasked):
    """A head whose half-precision overflows."""

    def logits(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None) -> torch.Tensor:
        return torch.full((len(ids), 1), torch.nan)


def test_a_model_whose_scores_depend_on_their_batch_is_refused_with_the_numbers(made) -> None:
    part = made()
    device, head = part._engine._free.get()
    part._engine._free.put((device, Unmasked(head)))
    with pytest.raises(BadInput, match=r"fails the probe: .* differ by [\d.e-]+ of the largest score"):
        part._engine._probe()


def test_a_model_without_finite_scores_is_refused(made) -> None:
    part = made()
    device, head = part._engine._free.get()
    part._engine._free.put((device, Broken(head)))
    with pytest.raises(BadInput, match="fails the probe: a score is not finite in float32"):
        part._engine._probe()
    with pytest.raises(BadInput, match="not finite"):
        scores(part, jobs())


def test_every_engine_knows_how_far_its_probe_moved(made) -> None:
    assert 0 <= made().probed <= 1e-4


# -- odd input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", " ", "\U0001f600", "word " * 100_000, "a\ud800b", "\x00\x1b[2J", "東京" * 400], ids=ascii
)
def test_odd_passages_and_queries_get_a_finite_score(made, text) -> None:
    part = made()
    values = part.score(Query("q", text[:3000]), [Passage("p", text), Passage("t", "", text)])
    assert len(values) == 2 and np.isfinite(values).all()


def test_an_empty_list_of_candidates_is_no_work(made) -> None:
    part = made()
    assert part.score(Query("q", "blue sky"), []) == []
    [(values, usage), (more, _)] = part.score_many([(Query("q", "x"), []), (Query("r", "y"), [Passage("p", "z")])])
    assert values == [] and usage.prompts == 0 and usage.flops_exact == 0 and len(more) == 1
    assert list(part.score_many([])) == []


def test_usage_counts_what_a_query_takes_not_what_the_store_saves(made) -> None:
    given = jobs(queries=2)
    fresh = [usage for _, usage in made().score_many(given)]
    kept = [usage for _, usage in made().score_many(given)]
    assert fresh == kept
    assert fresh[0].prompts == 20 and fresh[0].flops_exact > 0 and fresh[0].flops_paper > 0
    assert fresh[0].cut_passages == fresh[0].cut_queries == 0


def test_a_cut_passage_and_a_cut_query_are_counted(made) -> None:
    long = " ".join(WORDS * 60)
    [(_, usage)] = made(max_length=64).score_many([(Query("q", long), [Passage("p", long), Passage("e", "")])])
    assert (usage.cut_passages, usage.cut_queries) == (1, 2)
    assert usage.input_tokens == 128

"""Encoded passages on disk: encoded once, whole or not there, the same bytes however often the encoding was killed."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, strategies as st
from toys import contents

from exabench.core.errors import BadInput, CannotWrite
from exabench.core.files import only_writer
from exabench.core.nouns import Passage
from exabench.parts.retrievers._vectors import BestRows, Vectors

ABOUT = {"model": "toys/letters", "revision": "1"}
PASSAGES = [Passage(f"p{i}", f"text {i * 7919}", "title") for i in range(25)]
FIELDS = ("title", "text")


def letters(ids, texts):
    """An encoder that counts: each text as its length and its sum."""
    return {"vectors": np.array([[len(text), sum(map(ord, text))] for text in texts], np.float32)}


def filled(cache, passages=PASSAGES, shard=4, encode=letters, **options):
    vectors = Vectors(cache, ABOUT, ["vectors"], shard=shard)
    vectors.fill(passages, FIELDS, encode, **options)
    return vectors


def all_rows(vectors):
    return np.concatenate([vectors.read(shard, "vectors") for shard in vectors.shards])


# -- a collection, streamed ------------------------------------------------------------------------------------


def test_every_passage_has_its_row_and_its_id(tmp_path):
    vectors = filled(tmp_path)
    assert len(vectors) == len(PASSAGES) == vectors.encoded
    assert [shard.rows for shard in vectors.shards] == [4] * 6 + [1]
    np.testing.assert_array_equal(all_rows(vectors), letters([], [p.flat(FIELDS) for p in PASSAGES])["vectors"])
    every = BestRows(25)
    every.offer(np.arange(25), np.arange(25) / 2)
    assert vectors.scores_by_id([every]) == [{passage.id: i / 2 for i, passage in enumerate(PASSAGES)}]


@given(st.lists(st.integers(0, 24), min_size=1))
def test_ids_come_in_the_order_of_the_rows_that_were_asked(tmp_path_factory, rows):
    vectors = filled(tmp_path_factory.getbasetemp() / "shared")
    queries = [BestRows(1) for _ in rows]
    for number, row in enumerate(rows):
        queries[number].offer(np.array([row]), np.array([number + 0.5]))
    assert vectors.scores_by_id(queries) == [{f"p{row}": number + 0.5} for number, row in enumerate(rows)]
    found = vectors.scores_by_id(queries, lambda shard, numbers, inside: 100.0 * numbers + shard.first + inside)
    assert found == [{f"p{row}": 100.0 * number + row} for number, row in enumerate(rows)]


def test_a_collection_met_again_costs_nothing(tmp_path):
    before = contents(filled(tmp_path).folder)
    again = filled(tmp_path, iter(PASSAGES))
    assert again.encoded == 0
    assert contents(again.folder) == before


def test_a_passage_that_changed_costs_its_own_shard_alone(tmp_path):
    filled(tmp_path)
    changed = [*PASSAGES[:9], Passage("p9", "other text"), *PASSAGES[10:]]
    seen = []
    vectors = filled(tmp_path, changed, encode=lambda ids, texts: seen.append(list(ids)) or letters(ids, texts))
    assert seen == [["p8", "p9", "p10", "p11"]]
    np.testing.assert_array_equal(all_rows(vectors), letters([], [p.flat(FIELDS) for p in changed])["vectors"])


@pytest.mark.parametrize("other", [{"revision": "2"}, {"prompt": "passage: "}, {"model": "toys/digits"}])
def test_another_encoder_has_another_folder_which_says_what_it_holds(tmp_path, other):
    first, second = filled(tmp_path), Vectors(tmp_path, ABOUT | other, ["vectors"], shard=4)
    second.fill(PASSAGES, FIELDS, letters)
    assert (second.folder != first.folder, second.encoded) == (True, 25)
    assert json.loads((second.folder / "about.json").read_text()) == ABOUT | other


def test_no_more_than_a_shard_is_read_ahead(tmp_path):
    read = 0

    def passages():
        nonlocal read
        for passage in PASSAGES:
            read += 1
            yield passage

    encoded = 0

    def encode(ids, texts):
        nonlocal encoded
        encoded += len(ids)
        assert read == encoded
        return letters(ids, texts)

    assert len(filled(tmp_path, passages(), encode=encode)) == 25


def test_progress_counts_passages(tmp_path):
    told = []
    filled(tmp_path, progress=lambda *step: told.append(step))
    assert told == [(min(4 * i, 25), 25, "passages encoded") for i in range(1, 8)]


def test_an_empty_collection_and_an_empty_shard_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no passage"):
        filled(tmp_path, iter([]))
    with pytest.raises(BadInput, match="at least 1 passage, not 0"):
        filled(tmp_path, shard=0)


# -- what can go wrong -----------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_but_a_reader_is_not(tmp_path):
    folder = filled(tmp_path, PASSAGES[:8]).folder
    code = (
        "import sys; from exabench.core.files import only_writer as w\nwith w(sys.argv[1]): print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline()
        with pytest.raises(CannotWrite, match=f"process {holder.pid} .* is writing here"):
            filled(tmp_path)
        assert filled(tmp_path, PASSAGES[:8]).encoded == 0
        holder.kill()
    assert filled(tmp_path).encoded == 17
    with only_writer(folder):  # let go of afterwards
        pass


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "ids gone", "ids cut"])
def test_a_damaged_shard_is_encoded_again(tmp_path, damage):
    vectors = filled(tmp_path)
    before = contents(vectors.folder)
    file = vectors.folder / f"{vectors.shards[2].digest}.{'ids' if 'ids' in damage else 'vectors.npy'}"
    file.unlink() if "gone" in damage else os.truncate(file, 0 if damage == "empty" else file.stat().st_size - 2)
    again = filled(tmp_path)
    assert again.encoded == 4
    assert contents(again.folder) == before


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_at_any_write_loses_no_whole_shard(tmp_path, monkeypatch, step):
    expected = contents(filled(tmp_path / "whole").folder)
    real, calls = getattr(os, step), 0

    def full(*arguments):
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, "no space")
        return real(*arguments)

    monkeypatch.setattr(os, step, full)
    for failing in range(1, len(expected) + 1):
        calls, cache = 0, tmp_path / str(failing)
        with pytest.raises(CannotWrite, match="disk is full"):
            filled(cache)
        calls = len(expected)
        vectors = filled(cache)
        assert contents(vectors.folder) == expected
        assert vectors.encoded == 25 - 4 * max(0, (failing - 2) // 2)  # about.json, then two files a shard


SLOW = """
import sys, time
from pathlib import Path
import numpy as np
from exabench.core.nouns import Passage
from exabench.parts.retrievers._vectors import Vectors
def slow(ids, texts):
    time.sleep(0.01)
    return {"vectors": np.array([[len(text), sum(map(ord, text))] for text in texts], np.float32)}
print("start", flush=True)
passages = (Passage(f"p{i}", f"text {i * 7919}", "title") for i in range(25))
vectors = Vectors(Path(sys.argv[1]), {"model": "toys/letters", "revision": "1"}, ["vectors"], shard=1)
vectors.fill(passages, ("title", "text"), slow)
print("end", flush=True)
"""


def test_an_encoding_killed_again_and_again_gives_the_same_bytes(tmp_path):
    expected = contents(filled(tmp_path / "whole", shard=1).folder)
    drawn, done, kills = random.Random(3), False, 0
    command = [sys.executable, "-c", SLOW, str(tmp_path / "killed")]
    while not done:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None and running.stdout.readline() == "start\n"
            if kills < 5:
                time.sleep(drawn.uniform(0.0, 0.15))
                running.kill()
                kills += 1
            done = "end" in running.stdout.read()
    vectors = filled(tmp_path / "killed", shard=1)
    assert (kills, vectors.encoded, contents(vectors.folder)) == (5, 0, expected)


def test_what_a_killed_writer_left_is_swept(tmp_path):
    folder = filled(tmp_path, PASSAGES[:4]).folder
    (folder / ".abc.vectors.npy.x1.unfinished").write_bytes(b"half")
    filled(tmp_path)
    assert not list(folder.glob(".*"))


# -- the best rows ---------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8), st.integers(1, 15))
def test_the_best_rows_are_those_of_the_whole_with_every_tie_at_the_cut(chunks, depth):
    best, first = BestRows(depth), 0
    for chunk in chunks:
        best.offer(np.arange(first, first + len(chunk)), np.array(chunk, np.float32))
        first += len(chunk)
    scores = [score for chunk in chunks for score in chunk]
    cut = sorted(scores)[-depth] if len(scores) > depth else -1
    assert dict(zip(best.rows.tolist(), best.scores.tolist(), strict=True)) == {
        row: score for row, score in enumerate(scores) if score >= cut
    }


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60), st.integers(1, 10), st.randoms())
def test_scores_off_by_less_than_the_margin_lose_none_of_the_best(exact, depth, drawn):
    error, best = 0.01, BestRows(depth)
    for row, score in enumerate(exact):
        best.offer(np.array([row]), np.array([score + drawn.uniform(-error, error)], np.float32), 2.01 * error)
    wanted = sorted(range(len(exact)), key=lambda row: -exact[row])[:depth]
    assert set(wanted) <= set(best.rows.tolist())


def test_a_query_without_rows_has_no_scores(tmp_path):
    first, second = BestRows(2), BestRows(2)
    first.offer(np.array([4, 5]), np.array([1.0, 2.0], np.float32))
    assert filled(tmp_path).scores_by_id([first, second]) == [{"p4": 1.0, "p5": 2.0}, {}]

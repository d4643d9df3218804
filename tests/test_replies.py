"""The reply store pays once, survives what happens to processes and disks, and believes nothing that does not fit."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from endpoint import answer_to, endpoint
from hypothesis import given, settings, strategies as st

from exabench.core import http
from exabench.core.errors import BadInput, CannotWrite, ExabenchError, OutsideFailed, PromptsRefused
from exabench.core.nouns import Prompt, Reply
from exabench.core.sqlite_store import AT_ONCE
from exabench.parts import replies
from exabench.parts.replies import CachedTeacher, Call, Replies, call_key
from exabench.parts.teachers import TEACHERS

CONTEXT = multiprocessing.get_context("forkserver")  # this process has threads of servers and of torch
CONTEXT.set_forkserver_preload(["test_replies", "exabench.parts.teachers.openai"])
CANARY = "sk-canary-0123456789abcdef"
WHO: Mapping[str, Any] = {"engine": "toy", "model": "owner/model", "revision": "r1", "server": "http://x/v1", "seed": 0}


def prompt(id: str, text: str = "", **options: Any) -> Prompt:
    return Prompt(id, (("system", "Answer."), ("user", text or f"text {id}")), **{"max_tokens": 12, **options})


def prompts(count: int) -> list[Prompt]:
    return [prompt(f"p{i}") for i in range(count)]


def reply_to(one: Prompt) -> Reply:
    return Reply(one.id, answer_to(one.turns[-1][1]), "stop", 7, 3)


class Toy:
    """An engine that answers backwards, `at_once` prompts at a time, and remembers what it was asked."""

    config: Mapping[str, Any] | None = {"layers": 1}

    def __init__(self, change: Callable[[list[Reply]], Iterable[Reply]] = list, at_once: int = 4) -> None:
        self.identity, self.asked = WHO, list[Prompt]()
        self._change, self._at_once = change, at_once

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        batch: list[Prompt] = []
        for one in prompts:
            self.asked.append(one)
            batch.append(one)
            if len(batch) == self._at_once:
                yield from self._change([reply_to(one) for one in batch])
                batch = []
        yield from self._change([reply_to(one) for one in batch])


@pytest.fixture
def store(tmp_path: Path) -> Replies:
    return Replies(tmp_path / "replies.sqlite")


def answered(teacher: CachedTeacher, asked: Iterable[Prompt]) -> dict[str, Reply]:
    found = list(teacher.complete(asked))
    assert len({reply.id for reply in found}) == len(found)
    return {reply.id: reply for reply in found}


def filled(file: Path, count: int = 20) -> tuple[Replies, list[str]]:
    """A store with so many calls, and their keys."""
    made = Replies(file)
    teacher = CachedTeacher(Toy(), made)
    answered(teacher, prompts(count))
    return made, [teacher.key(one) for one in prompts(count)]


def test_all_that_an_answer_depends_on_is_part_of_a_call_but_neither_the_prompts_id_nor_the_server() -> None:
    one = prompt("a", "why?")
    key = call_key(WHO, one)
    assert len(key) == 64 and int(key, 16)
    assert call_key({**WHO, "server": "http://elsewhere"}, replace(one, id="b", temperature=-0.0)) == key
    others = [call_key({**WHO, "revision": "r2"}, one), call_key({**WHO, "precision": "float16"}, one)]
    changes: list[dict[str, Any]] = [
        {"turns": (("user", "why?"),)},
        {"turns": (("system", "Answer."), ("user", "why? "))},
        {"turns": (("system", "Answer.why?"), ("user", ""))},
        {"max_tokens": 13},
        {"temperature": 0.1},
        {"sample": 1},
        {"pattern": "yes|no"},
    ]
    for change in changes:
        others.append(call_key(WHO, replace(one, **change)))
    assert len({key, *others}) == 10


def test_a_prompt_that_no_file_can_hold_is_named() -> None:
    for odd in ({"turns": (("user", "\ud800"),)}, {"temperature": float("nan")}):
        with pytest.raises(BadInput, match=r"cannot be sent \(id 'a'\)"):
            call_key(WHO, replace(prompt("a"), **odd))


def test_each_call_is_asked_once_whatever_is_inserted_left_out_or_shuffled_between_runs(store: Replies) -> None:
    """A fifth of the texts repeated, two samples of each, which are calls of their own."""
    asked = [
        replace(prompt(f"t{i % 80}"), id=f"{i}#{sample}", sample=sample, temperature=1.0)
        for i in range(100)
        for sample in (0, 1)
    ]
    toy = Toy()
    first = CachedTeacher(toy, store)
    assert answered(first, asked) == {one.id: reply_to(one) for one in asked}
    assert (first.asked, first.found, first.prompt_tokens, first.output_tokens) == (160, 40, 160 * 7, 160 * 3)
    changed = [*asked[20:], *prompts(1500)]
    random.Random(1).shuffle(changed)
    later = CachedTeacher(toy, Replies(store.file))
    assert answered(later, changed) == {one.id: reply_to(one) for one in changed}
    assert (later.asked, later.found, later.prompt_tokens) == (1500, 180, 1500 * 7)
    calls = Counter(call_key(WHO, one) for one in toy.asked)
    assert set(calls.values()) == {1} and len(calls) == 80 * 2 + 1500


def test_two_prompts_with_one_id_are_refused(store: Replies) -> None:
    with pytest.raises(BadInput, match="two prompts have one id .id 'a'"):
        list(CachedTeacher(Toy(), store).complete([prompt("a"), prompt("a", "other")]))


def test_an_engine_is_made_only_for_what_must_be_asked_and_must_be_the_one_agreed_on(store: Replies) -> None:
    made: list[Toy] = []

    def maker() -> Toy:
        made.append(Toy())
        return made[-1]

    assert CachedTeacher(maker, store).config == {"layers": 1} and len(made) == 1
    answered(CachedTeacher(maker, store), prompts(5))
    known = CachedTeacher(maker, store, identity=dict(WHO, server="http://other"))
    assert len(answered(known, prompts(5))) == 5 and len(made) == 2 and known.config is None
    assert len(answered(known, prompts(6))) == 6 and len(made) == 3 and known.config == {"layers": 1}
    with pytest.raises(BadInput, match="revision is 'r1' and was 'r0'; start a new build"):
        answered(CachedTeacher(maker, store, identity={**WHO, "revision": "r0"}), prompts(1))
    assert len(store) == 6


def test_the_known_come_at_once_and_little_is_read_ahead(store: Replies) -> None:
    answered(CachedTeacher(Toy(), store), prompts(2 * AT_ONCE))
    toy, source = Toy(), iter(prompts(2 * AT_ONCE))
    found = CachedTeacher(toy, store).complete(source)
    assert next(found).id == "p0" and toy.asked == [] and next(source).id == f"p{AT_ONCE}"
    assert len(list(found)) == 2 * AT_ONCE - 2


def test_a_long_known_stretch_does_not_pile_up_behind_an_engine_that_waits_for_more(
    store: Replies, monkeypatch: pytest.MonkeyPatch
) -> None:
    most_held = 2 * AT_ONCE
    monkeypatch.setattr(replies, "MOST_HELD", most_held)
    known = prompts(6 * AT_ONCE)
    answered(CachedTeacher(Toy(at_once=500), store), known)
    source = iter([prompt("first"), *known, prompt("last")])
    toy, given, most = Toy(at_once=50), 0, 0
    for _ in CachedTeacher(toy, store).complete(source):
        given += 1
        most = max(most, len(known) + 2 - source.__length_hint__() - given)
    assert given == len(known) + 2 and [one.id for one in toy.asked] == ["first", "last"]
    assert most <= most_held + 2 * AT_ONCE


def test_replies_in_any_order_find_their_prompts(store: Replies) -> None:
    shuffled = Toy(lambda batch: random.Random(len(batch)).sample(batch, len(batch)), at_once=32)
    assert answered(CachedTeacher(shuffled, store), prompts(100)) == {one.id: reply_to(one) for one in prompts(100)}


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda batch: [*batch, *batch[:1]], "'p0', which was not sent, or was answered twice"),
        (lambda batch: [*batch, replace(batch[0], id="x")], "'x', which was not sent"),
        (lambda batch: batch[:-1], r"the teacher did not answer prompt 'p3' \(3 in all\)"),
        (lambda batch: [replace(one, prompt_tokens=-1) for one in batch], "counts .id 'p0'"),
        (lambda batch: [replace(one, output_tokens=10**30) for one in batch], "counts .id 'p0'"),
        (lambda batch: [replace(one, finish="why not") for one in batch], "finish='why not'.* .id 'p0'"),
    ],
    ids=["doubled", "unknown", "missing", "negative", "endless", "finish"],
)
def test_a_reply_that_fits_no_prompt_is_no_reply(store: Replies, change: Any, said: str) -> None:
    with pytest.raises(OutsideFailed, match=said):
        list(CachedTeacher(Toy(change), store).complete(prompts(10)))
    assert answered(CachedTeacher(Toy(), store), prompts(10)) == {one.id: reply_to(one) for one in prompts(10)}


def test_what_came_before_a_failure_is_kept_and_given_out(store: Replies) -> None:
    def dying(batch: list[Reply]) -> Iterator[Reply]:
        if any(reply.id == "p20" for reply in batch):
            raise OutsideFailed("the server is down; is it up?")
        yield from batch

    got = []
    with pytest.raises(OutsideFailed, match="is it up"):
        for reply in CachedTeacher(Toy(dying), store).complete(prompts(100)):
            got.append(reply)
    assert len(got) == 20 == len(store)
    toy = Toy()
    assert len(answered(CachedTeacher(toy, store), prompts(100))) == 100 and len(toy.asked) == 80


def test_refused_prompts_are_named_with_all_that_ask_the_same_once_the_others_are_answered(store: Replies) -> None:
    refused = {"p3": "too long", "p7": "too long"}

    def refusing(batch: list[Reply]) -> Iterator[Reply]:
        yield from (reply for reply in batch if reply.id not in refused)
        if len(batch) < 4:  # the last
            raise PromptsRefused(refused)

    asked = [*prompts(30), replace(prompt("p3"), id="again")]
    got = []
    with pytest.raises(PromptsRefused) as told:
        for reply in CachedTeacher(Toy(refusing), store).complete(asked):
            got.append(reply.id)
    assert told.value.reasons == {**refused, "again": "too long"}
    assert len(got) == 28 == len(store)


def test_an_engine_that_gives_up_on_everything_is_not_asked_again(store: Replies) -> None:
    def hopeless(batch: list[Reply]) -> Iterator[Reply]:
        raise PromptsRefused({reply.id: "no" for reply in batch})

    toy = Toy(hopeless, at_once=20)
    with pytest.raises(PromptsRefused, match="'p0' and 19 more cannot be sent: no"):
        list(CachedTeacher(toy, store).complete(prompts(2000)))
    assert len(toy.asked) == 20


def test_a_budget_is_a_hard_stop_that_keeps_what_was_paid_for(store: Replies) -> None:
    toy = Toy(at_once=4)
    teacher = CachedTeacher(toy, store, budget=100)  # ten tokens a call
    got = []
    with pytest.raises(BadInput, match=r"budget of 100 tokens is spent \(120 in 12 calls\); raise the budget and run"):
        for reply in teacher.complete(prompts(50)):
            got.append(reply)
    assert len(got) == 12 == len(store) and len(toy.asked) == 12, "at most the batch in flight goes over"
    with pytest.raises(BadInput, match="is spent"):
        list(teacher.complete(prompts(50)))
    assert len(toy.asked) == 12 and len(answered(teacher, prompts(12))) == 12, "what is known stays free"
    to_the_last_token = CachedTeacher(Toy(), store, budget=380)
    assert len(answered(to_the_last_token, prompts(50))) == 50 and to_the_last_token.is_spent


def test_a_reader_that_stops_leaves_no_thread_and_keeps_what_came(store: Replies) -> None:
    before = threading.active_count()
    replies = CachedTeacher(Toy(), store).complete(prompts(20_000))
    first = next(replies)
    replies.close()
    assert threading.active_count() == before and first.id == "p0" and 4 <= len(store) < 10_000


def test_a_reply_is_on_disk_while_the_engine_still_thinks_about_the_next(tmp_path: Path) -> None:
    seen: list[int] = []
    other = Replies(tmp_path / "r.sqlite")

    def slow(batch: list[Reply]) -> Iterator[Reply]:
        for reply in batch:
            yield reply
            until = time.monotonic() + 2
            while len(other) <= len(seen) and time.monotonic() < until:
                time.sleep(0.005)
            seen.append(len(other))

    list(CachedTeacher(Toy(slow, at_once=1), Replies(tmp_path / "r.sqlite")).complete(prompts(5)))
    assert seen == [1, 2, 3, 4, 5]


def test_whatever_an_engine_says_is_said_again(store: Replies) -> None:
    texts = ["half \ud800 a pair", "nul \0 here", "\U0001f987 \u2028 \r\n", "", "x" * 3_000_000]
    toy = Toy(lambda batch: [replace(reply, text=texts[int(reply.id[1:])]) for reply in batch], at_once=5)
    first = answered(CachedTeacher(toy, store), prompts(5))
    assert first == answered(CachedTeacher(Toy(), Replies(store.file)), prompts(5))
    assert [first[one.id].text for one in prompts(5)] == [text.replace("\ud800", "\ufffd") for text in texts]


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=15)
@given(
    turns=st.lists(st.tuples(words, words), max_size=4).map(tuple),
    said=words,
    temperature=st.floats(0, 2),
    counts=st.tuples(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1)),
)
def test_a_call_comes_back_from_store_and_parquet_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, turns: Any, said: str, temperature: float, counts: tuple[int, int]
) -> None:
    folder = tmp_path_factory.mktemp("h")
    one, other = Replies(folder / "one.sqlite"), Replies(folder / "other.sqlite")
    asked = Prompt("a", turns, temperature=temperature)
    key = call_key(WHO, asked)
    reply = Reply(key, said, "length", *counts)
    assert one.add(WHO, [Call(key, asked, reply, 0.1)]) == one.look_up([key]) == {key: reply}
    assert one.export([key], folder / "x.parquet") == 1 == other.take_in(folder / "x.parquet")
    assert other.look_up([key]) == {key: reply}
    shutil.rmtree(folder)


def test_the_first_reply_to_a_call_stays(store: Replies) -> None:
    key = call_key(WHO, prompt("a"))
    for said in ("first", "second"):
        call = Call(key, prompt("a"), Reply("a", said, "stop", 1, 2), 0.0)
        assert store.add(WHO, [call])[key].text == "first"
    assert len(store) == 1
    assert store.tokens([key, key, "none"]) == {"replies": 1, "prompt_tokens": 1, "output_tokens": 2}


def test_the_file_says_who_was_asked_what_and_when_but_not_where(store: Replies) -> None:
    answered(CachedTeacher(Toy(), store), prompts(1))
    with sqlite3.connect(store.file) as base:
        base.row_factory = sqlite3.Row
        row = dict(base.execute("SELECT * FROM replies").fetchone())
    assert (row["engine"], row["model"], row["revision"]) == ("toy", "owner/model", "r1")
    assert row["identity"] == WHO_AS_JSON
    assert row["turns"] == '[["system","Answer."],["user","text p0"]]' and row["asked"].endswith("+00:00")
    assert (row["max_tokens"], row["temperature"], row["sample"], row["seconds"] >= 0) == (12, 0.0, 0, True)


def test_a_changed_cell_is_noticed_asked_again_and_repaired(store: Replies) -> None:
    keys = filled(store.file)[1]
    columns = "engine model revision identity turns max_tokens temperature sample text finish prompt_tokens"
    columns += " output_tokens seconds asked checksum"
    for column in columns.split():
        with sqlite3.connect(store.file) as base:
            base.execute(f"UPDATE replies SET {column} = '?' WHERE key = ?", (keys[3],))
        assert len(store.look_up(keys)) == 19, column
        with pytest.raises(BadInput, match=f"damaged or missing; run the build again.*{keys[3]}"):
            store.export(keys, store.file.parent / "x.parquet")
        toy = Toy()
        assert len(answered(CachedTeacher(toy, store), prompts(20))) == 20
        assert [one.id for one in toy.asked] == ["p3"]
    assert not (store.file.parent / "x.parquet").exists() and len(store) == 20


def test_a_flipped_byte_or_a_torn_file_or_log_is_never_believed(tmp_path: Path) -> None:
    store, keys = filled(tmp_path / "r.sqlite", 6)
    expected = store.look_up(keys)
    base, log = store.file.read_bytes(), Path(f"{store.file}-wal").read_bytes()
    store.close()
    whole = store.file.read_bytes()
    numbers, rng = itertools.count(), random.Random(0)

    def outcome(data: bytes, log: bytes = b"") -> str:
        file = tmp_path / f"{next(numbers)}.sqlite"
        file.write_bytes(data)
        if log:
            Path(f"{file}-wal").write_bytes(log)
        try:
            damaged = Replies(file)
            found = damaged.look_up(expected)
            damaged.close()
        except ExabenchError as error:
            assert "\n" not in str(error) and str(file) in str(error)
            return "refused"
        assert found.items() <= expected.items()
        return "whole" if found == expected else "less"

    def flipped(place: int) -> bytes:
        return whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :]

    begin = whole.find(b"tpi")
    places = {*range(100), *range(begin - 2500, begin + 500, 5), *range(0, len(whole), 101)}
    found = Counter(outcome(flipped(place)) for place in sorted(places))
    assert found["less"] > 50 and found["refused"] > 10 and found["whole"] > 100, found
    found = Counter(outcome(base, log[:length]) for length in range(0, len(log), 1997))
    assert found["less"] and not found["refused"], "killed while the log was written"
    found = Counter(outcome(whole[:length]) for length in range(0, len(whole), 499))
    assert found["refused"] > 10, "cut by something else"


def test_what_is_no_reply_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be taken for one" * 50)
    with pytest.raises(BadInput, match="is not a reply store, or a damaged one"):
        Replies(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other.sqlite") as base:
        base.execute("CREATE TABLE mine (x)")
    before = (tmp_path / "other.sqlite").read_bytes()
    with pytest.raises(BadInput, match="of another program; give the reply store another path"):
        Replies(tmp_path / "other.sqlite")
    assert (tmp_path / "other.sqlite").read_bytes() == before
    with pytest.raises(CannotWrite):
        Replies(tmp_path / "text" / "replies.sqlite")


def test_a_full_disk_is_one_line_and_the_build_goes_on_when_there_is_room(store: Replies) -> None:
    store.execute("PRAGMA max_page_count=150")
    with pytest.raises(CannotWrite, match="the disk is full"):
        list(CachedTeacher(Toy(), store).complete(prompts(2000)))
    kept = len(store)
    store.execute("PRAGMA max_page_count=100000")
    toy = Toy()
    assert len(answered(CachedTeacher(toy, store), prompts(2000))) == 2000 and len(toy.asked) == 2000 - kept
    assert kept < 2000


def share(file: str, number: int) -> None:
    answered(CachedTeacher(Toy(), Replies(file)), [replace(one, id=f"{number}{one.id}") for one in prompts(200)])


def test_many_processes_make_and_fill_one_store_at_once(tmp_path: Path) -> None:
    file = tmp_path / "new" / "replies.sqlite"
    workers = [CONTEXT.Process(target=share, args=(str(file), number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(Replies(file)) == 200 and Replies(file).look_up([call_key(WHO, prompt("p0"))])
    assert len(pickle.loads(pickle.dumps(Replies(file)))) == 200


def test_an_export_is_sorted_typed_free_of_times_and_the_same_on_every_machine(tmp_path: Path) -> None:
    (one, keys), (other, _) = filled(tmp_path / "1.sqlite"), filled(tmp_path / "2.sqlite")
    assert one.export(keys, tmp_path / "1.parquet") == 20
    assert other.export([*keys[::-1], keys[0]], tmp_path / "2.parquet") == 20
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    table = pq.read_table(tmp_path / "1.parquet")
    assert table["key"].to_pylist() == sorted(keys) and not {"seconds", "asked"} & set(table.column_names)
    assert table["turns"][0].as_py()[0] == {"role": "system", "content": "Answer."}
    assert one.export([], tmp_path / "3.parquet") == 0 and not (tmp_path / "3.parquet").exists()


def test_who_takes_replies_in_asks_nothing_and_keeps_their_own(tmp_path: Path) -> None:
    theirs, keys = filled(tmp_path / "theirs.sqlite")
    theirs.export(keys, tmp_path / "x.parquet")
    mine, toy = Replies(tmp_path / "mine.sqlite"), Toy(lambda batch: [replace(r, text="mine") for r in batch])
    answered(CachedTeacher(toy, mine), prompts(1))
    assert (mine.take_in(tmp_path / "x.parquet"), mine.disputed) == (19, 1)
    assert (mine.take_in(tmp_path / "x.parquet"), mine.disputed) == (0, 2)
    replies = answered(CachedTeacher(toy, mine), prompts(20))
    assert len(toy.asked) == 1 and replies["p0"].text == "mine" and replies["p1"] == reply_to(prompt("p1"))
    mine.export(keys[1:], tmp_path / "again.parquet")
    theirs.export(keys[1:], tmp_path / "part.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "part.parquet").read_bytes()


WHO_AS_JSON = '{"engine":"toy","model":"owner/model","revision":"r1","seed":0}'
POISON: list[dict[str, Any]] = [
    {"key": "0" * 64},
    {"model": "another/model"},
    {"identity": WHO_AS_JSON.replace("}", ',"server":"http://evil"}')},
    {"identity": "[" * 100_000},
    {"identity": None},
    {"turns": [{"role": "user", "content": "something else"}]},
    {"temperature": float("nan")},
    {"text": None},
    {"finish": "two words"},
]


def test_somebody_elses_file_cannot_poison_the_store(tmp_path: Path, store: Replies) -> None:
    theirs, keys = filled(tmp_path / "theirs.sqlite", 5)
    file = tmp_path / "x.parquet"
    theirs.export(keys, file)
    table = pq.read_table(file)
    good = table.to_pylist()
    assert good[3]["identity"] == WHO_AS_JSON
    for change in POISON:
        pq.write_table(pa.Table.from_pylist([*good[:3], good[3] | change, good[4]], schema=table.schema), file)
        with pytest.raises(BadInput, match="row 4 has a key that does not match its call; nothing was imported"):
            pytest.fail(f"{store.take_in(file)} were taken in with {str(change)[:60]}")
    assert len(store) == 0


def test_a_file_of_many_equal_rows_is_refused_at_the_second(tmp_path: Path, store: Replies) -> None:
    theirs, keys = filled(tmp_path / "theirs.sqlite", 2)
    theirs.export(keys, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    equal = table.slice(0, 1)
    pq.write_table(pa.concat_tables([equal] * 400_000).combine_chunks(), tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 2_000_000
    started = time.thread_time()
    with pytest.raises(BadInput, match="row 2 has no higher key than the row before it"):
        store.take_in(tmp_path / "x.parquet")
    assert time.thread_time() - started < 5 and len(store) == 0
    pq.write_table(table.take([1, 0]), tmp_path / "x.parquet")
    with pytest.raises(BadInput, match="row 2 has no higher key"):
        store.take_in(tmp_path / "x.parquet")


def test_a_pipe_is_neither_a_store_nor_a_file_of_replies(tmp_path: Path, store: Replies) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (Replies, store.take_in):
        with pytest.raises(BadInput, match="is a pipe or a device, not a file"):
            read(tmp_path / "pipe")


def test_a_file_that_holds_no_replies_is_named(tmp_path: Path, store: Replies) -> None:
    (tmp_path / "a").write_bytes(b"PAR1 nothing PAR1")
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "b")
    theirs, keys = filled(tmp_path / "theirs.sqlite", 2)
    theirs.export(keys, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    pq.write_table(table.append_column("sample", table["sample"]), tmp_path / "twice")
    pq.write_table(table.append_column("x" * 5000, table["sample"]), tmp_path / "long")
    for name, said in (
        ("twice", "is not a file of replies: sample missing, unknown or there twice"),
        ("long", "is not a file of replies: x{299}… missing"),
        ("a", "is not a Parquet file"),
        ("b", "is not a file of replies: .*text"),
        ("c", "cannot be read"),
    ):
        with pytest.raises(BadInput, match=f"{name}: {said}"):
            store.take_in(tmp_path / name)


def test_a_bad_day_is_survived_and_leaves_no_secret_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """30 % 429 with and without Retry-After, 10 % 502, 5 % hangs, answers out of order; a key in env, header, URL."""
    caplog.set_level(0)
    monkeypatch.setenv("SOME_KEY", CANARY)
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.05)
    store = Replies(tmp_path / "replies.sqlite")
    with endpoint(slow=0.3, broken=0.1, hang=0.05, delay=0.002, spread=5) as server:
        url = f"{server.url}/{CANARY}"
        options = {"base_url": url, "api_key_env": "SOME_KEY", "timeout": 0.3, "retries": 8, "concurrency": 16}
        teacher = CachedTeacher(TEACHERS["openai"]("m", **options), store)
        asked = prompts(40)
        replies = answered(teacher, asked)
    assert {id: reply.text for id, reply in replies.items()} == {one.id: reply_to(one).text for one in asked}
    assert set(server.answers.values()) == {1} and len(server.answers) == 40
    assert len(server.seen) > 50 and max(server.tries.values()) < 20
    keys = [teacher.key(one) for one in asked]
    assert list(store.tokens(keys).values()) == [40, teacher.prompt_tokens, teacher.output_tokens]
    assert teacher.prompt_tokens == sum(len(one.turns[-1][1]) for one in asked)
    store.export(keys, tmp_path / "replies.parquet")
    files = list(tmp_path.iterdir())
    assert len(files) >= 2 and not any(CANARY.encode() in file.read_bytes() for file in files)
    assert CANARY not in "".join(capfd.readouterr())


def ask(url: str, file: str, count: int, told: Any) -> None:
    """What a process does that is about to be killed."""
    teacher = CachedTeacher(TEACHERS["openai"]("m", base_url=url, concurrency=8), Replies(file))
    for number, _ in enumerate(teacher.complete(prompts(count)), 1):
        told.value = number


def test_killed_at_random_points_it_asks_again_only_what_was_in_flight(tmp_path: Path) -> None:
    count, kills, in_flight = 100, 6, 8
    rng = random.Random(os.environ.get("SEED", "0"))
    file, one = str(tmp_path / "replies.sqlite"), TEACHERS["openai"]("m", base_url="http://127.0.0.1/v1")
    stored = [0]
    with endpoint(delay=0.004, spread=2) as server:
        for _ in range(kills):
            told = CONTEXT.Value("i", 0)
            child = CONTEXT.Process(target=ask, args=(server.url, file, count, told))
            child.start()
            until = min(count - 1, stored[-1] + rng.randrange(0, 30))  # the known ones come first
            while told.value < until and child.is_alive():
                time.sleep(0.0005)
            time.sleep(rng.random() * 0.02)
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
            stored.append(len(Replies(file)))
        ask(server.url, file, count, CONTEXT.Value("i", 0))
    store = Replies(file)
    found = store.look_up(call_key(one.identity, asked) for asked in prompts(count))
    assert len(store) == len(found) == len(server.answers) == count and stored == sorted(stored) and stored[-2] > 0
    assert {reply.text for reply in found.values()} == {reply_to(asked).text for asked in prompts(count)}
    again = sum(server.answers.values()) - count
    # In flight is what the server has not answered yet, and what it did answer while one commit was written.
    assert again <= kills * 2 * in_flight, f"{again} asked again in {kills} kills"

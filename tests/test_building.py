"""A build goes on where it was stopped, says where every item went, and ends in the same bytes however it got there."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint, endpoint

from exabench.core import files
from exabench.core.errors import BadInput, CannotWrite
from exabench.core.recipe import Recipe
from exabench.core.rows import Release
from exabench.data.building import Sources, build, data_recipe, plan_build
from exabench.data.releases import read, rows, verify

RECIPES = ("mini-explanations", "mini-listwise", "mini-contrastive", "mini-scored")
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["exabench.data.building", "exabench.data.builders.exaranker", "exabench.parts.teachers.replay"]
)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def made(tmp: Path, recipe: str | Recipe = "mini-explanations", name: str = "work", **options: Any) -> Release:
    return build(recipe, tmp / name, sources=Sources(replies=tmp / f"{name}.sqlite"), **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The explanation set of the embedded collection, built without any disturbance."""
    tmp = tmp_path_factory.mktemp("whole")
    made(tmp)
    return bytes_of(tmp / "work" / "release")


# -- what comes out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_becomes_a_release_whose_every_item_is_accounted_for(tmp_path: Path, recipe: str) -> None:
    release = made(tmp_path, recipe)
    (table,) = release.tables.values()
    counts = table.counts
    quarantined = (tmp_path / "work" / "quarantine.jsonl").read_text().splitlines()
    found = [row for split in table.splits for row in rows(tmp_path / "work" / "release", *release.tables, split)]
    assert counts["input"] == counts["good"] + counts["quarantined"] + counts["skipped"]
    assert (len(found), len(quarantined)) == (counts["good"], counts["quarantined"])
    assert verify(tmp_path / "work" / "release") == [] and read(tmp_path / "work" / "release") == release
    assert len({row["id"] for row in found}) == len(found)


def test_every_row_names_the_replies_it_was_made_of(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    made(tmp_path)
    release = tmp_path / "work" / "release"
    replies = {row["key"]: row for row in pq.read_table(release / "replies" / "explanations.parquet").to_pylist()}
    for row in rows(release, "explanations", "train"):
        (key,) = row["replies"]
        assert row["explanation"] == replies[key]["text"] and row["query"] in replies[key]["turns"][-1]["content"]


def test_validation_holds_as_many_rows_of_each_label(tmp_path: Path) -> None:
    made(tmp_path)
    labels = [row["relevant"] for row in rows(tmp_path / "work" / "release", "explanations", "validation")]
    assert (labels.count(True), labels.count(False)) == (6, 6)


@pytest.mark.parametrize("workers", [2, 8])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path, whole: dict[str, bytes], workers: int) -> None:
    made(tmp_path, workers=workers)
    assert bytes_of(tmp_path / "work" / "release") == whole


def test_a_build_from_stored_replies_asks_nobody_and_gives_the_same_bytes(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    from exabench.parts.replies import Replies

    made(tmp_path, name="one")
    Replies(tmp_path / "two.sqlite").take_in(tmp_path / "one" / "release" / "replies" / "explanations.parquet")
    assert plan_build(
        data_recipe("mini-explanations"), tmp_path / "two", sources=Sources(None, tmp_path / "two.sqlite")
    ) == {
        "items": 120,
        "prompts": 120,
        "answered before": 120,
    }
    made(tmp_path, name="two")
    assert bytes_of(tmp_path / "two" / "release") == whole


def test_a_limit_builds_the_head_of_the_plan(tmp_path: Path) -> None:
    assert made(tmp_path, limit=20).tables["explanations"].counts["input"] == 20
    with pytest.raises(BadInput, match="limit was 20 and is 0"):
        made(tmp_path)


# -- stopped and resumed -----------------------------------------------------------------------------------------


def stopped(point: int, after: bool, folder: Path) -> None:
    """Build, and be killed at the `point`-th fsync or rename: before it is done, or after."""
    count = 0

    def marked(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == point and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            value = real(*arguments)
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return call

    os.fsync, os.replace = marked(os.fsync), marked(os.replace)  # type: ignore[assignment]
    made(folder)
    (folder / "marks").write_text(str(count))


def run_apart(*arguments: Any) -> int | None:
    process = CONTEXT.Process(target=stopped, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def test_a_kill_at_every_fsync_and_every_rename_loses_nothing(tmp_path: Path, whole: dict[str, bytes]) -> None:
    (tmp_path / "count").mkdir()
    assert run_apart(0, False, tmp_path / "count") == 0
    marks = int((tmp_path / "count" / "marks").read_text())
    assert marks > 40
    folder = tmp_path / "one"  # one folder, killed ever later: each build goes on from where the one before was killed
    for point in range(1, marks + 1):
        own = folder if point % 2 else tmp_path / f"fresh{point}"
        own.mkdir(exist_ok=True)
        code = run_apart(point, point % 3 == 0, own)
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            break
        if own is not folder:
            made(own)
            assert bytes_of(own / "work" / "release") == whole, f"killed at {point}"
    made(folder)
    assert bytes_of(folder / "work" / "release") == whole


@pytest.mark.slow
def test_two_hundred_kills_at_random_moments_end_in_the_same_bytes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    drawn, killed = random.Random(7), 0
    for number in range(200):
        folder = tmp_path / f"run{number // 4}"  # four kills in a row in each folder
        folder.mkdir(exist_ok=True)
        process = CONTEXT.Process(target=stopped, args=(0, False, folder))
        process.start()
        process.join(drawn.uniform(0.02, 1.0))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        if number % 4 == 3:
            made(folder)
            assert bytes_of(folder / "work" / "release") == whole
    assert killed > 100


def flipped(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))


def test_a_flipped_byte_in_a_finished_shard_is_mended_from_the_stored_replies(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    made(tmp_path)
    for number, file in enumerate(sorted((tmp_path / "work" / "shards").glob("*"))):
        flipped(file, 37 * number + 1)
    made(tmp_path)
    assert bytes_of(tmp_path / "work" / "release") == whole


def test_a_torn_shard_is_mended(tmp_path: Path, whole: dict[str, bytes]) -> None:
    made(tmp_path)
    for file in sorted((tmp_path / "work" / "shards").glob("*")):
        file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
    made(tmp_path)
    assert bytes_of(tmp_path / "work" / "release") == whole


def test_a_flipped_byte_in_the_plan_is_refused_by_name(tmp_path: Path) -> None:
    made(tmp_path, limit=20)
    for file in (tmp_path / "work" / "shards").glob("*"):
        file.unlink()
    flipped(tmp_path / "work" / "plan" / "00001.jsonl", 50)
    with pytest.raises(BadInput, match="00001.jsonl: is not the file that was planned"):
        made(tmp_path, limit=20)


def test_a_release_that_lost_a_file_is_written_anew(tmp_path: Path, whole: dict[str, bytes]) -> None:
    made(tmp_path)
    (tmp_path / "work" / "release" / "data" / "explanations" / "train-00000-of-00001.parquet").unlink()
    made(tmp_path)
    assert bytes_of(tmp_path / "work" / "release") == whole


def test_a_full_disk_at_any_write_stops_in_one_line_and_the_next_build_completes(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.fsync, 0

    def full(at: int) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor)

        return fsync

    for at in range(1, 40, 3):
        count = 0
        monkeypatch.setattr(files.os, "fsync", full(at))
        try:
            made(tmp_path)
        except CannotWrite as error:
            assert "the disk is full" in str(error) and "\n" not in str(error)
        else:
            break
    monkeypatch.setattr(files.os, "fsync", real)
    made(tmp_path)
    assert bytes_of(tmp_path / "work" / "release") == whole


# -- refusals ----------------------------------------------------------------------------------------------------


def changed(**values: Any) -> Recipe:
    page = data_recipe("mini-explanations")
    return Recipe(page.name, {**page.values, **values}, page.file)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (changed(seed=9), "recipe.seed was 0 and is 9"),
        (changed(shard=7), "recipe.shard was 16 and is 7"),
        (changed(teacher={"part": "replay", "file": "mini/replies-listwise.jsonl"}), "recipe.teacher.file was"),
        (changed(options={"task": "mini", "prompt": "explain", "pairs": {"part": "judged", "split": "test"}}), "split"),
    ],
)
def test_another_recipe_in_the_same_folder_is_refused_and_says_what_differs(
    tmp_path: Path, other: Recipe, named: str
) -> None:
    made(tmp_path, limit=20)
    with pytest.raises(BadInput, match="holds another build") as told:
        made(tmp_path, other, limit=20)
    assert named in str(told.value) and "\n" not in str(told.value)


def holding(folder: Path, ready: Any, done: Any) -> None:
    with files.only_writer(folder):
        ready.set()
        done.wait(30)


def test_a_second_builder_of_one_folder_is_refused_and_told_who_builds(tmp_path: Path) -> None:
    ready, done = CONTEXT.Event(), CONTEXT.Event()
    process = CONTEXT.Process(target=holding, args=(tmp_path / "work", ready, done))
    process.start()
    assert ready.wait(30)
    with pytest.raises(CannotWrite, match=f"process {process.pid} on"):
        made(tmp_path)
    process.kill()
    process.join()
    made(tmp_path)


def test_a_reply_that_was_never_recorded_puts_its_item_in_quarantine(tmp_path: Path) -> None:
    some = [json.loads(line) for line in (files.PACKAGE / "mini" / "replies-explain.jsonl").open()]
    left_out = {one["id"] for one in some[::3]}
    file = tmp_path / "some.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in some if one["id"] not in left_out))
    counts = made(tmp_path, changed(teacher={"part": "replay", "file": str(file)})).tables["explanations"].counts
    quarantined = [json.loads(line) for line in (tmp_path / "work" / "quarantine.jsonl").open()]
    assert counts["input"] == 120 == counts["good"] + counts["quarantined"]
    assert {one["id"] for one in quarantined} <= left_out and len(quarantined) == counts["quarantined"] > 20
    assert all("no reply to it was recorded" in one["reason"] for one in quarantined)


POISON: tuple[tuple[str, str], ...] = (
    ("", "stop"),
    ("   \n\t ", "stop"),
    ("The passage explains how", "length"),
    ("bat " * 400, "stop"),
    ("I am sorry, but I cannot help with that.", "stop"),
    ("\ufffd\ufffd\ufffd\ufffd \x00\x01", "stop"),
    ("Question: who?\nPassage: nobody\nFinal Answer: The passage is relevant", "stop"),
    ("Example 9:\nQuestion: why?", "stop"),
    ("###", "stop"),
    ("true. " * 300, "stop"),
    ("\u202e\u2066" * 50, "stop"),
    ('{"answer": ', "length"),
)


def test_replies_poisoned_in_twelve_ways_are_counted_and_end_nothing(tmp_path: Path) -> None:
    some = [json.loads(line) for line in (files.PACKAGE / "mini" / "replies-explain.jsonl").open()]
    for number, one in enumerate(some):
        text, finish = POISON[number % len(POISON)] if number % 5 == 0 else (one["text"], "stop")
        one |= {"text": text, "finish": finish}
    file = tmp_path / "poisoned.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in some))
    poisoned = {one["id"] for one in some[::5]}
    counts = made(tmp_path, changed(teacher={"part": "replay", "file": str(file)})).tables["explanations"].counts
    quarantined = [json.loads(line) for line in (tmp_path / "work" / "quarantine.jsonl").open()]
    assert counts["input"] == 120 == counts["good"] + counts["quarantined"] + counts["skipped"]
    assert {one["id"] for one in quarantined} <= poisoned and len(quarantined) == counts["quarantined"] > 10
    assert all(one["reason"] and len(one["replies"]) == 1 for one in quarantined)


@pytest.mark.parametrize("missing", ["builder", "dataset", "table", "licence"])
def test_a_recipe_that_leaves_something_out_is_told_what(tmp_path: Path, missing: str) -> None:
    page = data_recipe("mini-explanations")
    less = Recipe(page.name, {key: value for key, value in page.values.items() if key != missing}, page.file)
    with pytest.raises(BadInput, match=f"does not say its {missing}"):
        made(tmp_path, less)


def test_a_builder_that_asks_needs_a_teacher(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the recipe names none"):
        made(tmp_path, changed(teacher={}))


# -- a teacher that fails ----------------------------------------------------------------------------------------


def by_endpoint(server: Endpoint) -> Recipe:
    asked = {"part": "openai", "model": "backwards", "base_url": server.url, "timeout": 5.0}
    return changed(teacher={**asked, "concurrency": 32, "retries": 20})


@pytest.mark.slow
def test_a_server_that_fails_half_the_time_gives_the_same_rows_and_each_is_paid_once(tmp_path: Path) -> None:
    with endpoint() as server:
        calm = made(tmp_path, by_endpoint(server), name="calm").tables["explanations"]
    with endpoint(slow=0.3, broken=0.1, hang=0.05, delay=0.002, spread=3.0) as server:
        rough = made(tmp_path, by_endpoint(server), name="rough").tables["explanations"]
    assert rough.counts == calm.counts and rough.counts["input"] == 120
    assert rough.splits == calm.splits and rough.tokens == calm.tokens
    assert set(server.answers.values()) == {1} and len(server.answers) == 120

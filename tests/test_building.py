"""A build goes on where it was stopped, says where every item went, and ends in the same bytes however it got there."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint, endpoint
from faults import full_disk_at_each_call, killed_at_each_call
from toys import contents

from exabench.cli import main
from exabench.core import files
from exabench.core.errors import BadInput, CannotWrite
from exabench.core.recipe import Recipe, recipes
from exabench.core.rows import Release
from exabench.data.builders import BUILDERS
from exabench.data.building import KEYS, Sources, build, data_recipe, plan_build
from exabench.data.releases import read, rows, verify
from exabench.parts.assembly import check_part
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

RECIPES = ("mini-explanations", "mini-listwise", "mini-contrastive", "mini-scored")
RECORDED = files.PACKAGE / "mini" / "replies-explain.jsonl"


def made(tmp: Path, recipe: str | Recipe = "mini-explanations", name: str = "work", **options: Any) -> Release:
    return build(recipe, tmp / name, sources=Sources(replies=tmp / f"{name}.sqlite"), **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of the explanation set of the embedded collection, built without any disturbance; read-only."""
    tmp = tmp_path_factory.mktemp("built")
    made(tmp)
    return tmp / "work"


@pytest.fixture(scope="module")
def whole(built: Path) -> dict[str, bytes]:
    """Every file of its release."""
    return contents(built / "release")


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


def test_every_pair_of_the_demo_has_a_row_that_names_its_reply_and_validation_holds_as_many_of_each_label(
    built: Path,
) -> None:
    import pyarrow.parquet as pq

    release = built / "release"
    replies = {row["key"]: row for row in pq.read_table(release / "replies" / "explanations.parquet").to_pylist()}
    found = {split: list(rows(release, "explanations", split)) for split in ("train", "validation")}
    labels = {split: Counter(row["relevant"] for row in some) for split, some in found.items()}
    assert labels == {"train": {True: 54, False: 54}, "validation": {True: 6, False: 6}}
    for row in found["train"]:
        (key,) = row["replies"]
        assert row["explanation"] == replies[key]["text"] and row["query"] in replies[key]["turns"][-1]["content"]
    explanations = {row["explanation"] for row in found["train"] + found["validation"]}
    assert len(explanations) == 120 and all(text.endswith(".") for text in explanations)


def test_rows_that_leak_a_benchmark_may_be_dropped_and_queries_may_have_a_teacher_of_their_own(tmp_path: Path) -> None:
    table = made(tmp_path, data_recipe("mini-explanations", ['quality.leaks="drop"'])).tables["explanations"]
    assert table.counts["reasons"] == {"skipped: leak": 93} and table.counts["good"] == 27
    judged = set().union(*open_collection(task("mini")).qrels("test").values())
    assert judged.isdisjoint(row["passage_id"] for row in rows(tmp_path / "work" / "release", "explanations", "train"))
    page = data_recipe("mini-contrastive")
    queries = page.values["options"]["queries"] | {"teacher": page.values["teacher"]}
    own = Recipe(page.name, {**page.values, "options": {**page.values["options"], "queries": queries}}, page.file)
    assert made(tmp_path, own, "own").tables["contrastive"].counts["good"] == 98


def test_several_workers_give_the_same_bytes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    made(tmp_path, workers=3)  # of eight shards
    assert contents(tmp_path / "work" / "release") == whole


def test_a_build_from_stored_replies_asks_nobody_and_gives_the_same_bytes(
    tmp_path: Path, built: Path, whole: dict[str, bytes]
) -> None:
    from exabench.parts.replies import Replies

    store = tmp_path / "work.sqlite"
    Replies(store).take_in(built / "release" / "replies" / "explanations.parquet")
    planned = plan_build(data_recipe("mini-explanations"), tmp_path / "work", sources=Sources(replies=store))
    left = {"tokens to read": 0, "tokens to write": 0}
    assert planned == {"items": 120, "prompts": 120, "answered before": 120, **left}
    made(tmp_path)
    assert contents(tmp_path / "work" / "release") == whole


def test_a_dry_run_of_a_few_items_does_not_stand_in_the_way_of_the_build(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    work = str(tmp_path / "work")
    assert main(["data", "build", "mini-explanations", "--to", work, "--limit", "20", "--dry-run"]) == 0
    made(tmp_path)
    assert contents(tmp_path / "work" / "release") == whole
    with pytest.raises(BadInput, match="another build"):
        made(tmp_path, limit=20)


def small(tmp: Path) -> None:
    """A build of two shards."""
    made(tmp, limit=20)


@pytest.fixture(scope="module")
def small_whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    tmp = tmp_path_factory.mktemp("small")
    small(tmp)
    return contents(tmp / "work" / "release")


@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_call_loses_nothing(tmp_path: Path, small_whole: dict[str, bytes], step: int) -> None:
    killed = 0
    for number in killed_at_each_call(lambda: small(tmp_path / "one"), numbers=range(1, 1000, step)):
        small(tmp_path / "one")
        assert contents(tmp_path / "one" / "work" / "release") == small_whole, f"killed at {number}"
        shutil.rmtree(tmp_path / "one")
        killed += 1
    assert killed > 40 / step


def test_one_folder_killed_ever_later_loses_nothing(tmp_path: Path, whole: dict[str, bytes]) -> None:
    # Each build goes on from where the one before was killed.
    assert len(list(killed_at_each_call(lambda: made(tmp_path), numbers=range(5, 1000, 5)))) > 3
    assert contents(tmp_path / "work" / "release") == whole


@pytest.mark.slow
def test_two_hundred_kills_at_random_moments_end_in_the_same_bytes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    drawn, killed = random.Random(7), 0
    for number in range(200):
        folder = tmp_path / f"run{number // 4}"  # four kills in a row in each folder
        process = multiprocessing.get_context("fork").Process(target=made, args=(folder,))
        process.start()
        process.join(drawn.uniform(0.02, 0.5))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        if number % 4 == 3:
            made(folder)
            assert contents(folder / "work" / "release") == whole
    assert killed > 100


def flipped(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))


def test_what_was_damaged_in_a_finished_build_is_mended_from_the_stored_replies(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    made(tmp_path)
    work = tmp_path / "work"
    for number, file in enumerate(sorted((work / "shards").glob("*"))):
        if number % 2:
            flipped(file, 37 * number + 1)
        else:
            file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
    (work / "release" / "data" / "explanations" / "train-00000-of-00001.parquet").unlink()
    made(tmp_path)
    assert contents(work / "release") == whole


def test_a_flipped_byte_in_the_plan_is_refused_by_name(tmp_path: Path) -> None:
    small(tmp_path)
    for file in (tmp_path / "work" / "shards").glob("*"):
        file.unlink()
    flipped(tmp_path / "work" / "plan" / "00001.jsonl", 50)
    with pytest.raises(BadInput, match="00001.jsonl: is not the file that was planned"):
        small(tmp_path)


def test_a_full_disk_at_any_write_stops_in_one_line_and_the_next_build_completes(
    tmp_path: Path, small_whole: dict[str, bytes]
) -> None:
    full = full_disk_at_each_call(lambda: small(tmp_path), numbers=range(1, 1000, 4))
    assert len(list(full)) > 3
    small(tmp_path)
    assert contents(tmp_path / "work" / "release") == small_whole


def changed(**values: Any) -> Recipe:
    """The recipe with other values; without those that are None."""
    page = data_recipe("mini-explanations")
    kept = {key: value for key, value in (page.values | values).items() if value is not None}
    return Recipe(page.name, kept, page.file)


def test_another_recipe_in_the_same_folder_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    assert made(tmp_path, limit=20).tables["explanations"].counts["input"] == 20
    with pytest.raises(BadInput, match="limit was 20 and is 0"):
        made(tmp_path)
    other_pairs = {"task": "mini", "prompt": "explain", "pairs": {"part": "judged", "split": "test"}}
    for other, named in (
        (changed(seed=9), "recipe.seed was 0 and is 9"),
        (changed(shard=7), "recipe.shard was 16 and is 7"),
        (changed(teacher={"part": "replay", "file": "mini/replies-listwise.jsonl"}), "recipe.teacher.file was"),
        (changed(options=other_pairs), "split"),
    ):
        with pytest.raises(BadInput, match="contains another build") as told:
            made(tmp_path, other, limit=20)
        assert named in str(told.value) and "\n" not in str(told.value)


def test_a_second_builder_of_one_folder_is_refused_and_told_who_builds(tmp_path: Path) -> None:
    with files.only_writer(tmp_path / "work"), pytest.raises(CannotWrite, match=f"process {os.getpid()} on"):
        small(tmp_path)
    small(tmp_path)


POISON = [
    *[("", "stop"), ("The passage explains how", "length"), ("bat " * 400, "stop"), ("\ufffd \x00\x01", "stop")],
    *[("\u202e\u2066" * 50, "stop"), ('{"answer": ', "length")],
]


def test_replies_that_are_poisoned_or_were_never_recorded_put_their_items_in_quarantine(tmp_path: Path) -> None:
    some = [json.loads(line) for line in RECORDED.open()]
    never = {one["id"] for one in some[::3]}
    poisoned = {one["id"] for one in some[1::6]}
    for number, one in enumerate(some[1::6]):
        one["text"], one["finish"] = POISON[number % len(POISON)]
    file = tmp_path / "recorded.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in some if one["id"] not in never))
    recipe = changed(teacher={"part": "replay", "file": str(file)}, quality={"most_rejected": 1.0})
    counts = made(tmp_path, recipe).tables["explanations"].counts
    quarantined = [json.loads(line) for line in (tmp_path / "work" / "quarantine.jsonl").open()]
    assert counts["input"] == 120 == counts["good"] + counts["quarantined"] + counts["skipped"]
    assert len(quarantined) == counts["quarantined"]
    unknown = {one["id"] for one in quarantined if "no reply to it was recorded" in one["reason"]}
    assert len(unknown) > 20 and unknown <= never
    unusable = [one for one in quarantined if one["id"] not in unknown]
    assert len(unusable) > 10 and {one["id"] for one in unusable} <= poisoned
    assert all(one["reason"] and len(one["replies"]) == 1 for one in unusable)


def test_a_recipe_that_leaves_something_out_is_told_what(tmp_path: Path) -> None:
    for missing in ("builder", "dataset", "table", "licence"):
        with pytest.raises(BadInput, match=f"does not say its {missing}"):
            made(tmp_path, changed(**{missing: None}))
    with pytest.raises(BadInput, match="the recipe names none"):
        made(tmp_path, changed(teacher={}))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("shard=0", "shard must be at least 1, not 0"),
        ("shard=-1", "shard must be at least 1, not -1"),
        ("validation=-1", "validation must be at least 0, not -1"),
        ("quality.near=2", "quality near: expected `float` <= 1.0"),
        ("options.task=3", 'reads a collection: name it in the recipe\'s options, as in task = "mini"'),
        ('options.task=["mini"]', "reads a collection"),
    ],
)
def test_a_number_or_a_task_that_cannot_be_is_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, said: str
) -> None:
    assert main(["data", "build", "mini-scored", "--to", str(tmp_path / "build"), "--set", setting]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.rglob("*.json*"))


@pytest.mark.parametrize("recipe", recipes("data").values(), ids=lambda recipe: recipe.name)
def test_a_recipe_s_options_are_those_of_its_parts_and_it_says_whose_texts_these_are(recipe: Recipe) -> None:
    values = recipe.values
    options = values["options"]
    check_part(BUILDERS, values["builder"], options)
    assert values.keys() <= KEYS.keys() and task(options.get("task", "mini"))
    assert values["licence"] and values["title"] and (values["licence"] != "other" or values["note"])
    if values["builder"] in ("mined", "scored"):
        assert "teacher" not in values
    if values["builder"] == "mined":
        # TREC-DL has no other queries: who learns from one year is tested on the other.
        split = "test" if options["task"].startswith("trec-dl") else "train"
        assert options["split"] == split and not values.get("validation")
    if values["builder"] == "scored":
        queries = options["queries"]
        assert {each["part"] for each in ([queries] if "part" in queries else queries.values())} == {"cropped"}


def by_endpoint(server: Endpoint) -> Recipe:
    asked = {"part": "openai", "model": "backwards", "base_url": server.url, "timeout": 1.0}  # less than `hang` waits
    return changed(teacher={**asked, "concurrency": 32, "retries": 20})


@pytest.mark.slow
def test_a_server_that_fails_half_the_time_gives_the_same_rows_and_each_is_paid_once(tmp_path: Path) -> None:
    def explain(text: str) -> str:
        return f"The passage says what was asked: {' '.join(text.split()[-8:])}"

    with endpoint(answer=explain) as server:
        calm = made(tmp_path, by_endpoint(server), name="calm").tables["explanations"]
    with endpoint(slow=0.3, broken=0.1, hang=0.05, delay=0.002, spread=3.0, answer=explain) as server:
        rough = made(tmp_path, by_endpoint(server), name="rough").tables["explanations"]
    assert rough.counts == calm.counts and rough.counts["input"] == 120 and rough.counts["good"] > 60
    assert rough.splits == calm.splits and rough.tokens == calm.tokens
    assert set(server.answers.values()) == {1} and len(server.answers) == 120

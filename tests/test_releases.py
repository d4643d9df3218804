"""Releases on disk: what is written is read, what changed is seen, and a byte that changed is refused."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults import full_disk_at_each_call, killed_at_each_call, no_file_over
from hypothesis import given, settings, strategies as st
from toys import contents, features_of

from exabench.core.errors import BadInput, CannotWrite, UnknownName
from exabench.core.rows import FAMILIES, DataFile, Release, Row, Table
from exabench.data import releases


def a_row(id: str, family: str = "explanations", **changes: Any) -> Row:
    """A row of a family, good but for the changes."""
    blank = {"string": "", "bool": True, "int64": 0}
    return {**{name: blank.get(kind, []) for name, kind in FAMILIES[family].items()}, "id": id, **changes}


def many(count: int, family: str = "explanations", start: int = 0) -> list[Row]:
    return [a_row(f"r{i}", family, query=f"query {i}") for i in range(start, start + count)]


def table_of(splits: Any, family: str = "explanations", **changes: Any) -> Table:
    table = Table(
        family=family,
        licence="mit",
        recipe={"name": "r", "limit": 2, "nested": {"a": [1, 2.5, None]}},
        fingerprint="sha256:00",
        counts={"input": 2, "good": 2, "reasons": {}},
        teacher={"model": "t"},
        prompt="p@1",
        tokens={"replies": 2, "read": 10},
        replayable=True,
        report={"rows": 2},
        splits=splits,
        fields=dict(FAMILIES[family]),
    )
    return replace(table, **changes)


def a_release(folder: Path, rows: Any = None) -> Release:
    """A release with one table of explanations on disk; `rows` is a list (train) or lists by split."""
    rows = many(7) if rows is None else rows
    splits = rows if isinstance(rows, dict) else {"train": rows}
    files = releases.write_table(folder, "small", "explanations", splits, rows_per_file=3)
    release = Release("toys/small", "1.0.0", {"small": table_of(files)})
    releases.save(release, folder)
    return release


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_files_of_a_family_have_its_fields_in_the_order_of_the_contract(tmp_path: Path, family: str) -> None:
    files = releases.write_table(tmp_path, "t", family, {"train": many(2, family)})
    found = pq.read_schema(tmp_path / files["train"][0].path)
    assert found.names == list(FAMILIES[family])
    assert found.equals(features_of(family).arrow_schema)
    assert json.loads(found.metadata[b"huggingface"])["info"]["features"].keys() == FAMILIES[family].keys()


@pytest.mark.parametrize("sizes", [[1], [3], [3, 2], [3, 3], [3, 3, 1]])
def test_rows_are_cut_into_files_whose_names_say_how_many_and_none_is_empty(tmp_path: Path, sizes: list[int]) -> None:
    rows = many(sum(sizes))
    files = releases.write_table(tmp_path / "a", "t", "explanations", {"train": rows}, rows_per_file=3)
    assert [(file.path, file.rows) for file in files["train"]] == [
        (f"data/t/train-{part:05d}-of-{len(sizes):05d}.parquet", size) for part, size in enumerate(sizes)
    ]
    assert releases.write_table(tmp_path / "b", "t", "explanations", {"train": iter(rows)}, rows_per_file=3) == files
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sorted(contents(tmp_path / "a")) == [file.path for file in files["train"]]


def test_row_groups_are_of_a_thousand_rows(tmp_path: Path) -> None:
    [file] = releases.write_table(tmp_path, "t", "explanations", {"train": many(2001)})["train"]
    parquet = pq.ParquetFile(tmp_path / file.path).metadata
    assert [parquet.row_group(i).num_rows for i in range(parquet.num_row_groups)] == [1000, 1000, 1]


def test_a_table_takes_the_place_of_the_old_one_and_what_has_no_rows_leaves_nothing(tmp_path: Path) -> None:
    releases.write_table(tmp_path, "t", "explanations", {"train": many(9), "test": many(1, start=20)}, rows_per_file=2)
    files = releases.write_table(tmp_path, "t", "explanations", {"train": many(2), "validation": []})
    assert list(files) == ["train"]
    assert list(contents(tmp_path)) == [file.path for file in files["train"]]
    assert releases.write_table(tmp_path, "t", "explanations", {"train": []}) == {}
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"replies": [1]}, "replies must be list<string>"),
        ({"extra": 1}, "extra"),
        ({"query": "\ud800"}, "cannot be stored"),
        ({"malformed": 2**63}, "cannot be stored"),
    ],
)
def test_a_bad_row_is_refused_with_its_id_and_the_old_table_stays(tmp_path: Path, change: Row, told: str) -> None:
    before = releases.write_table(tmp_path, "t", "listwise", {"train": many(2, "listwise")})
    rows = [*many(5, "listwise"), a_row("bad", "listwise", **change)]
    with pytest.raises(BadInput, match=told) as error:
        releases.write_table(tmp_path, "t", "listwise", {"train": rows})
    assert "'bad'" in str(error.value)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["t"]
    assert pq.read_table(tmp_path / before["train"][0].path).num_rows == 2


def test_one_id_twice_and_what_the_rows_themselves_raise_leave_nothing(tmp_path: Path) -> None:
    def torn() -> Iterator[Row]:
        yield from many(3)
        raise ConnectionError("the source went away")

    again = many(1, start=3)
    for splits in ({"train": [*many(5), *again]}, {"a": many(5), "b": again}):
        with pytest.raises(BadInput, match="two rows have one id.*'r3'"):
            releases.write_table(tmp_path, "t", "explanations", splits, rows_per_file=2)
        assert list((tmp_path / "data").iterdir()) == []
    with pytest.raises(ConnectionError, match="went away"):
        releases.write_table(tmp_path, "t", "explanations", {"train": torn()})
    assert list((tmp_path / "data").iterdir()) == []


def test_a_table_or_split_whose_name_cannot_be_a_path_is_refused(tmp_path: Path) -> None:
    tables = [(table, "train") for table in ("", "..", "a/b", ".hidden", "a*", "a\nb", "ä")]
    for table, split in (*tables, ("t", ""), ("t", "train-2"), ("t", "Train"), ("t", "a b"), ("t", "../x")):
        with pytest.raises(BadInput, match="name it with"):
            releases.write_table(tmp_path, table, "explanations", {split: many(1)})


def test_a_disk_that_fills_up_under_the_rows_is_one_line_and_leaves_the_old_table(tmp_path: Path) -> None:
    releases.write_table(tmp_path, "small", "explanations", {"train": many(2)})
    before = contents(tmp_path)
    rng = random.Random(1)
    rows = (a_row(str(i), explanation=rng.randbytes(300).hex()) for i in range(2000))
    with no_file_over(300_000), pytest.raises(CannotWrite, match="^[^\n]*cannot be written[^\n]*$"):
        releases.write_table(tmp_path, "small", "explanations", {"train": rows})
    assert contents(tmp_path) == before


def test_a_table_is_the_old_one_or_the_new_one_after_every_full_disk_and_whole_after_a_kill(tmp_path: Path) -> None:
    def write() -> None:
        releases.write_table(tmp_path, "t", "explanations", {"train": many(5)}, rows_per_file=3)

    write()
    new = contents(tmp_path)
    releases.write_table(tmp_path, "t", "explanations", {"train": many(2)})
    old = contents(tmp_path)
    found = [contents(tmp_path) for _ in full_disk_at_each_call(write)]
    assert len(found) > 3 and all(tree in (old, new) for tree in found)
    assert contents(tmp_path) == new
    for _ in killed_at_each_call(write, numbers=[3]):
        write()
    assert contents(tmp_path) == new
    (tmp_path / "a file").write_text("where a folder should be")
    with pytest.raises(CannotWrite, match="cannot be written"):
        releases.write_table(tmp_path / "a file", "t", "explanations", {"train": many(1)})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(recipe=st.dictionaries(st.text(max_size=5), json_values, max_size=4), name=st.text(max_size=9))
@settings(max_examples=15)
def test_a_release_comes_back_from_its_manifest_exactly(
    tmp_path_factory: pytest.TempPathFactory, recipe: dict[str, Any], name: str
) -> None:
    folder = tmp_path_factory.mktemp("release")
    files = {"train": (DataFile("data/a.b-c/train-00000-of-00001.parquet", "0" * 64, 10, 2),)}
    table = table_of(files, recipe=recipe, report=recipe)
    release = Release(name, "12.0.3", {"a.b-c": table}, (DataFile("CHANGELOG.md", "f" * 64, 0),))
    releases.save(release, folder)
    assert manifest(folder)["format"] == 1
    again = releases.read(folder)
    assert again == release and again.content == release.content
    assert list(again.tables["a.b-c"].fields) == list(FAMILIES["explanations"])


def test_a_release_that_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    for value in (float("nan"), {1, 2}, "\ud800", Path("x")):
        with pytest.raises(BadInput, match="JSON"):
            releases.save(Release("n", "1.0.0", {"t": table_of({}, recipe={"odd": value})}), tmp_path)
        assert not (tmp_path / "manifest.json").exists()


FILE = "tables/small/splits/train/0"


@pytest.mark.parametrize(
    ("path", "item", "told"),
    [
        ("format", True, "format 1 but of True"),
        ("format", 2, "format 1 but of 2"),
        ("extra", 1, "was edited: its digest does not match"),
        ("version", "1.0", "major.minor.patch"),
        ("tables/small/licence", None, "licence"),
        ("tables/small/tokens", {"a": "b"}, r"tables\[...\].tokens"),
        ("tables/small/splits/train", [], "must list its files"),
        ("tables/small/splits/train-x", [], "split 'train-x'"),
        *(
            (f"{FILE}/path", path, "not a plain path")
            for path in ("../passwd", "/etc/passwd", "data\\small", "data/a\nb")
        ),
        (f"{FILE}/path", "data/other/train-00000-of-00003.parquet", "in place of data/small/train-00000"),
        (f"{FILE}/sha256", "zz", "64 hex"),
        (f"{FILE}/bytes", -1, "counts from 0"),
        ("files", [{"path": "manifest.json", "sha256": "0" * 64, "bytes": 0, "rows": 0}], "not a plain path"),
        ("files", [{"path": "a", "sha256": "0" * 64, "bytes": 0, "rows": 0}] * 2, "lists a twice"),
    ],
)
def test_an_odd_manifest_is_one_line_that_names_the_file(tmp_path: Path, path: str, item: Any, told: str) -> None:
    a_release(tmp_path)
    inner = value = manifest(tmp_path)
    *parents, last = path.split("/")
    for key in parents:
        inner = inner[int(key) if isinstance(inner, list) else key]
    inner[last] = item
    if item is None:
        del inner[last]
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(BadInput, match=told) as error:
        releases.read(tmp_path)
    assert "manifest.json" in str(error.value) and "\n" not in str(error.value)
    assert releases.verify(tmp_path) == [str(error.value)]


def test_no_text_in_place_of_a_manifest_gives_a_traceback(tmp_path: Path) -> None:
    assert "manifest.json is missing" in releases.verify(tmp_path / "nowhere")[0]
    for text in ("", "[]", '{"format": 1}', "[" * 100_000, "\ud800"):
        (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(BadInput, match="manifest.json"):
            releases.read(tmp_path)


def test_a_whole_release_gives_its_rows_back_and_files_beside_its_tables_are_checked_too(tmp_path: Path) -> None:
    splits = {"train": many(7), "validation": many(2, start=7)}
    release = a_release(tmp_path, splits)
    assert releases.verify(tmp_path) == []
    for split, rows in splits.items():
        assert list(releases.rows(tmp_path, "small", split)) == rows
    (tmp_path / "CHANGELOG.md").write_text("first\n")
    releases.save(replace(release, files=(DataFile("CHANGELOG.md", "a1b2" * 16, 6),)), tmp_path)
    [problem] = releases.verify(tmp_path)
    assert problem.startswith("CHANGELOG.md: does not match the manifest")
    with pytest.raises(UnknownName, match="did you mean small"):
        releases.rows(tmp_path, "smal", "train")
    with pytest.raises(UnknownName, match="split of small 'test'; choose from: train"):
        releases.rows(tmp_path, "small", "test")


def test_a_flipped_byte_anywhere_is_found_by_verify_and_refused_before_any_row(tmp_path: Path) -> None:
    release = a_release(tmp_path, many(4))
    rng = random.Random(5)
    for file in release.tables["small"].splits["train"]:
        place = tmp_path / file.path
        good = place.read_bytes()
        for position in [0, len(good) - 1, *rng.sample(range(len(good)), 10)]:
            torn = bytearray(good)
            torn[position] ^= 1 << rng.randrange(8)
            place.write_bytes(torn)
            [problem] = releases.verify(tmp_path)
            assert problem.startswith(f"{file.path}: does not match the manifest")
            for reader in (releases.rows, releases.load):
                with pytest.raises(BadInput, match=Path(file.path).name):
                    reader(tmp_path, "small", "train")
        place.write_bytes(good)
    assert releases.verify(tmp_path) == []


def test_each_way_that_a_release_can_be_wrong_is_a_line_that_names_the_file(tmp_path: Path) -> None:
    release = a_release(tmp_path)
    first, second, third = (file.path for file in release.tables["small"].splits["train"])
    (tmp_path / first).unlink()
    with open(tmp_path / second, "ab") as file:
        file.write(b"more")
    (tmp_path / third).rename(tmp_path / "elsewhere")
    (tmp_path / third).symlink_to(tmp_path / "elsewhere")
    extra = "data/small/train-00003-of-00003.parquet"
    (tmp_path / extra).write_bytes(b"PAR1")
    (tmp_path / "data" / "linked").symlink_to("/")
    told = {first: "is missing", second: "bytes where the manifest says", third: "is a link"}
    told |= dict.fromkeys(("data/linked", extra), "is not in the manifest")
    for problem, (path, words) in zip(releases.verify(tmp_path), told.items(), strict=True):
        assert problem.startswith(f"{path}: ") and words in problem


def put_in_place(folder: Path, release: Release, data: bytes, rows: int) -> str:
    """Put another file in place of the only one, vouch for it in the manifest, and say what `verify` finds."""
    [file] = release.tables["small"].splits["train"]
    (folder / file.path).write_bytes(data)
    told = replace(file, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), rows=rows)
    releases.save(replace(release, tables={"small": table_of({"train": (told,)})}), folder)
    [problem] = releases.verify(folder)
    return problem


def test_a_file_that_contradicts_the_manifest_is_a_problem_though_its_digest_fits(tmp_path: Path) -> None:
    release = a_release(tmp_path, many(3))
    good = pq.read_table(tmp_path / release.tables["small"].splits["train"][0].path)
    for table, rows, told in (
        (good, 7, "has 3 rows where the manifest says 7"),
        (good.drop_columns(["title"]), 3, "fields that differ from the manifest: title"),
        (good.set_column(6, "relevant", pa.array(["a"] * 3)), 3, "fields that differ from the manifest: relevant"),
        (good.select(sorted(good.column_names)), 3, "fields that differ from the manifest: another order"),
    ):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        assert told in put_in_place(tmp_path, release, sink.getvalue().to_pybytes(), rows)
    with pytest.raises(BadInput, match="another order"):
        releases.rows(tmp_path, "small", "train")
    assert "is not a Parquet file" in put_in_place(tmp_path, release, b"PAR1 no table PAR1", 3)


def changes(tmp_path: Path, old: Any, new: Any) -> releases.Diff:
    for name, rows in (("old", old), ("new", new)):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        a_release(tmp_path / name, rows)
    return releases.diff(tmp_path / "old", tmp_path / "new")


def test_rows_added_removed_and_changed_are_counted_and_some_are_named(tmp_path: Path) -> None:
    new = [*many(7)[2:], a_row("new")]
    new[0] |= {"query": "another", "relevant": False}
    found = changes(tmp_path, many(7), new)
    assert found.lines() == [
        "table small: 1 row added: new",
        "table small: 2 rows removed: r0, r1",
        "table small: 1 row changed: r2 (query, relevant)",
    ]
    assert json.loads(json.dumps(found.as_json()))["tables"]["small"]["changed_ids"] == {"r2": ["query", "relevant"]}
    assert not found.breaking
    [line] = changes(tmp_path, many(1), many(40)).lines()
    assert line == "table small: 39 rows added: r1, r2, r3, r4, r5, ..."


def test_rows_in_another_order_are_the_same_and_one_that_moves_to_another_split_changed(tmp_path: Path) -> None:
    found = changes(tmp_path, many(7), many(7)[::-1])
    assert found.lines() == [] and found.tables == {}
    before, after = releases.read(tmp_path / "old"), releases.read(tmp_path / "new")
    assert releases.next_version(before, after, found) == "1.0.1"
    found = changes(tmp_path, {"train": many(3)}, {"train": many(2), "validation": many(1, start=2)})
    assert found.lines() == ["table small: split validation added", "table small: 1 row changed: r2 (split)"]
    back = releases.diff(tmp_path / "new", tmp_path / "old")
    assert back.breaking and "table small: split validation removed" in back.lines()


def test_a_field_that_comes_does_not_make_every_row_a_changed_one(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fields = dict(FAMILIES["explanations"]) | {"prompt": "list<string>"}
        del fields["title"]
        patch.setitem(FAMILIES, "explanations", fields)
        a_release(tmp_path / "old", many(4))
    a_release(tmp_path / "new", many(4))
    found = releases.diff(tmp_path / "old", tmp_path / "new")
    assert found.lines() == [
        "table small: field title added (string)",
        "table small: field prompt was list<string>, is string",
    ]
    assert found.breaking
    back = releases.diff(tmp_path / "new", tmp_path / "old")
    assert "table small: field title removed" in back.lines() and back.breaking
    assert releases.verify(tmp_path / "old") == []  # it is held against what its own manifest promised


def test_tables_that_come_and_go_are_named(tmp_path: Path) -> None:
    old = a_release(tmp_path / "old")
    files = releases.write_table(tmp_path / "new", "other", "listwise", {"train": many(2, "listwise")})
    new = Release(old.name, "1.0.0", {"other": table_of(files, "listwise")})
    releases.save(new, tmp_path / "new")
    found = releases.diff(tmp_path / "old", tmp_path / "new")
    assert found.lines() == ["table other: added (2 rows)", "table small: removed (7 rows)"]
    assert releases.next_version(old, new, found) == "2.0.0"


def test_files_that_are_the_same_need_not_be_there_and_others_must_be_those_of_the_manifest(tmp_path: Path) -> None:
    changes(tmp_path, many(3), many(4))
    shutil.copytree(tmp_path / "old", tmp_path / "same")
    [file] = (tmp_path / "old" / "data" / "small").iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(BadInput, match=file.name):
        releases.diff(tmp_path / "old", tmp_path / "new")
    shutil.rmtree(tmp_path / "old" / "data")
    assert releases.diff(tmp_path / "old", tmp_path / "same").lines() == []


ids = st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from(["x", "y"]), max_size=8)


@given(old=ids, new=ids)
@settings(max_examples=15)
def test_a_diff_counts_what_two_dicts_tell_apart(
    tmp_path_factory: pytest.TempPathFactory, old: dict[str, str], new: dict[str, str]
) -> None:
    made = [[a_row("0"), *(a_row(id, query=text) for id, text in rows.items())] for rows in (old, new)]
    found = changes(tmp_path_factory.mktemp("diff"), *made).tables.get("small")
    counts = (found.rows_added, found.rows_removed, found.rows_changed) if found else (0, 0, 0)
    changed = sum(old[id] != new[id] for id in old.keys() & new.keys())
    assert counts == (len(new.keys() - old.keys()), len(old.keys() - new.keys()), changed)


def test_versions_follow_from_what_changed(tmp_path: Path) -> None:
    old = replace(a_release(tmp_path / "old"), version="2.3.4")
    same = releases.diff(tmp_path / "old", tmp_path / "old")
    assert releases.next_version(None, old, None) == "1.0.0"
    assert releases.next_version(old, replace(old, version="1.0.0"), same) == "2.3.4"
    licence = {"small": replace(old.tables["small"], licence="cc0-1.0")}
    assert releases.next_version(old, replace(old, tables=licence), same) == "2.3.5"
    new = a_release(tmp_path / "new", many(8))
    assert releases.next_version(old, new, releases.diff(tmp_path / "old", tmp_path / "new")) == "2.4.0"
    with pytest.raises(BadInput, match="compare the two first"):
        releases.next_version(old, new, None)


def test_a_person_may_raise_a_version_and_never_lower_it() -> None:
    assert releases.raise_version("1.2.3", "1.2.3") == "1.2.3"
    assert releases.raise_version("1.9.0", "1.10.0") == "1.10.0"
    with pytest.raises(BadInput, match="may only be raised"):
        releases.raise_version("1.10.0", "1.9.9")
    for wanted in ("", "v2.0.0", "2.0", "2.0.0.0", "2.0.0-rc1", "02.0.0", "2.0.0\n", "².0.0", "9" * 40):
        with pytest.raises(BadInput, match="major.minor.patch"):
            releases.raise_version("1.0.0", wanted)

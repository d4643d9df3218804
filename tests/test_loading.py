"""A release is read by `datasets` with nothing of ours: every family, every text, streaming and not, old and new."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
from hub_client import point_at
from hub_double import HubDouble
from hypothesis import given, settings, strategies as st
from toys import contents, features_of

from exabench.core.errors import BadInput, UnknownName
from exabench.core.rows import FAMILIES, Release, Row, Table
from exabench.data import releases

datasets.disable_progress_bars()

REPO = "acme/small"
# What any Python with `datasets` and nothing of ours says of a folder: the rows of each table and split.
WITNESS = """
import json, os, sys, tempfile
import datasets

datasets.disable_progress_bars()
found = {}
for table, split in json.loads(sys.argv[2]):
    with tempfile.TemporaryDirectory() as cache:
        kept = datasets.load_dataset(sys.argv[1], table, split=split, cache_dir=cache)
        streamed = datasets.load_dataset(sys.argv[1], table, split=split, streaming=True, cache_dir=cache)
        for way, rows in (("kept", kept), ("streamed", streamed)):
            found[f"{table} {split} {way}"] = list(rows)
print(json.dumps(found), flush=True)
os._exit(0)  # threads of a streamed reader can abort an interpreter that ends, after all is done
"""

ODD = ["", " ", "\n", "\r\n", "\x00", "a\u2028b", "\ufeff", "NaN", "null", "None", "\U0001f600", "n\u0303", "x" * 5000]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(ODD)
values = {
    "string": texts,
    "bool": st.booleans(),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "list<string>": st.lists(texts, max_size=4),
    "list<int64>": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    "list<double>": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
}


def rows_of(family: str) -> st.SearchStrategy[list[Row]]:
    row = st.fixed_dictionaries({name: values[kind] for name, kind in FAMILIES[family].items()})
    return st.lists(row, min_size=1, max_size=6, unique_by=lambda row: row["id"])


def some_rows(family: str, count: int, start: int = 0) -> list[Row]:
    """Rows that differ in every field, with an empty list among them."""
    made = {
        "string": lambda i: f"zeile {i}\n“ü” \U0001f600",
        "bool": lambda i: i % 2 == 0,
        "int64": lambda i: -i,
        "list<string>": lambda i: [f"p{n}" for n in range(i % 3)],
        "list<int64>": lambda i: [2**62 + n for n in range(i % 3)],
        "list<double>": lambda i: [1 / (60 + n) for n in range(i % 3)],
    }
    rows = [{name: made[kind](i) for name, kind in FAMILIES[family].items()} for i in range(start, start + count)]
    return [row | {"id": f"{family}-{start + place}"} for place, row in enumerate(rows)]


def release_of(folder: Path, tables: dict[str, tuple[str, dict[str, list[Row]]]], version: str = "1.0.0") -> Release:
    """A release on disk with a card that says no more than where the tables lie."""
    made = {}
    for name, (family, rows) in tables.items():
        files = releases.write_table(folder, name, family, rows, rows_per_file=3)
        made[name] = Table(family, "mit", {}, "f", {}, {}, "", {}, False, {}, files, dict(FAMILIES[family]))
    release = Release("acme/small", version, made)
    releases.save(release, folder)
    lines = ["---", "configs:"]
    for name, table in made.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        for split in table.splits:
            lines += [f"  - split: {split}", f"    path: data/{name}/{split}-*.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "", "# Small", ""]), encoding="utf-8")
    return release


def every_family(folder: Path) -> dict[str, tuple[str, dict[str, list[Row]]]]:
    tables = {
        f"a.{family}-2b": (family, {"train": some_rows(family, 8), "validation": some_rows(family, 2, 8)})
        for family in FAMILIES
    }
    release_of(folder, tables)
    return tables


def pythons() -> list[str]:
    """This Python, and those of other versions of `datasets` that EXABENCH_DATASETS_PYTHONS names (as PATH does)."""
    return [sys.executable, *filter(None, os.environ.get("EXABENCH_DATASETS_PYTHONS", "").split(os.pathsep))]


@pytest.mark.parametrize("python", pythons())
def test_every_family_is_loaded_equal_by_a_python_without_exabench(tmp_path: Path, python: str) -> None:
    tables = every_family(tmp_path / "release")
    asked = [(name, split) for name, (_, rows) in tables.items() for split in rows]
    done = subprocess.run(
        [python, "-P", "-c", WITNESS, str(tmp_path / "release"), json.dumps(asked)],
        **{"capture_output": True, "text": True, "timeout": 120, "check": False, "cwd": tmp_path},
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    wanted = {}
    for name, split in asked:
        for way in ("kept", "streamed"):
            wanted[f"{name} {split} {way}"] = tables[name][1][split]
    assert done.stdout.splitlines()[-1] == json.dumps(wanted), "the order of the fields is kept too"


@pytest.mark.parametrize("family", FAMILIES)
def test_any_rows_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, family: str) -> None:
    @given(rows=rows_of(family))
    @settings(max_examples=8)
    def holds(rows: list[Row]) -> None:
        folder = tmp_path_factory.mktemp("release")
        release_of(folder, {"t": (family, {"train": rows})})
        cache = str(folder / "cache")
        kept = datasets.load_dataset(str(folder), "t", split="train", cache_dir=cache)
        streamed = datasets.load_dataset(str(folder), "t", split="train", streaming=True, cache_dir=cache)
        assert kept.features == streamed.features == features_of(family)
        assert kept.to_list() == list(streamed) == list(releases.rows(folder, "t", "train")) == rows
        assert releases.verify(folder) == []
        shutil.rmtree(folder)

    holds()


def test_load_gives_the_rows_with_their_release_beside_them_or_says_what_it_cannot_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tables = every_family(tmp_path)
    datasets.enable_progress_bars()
    rows = releases.load(tmp_path, "a.listwise-2b", "validation", version="1.0.0")
    assert capfd.readouterr() == ("", ""), "only the command line prints"
    assert isinstance(rows, datasets.Dataset) and rows.features == features_of("listwise")
    assert rows.to_list() == tables["a.listwise-2b"][1]["validation"]
    assert rows.release == releases.read(tmp_path)
    for told, kind, options in [
        ("did you mean a.listwise-2b", UnknownName, {"table": "a.listwise"}),
        ("split of a.listwise-2b 'test'", UnknownName, {"split": "test"}),
        ("has version 1.0.0, not 1.0.1", BadInput, {"version": "1.0.1"}),
        ("major.minor.patch", BadInput, {"version": "v1.0.0"}),
        ("not both", BadInput, {"version": "1.0.0", "revision": "main"}),
        ("no revision 'main'", BadInput, {"revision": "main"}),
        ("neither a release folder nor a Hub id", BadInput, {"place": "no/such/folder"}),
        ("manifest.json is missing", BadInput, {"place": tmp_path / "data"}),
    ]:
        with pytest.raises(kind, match=told):
            releases.load(**{"place": tmp_path, "table": "a.listwise-2b", **options})  # type: ignore[arg-type]


def test_a_release_that_was_written_anew_is_not_loaded_from_what_the_old_one_left(tmp_path: Path) -> None:
    for start in (0, 50):
        rows = some_rows("explanations", 3, start)
        release = release_of(tmp_path, {"t": ("explanations", {"train": rows})})
        for file in release.all_files:
            os.utime(tmp_path / file.path, (1, 1))
        assert releases.load(tmp_path, "t").to_list() == rows


def test_a_version_is_loaded_from_the_hub_at_its_commit_and_a_tag_that_moved_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(version: str, count: int) -> dict[str, bytes]:
        some, other = ({"train": some_rows("explanations", rows)} for rows in (count, 2))
        release_of(tmp_path / version, {"t": ("explanations", some), "other": ("explanations", other)}, version)
        return contents(tmp_path / version)

    def loaded(**options: Any) -> tuple[str, list[str]]:
        rows = releases.load(REPO, "t", **options)
        return rows.release.version, list(rows["id"])

    ids = [row["id"] for row in some_rows("explanations", 4)]
    lock = tmp_path / "lock.json"
    with HubDouble() as hub:
        point_at(hub.url, tmp_path / "home", monkeypatch)
        first = hub.commit(REPO, made("1.0.0", 2))
        second = hub.commit(REPO, made("1.1.0", 4))
        hub.repo(REPO).tags |= {"v1.0.0": first, "v1.1.0": second}
        assert loaded(version="1.0.0", lock=lock) == ("1.0.0", ids[:2])
        assert loaded(revision=second) == loaded() == ("1.1.0", ids)
        with pytest.raises(UnknownName, match="split of t 'test'"):
            loaded(split="test")
        assert not any("data/other" in path for path in hub.requests), "only the files of the table are fetched"
        hub.repo(REPO).tags |= {"v1.0.0": second}  # somebody deleted the tag and made it anew
        with pytest.raises(BadInput, match="has version 1.1.0, not 1.0.0"):
            loaded(version="1.0.0")
        assert loaded(version="1.0.0", lock=lock) == ("1.0.0", ids[:2])
        [link] = (tmp_path / "home").rglob(f"snapshots/{first}/data/t/*.parquet")
        kept = link.resolve()
        assert link.is_symlink() and kept.parent.name == "blobs", "links of a cache into its blobs are followed"
        kept.write_bytes(kept.read_bytes()[:-1] + b"?")
        with pytest.raises(BadInput, match="data/t/train-00000-of-00001.parquet does not match the manifest"):
            loaded(revision=first)
        link.unlink()
        link.symlink_to(tmp_path / "1.0.0" / "data" / "t" / link.name)
        with pytest.raises(BadInput, match="is a link"):
            loaded(revision=first)

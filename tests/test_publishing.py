"""Publishing: one commit and one tag whatever the Hub does meanwhile, nothing lost, and no secret let out."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import multiprocessing
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import huggingface_hub
import pytest
from faults import full_disk_at_each_call, killed_at_each_call
from hub_client import CANARY, environment, point_at, write_release
from hub_double import REVOKED, HubDouble
from hub_faults import KINDS
from toys import contents

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput, ExabenchError, OutsideFailed
from exabench.core.rows import Release
from exabench.data.publishing import publish
from exabench.data.releases import diff, read, rows, verify
from exabench.hub import client, commits
from exabench.hub.commits import Published

REPO = "owner/toy"


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    monkeypatch.setattr(commits, "PAUSE", 0.0)
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        yield server


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    write_release(folder, {"first": ["sky", "sea"]})
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same table with another row and without replies, and a second one."""
    folder = tmp_path_factory.mktemp("two")
    write_release(folder, {"first": ["sky", "sea", "sun"], "second": ["wave"]}, replies=False)
    return folder


def head(double: HubDouble) -> dict[str, bytes]:
    return dict(double.repo(REPO).at("main").files)


def without_notes(files: dict[str, bytes]) -> dict[str, bytes]:
    """A tree but for the file that others put there."""
    return {name: data for name, data in files.items() if name != "notes.txt"}


def titles(double: HubDouble) -> list[str]:
    repo = double.repo(REPO)
    return [commit.title for commit in repo.history(repo.at("main"))][::-1]


def manifest(files: dict[str, bytes], folder: Path) -> Release:
    """What a tree is, with every file that its manifest lists."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    assert verify(folder) == []
    return read(folder)


def writes(requests: list[str]) -> list[str]:
    """The requests that change a repository (uploads of large files, and asking where to, are none)."""
    changing = ("repos/create", "/commit/", "POST /api/datasets")
    return [r for r in requests if any(part in r for part in changing) and "preupload" not in r]


def test_a_release_is_one_commit_and_one_tag_and_a_second_call_makes_good_a_lost_tag_alone(double, one, tmp_path):
    done = publish(one, REPO)
    repo = double.repo(REPO)
    assert done == Published(REPO, "1.0.0", repo.refs["main"], f"{double.url}/datasets/{REPO}/tree/v1.0.0", True)
    assert titles(double) == ["initial", "toy 1.0.0: first"] and repo.tags == {"v1.0.0": repo.refs["main"]}
    assert len(writes(double.requests)) == 3  # create, commit, tag
    found = manifest(head(double), tmp_path / "tree")
    assert found.content == read(one).content and found.version == "1.0.0"
    assert sorted(head(double)) == [
        *(".gitattributes", "CHANGELOG.md", "README.md"),
        *("data/first/train-00000-of-00001.parquet", "manifest.json", "replies/first.parquet"),
    ]
    double.requests.clear()
    assert publish(one, REPO) == dataclasses.replace(done, changed=False)
    assert writes(double.requests) == []
    repo.tags.clear()
    publish(one, REPO)
    assert double.repo(REPO).tags == {"v1.0.0": done.commit} and len(titles(double)) == 2


def test_tables_join_those_that_are_there_and_take_the_place_of_their_namesakes(double, one, two, tmp_path):
    publish(one, REPO)
    files = head(double)
    files["README.md"] = files["README.md"].replace(b"license: mit", b"thanks: to all\nlicense: mit") + b"\nBy hand.\n"
    double.commit(REPO, files | {"notes.txt": b"mine"})
    double.requests.clear()
    done = publish(two, REPO)
    assert done.version == "1.1.0" and titles(double)[-1] == "toy 1.1.0: first, second"
    assert len(writes(double.requests)) == 2  # commit, tag
    found = manifest(head(double), tmp_path / "tree")
    assert [found.tables["first"], found.tables["second"]] == list(read(two).tables.values())
    assert "replies/first.parquet" not in head(double) and found.files == ()  # they were the old table's
    page = head(double)["README.md"].decode()
    assert "thanks: to all" in page and "By hand." in page and "config_name: second" in page
    changes = head(double)["CHANGELOG.md"].decode()
    assert changes.index("## 1.1.0") < changes.index("table first: 1 row") < changes.index("## 1.0.0")
    assert head(double)["notes.txt"] == b"mine"
    third = write_release(tmp_path / "third", {"third": ["moon"]})
    assert publish(tmp_path / "third", REPO).version == "1.2.0"
    after = manifest(head(double), tmp_path / "tree")
    assert after.tables == {**found.tables, **third.tables} and len(double.repo(REPO).tags) == 3


def test_the_lines_that_load_it_name_the_repository_that_it_was_published_to(double, one):
    publish(one, REPO)
    page = head(double)["README.md"].decode()
    assert f'load_dataset("{REPO}", "first"' in page and f'exabench.load("{REPO}", "first"' in page
    assert "OWNER" not in page


def test_who_has_no_token_is_told_how_to_log_in(double, one, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert main(["data", "publish", str(one), "--repo", "owner/new"]) == 2
    said = capsys.readouterr().err
    assert "refused (no token was sent); log in with `hf auth login` or set HF_TOKEN" in said and "401" not in said
    monkeypatch.setenv("HF_TOKEN", REVOKED)
    assert main(["data", "publish", str(one), "--repo", "owner/new"]) == 2
    assert "log in again with `hf auth login`, or set another HF_TOKEN" in capsys.readouterr().err


def test_a_token_that_no_request_can_carry_is_named_and_never_repeated(double, one, monkeypatch, capsys):
    for token in ("hf_a\udcffb", "hf_\u00e9a", "hf_a\nb", "hf_a\x07b", "hf_a b"):
        monkeypatch.setenv("HF_TOKEN", token)
        assert main(["data", "publish", str(one), "--repo", "owner/new"]) == 2
        said = capsys.readouterr().err.splitlines()
        assert said[-1].startswith("exabench: HF_TOKEN contains a character that no key has") and "hf_" not in "".join(
            said
        )
    assert double.requests == []


def test_a_broken_token_of_hf_auth_login_is_named_as_that(double, one, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    kept = tmp_path / "token"
    kept.write_text("hf_a b")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(kept))
    assert main(["data", "publish", str(one), "--repo", "owner/new"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("exabench: the token of `hf auth login` contains a character that no key has")
    assert "hf_" not in "".join(said) and double.requests == []


def test_the_command_says_of_a_dry_run_what_would_be_done_and_asks_once(double, one, capsys):
    dry = ["data", "publish", str(one), "--repo", REPO, "--dry-run"]
    assert main(dry) == 0 and double.repos == {}
    url = f"{double.url}/datasets/{REPO}/tree/v1.0.0"
    assert capsys.readouterr().out == f"{REPO} 1.0.0: would be published ({url})\n"
    publish(one, REPO)
    assert main(dry) == 0 and "nothing has changed" in capsys.readouterr().out
    double.faults.arm(rest=("/api/", "503"))
    double.requests.clear()
    assert main(dry) == 3 and len(double.requests) == 1
    said = capsys.readouterr().err
    assert said.endswith("check the network and try again\n") and "did not appear" not in said


def test_a_croissant_file_of_version_0_1_is_no_fault_and_goes_with_the_next_version(double, one, two, tmp_path):
    folder = Path(shutil.copytree(one, tmp_path / "old"))
    (folder / "croissant.json").write_text("{}")
    assert verify(folder) == [] and diff(folder, one).lines() == []
    publish(one, REPO)
    double.commit(REPO, head(double) | {"croissant.json": b"{}"})
    assert publish(one, REPO).changed is False
    publish(two, REPO)
    assert "croissant.json" not in head(double)


def test_a_version_may_be_raised_alone_and_a_dry_run_says_what_would_be_done(double, one, two, tmp_path):
    assert publish(one, REPO, dry_run=True).changed and double.repos == {}
    publish(one, REPO)
    double.repo(REPO).tags.clear()
    double.requests.clear()
    assert publish(two, REPO, dry_run=True).version == "1.1.0"
    assert publish(one, REPO, dry_run=True).changed is False
    assert publish(two, tmp_path / "new", dry_run=True).version == "1.0.0"
    assert writes(double.requests) == [] and not (tmp_path / "new").exists()
    with pytest.raises(BadInput, match="below 1.1.0"):
        publish(two, REPO, version="1.0.9")
    assert publish(two, REPO, version="3.0.0").version == "3.0.0"
    assert sorted(double.repo(REPO).tags) == ["v1.0.0", "v3.0.0"]  # the lost one is made good


class Scene:
    def __init__(self, double: HubDouble, one: Path, two: Path) -> None:
        publish(one, REPO)
        self.double, self.two = double, two
        self.old, self.before, self.stored = head(double), copy.deepcopy(double.repos), dict(double.objects)
        double.faults.arm()
        publish(two, REPO)
        self.new, self.requests = head(double), list(double.faults.seen)

    def is_new(self) -> bool:
        """Whether the head is the new version; it must be that or the old one, but for what others added."""
        now = without_notes(head(self.double))
        assert now in (self.old, self.new)
        return now == self.new

    def meet(self, plan: Mapping[int, str] | None = None, rest: tuple[int, str] | None = None) -> str:
        """Faults may be overcome, or end in one line; a second call then always ends well. Returns the line."""
        self.double.repos.clear()
        self.double.repos.update(copy.deepcopy(self.before))
        self.double.objects.clear()
        self.double.objects.update(self.stored)
        self.double.faults.arm(plan, rest)
        said = ""
        try:
            publish(self.two, REPO)
        except ExabenchError as error:
            said = str(error)
            assert "\n" not in said and CANARY not in said, (plan, rest)
            self.is_new()
            self.double.faults.arm()
            publish(self.two, REPO)
        # The new version is there, by one commit and under one tag.
        assert self.is_new()
        ours = [title for title in titles(self.double) if title.startswith("toy")]
        assert ours == ["toy 1.0.0: first", "toy 1.1.0: first, second"]
        repo = self.double.repo(REPO)
        assert sorted(repo.tags) == ["v1.0.0", "v1.1.0"]
        assert without_notes(repo.at("v1.1.0").files) == self.new
        return said


def test_faults_and_a_hub_that_goes_away_leave_the_old_version_or_the_whole_new_one(double, one, two):
    scene = Scene(double, one, two)
    for number in range(0, len(scene.requests), 8):
        kind = ("503", "no answer")[number // 8 % 2]
        assert "the commit is complete or absent" in scene.meet(rest=(number, kind))
    some = ("503", "lost reply", "truncated", "412", "no answer", "cut", "500 after", "wrong etag", "damaged object")
    for number, request in enumerate(scene.requests):
        scene.meet({number: some[number % len(some)]})
        if "/commit/" in request:
            for kind in ("412", "409", "429 with headers", "500 after", "lost reply", "no answer", "overtaken"):
                scene.meet({number: kind})


@pytest.mark.slow
def test_every_kind_of_fault_at_every_request(double, one, two):
    with HubDouble() as elsewhere:
        double.faults.elsewhere = elsewhere.url.replace("127.0.0.1", "localhost")
        scene = Scene(double, one, two)
        for number in range(len(scene.requests)):
            for kind in KINDS:
                scene.meet({number: kind})
        assert elsewhere.requests
        assert not any("authorization" in headers for headers in elsewhere.headers)


@pytest.mark.parametrize("kind", ["lost reply", "500 after"])
@pytest.mark.parametrize("at", ["/commit/", "/tag/", "repos/create"])
def test_a_lost_reply_makes_no_second_commit_and_no_second_tag(double, one, kind, at):
    double.faults.arm(rest=(at, kind))
    assert publish(one, REPO).changed
    assert titles(double) == ["initial", "toy 1.0.0: first"]
    assert double.repo(REPO).tags == {"v1.0.0": double.repo(REPO).refs["main"]}


def test_retries_end_with_one_clear_line(double, one, two, monkeypatch):
    monkeypatch.setattr(client, "OVERTAKEN", 5)
    publish(one, REPO)
    before = head(double)
    double.faults.arm(rest=("/commit/", "412"))  # as a token is answered that may only open pull requests
    with pytest.raises(OutsideFailed, match="only open pull requests needs --pr") as caught:
        publish(two, REPO)
    assert sum("/commit/" in request for request in double.faults.seen) == client.RETRIES + 1
    assert "\n" not in str(caught.value) and head(double) == before
    double.faults.arm(rest=("/preupload/", "overtaken"))  # somebody else is always faster
    with pytest.raises(OutsideFailed, match="did not appear after"):
        publish(two, REPO)
    assert sum("/commit/" in request for request in double.faults.seen) <= client.OVERTAKEN + 2


def _one_of_four(url: str, home: Path, folder: Path) -> str:
    point_at(url, home, pytest.MonkeyPatch())
    commits.PAUSE = 0.2
    return publish(folder, REPO).version


def test_four_publishers_at_once_lose_nothing(double, tmp_path):
    names = [f"table-{number}" for number in range(4)]
    for name in names:
        write_release(tmp_path / name, {name: [name]})
    context = multiprocessing.get_context("forkserver")
    used = ("hf_api", "_commit_api", "lfs", "file_download", "_snapshot_download", "utils._detect_agent")
    context.set_forkserver_preload(["test_publishing", *(f"huggingface_hub.{name}" for name in used)])
    with context.Pool(4) as pool:
        tasks = [(double.url, tmp_path / "home", tmp_path / name) for name in names]
        versions = pool.starmap(_one_of_four, tasks, chunksize=1)
    found = manifest(head(double), tmp_path / "tree")
    assert sorted(found.tables) == names and found.version == "1.3.0"
    assert len(titles(double)) == 1 + 4  # no commit twice
    assert sorted(double.repo(REPO).tags) == [f"v1.{number}.0" for number in range(4)]
    assert set(versions) <= {f"1.{number}.0" for number in range(4)}
    page = head(double)["README.md"].decode()
    for name in names:
        assert f"config_name: {name}\n" in page
        assert [row["id"] for row in rows(tmp_path / "tree", name, "train")] == [f"{name}-0"]


def test_a_repository_that_somebody_else_makes_and_fills_first_is_joined(double, one, tmp_path):
    write_release(tmp_path / "other", {"other": ["tide"]})
    publish(tmp_path / "other", "owner/twin")
    theirs = dict(double.repo("owner/twin").at("main").files)
    double.faults.arm()
    publish(one, REPO)
    looked_again = 1 + next(number for number, request in enumerate(double.faults.seen) if "repos/create" in request)
    del double.repos[f"datasets/{REPO}"]
    double.overtake = lambda: double.commit(REPO, theirs)
    double.faults.arm({looked_again: "overtaken"})
    publish(one, REPO)
    assert sorted(manifest(head(double), tmp_path / "tree").tables) == ["first", "other"]


def test_a_pull_request_is_opened_once_and_tagged_when_it_is_merged(double, one, two):
    with pytest.raises(BadInput, match="does not exist"):
        publish(one, REPO, pull_request=True)
    start = publish(one, REPO)
    for kind in ("lost reply", ""):
        double.faults.arm(rest=("/commit/", kind) if kind else None)
        asked = publish(two, REPO, pull_request=True)
        assert asked.url == f"{double.url}/datasets/{REPO}/discussions/1" and asked.version == "1.1.0"
    assert len(double.repo(REPO).requests) == 1 and asked.changed is False
    assert double.repo(REPO).refs["main"] == start.commit and list(double.repo(REPO).tags) == ["v1.0.0"]
    merged = double.merge(REPO, 1)
    done = publish(two, REPO)
    assert (done.version, done.commit, done.changed) == ("1.1.0", merged, False)
    assert done.url.endswith("/tree/v1.1.0") and double.repo(REPO).tags["v1.1.0"] == merged


def test_a_tag_that_stands_elsewhere_is_said_and_never_moved(double, one, two):
    first = publish(one, REPO).commit
    double.repo(REPO).tags["v1.1.0"] = first
    with pytest.raises(BadInput, match=f"tag v1.1.0 is at {first}, .*; tags never move: raise the version"):
        publish(two, REPO)
    assert double.repo(REPO).refs["main"] == first
    assert publish(two, REPO, version="1.2.0").version == "1.2.0"
    double.repo(REPO).tags["v1.2.0"] = first  # made again, at another commit
    with pytest.raises(BadInput, match="tags never move"):
        publish(two, REPO)


def test_a_release_that_is_damaged_or_has_no_licence_is_refused_before_anything_is_asked(double, one, tmp_path):
    damaged = Path(shutil.copytree(one, tmp_path / "damaged"))
    file = next(damaged.glob("data/*/*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(BadInput, match="train-00000-of-00001.parquet"):
        publish(damaged, REPO)
    write_release(tmp_path / "bare", {"first": ["sky"]}, licence=" ")
    with pytest.raises(BadInput, match="table first has no licence"):
        publish(tmp_path / "bare", REPO)
    assert double.requests == []


def test_a_place_that_holds_something_else_is_refused_and_a_card_made_by_hand_is_kept(double, one, tmp_path):
    double.commit(REPO, {"manifest.json": b"{}"})
    with pytest.raises(BadInput, match="cannot be added to") as caught:
        publish(one, REPO)
    assert "/tmp" not in str(caught.value)
    write_release(tmp_path / "other", {"first": ["x"]}, name="other")
    publish(tmp_path / "other", "owner/other")
    with pytest.raises(BadInput, match="contains the dataset other, not toy"):
        publish(one, "owner/other")
    double.commit(REPO, {"README.md": "---\nlanguage: en\n---\n# Mine, über alles\n".encode()})
    publish(one, REPO)
    card = head(double)["README.md"].decode()
    assert "language: en" in card and "# Mine, über alles" in card


def test_a_folder_holds_what_the_hub_holds(double, one, two, tmp_path):
    place = tmp_path / "place"
    assert publish(one, place).version == "1.0.0"
    (place / "notes.txt").write_text("mine")
    done = publish(two, place)
    assert (done.to, done.version, done.changed) == (str(place), "1.1.0", True) and verify(place) == []
    assert publish(two, place) == dataclasses.replace(done, changed=False)
    assert contents(place).pop("notes.txt") == b"mine"
    publish(one, REPO)
    publish(two, REPO)
    on_the_hub = {path: data for path, data in head(double).items() if path != ".gitattributes"}
    # A card names the place that it is read from.
    on_the_hub["README.md"] = on_the_hub["README.md"].replace(REPO.encode(), b"OWNER/toy")
    here = without_notes(contents(place))
    owner_line = re.compile(rb"`OWNER` is the account that.*\n")
    here["README.md"] = owner_line.sub(b"", here["README.md"])
    assert here == on_the_hub
    assert sorted(file.name for file in tmp_path.iterdir()) == ["place"]  # no tree left on its way


def test_a_folder_is_whole_after_every_full_disk_and_every_kill(one, two, tmp_path):
    place = tmp_path / "scene" / "place"
    publish(one, tmp_path / "old")
    old = contents(tmp_path / "old")
    publish(two, shutil.copytree(tmp_path / "old", tmp_path / "new"))
    new = contents(tmp_path / "new")

    def publish_two():
        publish(two, place)

    shutil.copytree(tmp_path / "old", place)
    # Without "link": where one fails, the file is copied, which is what "sendfile" is for.
    full = full_disk_at_each_call(publish_two, calls=("sendfile", "fsync", "rename", "replace"))
    found = [contents(place) for _ in full]
    assert len(found) > 3 and all(tree in (old, new) for tree in found)
    assert contents(place) == new
    for kills in range(1, 100):  # between any two renames: what else is written goes into the new folder alone
        shutil.rmtree(place.parent)
        shutil.copytree(tmp_path / "old", place)
        if not list(killed_at_each_call(publish_two, numbers=[kills], calls=("rename", "rmdir"))):
            break
        seen = publish(two, place, dry_run=True)  # a look puts the old tree back, where it was on its way
        assert contents(place) == (old if seen.changed else new)
        publish_two()
        assert contents(place) == new
    assert kills > 3 and contents(place) == new


def test_a_folder_that_is_no_dataset_is_left_alone(double, one, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="publish to a new or empty folder"):
        publish(one, tmp_path / "full")
    for wrong in (one, one / "data" / "deeper", one.parent):
        with pytest.raises(BadInput, match="publish to another folder"):
            publish(one, wrong)
    with pytest.raises(BadInput, match="is a folder, which has no pull requests"):
        publish(one, tmp_path / "new", pull_request=True)
    (tmp_path / "owner" / "toy").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="write ./owner/toy for the folder"):
        publish(one, "owner/toy")
    assert publish(one, "./owner/toy").to == str(tmp_path / "owner" / "toy")
    monkeypatch.chdir(one)
    assert publish(".", REPO).changed


READER = """
import json, socket, sys
hosts, ask = set(), socket.getaddrinfo
def noted(host, *rest, **options):
    hosts.add(host if isinstance(host, str) else host.decode())
    return ask(host, *rest, **options)
socket.getaddrinfo = noted
sys.modules["exabench"] = None  # an import of ours would fail
import datasets
def loaded(place, table, **options):
    whole = datasets.load_dataset(place, table, split="train", **options)
    streamed = list(datasets.load_dataset(place, table, split="train", streaming=True, **options))
    assert list(whole) == streamed
    return streamed
repo, tag, folder, *tables = sys.argv[1:]
hub = {table: loaded(repo, table, revision=tag) for table in tables}
print(json.dumps([hub, {table: loaded(folder, table) for table in tables}, sorted(hosts)]))
"""


def test_load_dataset_reads_a_tag_and_a_folder_alike_and_streaming(double, one, two, tmp_path):
    for place in (REPO, tmp_path / "place"):
        publish(one, place)
        publish(two, place)
    command = [sys.executable, "-c", READER, REPO, "v1.1.0", str(tmp_path / "place"), "first", "second"]
    away = environment(double.url, tmp_path / "reader")
    done = subprocess.run(command, env=away, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert CANARY not in done.stdout + done.stderr
    hub, folder, hosts = json.loads(done.stdout)
    assert hub == folder == {name: list(rows(two, name, "train")) for name in ("first", "second")}
    assert set(hosts) <= {"127.0.0.1", "localhost"}  # the parquet-export service has a host of its own
    assert not any("datasets-server" in headers.get("host", "") for headers in double.headers)


@pytest.mark.parametrize("kind", ["a file", "damaged", "fresh"])
def test_rows_are_loaded_alike_whatever_the_cache_is(two, tmp_path, monkeypatch, kind):
    pytest.importorskip("datasets")
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    if kind == "a file":
        (tmp_path / "cache").write_text("no folder")
    if kind == "damaged":
        exabench.load(two, "first")
        for file in (tmp_path / "cache").rglob("dataset_info.json"):
            file.write_bytes(b"\xdd" + file.read_bytes())
    loaded = exabench.load(two, "first")
    assert list(loaded) == list(rows(two, "first", "train")) and loaded.release.version == "1.0.0"


def test_a_token_comes_out_nowhere(double, one, two, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    said = []
    with HubDouble() as elsewhere:
        double.faults.elsewhere = elsewhere.url.replace("127.0.0.1", "localhost")
        for at in ("/commit/", "manifest.json", "/tag/", "/lfs/", "/preupload/", "/refs"):
            double.faults.arm(rest=(at, "307"))
            try:
                publish(one, REPO)
            except ExabenchError as error:
                said.append(str(error))
        assert len(said) >= 4 and elsewhere.requests
        assert not any("authorization" in headers for headers in elsewhere.headers)
        assert CANARY not in "".join(elsewhere.requests)
    double.faults.arm()
    publish(one, REPO, progress=lambda done, total, what: said.append(what))
    publish(two, tmp_path / "place")
    assert any(headers.get("authorization") == f"Bearer {CANARY}" for headers in double.headers)
    for tree in (contents(tmp_path), head(double)):
        assert not any(CANARY.encode() in data for data in tree.values())
    out = capfd.readouterr()
    assert CANARY not in "\n".join([*said, caplog.text, out.out, out.err, *double.requests])

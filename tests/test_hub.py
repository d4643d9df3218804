"""The one door to the Hub: what the real client does behind it, and that no secret ever comes out of it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import CANARY, point_at
from hub_double import HubDouble
from hub_faults import KINDS, seeded
from huggingface_hub import HfApi, hf_hub_download

from exabench.core.errors import BadInput, OutsideFailed
from exabench.hub import client as hub
from exabench.hub.client import Repository
from exabench.hub.pull_requests import open_requests

REPO = "owner/set"
TABLE = "data/t/train-00000-of-00001.parquet"


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        yield server


def test_a_data_set_is_made_committed_to_read_and_tagged(double, tmp_path):
    assert Repository(REPO).head() is None
    Repository(REPO).create()
    Repository(REPO).create()  # a second time changes nothing
    first = Repository(REPO).head()
    (tmp_path / "table").write_bytes(b"PAR1" * 1000)
    second = Repository(REPO).commit({TABLE: tmp_path / "table", "README.md": b"# Set\n"}, "one", first)
    assert Repository(REPO).head() == second != first
    assert Repository(REPO).read("README.md", second) == b"# Set\n"
    assert Repository(REPO).read(TABLE, second) == b"PAR1" * 1000
    assert Repository(REPO).read("README.md", first) is None
    Repository(REPO).tag("v1.0.0", second)
    Repository(REPO).tag("v1.0.0", second)  # it is there, where it should be
    third = Repository(REPO).commit({"README.md": b"# Other\n"}, "two", second, delete=[TABLE])
    assert sorted(double.repo(REPO).at("main").files) == [".gitattributes", "README.md"]
    with pytest.raises(BadInput, match="tags never move"):
        Repository(REPO).tag("v1.0.0", third)
    assert Repository(REPO).tags() == {"v1.0.0": second}


def test_a_commit_on_a_head_that_moved_does_nothing(double):
    first = double.commit(REPO, {"a.txt": b"a"})
    moved = double.commit(REPO, {"a.txt": b"b"})
    with pytest.raises(OutsideFailed, match="412"):
        Repository(REPO).commit({"c.txt": b"c"}, "late", first)
    assert Repository(REPO).head() == moved


def test_a_commit_is_sent_once_whatever_the_answer(double):
    head = double.commit(REPO, {"a.txt": b"a"})
    for kind in ("500", "503", "429", "no answer", "lost reply", "500 after"):
        double.faults.arm(rest=("/commit/", kind))
        with pytest.raises(OutsideFailed):
            Repository(REPO).commit({"a.txt": kind.encode()}, kind, Repository(REPO).head())
        assert sum("/commit/" in request for request in double.faults.seen) == 1
    titles = [commit.title for commit in double.repo(REPO).history(double.repo(REPO).at("main"))]
    assert titles == ["500 after", "lost reply", "By hand"] and Repository(REPO).head() != head


def test_large_files_go_in_parts_where_the_hub_wants_parts(tmp_path, monkeypatch):
    data = bytes(range(256)) * 40
    with HubDouble(chunk=1000) as double:
        point_at(double.url, tmp_path, monkeypatch)
        head = double.commit(REPO, {})
        commit = Repository(REPO).commit({TABLE: data}, "parts", head)
        assert Repository(REPO).read(TABLE, commit) == data
        assert sum(request.startswith("PUT /lfs/") for request in double.requests) == 11


def test_uploads_carry_no_token_and_a_store_elsewhere_sees_none(double):
    head = double.commit(REPO, {})
    Repository(REPO).read(TABLE, Repository(REPO).commit({TABLE: b"PAR1"}, "one", head))
    asked = list(zip(double.requests, double.headers, strict=True))
    stored = [headers for request, headers in asked if request.startswith(("PUT /lfs/", "GET /lfs/"))]
    assert len(stored) == 2 and not any("authorization" in headers for headers in stored)
    assert all(headers["authorization"] == f"Bearer {CANARY}" for request, headers in asked if "/api/" in request)


def test_an_answer_that_sends_uploads_elsewhere_does_not_send_the_token_there(double, monkeypatch):
    head = double.commit(REPO, {})
    with HubDouble() as elsewhere:
        double.faults.elsewhere = elsewhere.store
        double.faults.arm(rest=("objects/batch", "307"))
        with monkeypatch.context() as patch:
            patch.setattr(hub, "_token_stays_here", contextlib.nullcontext)
            with pytest.raises(BadInput):
                Repository(REPO).commit({TABLE: b"PAR0"}, "one", head)
        bare = [headers for headers in elsewhere.headers if "authorization" in headers]
        elsewhere.headers.clear()
        with pytest.raises(BadInput):  # the object is not where the Hub looks for it
            Repository(REPO).commit({TABLE: b"PAR1"}, "two", head)
        assert bare, "the client alone is careful now: the guard may go"
        assert elsewhere.headers and not any("authorization" in headers for headers in elsewhere.headers)
    double.faults.arm()
    assert Repository(REPO).commit({TABLE: b"PAR2"}, "three", head)


def test_a_snapshot_is_pinned_to_a_commit_and_can_be_of_some_files(double, tmp_path):
    first = double.commit(REPO, {"a.txt": b"a", "b[1].txt": b"b", TABLE: b"PAR1"})
    commit = hub.pin_commit(REPO, None, tmp_path / "lock.json")
    folder = hub.snapshot(REPO, commit, kind="dataset")
    assert commit == first and (folder / TABLE).read_bytes() == b"PAR1"
    double.commit(REPO, {"a.txt": b"new"})
    assert hub.pin_commit(REPO, None, tmp_path / "lock.json") == first
    some = hub.snapshot(REPO, first, ["b[1].txt"], tmp_path / "some", kind="dataset")
    assert [file.name for file in some.iterdir() if file.is_file()] == ["b[1].txt"]
    with pytest.raises(OutsideFailed, match="no/where"):
        hub.snapshot("no/where", first, kind="dataset")
    with pytest.raises(OutsideFailed, match="no/where"):
        hub.pin_commit("no/where", None, None)


@pytest.mark.parametrize("kind", ["429", "429 with headers", "503", "no answer", "cut", "truncated", "slow"])
def test_what_passes_is_read_whole_in_the_end_or_not_at_all(double, kind):
    commit = double.commit(REPO, {TABLE: b"0123456789" * 50})
    for number in range(3):
        double.faults.arm({number: kind})
        try:
            assert Repository(REPO).read(TABLE, commit) == b"0123456789" * 50
        except OutsideFailed as error:
            assert "\n" not in str(error)


def test_what_the_hub_will_never_take_is_the_askers_mistake_in_one_line(double, monkeypatch):
    head = double.commit(REPO, {})
    with pytest.raises(BadInput, match="front matter has no end"):
        Repository(REPO).commit({"README.md": b"---\nlicense: mit\n"}, "card", head)
    with pytest.raises(BadInput, match="check the name, the token"):
        Repository("owner/none").commit({"a": b"a"}, "nowhere", head)
    monkeypatch.delenv("HF_TOKEN")
    for ask in (lambda: Repository("owner/new").create(), lambda: Repository(REPO).tag("v1", head)):
        with pytest.raises(BadInput, match="refused") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_no_secret_is_in_an_error(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "plain-secret-token")
    quoted = (
        "500 for url https://me:pass-word@hub.example/lfs?X-Amz-Signature=abc123&x=1 "
        "with Bearer hf_other99 or hf_another77 or plain-secret-token\nAuthorization: more"
    )
    for refusals in (True, False):
        with pytest.raises(OutsideFailed) as caught, hub.asking("commit", refusals=refusals):
            raise OSError(quoted)
        for secret in ("pass-word", "abc123", "hf_other99", "hf_another77", "plain-secret-token", "\n"):
            assert secret not in str(caught.value)
    assert Repository(REPO).url("v1.0.0") == f"https://huggingface.co/datasets/{REPO}/tree/v1.0.0"


def test_a_model_is_listed_with_its_sizes_and_a_part_of_a_file_is_all_that_is_read(double):
    data = bytes(range(256)) * 40
    commit = double.commit(
        "models/owner/model", {"config.json": b"{}", "1_Pooling/a.json": b"[]", "m.safetensors": data}
    )
    assert hub.file_sizes("owner/model", commit) == {
        "config.json": 2,
        "1_Pooling/a.json": 2,
        "m.safetensors": len(data),
    }
    assert hub.read_part("owner/model", "m.safetensors", commit, 8, 600) == data[8:600]
    assert hub.read_part("owner/model", "config.json", commit, 0, 99) == b"{}"
    read = [headers for request, headers in zip(double.requests, double.headers, strict=True) if "/lfs/" in request]
    assert [headers["range"] for headers in read] == ["bytes=8-599"]
    assert not any("authorization" in headers for headers in read), "the token stays at the Hub"
    for path in ("none.json", "m.safetensors"):
        with pytest.raises(BadInput, match="refused"):
            hub.read_part("owner/model" if path == "none.json" else "owner/none", path, commit, 0, 1)


# -- the double itself, asked by the client that it stands in for ------------------------------------------------------


def test_the_double_answers_the_client_as_the_hub_does(double):
    api = HfApi()
    assert api.whoami()["name"] == "tester"
    assert api.create_repo("owner/model").repo_type == "model"
    done = api.upload_file(path_or_fileobj=b"{}", path_in_repo="a/config.json", repo_id="owner/model")
    assert [commit.title for commit in api.list_repo_commits("owner/model")][-1] == "initial"
    assert Path(hf_hub_download("owner/model", "a/config.json")).read_bytes() == b"{}"
    assert [entry.path for entry in api.list_repo_tree("owner/model", recursive=True)] == [
        ".gitattributes",
        "a",
        "a/config.json",
    ]
    head = double.commit(REPO, {TABLE: b"PAR1", "a.txt": b"a"})
    info = api.dataset_info(REPO, files_metadata=True)
    table = next(file for file in info.siblings if file.rfilename == TABLE)
    assert info.sha == head and table.lfs.sha256 == hashlib.sha256(b"PAR1").hexdigest()
    assert [entry.size for entry in api.get_paths_info(REPO, [TABLE, "none"], repo_type="dataset")] == [4]
    again = api.upload_file(path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=REPO, repo_type="dataset")
    assert again.oid == head  # the same file makes no commit
    assert done.oid != head


def test_a_request_stays_off_the_head_until_it_is_merged(double):
    head = double.commit(REPO, {"a.txt": b"a"})
    url = Repository(REPO).commit({"a.txt": b"b"}, "please", head, pull_request=True)
    assert url.endswith("/discussions/1") and Repository(REPO).head() == head
    assert [(one.url, one.revision) for one in open_requests(REPO)] == [(url, "refs/pr/1")]
    assert Repository(REPO).read("a.txt", "refs/pr/1") == b"b"
    double.merge(REPO, 1)
    assert open_requests(REPO) == [] and Repository(REPO).read("a.txt", Repository(REPO).head()) == b"b"


def test_a_plan_of_faults_is_the_same_for_the_same_seed():
    assert seeded(1, 200, 0.3) == seeded(1, 200, 0.3) != seeded(2, 200, 0.3)
    assert set(seeded(3, 2000, 0.5).values()) == set(KINDS)

"""The one door to the Hub: what the real client does behind it, and that no secret ever comes out of it; requests."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import CANARY, point_at
from hub_double import PAGE, HubDouble

from exabench.core.errors import BadInput, CannotWrite, OutsideFailed
from exabench.hub import client as hub, pull_requests
from exabench.hub.client import Repository
from exabench.hub.pull_requests import has_bytes, history, list_files, open_requests, read_comments

REPO = "owner/set"
SET = Repository(REPO)
TABLE = "data/t/train-00000-of-00001.parquet"


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        yield server


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_of_this_machine_is_no_failure_of_the_hub(number):
    place = "/a/cache/file"
    reason = "the disk is full" if number == errno.ENOSPC else os.strerror(number)
    with pytest.raises(CannotWrite, match=f"^{place}: cannot be written .{reason}"), hub.asking("read"):
        raise OSError(number, os.strerror(number), place)


def test_a_commit_is_sent_once_whatever_the_answer(double):
    head = double.commit(REPO, {"a.txt": b"a"})
    for kind in ("500", "503", "429", "no answer", "lost reply", "500 after"):
        double.faults.arm(rest=("/commit/", kind))
        with pytest.raises(OutsideFailed):
            SET.commit({"a.txt": kind.encode()}, kind, SET.head())
        assert sum("/commit/" in request for request in double.faults.seen) == 1
    titles = [commit.title for commit in double.repo(REPO).history(double.repo(REPO).at("main"))]
    assert titles == ["500 after", "lost reply", "By hand"] and SET.head() != head


def test_uploads_carry_no_token_and_a_store_elsewhere_sees_none(double):
    head = double.commit(REPO, {})
    SET.read(TABLE, SET.commit({TABLE: b"PAR1"}, "one", head))
    asked = list(zip(double.requests, double.headers, strict=True))
    stored = [headers for request, headers in asked if request.startswith(("PUT /lfs/", "GET /lfs/"))]
    assert len(stored) == 2 and not any("authorization" in headers for headers in stored)
    assert all(headers["authorization"] == f"Bearer {CANARY}" for request, headers in asked if "/api/" in request)


def test_an_answer_that_sends_uploads_elsewhere_does_not_send_the_token_there(double):
    head = double.commit(REPO, {})
    with HubDouble() as elsewhere:
        double.faults.elsewhere = elsewhere.store
        double.faults.arm(rest=("objects/batch", "307"))
        with pytest.raises(BadInput):  # the object is not where the Hub looks for it
            SET.commit({TABLE: b"PAR1"}, "two", head)
        assert elsewhere.headers and not any("authorization" in headers for headers in elsewhere.headers)
    double.faults.arm()
    assert SET.commit({TABLE: b"PAR2"}, "three", head)


def test_a_snapshot_is_pinned_to_a_commit_and_can_be_of_some_files(double, tmp_path):
    first = double.commit(REPO, {"a.txt": b"a", "b[1].txt": b"b", TABLE: b"PAR1"})
    commit = hub.pin_commit(REPO, None, tmp_path / "lock.json")
    folder = hub.snapshot(REPO, commit, kind="dataset")
    assert commit == first and (folder / TABLE).read_bytes() == b"PAR1"
    double.commit(REPO, {"a.txt": b"new"})
    assert hub.pin_commit(REPO, None, tmp_path / "lock.json") == first
    some = hub.snapshot(REPO, first, ["b[1].txt"], tmp_path / "some", kind="dataset")
    assert [file.name for file in some.iterdir() if file.is_file()] == ["b[1].txt"]
    with pytest.raises(hub.NotOnHub, match="no/where.*: does not exist, or this token cannot read it; check the name"):
        hub.snapshot("no/where", first, kind="dataset")
    with pytest.raises(hub.NotOnHub, match="no/where.*: does not exist, or this token cannot read it; check the name"):
        hub.pin_commit("no/where", None, None)


def test_a_gated_disabled_private_or_missing_repository_says_what_to_do_in_one_line(double, monkeypatch):
    double.commit("models/owner/gated", {"config.json": b"{}"})
    double.commit("models/owner/disabled", {"config.json": b"{}"})
    double.repo("models/owner/gated").gated = True
    double.repo("models/owner/disabled").disabled = True
    double.commit(REPO, {"a.txt": b"a"})
    asked = {
        "Hub model owner/gated@[0-9a-f]+: is gated: accept its terms at http://127.0.0.1:[0-9]+/owner/gated": lambda: (
            hub.model_folder("owner/gated")
        ),
        "Hub model owner/disabled: the Hub has disabled this repository; ask its owner": lambda: hub.model_folder(
            "owner/disabled"
        ),
        "Hub model owner/none: does not exist, or this token cannot read it": lambda: hub.model_folder("owner/none"),
        "Hub dataset owner/set: has no such revision; give a commit, tag or branch": lambda: hub.pin_commit(
            REPO, "v9", None
        ),
    }
    for message, ask in asked.items():
        with pytest.raises(BadInput, match=message) as caught:
            ask()
        assert "\n" not in str(caught.value) and CANARY not in str(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(BadInput, match="is gated: .* then log in by `hf auth login` with that account"):
        hub.model_folder("owner/gated")


def open_request(double: HubDouble, name: str, files: dict[str, bytes], author: str, title: str) -> str:
    """A pull request on a model that somebody else opened; the head of it."""
    repo = double.repo(name)
    number = len(repo.requests) + 1
    head = repo.add(files, title, f"refs/pr/{number}", repo.refs["main"]).sha
    about = {"num": number, "isPullRequest": True, "title": title, "author": {"name": author}, "status": "open"}
    repo.requests.append({**about, "createdAt": "2026-01-01T00:00:00.000Z", "events": []})
    return head


def test_a_model_of_pickles_is_read_at_the_conversion_that_the_hubs_own_bot_offers_and_locked_there(double, tmp_path):
    main = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    safe = {**main, "model.safetensors": b"weights"}
    double.commit("models/owner/old", main)
    title = "Adding `safetensors` variant of this model"
    open_request(double, "models/owner/old", {**main, "model.safetensors": b"of a stranger"}, "stranger", title)
    converted = open_request(double, "models/owner/old", safe, "SFconvertbot", title)
    open_request(double, "models/owner/old", {**main, "notes.txt": b""}, "SFconvertbot", "Fix the card")
    found = hub.model_folder("owner/old", lock=tmp_path / "lock.json")
    assert found.revision == converted and (found.path / "model.safetensors").read_bytes() == b"weights"
    double.repo("models/owner/old").requests.clear()
    assert hub.model_folder("owner/old", lock=tmp_path / "lock.json").revision == converted
    double.commit("models/owner/pickles", main)
    with pytest.raises(BadInput, match="has no safetensors weights .*exabench bench convert"):
        hub.model_folder("owner/pickles")


@pytest.mark.parametrize("kind", ["429", "429 with headers", "503", "no answer", "cut", "truncated", "slow"])
def test_what_passes_is_read_whole_or_is_one_line(double, kind):
    commit = double.commit(REPO, {TABLE: b"0123456789" * 50})
    for number in range(3):
        double.faults.arm({number: kind})
        try:
            assert SET.read(TABLE, commit) == b"0123456789" * 50
        except OutsideFailed as error:
            assert "\n" not in str(error)


def test_what_the_hub_will_never_take_is_the_askers_mistake_in_one_line(double, monkeypatch):
    head = double.commit(REPO, {})
    with pytest.raises(BadInput, match="front matter has no end"):
        SET.commit({"README.md": b"---\nlicense: mit\n"}, "card", head)
    with pytest.raises(BadInput, match="does not exist, or this token cannot read it; check the name"):
        Repository("owner/none").commit({"a": b"a"}, "nowhere", head)
    SET.tag("v1.0.0", head)
    with pytest.raises(BadInput, match="tags never move"):
        SET.tag("v1.0.0", double.commit(REPO, {}))
    monkeypatch.delenv("HF_TOKEN")
    for ask in (lambda: Repository("owner/new").create(), lambda: SET.tag("v1", head)):
        with pytest.raises(BadInput, match="no token was sent") as caught:
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
    assert SET.url("v1.0.0") == f"https://huggingface.co/datasets/{REPO}/tree/v1.0.0"


def test_a_model_is_listed_with_its_sizes_and_a_part_of_a_file_is_all_that_is_read(double):
    data = bytes(range(256)) * 40
    files = {"config.json": b"{}", "1_Pooling/a.json": b"[]", "m.safetensors": data}
    commit = double.commit("models/owner/model", files)
    assert hub.file_sizes("owner/model", commit) == {path: len(content) for path, content in files.items()}
    assert hub.read_part("owner/model", "m.safetensors", commit, 8, 600) == data[8:600]
    assert hub.read_part("owner/model", "config.json", commit, 0, 99) == b"{}"
    read = [headers for request, headers in zip(double.requests, double.headers, strict=True) if "/lfs/" in request]
    assert [headers["range"] for headers in read] == ["bytes=8-599"]
    assert not any("authorization" in headers for headers in read), "the token stays at the Hub"
    for repo, path in (("owner/model", "none.json"), ("owner/none", "m.safetensors")):
        with pytest.raises(BadInput, match="does not exist"):
            hub.read_part(repo, path, commit, 0, 1)


@pytest.fixture
def asked(double: HubDouble) -> HubDouble:
    """The Hub with a small repository and a pull request to it."""
    head = double.commit(REPO, {"board.toml": b"x", "runs/a.trec.gz": b"run"})
    url = SET.commit({"f1": b"1"}, "Request 1", head, pull_request=True, body="b")
    assert url == f"{double.url}/datasets/{REPO}/discussions/1"
    return double


def test_requests_are_listed_oldest_first_over_all_pages(asked):
    repo = asked.repo(REPO)
    for number in range(2, PAGE + 4):
        repo.requests.append(repo.requests[0] | {"num": number, "status": "closed" if number == 5 else "open"})
    found = open_requests(REPO)
    assert [one.number for one in found] == [n for n in range(1, PAGE + 4) if n != 5]
    first = found[0]
    assert (first.title, first.author, first.date) == ("Request 1", "tester", "2024-01-01")
    assert first.revision == "refs/pr/1" and first.url.endswith(f"/datasets/{REPO}/discussions/1")


def test_files_are_known_by_their_bytes_and_a_request_is_closed_once(asked):
    listed = list_files(REPO, "refs/pr/1")
    assert has_bytes(listed["board.toml"], b"x") and has_bytes(listed["runs/a.trec.gz"], b"run")
    assert not has_bytes(listed["board.toml"], b"y") and not has_bytes(None, b"x")
    pull_requests.close(REPO, 1)
    assert not read_comments(REPO, 1).open and open_requests(REPO) == []
    with pytest.raises(OutsideFailed, match="close pull request 1"):
        pull_requests.close(REPO, 1)


CALLS = {
    "talk": lambda: read_comments(REPO, 1),
    "comment": lambda: pull_requests.comment(REPO, 1, "x"),
    "files": lambda: list_files(REPO, "main"),
    "me": pull_requests.account,
    "members": lambda: pull_requests.members("acme"),
    "close": lambda: pull_requests.close(REPO, 1),
    "requests": lambda: list(open_requests(REPO)),
    "history": lambda: list(history(REPO, "main")),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_error_is_one_line_without_the_token(asked, call):
    for fault in ("503", "truncated"):
        asked.faults.arm(rest=(0, fault))
        with pytest.raises(OutsideFailed) as caught:
            call()
        assert str(caught.value).isprintable() and CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "about"),
    [(open_requests, "acme/none"), (read_comments, 9), (list_files, "refs/pr/9"), (history, "0" * 40)],
)
def test_what_is_not_there_is_bad_input(asked, call, about):
    with pytest.raises(BadInput, match="does not exist|has no such revision"):
        call(about) if call is open_requests else call(REPO, about)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer_config.json", "1_Pooling/config.json"])
def test_a_pipe_or_a_device_in_a_model_folder_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "nowhere").symlink_to("not there")
    (folder / name).unlink(missing_ok=True)
    for make in (os.mkfifo, lambda file: file.symlink_to("/dev/zero")):
        make(folder / name)
        with pytest.raises(BadInput, match=f"{name}: is a pipe or a device, not a file"):
            hub.model_folder(str(folder))
        (folder / name).unlink()

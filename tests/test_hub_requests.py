"""Pull requests on the Hub as the real client sees them: listed, read, talked on, closed, and errors in one line."""

from __future__ import annotations

import hashlib

import pytest
from hub_client import CANARY, point_at
from hub_double import PAGE, HubDouble

from exabench.core.errors import BadInput, OutsideFailed
from exabench.hub import pull_requests as discussions
from exabench.hub.client import Repository
from exabench.hub.pull_requests import Listed, has_bytes, history, list_files, open_requests, read_comments

REPO = "acme/board"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub double with a small repository."""
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        server.commit(f"datasets/{REPO}", {"board.toml": b"x", "runs/a.trec.gz": b"run"})
        yield server


def asked(hub: HubDouble, number: int) -> str:
    head = hub.repo(REPO).refs["main"]
    return Repository(REPO).commit({f"f{number}": b"1"}, f"Request {number}", head, pull_request=True, body="b")


def test_requests_are_listed_oldest_first_over_all_pages(hub):
    asked(hub, 0)
    repo = hub.repo(REPO)
    for number in range(2, PAGE + 4):
        repo.requests.append(repo.requests[0] | {"num": number, "status": "closed" if number == 5 else "open"})
    found = open_requests(REPO)
    assert [one.number for one in found] == [n for n in range(1, PAGE + 4) if n != 5]
    first = found[0]
    assert (first.title, first.author, first.date) == ("Request 0", "tester", "2024-01-01")
    assert (first.revision, first.url) == ("refs/pr/1", f"{hub.url}/datasets/acme/board/discussions/1")


def test_files_are_known_by_their_bytes(hub):
    asked(hub, 1)
    listed = list_files(REPO, "refs/pr/1")
    assert set(listed) == {"board.toml", "runs/a.trec.gz", "f1"}
    assert has_bytes(listed["board.toml"], b"x") and has_bytes(listed["runs/a.trec.gz"], b"run")
    assert not has_bytes(listed["board.toml"], b"y") and not has_bytes(None, b"x")
    assert listed["runs/a.trec.gz"] == Listed(hashlib.sha256(b"run").hexdigest(), 3)
    main = history(REPO, "main")
    assert history(REPO, "refs/pr/1")[1:] == main


def test_what_is_said_is_heard_and_a_request_is_closed_once(hub):
    asked(hub, 1)
    assert read_comments(REPO, 1).comments == (("tester", "b"),) and read_comments(REPO, 1).open
    discussions.comment(REPO, 1, "scores")
    assert read_comments(REPO, 1).comments[1:] == (("tester", "scores"),)
    discussions.close(REPO, 1)
    assert not read_comments(REPO, 1).open and open_requests(REPO) == []
    with pytest.raises(OutsideFailed, match="close pull request 1"):
        discussions.close(REPO, 1)
    assert discussions.user_name() == "tester"


def test_a_request_stays_off_the_head_until_it_is_merged(hub):
    head = Repository(REPO).head()
    url = asked(hub, 1)
    assert Repository(REPO).head() == head and [one.url for one in open_requests(REPO)] == [url]
    assert Repository(REPO).read("f1", "refs/pr/1") == b"1" and "f1" not in list_files(REPO, "main")
    hub.merge(REPO, 1)
    assert Repository(REPO).read("f1", Repository(REPO).head()) == b"1"
    assert open_requests(REPO) == [] and not read_comments(REPO, 1).open


CALLS = {
    "open_requests": lambda: open_requests(REPO),
    "talk": lambda: read_comments(REPO, 1),
    "comment": lambda: discussions.comment(REPO, 1, "x"),
    "close": lambda: discussions.close(REPO, 1),
    "files": lambda: list_files(REPO, "main"),
    "history": lambda: history(REPO, "main"),
    "me": lambda: discussions.user_name(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_error_is_one_line_without_the_token(hub, call):
    asked(hub, 1)
    for fault in ("503", "truncated"):
        hub.faults.arm(rest=(0, fault))
        with pytest.raises(OutsideFailed) as caught:
            call()
        assert str(caught.value).isprintable() and CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "about"),
    [(open_requests, "acme/none"), (read_comments, 9), (list_files, "refs/pr/9"), (history, "0" * 40)],
)
def test_what_is_not_there_is_bad_input(hub, call, about):
    with pytest.raises(BadInput, match="refused"):
        call(about) if call is open_requests else call(REPO, about)

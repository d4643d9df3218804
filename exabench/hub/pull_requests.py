"""Pull requests on the Hub: listing the open ones, reading their files and comments, answering them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from exabench.core.errors import BadInput
from exabench.hub.client import api, asking

KIND = "dataset"
"""The kind of repository that a board is on the Hub."""


@dataclass(frozen=True)
class PullRequest:
    """A pull request as it is listed; `revision` is where its files are read, `date` the day it was opened."""

    number: int
    title: str
    author: str
    date: str
    url: str
    revision: str


@dataclass(frozen=True)
class Listed:
    """A file of a revision: its bytes by sha256 or as git names them, and how many they are."""

    digest: str
    size: int


@dataclass(frozen=True)
class Talk:
    """The comments of a pull request: (author, text), oldest first; `open`: it was neither merged nor closed."""

    open: bool
    comments: tuple[tuple[str, str], ...]


def open_requests(repo: str, *, kind: str = KIND) -> list[PullRequest]:
    """The open pull requests of a repository, oldest first. Raises OutsideFailed, BadInput where the Hub refuses."""
    return list_requests(repo, "open", kind=kind)


def list_requests(repo: str, status: Literal["all", "open", "closed"], *, kind: str = KIND) -> list[PullRequest]:
    """The pull requests of a repository, oldest first; those that were merged are closed. Raises as `open_requests`."""
    with asking(f"{kind} {repo}: pull requests"):
        listed = api().get_repo_discussions(
            repo, discussion_type="pull_request", discussion_status=status, repo_type=kind
        )
        requests = []
        for one in listed:
            day = one.created_at.date().isoformat()
            requests.append(PullRequest(one.num, one.title, one.author, day, one.url, f"refs/pr/{one.num}"))
    return sorted(requests, key=lambda request: request.number)


def read_comments(repo: str, number: int) -> Talk:
    """The comments of a pull request. Raises as `open_requests` does."""
    from huggingface_hub import DiscussionComment

    with asking(f"{KIND} {repo}: pull request {number}"):
        found = api().get_discussion_details(repo, number, repo_type=KIND)
    comments = []
    for event in found.events:
        if isinstance(event, DiscussionComment):  # others are commits, merges and the like
            comments.append((event.author, event.content))
    return Talk(found.status == "open", tuple(comments))


def comment(repo: str, number: int, text: str) -> None:
    """Say something on a pull request. An error does not say that nothing was said. Raises as `open_requests` does."""
    with asking(f"{KIND} {repo}: comment on pull request {number}"):
        api().comment_discussion(repo, number, text, repo_type=KIND)


def close(repo: str, number: int) -> None:
    """Close a pull request. Raises as `open_requests` does."""
    with asking(f"{KIND} {repo}: close pull request {number}"):
        api().change_discussion_status(repo, number, "closed", repo_type=KIND)


def account() -> tuple[str, set[str]]:
    """The user that the token belongs to, and this user's organisations. Raises as `open_requests` does."""
    with asking("who am I"):
        said = api().whoami()
        return said["name"], {organisation["name"] for organisation in said.get("orgs", ())}


def members(organisation: str) -> set[str]:
    """The accounts that an organisation of the Hub shows as its members; none where it shows none, or is none.

    Raises OutsideFailed.
    """
    try:
        with asking(f"members of {organisation}"):
            return {member.username for member in api().list_organization_members(organisation)}
    except BadInput:
        return set()


def list_files(repo: str, revision: str) -> dict[str, Listed]:
    """Every file of a revision, by path. Raises as `open_requests` does."""
    with asking(f"{KIND} {repo}@{revision}: files"):
        digests = {}
        for entry in api().list_repo_tree(repo, recursive=True, revision=revision, repo_type=KIND):
            if hasattr(entry, "size"):  # a folder has none
                digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
                digests[entry.path] = Listed(digest, entry.size)
    return digests


def has_bytes(listed: Listed | None, data: bytes) -> bool:
    """Are these the bytes of a file that `list_files` names?"""
    if listed is None:
        return False
    # A large file is listed by the sha256 of its bytes, any other as git names it: the sha1 of a header and its bytes.
    git_name = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return listed.digest in (hashlib.sha256(data).hexdigest(), git_name)


def history(repo: str, revision: str) -> list[str]:
    """The commits of a revision, newest first. Raises as `open_requests` does."""
    with asking(f"{KIND} {repo}@{revision}: history"):
        return [one.commit_id for one in api().list_repo_commits(repo, revision=revision, repo_type=KIND)]

"""A Hub on this machine that the real client publishes to and loads from: data sets and models, in memory.

It answers as huggingface.co was seen to answer the client (whoami, create, validate-yaml, preupload, LFS, commit, tags,
refs, history, pull requests and what is said on them, listings, resolve), and fails on command (hub_faults). Its
limit: Xet, which the client prefers where the package hf-xet is installed, is not answered, so the client must run with
HF_HUB_DISABLE_XET=1, and uploads take the older LFS path. A card's YAML is looked at no further than its two fences.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_faults import Faults, Faulty

DATE = "2024-01-01T00:00:00.000Z"
LARGE = (".parquet", ".safetensors", ".bin", ".gz", ".zip", ".sqlite")
USER = "tester"
REVOKED = "hf_revoked"  # a token that the Hub takes no more
PAGE = 50
Files = Mapping[str, bytes]


@dataclass
class Commit:
    """The whole tree of one commit."""

    sha: str
    parent: str
    title: str
    files: Files


@dataclass
class Repo:
    """A repository: every commit, where its branches, pull requests and tags point, and its pull requests."""

    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    gated: bool = False
    disabled: bool = False

    def add(self, files: Files, title: str, ref: str, parent: str) -> Commit:
        """One more commit, at which `ref` then points."""
        content = b"".join(name.encode() + b"\0" + data + b"\0" for name, data in sorted(files.items()))
        sha = hashlib.sha1(parent.encode() + str(len(self.commits)).encode() + content).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, dict(files))
        self.refs[ref] = sha
        return self.commits[sha]

    def at(self, revision: str) -> Commit | None:
        """The commit of a branch, a tag, refs/pr/N or a whole sha."""
        return self.commits.get(self.refs.get(revision) or self.tags.get(revision) or revision)

    def history(self, commit: Commit | None) -> list[Commit]:
        """A commit and those before it, newest first."""
        found = []
        while commit is not None:
            found.append(commit)
            commit = self.commits.get(commit.parent)
        return found


def repository(tables: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> dict[str, bytes]:
    """The files of a repository that holds a table of rows for each config and split."""
    files = {}
    splits: dict[str, list[str]] = {}
    for (config, split), rows in tables.items():
        path = f"{config}/{split}.jsonl"
        splits.setdefault(config, []).append(f"{{split: {split}, path: {path}}}")
        files[path] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    configs = [f"- {{config_name: {config}, data_files: [{', '.join(there)}]}}" for config, there in splits.items()]
    return {"README.md": "\n".join(["---", "configs:", *configs, "---\n"]).encode(), **files}


class HubDouble(ThreadingHTTPServer):
    """The server; `requests` lists every `METHOD path` asked, `headers` the headers of each in the same order.

    Writing needs a token, any token.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repos: dict[str, Repo] = {}
        self.organisations = {"acme": [USER], "my-group": [USER]}  # and their members
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.faults, self.lock = Faults(), threading.RLock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def store(self) -> str:
        """Where large files are read: another host than the Hub, as far as a client can see."""
        return f"http://localhost:{self.server_address[1]}"

    def repo(self, name: str) -> Repo:
        """The data set of that name (`models/owner/name`: the model)."""
        return self.repos[name if name.count("/") == 2 else f"datasets/{name}"]

    def commit(self, name: str, files: Files, title: str = "By hand") -> str:
        """Make `files` the whole tree of a new head, and return its sha; the repository need not be there."""
        with self.lock:
            repo = self.repos.setdefault(name if name.count("/") == 2 else f"datasets/{name}", Repo())
            return repo.add(files, title, "main", repo.refs.get("main", "")).sha

    def merge(self, name: str, number: int) -> str:
        """Merge a pull request that nothing has overtaken."""
        repo = self.repo(name)
        repo.refs["main"], repo.requests[number - 1]["status"] = repo.refs[f"refs/pr/{number}"], "merged"
        return repo.refs["main"]

    def said(self, name: str, number: int) -> list[str]:
        """The comments on a pull request, oldest first."""
        events = self.repo(name).requests[number - 1]["events"]
        return [event["data"]["latest"]["raw"] for event in events if event["type"] == "comment"]

    def overtake(self) -> None:
        """Somebody else commits to every repository, without touching a file that is published."""
        for name, repo in self.repos.items():
            files = repo.commits[repo.refs["main"]].files
            self.commit(name, {**files, "notes.txt": files.get("notes.txt", b"") + b"."}, "Overtaken")

    def __enter__(self) -> HubDouble:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class Answer(Faulty):
    """One request."""

    server: HubDouble

    def _answer(self) -> None:
        with self.server.lock:
            self.server.requests.append(f"{self.command} {self.path}")
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.faults, url = self.server.faults, urlsplit(self.path)
        self.query = parse_qs(url.query)
        if self.meets():
            return
        with self.server.lock:
            if self.fault == "overtaken":
                self.server.overtake()
            parts = [unquote(part) for part in url.path.strip("/").split("/")]
            if parts[0] == "api":
                self._api(parts[1:])
            elif parts[0] == "lfs":
                self._object(parts[1])
            elif url.path.endswith(".git/info/lfs/objects/batch"):
                self._batch()
            elif "resolve" in parts:
                self._resolve(parts if parts[0] in ("datasets", "spaces") else ["models", *parts])
            else:
                self.refuse(404, "EntryNotFound", "Not found")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def json(self, value: object, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str, **headers: str) -> None:
        about = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json", **headers}
        self.send(status, json.dumps({"error": message}).encode(), about)

    def _api(self, parts: list[str]) -> None:
        known = "Authorization" in self.headers
        if self.command not in ("GET", "HEAD") and not known:
            return self.refuse(401, "", "Invalid username or password.")
        if self.headers["Authorization"] == f"Bearer {REVOKED}":
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        if parts == ["whoami-v2"]:
            organisations = [{"name": name} for name, who in self.server.organisations.items() if USER in who]
            return self.json({"name": USER, "type": "user", "orgs": organisations})
        if parts[0] == "organizations":
            members = self.server.organisations.get(parts[1])
            if members is None:
                return self.refuse(404, "", "Organization not found")
            return self.json([{"user": name, "fullname": name, "avatarUrl": "", "type": "user"} for name in members])
        if parts == ["validate-yaml"]:
            return self._validate(json.loads(self.body)["content"])
        if parts == ["repos", "create"]:
            return self._create(json.loads(self.body))
        repo, what = self.server.repos.get("/".join(parts[:3])), parts[3] if len(parts) > 3 else "revision"
        if repo is None:
            return self.refuse(404 if known else 401, "RepoNotFound", "Repository not found")
        if repo.disabled:
            return self.refuse(403, "", "Access to this resource is disabled.")
        if what in ("refs", "discussions"):
            return self._refs(repo) if what == "refs" else self._discussions(parts, repo)
        revision = parts[4] if len(parts) > 4 else "main"
        if (commit := repo.at(revision)) is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        answers = {"revision": self._info, "tree": self._tree, "commits": self._commits}
        answers |= {"preupload": self._preupload, "commit": self._commit, "tag": self._tag}
        answers[what](parts, repo, commit)

    def _validate(self, card: str) -> None:
        if card.startswith("---\n") and "\n---\n" not in card[3:]:
            return self.json({"errors": [{"message": "front matter has no end"}], "warnings": []}, 400)
        self.json({"errors": [], "warnings": []})

    def _create(self, asked: Mapping[str, Any]) -> None:
        name = f"{asked.get('type', 'model')}s/{asked['organization']}/{asked['name']}"
        there = name in self.server.repos
        if not there:
            self.server.commit(name, {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}, "initial")
        self.json({"url": f"{self.server.url}/{name.removeprefix('models/')}"}, 409 if there else 200)

    def _refs(self, repo: Repo) -> None:
        tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha} for name, sha in repo.tags.items()]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.refs["main"]}
        self.json({"branches": [main], "tags": tags, "converts": []})

    def _discussions(self, parts: list[str], repo: Repo) -> None:
        about = {"repo": {"name": "/".join(parts[1:3]), "type": parts[0].removesuffix("s")}}
        if len(parts) == 4:
            wanted = self.query["status"]
            shown = [about | one for one in reversed(repo.requests) if one["status"] in wanted or wanted == ["all"]]
            start = int(self.query["p"][0]) * PAGE
            return self.json({"count": len(shown), "start": start, "discussions": shown[start : start + PAGE]})
        number = int(parts[4])
        if not 0 < number <= len(repo.requests):
            return self.refuse(404, "", "Discussion not found")
        request = repo.requests[number - 1]
        if len(parts) == 5:
            more = {"changes": {"base": "refs/heads/main"}, "filesWithConflicts": [], "diff": ""}
            return self.json(about | request | more)
        asked = json.loads(self.body)
        if parts[5] == "comment":
            return self.json({"newMessage": self._comment(request, asked["comment"])})
        if request["status"] != "open" and asked["status"] != "open":
            return self.refuse(409, "", f"This pull request is {request['status']} already")
        request["status"] = asked["status"]
        self.json({"newStatus": self._event(request, "status-change", {"status": asked["status"]})})

    def _comment(self, request: dict[str, Any], text: str) -> dict[str, Any]:
        return self._event(request, "comment", {"edited": False, "hidden": False, "latest": {"raw": text}})

    def _event(self, request: dict[str, Any], kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """One more event of a pull request, by whoever holds the token."""
        number = len(request["events"])
        event = {"id": f"{number:024x}", "type": kind, "createdAt": DATE, "author": {"name": USER}, "data": data}
        request["events"].append(event)
        return event

    def _info(self, parts: list[str], repo: Repo, commit: Commit) -> None:
        listed = self._listing(repo, commit)
        siblings = [{"rfilename": name} for name in sorted(listed.files)]
        about = {"id": "/".join(parts[1:3]), "author": parts[1], "sha": commit.sha, "siblings": siblings}
        self.json(about | {"lastModified": DATE, "createdAt": DATE, "private": False, "gated": False, "tags": []})

    def _listing(self, repo: Repo, commit: Commit) -> Commit:
        return repo.commits.get(commit.parent, commit) if self.fault == "stale listing" else commit

    def _tree(self, parts: list[str], repo: Repo, commit: Commit) -> None:
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = _tree(self._listing(repo, commit).files, "/".join(parts[5:]), recursive=recursive)
        self.json(entries) if entries else self.refuse(404, "EntryNotFound", "does not exist on this revision")

    def _commits(self, parts: list[str], repo: Repo, commit: Commit) -> None:
        about = {"message": "", "authors": [{"user": USER}], "date": DATE}
        self.json([{"id": one.sha, "title": one.title, **about} for one in repo.history(commit)])

    def _preupload(self, parts: list[str], repo: Repo, commit: Commit) -> None:
        files = []
        for asked in json.loads(self.body)["files"]:
            path, there = asked["path"], commit.files.get(asked["path"])
            large = path.endswith(LARGE) or asked["size"] > 10 << 20
            files.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False})
            if there is not None:
                files[-1]["oid"] = hashlib.sha256(there).hexdigest() if large else _git_oid(there)
        self.json({"files": files})

    def _commit(self, parts: list[str], repo: Repo, head: Commit) -> None:
        lines = [json.loads(line) for line in self.body.splitlines()]
        header, request = lines[0]["value"], "create_pr" in self.query
        start = repo.at(header.get("parentCommit", head.sha))
        if start is None or (start is not head and not request):
            return self.refuse(412, "", "A commit has happened since. Please refresh and try again.")
        try:
            files = self._changed(dict(start.files), lines[1:])
        except KeyError as missing:
            return self.refuse(404, "EntryNotFound", f"A file with this name doesn't exist: {missing}")
        number = len(repo.requests) + 1
        done = repo.add(files, header["summary"], f"refs/pr/{number}" if request else parts[4], start.sha)
        page = f"{self.server.url}/{'/'.join(parts[:3]).removeprefix('models/')}"
        answer = {"success": True, "commitOid": done.sha, "commitUrl": f"{page}/commit/{done.sha}", "hookOutput": ""}
        if request:
            about = {"title": header["summary"], "author": {"name": USER}, "createdAt": DATE, "status": "open"}
            repo.requests.append({"num": number, "isPullRequest": True, **about, "events": []})
            if header.get("description"):
                self._comment(repo.requests[-1], header["description"])
            answer["pullRequestUrl"] = f"{page}/discussions/{number}"
        self.json(answer)

    def _changed(self, files: dict[str, bytes], lines: list[dict[str, Any]]) -> Files:
        for line in lines:
            value, path = line["value"], line["value"]["path"]
            if line["key"] == "file":
                files[path] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[path] = self.server.objects[value["oid"]]
            else:  # a deletedFile
                del files[path]
        return files

    def _tag(self, parts: list[str], repo: Repo, commit: Commit) -> None:
        tag = json.loads(self.body)["tag"]
        if tag in repo.tags:
            return self.refuse(409, "", f"Tag reference exists already: {tag}")
        repo.tags[tag] = commit.sha
        self.json({})

    def _batch(self) -> None:
        objects = []
        for asked in json.loads(self.body)["objects"]:
            here = f"{self.server.url}/lfs/{asked['oid']}"
            actions = {"upload": {"href": here}, "verify": {"href": f"{here}/verify"}}
            objects.append(asked if asked["oid"] in self.server.objects else asked | {"actions": actions})
        self.json({"transfer": "basic", "objects": objects})

    def _object(self, oid: str) -> None:
        objects = self.server.objects
        if self.command in ("GET", "HEAD"):
            return self._bytes(objects[oid], {"ETag": f'"{oid}"'})
        if self.command == "PUT":
            flip = self.fault == "damaged object" and self.body
            data = bytes([self.body[0] ^ 1]) + self.body[1:] if flip else self.body
            objects[oid] = data
            return self.send(200, b"", {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})
        if hashlib.sha256(objects.get(oid, b"")).hexdigest() != oid:  # asked to verify it
            objects.pop(oid, None)
            return self.refuse(422, "", "The object is not what its name says")
        self.json({})

    def _resolve(self, parts: list[str]) -> None:
        repo, name = self.server.repos.get("/".join(parts[:3])), "/".join(parts[5:])
        if repo is None:
            known = "Authorization" in self.headers
            return self.refuse(404 if known else 401, "RepoNotFound", "Repository not found")
        if repo.gated:
            known = "Authorization" in self.headers
            return self.refuse(403 if known else 401, "GatedRepo", "Access to this repository is restricted")
        if (commit := repo.at(parts[4])) is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id")
        if name not in commit.files:
            return self.refuse(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit.sha})
        data = commit.files[name]
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{_git_oid(data)}"'}
        if not name.endswith(LARGE):
            return self._bytes(data, headers)
        oid = hashlib.sha256(data).hexdigest()
        self.server.objects[oid] = data
        linked = {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(data))}
        self.send(302, b"", headers | linked | {"Location": f"{self.server.store}/lfs/{oid}"})

    def _bytes(self, data: bytes, headers: Mapping[str, str]) -> None:
        headers = {**headers, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if not (wanted := self.headers.get("Range")):
            return self.send(200, data, headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
        self.send(206, data[start:end], {**headers, "Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _tree(files: Files, under: str, *, recursive: bool) -> list[dict[str, Any]]:
    prefix, entries = f"{under}/" if under else "", {}
    for name, data in sorted(files.items()):
        if not name.startswith(prefix):
            continue
        inner = name.removeprefix(prefix).split("/")
        for depth in range(1, len(inner) if recursive else min(2, len(inner))):
            folder = prefix + "/".join(inner[:depth])
            entries[folder] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
        if recursive or len(inner) == 1:
            entries[name] = {"type": "file", "path": name, "size": len(data), "oid": _git_oid(data)}
            if name.endswith(LARGE):
                entries[name]["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return list(entries.values())

"""A read-only Hub on this machine: dataset repositories with commits, answered as huggingface.co answers."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

DATE = "2024-01-01T00:00:00.000Z"


class HubDouble(ThreadingHTTPServer):
    """`commit(repo, files)` makes a new head and returns its sha; `requests` lists every `METHOD path` asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.commits: dict[str, dict[str, Mapping[str, bytes]]] = {}
        self.heads: dict[str, str] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, repo: str, files: Mapping[str, bytes]) -> str:
        content = b"".join(name.encode() + b"\0" + data for name, data in sorted(files.items()))
        sha = hashlib.sha1(self.heads.get(repo, "").encode() + content).hexdigest()
        self.commits.setdefault(repo, {})[sha] = dict(files)
        self.heads[repo] = sha
        return sha

    def resolved(self, repo: str, revision: str) -> str | None:
        """The commit that a revision stands for: `main` or a whole sha."""
        sha = self.heads.get(repo) if revision == "main" else revision
        return sha if sha in self.commits.get(repo, {}) else None

    def __enter__(self) -> HubDouble:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: HubDouble

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        path = urlsplit(self.path).path
        if path.startswith("/api/datasets/"):
            self._api([unquote(part) for part in path.removeprefix("/api/datasets/").split("/")])
        elif path.startswith("/datasets/") and "/resolve/" in path:
            repo, rest = path.removeprefix("/datasets/").split("/resolve/", 1)
            revision, _, name = rest.partition("/")
            self._file(repo, unquote(revision), unquote(name))
        else:
            self._refuse(404, "EntryNotFound", "Not found")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.server.requests.append(f"POST {self.path}")
        asked = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        parts = [unquote(part) for part in urlsplit(self.path).path.removeprefix("/api/datasets/").split("/")]
        files = self._files("/".join(parts[:2]), parts[3] if len(parts) > 3 else "")
        if files is None or parts[2] != "paths-info":
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        entries = {entry["path"]: entry for entry in _tree(files, "", recursive=True)}
        self._json([entries[path] for path in asked.get("paths", []) if path in entries])

    def _api(self, parts: list[str]) -> None:
        repo, what = "/".join(parts[:2]), parts[2] if len(parts) > 2 else "revision"
        revision = parts[3] if len(parts) > 3 else "main"
        if repo not in self.server.heads:
            return self._refuse(401, "RepoNotFound", "Invalid username or password.")
        files = self._files(repo, revision)
        if files is None:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if what == "revision":
            self._json(self._info(repo, revision, files))
        elif what == "tree":
            query = parse_qs(urlsplit(self.path).query)
            recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
            entries = _tree(files, "/".join(parts[4:]), recursive=recursive)
            self._json(entries) if entries else self._refuse(404, "EntryNotFound", "does not exist on this revision")
        else:
            self._refuse(404, "EntryNotFound", f"{what} is not answered here")

    def _info(self, repo: str, revision: str, files: Mapping[str, bytes]) -> dict[str, object]:
        return {
            "_id": "0" * 24, "id": repo, "author": repo.split("/")[0], "sha": self.server.resolved(repo, revision),
            "lastModified": DATE, "createdAt": DATE, "private": False, "gated": False, "disabled": False, "tags": [],
            "downloads": 0, "likes": 0, "siblings": [{"rfilename": name} for name in sorted(files)],
        }  # fmt: skip

    def _files(self, repo: str, revision: str) -> Mapping[str, bytes] | None:
        sha = self.server.resolved(repo, revision)
        return None if sha is None else self.server.commits[repo][sha]

    def _file(self, repo: str, revision: str, name: str) -> None:
        sha, files = self.server.resolved(repo, revision), self._files(repo, revision)
        if files is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        if name not in files:
            return self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": str(sha)})
        data, status, headers = files[name], 200, {"Accept-Ranges": "bytes"}
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            data, status = data[start:end], 206
        headers |= {
            "X-Repo-Commit": str(sha),
            "ETag": f'"{_blob(files[name])}"',
            "Content-Type": "application/octet-stream",
        }
        self._send(status, data, headers)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        about = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"}
        self._send(status, json.dumps({"error": message}).encode(), {**about, **(headers or {})})

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _tree(files: Mapping[str, bytes], under: str, *, recursive: bool) -> list[dict[str, object]]:
    prefix, entries = f"{under}/" if under else "", {}
    for name, data in sorted(files.items()):
        if not name.startswith(prefix):
            continue
        inner = name.removeprefix(prefix).split("/")
        for depth in range(1, len(inner) if recursive else min(2, len(inner))):
            folder = prefix + "/".join(inner[:depth])
            entries[folder] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": folder}
        if recursive or len(inner) == 1:
            entries[name] = {"type": "file", "oid": _blob(data), "size": len(data), "path": name}
    return list(entries.values())

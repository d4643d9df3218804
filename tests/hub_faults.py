"""Faults that a Hub, or the way to it, can have: each is given to one request, by its number, on command."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

REFUSALS: dict[str, tuple[int, Mapping[str, str]]] = {
    "429 with headers": (429, {"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}),
    "429 retry-after": (429, {"Retry-After": "1"}),
    **{str(status): (status, {}) for status in (307, 409, 412, 429, 500, 503)},
}
"""Answered instead of the right answer; nothing has happened then. 307 goes to another host, `Faults.elsewhere`."""

KINDS = (
    *REFUSALS,
    "no answer",  # the connection is closed before anything happens
    "lost reply",  # ... after it has happened
    "500 after",  # it has happened, and the answer says that it has not
    "cut",  # the answer stops after `Faults.bytes`, and its length was not said
    "truncated",  # ... and its length was said
    "wrong etag",
    "slow",
    "damaged object",  # what is uploaded is stored with a byte flipped
    "stale listing",  # the files of the commit before
    "overtaken",  # somebody else commits a moment before this request
)


@dataclass
class Faults:
    """The plan: request number (from 0, counted since `arm`) to kind, and what others get.

    `rest` = (7, kind): every request from number 7 on; (text, kind): every one with that text in its `METHOD path`.
    """

    plan: Mapping[int, str] = field(default_factory=dict)
    rest: tuple[int | str, str] | None = None
    bytes: int = 10
    elsewhere: str = ""
    seen: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, plan: Mapping[int, str] | None = None, rest: tuple[int | str, str] | None = None) -> None:
        """Count from 0 again, with this plan."""
        unknown = {*(plan or {}).values(), *([rest[1]] if rest else [])} - set(KINDS)
        assert not unknown, f"no such fault: {unknown}"
        with self._lock:
            self.plan, self.rest, self.seen, self.struck = dict(plan or {}), rest, [], []

    def next(self, request: str) -> str:
        """The fault of the next request, or an empty string."""
        with self._lock:
            number = len(self.seen)
            self.seen.append(request)
            kind = self.plan.get(number, "")
            if not kind and self.rest:
                where, rest = self.rest
                kind = rest if (where in request if isinstance(where, str) else number >= where) else ""
            if kind:
                self.struck.append(f"{kind}: {request}")
            return kind


class Faulty(BaseHTTPRequestHandler):
    """A request that may meet a fault: subclasses call `meets` before they act, and `send` to answer."""

    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = 1 << 16, True  # else head and body wait 40 ms for one another
    faults: Faults
    fault = ""

    def meets(self) -> bool:
        """Whether a fault answers instead; nothing is to happen then."""
        self.fault = self.faults.next(f"{self.command} {self.path}")
        if self.fault == "no answer":
            self.close_connection = True
            return True
        if self.fault not in REFUSALS:
            return False
        (status, headers), self.fault = REFUSALS[self.fault], ""
        there = {"Location": self.faults.elsewhere + self.path} if status == 307 else {}
        self.send(status, b'{"error": "by plan"}', {"Content-Type": "application/json", **headers, **there})
        return True

    def send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        """Answer, but for what the fault does to the answer."""
        fault, self.fault = self.fault, ""
        if fault == "lost reply":
            self.close_connection = True
            return
        if fault == "500 after" and self.command not in ("GET", "HEAD"):
            status, data, headers = 500, b'{"error": "by plan"}', {"Content-Type": "application/json"}
        if fault == "wrong etag":
            headers = {name: '"' + "0" * 40 + '"' if "ETag" in name else value for name, value in headers.items()}
        self.send_response(status)
        length = {} if fault == "cut" else {"Content-Length": str(len(data))}
        for name, value in {**headers, **length}.items():
            self.send_header(name, value)
        if fault == "cut":
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self._body(data, fault)

    def _body(self, data: bytes, fault: str) -> None:
        if fault in ("cut", "truncated"):
            self.close_connection = True
            self.wfile.write(data[: min(self.faults.bytes, max(len(data) - 1, 0))])
        elif fault == "slow":
            piece = max(1, len(data) // 4)
            for start in range(0, len(data), piece):
                self.wfile.write(data[start : start + piece])
                self.wfile.flush()
                time.sleep(0.005)
        else:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass

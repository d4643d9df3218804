"""Toy servers. `endpoint` is a process of its own: OpenAI's chat completions, quick, counted, and faulty on demand.

    python tests/endpoint.py '{"delay": 0.2, "slow": 0.3, "broken": 0.1, "hang": 0.05}'

It prints its port. The answer to a prompt is a function of its last turn alone, so that it is what was recorded; the
lot of a request depends on that text and on how often it was asked. GET / tells the requests and answers by text.
`serving` is a server in threads of this process, which does with each request what a test says.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from zlib import crc32


def answer_to(text: str) -> str:
    """The reply that is recorded for a text: the text backwards."""
    return text[::-1]


class Connection(asyncio.Protocol):
    """One client; requests come one after the other, as HTTP/1.1 without pipelining has them."""

    requests: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    faults: dict[str, float] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport, self.got = transport, b""

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return
        match = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        length = int(match[1]) if match else 0
        if len(body) < length:
            return
        self.got = body[length:]
        if head.startswith(b"GET"):
            self.send(200, json.dumps({"requests": self.requests, "answers": self.answers}).encode())
        else:
            self.asked(json.loads(body[:length]))

    def asked(self, body: dict[str, Any]) -> None:
        text = body["messages"][-1]["content"]
        self.requests[text] += 1
        lot = crc32(f"{text} {self.requests[text]}".encode()) % 1000 / 1000
        for fault in ("slow", "broken", "hang"):
            if lot < self.faults.get(fault, 0.0):
                return getattr(self, fault)(lot)
            lot -= self.faults.get(fault, 0.0)
        delay = self.faults.get("delay", 0.0) * (1 + self.faults.get("spread", 0.0) * (crc32(text.encode()) % 5))
        if delay:
            asyncio.get_running_loop().call_later(delay, self.answer, text)
        else:
            self.answer(text)

    def answer(self, text: str) -> None:
        self.answers[text] += 1
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer_to(text)}}
        told = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        usage = {"prompt_tokens": len(text), "completion_tokens": 3, "total_tokens": len(text) + 3}
        self.send(200, json.dumps({**told, "usage": usage}).encode())

    def slow(self, lot: float) -> None:
        self.send(429, b'{"error": {"message": "slow down"}}', b"retry-after: 0.05\r\n" if lot * 1000 % 2 < 1 else b"")

    def broken(self, lot: float) -> None:
        self.send(502, b'{"error": {"message": "bad gateway"}}')

    def hang(self, lot: float) -> None:
        pass

    def send(self, status: int, body: bytes, more: bytes = b"") -> None:
        if not self.transport.is_closing():
            head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n"
            self.transport.write(head % (status, more, len(body)) + body)


async def serve(faults: dict[str, float]) -> None:
    """Serve on loopback until killed."""
    Connection.faults = faults
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Endpoint:
    """The endpoint as those who ask it see it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"

    def told(self, what: str) -> Counter[str]:
        """`requests` or `answers`, by text."""
        with urllib.request.urlopen(self.url.removesuffix("v1"), timeout=10) as page:
            return Counter(json.load(page)[what])


@contextmanager
def endpoint(**faults: float) -> Iterator[Endpoint]:
    """An Endpoint while the block lasts. Faults: shares `slow` (429), `broken` (502), `hang`; `delay` in seconds,
    up to 1 + 4 * `spread` times as long for some texts."""
    command = [sys.executable, __file__, json.dumps(faults)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Endpoint(int(process.stdout.readline()))
        finally:
            process.kill()


Act = Callable[["Server", "Handler", Any], object]


class Server(ThreadingHTTPServer):
    """A server on loopback; `act` is called with it, the request's handler and its JSON."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, act: Act) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.act = act
        self.lock = threading.Lock()
        self.seen: list[float] = []  # when each request came
        self.asked: list[tuple[str, Any]] = []  # path and JSON
        self.headers: list[dict[str, str]] = []
        self.tries: Counter[str] = Counter()  # by JSON
        self.open = self.most_open = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        here = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with here.lock:
            here.seen.append(time.monotonic())
            here.asked.append((self.path, body))
            here.headers.append(dict(self.headers))
            here.tries[str(body)] += 1
            here.open += 1
            here.most_open = max(here.most_open, here.open)
        try:
            here.act(here, self, body)
        except OSError:
            self.close_connection = True
        finally:
            with here.lock:
                here.open -= 1

    def send(self, status: int, body: object, **headers: str) -> None:
        """Answer with bytes, or with JSON of anything else."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *parts: object) -> None:
        pass


@contextmanager
def serving(act: Act) -> Iterator[Server]:
    """A Server while the block lasts."""
    with Server(act) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))

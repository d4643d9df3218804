"""A toy endpoint in a process of its own: OpenAI's chat completions, quick, counted, and faulty on demand.

    python tests/endpoint.py '{"delay": 0.2, "slow": 0.3, "broken": 0.1, "hang": 0.05}'

It prints its port. The answer to a prompt is a function of its last turn alone, so that it is what was recorded; the
lot of a request depends on that text and on how often it was asked. GET / tells the requests and answers by text.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
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


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))

"""A toy endpoint in threads of this process: what it does with a request is said by a function, an `Act`.

`endpoint` speaks OpenAI's chat completions, quick, counted, and faulty on demand: the answer to a prompt is a function
of its last turn alone, so it equals what was recorded; whether a request fails depends on that text and on how often it
was asked. `chat` answers as a test says.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from zlib import crc32

Act = Callable[["Endpoint", "Handler", Any], object]


class Endpoint(ThreadingHTTPServer):
    """A server on loopback; `act` is called with it, the request's handler and its JSON."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, act: Act) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.act = act
        self.lock = threading.Lock()
        self.seen: list[float] = []  # when each request came
        self.asked: list[tuple[str, Any]] = []  # path and JSON
        self.headers: list[dict[str, str]] = []
        self.tries: Counter[str] = Counter()  # by JSON
        self.answers: Counter[str] = Counter()  # of `endpoint`, by text
        self.open = self.most_open = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body would wait 40 ms for the client to acknowledge its head
    server: Endpoint

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
def serving(act: Act) -> Iterator[Endpoint]:
    """An Endpoint while the block lasts."""
    with Endpoint(act) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def answer_to(text: str) -> str:
    """The reply that is recorded for a text: the text backwards."""
    return text[::-1]


def completion(body: Any, answer: Callable[[str], str] = answer_to) -> dict[str, Any]:
    """A whole answer to a request: a function of its last turn."""
    text = body["messages"][-1]["content"]
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer(text)}}
    usage = {"prompt_tokens": len(text), "completion_tokens": 3, "total_tokens": len(text) + 3}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def chat(answer: Callable[[str], str]) -> AbstractContextManager[Endpoint]:
    """Serves completions whose text is a function of all that was sent."""

    def act(server: Endpoint, handler: Handler, body: Any) -> None:
        whole = completion(body)
        whole["choices"][0]["message"]["content"] = answer("\n".join(turn["content"] for turn in body["messages"]))
        handler.send(200, whole)

    return serving(act)


def reversed_list(sent: str) -> str:
    """A listwise answer that says the opposite order of the one that is shown."""
    most = max(int(number) for number in re.findall(r"\[(\d+)\]", sent))
    return " > ".join(f"[{number}]" for number in range(most, 0, -1))


def endpoint(
    *,
    slow: float = 0,
    broken: float = 0,
    hang: float = 0,
    delay: float = 0,
    spread: float = 0,
    answer: Callable[[str], str] = answer_to,
) -> AbstractContextManager[Endpoint]:
    """Serves completions. Faults: shares `slow` (429, half of them with a pause), `broken` (502), `hang` (up,
    after 2 seconds).

    `delay` in seconds, up to 1 + 4 * `spread` times as long for some texts.
    """

    def act(server: Endpoint, handler: Handler, body: Any) -> None:
        text = body["messages"][-1]["content"]
        lot = crc32(f"{text} {server.tries[str(body)]}".encode()) % 1000 / 1000
        if lot < slow:
            return handler.send(429, {"error": "slow down"}, **({"retry_after": "0.05"} if lot < slow / 2 else {}))
        if lot < slow + broken:
            return handler.send(502, {"error": "bad gateway"})
        if lot < slow + broken + hang:
            time.sleep(2)
            return handler.hang_up()
        time.sleep(delay * (1 + spread * (crc32(text.encode()) % 5)))
        with server.lock:
            server.answers[text] += 1
        handler.send(200, completion(body, answer))

    return serving(act)

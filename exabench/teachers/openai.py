"""A language model behind any server that speaks OpenAI's chat completions: theirs, `vllm serve`, others."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from exabench.errors import BadInput, ExabenchError, Refused
from exabench.nouns import Prompt, Reply
from exabench.teachers._chat import seed_of
from exabench.teachers._http import Server, Status
from exabench.teachers._patience import BadPrompt, Line, background_loop

HOPELESS = 20
"""So many refused prompts before any answer, and the server is taken to refuse them all."""


class OpenAI:
    """Many requests in flight (`concurrency`), a cool-down that all of them share, retries, and an end.

    The key is read from the environment variable `api_key_env` whenever it is needed and kept nowhere; a server on
    this machine needs none. A request is given up after `timeout` seconds and tried again `retries` times (server
    errors, lost connections, time-outs, answers that are no JSON), each time after a longer break. 429 is no such
    failure: everyone waits as long as Retry-After says, or longer each time, for `patience` seconds in all. `model`
    and `revision` are what the server is said to serve.
    """

    config: Mapping[str, Any] | None = None

    def __init__(
        self,
        model: str,
        revision: str = "",
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 16,
        timeout: float = 120.0,
        retries: int = 5,
        patience: float = 600.0,
        seed: int = 0,
    ) -> None:
        place = urlsplit(base_url)
        if place.scheme not in ("http", "https") or not place.hostname or place.username or place.query:
            raise BadInput(f"base_url must be http(s)://host[:port]/path, without key or question; set {api_key_env}")
        if concurrency < 1 or timeout <= 0 or retries < 0:
            raise BadInput(f"concurrency={concurrency}, timeout={timeout}, retries={retries} asks nothing")
        self._url, self._key_name = base_url, api_key_env
        self._concurrency, self._timeout, self._retries, self._patience = concurrency, timeout, retries, patience
        self._model, self._seed, self._local = model, seed, _on_this_machine(place.hostname)
        self.identity: Mapping[str, Any] = {
            "engine": "openai",
            "server": base_url,
            "model": model,
            "revision": revision,
            "seed": seed,
        }
        self._key()

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """Replies as they come. Prompts that the server refuses raise Refused once all others are answered.

        Raises OutsideFailed, naming the server and its last error, when one prompt has failed too often; what was
        in flight then and still comes back is given out first.
        """
        refused: dict[str, str] = {}
        failed: ExabenchError | None = None
        source, flying, answered, key = iter(prompts), 0, 0, self._key()
        line = Line(self._url, key, self._timeout, self._retries, self._patience)
        with background_loop() as loop, self._server(key, loop) as server:
            requests = _Requests(loop, line, partial(self._request, server))
            while True:
                while failed is None and flying < self._concurrency and (prompt := next(source, None)):
                    requests.start(prompt)
                    flying += 1
                if not flying:
                    break
                for outcome in requests.finished():
                    flying -= 1
                    if isinstance(outcome, Reply):
                        answered += 1
                        yield outcome
                    elif isinstance(outcome, BadPrompt):
                        refused[outcome.id] = outcome.reason
                    elif isinstance(outcome, ExabenchError):
                        failed = failed or outcome
                    else:
                        raise outcome
                if len(refused) >= HOPELESS and not answered:
                    failed = failed or Refused(refused)
                line.closed = failed is not None
        if failed is not None:
            raise failed from None
        if refused:
            raise Refused(refused)

    @contextmanager
    def _server(self, key: str, loop: asyncio.AbstractEventLoop) -> Iterator[Server]:
        async def made() -> Server:
            return Server(self._url, {"authorization": f"Bearer {key}", "user-agent": "exabench"})

        server = asyncio.run_coroutine_threadsafe(made(), loop).result()
        try:
            yield server
        finally:
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(server.close(), loop).result(5)

    async def _request(self, server: Server, prompt: Prompt) -> Reply:
        asked = {
            "model": self._model,
            "messages": [{"role": role, "content": text} for role, text in prompt.turns],
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            **({"seed": seed_of(prompt, self._seed)} if prompt.temperature > 0 else {}),
        }
        answer = await server.post("/chat/completions", json.dumps(asked).encode())
        if answer.status != 200:
            raise Status(answer)
        try:
            told = json.loads(answer.body)
            choice, used = told["choices"][0], told["usage"]
            finish = "length" if choice["finish_reason"] == "length" else "stop"
            text = choice["message"]["content"] or ""
            if not isinstance(text, str):
                raise TypeError
            return Reply(prompt.id, text, finish, int(used["prompt_tokens"]), int(used["completion_tokens"]))
        except (ValueError, RecursionError, KeyError, IndexError, TypeError):
            raise ValueError("an answer that is no JSON, or without choices or token counts") from None

    def _key(self) -> str:
        key = os.environ.get(self._key_name) or ("none" if self._local else "")
        if not key:
            raise BadInput(f"{self._url} needs a key: set the environment variable {self._key_name}")
        return key


class _Requests:
    """Requests on a loop beside this thread, and what became of them."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, line: Line, request: Callable[[Prompt], Awaitable[Reply]]
    ) -> None:
        self._loop, self._line, self._request = loop, line, request
        self._over: SimpleQueue[Reply | Exception] = SimpleQueue()
        self._new: list[Prompt] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, prompt: Prompt) -> None:
        """Send it with the others of this round, when `finished` is called."""
        self._new.append(prompt)

    def finished(self) -> Iterator[Reply | Exception]:
        """Waits for the first outcome; all that are there."""
        if self._new:
            self._loop.call_soon_threadsafe(self._send, self._new)
            self._new = []
        yield self._over.get()
        while not self._over.empty():
            yield self._over.get()

    def _send(self, prompts: list[Prompt]) -> None:
        for prompt in prompts:
            task = self._loop.create_task(self._outcome(prompt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _outcome(self, prompt: Prompt) -> None:
        try:
            self._over.put(await self._line.answered(prompt.id, partial(self._request, prompt)))
        except Exception as error:
            self._over.put(error)


def _on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

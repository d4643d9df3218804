"""A language model behind any server that speaks OpenAI's chat completions: theirs, `vllm serve`, others."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from openai import AsyncOpenAI

from exabench.errors import BadInput, ExabenchError
from exabench.nouns import Prompt, Reply
from exabench.teachers._chat import refusal, seed_of
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
        """Replies as they come. Prompts that the server refuses raise BadInput once all others are answered.

        Raises OutsideFailed, naming the server and its last error, when one prompt has failed too often; what was
        in flight then and still comes back is given out first.
        """
        refused: list[tuple[str, str]] = []
        failed: ExabenchError | None = None
        source, asked, answered, key = iter(prompts), set[Future[Reply]](), 0, self._key()
        line = Line(self._url, key, self._timeout, self._retries, self._patience)
        with background_loop() as loop, self._client(key, loop) as client:
            while True:
                while failed is None and len(asked) < self._concurrency and (prompt := next(source, None)):
                    call = line.answered(prompt.id, partial(self._request, client, prompt))
                    asked.add(asyncio.run_coroutine_threadsafe(call, loop))
                if not asked:
                    break
                finished, asked = wait(asked, return_when=FIRST_COMPLETED)
                for future in finished:
                    try:
                        reply = future.result()
                    except BadPrompt as error:
                        refused.append((error.id, error.reason))
                    except ExabenchError as error:
                        failed = failed or error
                    else:
                        answered += 1
                        yield reply
                if len(refused) >= HOPELESS and not answered:
                    failed = failed or refusal(refused)
                line.closed = failed is not None
        if failed is not None:
            raise failed from None
        if refused:
            raise refusal(refused)

    @contextmanager
    def _client(self, key: str, loop: asyncio.AbstractEventLoop) -> Iterator[AsyncOpenAI]:
        client = AsyncOpenAI(api_key=key, base_url=self._url, max_retries=0, timeout=self._timeout)
        try:
            yield client
        finally:
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(client.close(), loop).result(5)

    async def _request(self, client: AsyncOpenAI, prompt: Prompt) -> Reply:
        answer = await client.chat.completions.create(
            model=self._model,
            messages=[{"role": role, "content": text} for role, text in prompt.turns],
            max_tokens=prompt.max_tokens,
            temperature=prompt.temperature,
            **({"seed": seed_of(prompt, self._seed)} if prompt.temperature > 0 else {}),
        )
        try:
            choice, used = answer.choices[0], answer.usage
            finish = "length" if choice.finish_reason == "length" else "stop"
            text = choice.message.content or ""
            return Reply(prompt.id, text, finish, int(used.prompt_tokens), int(used.completion_tokens))
        except (AttributeError, IndexError, TypeError):
            raise ValueError("an answer without choices or token counts") from None

    def _key(self) -> str:
        key = os.environ.get(self._key_name) or ("none" if self._local else "")
        if not key:
            raise BadInput(f"{self._url} needs a key: set the environment variable {self._key_name}")
        return key


def _on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

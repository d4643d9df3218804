"""A language model behind any server that speaks OpenAI's chat completions: theirs, `vllm serve`, others."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterable, Iterator

from exabench.core.errors import BadInput, ExabenchError, OutsideFailed, PromptsRefused, check_key, printable
from exabench.core.http import Client, Request, RequestLimits, StatusError, check_url
from exabench.core.nouns import Prompt, Reply
from exabench.parts.teachers._chat import seed_of

HOPELESS = 20
"""So many refused prompts before any answer, and the server is taken to refuse them all."""
_PROMPT_IS_BAD = (400, 413, 422)


class OpenAI:
    """Many requests in flight (`concurrency`), a cool-down that all of them share, retries, and an end.

    The key is read from the environment variable `api_key_env` whenever it is needed and kept nowhere; a server on
    this machine needs none. A request is given up after `timeout` seconds and tried again `retries` times (server
    errors, lost connections, time-outs, answers that are not JSON), each time after a longer break. 429 is no such
    failure: everyone waits as long as Retry-After says, or longer each time, up to `patience` seconds. `base_url`
    is the address that /chat/completions follows. `model` and `revision` are what the server is said to serve.
    """

    config = None

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
        host = check_url("base_url", base_url, api_key_env)
        self._url = base_url
        self._key_name = api_key_env
        self._limits = RequestLimits(concurrency, timeout, retries, patience)
        self._model = model
        self._seed = seed
        try:
            self._needs_key = host != "localhost" and not ipaddress.ip_address(host).is_loopback
        except ValueError:  # the name of another machine
            self._needs_key = True
        self.identity = {
            "engine": "openai",
            "server": base_url,
            "model": model,
            "revision": revision,
            "seed": seed,
        }
        self._key()  # a missing key is told before anything is built or asked

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """Replies as they come. Prompts that the server refuses raise PromptsRefused once all others are answered.

        Raises OutsideFailed, naming the server and its last error, when one prompt has failed too often; what was
        in flight then and still comes back is given out first. Raises BadInput where the server refuses every request.
        """
        client = Client(self._url, "/chat/completions", self._key(), self._limits)
        refused = {}
        failures: list[ExabenchError] = []
        answered = 0
        for prompt, outcome in client.ask(map(self._request, prompts), _read):
            if isinstance(outcome, tuple):
                answered += 1
                yield Reply(prompt.id, *outcome)
            elif isinstance(outcome, StatusError) and outcome.status in _PROMPT_IS_BAD:
                refused[prompt.id] = f"{self._url} said {client.describe(outcome)}"
                if len(refused) >= HOPELESS and not answered:
                    failures.append(PromptsRefused(refused))
            elif isinstance(outcome, OutsideFailed):
                failures.append(outcome)
            elif outcome.code == "insufficient_quota":
                why = f"{self._url} has no quota left for this key: {client.describe(outcome)}"
                failures.append(OutsideFailed(why))
            else:
                why = f"{self._url} refuses: {client.describe(outcome)}"
                failures.append(BadInput(f"{why}; check base_url, model and key"))
            if failures:
                client.stop()
        if failures:
            raise failures[0]  # later ones follow from it
        if refused:
            raise PromptsRefused(refused)

    def _request(self, prompt: Prompt) -> Request[Prompt]:
        body = {
            "model": self._model,
            "messages": [{"role": role, "content": text} for role, text in prompt.turns],
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
        }
        if prompt.temperature > 0:
            body["seed"] = seed_of(prompt, self._seed)
        return Request(prompt, body, f"prompt {printable(prompt.id)!r}")

    def _key(self) -> str:
        key = os.environ.get(self._key_name, "")
        if not key and self._needs_key:
            raise BadInput(f"{self._url} needs a key: set the environment variable {self._key_name}")
        check_key(self._key_name, key)
        return key or "none"


def _read(data: bytes) -> tuple[str, str, int, int]:
    """Text, finish reason, prompt tokens and output tokens of an answer. Raises ValueError."""
    try:
        answer = json.loads(data)
        choice = answer["choices"][0]
        text = choice["message"]["content"] or ""
        finish = "length" if choice["finish_reason"] == "length" else "stop"
        usage = answer["usage"]
        if isinstance(text, str):
            return text, finish, int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    except (ValueError, RecursionError, KeyError, IndexError, TypeError):
        pass
    raise ValueError("an answer that is not JSON, or without choices or token counts")

"""A language model behind any server that speaks OpenAI's protocol: theirs, `vllm serve`, llama.cpp, many others."""

from __future__ import annotations

import ipaddress
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeGuard

from exabench.core.api_keys import own_key
from exabench.core.errors import BadInput, ExabenchError, OutsideFailed, PromptsRefused, check_key, printable
from exabench.core.files import canonical_json
from exabench.core.http import AnswerFailed, Client, Request, RequestLimits, StatusError, check_url
from exabench.core.nouns import MOST_TOKENS, Prompt, Reply
from exabench.parts.teachers._chat import plain_text, seed_of, with_system_in_first_turn

HOPELESS = 20
"""So many prompts without an answer in a row, and the server is taken to answer none."""
_PROMPT_IS_BAD = (400, 413, 422)
_WRONG_KEY = 401
_NOTHING_LEFT_TO_PAY_WITH = 402
_ADVICE = {
    "max_completion_tokens": 'set limit_field = "max_completion_tokens"',
    "temperature": "set send_temperature = false",
    "logprobs": 'rank by written answers (scoring = "generation"), or set a smaller top_logprobs',
    "not a chat model": 'set api = "completions"',
    "chat template": 'set api = "completions"',
}
"""What to do where a server's refusal holds these words: the first words that fit count."""
_SHORT_TEXT = (("user", "Say yes."),)
"""What a server is asked to see whether it answers anything: no server refuses this for what it says."""
_NO_WORD = re.compile(r"[^\w.-]+")
_LONGEST_FINISH = 40
"""Characters of a finish reason that the store of replies takes."""
_TEXT_PARTS = ("text", "output_text")  # thoughts and refusals are parts of other types
_OWN_FIELDS = ("model", "messages", "prompt", "stream", "n", "logprobs", "top_logprobs")


class ServerAnswer(NamedTuple):
    """What a server answers; `log_probs` are those of tokens that may come first, `mean_log_prob` of those that came.

    Both are None where it gives none.
    """

    text: str
    finish: str
    prompt_tokens: int | None
    output_tokens: int | None
    log_probs: dict[str, float] | None
    mean_log_prob: float | None


class OpenAI:
    """Many requests in flight (`concurrency`), a cool-down that all of them share, retries, and an end.

    The key is read from the environment variable `api_key_env` whenever it is needed and kept nowhere; unless that is
    named, a known server gets its own (OPENAI_API_KEY for OpenAI's), and a server on this machine none. A request is
    given up after `timeout` seconds and tried again `retries` times (server errors, lost connections, time-outs,
    answers that are not JSON), each time after a longer break. 429 is no such failure: everyone waits as long as
    Retry-After says, or longer each time, up to `patience` seconds. `base_url` is the address that /chat/completions
    follows, or /completions where `api` says so: base models take plain text. `model` and `revision` are what the
    server is said to serve.

    Servers differ: `limit_field` names the bound on answers, `send_temperature` false leaves the temperature to
    the server, `reasoning_effort` and `chat_template_kwargs` say how a model thinks, `reasoning_tokens` are allowed
    for that on top of every answer's own, `guided` names the field that holds answers to the pattern that their
    prompts ask for, and `body` holds further fields of every request. Where a server takes no system turn, its text
    comes at the head of the first user turn. Of a prompt with choices the `top_logprobs` likeliest tokens are asked for
    (OpenAI gives at most 20, older servers of /completions at most 5); an answer can be begun for a server only by
    /completions, or where `body` has continue_final_message, as for vLLM.
    """

    config = None

    def __init__(
        self,
        model: str,
        revision: str = "",
        *,
        base_url: str = "https://api.openai.com/v1",
        api_key_env: str = "",
        concurrency: int = 16,
        timeout: float = 120.0,
        retries: int = 5,
        patience: float = 600.0,
        seed: int = 0,
        api: Literal["chat", "completions"] = "chat",
        limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
        send_temperature: bool = True,
        reasoning_effort: str = "",
        reasoning_tokens: int = 0,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        guided: Literal["", "structured_outputs", "guided_regex", "regex", "response_format"] = "",
        body: Mapping[str, Any] | None = None,
        top_logprobs: int = 20,
    ) -> None:
        host = check_url("base_url", base_url, "api_key_env")
        refused = sorted(set(_OWN_FIELDS) & set(body or {}))
        if refused:
            raise BadInput(f"body may not set {', '.join(refused)}: exabench does; use the options of teacher openai")
        self._url = base_url
        self._key_name = api_key_env or own_key(host)
        self._limits = RequestLimits(concurrency, timeout, retries, patience)
        self._model = model
        self._seed = seed
        self._api = api
        self._path = "/chat/completions" if api == "chat" else "/completions"
        self._limit_field = limit_field
        self._send_temperature = send_temperature
        self._reasoning_tokens = reasoning_tokens
        self._guided = guided
        self._body = dict(body or {})
        if reasoning_effort:
            self._body["reasoning_effort"] = reasoning_effort
        if chat_template_kwargs:
            self._body["chat_template_kwargs"] = dict(chat_template_kwargs)
        self._top_logprobs = top_logprobs
        self._takes_system_turns = True  # until the server says that it does not
        try:
            self._needs_key = host != "localhost" and not ipaddress.ip_address(host).is_loopback
        except ValueError:  # the name of another machine
            self._needs_key = True
        self.identity: Mapping[str, Any] = {
            "engine": "openai",
            "server": base_url,
            "model": model,
            "revision": revision,
            "seed": seed,
            **self._unusual(),
        }
        self._key()  # a missing key is told before anything is built or asked

    def _unusual(self) -> dict[str, Any]:
        """What changes answers and differs from its default; the rest is left out, so that older replies are found."""
        settings: dict[str, Any] = {
            "reasoning_tokens": self._reasoning_tokens,
            "guided": self._guided,
            "body": self._body,
        }
        if self._api != "chat":
            settings["api"] = self._api
        if self._top_logprobs != 20:
            settings["top_logprobs"] = self._top_logprobs
        if self._limit_field != "max_tokens":
            settings["limit_field"] = self._limit_field
        if not self._send_temperature:
            settings["temperature"] = "the server's"
        return {name: value for name, value in settings.items() if value}

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """Replies as they come. Prompts that the server refuses raise PromptsRefused once all others are answered.

        So do prompts that failed too often by themselves: others were answered after them or, where they are the last,
        the server still answers a short text. Raises OutsideFailed, naming the server and its last error, where it
        cannot be reached, answers nothing any more or none of HOPELESS prompts in a row; what was in flight then and
        still comes back is given out first. Raises BadInput where it refuses every request.
        """
        client = Client(self._url, self._path, self._key(), self._limits)
        failures = _Failures(self._url)
        to_ask: Iterable[Prompt] = prompts
        while to_ask:
            again = []  # prompts whose system turn was refused
            for prompt, outcome in client.ask(map(self._request, to_ask), _read):
                if isinstance(outcome, ServerAnswer) and prompt.choices and outcome.log_probs is None:
                    failures.end = BadInput(
                        f"{self._url} gives no log-probabilities (logprobs) of {self._model}; rank by its written "
                        'answers (scoring = "generation"), or ask another server'
                    )
                    client.stop()
                elif isinstance(outcome, ServerAnswer):
                    failures.forget_row()  # a server that answers is not down
                    text = outcome.text
                    if prompt.choices:
                        text = canonical_json(outcome.log_probs)
                    log_prob = outcome.mean_log_prob if prompt.likelihood else None
                    tokens = (outcome.prompt_tokens, outcome.output_tokens)
                    yield Reply(prompt.id, text, outcome.finish, *tokens, log_prob)
                elif self._is_refused_system_turn(prompt, outcome):
                    self._takes_system_turns = False
                    again.append(prompt)
                else:
                    failures.add(prompt, outcome, client)
                    # Patience is lost once: the others waited for the same server at the same time.
                    if failures.end is None and _is_slowed_down(outcome) and not self._answers_short_text(prompt):
                        failures.end = outcome
                    if failures.end:
                        client.stop()
            to_ask = again
            if failures.end:
                break
        if failures.end is None and failures.doubt and not self._answers_short_text(failures.doubt.prompt):
            failures.end = failures.doubt.error
        failures.raise_them()

    def _answers_short_text(self, prompt: Prompt) -> bool:
        """Does the server answer a request like this prompt's for a short text, now and at the first try?

        If so, it is there and takes such requests, and what it does not answer is the prompt.
        """
        limits = replace(self._limits, concurrency=1, retries=0, patience=0.0)
        client = Client(self._url, self._path, self._key(), limits)
        request = self._request(replace(prompt, turns=_SHORT_TEXT))
        [(_, outcome)] = client.ask([request], _read)
        return isinstance(outcome, ServerAnswer)

    def _is_refused_system_turn(self, prompt: Prompt, outcome: Exception) -> bool:
        """Does the server refuse a prompt for its system turn? Such prompts are asked again without one."""
        if not isinstance(outcome, StatusError) or prompt.turns[0][0] != "system" or self._api != "chat":
            return False
        text = str(outcome).lower()
        return "system" in text and "role" in text and outcome.status in (*_PROMPT_IS_BAD, 500)

    def _request(self, prompt: Prompt) -> Request[Prompt]:
        body: dict[str, Any] = {"model": self._model}
        turns = prompt.turns
        if self._api == "completions":
            body["prompt"] = plain_text(turns)
        else:
            if not self._takes_system_turns:
                turns = with_system_in_first_turn(turns)
            body["messages"] = [{"role": role, "content": text} for role, text in turns]
        if prompt.beginning and self._api == "chat" and not self._body.get("continue_final_message"):
            raise BadInput(
                f"a prompt begins its answer with {printable(prompt.beginning)!r}, and {self._url} is not asked to "
                'continue it; set api = "completions" or, for vLLM, body = { continue_final_message = true, '
                "add_generation_prompt = false }, or use a prompt that does not",
                id=prompt.id,
            )
        body[self._limit_field] = prompt.max_tokens + self._reasoning_tokens
        if prompt.choices:
            body[self._limit_field] = 1
            body |= self._asked_log_probs()
        if prompt.likelihood:
            body["logprobs"] = 1 if self._api == "completions" else True
        if self._send_temperature:
            body["temperature"] = prompt.temperature
        if prompt.temperature > 0:  # greedy answers need no seed, and some servers refuse one
            body["seed"] = seed_of(prompt, self._seed)
        if prompt.pattern and self._guided and not prompt.choices:
            body |= _guidance(self._guided, prompt.pattern)
        # Last, so that a user can replace what is sent otherwise.
        return Request(prompt, body | self._body, f"prompt {printable(prompt.id)!r}")

    def _asked_log_probs(self) -> dict[str, Any]:
        """The fields that ask for the likeliest first tokens."""
        if self._api == "completions":
            return {"logprobs": self._top_logprobs}
        return {"logprobs": True, "top_logprobs": self._top_logprobs}

    def _key(self) -> str:
        key = os.environ.get(self._key_name, "")
        if not key and self._needs_key:
            how = f"set the environment variable {self._key_name}"
            if not self._key_name:
                how = "name its environment variable with api_key_env"
            raise BadInput(f"{self._url} needs a key: {how}")
        check_key(self._key_name, key)
        return key or "none"


class _Doubt(NamedTuple):
    """A failure since which nothing was answered, so that it may be the server's fault as well as its prompt's."""

    prompt: Prompt
    error: ExabenchError


class _Failures:
    """The prompts that got no answer, by id with the reason, and whether it is time to stop asking: `end`.

    `doubt` is the first failure since the last answer that may be the server's fault.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._reasons: dict[str, str] = {}
        self._answered = False
        self._row = 0
        self.doubt: _Doubt | None = None
        self.end: ExabenchError | None = None

    def forget_row(self) -> None:
        """A prompt was answered."""
        self._answered = True
        self._row = 0
        self.doubt = None

    def add(self, prompt: Prompt, outcome: StatusError | OutsideFailed, client: Client) -> None:
        """A prompt was not answered; `client` describes why."""
        cause: Exception = outcome
        if isinstance(outcome, AnswerFailed):
            cause = outcome.last
        shown = client.describe(cause)
        verb = "said" if isinstance(cause, StatusError) else "gave"
        error, about_prompt, ends_all = self._judge(outcome, shown)
        # Without the address: reasons are published with a release, and an address may be private.
        self._reasons[prompt.id] = f"the server {verb} {shown}"
        if not about_prompt:
            self.doubt = self.doubt or _Doubt(prompt, error)
        if not about_prompt or not self._answered:  # long prompts may stand in a row
            self._row += 1
        if self.end is None and ends_all:
            self.end = error
        elif self.end is None and self._row >= HOPELESS:
            self.end = self.doubt.error if self.doubt else PromptsRefused(self._reasons)

    def _judge(self, outcome: StatusError | OutsideFailed, shown: str) -> tuple[ExabenchError, bool, bool]:
        """The failure as an error, whether it is surely the prompt's fault, and whether it ends everything."""
        if isinstance(outcome, OutsideFailed):
            return outcome, False, not isinstance(outcome, AnswerFailed)
        if outcome.code == "insufficient_quota" or outcome.status == _NOTHING_LEFT_TO_PAY_WITH:
            return OutsideFailed(f"{self._url} has no quota left for this key: {shown}"), False, True
        text = str(outcome).lower()
        # Only before the first answer: a server that has answered takes these fields.
        for words, advice in _ADVICE.items():
            if words in text and not self._answered:
                return BadInput(f"{self._url} refuses: {shown}; {advice} for the teacher"), False, True
        error = BadInput(f"{self._url} refuses: {shown}; check base_url, model and key")
        # A server that redirects everything is at another address; one that has answered redirects this prompt.
        is_elsewhere = outcome.status < 400 and not self._answered
        return error, outcome.status in _PROMPT_IS_BAD, outcome.status == _WRONG_KEY or is_elsewhere

    def raise_them(self) -> None:
        """Raise what ended the asking, or PromptsRefused; nothing where every prompt was answered."""
        if self.end is not None:
            raise self.end
        if self._reasons:
            raise PromptsRefused(self._reasons)


def _is_slowed_down(outcome: StatusError | OutsideFailed) -> TypeGuard[AnswerFailed]:
    """Did the server ask for patience (429) until there was none left?"""
    return isinstance(outcome, AnswerFailed) and isinstance(outcome.last, StatusError) and outcome.last.status == 429


def _guidance(field: str, pattern: str) -> dict[str, Any]:
    """The field of a request that holds an answer to a regular expression.

    structured_outputs and guided_regex are vLLM's, regex SGLang's; response_format, OpenAI's, makes it JSON.
    """
    if field == "structured_outputs":
        return {"structured_outputs": {"regex": pattern}}
    if field != "response_format":
        return {field: pattern}
    answer = {"type": "string", "pattern": f"^({pattern})$"}
    # The root of a schema must be an object there; core/replies takes the text out of it again.
    schema = {"type": "object", "properties": {"answer": answer}, "required": ["answer"], "additionalProperties": False}
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    }


def _read(data: bytes) -> ServerAnswer:
    """What a server answered. Raises ValueError."""
    error = None
    try:
        answer = json.loads(data)
        error = answer.get("error")
        choice = answer["choices"][0]
        finish = choice.get("finish_reason") or ""
        if isinstance(finish, str):  # a server's words for it may be several
            finish = _NO_WORD.sub("_", finish)[:_LONGEST_FINISH]
        text = _text_of(choice)
        if text is None and finish:  # a model that only thought, as Gemini's answer is then
            text = ""
        if isinstance(text, str) and isinstance(finish, str):
            usage = answer.get("usage") or {}
            read = _count(usage, "prompt_tokens")
            written = _count(usage, "completion_tokens")
            return ServerAnswer(text, finish, read, written, _log_probs_of(choice), _mean_log_prob_of(choice))
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        pass
    if error:
        message = error
        if isinstance(error, dict):
            message = error.get("message") or canonical_json(error)
        raise ValueError(f"an error in place of an answer: {message}")
    raise ValueError("an answer that is not JSON, or without choices")


def _text_of(choice: Mapping[str, Any]) -> Any:
    """The text of a choice; None where it has no message. Of content in parts those of text are put together."""
    if "text" in choice:  # of /completions
        return choice["text"]
    message = choice.get("message")
    if message is None:
        return None
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") in _TEXT_PARTS)
    return content


def _log_probs_of(choice: Any) -> dict[str, float] | None:
    """The log-probabilities of tokens that may come first, by token; None where there are none."""
    try:
        given = choice["logprobs"]
        if "content" in given:  # of /chat/completions
            first = given["content"][0]
            listed = [(one["token"], one["logprob"]) for one in (first, *first["top_logprobs"])]
        else:
            listed = given["top_logprobs"][0].items()
        found: dict[str, float] = {}
        for token, log_prob in listed:
            if math.isfinite(log_prob):  # several tokens may read alike, and the likeliest counts
                found[token] = max(float(log_prob), found.get(token, -math.inf))
        return found
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError):  # whatever else a server puts there
        return None


def _mean_log_prob_of(choice: Any) -> float | None:
    """The mean log-probability of the tokens that were written; None where a server does not give it."""
    try:
        given = choice["logprobs"]
        if "content" in given:  # of /chat/completions
            listed = [one["logprob"] for one in given["content"]]
        else:
            listed = [log_prob for log_prob in given["token_logprobs"] if log_prob is not None]
        mean = math.fsum(listed) / len(listed)
        return mean if math.isfinite(mean) else None
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, ZeroDivisionError):
        return None


def _count(usage: Mapping[str, Any], name: str) -> int | None:
    """A count of tokens, None where none is given. Raises ValueError for a number that none can be."""
    count = usage.get(name)
    if type(count) is not int:  # True is 1 to Python
        return None
    if not 0 <= count < MOST_TOKENS:
        raise ValueError(f"{count} tokens")
    return count

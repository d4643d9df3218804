"""HTTP client for servers that answer JSON: many requests at once, one retry policy, answers of bounded size."""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from exabench.core.api_keys import SHORTEST_KEY
from exabench.core.errors import REASON, BadInput, OutsideFailed, plural, printable

LARGEST_ANSWER = 64 << 20
"""Bytes of an answer after decompression; one with more is a failure, before it fills the memory."""
FIRST_PAUSE = 0.5
"""Seconds before a request is tried again; doubled each time."""
LONGEST_PAUSE = 30.0
"""Most seconds between two tries: a server that comes back is noticed within half a minute."""
TRY_AGAIN = (408, 409, 425, 429)
"""Statuses below 500 after which the same request may succeed."""

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True)
class Request(Generic[K]):
    """A body to send; `key` comes back with its outcome, `about` names it in messages ("prompt 'p1'")."""

    key: K
    body: Mapping[str, Any]
    about: str


class StatusError(Exception):
    """An answer other than 200; `code` is what an OpenAI-compatible server calls its error."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.code = ""
        text = body[:2000].decode("utf-8", "replace")
        with suppress(ValueError, RecursionError, AttributeError, KeyError, TypeError):
            answer = json.loads(body)
            error = answer.get("error", answer)  # vLLM puts the fields of an error at the top
            if isinstance(error, str):  # as TGI and TEI
                error = {"message": error}
            self.code = str(error.get("code") or error.get("type"))  # some servers say it in the one, some in the other
            text = str(error["message"])
        super().__init__(f"{status} {text.strip() or 'no message'}")


class AnswerFailed(OutsideFailed):
    """The server is there, but a request got no answer that can be read, however often it was tried.

    `last` is what went wrong in the end, StatusError for an answer other than 200.
    """

    def __init__(self, message: str, last: Exception) -> None:
        super().__init__(message)
        self.last = last


def is_final(error: StatusError) -> bool:
    """Is it an answer that another try will not change?"""
    return 300 <= error.status < 500 and error.status not in TRY_AGAIN or error.code == "insufficient_quota"


def check_url(option: str, url: str, key_option: str) -> str:
    """The host of a server's address. Raises BadInput, without repeating it, for one that may hold a secret."""
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname or place.username or place.query:
        raise BadInput(
            f"{option} must be http(s)://host[:port]/path, without a key or a query string; set {key_option}"
        )
    return place.hostname


@dataclass(frozen=True)
class RequestLimits:
    """How a server is asked: `concurrency` requests at a time, each given up after `timeout` seconds.

    A request is tried again `retries` times (server errors, lost connections, time-outs, answers that cannot be read),
    each time after a longer pause. 429 is no such failure: all requests wait as long as Retry-After says, or longer
    each time. A request waits for `patience` seconds in total. Raises BadInput for limits that allow no request.
    """

    concurrency: int
    timeout: float
    retries: int
    patience: float

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.timeout <= 0 or self.retries < 0:
            raise BadInput(
                "concurrency must be at least 1, timeout above 0 and retries at least 0, "
                f"not {self.concurrency}, {self.timeout} and {self.retries}"
            )


class Client:
    """A server that JSON is posted to.

    Redirects are answers like others: what is sent, and the `key`, go nowhere else. A proxy is used where the
    environment names one. The key is sent as a bearer, or as `headers` say it. `final` tells the refusals that are not
    tried again.
    """

    def __init__(
        self,
        server: str,
        path: str,
        key: str,
        limits: RequestLimits,
        *,
        headers: Mapping[str, str] | None = None,
        final: Callable[[StatusError], bool] = is_final,
    ) -> None:
        self._server = server
        self._url = server.rstrip("/") + path
        self._key = key
        self._limits = limits
        self._headers = headers
        if headers is None and key:
            self._headers = {"authorization": f"Bearer {key}"}
        self._final = final
        self._quiet_until = 0.0  # the cool-down that all requests share, on the monotonic clock
        self._closing = False

    def ask(
        self, requests: Iterable[Request[K]], read: Callable[[bytes], T]
    ) -> Generator[tuple[K, T | OutsideFailed | StatusError]]:
        """The outcome of each request as it comes: what `read` makes of the answer, or what went wrong.

        `read` raises ValueError for an answer that is worth another try. StatusError is an answer that another try
        will not change, OutsideFailed the end of all tries; AnswerFailed, a kind of it, may be this request's fault.
        Requests are read only as fast as they are sent.
        """
        source = iter(requests)
        outcomes = SimpleQueue[tuple[K, T | OutsideFailed | StatusError]]()
        tasks = set()
        in_flight = 0

        async def bring_outcome(request: Request[K], body: bytes) -> None:
            outcomes.put((request.key, await self._outcome(request.about, body, read)))

        def send(batch: list[tuple[Request[K], bytes]]) -> None:
            for request, body in batch:
                task = asyncio.ensure_future(bring_outcome(request, body))
                tasks.add(task)  # the loop alone would not keep it from the garbage collector
                task.add_done_callback(tasks.discard)

        with self._connect() as loop:
            while True:
                batch = []
                while not self._closing and in_flight < self._limits.concurrency:
                    request = next(source, None)
                    if request is None:
                        break
                    batch.append((request, json.dumps(request.body).encode()))
                    in_flight += 1
                if batch:  # all in one call: waking the loop costs as much as a request
                    loop.call_soon_threadsafe(send, batch)
                if not in_flight:
                    return
                came = [outcomes.get()]
                while not outcomes.empty():
                    came.append(outcomes.get())
                in_flight -= len(came)
                yield from came

    def stop(self) -> None:
        """Send and retry nothing more; what is in flight still comes."""
        self._closing = True

    def describe(self, error: BaseException) -> str:
        """An error in one printable line, without the key."""
        if isinstance(error, TimeoutError):
            return f"no answer within {self._limits.timeout:g} s"
        text = str(error)
        if not isinstance(error, StatusError | ValueError):  # those two are worded here and where answers are read
            text = f"{type(error).__name__}: {error}"
        text = self._without_key(text.encode(errors="replace")).decode()
        return printable(" ".join(text.split()), REASON)

    async def _outcome(self, about: str, body: bytes, read: Callable[[bytes], T]) -> T | OutsideFailed | StatusError:
        failures = refusals = 0
        waited = 0.0
        while True:
            started = time.monotonic()
            while (left := self._quiet_until - time.monotonic()) > 0:
                await asyncio.sleep(left)
            waited += time.monotonic() - started

            if self._closing:
                return OutsideFailed(f"{self._server} was abandoned before it answered {about}")
            asked_pause = None
            slowed = False
            is_there = True
            try:
                async with asyncio.timeout(self._limits.timeout):
                    return read(await self._post(body))
            except StatusError as error:
                if self._final(error):
                    return error
                last: Exception = error
                asked_pause = _retry_after(error.headers)
                slowed = error.status == 429
            except (ValueError, TimeoutError) as error:  # an answer of another shape, or none in time
                last = error
            except Exception as error:  # the connection
                last = error
                is_there = False

            # Too many requests are no failure of this one: they are counted apart, and waited for more patiently.
            if slowed:
                refusals += 1
                doublings = refusals - 1
            else:
                failures += 1
                doublings = failures - 1
            tries = failures + refusals
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(doublings, 10))  # 2 ** 1024 would be no float
            pause *= random.uniform(0.75, 1.25)  # requests that failed together are not sent again together
            if asked_pause is not None:
                pause = max(asked_pause, 0.1 * tries)  # a server that says 0 for ever is asked ever more slowly
            if self._closing or failures > self._limits.retries or waited + pause > self._limits.patience:
                times = plural(tries, "try", "tries")
                shown = self.describe(last)
                message = f"{self._server} gave no answer to {about} after {times} (last: {shown}); is it running?"
                if is_there:
                    return AnswerFailed(message, last)
                return OutsideFailed(message)

            # A server that asks for a pause means all requests; any other failure delays this one alone.
            if asked_pause is not None or slowed:
                self._quiet_until = max(self._quiet_until, time.monotonic() + pause)
            else:
                waited += pause
                await asyncio.sleep(pause)

    async def _post(self, body: bytes) -> bytes:
        """The body of an answer.

        Raises StatusError, ValueError for a body that is too large or did not come whole, and ClientError or OSError
        where no connection is made.
        """
        try:
            return await self._receive(body)
        except aiohttp.ClientConnectorError:
            raise
        except aiohttp.ClientError as error:  # its text may hold the address
            raise ValueError(f"a connection that broke before the answer was whole ({type(error).__name__})") from error

    async def _receive(self, body: bytes) -> bytes:
        async with self._session.post(self._url, data=body, allow_redirects=False) as answer:
            received = bytearray()
            async for piece in answer.content.iter_any():
                received += piece
                if len(received) > LARGEST_ANSWER:
                    raise ValueError(f"an answer of more than {LARGEST_ANSWER:,} bytes")
            data = bytes(received)
            if answer.headers.get("content-encoding", "identity") != "identity":
                unpacking = zlib.decompressobj(wbits=47)  # gzip or deflate: either of the two headers
                try:
                    data = unpacking.decompress(data, LARGEST_ANSWER)
                except zlib.error as error:
                    raise ValueError(f"an answer that cannot be unpacked ({error})") from error
                if not unpacking.eof:
                    raise ValueError(f"an answer of more than {LARGEST_ANSWER:,} bytes, or one that was cut off")
            data = self._without_key(data)  # a server may repeat it, and answers are kept and published
            if answer.status != 200:
                raise StatusError(answer.status, answer.headers, data)
            return data

    def _without_key(self, data: bytes) -> bytes:
        if len(self._key) < SHORTEST_KEY:
            return data
        return data.replace(self._key.encode(), b"***")

    @contextmanager
    def _connect(self) -> Iterator[asyncio.AbstractEventLoop]:
        """An event loop in a thread next to this one, so that requests continue while answers are dealt with."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="http", daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), loop).result()
        try:
            yield loop
        finally:
            asyncio.run_coroutine_threadsafe(self._close(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)  # a daemon: a loop that hangs does not keep the process
            loop.close()

    async def _open(self) -> None:
        headers = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": "exabench"}
        headers.update(self._headers or {})
        place = urlsplit(self._url)
        # Looked up once: aiohttp's own trust_env reads the environment and ~/.netrc again for every request.
        proxy = None
        if not proxy_bypass(place.hostname or ""):
            proxy = getproxies().get(place.scheme)
        self._session = aiohttp.ClientSession(
            headers=headers,
            proxy=proxy,
            auto_decompress=False,  # aiohttp would unpack a small answer into all of the memory
            connector=aiohttp.TCPConnector(limit=0),  # `concurrency` is the limit
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # `timeout` is the limit
        )

    async def _close(self) -> None:
        """Cancel what is in flight, and let go of the connections."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that the server asks for, given as a number or a date."""
    text = headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None

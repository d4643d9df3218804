"""How long to go on asking a server: retries with breaks, a cool-down that all requests share, and an end."""

from __future__ import annotations

import asyncio
import email.utils
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from exabench.errors import BadInput, OutsideFailed, printable
from exabench.nouns import Reply
from exabench.teachers._chat import first_line
from exabench.teachers._http import Status

LONGEST_BREAK = 30.0
_PROMPT_IS_BAD = (400, 413, 422)
_AGAIN = (408, 409)


class BadPrompt(Exception):
    """The server takes other prompts but not this one: too long for its model, or against its rules."""

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(id, reason)
        self.id, self.reason = id, reason


class Line:
    """The line to one server: what requests share. `closed`: nothing is tried again."""

    def __init__(self, server: str, key: str, timeout: float, retries: int, patience: float) -> None:
        self._server, self._key = server, key
        self._timeout, self._retries, self._patience = timeout, retries, patience
        self._quiet_until = 0.0
        self.closed = False

    async def answered(self, id: str, request: Callable[[], Awaitable[Reply]]) -> Reply:
        """The reply to `request`, which is made anew for each try.

        Raises BadPrompt, BadInput for what asking again will not change, OutsideFailed for the rest.
        """
        failures, refusals, waited = 0, 0, 0.0
        while True:
            waited += await self._cooled_down()
            if self.closed:
                raise OutsideFailed(f"{self._server} was given up before it answered prompt {printable(id)!r}")
            try:
                async with asyncio.timeout(self._timeout):
                    return await request()
            except Status as error:
                self._for_good(id, error)
                last, asked_for, slowed = self._told(error), _retry_after(error), error.status == 429
            except Exception as error:  # connection, time-out, an answer of another shape
                last, asked_for, slowed = self._told(error), None, False
            refusals, failures = refusals + slowed, failures + (not slowed)
            pause = _break(refusals if slowed else failures)
            if asked_for is not None:
                pause = max(asked_for, 0.1 * refusals)  # a server that says 0 for ever is asked ever more slowly
            if self.closed or failures > self._retries or waited + pause > self._patience:
                raise OutsideFailed(self._gave_up(id, failures, refusals, last))
            if asked_for is not None or slowed:
                self._quiet_until = max(self._quiet_until, time.monotonic() + pause)
            else:
                waited += pause
                await asyncio.sleep(pause)

    async def _cooled_down(self) -> float:
        """Waits while the server wants quiet; the seconds that took."""
        started = time.monotonic()
        while (left := self._quiet_until - time.monotonic()) > 0:
            await asyncio.sleep(left)
        return time.monotonic() - started

    def _for_good(self, id: str, error: Status) -> None:
        """Raises for an answer that will not change however often one asks."""
        status, said = error.status, self._told(error)
        if status in _PROMPT_IS_BAD:
            raise BadPrompt(id, f"{self._server} said {said}") from None
        if error.code == "insufficient_quota":
            raise OutsideFailed(f"{self._server} has no quota left for this key: {said}") from None
        if 300 <= status < 500 and status != 429 and status not in _AGAIN:
            raise BadInput(f"{self._server} refuses: {said}; check base_url, model and key") from None

    def _gave_up(self, id: str, failures: int, refusals: int, last: str) -> str:
        tries = f"{failures} failures and {refusals} times 429" if refusals else f"{failures} failures"
        return f"{self._server} gives no answer to prompt {printable(id)!r} after {tries} (last: {last}); is it up?"

    def _told(self, error: BaseException) -> str:
        """An error in one line, and never the key."""
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if isinstance(error, Status):
            said = str(error).replace(self._key, "***") if len(self._key) > 7 else str(error)
            return printable(said, 200)
        return first_line(error, secret=self._key if len(self._key) > 7 else "")


def _break(times: int) -> float:
    """Seconds to wait after so many failures: about 0.5, 1, 2, 4 ..., not all at the same moment."""
    return min(LONGEST_BREAK, 0.5 * 2 ** min(times - 1, 10)) * random.uniform(0.75, 1.25)


def _retry_after(error: Status) -> float | None:
    """The seconds that the server asks for, given as a number or a date."""
    said = error.headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


@contextmanager
def background_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs beside this thread, so that requests go on while replies are dealt with."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="teacher", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_cancelled(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _cancelled() -> None:
    """Cancels every other task of the loop and waits for their ends."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""POST to one server by aiohttp: connections that are kept open, and answers that say what was wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp


class Answer(NamedTuple):
    """Status, headers (names in any case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Status(Exception):
    """An answer other than 200; `code` is what an OpenAI-compatible server calls its error."""

    def __init__(self, answer: Answer) -> None:
        self.status, self.headers, self.code = answer.status, answer.headers, ""
        said = answer.body[:2000].decode("utf-8", "replace")
        with suppress(ValueError, RecursionError, AttributeError, KeyError, TypeError):
            error = json.loads(answer.body)["error"]
            self.code, said = str(error.get("code")), str(error["message"])
        super().__init__(f"{answer.status} {said.strip() or 'without a word'}")


class Server:
    """Connections to the server of a URL, by way of a proxy where the environment names one.

    `headers` go with every request. Redirects are answers like others: what is asked, and the key, go nowhere else.
    Made and used on one event loop.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url, place = url.rstrip("/"), urlsplit(url)
        # Looked up once: aiohttp's own trust_env reads the environment and ~/.netrc again for every request.
        self._proxy = None if proxy_bypass(place.hostname or "") else getproxies().get(place.scheme)
        self._session = aiohttp.ClientSession(
            headers={"content-type": "application/json", **headers},
            connector=aiohttp.TCPConnector(limit=0),  # how many requests there are at a time is the teacher's business
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def post(self, path: str, body: bytes) -> Answer:
        """The answer to a request. Raises aiohttp's ClientError, OSError."""
        async with self._session.post(self._url + path, data=body, allow_redirects=False, proxy=self._proxy) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def close(self) -> None:
        """Let go of the connections."""
        await self._session.close()

"""Keys of servers: which environment variable holds each server's own, and which key a page may send where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from exabench.core.errors import BadInput, printable

KEY_ENV = "EXABENCH_KEY_ENV"
"""The environment variable with the names, between commas, of the key variables that the user allows (--key-env)."""

NOT_SECRET = "EXABENCH_NOT_SECRET"
"""The environment variable with the beginnings, between commas, of texts that only look like keys (--not-secret)."""

SHORTEST_KEY = 8
"""Characters of a key that is a secret: the letters of a shorter one, as of "none", may be part of any word."""

_OWN_KEYS = {
    "api.openai.com": "OPENAI_API_KEY",
    "api.anthropic.com": "ANTHROPIC_API_KEY",
    "api.cohere.com": "CO_API_KEY",
    "api.deepseek.com": "DEEPSEEK_API_KEY",
    "api.groq.com": "GROQ_API_KEY",
    "api.jina.ai": "JINA_API_KEY",
    "api.mistral.ai": "MISTRAL_API_KEY",
    "api.mixedbread.com": "MXBAI_API_KEY",
    "api.pinecone.io": "PINECONE_API_KEY",
    "api.together.xyz": "TOGETHER_API_KEY",
    "api.voyageai.com": "VOYAGE_API_KEY",
    "dashscope.aliyuncs.com": "DASHSCOPE_API_KEY",
    "generativelanguage.googleapis.com": "GEMINI_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
}
"""The variable that each server's own documentation keeps its key in."""


def own_key(host: str) -> str:
    """The environment variable of a known server's key, "" of any other server."""
    return _OWN_KEYS.get(host, "")


def check_keys(page: object, file: str | Path, server: str = "") -> None:
    """Refuse what was read from a file where it would send a key that is not the server's own.

    A page that one was given is data: it must not be able to send a token of the Hub or of a cloud anywhere. `server`
    is the address that tables without one are about. Raises BadInput for a key that the user did not allow by name.
    """
    if isinstance(page, list | tuple):
        page = dict(enumerate(page))
    if not isinstance(page, Mapping):
        return
    server = str(page.get("base_url") or page.get("endpoint") or server)
    name = page.get("api_key_env")
    if name:
        host = urlsplit(server).hostname or "api.openai.com"
        allowed = os.environ.get(KEY_ENV, "").split(",")
        if name not in (own_key(host), *filter(None, allowed)):
            raise BadInput(
                f"would send the key {printable(str(name))} to {printable(host)}, which it does not belong to; if "
                f"you trust this file, allow it on the command line: --key-env {printable(str(name))}",
                file=file,
            )
    for value in page.values():
        check_keys(value, file, server)

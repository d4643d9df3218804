"""Secrets in files that are about to be published: the values of this machine's keys, and the forms of known keys."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from exabench.core.api_keys import NOT_SECRET, SHORTEST_KEY
from exabench.core.errors import BadInput, printable
from exabench.core.unpacking import BROKEN, TooLarge, packing_of, unpack

_NAMES = ("_KEY", "_PASSWORD", "_SECRET", "_TOKEN")  # how the names of variables with secrets end
_SHOWN = 8  # characters of a key that a message shows: its maker's mark and a few more
_PIECE = 1 << 24  # bytes that are searched together
_LONGEST = 1 << 12  # bytes of a key, at most: pieces overlap by so many
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class _Secret:
    """What is looked for: how all of its kind begin, how they go on (for RE2), and their whole form.

    `is_own`: it is the value of a key of this machine, of which a message shows nothing.
    """

    what: str
    start: bytes
    more: str
    form: re.Pattern[bytes]
    is_own: bool = False


def _known(what: str, start: str, rest: str) -> _Secret:
    # Words of a text are mostly shorter than this: "sk-" stands in "risk-averse".
    more = "[A-Z ]" if start.startswith("-") else "[A-Za-z0-9_-]{12}"
    form = re.compile(rf"(?<![A-Za-z0-9]){start}{rest}".encode())
    return _Secret(f"looks like {what}", start.encode(), more, form)


# What stands between a private key and its first line (RFC 1421): headers, and line ends, which JSON escapes.
_BEFORE_KEY = r"(?:\s|\\[nr]|[A-Za-z-]{1,20}: [^\n\\]{1,100}){1,16}"

# The prefixes and lengths that the makers of these keys document. Texts about private keys quote their first line: a
# key must follow it, and the shortest have 64 characters.
_FORMS = (
    _known("a token of the Hugging Face Hub", "hf_", "[A-Za-z0-9]{30,}"),
    _known("a token of the Hugging Face Hub", "api_org_", "[A-Za-z0-9]{30,}"),
    _known("a key of OpenAI, Anthropic or another API", "sk-", r"(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{32,}"),
    _known("a key of Groq", "gsk_", "[A-Za-z0-9]{40,}"),
    _known("a key of Google", "AIza", "[A-Za-z0-9_-]{35}"),
    _known("a key of Amazon Web Services", "AKIA", "[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _known("a key of Amazon Web Services", "ASIA", "[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _known("a token of GitHub", "ghp_", "[A-Za-z0-9]{36}"),
    _known("a token of GitHub", "gho_", "[A-Za-z0-9]{36}"),
    _known("a token of GitHub", "ghs_", "[A-Za-z0-9]{36}"),
    _known("a token of GitHub", "github_pat_", "[A-Za-z0-9_]{60,}"),
    _known("a token of GitLab", "glpat-", "[A-Za-z0-9_-]{20,}"),
    _known("a token of Slack", "xoxb-", "[A-Za-z0-9-]{20,}"),
    _known("a token of Slack", "xoxp-", "[A-Za-z0-9-]{20,}"),
    _known("a token of PyPI", "pypi-", "AgE[A-Za-z0-9_-]{50,}"),
    _known("a private key", "-----BEGIN ", "[A-Z ]{0,20}PRIVATE KEY-----" + _BEFORE_KEY + "[A-Za-z0-9+/]{40}"),
)


def check_secrets(files: Mapping[str, Path | bytes]) -> None:
    """Refuse to publish files, by the names that they will have, where one holds a secret.

    Every byte is read: packed files are unpacked, and the texts of Parquet files are read cell by cell. A secret is the
    value of an environment variable that is named as a key, the token of the Hub, or a text of a known key's form.
    Raises BadInput with the file and the place of the first.
    """
    sought = [*_values(), *_FORMS]
    allowed = []
    for beginning in os.environ.get(NOT_SECRET, "").split(","):
        if len(beginning) >= _SHOWN:  # a shorter one would allow every key of a maker
            allowed.append(beginning.encode(errors="surrogateescape"))
    for name, content in files.items():
        for place, secret, found in _secrets(name, content, sought):
            if found.startswith(tuple(allowed)):
                continue
            if secret.is_own:
                raise BadInput(f"{place} {secret.what}; remove it, then publish", file=name)
            beginning = printable(found[:_SHOWN].decode())  # forms are ASCII
            raise BadInput(
                f"{place} {secret.what} ({beginning}...); remove it, then publish; or publish it as it is with "
                f"--not-secret={beginning}",
                file=name,
            )


def _values() -> Iterator[_Secret]:
    """The values of this machine's own secrets."""
    from huggingface_hub import get_token

    named = {"the token of the Hub": get_token() or ""}
    for name, value in os.environ.items():
        if name.upper().endswith(_NAMES):
            named[f"the value of {name}"] = value
    for what, value in named.items():
        value = value.strip()
        if len(value) >= SHORTEST_KEY:
            text = value.encode(errors="surrogateescape")
            yield _Secret(f"holds {what}", text, "", re.compile(re.escape(text)), is_own=True)


def _secrets(name: str, content: Path | bytes, sought: list[_Secret]) -> Iterator[tuple[str, _Secret, bytes]]:
    """Where in a file secrets are, which, and their bytes."""
    try:
        if isinstance(content, bytes):
            yield from _in_stream(io.BytesIO(content), len(content), sought)
            return
        with content.open("rb") as file:
            yield from _in_stream(file, content.stat().st_size, sought)
    except TooLarge as error:
        raise BadInput(f"{error}, so it cannot be searched for secrets", file=name) from error


def _in_stream(stream: IO[bytes], size: int, sought: list[_Secret]) -> Iterator[tuple[str, _Secret, bytes]]:
    start = stream.read(16)
    stream.seek(0)
    if start.startswith(_PARQUET):
        yield from _in_parquet(stream, sought)
        stream.seek(0)  # its footer has texts, too
    elif packing_of(start):
        with contextlib.suppress(*BROKEN):  # an archive of several files is no packed file
            yield from _in_bytes(unpack(stream, size, float("inf")), sought)
        stream.seek(0)
    yield from _in_bytes(stream, sought)


def _in_bytes(stream: IO[bytes], sought: list[_Secret]) -> Iterator[tuple[str, _Secret, bytes]]:
    import pyarrow as pa

    before = b""
    lines = 1
    while piece := stream.read(_PIECE):
        data = before + piece
        if _may_match(pa.array([data], pa.large_binary()), sought)[0].as_py():
            for secret in sought:
                for position, found in _matches(data, secret):
                    line = lines + data.count(b"\n", 0, position)
                    yield f"line {line}", secret, found
        before = data[-_LONGEST:]
        lines += data.count(b"\n", 0, len(data) - len(before))


def _may_match(texts: Any, sought: list[_Secret]) -> Any:
    """For each text of an array whether one of the beginnings is in it: one pass of RE2, fast, for all of them."""
    import pyarrow.compute as pc

    beginnings = []
    for secret in sought:
        start = "".join(f"\\x{byte:02x}" for byte in secret.start)
        beginnings.append(start + secret.more)
    return pc.match_substring_regex(texts, "|".join(beginnings))


def _matches(data: bytes, secret: _Secret) -> Iterator[tuple[int, bytes]]:
    """Where in `data` such secrets begin, and their bytes."""
    position = data.find(secret.start)
    while position >= 0:
        found = secret.form.match(data, position)
        if found:
            yield position, found[0]
        position = data.find(secret.start, position + 1)


def _in_parquet(stream: IO[bytes], sought: list[_Secret]) -> Iterator[tuple[str, _Secret, bytes]]:
    """Secrets in the texts of a Parquet file, in columns of any depth; one that Arrow cannot read is plain bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
        for number in range(file.num_row_groups):
            group = file.read_row_group(number)
            for name, column in zip(group.column_names, group.itercolumns(), strict=True):
                for chunk in column.chunks:
                    for texts in _texts(chunk):
                        for secret, found in _in_texts(texts, sought):
                            yield f"column {name}", secret, found
    except pa.ArrowException:
        return


def _texts(array: Any) -> Iterator[Any]:
    """The arrays of texts inside an array of any type."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _texts(array.dictionary)
    elif pa.types.is_map(kind):
        yield from _texts(array.keys)
        yield from _texts(array.items)
    elif pa.types.is_struct(kind):
        for field in array.flatten():
            yield from _texts(field)
    elif pa.types.is_nested(kind):
        yield from _texts(array.flatten())
    elif kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        yield array.cast(pa.large_binary())


def _in_texts(texts: Any, sought: list[_Secret]) -> Iterator[tuple[_Secret, bytes]]:
    for text in texts.filter(_may_match(texts, sought)).to_pylist():
        for secret in sought:
            for _, found in _matches(text, secret):
                yield secret, found

"""The error tree: one root, one line each, and the exit code the command line gives.

    ExabenchError          2
    +- BadInput            2   a file, an id, an option or a recipe is wrong
    |  +- UnknownName      2   a name is not on its shelf or in its table
    |  +- PromptsRefused   2   prompts that a teacher does not take, however often it is asked
    +- MissingExtra        2   a part needs a package that is not installed
    +- CannotWrite         2   a full disk, no permission, or somebody else is writing here
    +- CheckFailed         1   a check ran and did not hold
    +- OutsideFailed       3   a service outside this machine failed

Every message says what is wrong, where, and what to do next; `nearest`, `printable` and `plural` help to write it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

QUOTED = 80
"""Characters of a text that a message quotes from a file, a reply or a command line; our own words are not cut."""

REASON = 300
"""Characters of what another program, library or server said of a failure."""

PATH = 4096
"""The longest path that Linux has: where something is wrong is said in full."""

_LONGEST_LINE = 2 * PATH  # of a message, whatever is in it


class ExabenchError(Exception):
    """Root of everything exabench raises on purpose; a caller that catches this one catches all."""

    exit_code = 2
    done: Any = None
    """Results that were ready before it, of a call that makes several."""

    def __str__(self) -> str:
        """The message, safe to print: what a library or a server said may be part of it."""
        return "\n".join(printable(line, _LONGEST_LINE) for line in super().__str__().split("\n"))

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the same line: most errors are built from more than their message."""
        return type(self).__new__, (type(self), *self.args), self.__dict__


class BadInput(ExabenchError):
    """The input is wrong; `file`, `line` and `id` locate it."""

    def __init__(
        self, what: str, *, file: str | Path | None = None, line: int | None = None, id: str | None = None
    ) -> None:
        place = ":".join(printable(str(part), PATH) for part in (file, line) if part is not None)
        if place:
            what = f"{place}: {what}"
        if id is not None:
            what += f" (id {printable(id)!r})"
        super().__init__(what)


class UnknownName(BadInput):
    """A name that nothing answers to; the message lists the nearest, else gives `advice` or lists all choices."""

    def __init__(
        self, kind: str, name: str, choices: Iterable[str], *, file: str | Path | None = None, advice: str = ""
    ) -> None:
        super().__init__(f"unknown {kind} {printable(name)!r}; {nearest(name, choices, advice)}", file=file)


class PromptsRefused(BadInput):
    """Prompts that their teacher does not take (too long, against its rules): `reasons` by prompt id."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        # The first stands for all: hundreds of prompts may be refused for one reason.
        id, reason = next(iter(reasons.items()))
        others = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        super().__init__(f"prompt {printable(id)!r}{others} cannot be sent: {reason}; show fewer passages or words")
        self.reasons = reasons


class MissingExtra(ExabenchError):
    """A part of a shelf needs a package that is not installed; the message holds the pip line."""


class CannotWrite(ExabenchError):
    """The disk is full or read-only, or another process holds the folder."""


class CheckFailed(ExabenchError):
    """A check (verify, board check) ran to its end and found something wrong."""

    exit_code = 1


class OutsideFailed(ExabenchError):
    """A service outside this machine (a Hub, a download) failed or cannot be reached."""

    exit_code = 3


def nearest(name: str, choices: Iterable[str], advice: str = "") -> str:
    """What to say of a `name` that is none of `choices`: the nearest ones, else `advice`, else all of them."""
    known = sorted(choices)
    # In lower case, for a slip of the shift key is no other name.
    by_lower = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(by_lower[one] for one in near)}?"
    return advice or f"choose from: {', '.join(known) or 'none'}"


def printable(text: str, limit: int = QUOTED) -> str:
    """`text` made safe for one line of a terminal: control characters escaped, cut to `limit` characters with "…"."""
    # A file or a server may send the escape codes of a terminal, which would rewrite what is on the screen.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(shown) > limit:
        shown = shown[: limit - 1] + "…"
    return shown


def check_key(name: str, key: str) -> None:
    """Raise BadInput, without repeating it, for a key that no request can carry; `name` says where it was read."""
    if not all("!" <= sign <= "~" for sign in key):
        raise BadInput(
            f"{name} contains a character that no key has (a space, a line end, or not ASCII); copy the key again"
        )


def plural(count: int, one: str, many: str = "") -> str:
    """`count` with its noun, or the phrase around it: "1 file", "2 files", "1 file differs", "2 files differ"."""
    return f"{count} {one if count == 1 else many or one + 's'}"

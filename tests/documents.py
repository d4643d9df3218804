"""README and the pages of docs/ as their readers have them: blocks of code, which run in their order, links, headings.

What follows the language of a block says why it is not run: `hub` talks to the Hub, `gpu` and `key` need one, `data`
needs collections that do not come along, `setup` installs something or takes it from git.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from exabench.cli import main

ROOT = Path(__file__).parents[1]
MARKS = {"hub", "gpu", "key", "data", "setup"}
RUNNABLE = {"python", "bash", "toml"}
OPERATORS = set("();<>|&")


@dataclass(frozen=True)
class Block:
    """A block of code. `section` is the ## heading that it stands under, and `marks` say why it is not run."""

    page: str
    line: int
    section: str
    language: str
    marks: frozenset[str]
    code: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Document:
    """A page. `links` are their targets, `phrases` the code inside its sentences, `anchors` those of its headings."""

    file: Path
    blocks: tuple[Block, ...]
    links: tuple[str, ...]
    phrases: tuple[str, ...]
    anchors: tuple[str, ...]


def documents() -> list[Path]:
    """README, and every page of docs/."""
    pages = (file for file in (ROOT / "docs").rglob("*.md") if "_build" not in file.parts)
    return [ROOT / "README.md", *sorted(pages)]


@cache
def read(file: Path) -> Document:
    """A page, taken apart."""
    blocks = []
    links = []
    phrases = []
    anchors = []
    section = ""
    tokens = MarkdownIt("commonmark").enable("table").parse(file.read_text(encoding="utf-8"))
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type in ("fence", "code_block"):
            blocks.append(_block(file, section, token))
        if token.type == "heading_open" and after is not None:
            anchors.append(_anchor(after))
            if token.tag == "h2":
                section = after.content
        for inner in token.children or ():
            if inner.type == "link_open":
                links.append(str(inner.attrs["href"]))
            if inner.type == "code_inline":
                phrases.append(inner.content)
    return Document(file, tuple(blocks), tuple(links), tuple(phrases), tuple(anchors))


def _block(file: Path, section: str, token: Token) -> Block:
    language, *marks = token.info.split() or [""]
    line = token.map[0] + 1 if token.map else 0
    return Block(str(file.relative_to(ROOT)), line, section, language, frozenset(marks), token.content)


def _anchor(heading: Token) -> str:
    """The anchor that code hosts and the site give a heading."""
    text = "".join(inner.content for inner in heading.children or () if inner.type in ("text", "code_inline"))
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def commands(code: str) -> Iterator[str]:
    """The commands of a block of bash, one by one: lines that a backslash joins are one."""
    for line in code.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def words(command: str) -> list[str]:
    """The words of a command as a shell reads them, with operators as words, and without a comment."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    found = []
    for word in lexer:
        if word.startswith("#"):
            break
        found.append(word)
    return found


def write_toml(block: Block, folder: Path) -> None:
    """The file that the first line of a block of TOML names."""
    name = block.code.split("\n")[0].removeprefix("# ").strip()
    assert re.fullmatch(r"[\w./-]+\.toml", name), f"{block.place}: the first line names no file"
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.code, encoding="utf-8")


def run(blocks: Iterable[Block], folder: Path) -> None:
    """Run the blocks that have no mark, in their order, in `folder`, as one session of Python and one of a shell."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        if block.marks:
            continue
        if block.language == "toml":
            write_toml(block, folder)
        elif block.language == "python":
            exec(compile("\n" * block.line + block.code, block.page, "exec"), names)
        elif block.language == "bash":
            for command in commands(block.code):
                _run_command(command, folder, block.place)


def _run_command(command: str, folder: Path, place: str) -> None:
    name, *arguments = words(command)
    if (
        name == "exabench"
        and not re.search(r"[$`*]", command)
        and not any(set(word) <= OPERATORS for word in arguments)
    ):
        # In this process: a new one takes seconds to load what it needs.
        assert main(arguments) == 0, f"{place}: {command}"
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    asked = ["bash", "-euo", "pipefail", "-c", command]
    ended = subprocess.run(asked, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert ended.returncode == 0, f"{place}: {command}\n{ended.stdout}\n{ended.stderr}"

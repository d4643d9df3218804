"""The pages of docs/ are true: their blocks run, their links lead somewhere, what they name is there."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from pathlib import Path

import click
import pytest
from documents import MARKS, ROOT, RUNNABLE, Document, commands, documents, read, run, words
from hub_double import HubDouble
from toys import contents

import exabench
from exabench.cli import exabench as command_line, main

FILES_OF_THE_ROOT = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
"""What pages of docs/ may link outside docs/: the site makes pages of these."""


def test_every_block_of_code_says_what_it_is() -> None:
    for file in documents():
        for block in read(file).blocks:
            is_directive = re.fullmatch(r"\{[\w-]+\}", block.language)
            if not is_directive:
                assert block.language in {*RUNNABLE, "text", "json", "bibtex", "yaml"}, block.place
                assert block.marks <= MARKS, block.place


@pytest.mark.parametrize("file", documents()[1:], ids=lambda file: str(file.relative_to(ROOT / "docs")))
def test_every_block_of_a_page_runs_in_an_empty_folder_without_a_network(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.chdir(tmp_path)
    run(read(file).blocks, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["datasets.md", "submit.md", "training.md"])
def test_blocks_marked_hub_run_with_a_hub(page: str, dataset_hub: HubDouble, tmp_path: Path) -> None:
    blocks = read(ROOT / "docs" / page).blocks
    # Somebody's board, without a submission, is on the Hub, and its clone lies here.
    assert main(["bench", "candidates", "mini", "--depth", "5", "--board", "their-board"]) == 0
    dataset_hub.commit("their-group/board", contents(tmp_path / "their-board"))
    run(blocks, tmp_path)
    with_hub = [replace(block, marks=frozenset()) for block in blocks if block.marks == {"hub"}]
    assert with_hub
    run(sorted(with_hub, key=lambda block: block.language), tmp_path)  # Python loads what bash publishes


def no_network(host: str, *_: object, **__: object) -> None:
    raise OSError(f"{host}: a block that needs the network is marked hub")


def test_every_link_leads_to_a_page_and_to_a_heading_of_it() -> None:
    for file in [*documents(), *(ROOT / name for name in sorted(FILES_OF_THE_ROOT))]:
        if not file.is_file():
            continue
        for link in read(file).links:
            if re.match(r"[a-z]+:", link):
                assert link.startswith("https://"), f"{file.name}: {link}"
                continue
            path, _, anchor = link.partition("#")
            target = (file.parent / path).resolve() if path else file
            assert target.exists(), f"{file.name}: {link}"
            if target.suffix == ".md" and anchor:
                assert anchor in read(target).anchors, f"{file.name}: {link}"
            if file.is_relative_to(ROOT / "docs") and not target.is_relative_to(ROOT / "docs"):
                assert str(target.relative_to(ROOT)) in FILES_OF_THE_ROOT, f"{file.name}: {link} is no page of the site"


def test_headings_of_a_page_have_an_anchor_each() -> None:
    for file in documents():
        anchors = read(file).anchors
        assert len(anchors) == len(set(anchors)), f"{file.name}: {sorted(anchors)}"


def lines_of(document: Document) -> list[str]:
    """Every command that a page shows: in blocks, whatever their marks, and inside sentences."""
    found = [phrase.replace("\n", " ") for phrase in document.phrases]
    for block in document.blocks:
        if block.language in ("bash", "text"):
            found += commands(block.code)
    return [line for line in found if line.startswith("exabench ") or " exabench " in line]


def unknown_options(line: str) -> list[str]:
    """The options in a command line that its command of exabench does not have; and a word that is no command."""
    try:
        typed = words(line[line.index("exabench ") :])[1:]
    except ValueError:  # a lone quote: a sentence of a block of text
        return []
    command: click.Command = command_line
    context = click.Context(command, info_name="exabench", resilient_parsing=True)
    while isinstance(command, click.Group) and typed and re.fullmatch(r"[a-z][a-z-]*", typed[0]):
        inner = command.get_command(context, typed[0])
        if inner is None:
            return [typed[0]]
        command = inner
        typed.pop(0)
    known = {"--help"}
    for option in command.params:
        known.update(option.opts, option.secondary_opts)
    ended = False
    unknown = []
    for word in typed:
        ended = ended or set(word) <= set("|;&")  # what follows is another program's
        name = word.split("=")[0]
        if not ended and re.fullmatch(r"--[a-z][a-z-]*", name) and name not in known:
            unknown.append(name)
    return unknown


def test_every_command_and_option_that_a_page_shows_is_there() -> None:
    assert unknown_options("exabench bench score run.trec --metrics nDCG") == ["--metrics"]
    assert unknown_options("exabench bench scores run.trec") == ["scores"]
    for file in documents():
        for line in lines_of(read(file)):
            assert unknown_options(line) == [], f"{file.name}: {line}"


def test_every_public_name_is_in_the_python_reference() -> None:
    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: exabench\.(\w+)$", page, re.MULTILINE))
    public = {
        name for name in dir(exabench) if getattr(getattr(exabench, name), "__module__", "").startswith("exabench.")
    }
    assert len(public) > 30 and listed == public

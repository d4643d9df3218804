"""Errors say what is wrong and where, in one line, and carry the exit code of the command line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from exabench.core import errors
from exabench.core.errors import BadInput, ExabenchError, UnknownName, plural, printable

CODES = {"CheckFailed": 1, "OutsideFailed": 3}  # 2 for all others, as the tree of errors.py says
LONG = Path("/" + "/".join(["a-folder-with-a-name"] * 20)) / "file.toml"


def test_every_error_has_the_exit_code_of_the_tree():
    found = {name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)}
    assert found.keys() >= CODES.keys() and len(found) == 8
    for name, cls in found.items():
        assert issubclass(cls, ExabenchError) and cls.exit_code == CODES.get(name, 2)
        assert name in errors.__doc__


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, "is wrong"),
        ({"file": "a.trec", "line": 7}, "a.trec:7: is wrong"),
        ({"file": "a.trec", "line": 7, "id": "d1"}, "a.trec:7: is wrong (id 'd1')"),
        ({"file": "a\x1b\nb"}, r"a\x1b\nb: is wrong"),
        ({"id": "d\x1b[31m\n"}, r"is wrong (id 'd\\x1b[31m\\n')"),
        ({"file": LONG, "line": 3}, f"{LONG}:3: is wrong"),
    ],
)
def test_bad_input_names_file_line_and_id_and_a_long_path_in_full(where, text):
    assert str(BadInput("is wrong", **where)) == text


@pytest.mark.parametrize(
    ("name", "choices", "hint"),
    [
        ("scifcat", ["scifact", "mini"], "did you mean scifact?"),
        ("zzz", ["b", "a"], "choose from: a, b"),
        ("zzz", [], "choose from: none"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_ones_or_all(name, choices, hint):
    assert str(UnknownName("task", name, choices)) == f"unknown task {name!r}; {hint}"


def test_printable_text_holds_no_control_character_and_is_cut():
    shown = printable("a\x1b]0;x\x07\u202e\n" + "b" * 500)
    assert shown.isprintable() and len(shown) == 120 and shown.endswith("...")
    assert printable("plain é 日") == "plain é 日"


def test_one_thing_and_many_things_are_said_as_people_say_them():
    assert (plural(1, "result"), plural(0, "result")) == ("1 result", "0 results")
    assert plural(2, "query", "queries") == "2 queries"
    assert plural(1, "file differs", "files differ") == "1 file differs"

"""Errors say what is wrong and where, in one line, and carry the exit code of the command line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from exabench.core import errors
from exabench.core.errors import BadInput, ExabenchError, UnknownName, plural, printable

CODES = {
    "ExabenchError": 2,
    "BadInput": 2,
    "UnknownName": 2,
    "MissingExtra": 2,
    "PromptsRefused": 2,
    "CannotWrite": 2,
    "CheckFailed": 1,
    "OutsideFailed": 3,
}


def test_every_error_has_the_exit_code_of_the_tree():
    found = {name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)}
    assert {name: cls.exit_code for name, cls in found.items()} == CODES
    assert all(issubclass(cls, ExabenchError) for cls in found.values())


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, "is wrong"),
        ({"file": "a.trec"}, "a.trec: is wrong"),
        ({"file": "a.trec", "line": 7}, "a.trec:7: is wrong"),
        ({"file": "a.trec", "line": 7, "id": "d1"}, "a.trec:7: is wrong (id 'd1')"),
        ({"id": "d\x1b[31m\n"}, r"is wrong (id 'd\\x1b[31m\\n')"),
        ({"file": "a\nb"}, r"a\nb: is wrong"),
    ],
)
def test_bad_input_names_file_line_and_id(where, text):
    assert str(BadInput("is wrong", **where)) == text


def test_an_unknown_name_is_answered_with_the_nearest_ones():
    assert str(UnknownName("task", "scifcat", ["scifact", "mini"])) == "unknown task 'scifcat'; did you mean scifact?"


def test_a_name_near_to_nothing_is_answered_with_all_choices():
    assert str(UnknownName("task", "zzz", ["b", "a"])) == "unknown task 'zzz'; choose from: a, b"
    assert str(UnknownName("task", "zzz", [])).endswith("choose from: none")


def test_a_long_path_is_said_in_full():
    path = Path("/" + "/".join(["a-folder-with-a-name"] * 20)) / "file.toml"
    assert str(BadInput("is wrong", file=path, line=3)) == f"{path}:3: is wrong"


def test_printable_text_holds_no_control_character_and_is_cut():
    shown = printable("a\x1b]0;x\x07\u202e\n" + "b" * 500)
    assert shown.isprintable()
    assert len(shown) == 120
    assert shown.endswith("...")
    assert printable("plain é 日") == "plain é 日"


def test_one_thing_and_many_things_are_said_as_people_say_them():
    assert plural(1, "result") == "1 result"
    assert plural(0, "result") == "0 results"
    assert plural(2, "query", "queries") == "2 queries"
    assert plural(1, "file differs", "files differ") == "1 file differs"

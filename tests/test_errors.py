"""Errors say what is wrong and where, in one line, and carry the exit code of the command line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from exabench.cli import main
from exabench.core import errors
from exabench.core.errors import QUOTED, BadInput, ExabenchError, UnknownName, plural, printable

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
    assert shown.isprintable() and len(shown) == QUOTED and shown.endswith("…")
    assert printable("plain é 日") == "plain é 日"


def test_one_thing_and_many_things_are_said_as_people_say_them():
    assert (plural(1, "result"), plural(0, "result")) == ("1 result", "0 results")
    assert plural(2, "query", "queries") == "2 queries"
    assert plural(1, "file differs", "files differ") == "1 file differs"


MANY = "x" * 3000
SCORE = "bench score given --task mini"
LONG_FILES = {
    "the id of a run": (SCORE, f"q{MANY} Q0 d{MANY} 1 1 t\nq{MANY} Q0 d{MANY} 2 0.5 t\n", "appears twice"),
    "the score of a run": (SCORE, f"q{MANY} Q0 d{MANY} 1 {MANY} t\n", "not a finite number in single precision"),
    "the rank of a run": (SCORE, f"q{MANY}\td{MANY}\t1.{MANY}\n", "three columns are query, document and rank"),
    "a line of a run": (SCORE, f"{MANY}\n", "where a run has six"),
    "a value of JSON": (SCORE, f'{{"q{MANY}": {{"d{MANY}": "{MANY}"}}}}', "is not a number but str"),
    "a key of JSON": (SCORE, f'{{"{MANY}": {{}}, "{MANY}": {{}}}}', "appears twice; keep one"),
    "a line of JSON": (SCORE, f'{{"{MANY}": "{MANY}"}}\n', "is expected"),
    "the id of qrels": ("bench score run --qrels given", f"q{MANY} 0 d{MANY} 1\nq{MANY} 0 d{MANY} 2\n", "keep one"),
    "a grade": ("bench score run --qrels given", f"q{MANY} 0 d{MANY} {MANY}\n", "of at most nine digits"),
    "a value of TOML": (
        "bench submit given.toml --board board",
        f'name = "{MANY}"\n',
        "no other character at either end",
    ),
    "a key of TOML": ("bench submit given.toml --board board", f"{MANY} = 1\n", "sender)"),
    "a key of a recipe": ("data build given.toml", f"{MANY} = 1\n", "builder, dataset, licence"),
    "an option": (f"evaluate oracle --task mini --set {MANY}=1", "", "its options: none"),
    "a metric": (f"bench score run --task mini --metric {MANY}", "", "as in nDCG@10 or RR(rel=2)@10"),
    "a command": (MANY, "", "bench, board, data"),
}


@pytest.mark.parametrize("case", LONG_FILES)
def test_what_a_message_quotes_is_cut_and_its_own_words_and_the_choices_are_not(case, tmp_path, monkeypatch, capsys):
    line, content, own_words = LONG_FILES[case]
    monkeypatch.chdir(tmp_path)
    Path("given.toml" if "given.toml" in line else "given").write_text(content)
    Path("run").write_text("q-sky Q0 p 1 1.0 t\n")
    Path("board").mkdir()
    Path("board/board.toml").write_text('title = "Board"\ntasks = ["mini"]\n')
    assert main(line.split()) == 2
    message = capsys.readouterr().err
    assert own_words in message
    assert ("…" in message or case == "a line of a run") and "x" * (QUOTED + 1) not in message

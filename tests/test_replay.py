"""Recorded replies answer for a model, by id, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exabench.core.errors import BadInput, PromptsRefused
from exabench.core.files import digest_of
from exabench.core.nouns import Prompt, Reply
from exabench.parts.assembly import teacher
from exabench.parts.teachers import TEACHERS

GOOD = [
    {"id": "a", "text": "true. Explanation: bats do."},
    {"id": "b:0", "text": "[2] > [1]", "finish": "length", "prompt_tokens": 90, "output_tokens": 9},
]


def recorded(file: Path, *lines: Any) -> Path:
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


def prompts(*ids: str) -> list[Prompt]:
    return [Prompt(id, (("user", f"what of {id}?"),)) for id in ids]


def test_each_prompt_gets_the_reply_that_was_recorded_under_its_id(tmp_path: Path) -> None:
    file = recorded(tmp_path / "r.jsonl", *GOOD)
    made = teacher("replay", file=str(file))
    assert list(made.complete(prompts("b:0", "a"))) == [
        Reply("b:0", "[2] > [1]", "length", 90, 9),
        Reply("a", "true. Explanation: bats do.", "stop", 0, 0),
    ]
    assert made.identity == {
        "engine": "replay",
        "model": "recorded",
        "revision": digest_of(file.read_bytes()),
        "recorded": True,
    }
    assert made.config is None and TEACHERS.summary("replay").startswith("Recorded replies")


def test_prompts_that_nobody_answered_are_named_when_the_others_are_answered(tmp_path: Path) -> None:
    replies = teacher("replay", file=str(recorded(tmp_path / "r.jsonl", *GOOD))).complete(prompts("x", "a", "y", "b:0"))
    assert [next(replies).id, next(replies).id] == ["a", "b:0"]
    with pytest.raises(PromptsRefused, match="^prompt 'x' and 1 more cannot be sent: no reply to it was recorded"):
        next(replies)


def test_several_files_are_one_teacher_and_any_change_is_another(tmp_path: Path) -> None:
    files = [str(recorded(tmp_path / f"{n}.jsonl", one)) for n, one in enumerate(GOOD)]
    both = teacher("replay", file=files, model="people")
    assert len(list(both.complete(prompts("a", "b:0")))) == 2 and both.identity["model"] == "people"
    again = teacher("replay", file=[files[0], files[0]])
    assert len({made.identity["revision"] for made in (both, again, teacher("replay", file=files[0]))}) == 3


@pytest.mark.parametrize(
    "line, said",
    [
        ("{", "is not JSON"),
        ({"id": "c", "text": "t", "promt_tokens": 4}, "unknown key .promt_tokens.; did you mean prompt_tokens"),
        ({"id": "c", "text": "t", "output_tokens": -1}, "output_tokens: expected `int` >= 0"),
        ({"id": "a", "text": "another"}, "a second, different answer to this prompt .id 'a'"),
    ],
)
def test_a_line_that_is_no_recorded_reply_is_named(tmp_path: Path, line: Any, said: str) -> None:
    file = recorded(tmp_path / "r.jsonl", *GOOD, line)
    with pytest.raises(BadInput, match=f"r.jsonl:3: .*{said}"):
        teacher("replay", file=str(file))


def test_no_file_and_an_option_of_others_are_one_line_each(tmp_path: Path) -> None:
    for options, said in (
        ({"file": str(tmp_path / "none.jsonl")}, "cannot be read"),
        ({"file": []}, "needs a file"),
        ({"file": [], "temperature": 1}, "has no option .temperature."),
    ):
        with pytest.raises(BadInput, match=said):
            teacher("replay", **options)

"""What may be sent: the grammar of a submission, all problems at once, and names that are safe as file names."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path

import pytest
from toys import SUBMISSION, toml

from exabench.bench.submissions import FIELDS, KINDS, read_submission, submission_text
from exabench.core.errors import BadInput
from exabench.core.nouns import Submission

LONG = "a" * 96
BIBTEX = "@article{x2024,\n\ttitle = {A {Nested} title},\n  year = {2024}\n}\n"
MODEL = SUBMISSION | {"kind": "model", "reranker": "monot5", "model": "castorini/monot5-base-msmarco"}
PLACE = {"model": "rerank-v3", "endpoint": "https://api.example.org/v1"}
API = SUBMISSION | {"kind": "api", "reranker": "endpoint"} | PLACE


@pytest.fixture
def told(tmp_path):
    """What is wrong with a file of these values, or nothing."""

    def told(values, more="") -> str:
        (tmp_path / "s.toml").write_text(toml(values) + more, encoding="utf-8")
        try:
            read_submission(tmp_path / "s.toml")
        except BadInput as error:
            return str(error)
        return ""

    return told


def test_good_names_are_taken(told):
    for name in ("A9/x.y_z-1", f"{LONG}/{LONG}", "meta-llama/Llama-3.1-8B", "con-artist/nully", "0/0"):
        assert told(SUBMISSION | {"name": name}) == ""
        assert Submission(**SUBMISSION | {"name": name}).slug == name.replace("/", "--")


LINES = ["two\nlines", 3, "x" * 2001]
BAD = {
    "name": [
        "", "a", "a/", "/b", "a//b", "a/b/c", "../x", "a/..", "a/.b", "a/b.", "a/-b", "a/b-", "a/_b", "a/b..c",
        "a/b--c", "a--b/c", "a/b c", " a/b", "a/b\n", "a/b\0", "a\\b", "<b>/x", "a/b%2fc", "a/é", "a/\u202eb",
        "con/x", "a/CON", "a/nul.txt", "LPT9/x", "a/com1", "prn/x", f"{LONG}a/b", f"a/{LONG}a", "a" * 5000 + "/b",
    ],
    "kind": ["docker", "", 1, ["run"]],
    "licence": ["", "MIT or so", "<b>", "a" * 65, 3],
    "link": [
        "http://example.org", "javascript:alert(1)", "https://", 'https://x/"onload', "https://x y", "https://x/<b>", 1,
        "https://x:65536", "https://x:0/y", "https://x:\u0663", "https://u:p@x/y", "https://.", "https://x-/y", "https://x/%zz",
    ],
    "contact": ["", "somebody", "a b@c", "javascript:x", "https://", "@a b", "https://\u202ex", 'https://x/"><b>'],
    "training_data": ["some", "", 1, ["a\nb"], [1], ["x" * 201], {"a": 1}],
    "description": ["two\nlines", "x" * 2001, 1, "bell\u0007", "turn\u202earound"],
    "reranker": ["two\nlines", 1, "../monot5"],
    "revision": ["main", "v1.0.0", 7, "sha256:short"],
    "options": ["fast", 3],
    "date": ["2026-1-1", "yesterday", 20260101],
    "bibtex": [
        "x", "@article", "@article{x", "@article{x}}", "@article{x} @book{y}", "@article{x}\x07", "@a{}x",
        "@article{x}\u202e", "x @article{y}", "@article}x{", 3, "@article{" + "x" * 4000 + "}",
    ],
    "endpoint": [
        "http://example.org", "https://x/?key=1", "https://u:p@x/", "ftp://x", "http://localhost.evil.org", "x",
        "http://localhost@evil.org", "https://x/ y", "", "https://x:65536/v1", "http://localhost:0", "https://.x/",
    ],
    "synthetic_data": ["some", [1], ["a\nb"], {"a": 1}],
    "type": ["transformer", "Cross-Encoder", 1, ["other"]],
    "system": ["x", "acme", "../x", 1],
    "sample": [0, -1, 1001, "1", True, 1.0],
    **dict.fromkeys(("family", "strategy", "template", "precision", "teacher", "withdrawn"), LINES),
}  # fmt: skip
CASES = [(key, value) for key, values in BAD.items() for value in values]


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{key}-{ascii(value)[:24]}" for key, value in CASES])
def test_a_bad_value_is_refused_by_its_key_in_one_printable_line(told, key, value):
    message = told(API | {key: value})
    assert re.search(rf"\b{key} (must|may not) ", message)
    assert message.isprintable() and len(message) < 600


def test_of_hundreds_of_hostile_names_none_leaves_the_folder(told, tmp_path):
    pieces = ["a", "B", "_", "x" * 90, "-", "/", ".", "..", "con", "COM1", " ", "\\", "%2e", "\0", "\u202e", "\uff0f"]
    names = map("".join, itertools.product(pieces, ["/", "a/", "/a", "/a.", "-"], pieces))
    accepted = [name for name in names if not told(SUBMISSION | {"name": name})]
    for name in accepted:
        slug = Submission(**SUBMISSION | {"name": name}).slug
        assert slug == Path(slug).name and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,192}[A-Za-z0-9]", slug)
        (tmp_path / f"{slug}.txt").touch()  # the file system takes it, too
    assert len([*tmp_path.glob("*.txt")]) == len(accepted) > 30


def test_every_kind_says_what_it_needs(told):
    for values, needed in (
        (SUBMISSION, ("name", "kind", "licence", "link", "contact", "training_data")),
        (MODEL, ("reranker", "model")),
        (API, ("endpoint", "model", "reranker")),
    ):
        assert told(values) == ""
        for key in needed:
            assert f"s.toml: {key} must " in told({k: v for k, v in values.items() if k != key})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (MODEL | {"kind": "run"}, "model belong to a submission of kind model"),
        (SUBMISSION | {"endpoint": "https://x.org"}, "endpoint belong to a submission of kind api"),
        (API | {"revision": "a" * 40}, "revision belong to"),
        (MODEL | {"options": {"model": "x/y"}}, "options must not hold model"),  # the one that was checked runs
        (MODEL | {"options": {"revision": "x"}}, "options must not hold revision"),
        (MODEL | {"strategy": "one", "options": {"strategy": "other"}}, "strategy and options.strategy must agree"),
        (MODEL | {"precision": "one", "options": {"precision": "other"}}, "precision and options.precision must"),
        (MODEL | {"template": "one", "options": {"template": "one"}}, ""),
        (SUBMISSION | {"type": "listwise LLM", "system": "acme/one", "sample": 2}, ""),
        (SUBMISSION | {"system": "acme/one"}, "system and sample belong together"),
        (SUBMISSION | {"sample": 1}, "system and sample belong together"),
        (SUBMISSION | {"system": "other/one", "sample": 1}, "system and name must have one owner"),
        (SUBMISSION | {"license": "mit"}, "licence and license disagree; keep one of them"),
    ],
)
def test_what_contradicts_itself_is_told(told, values, message):
    assert message in told(values) and bool(told(values)) == bool(message)


@pytest.mark.parametrize("value", ["2024-01-01", "12:00:00", "[1, {a = 2024-01-01T00:00:00Z}]", "nan", "[-inf]"])
def test_options_that_json_cannot_hold_are_refused(told, value):
    assert "options must be a table of texts, finite numbers" in told(MODEL, f"\n[options]\nwhen = {value}\n")


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "2024-01-01", "12:00:00", "[inf]", "{a = nan}"])
def test_a_value_that_json_cannot_hold_is_refused_in_every_field(told, value):
    for key in ("training_data", "description", "link", "notes", "sample"):
        assert f"{key} must" in told(
            {name: one for name, one in SUBMISSION.items() if name != key}, f"{key} = {value}\n"
        )


def test_a_file_that_would_take_hours_to_read_is_refused_at_once(told):
    message = told(SUBMISSION, "a." * 200_000 + "a = 1\n")
    assert "; files of up to 65,536 bytes are read" in message


def test_good_bibtex_is_taken(told):
    for text in (BIBTEX, "@misc{a}", "  @InProceedings {b,\n a = {\u00e9}}", '@x{y, z = "{}"}'):
        assert told(SUBMISSION | {"bibtex": text}) == ""


def test_every_field_reads_back_and_the_digest_that_version_0_1_wrote_is_left_out(tmp_path):
    options = {"strategy": "logit", "max_length": 256, "teacher": {"part": "openai", "timeout": 2.5}, "fast": True}
    api = Submission(
        name="acme/all", kind="api", licence="mit", link="https://example.org", contact="@a", training_data="unknown",
        reranker="endpoint", model="m", options=options, family="cross-encoder", strategy="logit",
        template="query: {query}", precision="float32", synthetic_data=("exabench-mini",), teacher="a/b",
        endpoint="http://localhost:8000/v1", bibtex=BIBTEX, withdrawn="a mistake", date="2026-01-31",
        description='é \\ " 日', type="reranking API", system="acme/one", sample=3,
    )  # fmt: skip
    model = Submission(**MODEL | {"training_data": (), "revision": "a" * 40})
    for given_one, more in ((api, ""), (model, 'digest = "sha256:0"\n')):
        (tmp_path / "s.toml").write_text(submission_text(given_one) + more, encoding="utf-8")
        assert read_submission(tmp_path / "s.toml") == given_one


def test_the_table_of_fields_is_the_noun():
    assert {field.name for field in FIELDS} == {field.name for field in dataclasses.fields(Submission)}
    for field in FIELDS:
        assert field.meaning and field.grammar and set(field.required) <= set(field.allowed) <= set(KINDS)

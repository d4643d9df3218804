"""What may be sent: the grammar of a submission, all problems at once, and names that are safe as file names."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from toys import SUBMISSION, toml, write_submission

from exabench.bench.submissions import FIELDS, KINDS, read_submission, submission_text
from exabench.core.errors import BadInput
from exabench.core.files import toml_text
from exabench.core.nouns import Submission

PLAIN = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), max_size=40).filter(
    str.isprintable
)
PARTS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_]{0,20}[A-Za-z0-9])?", fullmatch=True).filter(lambda p: len(p) > 4)
LONG = "a" * 96


@pytest.mark.parametrize(
    "name", ["acme/good", "a/b", "A9/x.y_z-1", f"{LONG}/{LONG}", "meta-llama/Llama-3.1-8B", "con-artist/nully", "0/0"]
)
def test_good_names_are_taken(tmp_path, name):
    submission = read_submission(write_submission(tmp_path, name=name))
    assert submission.slug == name.replace("/", "--")


BAD_NAMES = [
    "", "a", "/", "a/", "/b", "a//b", "a/b/c", "../x", "a/..", "a/../b", "..", "./x", "a/.b", "a/b.", "a/-b", "a/b-",
    "a/_b", "a/b..c", "a/b--c", "a--b/c", "a/b c", " a/b", "a/b ", "a/b\n", "a/b\0", "a\\b", "a/b\\c", "C:/x", "~/x",
    "a/<b>", "<script>alert(1)</script>/x", "a/\"b\"", "a/b&c", "a/b?c", "a/b#c", "a/b%2fc", "a/é", "a/日本",
    "a/\u202eb", "а/cyrillic", "con/x", "a/CON", "a/nul.txt", "a/com1", "LPT9/x", "aux.b/c", f"{LONG}a/b",
    f"a/{LONG}a", "a" * 5000 + "/b", "a/b\u0301", "\uff0e\uff0e/x",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=[ascii(name)[:30] for name in BAD_NAMES])
def test_bad_names_are_refused_in_one_printable_line(tmp_path, name):
    with pytest.raises(BadInput, match="name ") as caught:
        read_submission(write_submission(tmp_path, name=name))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


BAD_VALUES = {
    "kind": ["docker", "", 1, ["run"]],
    "licence": ["", "MIT or so", "<b>", "a" * 65, 3],
    "link": [
        "http://example.org",
        "javascript:alert(1)",
        "https://",
        'https://x/"onload',
        "https://x y",
        "https://x/<b>",
        1,
    ],
    "contact": ["", "somebody", "a b@c", "javascript:x", "https://", "@a b", "https://\u202ex", 'https://x/"><b>'],
    "training_data": ["some", "", 1, ["a\nb"], [1], ["x" * 201], {"a": 1}],
    "description": ["two\nlines", "x" * 2001, 1, "bell\u0007", "turn\u202earound"],
    "reranker": ["two\nlines", 1],
    "revision": ["main", "v1.0.0", 7, "sha256:short"],
    "options": ["fast", 3],
    "date": ["2026-1-1", "yesterday", 20260101],
}
CASES = [(key, value) for key, values in BAD_VALUES.items() for value in values]


def toml_of(value) -> str:
    return "{a = 1}" if isinstance(value, dict) else json.dumps(value)


@pytest.mark.parametrize(("key", "value"), CASES, ids=[f"{key}-{ascii(value)[:24]}" for key, value in CASES])
def test_a_bad_value_is_refused_by_its_key(tmp_path, key, value):
    file = tmp_path / "s.toml"
    file.write_text("".join(f"{k} = {toml_of(v)}\n" for k, v in (SUBMISSION | {key: value}).items()))
    with pytest.raises(BadInput, match=f"s.toml: {key} must") as caught:
        read_submission(file)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["name", "kind", "licence", "link", "contact", "training_data"])
def test_what_is_missing_is_named(tmp_path, key):
    file = tmp_path / "s.toml"
    file.write_text(toml({k: v for k, v in SUBMISSION.items() if k != key}))
    with pytest.raises(BadInput, match=f"s.toml: {key} must"):
        read_submission(file)


def test_a_file_that_would_take_hours_to_read_is_refused_at_once(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(toml(SUBMISSION) + "a." * 200_000 + "a = 1\n")
    with pytest.raises(BadInput, match="s.toml: is larger than the 65,536 bytes that a submission may have"):
        read_submission(file)


def test_all_problems_are_told_at_once(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text('name = "../x"\nkind = "docker"\nlicense = "mit"\nlink = "ftp://x"\ndate = "now"\n')
    with pytest.raises(BadInput) as caught:
        read_submission(file)
    for told in (
        "name must",
        "kind must",
        "unknown key 'license' (did you mean licence?)",
        "licence must",
        "link must",
    ):
        assert told in str(caught.value)
    for told in ("contact must", "training_data must", "date must"):
        assert told in str(caught.value)


@given(
    owner=PARTS, model=PARTS, description=PLAIN,
    data=st.just("unknown") | st.lists(PLAIN, max_size=3).map(tuple),
    kind=st.sampled_from(["run", "baseline"]), reranker=st.sampled_from(["", "oracle"]),
    date=st.sampled_from(["", "2026-01-31"]),
)  # fmt: skip
def test_a_submission_reads_back_as_it_was_written(
    tmp_path_factory, owner, model, description, data, kind, reranker, date
):
    submission = Submission(
        name=f"{owner}/{model}", kind=kind, licence="apache-2.0", link="https://example.org/x?y=1#z", contact="a@b.org",
        training_data=data, description=description, reranker=reranker, date=date,
    )  # fmt: skip
    file = tmp_path_factory.mktemp("trip") / "s.toml"
    file.write_text(submission_text(submission), encoding="utf-8")
    assert read_submission(file) == submission


def hostile(rng: random.Random) -> str:
    """A name put together from what has broken other systems."""
    pieces = [
        "a", "B", "0", "acme", "model", "x" * 90, ".", "-", "/", "/", "_", "con", "..", "--", " ", "\\", ":", "~",
        "%2e%2e", "<script>", "&amp;", "'", "\t", "\u0000", "\n", "é", "日", "\u202e", "\u2215", "\uff0f", "nul",
        "aux", "COM1", ".toml", ".git", "*", "?", "|", "$(id)", "`",
    ]  # fmt: skip
    pieces = pieces[: rng.choice([8, 13, len(pieces)])]  # some with the mild ones alone: these may be accepted
    return "".join(rng.choice(pieces) for _ in range(rng.choice([1, 1, 2, 3, 5, 7])))


def test_of_10000_hostile_names_none_leaves_the_folder(tmp_path):
    rng, accepted, lower = random.Random(1), set(), set()
    for attempt in range(10_000):
        name = hostile(rng) if attempt % 2 else f"{hostile(rng)}/{hostile(rng)}"
        (tmp_path / "s.toml").write_text(toml(SUBMISSION | {"name": name}), encoding="utf-8")
        try:
            read_submission(tmp_path / "s.toml")
        except BadInput:
            continue
        if name.lower() in lower:
            continue  # a twin in another case: add_submission refuses it
        accepted.add(name)
        lower.add(name.lower())
        slug = Submission(**SUBMISSION | {"name": name}).slug
        assert slug == Path(slug).name
        assert slug.isascii() and slug.isprintable() and not set(slug) & set("/\\:*?\"<>|&%$`'~ ")
        assert not slug.startswith(".") and not slug.endswith(".") and len(slug) <= 194
        assert (tmp_path / f"{slug}.toml").resolve().parent == tmp_path.resolve()
        (tmp_path / f"{slug}.toml").write_text("")  # the file system takes it, too
    assert len(accepted) > 50
    (tmp_path / "s.toml").unlink()
    assert len(list(tmp_path.iterdir())) == len({name.replace("/", "--") for name in accepted}) == len(accepted)


MODEL = SUBMISSION | {"kind": "model", "reranker": "monot5", "model": "castorini/monot5-base-msmarco"}


def test_a_model_reads_back_with_its_revision_and_options(tmp_path):
    file = tmp_path / "s.toml"
    options = {"strategy": "difference", "max_length": 256, "teacher": {"part": "openai", "timeout": 2.5}, "fast": True}
    given = Submission(
        name="acme/tiny", kind="model", licence="mit", link="https://example.org", contact="@acme", training_data=(),
        reranker="monot5", model="castorini/monot5-base-msmarco", revision="a" * 40, options=options,
    )  # fmt: skip
    file.write_text(submission_text(given))
    assert read_submission(file) == given


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reranker": ""}, "reranker must name a part"),
        ({"reranker": "../monot5"}, "reranker must name a part"),
        ({"model": ""}, "model must be a Hub id"),
        ({"revision": "main"}, "never a branch"),
        ({"kind": "run"}, "model belong to a submission of kind model"),
    ],
    ids=str,
)
def test_what_a_model_needs_is_told(tmp_path, changes, told):
    file = tmp_path / "s.toml"
    file.write_text("".join(f"{k} = {toml_of(v)}\n" for k, v in (MODEL | changes).items() if v != ""))
    with pytest.raises(BadInput, match=told):
        read_submission(file)


# -- the fields of issue 6 ---------------------------------------------------------------------------------------------

API = SUBMISSION | {
    "kind": "api",
    "reranker": "endpoint",
    "model": "rerank-v3",
    "endpoint": "https://api.example.org/v1",
}
BIBTEX = "@article{x2024,\n\ttitle = {A {Nested} title},\n  year = {2024}\n}\n"


def told(tmp_path, values) -> str:
    """What is wrong with a file, or nothing."""
    file = tmp_path / "s.toml"
    file.write_text("".join(f"{k} = {toml_text(v)}\n" for k, v in values.items()), encoding="utf-8")
    try:
        read_submission(file)
    except BadInput as error:
        return str(error)
    return ""


def test_every_field_reads_back(tmp_path):
    given = Submission(
        name="acme/all", kind="api", licence="mit", link="https://example.org", contact="@a", training_data="unknown",
        reranker="endpoint", model="m", options={"api_key_env": "KEY"}, family="cross-encoder", strategy="logit",
        template="query: {query}", precision="float32", synthetic_data=("exabench-mini",), teacher="a/b",
        endpoint="http://localhost:8000/v1", bibtex=BIBTEX, withdrawn="a mistake", date="2026-01-31",
    )  # fmt: skip
    (tmp_path / "s.toml").write_text(submission_text(given), encoding="utf-8")
    assert read_submission(tmp_path / "s.toml") == given


def test_the_digest_that_version_0_1_wrote_is_left_out(tmp_path):
    given = Submission(**MODEL | {"training_data": ("a",)})
    (tmp_path / "s.toml").write_text(submission_text(given) + 'digest = "sha256:0"\n')
    assert read_submission(tmp_path / "s.toml") == given


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("bibtex", text) for text in (
            "x", "@article", "@article{x", "@article{x}}", "@article{x} @book{y}", "@article{x}\x07", "@a{}x",
            "@article{x}\u202e", "x @article{y}", "@article}x{", 3, "@article{" + "x" * 4000 + "}",
        )),
        *(("endpoint", text) for text in (
            "http://example.org", "https://x/?key=1", "https://u:p@x/", "ftp://x", "http://localhost.evil.org", "x",
            "http://localhost@evil.org", "https://x/ y", "",
        )),
        *(("synthetic_data", value) for value in ("some", [1], ["a\nb"], {"a": 1})),
        *((key, value) for key in ("family", "strategy", "template", "precision", "teacher", "withdrawn")
          for value in ("two\nlines", 3, "x" * 2001)),
    ],
)  # fmt: skip
def test_a_bad_value_of_a_new_field_is_refused_by_its_key(tmp_path, key, value):
    message = told(tmp_path, API | {key: value})
    assert f"{key} must" in message and message.isprintable()


@pytest.mark.parametrize("text", [BIBTEX, "@misc{a}", "  @InProceedings {b,\n a = {\u00e9}}", '@x{y, z = "{}"}'])
def test_good_bibtex_is_taken(tmp_path, text):
    assert told(tmp_path, SUBMISSION | {"bibtex": text}) == ""


def test_old_files_stay_valid_and_an_api_needs_its_endpoint(tmp_path):
    assert told(tmp_path, SUBMISSION) == told(tmp_path, MODEL) == told(tmp_path, API) == ""
    for key in ("endpoint", "model", "reranker"):
        assert f"{key} must" in told(tmp_path, {k: v for k, v in API.items() if k != key})
    assert "endpoint belong to a submission of kind api" in told(tmp_path, SUBMISSION | {"endpoint": "https://x.org"})
    assert "revision belong to" in told(tmp_path, API | {"revision": "a" * 40})


@pytest.mark.parametrize("key", ["model", "revision"])
def test_the_model_that_was_checked_is_the_one_that_runs(tmp_path, key):
    assert f"options must not hold {key}" in told(tmp_path, MODEL | {"options": {key: "x/y"}})


@pytest.mark.parametrize("value", ["2024-01-01", "12:00:00", "[1, {a = 2024-01-01T00:00:00Z}]", "nan", "[-inf]"])
def test_options_that_json_cannot_hold_are_refused(tmp_path, value):
    file = tmp_path / "model.toml"
    file.write_text(toml(MODEL) + f"\n[options]\nwhen = {value}\n")
    with pytest.raises(BadInput, match="options must be a table of texts, finite numbers"):
        read_submission(file)


@pytest.mark.parametrize("key", ["strategy", "template", "precision"])
def test_what_is_said_twice_is_said_alike(tmp_path, key):
    twice = MODEL | {key: "one", "options": {key: "other"}}
    assert f"{key} and options.{key} must say the same" in told(tmp_path, twice)
    assert told(tmp_path, MODEL | {key: "one", "options": {key: "one"}}) == ""


def test_the_table_of_fields_is_the_noun():
    assert {field.name for field in FIELDS} == {field.name for field in dataclasses.fields(Submission)}
    for field in FIELDS:
        assert field.meaning and field.grammar and set(field.required) <= set(field.allowed) <= set(KINDS)

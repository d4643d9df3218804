"""An explanation set: what the teacher is asked, what becomes of any reply, and the authors' own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from exabench.core.errors import BadInput
from exabench.core.files import PACKAGE
from exabench.core.nouns import Passage, Query, Reply, Task
from exabench.core.rows import Item, Pair, Rejected, check_row
from exabench.data.builders.exaranker import Exaranker, explanation_of, fault
from exabench.data.builders.imported import rows_from_tsv
from exabench.data.exports import EXPORTS
from exabench.tasks.collections.beir_folder import BeirFolder

GIVEN_BY_BUILDING = {"teacher": "human", "teacher_revision": "", "prompt": "", "replies": []}
SKY = Passage("p1", "Air scatters blue light.", "The sky")


class These(list[Pair]):
    """A source that holds what it was given."""

    source, source_revision = "memory", "1"


PAIR = Pair(Query("q1", "why is the sky blue"), SKY, True)
OTHER = Pair(Query("q2", "why is grass green"), SKY, False)
HUMAN = Pair(Query("q1", "why is the sky blue"), SKY, True, "Air scatters\nblue light.")


def item(pair: Pair = PAIR, **options: Any) -> tuple[Exaranker, Item]:
    builder = Exaranker(These([pair]), **options)
    return builder, next(builder.items())


def reply(text: str, finish: str = "stop", id: str = "q1/p1") -> Reply:
    return Reply(id, text, finish, 100, 10)


@pytest.mark.parametrize(("pair", "answer"), [(PAIR, "is relevant"), (OTHER, "is not relevant")])
def test_an_item_is_a_pair_and_one_prompt_that_says_all_but_the_explanation(pair, answer):
    builder, made = item(pair)
    assert (builder.family, builder.prompt.split("@")[0]) == ("explanations", "explain")
    assert (made.data["relevant"], made.data["source"]) == (pair.relevant, "memory")
    (prompt,) = made.prompts
    assert prompt.id == made.id == f"{pair.query.id}/p1" and (prompt.max_tokens, prompt.temperature) == (256, 0.0)
    ((role, text),) = prompt.turns
    assert role == "user" and text.rpartition("Example 8:")[2].split("\n\n") == [
        *("", f"Question: {pair.query.text}", "Passage: Title: The sky Content: Air scatters blue light."),
        *(f"Final Answer: The passage {answer} to the question.", "Explanation:"),
    ]


def test_the_seven_worked_examples_have_the_published_structure():
    text = item()[1].prompts[0].turns[0][1].split("###\nExample ")[1:8]
    blocks = [dict(part.split(": ", 1) for part in example.strip().split("\n\n")[1:]) for example in text]
    assert all(list(block) == ["Question", "Passage", "Final Answer", "Explanation"] for block in blocks)
    labels = [" not " not in block["Final Answer"] for block in blocks]
    assert [i for i, relevant in enumerate(labels, 1) if relevant] == [1, 3, 6, 7]
    assert blocks[1]["Passage"] == blocks[6]["Passage"] and blocks[1]["Question"] != blocks[6]["Question"]
    for block, relevant in zip(blocks, labels, strict=True):
        assert fault(block["Explanation"], relevant, 256) == ""


def test_a_long_passage_is_cut_in_the_prompt_and_whole_in_the_row():
    builder, made = item(Pair(Query("q1", "what"), Passage("p1", "word " * 900), True), words=50)
    assert made.prompts[0].turns[0][1].split("Example 8:")[1].count("word") == 50
    assert builder.rows(made, [reply("Fine.")])[0]["input"].count("word") == 900


def test_what_a_person_explained_needs_no_prompt_and_no_teacher():
    builder, made = item(HUMAN, prompt="")
    assert (builder.prompt, made.prompts) == ("", ())
    row = builder.rows(made, [])[0]
    assert row["explanation"] == "Air scatters\nblue light."
    assert row["target"] == "true. Explanation: Air scattersblue light."
    assert builder.report([made]) == {"explained by people": 1}
    with pytest.raises(BadInput, match="has no rationale and there is no prompt"):
        item(PAIR, prompt="")
    assert item(HUMAN)[1].prompts == ()


def test_a_prompt_of_the_user_s_says_its_tokens_or_the_recipe_does(tmp_path):
    file = tmp_path / "mine.jinja"
    file.write_text("{{ query }}|{{ passage }}|{{ relevant }}", encoding="utf-8")
    with pytest.raises(BadInput, match="answer_tokens"):
        item(prompt=file)
    made = item(prompt=file, max_tokens=9)[1]
    assert made.prompts[0].turns == (
        ("user", "why is the sky blue|Title: The sky Content: Air scatters blue light.|True"),
    )


def test_several_samples_are_asked_for_at_a_temperature_and_the_first_usable_one_is_taken():
    builder, made = item(samples=3, temperature=0.7)
    assert [(prompt.id, prompt.sample) for prompt in made.prompts] == [(f"q1/p1:{n}", n) for n in range(3)]
    row = builder.rows(made, [reply(""), reply("It says so.", "length"), reply("It names the scattering.")])[0]
    assert row["explanation"] == "It names the scattering."
    for replies, reason in (
        ([reply(""), reply("x", "length")], "empty reply"),
        ([reply("It is", "length")], "cut short"),
        ([], "no reply"),
    ):
        with pytest.raises(Rejected, match=reason):
            builder.rows(made, replies)
    for samples, complaint in ((2, "temperature above 0"), (0, "samples is 0")):
        with pytest.raises(BadInput, match=complaint):
            item(samples=samples)


def test_a_row_has_the_fields_of_its_family_and_the_published_strings_which_the_ranker_reads():
    builder, made = item(line_breaks=" ")
    row = check_row("explanations", builder.rows(made, [reply(" It says\r\n\r\nwhy. ")])[0] | GIVEN_BY_BUILDING)
    assert row["input"] == (
        'Is the question: "why is the sky blue" answered by the document: "The sky Air scatters blue light."? '
        "Give an explanation."
    )
    assert (row["explanation"], row["target"]) == ("It says\r\n\r\nwhy.", "true. Explanation: It says why.")
    assert (row["source"], row["source_revision"], row["title"]) == ("memory", "1", "The sky")
    builder, made = item(OTHER)
    assert builder.rows(made, [reply("It is\n\nnot.")])[0]["target"] == "false. Explanation: It isnot."
    builder, made = item(Pair(Query("q", "{query}"), Passage("p", "{passage}"), True, "So."))
    template = (PACKAGE / "models" / "families" / "exaranker.toml").read_text(encoding="utf-8")
    assert builder.rows(made, [])[0]["input"] in template


FAULTS = {
    "empty reply": ["", " \n\t ", "Explanation: "],
    "longer than max_tokens can be": ["x" * 40 + "word " * 9000],
    "garbled characters": ["It is \ufffd\ufffd.", "It is \x00 so.", "It is \ud800 so."],
    "refuses to answer": [
        "I'm sorry, but I cannot help with that.",
        "I cannot explain it.",
        "As an AI, I have no view.",
    ],
    "contradicts the label": [
        "False. It is of light.",
        "The passage is not relevant.",
        "This text is irrelevant, being short.",
    ],
    "goes on with the prompt's examples": [
        *(
            "It says so.\n\nExample 9:\n\nQuestion: why",
            "It says so.\n\n###\nmore",
            "Passage: Air scatters blue light.",
        ),
    ],
    "repeats itself": [
        *("because " * 20, "It is so. " + "The passage says why. " * 6, "It says why" + "!" * 60, "天空很蓝" * 30),
        *(
            "天空看起来是蓝色的因为空气散射蓝光比散射红光强得多。" * 4,
            "ท้องฟ้าเป็นสีฟ้าเพราะอากาศกระจายแสงสีน้ำเงินได้ดีกว่า " * 5,
        ),
    ],
}


@pytest.mark.parametrize("reason", FAULTS)
def test_what_is_no_explanation_is_rejected_with_its_reason(reason):
    builder, made = item()
    for text in FAULTS[reason]:
        with pytest.raises(Rejected) as rejected:
            builder.rows(made, [reply(text)])
        assert rejected.value.reason == reason


@pytest.mark.parametrize(
    ("text", "relevant"),
    [
        ("The passage is relevant to the question because it names the scattering of light.", True),
        ("True, it is.", True),
        ("Relevant. It says so.", True),
        ("The passage is not relevant, since it is about the sky and the question is about grass.", False),
        ("I cannot find grass anywhere in the passage, which is about the sky.", False),
        ("Falsehoods about the sky are corrected: very, very, very little light is green.", True),
        ("Nothing is said of grass.\nThe sky alone is explained.", False),
        ("**Explanation:** It says how air scatters light – « bleu » 青 🙂.", True),
    ],
)
def test_what_may_be_an_explanation_is_kept_as_it_is(text, relevant):
    builder, made = item(PAIR if relevant else OTHER)
    assert builder.rows(made, [reply(text)])[0]["explanation"] == text.removeprefix("**Explanation:** ")
    if text.startswith(("The passage is relevant", "True,", "Relevant.")):
        assert fault(text, False, 256) == "contradicts the label"


@given(
    st.text() | st.text(alphabet='"#:.\n ExampleQuestion9ntrufals\ud800\x00', max_size=60), st.booleans(), st.booleans()
)
def test_any_reply_gives_a_row_or_a_reason(text, relevant, stopped):
    builder, made = item(PAIR if relevant else OTHER)
    try:
        row = check_row(
            "explanations", builder.rows(made, [reply(text, "stop" if stopped else "length")])[0] | GIVEN_BY_BUILDING
        )
    except Rejected as rejected:
        assert rejected.reason
        return
    assert row["explanation"] and row["explanation"] == explanation_of(text)
    assert "\n" not in row["target"] and row["target"].startswith(("true. Explanation: ", "false. Explanation: "))
    json.dumps(row, ensure_ascii=False).encode()


@given(st.text(alphabet="ab ", max_size=200))
def test_whatever_stands_four_times_running_over_forty_characters_is_found(text):
    unit = f"{text[:15]}x"
    assert fault("It is so: " + unit * (60 // len(unit) + 5), True, 256) == "repeats itself"


NO = (
    '0\t"Is the question: ""a ""b"" c"" answered by the document: ""d, e""? Give an explanation."\t'
    "false. Explanation:No."
)
YES = '1\t"Is the question: ""a"" answered by the document: ""d""? Give an explanation."\ttrue. Explanation:Yes.'
LINES = ["label\tinput\toutput", NO, YES, YES]


def tsv(folder: Path, *rows: str) -> Path:
    file = folder / "authors.tsv"
    file.write_bytes("".join(f"{row}\r\n" for row in rows).encode())
    return file


def test_the_authors_files_are_read_with_query_and_passage_and_doubles_are_kept(tmp_path):
    rows = list(rows_from_tsv(tsv(tmp_path, *LINES), teacher="text-davinci-002"))
    assert [check_row("explanations", row) for row in rows] == rows
    assert [(r["query"], r["passage"], r["relevant"], r["explanation"]) for r in rows] == [
        ('a "b" c', "d, e", False, "No."),
        *[("a", "d", True, "Yes.")] * 2,
    ]
    assert [row["id"] for row in rows] == ["line2", "line3", "line4"]
    assert rows[1]["query_id"] == rows[2]["query_id"] != rows[0]["query_id"]
    assert EXPORTS["exaranker"]().write("explanations", "train", rows, tmp_path / "again.tsv").rows == 3
    assert (tmp_path / "again.tsv").read_bytes() == (tmp_path / "authors.tsv").read_bytes()


def test_a_row_of_another_form_is_refused_by_its_line(tmp_path):
    for line in (
        "1\ttext\ttrue. Explanation: x",
        YES.replace("1\t", "2\t", 1),
        YES.replace("true.", "false."),
        YES.replace('""d""', '""d"" answered by the document: ""e""'),
        "1\ttwo columns",
        YES + "\tfour",
    ):
        with pytest.raises(BadInput, match=r"authors\.tsv:3: "):
            list(rows_from_tsv(tsv(tmp_path, *LINES[:2], line), teacher="t"))


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='"\t\n'), min_size=1).filter(
    lambda text: text.strip() and "answered by the document" not in text
)


@settings(max_examples=15)
@given(st.lists(st.tuples(texts, texts, st.booleans(), texts), max_size=6))
def test_rows_survive_the_way_through_such_a_file(tmp_path_factory, given):
    rows = []
    for query, passage, relevant, explanation in given:
        builder, made = item(Pair(Query("q", query), Passage("p", passage), relevant, explanation), prompt="")
        rows.append(builder.rows(made, [])[0] | GIVEN_BY_BUILDING)
    file = tmp_path_factory.mktemp("tsv") / "rows.tsv"
    assert EXPORTS["exaranker"]().write("explanations", "train", rows, file).rows == len(rows)
    same = ("query", "passage", "relevant", "input", "target")
    back = list(rows_from_tsv(file, teacher="human"))
    assert [[row[key] for key in same] for row in back] == [[row[key] for key in same] for row in rows]


def test_the_recorded_replies_are_the_written_explanations_and_some_of_what_is_not_relevant():
    written = (PACKAGE / "mini" / "explanations.jsonl").read_text(encoding="utf-8").splitlines()
    people = {f"{row['query_id']}/{row['passage_id']}": row["explanation"] for row in map(json.loads, written)}
    lines = (PACKAGE / "mini" / "replies-explain.jsonl").read_text(encoding="utf-8").splitlines()
    said = {line["id"]: line["text"] for line in map(json.loads, lines)}
    assert len(said) == len(lines) and len(people) == 201 and people.items() <= said.items()
    qrels = BeirFolder(Task("mini", "mini")).qrels("train")
    others = [id.split("/") for id in said.keys() - people.keys()]
    assert len(others) == 60 and all(qrels[query][passage] == 0 for query, passage in others)

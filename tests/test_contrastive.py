"""Contrastive groups: the positive is judged too, negatives are hard and judged, and every other query is accounted."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from hypothesis import given, strategies as st
from toys import Alphabet, Given

from exabench.core.errors import BadInput
from exabench.core.files import PACKAGE, json_text
from exabench.core.nouns import Passage, Prompt, Query, Reply, Task
from exabench.core.recipe import read_recipe
from exabench.core.rows import Rejected, check_row
from exabench.data.builders import BUILDERS
from exabench.data.builders.contrastive import Contrastive, label
from exabench.data.queries.llm_queries import LlmQueries
from exabench.parts.prompting import prompt_file
from exabench.parts.retrievers.bm25 import Bm25
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection, read_checked_qrels
from exabench.tasks.collections.medquad import Medquad

PASSAGES = [Passage(f"p{n}", f"Passage number {n} about one of many things.", f"Title {n}") for n in range(10)]
KEYS = {
    **{"builder": str, "dataset": str, "table": str, "title": str, "licence": str, "seed": int, "shard": int},
    **{"validation": int, "teacher": dict, "options": dict},
}


class Corpus(Given):
    """A toy collection with a revision."""

    revision = "sha256:toy"


class Asked:
    """A toy query source: (query, passage id) each; what it rejected is (prompt, reason) each."""

    source, source_revision, prompt = "memory", "sha256:toy", "toy@sha256:0"

    def __init__(self, queries, rejections=()):
        self.queries, self.rejections = queries, rejections

    def __iter__(self):
        for id, text, passage_id in self.queries:
            yield Query(id, text), {"kind": "generated", "passage_id": passage_id, "replies": [f"key of {id}"]}


def builder(queries=(("q1", "what is it", "p3"),), passages=PASSAGES, retrievers=None, rejections=(), **options):
    retrievers = retrievers or {"alphabet": Alphabet(passages)}
    options = {"negatives": 3, "candidates": 5, "depth": 6} | options
    return Contrastive(Corpus([], passages, {}), Asked(queries, rejections), retrievers, **options)


def says(item, answers, otherwise="Not relevant"):
    """A judge's replies to an item, by passage id, in no special order."""
    texts = [(prompt.id, answers.get(prompt.id.split("/")[1], otherwise)) for prompt in item.prompts]
    return [Reply(id, text, "stop", 50, 2) for id, text in sorted(texts, key=lambda pair: pair[0][::-1])]


def full(row):
    """The row as building completes it, checked against the contract."""
    provenance = {"teacher": "toy", "teacher_revision": "", "prompt": "judge", "replies": []}
    return check_row("contrastive", row | provenance)


# -- the plan ----------------------------------------------------------------------------------------------------


def test_the_positive_is_judged_first_and_the_candidates_come_from_the_top_of_the_first_stage():
    (item,) = builder().items()
    ids = [passage["id"] for passage in item.data["passages"]]
    assert ids[0] == "p3"
    assert set(ids[1:]) < {"p0", "p1", "p2", "p4", "p5", "p6"} and len(ids) == 6
    assert [prompt.id for prompt in item.prompts] == [f"q1/{id}" for id in ids]
    assert item.id == "q1" and item.data["replies"] == ["key of q1"]


def test_the_judge_is_shown_query_and_passage_and_has_room_for_two_words():
    (item,) = builder(words=5).items()
    text = item.prompts[0].turns[0][1]
    assert "Query: what is it\n" in text and "Passage: Title: Title 3 Content: Passage\n" in text
    assert {(prompt.max_tokens, prompt.temperature) for prompt in item.prompts} == {(8, 0.0)}


def test_the_plan_is_plain_json_and_names_both_prompts():
    made = builder()
    (item,) = made.items()
    assert json.loads(json_text(item.data)) == item.data
    assert made.prompt == f"{prompt_file('judge').label} toy@sha256:0"
    assert BUILDERS["contrastive"] is Contrastive and made.family == "contrastive"


@given(st.permutations(PASSAGES), st.integers(0, 3))
def test_the_order_of_the_passages_changes_nothing(passages, seed):
    queries = [("q1", "number 3", "p3"), ("q2", "about 7", "p7")]
    plans = [
        list(builder(queries, some, {"bm25": Bm25(some)}, seed=seed).items()) for some in (PASSAGES, list(passages))
    ]
    assert plans[0] == plans[1]


def test_another_seed_draws_other_candidates():
    drawn = {tuple(p["id"] for p in next(builder(seed=seed).items()).data["passages"]) for seed in range(6)}
    assert len(drawn) > 1


def test_a_candidate_of_several_first_stages_counts_as_that_one_s_which_ranks_it_highest():
    stages = {"backwards": Alphabet(PASSAGES, backwards=True), "forwards": Alphabet(PASSAGES)}
    (item,) = builder(retrievers=stages, depth=9, candidates=9).items()
    by_source = {passage["id"]: passage["source"] for passage in item.data["passages"]}
    assert by_source.pop("p3") == ""
    assert by_source == {f"p{n}": "forwards" if n < 5 else "backwards" for n in range(10) if n != 3}


def test_the_own_passage_is_never_a_candidate_wherever_it_is_found():
    for own in ("p0", "p5", "p9"):
        (item,) = builder([("q1", "what", own)], depth=9, candidates=9).items()
        ids = [passage["id"] for passage in item.data["passages"]]
        assert ids[0] == own and len(set(ids)) == len(ids) == 10


def test_the_report_counts_candidates_by_the_first_stage_that_brought_them():
    made = builder([("q1", "what", "p1"), ("q2", "what", "p2")], rejections=[(Prompt("q3", ()), "empty")])
    assert made.report(list(made.items())) == {
        "queries": 2,
        "candidates": 10,
        "candidates_by_source": {"alphabet": 10},
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"least": 4}, "least 4, negatives 3"),
        ({"candidates": 2}, "candidates 2"),
        ({"least": 0}, "1 <= least"),
        ({"depth": 0}, "depth 0"),
        ({"prompt": "no-such"}, "unknown prompt"),
        ({"queries": [("q1", "what", "")]}, "made of no passage.*'q1'"),
        ({"queries": [("q1", "what", "p99")]}, "has no passage of this id.*'p99'"),
    ],
)
def test_what_makes_no_sense_is_refused(change, complaint):
    with pytest.raises(BadInput, match=complaint):
        list(builder(**change).items())


def test_several_query_sources_or_no_first_stage_are_refused():
    with pytest.raises(BadInput, match="one query source"):
        Contrastive(Corpus([], PASSAGES, {}), {"one": Asked([])}, {"alphabet": Alphabet(PASSAGES)})
    with pytest.raises(BadInput, match="needs retrievers"):
        Contrastive(Corpus([], PASSAGES, {}), Asked([]), {})


# -- the row -----------------------------------------------------------------------------------------------------


def test_a_group_has_its_positive_and_the_first_negatives_drawn():
    made = builder()
    (item,) = made.items()
    drawn = [passage["id"] for passage in item.data["passages"]][1:]
    row = full(made.row(item, says(item, {"p3": "Relevant"})))
    assert (row["query"], row["positive_id"], row["positive_title"]) == ("what is it", "p3", "Title 3")
    assert row["negative_ids"] == drawn[:3] and "p3" not in row["negative_ids"]
    assert row["negatives"] == [PASSAGES[int(id[1])].text for id in drawn[:3]]
    assert row["negative_sources"] == ["alphabet"] * 3
    assert (row["query_source"], row["source"], row["source_revision"]) == ("generated", "memory", "sha256:toy")


def test_false_negatives_and_unreadable_ones_are_left_out_and_counted():
    made = builder()
    (item,) = made.items()
    first, second, *others = [passage["id"] for passage in item.data["passages"]][1:]
    replies = says(item, {"p3": "relevant", first: "Relevant.", second: "Perhaps."})
    assert made.row(item, replies)["negative_ids"] == others
    assert made.labels(item, replies) == {"p3": True, first: True, second: None, **dict.fromkeys(others, False)}


REJECTED = {
    "positive judged not relevant": ({"p3": "not relevant"}, "not relevant"),
    "the judgement of the positive cannot be read": ({"p3": "maybe"}, "not relevant"),
    "no judgement can be read": ({"p3": ""}, "xyz"),
    "fewer than 2 negatives": ({"p3": "relevant"}, "relevant"),
}


@pytest.mark.parametrize("reason", REJECTED)
def test_every_reason_to_reject_a_group(reason):
    made = builder(least=2)
    (item,) = made.items()
    with pytest.raises(Rejected) as error:
        made.row(item, says(item, *REJECTED[reason]))
    assert error.value.reason == reason


def test_a_missing_reply_is_an_unread_judgement():
    made = builder()
    (item,) = made.items()
    replies = [reply for reply in says(item, {"p3": "relevant"}) if reply.id != item.prompts[1].id]
    assert list(made.labels(item, replies).values()).count(None) == 1
    with pytest.raises(Rejected, match="no judgement can be read"):
        made.row(item, [])


def test_what_the_query_source_rejected_is_asked_again_and_rejected_with_its_reason():
    prompt = Prompt("q9", (("user", "write a query"),))
    made = builder(rejections=[(prompt, "too short")])
    *_, item = made.items()
    assert (item.id, item.prompts) == ("q9", (prompt,))
    with pytest.raises(Rejected, match="query: too short"):
        made.row(item, [Reply("q9", "sky", "stop", 1, 1)])


ANSWERS = st.one_of(st.text(max_size=30), st.sampled_from(["relevant", "Not relevant", "**Relevant**", "irrelevant"]))


@given(st.lists(ANSWERS, min_size=6, max_size=6))
def test_any_answers_make_a_row_or_a_reason(answers):
    made = builder()
    (item,) = made.items()
    replies = [Reply(prompt.id, text, "length", 1, 1) for prompt, text in zip(item.prompts, answers, strict=True)]
    try:
        row = full(made.row(item, replies))
    except Rejected as error:
        assert error.reason
    else:
        assert row["positive_id"] not in row["negative_ids"]
        assert 1 <= len(row["negative_ids"]) == len(set(row["negative_ids"])) <= 3
        judged = made.labels(item, replies)
        assert all(judged[id] is False for id in row["negative_ids"])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("relevant", True),
        ("Relevant.", True),
        ("**Relevant**", True),
        (' "relevant" because it says so', True),
        ("Not relevant", False),
        ("not-relevant", False),
        ("NON-RELEVANT", False),
        ("_not relevant_", False),
        ("Irrelevant: another subject", False),
        ("not", None),
        ("", None),
        ("relevance is high", None),
        ("relevant or not relevant", None),
        ("relevant / not relevant", None),
        ("The passage is relevant", None),
        ("Yes", None),
    ],
)
def test_a_judgement_is_read_from_its_first_words(answer, expected):
    assert label(answer) is expected


# -- recipes -----------------------------------------------------------------------------------------------------

RECORDED = PACKAGE / "mini" / "replies-contrastive.jsonl"


class Recorded:
    """A toy teacher that has replies by prompt id."""

    identity, config = {"engine": "toy", "model": "recorded"}, None

    def __init__(self, file):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        self.texts = {row["id"]: row["text"] for row in rows}
        assert len(self.texts) == len(rows)

    def key(self, prompt):
        return f"key of {prompt.id}"

    def complete(self, prompts):
        return (Reply(prompt.id, self.texts[prompt.id], "stop", 1, 1) for prompt in list(prompts))


def test_the_recorded_replies_answer_every_prompt_of_the_recipe_and_no_other():
    options = dict(read_recipe("data", "mini-contrastive", KEYS).values["options"])
    collection, teacher = open_collection(task(options.pop("task"))), Recorded(RECORDED)
    own = {key: value for key, value in options.pop("queries").items() if key != "part"}
    assert options.pop("retrievers") == {"bm25": {"part": "bm25"}}
    made = Contrastive(
        collection, LlmQueries(collection, teacher, **own), {"bm25": Bm25(collection.passages())}, **options
    )
    items = list(made.items())
    asked = [item.id for item in items] + [prompt.id for item in items for prompt in item.prompts]
    assert set(asked) == teacher.texts.keys()
    reasons, rows = Counter(), []
    for item in items:
        try:
            rows.append(full(made.row(item, list(teacher.complete(item.prompts)))))
        except Rejected as error:
            reasons[error.reason] += 1
    assert len(rows) == 16 and reasons == {"positive judged not relevant": 1, "query: too short": 1}
    assert {len(row["negatives"]) for row in rows} == {4}
    assert not {"Query:", '"', "1."} & {row["query"].split()[0] for row in rows}


@pytest.mark.parametrize("name", ["mini-contrastive", "medquad-contrastive"])
def test_the_recipes_name_what_a_release_needs(name):
    values = read_recipe("data", name, KEYS).values
    assert values.keys() == KEYS.keys()
    assert values["builder"] == "contrastive" and task(values["options"]["task"])


# -- MedQuAD -----------------------------------------------------------------------------------------------------


def medquad(folder, *rows):
    (folder / "medquad").mkdir()
    lines = "".join(json.dumps(row) + "\n" if isinstance(row, dict) else row + "\n" for row in rows)
    (folder / "medquad" / "medquad.jsonl").write_text(lines, encoding="utf-8")
    return Medquad(Task("medquad", "MedQuAD"), folder)


def pair(uid, question="What is it?", answer="This.", focus="It"):
    return {"uid": uid, "focus": focus, "question": question, "answer": answer, "url": "https://example.org"}


def test_medquad_is_answers_under_what_they_are_about(tmp_path):
    found = medquad(tmp_path, pair("1"), pair("2", answer="That."), pair("3", "Why?", "Because.", "Why"))
    assert found.is_available() and found.revision.startswith("sha256:")
    assert list(found.passages())[2] == Passage("3", "Because.", "Why")
    assert list(found.queries())[0] == Query("1", "What is it?")
    assert found.qrels("test") == {"1": {"1": 1, "2": 1}, "2": {"1": 1, "2": 1}, "3": {"3": 1}}
    with pytest.raises(BadInput, match="holds the splits test, train, held_out, not 'dev'"):
        found.qrels("dev")


def test_medquad_holds_out_whole_subjects_whatever_their_case(tmp_path):
    some = [pair(f"{i}{case}", f"Question {i}{case}?", focus=f"{case} {i}") for i in range(200) for case in "aA"]
    found = medquad(tmp_path, *some)
    train, held_out = found.qrels("train"), found.qrels("held_out")
    assert train.keys() | held_out.keys() == found.qrels("test").keys() and not train.keys() & held_out.keys()
    assert 10 < len(held_out) < 80
    subjects = [{id.casefold() for id in split} for split in (train, held_out)]
    assert not subjects[0] & subjects[1]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "jsonl:2: is not JSON"),
        ("[]", "a line holds uid, focus, question, answer"),
        (pair(1), "uid: expected `str`, got `int`"),
        (pair("1"), "needs a uid that no other line has.*'1'"),
        (pair(""), "needs a uid that no other line has"),
        ({"uid": "2"}, "lacks the key 'focus'; a line holds uid, focus, question, answer"),
    ],
)
def test_a_wrong_line_of_medquad_is_named(tmp_path, row, complaint):
    with pytest.raises(BadInput, match=complaint):
        list(medquad(tmp_path, pair("1"), row).passages())


def test_medquad_is_there_for_its_task_alone(tmp_path):
    medquad(tmp_path, pair("1"))
    assert not Medquad(Task("mini", "mini"), tmp_path).is_available()
    assert not Medquad(Task("medquad", "MedQuAD")).is_available()
    assert open_collection(task("medquad"), tmp_path).source == "medquad"
    assert open_collection(task("medquad-held-out"), tmp_path).source == "medquad"


class Rules:
    """A toy language model: a query from the passage's title and a word of it, and a judge that counts shared words."""

    identity, config = {"engine": "toy", "model": "rules"}, None

    def key(self, prompt):
        return f"key of {prompt.id}"

    def complete(self, prompts):
        for prompt in list(prompts):
            text = prompt.turns[-1][1]
            answer = self.judged(text) if "/" in prompt.id else self.written(prompt.id, text)
            yield Reply(prompt.id, answer, "stop", 1, 1)

    def written(self, id, text):
        title = text.split("Title: ")[1].split(" Content: ")[0]
        words = [word for word in text.split(" Content: ")[1].split("\n\n")[0].split() if len(word) > 7]
        return f"what about {title} and {random.Random(id).choice(words or ['this'])}"

    def judged(self, text):
        query, passage = text.split("Query: ")[1].split("\n\nPassage: ")
        wanted = set(query.casefold().split()[2:])
        shared = wanted & set(passage.casefold().split())
        return "Relevant" if len(shared) > 0.8 * len(wanted) else "Not relevant"


@pytest.mark.real_data
def test_medquad_holds_what_the_table_says(real_data):
    entry = task("medquad")
    found = open_collection(entry, real_data)
    ids = [passage.id for passage in found.passages()]
    assert len(ids) == len(set(ids)) == entry.documents == 16407
    assert sum(map(len, read_checked_qrels(entry, found).values())) == entry.judgements
    held_out = read_checked_qrels(task("medquad-held-out"), found)
    assert (len(held_out), sum(map(len, held_out.values()))) == (1651, 2017)


@pytest.mark.slow
@pytest.mark.real_data
def test_a_contrastive_set_from_medquad_with_bm25_and_a_rule_for_a_judge(real_data):
    collection = open_collection(task("medquad"), real_data)
    queries = LlmQueries(collection, Rules(), count=50, passage_words=30)
    made = Contrastive(collection, queries, {"bm25": Bm25(collection.passages(), lucene=())}, candidates=12, depth=30)
    rows, reasons = [], Counter()
    for item in made.items():
        try:
            rows.append(full(made.row(item, list(Rules().complete(item.prompts)))))
        except Rejected as error:
            reasons[error.reason] += 1
    assert len(rows) + reasons.total() == 50 and len(rows) >= 30, reasons
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert row["positive_id"] not in row["negative_ids"] and row["query_id"] == f"q-{row['positive_id']}-0"
        assert 1 <= len(row["negatives"]) <= 7 and set(row["negative_sources"]) == {"bm25"}

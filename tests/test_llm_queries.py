"""Queries by a language model: sampled whatever the order, cleaned, held to what a query is, filtered on request."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings, strategies as st
from toys import Given

from exabench.core.errors import BadInput, OutsideFailed, PromptsRefused
from exabench.core.nouns import Passage, Reply
from exabench.core.words import count_words
from exabench.data.queries.llm_queries import LlmQueries, first_line
from exabench.parts.retrievers.bm25 import Bm25
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

PASSAGES = [
    Passage(
        "sky", "Rayleigh scattering sends more blue light than red light to the eye, so the sky looks blue.", "Sky"
    ),
    Passage("bread", "Lactic acid bacteria give a sourdough loaf its tang, and wild yeast makes it rise.", "Bread"),
    Passage("bridge", "The deck of a suspension bridge hangs from two main cables on vertical ropes.", "Bridges"),
]
MANY = [Passage(f"p{n}", f"text number {n} of many") for n in range(50)]
GOOD = {"sky": "why is the sky blue", "bread": "what makes sourdough taste sour", "bridge": "how is a bridge deck held"}


class Writer:
    """A toy teacher: `says` by passage id, by a function of the prompt, or one to all; `lost` prompts are refused."""

    identity = {"engine": "toy", "model": "writer", "server": "here"}
    config = None

    def __init__(self, says=GOOD, finish="stop", lost=()):
        self.says, self.finish, self.lost, self.asked = says, finish, set(lost), []

    def key(self, prompt):
        return f"key of {prompt.id} {prompt.sample}"

    def text(self, prompt):
        if isinstance(self.says, dict):
            return self.says[prompt.id.split("-")[1]]
        return self.says if isinstance(self.says, str) else self.says(prompt)

    def complete(self, prompts):
        prompts = list(prompts)
        self.asked += prompts
        for prompt in reversed(prompts):  # in any order
            if prompt.id not in self.lost:
                yield Reply(prompt.id, self.text(prompt), self.finish, 10, 5)
        if self.lost:
            raise PromptsRefused({id: "too long" for id in self.lost})


def left_out(made):
    """How many queries were rejected, by reason."""
    return made.report()["left_out"]


class Longest:
    """A toy reranker."""

    reads = "texts"

    def score(self, query, passages):
        return [float(len(query.text)) for _ in passages]


def written(teacher=None, passages=PASSAGES, **options):
    options = {"count": len(passages)} | options
    return LlmQueries(Given([], passages, {}), teacher or Writer(), **options)


def texts(queries):
    return {query.id: query.text for query, _ in queries}


def test_each_sampled_passage_gives_one_query_with_its_origin():
    made = written()
    queries = list(made)
    assert {query.id: query.text for query, _ in queries} == {f"q-{id}-0": text for id, text in GOOD.items()}
    for query, origin in queries:
        passage_id = query.id.split("-")[1]
        assert origin == {"kind": "generated", "passage_id": passage_id, "replies": [f"key of {query.id} 0"]}
    assert (made.source, made.source_revision) == ("memory", "1") and made.prompt.startswith("query@sha256:")


@settings(max_examples=15)
@given(st.permutations(MANY[:12]), st.integers(0, 5))
def test_the_order_of_the_collection_changes_nothing(passages, seed):
    first = written(Writer("some query here"), MANY[:12], count=4, seed=seed)
    assert list(first) == list(written(Writer("some query here"), passages, count=4, seed=seed))


def test_another_seed_is_another_sample():
    samples = {tuple(texts(written(Writer("some query here"), MANY, count=5, seed=seed))) for seed in range(4)}
    assert len(samples) == 4
    made = LlmQueries(open_collection(task("mini")), Writer("what is this about"), count=3, seed=5)
    assert list(texts(made)) == ["q-chess-14-0", "q-bees-02-0", "q-bridge-18-0"]  # today and tomorrow


def test_the_prompt_shows_title_and_the_first_words_and_short_passages_are_not_asked_about():
    teacher = Writer()
    list(written(teacher, words=6))
    shown = {prompt.id: prompt.turns[-1][1] for prompt in teacher.asked}
    assert "Title: Sky Content: Rayleigh scattering sends" in shown["q-sky-0"]
    assert "blue light" not in shown["q-sky-0"]
    assert all(prompt.max_tokens == 64 and prompt.temperature == 0 for prompt in teacher.asked)
    assert list(texts(written(count=1, passage_words=16))) == ["q-sky-0"]
    with pytest.raises(BadInput, match="1 passage of 16 words or more, fewer than the 3"):
        list(written(passage_words=16))


def test_with_a_split_only_the_passages_that_it_judges_are_asked_about():
    judged = {"q": {"sky": 1, "bread": 0}}
    made = LlmQueries(Given([], PASSAGES, judged), Writer(), count=2, split="train")
    assert set(texts(made)) == {"q-sky-0", "q-bread-0"}
    with pytest.raises(BadInput, match="2 passages of 1 words or more in split train, fewer than the 3"):
        list(LlmQueries(Given([], PASSAGES, judged), Writer(), count=3, split="train"))


def test_a_count_of_0_asks_about_every_passage():
    assert set(texts(written(count=0))) == {f"q-{id}-0" for id in GOOD}


def test_several_queries_of_a_passage_are_samples_of_one_prompt():
    teacher = Writer(lambda prompt: f"query number {prompt.sample} about it")
    assert len(texts(written(teacher, per_passage=3, temperature=0.7))) == 9
    assert {prompt.sample for prompt in teacher.asked} == {0, 1, 2}
    assert {prompt.temperature for prompt in teacher.asked} == {0.7}


@pytest.mark.parametrize(("prompt", "examples"), [("query", 0), ("inpars", 4), ("inpars_gbq", 4)])
def test_every_style_ends_where_the_passage_and_the_answer_belong(prompt, examples):
    teacher = Writer()
    list(written(teacher, prompt=prompt))
    for asked in teacher.asked:
        ((role, text),) = asked.turns
        assert role == "user" and "Title: " in text and text.count("Example") == examples


def test_promptagator_takes_the_instruction_and_the_examples_of_its_dataset():
    teacher = Writer()
    examples = [{"passage": "A claim.", "query": "Its opposite."}]
    values = {"instruction": "Give the counter argument.", "examples": examples, "document": "Argument"}
    list(written(teacher, prompt="promptagator", values=values))
    text = next(prompt for prompt in teacher.asked if prompt.id == "q-bread-0").turns[0][1]
    assert text.startswith("Give the counter argument.\n\nArgument: A claim.\nQuery: Its opposite.\n\nArgument: Title")
    assert text.endswith("makes it rise.\nQuery:")
    with pytest.raises(BadInput, match="cannot be filled in"):
        list(written(prompt="promptagator"))


def test_options_that_make_no_sense_are_refused():
    for options, complaint in (
        ({"count": -1}, "of at least 0"),
        ({"per_passage": 0}, "of at least 1"),
        ({"min_words": 9, "max_words": 8}, "max_words"),
        ({"per_passage": 2}, "set temperature"),
        ({"round_trip": 5}, "together"),
        ({"keep_top": 5}, "together"),
        ({"count": 4}, "fewer than the 4"),
        ({"prompt": "no-such"}, "unknown prompt"),
    ):
        with pytest.raises(BadInput, match=complaint):
            list(written(**options))


def test_the_first_line_is_the_query_without_what_is_wrapped_around_it():
    for answer in (
        "why is the sky blue",
        "  why is the sky blue \n",
        '"why is the sky blue"',
        "\u201cwhy is the sky blue\u201d",
        "**why is the sky blue**",
        "1. why is the sky blue\n2. what is light",
        "- why is the sky blue",
        "Query: why is the sky blue",
        'Relevant Query: "why is the sky blue"\nExample 5:\nDocument: and so on',
        "\n\nGood Question: why is the sky blue\nBad Question: what is a sky?",
    ):
        assert first_line(answer)[0] == "why is the sky blue", answer
    for answer in (
        "1、天空为什么是蓝的",
        "（2）「天空为什么是蓝的」",
        "查询：天空为什么是蓝的",
        "１．天空为什么是蓝的\n２．什么是光",
    ):
        assert first_line(answer)[0] == "天空为什么是蓝的", answer
    assert first_line("検索クエリ: 「空はなぜ青いのか」") == ("空はなぜ青いのか", False)
    assert first_line("السؤال: «لماذا السماء زرقاء؟»") == ("لماذا السماء زرقاء؟", False)
    for text in (
        "'tis nobler to suffer",
        "3.5 mm jack",
        "2024 election results",
        "a query about questions: which one",
        "３．５ミリのジャック",
    ):
        assert first_line(text) == (text, False)


FAULTS = {
    "empty": ["", " \n ", '""', "...", "1. "],
    "too short": ["sky", "blue sky", "Query: sky"],
    "too long": ["word " * 10 + " ".join(f"w{n}" for n in range(50))],
    "refuses to answer": [
        "I'm sorry, but I cannot help with that",
        "I can\u2019t write this query",
        "As an AI, I have no sky",
    ],
    "repeats itself": ["blue " * 20, "the sky the sky the sky the sky"],
    "unprintable": ["why is\ufffd the sky blue", "why is\x00 the sky blue", "why is the \u202esky blue"],
    "copy of the passage": [PASSAGES[0].text.replace("blue.", "BLUE"), " ".join(PASSAGES[0].text.split()[1:9])],
}


@pytest.mark.parametrize("reason", FAULTS)
def test_every_fault_is_rejected_and_counted(reason):
    for answer in FAULTS[reason]:
        made = written(Writer(GOOD | {"sky": answer}))
        assert set(texts(made)) == {"q-bread-0", "q-bridge-0"} and left_out(made) == {reason: 1}, answer
        [rejection] = made.rejections
        assert (rejection.id, rejection.reason) == ("q-sky-0", reason)
        assert rejection.reply is not None and rejection.reply.text == answer and rejection.key
    assert set(texts(written(Writer(GOOD | {"sky": "sky looks blue"})))) > {"q-sky-0"}  # a term is not a copy


def test_queries_of_any_script_are_held_to_the_same_limits():
    said = "系统性红斑狼疮是一种自身免疫病，多发于年轻女性。โรคเบาหวานชนิดที่สองพบในผู้ใหญ่เป็นส่วนมาก"
    for answer, reason in (
        ("系统性红斑狼疮", ""),  # a term is not a copy
        ("โรคเบาหวานชนิดที่สอง", ""),
        ("چرا آسمان آبی دیده می\u200cشود", ""),  # a joiner
        ("\u200fلماذا السماء زرقاء\u200f؟", ""),  # marks of direction
        ("红斑病", "too short"),
        ("เบาหวาน", ""),
        ("หวาน", "too short"),
        ("多发于年轻女性吗" * 13, "too long"),
        ("系统性红斑狼疮是一种自身免疫病，多发", "copy of the passage"),
        ("โรคเบาหวานชนิดที่สองพบในผู้ใหญ่เป็น", "copy of the passage"),
    ):
        made = written(Writer(answer), [Passage("d", said)])
        assert left_out(made) == ({reason: 1} if reason else {}), answer


def test_a_first_line_that_was_cut_is_rejected_and_a_whole_one_before_a_cut_is_not():
    assert left_out(written(Writer("why is the sky so", finish="length"))) == {"cut short": 3}
    assert not left_out(written(Writer("why is the sky blue\nDocument: and then", finish="length")))


def test_the_same_query_twice_for_one_passage_is_rejected_once():
    made = written(Writer(), per_passage=2, temperature=1.0)
    assert left_out(made) == {"repeats a query of its passage": 3}
    assert set(texts(made)) == {"q-sky-0", "q-bread-0", "q-bridge-0"}


def test_a_refused_prompt_is_rejected_and_the_others_are_not_but_one_that_is_swallowed_is_an_error():
    made = written(Writer(lost=["q-sky-0"]))
    assert left_out(made) == {"the teacher refuses the prompt: too long": 1} and len(texts(made)) == 2
    [rejection] = made.rejections
    assert (rejection.id, rejection.reply, rejection.key) == ("q-sky-0", None, "")

    class Swallows(Writer):
        def complete(self, prompts):
            return (reply for reply in list(super().complete(prompts))[1:])

    with pytest.raises(OutsideFailed, match="did not answer"):
        list(written(Swallows()))


@given(st.text(max_size=80))
def test_any_answer_is_a_query_or_counted(answer):
    made = written(Writer(GOOD | {"sky": answer}))
    kept = texts(made)
    assert len(kept) + sum(left_out(made).values()) == made.report()["asked"] == 3
    for text in kept.values():
        assert text == text.strip() and count_words(text) >= 3
        assert re.sub("[\u200b-\u200f]", "", text).isprintable(), "joiners and marks of direction are text"


def test_the_teacher_is_asked_once_however_often_the_queries_are_read():
    teacher = Writer()
    made = written(teacher)
    assert list(made) == list(made) and len(teacher.asked) == 3
    told = {"teacher": {"engine": "toy", "model": "writer"}, "prompt": made.prompt}
    assert made.report() == {**told, "asked": 3, "given": 3, "left_out": {}}


def test_the_round_trip_keeps_queries_with_which_one_first_stage_brings_their_passage_back():
    one = {"bm25": Bm25(PASSAGES)}
    both = one | {"another": Bm25([PASSAGES[1]])}
    for says, stages, kept in (
        ("blue light of the sky", one, {"q-sky-0", "q-bridge-0"}),
        ("sourdough of the blue blue sky", one, {"q-sky-0", "q-bridge-0"}),
        ("sourdough of the blue blue sky", both, {"q-sky-0", "q-bridge-0", "q-bread-0"}),
    ):
        made = written(Writer(GOOD | {"bread": says}), retrievers=stages, round_trip=1)
        assert set(texts(made)) == kept
        assert sum(left_out(made).values()) == left_out(made).get("passage not among the best 1", 0) == 3 - len(kept)


def test_score_filtering_keeps_the_best_by_the_reranker_of_those_that_came_back():
    made = written(reranker=Longest(), keep_top=1)
    assert list(texts(made)) == ["q-bread-0"] and left_out(made) == {"score not among the best 1": 2}
    says = GOOD | {"bread": "blue light of the sky is the longest of them all"}
    stages = {"bm25": Bm25(PASSAGES)}
    made = written(Writer(says), retrievers=stages, round_trip=1, reranker=Longest(), keep_top=1)
    assert list(texts(made)) == ["q-bridge-0"]
    assert left_out(made) == {"passage not among the best 1": 1, "score not among the best 1": 1}

"""Queries by a language model: sampled whatever the order, cleaned, held to what a query is, filtered on request."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from toys import Given

from exabench.core.errors import BadInput, OutsideFailed, PromptsRefused
from exabench.core.nouns import Passage, Reply
from exabench.data.queries import QUERIES
from exabench.data.queries.llm_queries import LlmQueries, fault, first_line
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
GOOD = {"sky": "why is the sky blue", "bread": "what makes sourdough taste sour", "bridge": "how is a bridge deck held"}


class Corpus(Given):
    """A toy collection with a revision."""

    revision = "sha256:toy"


class Writer:
    """A toy teacher: `says` by passage id, or one answer to all; `lost` prompts are refused."""

    identity = {"engine": "toy", "model": "writer", "server": "here"}
    config = None

    def __init__(self, says=GOOD, finish="stop", lost=()):
        self.says, self.finish, self.lost, self.asked = says, finish, set(lost), []

    def key(self, prompt):
        return f"key of {prompt.id} {prompt.sample}"

    def complete(self, prompts):
        prompts = list(prompts)
        self.asked += prompts
        for prompt in reversed(prompts):  # in any order
            if prompt.id not in self.lost:
                says = self.says if isinstance(self.says, str) else self.says[prompt.id.split("-")[1]]
                yield Reply(prompt.id, says, self.finish, 10, 5)
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
    return LlmQueries(Corpus([], passages, {}), teacher or Writer(), **options)


def texts(queries):
    return {query.id: query.text for query, _ in queries}


# -- what is asked -----------------------------------------------------------------------------------------------


def test_each_sampled_passage_gives_one_query_with_its_origin():
    queries = list(written())
    assert {query.id: query.text for query, _ in queries} == {f"q-{id}-0": text for id, text in GOOD.items()}
    for query, origin in queries:
        passage_id = query.id.split("-")[1]
        assert origin == {"kind": "generated", "passage_id": passage_id, "replies": [f"key of {query.id} 0"]}


def test_it_is_on_the_shelf_and_pinned_by_its_collection():
    assert QUERIES["llm_queries"] is LlmQueries
    assert (written().source, written().source_revision) == ("memory", "sha256:toy")
    assert written().prompt.startswith("query@sha256:")


@given(st.permutations([Passage(f"p{n}", f"text number {n} of many") for n in range(12)]), st.integers(0, 5))
def test_the_order_of_the_collection_changes_nothing(passages, seed):
    first = written(Writer("some query here"), sorted(passages, key=lambda p: p.id), count=4, seed=seed)
    assert list(first) == list(written(Writer("some query here"), passages, count=4, seed=seed))


def test_another_seed_is_another_sample():
    passages = [Passage(f"p{n}", f"text number {n} of many") for n in range(50)]
    samples = {tuple(texts(written(Writer("some query here"), passages, count=5, seed=seed))) for seed in range(4)}
    assert len(samples) == 4


def test_the_prompt_shows_title_and_the_first_words():
    teacher = Writer()
    list(written(teacher, words=6))
    shown = {prompt.id: prompt.turns[-1][1] for prompt in teacher.asked}
    assert "Title: Sky Content: Rayleigh scattering sends" in shown["q-sky-0"]
    assert "blue light" not in shown["q-sky-0"]
    assert all(prompt.max_tokens == 64 and prompt.temperature == 0 for prompt in teacher.asked)


def test_several_queries_of_a_passage_are_samples_of_one_prompt():
    class Numbered(Writer):
        def complete(self, prompts):
            self.asked = list(prompts)
            return (Reply(p.id, f"query number {p.sample} about it", "stop", 1, 1) for p in self.asked)

    teacher = Numbered()
    made = written(teacher, per_passage=3, temperature=0.7)
    assert len(texts(made)) == 9
    assert {prompt.sample for prompt in teacher.asked} == {0, 1, 2}
    assert {prompt.temperature for prompt in teacher.asked} == {0.7}


def test_short_passages_are_not_asked_about():
    assert list(texts(written(count=1, passage_words=16))) == ["q-sky-0"]
    with pytest.raises(BadInput, match="1 passage of 16 words or more, fewer than the 3"):
        list(written(passage_words=16))


@pytest.mark.parametrize("prompt", ["query", "inpars", "inpars_gbq"])
def test_every_style_ends_where_the_passage_and_the_answer_belong(prompt):
    teacher = Writer()
    list(written(teacher, prompt=prompt))
    for asked in teacher.asked:
        ((role, text),) = asked.turns
        assert role == "user" and "Title: " in text
        assert text.count("Example") == (4 if "inpars" in prompt else 0)


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


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"count": 0}, "of at least 1"),
        ({"min_words": 9, "max_words": 8}, "max_words"),
        ({"per_passage": 2}, "set temperature"),
        ({"round_trip": 5}, "go together"),
        ({"keep_top": 5}, "go together"),
        ({"count": 4}, "fewer than the 4"),
        ({"prompt": "no-such"}, "unknown prompt"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, complaint):
    with pytest.raises(BadInput, match=complaint):
        list(written(**options))


# -- what is read of an answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
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
    ],
)
def test_the_first_line_is_the_query(answer):
    assert first_line(answer)[0] == "why is the sky blue"


def test_what_only_looks_like_wrapping_stays():
    for text in ("'tis nobler to suffer", "3.5 mm jack", "2024 election results", "a query about questions: which one"):
        assert first_line(text) == (text, False)


SKY = PASSAGES[0]
FAULTS = {
    "empty": ["", " \n ", '""', "...", "1. "],
    "too short": ["sky", "blue sky", "Query: sky"],
    "too long": ["word " * 10 + " ".join(f"w{n}" for n in range(50))],
    "refusal": ["I'm sorry, but I cannot help with that", "I can\u2019t write this query", "As an AI, I have no sky"],
    "repeats itself": ["blue " * 20, "the sky the sky the sky the sky"],
    "unprintable": ["why is\x00 the sky blue", "why is the \u202esky blue"],
    "copy of the passage": [
        "scattering sends more blue light than red light",
        "Rayleigh scattering sends more blue light than red light to the eye, so the sky looks BLUE",
    ],
}


@pytest.mark.parametrize(("reason", "answer"), [(why, text) for why, some in FAULTS.items() for text in some])
def test_every_fault_is_rejected_and_counted(reason, answer):
    made = written(Writer(GOOD | {"sky": answer}))
    assert set(texts(made)) == {"q-bread-0", "q-bridge-0"}
    assert left_out(made) == {reason: 1}
    ((prompt, why),) = made.rejections
    assert (prompt.id, why) == ("q-sky-0", reason)


def test_a_term_of_the_passage_is_no_copy():
    assert fault("sky looks blue", SKY, 3, 48) == ""


def test_a_first_line_that_was_cut_is_rejected_and_a_whole_one_before_a_cut_is_not():
    assert left_out(written(Writer("why is the sky so", finish="length"))) == {"cut at the length limit": 3}
    assert not left_out(written(Writer("why is the sky blue\nDocument: and then", finish="length")))


def test_the_same_query_twice_for_one_passage_is_rejected_once():
    made = written(Writer(), per_passage=2, temperature=1.0)
    assert left_out(made) == {"repeats a query of its passage": 3}
    assert set(texts(made)) == {"q-sky-0", "q-bread-0", "q-bridge-0"}


def test_a_refused_prompt_is_rejected_and_the_others_are_not():
    made = written(Writer(lost=["q-sky-0"]))
    assert left_out(made) == {"refused by the teacher": 1} and len(texts(made)) == 2


def test_a_teacher_that_swallows_a_prompt_is_an_error():
    class Swallows(Writer):
        def complete(self, prompts):
            return (reply for reply in list(super().complete(prompts))[1:])

    with pytest.raises(OutsideFailed, match="gave no answer"):
        list(written(Swallows()))


@given(st.text(max_size=80), st.sampled_from(["stop", "length"]))
def test_any_answer_is_a_query_or_counted(answer, finish):
    made = written(Writer(GOOD | {"sky": answer}, finish="stop"))
    kept = texts(made)
    assert len(kept) + sum(left_out(made).values()) == made.report()["asked"] == 3
    assert all(text == text.strip() and text.isprintable() and len(text.split()) >= 3 for text in kept.values())


def test_the_teacher_is_asked_once_however_often_the_queries_are_read():
    teacher = Writer()
    made = written(teacher)
    assert list(made) == list(made) and not left_out(made)
    assert len(teacher.asked) == 3
    assert made.report() == {
        "teacher": {"engine": "toy", "model": "writer"},
        "prompt": made.prompt,
        "asked": 3,
        "given": 3,
        "left_out": {},
    }


# -- filters -----------------------------------------------------------------------------------------------------


def test_the_round_trip_keeps_queries_that_bring_their_passage_back():
    says = GOOD | {"bread": "blue light of the sky"}
    made = written(Writer(says), retrievers={"bm25": Bm25(PASSAGES)}, round_trip=1)
    assert set(texts(made)) == {"q-sky-0", "q-bridge-0"}
    assert left_out(made) == {"passage not among the best 1": 1}


def test_one_first_stage_that_finds_the_passage_is_enough():
    says = GOOD | {"bread": "sourdough of the blue blue sky"}
    one = {"text": Bm25(PASSAGES)}
    both = one | {"another": Bm25([PASSAGES[1]])}
    assert "q-bread-0" not in texts(written(Writer(says), retrievers=one, round_trip=1))
    assert "q-bread-0" in texts(written(Writer(says), retrievers=both, round_trip=1))


def test_score_filtering_keeps_the_best_by_the_reranker():
    made = written(reranker=Longest(), keep_top=1)
    assert list(texts(made)) == ["q-bread-0"]
    assert left_out(made) == {"score not among the best 1": 2}


def test_both_filters_one_after_the_other():
    says = GOOD | {"bread": "blue light of the sky is the longest of them all"}
    stages = {"bm25": Bm25(PASSAGES)}
    made = written(Writer(says), retrievers=stages, round_trip=1, reranker=Longest(), keep_top=1)
    assert list(texts(made)) == ["q-bridge-0"]
    assert left_out(made) == {"passage not among the best 1": 1, "score not among the best 1": 1}


def test_mini_is_asked_about_the_same_passages_today_and_tomorrow():
    made = LlmQueries(open_collection(task("mini")), Writer("what is this about"), count=3, seed=5)
    assert list(texts(made)) == ["q-chess-14-0", "q-bees-02-0", "q-bridge-18-0"]

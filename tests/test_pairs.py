"""Pairs come in the order that the paper's code or a seed gives them, the same every time, and explained pairs hold."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from toys import Given, WithTriples, write_beir

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Task
from exabench.core.rows import Pair
from exabench.data.pairs.docpairs import Docpairs
from exabench.data.pairs.evidence import Evidence, evidence
from exabench.data.pairs.judged import Judged
from exabench.data.pairs.pubmedqa import PubMedQA
from exabench.data.pairs.triples import Triples
from exabench.tasks.collections.beir_folder import BeirFolder

MINI = BeirFolder(Task("mini", "mini"))


def collection(judged: dict[str, dict[str, int]], passages: int = 40) -> Given:
    queries = [Query(id, f"query {id}") for id in judged]
    return Given(queries, [Passage(f"p{i}", f"passage {i}") for i in range(passages)], judged)


def ids(pairs: Iterable[Pair]) -> list[tuple[str, str, bool]]:
    return [(pair.query.id, pair.passage.id, pair.relevant) for pair in pairs]


def test_judged_pairs_alternate_in_an_order_of_the_seed_and_begin_with_a_passage_that_is_not_relevant():
    source = Judged(MINI, split="train", seed=1)
    pairs = list(source)
    assert [pair.relevant for pair in pairs] == [False, True] * 108
    qrels = MINI.qrels("train")
    assert all((qrels[pair.query.id][pair.passage.id] >= 1) == pair.relevant for pair in pairs)
    assert len(set(ids(pairs))) == len(pairs) and ids(source) == ids(pairs) != ids(Judged(MINI, seed=2))
    assert [pair.relevant for pair in Judged(MINI, classes="relevant")] == [True] * 108


def test_a_threshold_moves_the_line_and_a_count_cuts_the_list():
    qrels = MINI.qrels("train")
    strict = list(Judged(MINI, split="train", threshold=3, count=21))
    assert len(strict) == 21 and Counter(pair.relevant for pair in strict) == {False: 11, True: 10}
    assert all((qrels[pair.query.id][pair.passage.id] == 3) == pair.relevant for pair in strict)
    assert ids(Judged(MINI, split="train", count=20)) == ids(Judged(MINI, split="train"))[:20]
    for options in ({"count": 0}, {"threshold": 9}):
        with pytest.raises(BadInput, match="give"):
            list(Judged(MINI, **options))


def test_a_collection_that_judges_relevant_passages_only_lends_others_that_nobody_judged():
    judged = {"a": {"p1": 1, "p2": 2}, "b": {"p1": 1, "p3": 1}, "c": {"p4": 1}}
    pairs = list(Judged(collection(judged)))
    assert [pair.relevant for pair in pairs] == [False, True] * 5
    assert Counter(p.query.id for p in pairs if p.relevant) == Counter(p.query.id for p in pairs if not p.relevant)
    assert all(pair.passage.id not in judged[pair.query.id] for pair in pairs if not pair.relevant)


def test_a_collection_of_few_passages_or_without_a_judged_one_gives_the_pairs_that_it_can():
    assert [pair.relevant for pair in Judged(collection({"a": {"p0": 1}, "b": {"p1": 1}}, 2))] == [False, True] * 2
    assert list(Judged(collection({"a": {"p0": 1, "p1": 1}}, 2))) == []
    lacking = collection({"a": {"p1": 1, "gone": 1, "p2": 0, "away": 0}})
    assert ids(Judged(lacking)) == [("a", "p2", False), ("a", "p1", True)]


grades = st.dictionaries(
    st.sampled_from("abcd"), st.dictionaries(st.integers(0, 39).map("p{}".format), st.integers(0, 3), max_size=12)
)


@given(grades, st.integers(0, 39), st.integers(0, 3))
def test_a_new_judgement_moves_no_other_pair(judged, passage, grade):
    more = {query: dict(row) for query, row in judged.items()} | {"new": {f"p{passage}": grade}}
    enough = {"z": {"p0": 1, "p1": 0}}
    before, after = (
        [pair for pair in ids(Judged(collection(rows | enough), classes="relevant")) if pair[0] != "new"]
        for rows in (judged, more)
    )
    assert before == after


def triples_file(folder: Path, count: int = 400) -> Path:
    file = folder / "triples.train.small.tsv"
    file.write_text("".join(f"query {i % 90}\tgood {i}\tbad {i}\n" for i in range(count)), encoding="utf-8")
    return file


def walked(text: str, count: int) -> list[tuple[bool, str, str]]:
    """The rule again, on the whole file at once: which lines, then what each gives."""
    chance = random.Random(2)
    places = [chance.randint(0, 10)]
    while len(places) < count:
        places.append(places[-1] + chance.randint(1, 10))
    records = list(csv.reader(io.StringIO(text), delimiter="\t"))
    chosen = [records[place] for place in places]
    return [(bool(i % 2), row[0], (row[2], row[1])[i % 2]) for i, row in enumerate(chosen)]


def texts(pairs: Iterable[Pair]) -> list[tuple[bool, str, str]]:
    return [(pair.relevant, pair.query.text, pair.passage.text) for pair in pairs]


def test_the_paper_s_walk_takes_the_lines_that_the_authors_code_takes_and_the_balanced_one_both_passages_of_each(
    tmp_path,
):
    file = triples_file(tmp_path)
    pairs = list(Triples(file, count=50))
    assert texts(pairs) == walked(file.read_text(encoding="utf-8"), 50)
    assert texts(pairs)[:2] == [(False, "query 0", "bad 0"), (True, "query 2", "good 2")]  # seed 2 draws 0, then 2
    lines = [int(pair.passage.id.removeprefix("line").split("-")[0]) for pair in pairs]
    assert all(1 <= b - a <= 10 for a, b in zip(lines, lines[1:], strict=False)), "relevant texts are of other lines"
    balanced = texts(Triples(file, count=40, way="balanced"))
    for bad, good in zip(balanced[::2], balanced[1::2], strict=True):
        assert good == (True, bad[1], bad[2].replace("bad", "good")) and not bad[0]


def test_quotation_marks_are_read_as_the_authors_code_reads_them(tmp_path):
    file = tmp_path / "triples.tsv"
    text = '"who" wrote it\tgood\tbad\n' + '"two\nlines"\tgood ""2""\t"bad" one\n' * 40
    file.write_text(text, encoding="utf-8")
    assert texts(Triples(file, count=8)) == walked(text, 8)
    first = next(iter(Triples(file, count=1)))
    assert first.query.text == "who wrote it"
    plain = tmp_path / "plain.tsv"
    plain.write_text('"who" wrote it\tgood\t"bad\n', encoding="utf-8")
    balanced = list(Triples(plain, count=2, way="balanced"))
    assert [pair.passage.text for pair in balanced] == ['"bad', "good"]


columns = st.text(alphabet='ab"\n', max_size=6)


@settings(max_examples=15)
@given(st.lists(st.tuples(columns, columns, columns), min_size=1, max_size=7), st.booleans())
def test_any_quotation_marks_are_read_as_the_authors_code_reads_them(tmp_path_factory, rows, quoted):
    text, rows = io.StringIO(), rows * (120 // len(rows))
    if quoted:
        csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
    else:
        text.write("".join("\t".join(row).replace("\n", "") + "\n" for row in rows))
    file = tmp_path_factory.mktemp("triples") / "triples.tsv"
    file.write_text(text.getvalue(), encoding="utf-8")
    try:
        expected = walked(text.getvalue(), 11)
    except IndexError:  # so many lines became one that the walk leaves the file, or a line has no three columns
        return
    assert texts(Triples(file, count=11)) == expected


def test_an_id_is_of_line_and_class_and_a_longer_list_begins_with_the_shorter_one(tmp_path):
    source = Triples(triples_file(tmp_path), count=60, step=3)
    next(iter(source))
    pairs = list(source)
    assert pairs[0].passage.id == f"line{int(pairs[0].passage.text.split()[1]) + 1}-negative"
    assert len({pair.passage.id for pair in pairs}) == 60
    by_text = {(pair.query.text, pair.query.id) for pair in pairs}  # a query keeps its id on every line
    assert len(by_text) == len({text for text, _ in by_text}) == len({id for _, id in by_text})
    assert ids(source)[:30] == ids(pairs)[:30] == ids(Triples(source.file, count=30, step=3))


@pytest.mark.parametrize("packed", [False, True])
def test_the_file_is_read_no_further_than_the_pairs_need(tmp_path, packed):
    file = triples_file(tmp_path, 200_000 if packed else 400)
    data = file.read_bytes()
    # Behind the lines that are needed: bytes that are not text, or an archive that is cut off.
    file.write_bytes(gzip.compress(data)[:400_000] if packed else data + b"\xff\xff\n")
    source = Triples(file.name, data=tmp_path, count=20)
    assert len(list(source)) == 20 and len(source.source_revision) == 71
    with pytest.raises(BadInput, match="gzip" if packed else "UTF-8"):
        list(Triples(file))


def test_the_revision_is_that_of_the_lines_that_were_needed(tmp_path):
    file = triples_file(tmp_path)
    few, many = Triples(file, count=5).source_revision, Triples(file, count=50).source_revision
    file.write_bytes(gzip.compress(file.read_bytes()))
    assert Triples(file, count=5).source_revision == few != many
    text = gzip.decompress(file.read_bytes()).decode()
    file.write_text(text.replace("bad 399", "worse"), encoding="utf-8")
    assert Triples(file, count=5).source_revision == few
    file.write_text(text.replace("bad 0\n", "worse\n"), encoding="utf-8")
    assert Triples(file, count=5).source_revision != few


def test_a_file_that_ends_too_early_or_is_no_triples_is_refused_with_its_line(tmp_path):
    with pytest.raises(BadInput, match="ends after [67][0-9] pairs, before the 1000"):
        list(Triples(triples_file(tmp_path), count=1000))
    assert 60 < len(list(Triples(triples_file(tmp_path)))) < 90
    file = tmp_path / "other.tsv"
    file.write_text("query\tpassage\n" * 30, encoding="utf-8")
    for way in ("paper", "balanced"):
        with pytest.raises(BadInput, match=r"other.tsv:1: has 2 columns where triples have 3"):
            list(Triples(file, way=way))
    file.write_text('q\t"' + "x" * 200_000, encoding="utf-8")
    with pytest.raises(BadInput, match="cannot be read as CSV"):
        list(Triples(file))
    with pytest.raises(BadInput, match="must be at least 1"):
        Triples(file, step=0)


def test_triples_by_id_are_walked_like_the_file_and_a_pair_that_is_met_again_is_given_once(tmp_path):
    file = tmp_path / "triples.tsv"
    file.write_text("".join(f"query {i % 90}\tgood {i % 60}\tbad {i}\n" for i in range(400)), encoding="utf-8")
    found = texts(Docpairs(WithTriples(), count=30))
    assert found == texts(Triples(file, count=30)) and len(set(found)) == 30
    both = texts(Docpairs(WithTriples(), way="balanced", count=10))
    assert [relevant for relevant, _, _ in both] == [False, True] * 5
    every_line = ids(Docpairs(WithTriples(), step=1))
    assert len(every_line) == len(set(every_line)) < 400
    assert sum(relevant for _, _, relevant in every_line) == len({(i % 90, i % 60) for i in range(400) if i % 2})


def test_triples_by_id_without_texts_or_too_few_of_them_are_refused():
    for pairs, complaint in (
        (Docpairs(collection({"a": {"p1": 1}})), "memory has no triples"),
        (Docpairs(WithTriples(), count=900), "memory ends after 6[0-9] pairs, before the 900"),
        (Docpairs(WithTriples(missing="bad0"), count=4), r"has no passage of this id.*\(id 'bad0'\)"),
    ):
        with pytest.raises(BadInput, match=complaint):
            list(pairs)


def test_evidence_is_the_marked_sentences_in_the_order_of_the_text_unless_their_end_is_doubtful():
    text = "One is here. Two follows! Is three asked? Four ends."
    assert evidence(text, [[3], [1]]) == "Two follows! Four ends."
    assert evidence(text, [[0], [0, 2]]) == "One is here. Is three asked?"
    assert evidence(text, []) == evidence(text, [[]]) == evidence(text, [[4]]) == ""
    text = "We saw E. coli grow. It grew fast. The end."
    assert evidence(text, [[0]]) == evidence(text, [[1]]) == ""
    text = "It grew fast. Some (e.g. two) grew more. The end."
    assert evidence(text, [[0]]) == evidence(text, [[0], [1]]) == "It grew fast."
    assert evidence(text, [[0, 1]]) == "", "half a rationale is none"


def scifact(folder: Path, *rows: object) -> BeirFolder:
    passages = [Passage("7", "Up is so. Down is no.", "Title"), Passage("8", "Far."), Passage("9", "Cited only.")]
    toy = Given([Query("1", "is a b"), Query("2", "is e f")], passages, {"1": {"7": 1, "9": 1}, "2": {"8": 1}})
    if not (folder / "scifact").is_dir():
        write_beir(folder / "scifact", toy, "train")
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "scifact" / "evidence.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return BeirFolder(Task("scifact", "SciFact"), folder)


def row(claim: str, document: str, *sentences: int) -> dict[str, object]:
    return {"claim_id": claim, "doc_id": document, "label": "SUPPORT", "sentences": list(sentences)}


def test_only_pairs_with_evidence_in_the_split_are_given_and_all_are_relevant(tmp_path):
    toy = scifact(tmp_path, row("1", "7", 1), row("2", "8", 5), row("1", "8", 0))
    source = Evidence(toy)
    assert [(p.query.id, p.passage.id, p.relevant, p.rationale) for p in source] == [("1", "7", True, "Down is no.")]
    assert source.left_out == 1
    before = source.source_revision
    scifact(tmp_path, row("1", "7", 0))
    assert Evidence(toy).source_revision != before


def test_lines_that_are_no_evidence_or_of_no_text_or_no_split_are_refused(tmp_path):
    for line in ("{", "[]", row("1", "7", -1), {"claim_id": "1"}):
        with pytest.raises(BadInput, match=r"evidence\.jsonl:2: "):
            list(Evidence(scifact(tmp_path, row("1", "7", 0), line)))
    toy = scifact(tmp_path, row("2", "9", 0))
    with pytest.raises(BadInput, match="has no evidence for a pair of split train"):
        list(Evidence(toy))
    with pytest.raises(BadInput, match="name it as file="):
        Evidence(collection({"a": {"p1": 1}}))
    gone = Given([Query("1", "q")], [], {"1": {"7": 1}})
    scifact(tmp_path, row("1", "7", 0))
    with pytest.raises(BadInput, match=r"has no passage of this id.*\(id '7'\)"):
        list(Evidence(gone, file=tmp_path / "scifact" / "evidence.jsonl"))


def test_a_question_without_a_long_answer_is_refused(tmp_path):
    toy = Given([Query("q1", "is it")], [Passage("1", "It is.")], {"q1": {"1": 1}})
    folder = write_beir(tmp_path / "pubmedqa", toy, "train")
    pubmedqa = BeirFolder(Task("pubmedqa", "PubMedQA"), tmp_path)
    with pytest.raises(BadInput, match=r"queries\.jsonl:1: lacks the key 'metadata'"):
        list(PubMedQA(pubmedqa))
    answer = {"_id": "q1", "text": "is it", "metadata": {"long_answer": " Yes, it is. "}}
    (folder / "queries.jsonl").write_text(json.dumps(answer) + "\n", encoding="utf-8")
    assert [pair.rationale for pair in PubMedQA(pubmedqa)] == ["Yes, it is."]


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "pairs", "left_out"), [("train", 538, 26), ("test", 199, 10)])
def test_scifact_s_evidence_is_text_of_its_abstracts(real_data, split, pairs, left_out):
    place = BeirFolder(Task("scifact", "SciFact"), real_data)
    source, qrels = Evidence(place, split=split), place.qrels(split)
    found = list(source)
    assert (len(found), source.left_out) == (pairs, left_out)
    assert all(pair.passage.id in qrels[pair.query.id] and pair.relevant for pair in found)
    assert all(sentence in pair.passage.text for pair in found for sentence in pair.rationale.split(". "))
    assert {pair.query.id for pair in found}.isdisjoint(place.qrels({"train": "test", "test": "train"}[split]))


@pytest.mark.real_data
def test_scifact_s_evidence_says_more_of_the_claim_than_the_sentences_around_it_do(real_data):
    """The numbers count sentences of lists that we do not have: a sign that our sentences are the same ones."""
    place = BeirFolder(Task("scifact", "SciFact"), real_data)
    abstracts = {passage.id: passage.text for passage in place.passages()}
    shared: dict[int, list[float]] = {-1: [], 0: [], 1: []}
    for line in (real_data / "scifact" / "evidence.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        claim = {word for word in row["claim"].lower().split() if len(word) > 3}
        for number in row["sentences"]:
            for step, values in shared.items():
                text = evidence(abstracts[row["doc_id"]], [[number + step]]) if number + step >= 0 else ""
                if text and claim:
                    values.append(len(claim & set(text.lower().split())) / len(claim))
    means = {step: sum(values) / len(values) for step, values in shared.items()}
    assert means[0] > 1.5 * max(means[-1], means[1])


@pytest.mark.real_data
@pytest.mark.parametrize("split", ["train", "test"])
def test_pubmedqa_gives_every_question_of_a_split_its_abstract_and_long_answer(real_data, split):
    found = list(PubMedQA(BeirFolder(Task("pubmedqa", "PubMedQA"), real_data), split=split))
    assert len({pair.query.id for pair in found}) == 500
    assert all(pair.query.id == f"q{pair.passage.id}" and pair.rationale for pair in found)


@pytest.mark.real_data
def test_real_judgements_give_balanced_pairs(real_data):
    for task, split, threshold, pairs in (("scifact", "train", 1, 1838), ("trec-dl-2020", "test", 2, 2242)):
        found = Judged(BeirFolder(Task(task, task), real_data), split=split, threshold=threshold)
        assert [pair.relevant for pair in found] == [False, True] * (pairs // 2)

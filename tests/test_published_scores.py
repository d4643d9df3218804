"""Published scores by id become lists with texts; a wrong line is named, and the collection is read block by block."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from toys import WithTriples, write_beir

from exabench.core.errors import BadInput
from exabench.core.files import file_digest
from exabench.core.rows import check_row
from exabench.data.auditing import audit
from exabench.data.builders import published_scores
from exabench.data.builders.published_scores import PublishedScores
from exabench.data.building import Sources, build
from exabench.data.releases import rows

PROVENANCE = {"teacher": "t", "teacher_revision": "", "prompt": "", "replies": []}


def scores(folder: Path, count: int = 95, changed: dict[int, str] | None = None) -> Path:
    """A file of scores for the triples of the toy collection; some lines changed."""
    triples = list(WithTriples().triples())[:count]
    text = [f"{i % 7 - 3.25}\t{i % 5 - 2.5}\t{q}\t{good}\t{bad}" for i, (q, good, bad) in enumerate(triples)]
    for number, line in (changed or {}).items():
        text[number - 1] = line
    file = folder / "scores.tsv"
    file.write_text("\n".join(text) + "\n", encoding="utf-8")
    return file


def test_every_line_is_a_list_with_the_two_scores_of_the_file(tmp_path: Path) -> None:
    file = scores(tmp_path)
    made = PublishedScores(WithTriples(), file=str(file), made_by="ensemble")
    items = list(made.items())
    found = [check_row("scored", PROVENANCE | row) for item in items for row in made.rows(item, [])]
    assert [row["id"] for row in found] == [f"line-{number}" for number in range(1, 96)]
    for row, line in zip(found, file.read_text().splitlines(), strict=True):
        # As train_cross-encoder_kd.py of sentence-transformers reads it.
        pos_score, neg_score, qid, pid1, pid2 = line.strip().split("\t")
        assert dict(zip(row["passage_ids"], row["scores"], strict=True)) == {
            pid1: float(pos_score),
            pid2: float(neg_score),
        }
        assert row["query_id"] == qid and row["scores"][0] >= row["scores"][1]
    first = found[0]
    assert (first["passages"], first["titles"]) == (["bad 0", "good 0"], ["Title 0", "Title 0"])
    assert made.identity["file_digest"] == file_digest(file)
    assert made.report(items) == {"lists": 95, "queries": 90}


def test_texts_are_read_for_many_lines_at_once_and_a_gzip_file_is_read_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = scores(tmp_path)
    whole = list(PublishedScores(WithTriples(), file=str(file), made_by="m").items())
    packed = tmp_path / "scores.tsv.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    monkeypatch.setattr(published_scores, "AT_ONCE", 40)
    held = WithTriples()
    assert list(PublishedScores(held, file="scores.tsv.gz", made_by="m", data=tmp_path).items()) == whole
    assert held.readings == 3
    assert list(PublishedScores(WithTriples(), file=str(file), made_by="m", count=50).items()) == whole[:50]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1.0\t2.0\tq1\tgood1", "has 4 columns where scores have 5"),
        ("high\t2.0\tq1\tgood1\tbad1", "'high' is not a score"),
        ("1.0\tnan\tq1\tgood1\tbad1", "'nan' is not a score"),
        ("1.0\t2.0\tq1\tgood1\tgood1", "names one passage twice"),
        ("1.0\t2.0\tq999\tgood1\tbad1", r"memory has no text of this id.* \(id 'q999'\)"),
        ("1.0\t2.0\tq1\tgood1\tbad999", r"memory has no text of this id.* \(id 'bad999'\)"),
        ("", "has 1 column where"),
    ],
)
def test_a_wrong_line_is_named_with_its_number(line: str, complaint: str, tmp_path: Path) -> None:
    made = PublishedScores(WithTriples(), file=str(scores(tmp_path, changed={7: line})), made_by="m")
    with pytest.raises(BadInput, match=rf"scores.tsv:7: .*{complaint}"):
        list(made.items())


def test_a_file_that_is_too_short_or_not_there_is_refused(tmp_path: Path) -> None:
    file = str(scores(tmp_path))
    for options, complaint in (
        ({"file": file, "count": 96}, "ends after 95 lines, before the 96 wanted"),
        ({"file": file, "count": -1}, "count is -1"),
        ({"file": str(tmp_path / "none.tsv")}, "none.tsv"),
    ):
        with pytest.raises(BadInput, match=complaint):
            list(PublishedScores(WithTriples(), made_by="m", **options).items())


def test_a_recipe_makes_a_release_of_them_that_names_the_scorer(tmp_path: Path) -> None:
    write_beir(tmp_path / "data" / "own", WithTriples(), "train")
    (tmp_path / "data" / "own" / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tgood0\t1\n")
    scores(tmp_path / "data")
    (tmp_path / "own.toml").write_text(
        'builder = "published_scores"\ndataset = "set"\ntable = "pairs"\nlicence = "other"\nshard = 20\n'
        f'[options]\ntask = "{tmp_path / "data" / "own"}"\nfile = "scores.tsv"\nmade_by = "ensemble"\n'
    )
    where = Sources(tmp_path / "data", tmp_path / "replies.sqlite")
    table = build(tmp_path / "own.toml", tmp_path / "work", sources=where).tables["pairs"]
    found = list(rows(tmp_path / "work" / "release", "pairs", "train"))
    assert table.teacher["model"] == "ensemble" and {row["teacher"] for row in found} == {"ensemble"}
    assert len(found) == table.counts["good"] > 50 and not audit(tmp_path / "work" / "release").problems

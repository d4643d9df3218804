"""Contrastive groups of training triples: as many as are wanted, as they come, with the collection's texts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from toys import Given

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.core.rows import check_row
from exabench.data.builders import triples as module
from exabench.data.builders.triples import TriplesBuilder


class Pinned(Given):
    revision = "1"


class ById(Pinned):
    """A collection with triples by id, as ir_datasets keeps them, and how often its passages were read."""

    read = 0

    def passages(self) -> Iterator[Passage]:
        self.read += 1
        return super().passages()

    def triples(self) -> Iterator[tuple[str, str, str]]:
        for i in range(40):
            yield f"q{i % 9}", f"good{i % 6}", f"bad{i}"


def by_id(missing: str = "") -> ById:
    passages = [Passage(f"{kind}{i}", f"{kind} {i}", f"Title {i}") for kind in ("good", "bad") for i in range(40)]
    return ById([Query(f"q{i}", f"query {i}") for i in range(9)], [p for p in passages if p.id != missing], {})


def built(builder: TriplesBuilder) -> list[dict]:
    rows = [builder.row(item, ()) for item in builder.items()]
    told = {"teacher": "human", "teacher_revision": "", "prompt": "", "replies": []}
    return [check_row("contrastive", {**row, **told}) for row in rows]


def test_every_triple_is_a_group_with_its_texts_in_the_collections_order():
    rows = built(TriplesBuilder(by_id()))
    assert [row["id"] for row in rows] == [f"triple-{i}" for i in range(40)]
    assert (rows[7]["query"], rows[7]["positive"], rows[7]["negatives"]) == ("query 7", "good 1", ["bad 7"])
    assert (rows[7]["positive_title"], rows[7]["negative_titles"]) == ("Title 1", ["Title 7"])


def test_texts_are_read_for_many_triples_at_once_and_the_rows_are_the_same(monkeypatch):
    whole, some = by_id(), by_id()
    rows = built(TriplesBuilder(whole, count=25))
    monkeypatch.setattr(module, "_AT_ONCE", 10)
    assert built(TriplesBuilder(some, count=25)) == rows and len(rows) == 25
    assert (whole.read, some.read) == (1, 3)


def test_the_report_counts_triples_and_their_queries():
    builder = TriplesBuilder(by_id(), count=12)
    assert builder.report(builder.items()) == {"triples": 12, "queries": 9}


def test_triples_that_are_not_there_or_have_no_text_are_refused():
    with pytest.raises(BadInput, match="memory has no triples"):
        list(TriplesBuilder(Pinned([], [], {})).items())
    with pytest.raises(BadInput, match="memory ends after 40 triples, before the 41 wanted"):
        list(TriplesBuilder(by_id(), count=41).items())
    with pytest.raises(BadInput, match=r"has no passage of this id.* \(id 'bad3'\)"):
        list(TriplesBuilder(by_id(missing="bad3")).items())
    with pytest.raises(BadInput, match="count is -1"):
        TriplesBuilder(by_id(), count=-1)

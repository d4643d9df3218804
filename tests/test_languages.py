"""Sets of five languages, made and audited alike: limits, cuts, duplicates and leaks count the same in all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from endpoint import chat
from multilingual import (
    NEAR,
    SUBJECTS,
    WORD,
    WORD_GAP,
    passages,
    questions_of,
    sentences_of,
    two_sentences,
    write_collections,
)
from toys import toml

from exabench.core.errors import BadInput
from exabench.core.rows import Release
from exabench.core.words import LONGEST, count_words, cut_words
from exabench.data.auditing import audit
from exabench.data.building import Sources, build
from exabench.data.releases import rows

LANGUAGES = ("en", "zh", "ja", "th", "ar")
# Unlike its default the recipe says "en": the rules of that analysis, and each Han or Kana letter as a word.
BM25 = {"part": "bm25", "language": "en"}
WORDS = 30
"""Words of a passage that prompts show: `t` passages are shorter, all others longer."""


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    write_collections(tmp_path / "data", request.param)
    return str(request.param)


def built(tmp: Path, builder: str, options: dict[str, Any], url: str = "", to: str = "work") -> Release:
    recipe = {
        "builder": builder,
        "dataset": "own",
        "table": "notes",
        "title": "Notes",
        "licence": "cc0-1.0",
        "seed": 0,
        "shard": 50,
        "options": {"task": "notes", "retrievers": {"bm25": BM25}, **options},
    }
    if url:
        recipe["teacher"] = {"part": "openai", "model": "m/m", "base_url": url}
    file = tmp / "recipe.toml"
    file.write_text(toml(recipe), encoding="utf-8")
    return build(file, tmp / to, sources=Sources(tmp / "data", tmp / "replies.sqlite"))


def made(tmp: Path) -> list[Any]:
    return list(rows(tmp / "work" / "release", "notes", "train"))


def generated(tmp: Path) -> dict[str, Any]:
    """Options for groups of generated queries, whose first stage finds two long passages for every query.

    It is a run from a file, because BM25 finds a Thai passage only by a whole clause.
    """
    lines = []
    for subject in range(SUBJECTS):
        for kind in "dn":
            for rank in (1, 2):
                lines.append(f"q-{kind}{subject}-0 Q0 d{(subject + rank) % SUBJECTS} {rank} {9 - rank} own")
    run = tmp / "run.trec"
    run.write_text("\n".join(lines) + "\n")
    queries = {"part": "llm_queries", "count": 12, "passage_words": 60, "words": WORDS}
    stage = {"part": "run_file", "file": str(run)}
    return {"queries": queries, "retrievers": {"own": stage}, "candidates": 2, "negatives": 2}


class Model:
    """A language model of one language: it asks about a subject, judges by the subject, and keeps what it was shown."""

    def __init__(self, language: str, *, bad: bool = False) -> None:
        self.language, self.bad = language, bad
        self.shown = list[str]()

    def subject(self, text: str) -> int:
        """The subject whose first sentence is the first of all in a text."""
        firsts = sentences_of(self.language)[::2]
        return min(range(SUBJECTS), key=lambda subject: text.find(firsts[subject][:-2]) % 10**9)

    def __call__(self, sent: str) -> str:
        if "Order all" in sent:
            self.shown += re.findall(r"^\[\d+\] (.+)$", sent, re.MULTILINE)
            most = len(re.findall(r"^\[\d+\] ", sent, re.MULTILINE))
            return " > ".join(f"[{number}]" for number in range(most, 0, -1))
        passage = sent.split("Passage: ")[1].split("\n\n")[0]
        self.shown.append(passage)
        subject = self.subject(passage)
        question = questions_of(self.language)[subject]
        if "Is the passage relevant" in sent:
            return "relevant" if f"Query: {question}\n" in sent else "not relevant"
        if self.bad and passage.startswith("(7)"):
            repeated = WORD_GAP[self.language].join([WORD[self.language]] * 12)
            everything = " ".join(sentences_of(self.language))
            return (WORD[self.language], everything, repeated, two_sentences(self.language, 3, 0))[subject]
        return question


def test_every_sentence_is_a_cropped_query_once(tmp_path: Path, language: str) -> None:
    cropped = {"part": "cropped", "count": 16, "fewest_words": 4}
    release = built(tmp_path, "scored", {"queries": cropped, "documents": 5})
    queries = {row["query"]: row["query_id"] for row in made(tmp_path)}
    assert set(queries) == set(sentences_of(language))
    assert release.tables["notes"].counts["good"] == 16
    with pytest.raises(BadInput, match="has 16 different sentences of 4 words or more, fewer than count = 17"):
        built(tmp_path, "scored", {"queries": cropped | {"count": 17}}, to="more")
    with pytest.raises(BadInput, match="has 0 different sentences of 14 words or more"):
        built(tmp_path, "scored", {"queries": cropped | {"fewest_words": 14}}, to="longer")


def test_lists_are_shown_in_part_and_counted_as_cut(tmp_path: Path, language: str) -> None:
    model = Model(language)
    options = {"queries": {"part": "cropped", "count": 16, "fewest_words": 4}, "documents": 4, "words": WORDS}
    with chat(model) as server:
        release = built(tmp_path, "twolar", options, server.url)
    lists = [row["passage_ids"] for row in made(tmp_path)]
    long = [id for ids in lists for id in ids if not id.startswith("t")]
    assert release.tables["notes"].report["cut_passages"] == len(long) > 16
    assert len(lists) == 16 and release.tables["notes"].report["passages"] == len(model.shown)
    texts = {" ".join(passage.text.split()) for passage in passages(language)}
    cut = [shown for shown in model.shown if shown not in texts]
    assert len(cut) == len(long)
    for shown in cut:
        assert count_words(shown) == WORDS and any(text.startswith(shown) for text in texts)


def test_generated_queries_are_kept_or_rejected_for_the_same_reasons(tmp_path: Path, language: str) -> None:
    model = Model(language, bad=True)
    options = generated(tmp_path)
    with chat(model) as server:
        release = built(tmp_path, "contrastive", options, server.url)
    table = release.tables["notes"]
    assert table.counts == {
        "input": 12,
        "good": SUBJECTS,
        "quarantined": NEAR,
        "skipped": 0,
        "reasons": {
            f"rejected: query: {reason}": 1
            for reason in ("copy of the passage", "repeats itself", "too long", "too short")
        },
    }
    assert {row["query"] for row in made(tmp_path)} == set(questions_of(language))
    with pytest.raises(BadInput, match="has 12 passages of 60 words or more, fewer than the 13"):
        options["queries"]["count"] = 13
        built(tmp_path, "contrastive", options, "http://127.0.0.1:9/v1", to="more")


def test_near_duplicates_are_skipped_and_leaks_are_found(tmp_path: Path, language: str) -> None:
    with chat(Model(language)) as server:
        release = built(tmp_path, "contrastive", generated(tmp_path), server.url)
    assert release.tables["notes"].counts["reasons"] == {"skipped: near duplicate": NEAR}
    found = made(tmp_path)
    assert {row["query"] for row in found} == set(questions_of(language))

    figures = audit(tmp_path / "work" / "release", data=tmp_path / "data").tables["notes"]
    quoting = 0
    for row in found:
        quoting += bool({"d2", "n2"} & {row["positive_id"], *row["negative_ids"]})
    assert quoting
    leaks = figures["leaks"]["benchmarks"]["quiz"]
    assert leaks["query text"] == 1 and leaks["passage text"] == quoting
    lengths = figures["passage words"]
    assert lengths["min"] >= 8 and lengths["max"] <= 240 and 4 <= figures["query words"]["min"] <= 7


def test_a_text_without_any_space_is_cut_whatever_its_script() -> None:
    for letter in "A愛ไกအ가अᚠ":
        text = letter * 200_000
        assert count_words(text) >= 200_000 // 3
        shown, is_cut = cut_words(text, 300)
        assert is_cut and 300 <= len(shown) <= 900 and text.startswith(shown)
    word = "A" * LONGEST
    assert cut_words(f"{word} b c", 2) == (f"{word} b", True), "a long address is one word all the same"

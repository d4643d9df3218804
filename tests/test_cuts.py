"""Cuts of a long input as tokenizers make them, which the code of published rerankers leaves it to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from models import classifier_folder, decoder_folder, t5_folder, t5_tokenizer

from exabench.core.errors import BadInput, UnknownName
from exabench.core.nouns import Passage, Query
from exabench.parts.assembly import check_options, reranker
from exabench.parts.rerankers import RERANKERS

SHORT = "why is the sky blue"
LONG = " ".join(["light waves scatter in the air, and short ones more than long ones."] * 6)
PAIRS = [(SHORT, SHORT), (SHORT, LONG), (LONG, SHORT), (LONG, LONG), (LONG, LONG + " Blue is short.")]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(t5_folder(tmp_path_factory.mktemp("t5") / "model", t5_tokenizer()))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(classifier_folder(tmp_path_factory.mktemp("bert") / "model"))


def items(part: str, model: str, query: str, passage: str, **options: Any) -> Any:
    [item] = reranker(part, model=model, **options).learner().items(Query("q", query), [Passage("p", passage)])
    return item


@pytest.mark.parametrize("limit", [24, 31, 500])
def test_at_the_end_a_prompt_is_cut_as_a_tokenizer_of_one_text_does(t5: str, limit: int) -> None:
    """TWOLAR's and pygaggle's way: what is lost may be the cue; what the tokenizer puts at the end stays."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(t5)
    for query, passage in PAIRS:
        item = items("monot5", t5, query, passage, cut="end", max_length=limit)
        whole = f"Query: {query} Document: {passage} Relevant:"
        assert item.ids.tolist() == tokenizer(whole, truncation=True, max_length=limit)["input_ids"]
        if len(tokenizer(whole)["input_ids"]) > limit + 20:  # more than the cue is lost
            assert item.cut_passage


@pytest.mark.parametrize("limit", [20, 33, 500])
def test_the_longer_of_a_pair_is_cut_as_a_tokenizer_of_pairs_does(bert: str, limit: int) -> None:
    """RankGPT's way: truncation=True."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    for query, passage in PAIRS:
        item = items("cross_encoder", bert, query, passage, cut="longest", max_length=limit)
        given = tokenizer(query, passage, truncation=True, max_length=limit)
        assert item.ids.tolist() == given["input_ids"]
        assert item.types.tolist() == given["token_type_ids"]


def test_query_and_passage_are_cut_apart_before_they_are_put_together(bert: str, t5: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (LONG, LONG)]
    item = items("cross_encoder", bert, LONG, LONG, query_length=5, passage_length=9)
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert item.ids.tolist() == [first, *ids[0][:5], last, *ids[1][:9], last]
    assert item.cut_query and item.cut_passage
    own = transformers.AutoTokenizer.from_pretrained(t5)
    text = own.decode(items("monot5", t5, LONG, LONG, query_length=3, passage_length=4, max_length=64).ids)
    assert text.startswith("Query:") and "Relevant:" in text  # the template stays whole


def test_a_cut_changes_what_a_score_is_known_by_and_the_default_does_not(bert: str) -> None:
    plain = reranker("cross_encoder", model=bert)
    assert reranker("cross_encoder", model=bert, cut="passage", query_length=0).identity == plain.identity
    assert reranker("cross_encoder", model=bert, cut="end").identity["cut"] == ["end", 0, 0]
    assert reranker("cross_encoder", model=bert, passage_length=7).identity["cut"] == ["passage", 0, 7]
    query, passages = Query("q", SHORT), [Passage("p", LONG)]
    apart = reranker("cross_encoder", model=bert, passage_length=7).score(query, passages)
    assert apart != plain.score(query, passages)


def test_a_cut_that_is_none_is_one_line(bert: str) -> None:
    with pytest.raises(UnknownName, match="unknown cut 'start'; choose from: end, longest, passage"):
        check_options(RERANKERS, "cross_encoder", {"model": "acme/nowhere", "cut": "start"})
    with pytest.raises(BadInput, match="are for a template of one query and one passage"):
        reranker("query_likelihood", model=str(decoder_folder(Path(bert).with_name("decoder"))), cut="end")
    with pytest.raises(BadInput, match="numbers of tokens, not -1"):
        reranker("cross_encoder", model=bert, query_length=-1)

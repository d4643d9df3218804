"""Systems: parts by name, with their options and the parts that they need."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import classifier_folder, t5_folder, t5_tokenizer

from exabench.core.errors import BadInput, MissingExtra, UnknownName
from exabench.core.nouns import Passage, Query
from exabench.parts.assembly import reranker, retriever, teacher

PASSAGES = [Passage("a", "the sky is blue"), Passage("b", "grass is green"), Passage("c", "blue light of the sky")]
QUERY = Query("q", "blue sky")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(classifier_folder(tmp_path_factory.mktemp("bert") / "m"))


def test_a_reranker_is_made_from_its_name_and_options(bert) -> None:
    part = reranker("cross_encoder", model=bert, max_length=128)
    assert part.identity["max_length"] == 128 and len(part.score(QUERY, PASSAGES)) == 3


def test_scores_are_kept_in_the_cache_folder_unless_one_is_given(bert, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    list(reranker("cross_encoder", model=bert).score_many([(QUERY, PASSAGES)]))
    list(reranker("cross_encoder", model=bert, scores=tmp_path / "own").score_many([(QUERY, PASSAGES)]))
    assert list((tmp_path / "cache" / "scores").glob("*.sqlite")) and list((tmp_path / "own").glob("*.sqlite"))


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("monot6", {}, "unknown reranker 'monot6'; did you mean monot5"),
        ("monot5", {}, "monot5 needs model .text.; its options: answers, batch_tokens"),
        ("monot5", {"model": "no/such/folder/here"}, "is no folder here and no Hub id"),
        ("bm25", {}, "unknown reranker"),
        ("listwise", {"model": "some/llm"}, "say which engine, as in teacher=openai"),
        ("listwise", {"teacher": "gpt"}, "unknown teacher 'gpt'"),
        ("listwise", {"teacher": {"engine": "vllm"}}, "must name a part"),
        ("unchanged", {"model": "x"}, "has no option .model.; its options: none"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_one_line(name, options, told) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        reranker(name, **options)
    assert "\n" not in str(caught.value)


def test_two_stages_are_made_of_a_first_stage_and_a_reranker(bert) -> None:
    part = retriever("two_stage", PASSAGES, first_stage="bm25", reranker={"part": "cross_encoder", "model": bert})
    run = part.search([QUERY], 10)
    assert set(run.ranking("q")) == {"a", "c"}
    with pytest.raises(BadInput, match="retriever two_stage needs reranker"):
        retriever("two_stage", PASSAGES, first_stage="bm25")


def test_first_stages_take_their_options(tmp_path: Path) -> None:
    assert retriever("bm25", PASSAGES, k1=1.2).parameters["k1"] == 1.2
    with pytest.raises(BadInput, match="has no option .k2.; its options: b, fields, k1, lucene"):
        retriever("bm25", PASSAGES, k2=1.2)
    with pytest.raises(UnknownName, match="did you mean bm25"):
        retriever("bm52", PASSAGES)


def test_an_engine_that_is_not_installed_names_the_pip_line() -> None:
    with pytest.raises(MissingExtra, match=r"teacher 'vllm' needs a package: pip install 'exabench\[vllm\]'"):
        teacher("vllm", model="some/llm")


@pytest.mark.parametrize("strategy", ["softmax", "log_softmax", "difference"])
def test_a_strategy_is_an_option_of_the_model(tmp_path, strategy) -> None:
    folder = t5_folder(tmp_path / "t5", t5_tokenizer())
    assert reranker("monot5", model=str(folder), strategy=strategy).identity["strategy"] == strategy
    with pytest.raises(UnknownName, match="unknown strategy 'diff'"):
        reranker("monot5", model=str(folder), strategy="diff")

"""Sparse vectors: the formula by hand, an index that agrees with brute force, and folders that are something else."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
import transformers
from models import MINILM, bert_tokenizer
from safetensors.torch import load_file, save_file

from exabench.bench.candidates import make_candidates
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.measure.runs import run_of, run_text, top
from exabench.parts.retrievers.splade import Splade
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

COLLECTION = open_collection(task("mini"))
PASSAGES, QUERIES = list(COLLECTION.passages())[:24], list(COLLECTION.queries())[:12]
WORDS = 30_522


def masked_lm(folder, seed=0, vocabulary=WORDS, kind="bert"):
    """A masked language model of random weights on BERT's word pieces; few of its logits are above 0."""
    torch.manual_seed(seed)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.3, "max_position_embeddings": 128}
    sizes |= {"hidden_size": 32, "intermediate_size": 48, "vocab_size": vocabulary}
    if kind == "distilbert":
        sizes |= {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
    model = transformers.AutoModelForMaskedLM.from_config(transformers.AutoConfig.for_model(kind, **sizes))
    torch.nn.init.constant_(model.get_output_embeddings().bias, -3.5)
    model.save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return masked_lm(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("vectors"))


def splade(model, cache, passages=PASSAGES, **options):
    return Splade(passages, model=str(model), cache=cache, **{"shard": 10, "max_length": 48, **options})


def by_hand(folder, texts, limit=48):
    """Each text alone: the largest log(1 + max(logit, 0)) of every word over all tokens, [CLS] and [SEP] too."""
    model, tokenizer = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval(), bert_tokenizer()
    with torch.no_grad():
        logits = [model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=limit)).logits for t in texts]
    return np.stack([np.log(1 + np.maximum(one[0].double().numpy(), 0)).max(axis=0) for one in logits])


def rows_of(stage):
    """The whole index as one dense array."""
    parts = []
    for shard in stage._index.shards:
        starts, rows, weights = (stage._index.read(shard, name) for name in ("starts", "rows", "weights"))
        part = np.zeros((shard.rows, len(starts) - 1), np.float32)
        part[rows, np.repeat(np.arange(len(starts) - 1), np.diff(starts))] = weights
        parts.append(part)
    return np.concatenate(parts)


# -- weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_weights_are_the_formula_on_each_text_alone(tmp_path, cache, kind):
    model = masked_lm(tmp_path / "model", kind=kind)
    passages = [*PASSAGES[:6], Passage("short", "fish"), Passage("empty", "")]
    expected = by_hand(model, [p.flat() for p in passages])
    np.testing.assert_allclose(rows_of(splade(model, cache, passages)), expected, atol=1e-5)
    assert 0 < (expected > 0).mean() < 0.5


def test_only_the_heaviest_terms_stay_where_that_is_asked(tiny, cache):
    full, cut = rows_of(splade(tiny, cache)), rows_of(splade(tiny, cache, terms=20))
    kept = cut > 0
    assert (kept.sum(axis=1) == 20).all()
    np.testing.assert_array_equal(cut[kept], full[kept])
    assert (np.where(kept, full, np.inf).min(axis=1) >= np.where(kept, 0, full).max(axis=1)).all()


def test_a_text_is_read_up_to_max_length(tiny, cache):
    words = PASSAGES[0].text + " word" * 100_000
    rows = rows_of(splade(tiny, cache, [Passage("long", words), Passage("short", words[:5_000])]))
    np.testing.assert_array_equal(rows[0], rows[1])


# -- search ----------------------------------------------------------------------------------------------------


def test_scores_are_exact_inner_products(tiny, cache):
    products = by_hand(tiny, [q.text for q in QUERIES]) @ by_hand(tiny, [p.flat() for p in PASSAGES]).T
    ids = [passage.id for passage in PASSAGES]
    scores = {q.id: dict(zip(ids, row.tolist(), strict=True)) for q, row in zip(QUERIES, products, strict=True)}
    for depth in (1, 10, 100):
        run, expected = splade(tiny, cache).search(QUERIES, depth), top(run_of("splade", scores), depth)
        for query in QUERIES:
            assert list(run[query.id].values()) == pytest.approx(list(expected[query.id].values()), rel=1e-5)
            for id, score in run[query.id].items():
                assert score == pytest.approx(scores[query.id][id], rel=1e-5)


def test_a_passage_that_shares_no_word_is_never_returned(tiny, cache, tmp_path):
    silent = shutil.copytree(tiny, tmp_path / "silent")
    weights = load_file(silent / "model.safetensors")
    weights["cls.predictions.bias"][:] = -1e4  # no logit is above 0
    save_file(weights, silent / "model.safetensors", {"format": "pt"})
    assert len(splade(silent, cache).search(QUERIES, 10)) == 0
    assert splade(silent, cache)._index.encoded == 0  # a shard without any weight is a whole shard


def test_ties_at_the_cut_go_by_id_even_across_shards(tiny, cache):
    twins = [Passage(f"t{i:02d}", "the same words") for i in range(30)]
    stage = splade(tiny, cache, [*PASSAGES[:9], *twins], shard=1)  # twins in unlike batches differ in the last bit
    alike = stage.search([Query("q", "the same words")], 39)
    assert [id for id in alike.ranking("q") if id.startswith("t")] == sorted((p.id for p in twins), reverse=True)
    assert stage.search([Query("q", "the same words")], 5).ranking("q") == alike.ranking("q")[:5]


def test_neither_the_order_of_queries_nor_a_second_time_changes_a_byte(tiny, cache):
    first = run_text(splade(tiny, cache).search(QUERIES, 20), "t")
    again = splade(tiny, cache, iter(PASSAGES))
    assert again._index.encoded == 0
    assert run_text(again.search(QUERIES[::-1], 20), "t") == first


@pytest.mark.parametrize("text", ["", "😀🎉", "word " * 5000])
def test_any_text_can_be_asked_and_found(tiny, cache, text):
    run = splade(tiny, cache, [*PASSAGES[:3], Passage("odd", text)]).search([Query("q", text)], 4)
    assert "odd" in run.ranking("q")


def test_queries_may_have_an_encoder_of_their_own(tiny, tmp_path, cache):
    own = masked_lm(tmp_path / "own", seed=1)
    stage = splade(tiny, cache, query_model=str(own))
    products = by_hand(own, [QUERIES[0].text]) @ by_hand(tiny, [p.flat() for p in PASSAGES]).T
    found = stage.search(QUERIES[:1], 100)[QUERIES[0].id]
    assert [found[p.id] for p in PASSAGES] == pytest.approx(products[0].tolist(), rel=1e-5)
    assert stage.parameters["query_model"] == str(own)
    wide = masked_lm(tmp_path / "wide", vocabulary=WORDS + 8)
    with pytest.raises(BadInput, match="queries have 30530 words and passages 30522"):
        splade(tiny, cache, query_model=str(wide)).search(QUERIES, 5)


def test_candidates_come_from_a_sparse_first_stage_like_from_any_other(tiny, cache):
    options = {"model": str(tiny), "cache": cache, "terms": 50, "max_length": 32}
    candidates, run = make_candidates(task("mini"), "splade", 10, options=options)
    assert (candidates.name, set(Counter(np.diff(run.offsets).tolist()))) == ("splade-10", {10})
    assert (candidates.parameters["terms"], candidates.parameters["max_length"]) == (50, 32)
    json.dumps(candidates.as_json())


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "needs a model, as in --set model=naver/splade-v3"),
        ({"terms": -1}, "terms must be 0"),
        ({"max_length": 129}, "max_length 129 is not between 1 and 128"),
        ({"precision": "int3"}, "unknown precision 'int3'"),
        ({"model": MINILM}, "it is not a masked language model"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tiny, cache, options, message):
    with pytest.raises(BadInput, match=message) as caught:
        Splade(PASSAGES[:3], **{"model": str(tiny), "cache": cache, "max_length": 48, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pooling", "fine"),
    [
        ({"pooling_strategy": "max", "activation_function": "relu"}, True),
        ({"pooling_strategy": "max"}, True),
        ({"pooling_strategy": "sum", "activation_function": "relu"}, False),
        ({"pooling_strategy": "max", "activation_function": "log1p_relu"}, False),
    ],
)
def test_a_folder_that_asks_for_another_formula_is_refused(tiny, tmp_path, cache, pooling, fine):
    model = shutil.copytree(tiny, tmp_path / "model")
    (model / "1_SpladePooling").mkdir()
    (model / "1_SpladePooling" / "config.json").write_text(json.dumps(pooling))
    if fine:
        assert len(splade(model, cache, PASSAGES[:3]).search(QUERIES[:1], 3)) == 1
    else:
        with pytest.raises(BadInput, match="only max of log"):
            splade(model, cache, PASSAGES[:3])


def test_an_empty_collection_is_refused(tiny, cache):
    with pytest.raises(BadInput, match="no passage"):
        splade(tiny, cache, iter([]))


def test_weights_that_are_not_finite_are_refused_with_their_passage(tiny, tmp_path, cache):
    model = shutil.copytree(tiny, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    (poisoned,) = bert_tokenizer().convert_tokens_to_ids(["poison"])
    weights["bert.embeddings.word_embeddings.weight"][poisoned] = float("nan")
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"this passage is not finite.*\(id 'bad'\)"):
        splade(model, cache, [Passage("bad", "a poison")])

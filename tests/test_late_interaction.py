"""Late interaction: a reranker and a first stage of the same folder give the scores of sentence-transformers itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import MINILM, colbert_folder, encoder_folder, late_folder, pylate_folder
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling
from test_recognition import check_same_scores

import exabench
from exabench.bench.estimate import estimate
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Run, silent
from exabench.measure.runs import run_digest
from exabench.models.screening import SubmissionRefused, screen_folder
from exabench.parts.assembly import reranker, retriever
from exabench.parts.recognition import recognise

QUERIES = [
    Query("q1", "Why is the sky blue?"),
    Query("q2", "How do cells store energy?"),
    Query("long", "why " * 400),
    Query("empty", ""),
    Query("mask", "sky [MASK] blue, [Q] or not"),
]
PASSAGES = [
    Passage("a", "The atmosphere scatters light of short waves; more than light of long waves.", "Rayleigh scattering"),
    Passage("b", "Paint it blue."),
    Passage("c", "Cells keep energy in ATP, and in the long run as glycogen or fat."),
    Passage("empty", ""),
    Passage("signs", "...!?"),
    Passage("long", "word " * 1000),
]
FIXED = {"strategy": "fixed", "length": 16}
PROMPTS = {"query": "query: ", "document": "passage: "}

FORMS: dict[str, Any] = {
    "no expansion": lambda folder: late_folder(folder),
    "queries of one width": lambda folder: late_folder(
        folder, expansion=FIXED, lengths={"document_length": 30}, prompts=PROMPTS
    ),
    "queries of a least width": lambda folder: late_folder(
        folder, expansion={"strategy": "min", "length": 8, "attend": True}, lengths={"query_length": 12}
    ),
    "a mean over the query": lambda folder: late_folder(
        folder, "modernbert", expansion=FIXED, similarity_fn_name="meanmaxsim"
    ),
    "a token of its own": lambda folder: late_folder(folder, "roberta", expansion={**FIXED, "token": "sky"}),
    "every sign is compared": lambda folder: late_folder(folder, "deberta-v2", skipped=()),
    "tokens are pooled": lambda folder: late_folder(folder, more=(HierarchicalTokenPooling(2.0),)),
    "PyLate": pylate_folder,
    "PyLate, with its class": lambda folder: pylate_folder(
        folder, model_type="ColBERT", attend_to_expansion_tokens=True, skiplist_words=None
    ),
    "PyLate, no expansion": lambda folder: pylate_folder(folder, do_query_expansion=False, prompts={"query": "x "}),
    "ColBERT": colbert_folder,
    "ColBERT, other settings": lambda folder: colbert_folder(
        folder, attend_to_mask_tokens=True, mask_punctuation=False, query_token_id=None, doc_maxlen=None
    ),
}


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> str:
    lengths = {"document_length": 40}
    return str(late_folder(tmp_path_factory.mktemp("models") / "late", expansion=FIXED, lengths=lengths))


def their_scores(folder: str | Path, queries: list[Query], passages: list[Passage]) -> np.ndarray:
    """MaxSim `[queries, passages]` as sentence-transformers gives it."""
    model = MultiVectorEncoder(str(folder), device="cpu")
    of_queries = model.encode_query([query.text for query in queries])
    return model.similarity(of_queries, model.encode_document([passage.flat() for passage in passages])).numpy()


def searched(folder: str, cache: Path, passages: list[Passage] = PASSAGES, **options: Any) -> Run:
    stage = retriever("late_interaction", passages, model=folder, cache=str(cache), **{"shard": 2, **options})
    return stage.search(QUERIES, len(passages))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_folder_scores_as_sentence_transformers_in_both_places(form: str, tmp_path: Path) -> None:
    folder = str(FORMS[form](tmp_path / "model"))
    assert recognise(folder).reranker == "late_interaction"
    part = reranker("auto", model=folder)
    run = searched(folder, tmp_path / "cache")
    for query, expected in zip(QUERIES, their_scores(folder, QUERIES, PASSAGES), strict=True):
        scores = part.score(query, PASSAGES)
        assert scores == pytest.approx(expected.tolist(), abs=1e-5, rel=1e-5)
        found = run[query.id]
        assert [found[passage.id] for passage in PASSAGES] == pytest.approx(scores, abs=1e-5, rel=1e-5)
    assert screen_folder(folder).parameters > 0


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("no expansion", "config_sentence_transformers.json says MultiVectorEncoder"),
        ("PyLate", "config_sentence_transformers.json says query_prefix, as PyLate writes it"),
        ("PyLate, with its class", "config_sentence_transformers.json says ColBERT, as PyLate writes it"),
        ("ColBERT", "config.json says HF_ColBERT"),
    ],
)
def test_a_late_interaction_model_is_recognised_by_its_settings(form: str, why: str, tmp_path: Path) -> None:
    folder = str(FORMS[form](tmp_path / "model"))
    assert recognise(folder).why == why
    check_same_scores(folder, "late_interaction", {})


def test_prompts_and_lengths_are_the_folders_unless_they_are_given(tmp_path: Path) -> None:
    folder = str(late_folder(tmp_path / "model", expansion=FIXED, lengths={"document_length": 30}, prompts=PROMPTS))
    own = reranker("late_interaction", model=folder).identity
    assert own["template"] == "query: {query} | passage: {passage}"
    assert (own["max_length"], own["query_length"], own["strategy"]) == (30, 16, "maxsim")
    told = {"query_length": 24, "max_length": 12, "query_prompt": "", "passage_prompt": "p: "}
    given = reranker("late_interaction", model=folder, **told)
    assert given.identity["template"] == "{query} | p: {passage}"

    theirs = MultiVectorEncoder(folder, device="cpu")
    theirs[0].query_expansion = {**FIXED, "length": 24}
    theirs[0].document_length = 12
    query = theirs.encode_query([QUERIES[0].text], prompt="")
    passages = theirs.encode_document([passage.flat() for passage in PASSAGES], prompt="p: ")
    expected = theirs.similarity(query, passages)[0].tolist()
    assert given.score(QUERIES[0], PASSAGES) == pytest.approx(expected, abs=1e-5)


def test_what_is_cut_is_counted_and_a_query_costs_its_whole_width(late: str) -> None:
    part = reranker("late_interaction", model=late)
    usages = [usage for _, usage in part.score_many([(query, PASSAGES) for query in QUERIES])]
    assert [usage.cut_queries for usage in usages] == [0, 0, 1, 0, 0]
    assert [usage.cut_passages for usage in usages] == [1] * len(QUERIES)
    assert {usage.prompts for usage in usages} == {1 + len(PASSAGES)}
    [(_, alone)] = part.score_many([(Query("q", "x"), [Passage("b", "Paint it blue.")])])
    assert alone.input_tokens == 16 + 6  # [CLS] paint it blue . [SEP]
    assert alone.flops_exact > 0
    assert part.score(QUERIES[0], []) == []


def test_a_passage_scores_alike_alone_and_in_any_company(late: str) -> None:
    part = reranker("late_interaction", model=late)
    together = part.score(QUERIES[0], PASSAGES)
    alone = [part.score(QUERIES[0], [passage])[0] for passage in PASSAGES]
    assert alone == pytest.approx(together, abs=1e-5)
    twins = [Passage(f"{place}", "Paint it blue.") for place in range(5)]
    assert len(set(part.score(QUERIES[0], [*twins, *PASSAGES])[:5])) == 1


LEARNT = [form for form in FORMS if form != "tokens are pooled"]


@pytest.mark.parametrize("form", LEARNT)
def test_a_model_that_learnt_scores_as_it_did_and_as_sentence_transformers_reads_it(form: str, tmp_path: Path) -> None:
    """Every form is saved as sentence-transformers does, whatever its own was; a given width is kept."""
    options = {"query_length": 14} if form in ("queries of one width", "ColBERT") else {}
    learner = reranker("late_interaction", model=str(FORMS[form](tmp_path / "model")), **options).learner()
    with torch.no_grad():
        for weight in learner.module.parameters():
            weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(4))
    learner.save(tmp_path / "saved", learner.module.state_dict())
    learner.module.eval()
    queries = QUERIES[:4]
    saved = reranker("auto", model=str(tmp_path / "saved"))
    for query, expected in zip(queries, their_scores(tmp_path / "saved", queries, PASSAGES), strict=True):
        items = learner.items(query, PASSAGES)
        with torch.no_grad():
            while_learning = learner.scores(learner.module(*learner.inputs(items)), [len(PASSAGES)])
        assert saved.score(query, PASSAGES) == pytest.approx(while_learning.tolist(), abs=1e-4, rel=1e-5)
        assert saved.score(query, PASSAGES) == pytest.approx(expected.tolist(), abs=1e-4, rel=1e-5)


def test_vectors_that_are_pooled_cannot_be_learnt(tmp_path: Path) -> None:
    part = reranker("late_interaction", model=str(FORMS["tokens are pooled"](tmp_path / "model")))
    with pytest.raises(BadInput, match="can be trained, not HierarchicalTokenPooling"):
        part.learner()


def test_a_passage_without_any_vector_comes_last(tmp_path: Path) -> None:
    folder = late_folder(tmp_path / "model", skipped=("[CLS]", "[SEP]", "."))
    passages = [Passage("none", "..."), Passage("some", "blue")]
    none, some = reranker("late_interaction", model=str(folder)).score(QUERIES[0], passages)
    assert none == their_scores(folder, QUERIES[:1], passages)[0][0] == -1e9 < some
    run = searched(str(folder), tmp_path / "cache", passages)
    assert run.ranking("q1") == ["some", "none"] and run["q1"]["none"] == -1e9


def test_two_devices_and_another_order_give_the_bits_of_one(late: str, tmp_path: Path) -> None:
    runs = []
    for devices in (["cpu"], ["cpu", "cpu"]):
        cache = tmp_path / f"{len(devices)}"
        run = searched(late, cache, devices=devices)
        runs.append(({file.name: file.read_bytes() for file in cache.rglob("*.npy")}, run_digest(run)))
    assert runs[0] == runs[1]
    stage = retriever("late_interaction", PASSAGES, model=late, cache=str(tmp_path / "1"), shard=2)
    assert run_digest(stage.search(QUERIES[::-1], len(PASSAGES))) == runs[0][1]


def test_a_run_that_is_stopped_goes_on_with_the_same_bits(late: str, tmp_path: Path) -> None:
    passages = [Passage(str(i), "word " * (1 + i % 30)) for i in range(90)]
    jobs = [(query, passages) for query in QUERIES]

    def stop(done: int, total: int, what: str) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    def scored(store: Path, progress: Any = silent) -> tuple[list[list[float]], float | None]:
        part = reranker("late_interaction", model=late, scores=store, batch_tokens=128, progress=progress)
        return [scores for scores, _ in part.score_many(jobs)], part.pairs_per_second

    undisturbed, speed = scored(tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        scored(tmp_path / "scores", stop)
    resumed, speed_of_resumed = scored(tmp_path / "scores")
    assert resumed == undisturbed
    assert speed is not None and speed > 0 and speed_of_resumed is None


def test_the_best_are_found_among_many_with_their_ties(late: str, tmp_path: Path) -> None:
    many = [Passage(f"{i:03d}", f"passage number {i % 40} of {i % 7} kinds") for i in range(280)]
    many.append(Passage("twin", many[3].text))
    cache = str(tmp_path / "cache")
    stage = retriever("late_interaction", many, model=late, cache=cache, shard=64)
    query = Query("q", "number 17 or 3")
    scores = np.array(reranker("late_interaction", model=late).score(query, many))
    run = stage.search([query], 10)
    cut = np.sort(scores)[-10]
    assert len(run.ranking("q")) == 10 and min(run["q"].values()) == pytest.approx(cut, abs=1e-6)
    whole = stage.search([query], len(many))
    assert [whole["q"][passage.id] for passage in many] == pytest.approx(scores.tolist(), abs=1e-5)
    assert whole["q"]["twin"] == whole["q"]["003"]


def test_vectors_are_kept_and_half_as_large_where_that_is_asked(late: str, tmp_path: Path) -> None:
    whole = searched(late, tmp_path / "cache")
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npy")}
    assert run_digest(searched(late, tmp_path / "cache")) == run_digest(whole)
    assert files == {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npy")}
    half = searched(late, tmp_path / "half", vectors="float16")
    for passage in PASSAGES:
        assert half["q1"][passage.id] == pytest.approx(whole["q1"][passage.id], abs=0.02)

    def size(folder: str) -> int:
        return sum(file.stat().st_size for file in (tmp_path / folder).rglob("*.vectors.npy"))

    assert size("half") < 0.7 * size("cache")


@pytest.mark.parametrize("known", [True, False])
def test_a_collection_that_is_too_large_is_refused_before_it_is_encoded(known: bool, late: str, tmp_path: Path) -> None:
    many = [Passage(f"{i}", f"passage number {i}") for i in range(60)]
    with pytest.raises(BadInput) as caught:
        given = many if known else iter(many)
        retriever("late_interaction", given, model=late, cache=str(tmp_path), gigabytes=8e-6, shard=20)
    said = str(caught.value)
    assert "60 passages" in said and "\n" not in said and "vectors of 32 bytes each" in said
    assert "rerank another first stage's list with the reranker late_interaction" in said
    assert "--set vectors=float16" in said and "--set gigabytes=1" in said
    if known:
        assert not list(tmp_path.rglob("*.npy"))


def test_other_precisions_are_nearly_the_same(late: str) -> None:
    whole = reranker("late_interaction", model=late)
    for precision in ("bfloat16", "int8"):
        small = reranker("late_interaction", model=late, precision=precision)
        assert small.score(QUERIES[0], PASSAGES) == pytest.approx(whole.score(QUERIES[0], PASSAGES), abs=0.5)
        assert small.parameters == whole.parameters


def without_weight(folder: Path, name: str) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    del weights[name]
    save_file(weights, file, {"format": "pt"})


def written(folder: Path, name: str, **values: Any) -> None:
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


DAMAGED: dict[str, tuple[str, Any, str]] = {
    "a weight is missing": (
        "no expansion",
        lambda folder: without_weight(folder, "embeddings.word_embeddings.weight"),
        "has no weights for embeddings.word_embeddings.weight",
    ),
    "the last matrix is missing": (
        "ColBERT",
        lambda folder: without_weight(folder, "linear.weight"),
        "has no linear.weight",
    ),
    "a Dense without weights": (
        "PyLate",
        lambda folder: (folder / "1_Dense" / "model.safetensors").unlink(),
        "module '1_Dense' has no model.safetensors",
    ),
    "no modules": ("no expansion", lambda folder: (folder / "modules.json").unlink(), "has no modules.json"),
    "no tokenizer": ("ColBERT", lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
    "a strange expansion": (
        "no expansion",
        lambda folder: written(folder, "sentence_bert_config.json", query_expansion={"strategy": "odd"}),
        "cannot be loaded as a late-interaction model",
    ),
    "a length that is none": (
        "PyLate",
        lambda folder: written(folder, "config_sentence_transformers.json", document_length=100_000),
        "max_length 100000 is not between 1 and 512",
    ),
    "settings that are none": (
        "ColBERT",
        lambda folder: (folder / "artifact.metadata").write_text("[]"),
        "is not a table of settings",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_folder_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    form, spoil, message = DAMAGED[damage]
    folder = FORMS[form](tmp_path / "model")
    spoil(folder)
    with pytest.raises(BadInput, match=message) as caught:
        reranker("late_interaction", model=str(folder))
    assert "\n" not in str(caught.value)


def test_what_is_no_late_interaction_model_is_refused(tmp_path: Path) -> None:
    for folder in (MINILM, str(encoder_folder(tmp_path / "encoder"))):
        with pytest.raises(BadInput, match="is not a late-interaction model of sentence-transformers"):
            reranker("late_interaction", model=folder)
    decoder = str(late_folder(tmp_path / "decoder", "llama"))
    with pytest.raises(BadInput, match="through a chat template"):
        reranker("late_interaction", model=decoder)
    with pytest.raises(BadInput, match="settings of a dual encoder"):
        reranker("bi_encoder", model=str(late_folder(tmp_path / "late")))


def hostile_module(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "pylate.models.ColBERT.ColBERT"
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize(
    ("form", "spoil", "message"),
    [
        ("no expansion", hostile_module, "unknown module 'pylate.models.ColBERT.ColBERT'"),
        ("ColBERT", lambda folder: (folder / "other.metadata").write_text("{}"), "may contain code"),
        ("ColBERT", lambda folder: (folder / "artifact.metadata").write_bytes(b"\x80\x04."), "it is not a .metadata"),
        ("ColBERT", lambda folder: written(folder, "artifact.metadata", auto_map={"a": "b"}), "says auto_map"),
        ("ColBERT", lambda folder: (folder / "colbert.py").write_text("1"), "may contain code"),
        ("PyLate", lambda folder: written(folder, "1_Dense/config.json", activation_function="os.x"), "any code"),
    ],
)
def test_a_folder_that_holds_more_than_data_is_not_let_in(form: str, spoil: Any, message: str, tmp_path: Path) -> None:
    folder = FORMS[form](tmp_path / "model")
    screen_folder(folder)
    spoil(folder)
    with pytest.raises(SubmissionRefused, match=message):
        screen_folder(folder)


def test_an_estimate_counts_each_text_once_and_no_longer_than_it_is_read(late: str) -> None:
    [found] = estimate(late, "mini", depth=5)
    assert found.tokens is not None and 0 < found.tokens <= 40
    assert found.flops is not None and found.flops > 0


def test_the_command_line_evaluates_reranks_and_freezes_by_it(
    late: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from exabench.cli import main

    board = tmp_path / "board"
    model = shutil.copytree(late, tmp_path / "model")
    run = tmp_path / "run.trec"
    assert main(["evaluate", str(model), "--task", "mini", "--depth", "5", "--save-run", str(run)]) == 0
    assert "late_interaction (config_sentence_transformers.json says MultiVectorEncoder)" in capsys.readouterr().err
    assert run.is_file()
    told = ["--set", f"model={model}", "--set", f"cache={tmp_path / 'vectors'}"]
    frozen = ["bench", "candidates", "mini", "--retriever", "late_interaction", "--depth", "10", "--board", str(board)]
    assert main([*frozen, *told]) == 0
    assert main(["bench", "candidates", "mini", "--again", "late-interaction-10", "--board", str(board)]) == 0
    assert "\nsame: sha256:" in capsys.readouterr().out
    refused = main([*frozen, *told, "--set", "gigabytes=0.0001", "--set", f"cache={tmp_path / 'other'}"])
    assert refused == 2 and "would take about" in capsys.readouterr().err

    # The list reranked by the same model is the list itself.
    found = tmp_path / "found.trec"
    made, run_of_stage = exabench.make_candidates("mini", "late_interaction", 10, options={"model": str(model)})
    assert made.depth == 10 and len(run_of_stage) == 24
    exabench.write_run(run_of_stage, found)
    again = tmp_path / "again.trec"
    assert main(["rerank", str(model), "--run", str(found), "--task", "mini", "-o", str(again)]) == 0
    before, after = (exabench.read_run(file) for file in (found, again))
    assert all(before.ranking(query_id) == after.ranking(query_id) for query_id in before)

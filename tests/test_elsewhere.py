"""What was trained here scores alike elsewhere: in plain transformers, in sentence-transformers, in rerankers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import fits
import numpy as np
import pytest
import torch
import transformers
from models import classifier_folder, decoder_folder, encoder_folder, rankt5_folder, t5_folder, t5_tokenizer
from safetensors.torch import load_file

from exabench.core.nouns import Passage, Query
from exabench.parts.assembly import reranker
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection
from exabench.training import train

ALIKE = {"rtol": 0, "atol": 1e-5}
RUNS: dict[str, tuple[str, Any, str, str]] = {  # reranker, a model to begin with, loss, family
    "bert": ("cross_encoder", classifier_folder, "ranknet", "listwise"),
    "monobert": ("cross_encoder", lambda folder: classifier_folder(folder, labels=2), "pointwise", "contrastive"),
    "deberta": ("cross_encoder", lambda folder: classifier_folder(folder, "deberta-v2"), "lambda_ndcg", "listwise"),
    "t5": ("monot5", lambda folder: t5_folder(folder, t5_tokenizer()), "lm", "explanations"),
    "flan": ("rankt5", lambda folder: t5_folder(folder, t5_tokenizer(), tied=False, gated=True), "kl", "scored"),
    "encoder": ("rankt5", lambda folder: rankt5_folder(folder, t5_tokenizer()), "softmax_ce", "listwise"),
    "minilm": ("bi_encoder", encoder_folder, "contrastive", "contrastive"),
    "llama": ("yes_no", decoder_folder, "lce", "contrastive"),
}


def texts() -> tuple[Query, list[Passage]]:
    """A query and passages of the embedded collection, cut to what any of the tokenizers has room for."""
    collection = open_collection(single_task("mini"), None)
    passages = [Passage(p.id, " ".join(p.text.split()[:50]), p.title) for p in islice(collection.passages(), 9)]
    return next(iter(collection.queries())), passages


QUERY, PASSAGES = texts()
PAIRS = [(QUERY.text, passage.flat()) for passage in PASSAGES]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model folder of a run of three steps, each run made when it is first asked for."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            part, start, loss, family = RUNS[name]
            place = tmp_path_factory.mktemp(name)
            release = fits.write_release(place / "release", {"small": (family, {"train": fits.ROWS[family](9)})})
            data = [{"release": str(release), "table": "small"}]
            about = {"model": str(start(place / "start")), "reranker": part, "loss": {"part": loss}}
            about |= {"options": {"max_length": 512}, "steps": {"epochs": 1}}
            file = fits.recipe(place / f"{name}.toml", data, **about)
            train(file, place / "run")
            made[name] = place / "run" / "model"
        return made[name]

    return folder


def ours(name: str, folder: Path, **options: Any) -> np.ndarray:
    """Scores by this package, which are not those that the run began with."""
    found = np.array(reranker(RUNS[name][0], model=str(folder), **options).score(QUERY, PASSAGES))
    before = reranker(RUNS[name][0], model=str(folder.parents[1] / "start"), **options).score(QUERY, PASSAGES)
    assert np.abs(found - before).max() > 1e-4
    return found


def computed(model: Any, given: Mapping[str, torch.Tensor]) -> Any:
    with torch.no_grad():
        return model.eval()(**given)


def masked(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: given[name] for name in ("input_ids", "attention_mask")}


def prompts(template: str) -> list[str]:
    return [template.format(query=query, passage=passage) for query, passage in PAIRS]


@pytest.mark.parametrize("name", ["bert", "monobert", "deberta"])
def test_a_trained_cross_encoder_scores_alike_in_transformers(trained, name):
    folder = trained(name)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    queries, passages = map(list, zip(*PAIRS, strict=True))
    logits = computed(model, tokenizer(queries, passages, padding=True, return_tensors="pt")).logits
    scores = logits[:, 0] if name != "monobert" else logits.log_softmax(-1)[:, 1]
    np.testing.assert_allclose(ours(name, folder), scores.numpy(), **ALIKE)


@pytest.mark.parametrize(
    ("name", "template", "words"),
    [
        ("t5", "Query: {query} Document: {passage} Relevant:", ["▁true", "▁false"]),
        ("flan", "Query: {query} Document: {passage}", ["<extra_id_10>"]),
    ],
)
def test_a_trained_t5_scores_alike_in_transformers_by_what_it_would_write_first(trained, name, template, words):
    """monoT5 by its published template and two words, RankT5 by the logit of its extra token."""
    folder = trained(name)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer(prompts(template), padding=True, return_tensors="pt")
    start = torch.full((len(PAIRS), 1), model.config.decoder_start_token_id)
    logits = computed(model, {**masked(given), "decoder_input_ids": start}).logits[:, 0]
    logits = logits[:, tokenizer.convert_tokens_to_ids(words)]
    scores = logits.log_softmax(-1)[:, 0] if name == "t5" else logits[:, 0]
    np.testing.assert_allclose(ours(name, folder), scores.numpy(), **ALIKE)


def test_a_trained_rankt5_encoder_scores_alike_in_transformers_with_its_dense_layer(trained):
    folder = trained("encoder")
    encoder = transformers.T5EncoderModel.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer(prompts("Query: {query} Document: {passage}"), padding=True, return_tensors="pt")
    states = computed(encoder, masked(given)).last_hidden_state[:, 0]
    weights = load_file(folder / "model.safetensors")
    scores = states @ weights["dense.weight"].T + weights["dense.bias"]
    np.testing.assert_allclose(ours("encoder", folder), scores[:, 0].numpy(), **ALIKE)


def test_a_trained_decoder_scores_alike_in_transformers_one_prompt_at_a_time(trained):
    folder = trained("llama")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    question = "Does the passage answer the query? Say yes or no, and nothing else."
    cue = "Passage: {passage}\nQuery: {query}\n" + question + "\nAnswer:"
    given = ({"input_ids": tokenizer(text, return_tensors="pt")["input_ids"]} for text in prompts(cue))
    last = torch.stack([computed(model, one).logits[0, -1] for one in given])
    [yes], [no] = (tokenizer(word, add_special_tokens=False)["input_ids"] for word in (" yes", " no"))
    np.testing.assert_allclose(ours("llama", folder), (last[:, yes] - last[:, no]).numpy(), **ALIKE)


@pytest.mark.parametrize("name", ["bert", "deberta"])
def test_a_trained_cross_encoder_scores_alike_in_sentence_transformers(trained, name):
    """CrossEncoder puts a sigmoid over a model with one label, unless its config.json says otherwise."""
    from sentence_transformers import CrossEncoder

    folder = trained(name)
    theirs = CrossEncoder(str(folder), device="cpu")
    scores = theirs.predict(PAIRS, show_progress_bar=False)
    found = ours(name, folder)
    np.testing.assert_allclose(found, scores, **ALIKE)
    squeezed = theirs.predict(PAIRS, activation_fn=torch.nn.Sigmoid(), show_progress_bar=False)
    np.testing.assert_allclose(1 / (1 + np.exp(-found)), squeezed, **ALIKE)


@pytest.mark.parametrize(
    "options", [{}, {"similarity": "dot"}, {"query_prompt": "query: ", "passage_prompt": "text: "}]
)
def test_a_trained_bi_encoder_scores_alike_in_sentence_transformers(trained, tmp_path, options):
    """Its pooling, its prompts and how two vectors are compared are written beside the weights."""
    from sentence_transformers import SentenceTransformer

    folder = trained("minilm")
    if options:
        learner = reranker("bi_encoder", model=str(folder), **options).learner()
        learner.save(tmp_path, learner.module.state_dict())
        folder = tmp_path
    theirs = SentenceTransformer(str(folder), device="cpu")
    vectors = theirs.encode_query(QUERY.text), theirs.encode_document([text for _, text in PAIRS])
    found = reranker("bi_encoder", model=str(folder), **options).score(QUERY, PASSAGES)
    np.testing.assert_allclose(found, theirs.similarity(*vectors)[0].numpy(), **ALIKE)


@pytest.mark.parametrize(
    ("name", "kind", "options"), [("bert", "cross-encoder", {}), ("t5", "t5", {"strategy": "softmax"})]
)
def test_a_trained_model_scores_alike_in_rerankers(trained, name, kind, options):
    """It sorts its scores; T5Ranker's are the probabilities whose logarithms are monoT5's."""
    rerankers = pytest.importorskip("rerankers")
    theirs = rerankers.Reranker(str(trained(name)), model_type=kind, device="cpu", verbose=0)
    ranked = theirs.rank(QUERY.text, [text for _, text in PAIRS], doc_ids=list(range(len(PAIRS)))).results
    ranked.sort(key=lambda result: result.document.doc_id)
    np.testing.assert_allclose(ours(name, trained(name), **options), [one.score for one in ranked], **ALIKE)

"""Parity: every fault of a server is named, no right server is suspected, and a build fails where ranks differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from endpoint import Endpoint
from misserving import Plain, Scorer, documents, one_at_a_time, reference, squashed, swapped, tei, vllm
from models import (
    MINILM,
    classifier_folder,
    decoder_folder,
    encoder_folder,
    logit_score_folder,
    modular_folder,
    t5_folder,
    t5_tokenizer,
)
from rerank_servers import sigmoid
from safetensors.torch import load_file, save_file
from scipy.stats import kendalltau
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

import exabench
from exabench.bench.parity import UNKNOWN, Parity
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.measure.rank_agreement import churn, kendall_tau

TURNS = (
    "{% for message in messages %}{% if message.role == 'query' %}<|im_start|>user\n<Query>: {{ message.content }}\n"
    "{% elif message.role == 'document' %}<Document>: {{ message.content }}<|im_end|>\n<|im_start|>assistant\n"
    "{% else %}<|im_start|>system\n{{ message.content }}<|im_end|>\n{% endif %}{% endfor %}"
)
TASK = "Does the document answer the query?"
MONOT5 = "Query: {query} Document: {passage} Relevant:"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind, whose scores are spread as those of trained ones."""
    there = tmp_path_factory.mktemp("models")
    louder(classifier_folder(there / "bert"), "classifier", 4.0)
    louder(classifier_folder(there / "two-labels", labels=2, seed=1), "classifier", 3.0)
    louder(classifier_folder(there / "loud", seed=2), "classifier", 40.0)
    classifier_folder(there / "modernbert", "modernbert")
    modular_folder(there / "modular")
    tokens = yes_and_no(decoder_folder(there / "llama"))
    logit_score_folder(there / "qwen3", TURNS, tokens=tokens, prompts={"task": TASK}, prompt_name="task")
    edited(there / "qwen3" / "config.json", max_position_embeddings=4096)
    t5_folder(there / "t5", t5_tokenizer())
    embedder(there / "embedder")
    embedder(there / "e5")
    prompts = {"query": "query: ", "passage": "passage: "}
    edited(there / "e5" / "config_sentence_transformers.json", prompts=prompts)
    return there


def embedder(folder: Path) -> Path:
    """A small bi-encoder as sentence-transformers writes it."""
    encoder = encoder_folder(folder.with_name(f"{folder.name}-encoder"))
    modules = [Transformer(str(encoder)), Pooling(32, "mean")]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)
    return folder


def edited(file: Path, **changes: Any) -> None:
    """Change some keys of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def louder(folder: Path, layer: str, factor: float) -> Path:
    """The model with a larger head."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    for name in weights:
        if name.startswith(layer):
            weights[name] = weights[name] * factor
    save_file(weights, file, {"format": "pt"})
    return folder


def yes_and_no(folder: Path, words: tuple[str, ...] = ("yes", "no")) -> tuple[int, ...]:
    """The numbers of these tokens as they are spelt."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = []
    for word in words:
        [id] = tokenizer(word, add_special_tokens=False)["input_ids"]
        ids.append(id)
    return tuple(ids)


def turns(query: str, passage: str, *, system: bool = True) -> str:
    """The prompt of the causal reranker, filled in by hand."""
    begin = f"<|im_start|>system\n{TASK}<|im_end|>\n" if system else ""
    user = f"<|im_start|>user\n<Query>: {query}\n<Document>: {passage}<|im_end|>\n"
    return f"{begin}{user}<|im_start|>assistant\n"


def pair(query: str, passage: str) -> tuple[str, str]:
    return query, passage


def asked(query: str, passage: str) -> str:
    return MONOT5.replace("{query}", query).replace("{passage}", passage)


def qwen3(models: Path, prompt: Callable[[str, str], str] = turns, **told: Any) -> Plain:
    told = {"rows": yes_and_no(models / "qwen3"), **told}
    return Plain(models / "qwen3", "decoder", prompt, **told)


def checked(
    server: AbstractContextManager[Endpoint], model: str | Path, form: str = "documents", **told: Any
) -> Parity:
    """The report on a server, whose JSON is whole."""
    with server as serving:
        found = exabench.parity(str(model), endpoint=serving.url, server={"form": form}, **told)
    assert json.loads(json.dumps(found.as_json()))["tau"] == found.tau and found.digest.startswith("sha256:")
    return found


FAULTS: dict[str, tuple[str, Callable[[Path], Scorer], str]] = {
    # cause: the model, what serves it, and a word of the detail
    "wrong template": (
        "qwen3",
        lambda models: qwen3(models, lambda query, passage: f"{query} {passage}"),
        "{query} {passage}",
    ),
    "wrong answer token": (
        "qwen3",
        lambda models: qwen3(models, rows=yes_and_no(models / "qwen3", (" yes", " no"))),
        "' yes' and ' no'",
    ),
    "instruction missing": (
        "qwen3",
        lambda models: qwen3(models, lambda query, passage: turns(query, passage, system=False)),
        "no system turn",
    ),
    "sigmoid twice": (
        "bert",
        lambda models: squashed(Plain(models / "bert", "classifier", pair), sigmoid, sigmoid),
        "sigmoid(sigmoid",
    ),
    "sigmoid": ("loud", lambda models: squashed(reference(models / "loud"), sigmoid), "tie"),
    "label order inverted": (
        "two-labels",
        lambda models: squashed(Plain(models / "two-labels", "classifier", pair, rows=(0, 1)), sigmoid),
        "other label",
    ),
    "query and passage swapped": ("bert", lambda models: swapped(Plain(models / "bert", "classifier", pair)), ""),
    "cue cut off": ("qwen3", lambda models: qwen3(models, most=256), "256"),
    "length limit": ("bert", lambda models: Plain(models / "bert", "classifier", pair, most=256), "256 tokens"),
    "wrong pooling": ("embedder", lambda models: reference(models / "embedder", pooling="cls"), "cls"),
    "prompt prefix missing": ("e5", lambda models: reference(models / "e5", query_prompt=""), "'query: '"),
    "batch dependence": ("bert", lambda models: Plain(models / "bert", "classifier", pair, masks=False), "company"),
    "quantisation": ("bert", lambda models: Plain(models / "bert", "classifier", pair, dtype=torch.bfloat16), "small"),
}


@pytest.mark.parametrize("cause", FAULTS)
def test_the_cause_of_a_fault_is_named(cause: str, models: Path) -> None:
    model, serve, word = FAULTS[cause]
    found = checked(documents(serve(models)), models / model)
    assert (found.cause, found.equal) == (cause, False), found
    assert word in found.detail and found.confirmed + found.pairs > 200


RIGHT: dict[str, tuple[str, Callable[[Path], AbstractContextManager[Endpoint]], str]] = {
    # what is served: the model, the server and its form
    "a BERT, raw": ("bert", lambda models: tei(Plain(models / "bert", "classifier", pair)), "texts"),
    "a BERT, squashed": ("bert", lambda models: documents(squashed(reference(models / "bert"), sigmoid)), "documents"),
    "a BERT, one pair at a time": ("bert", lambda models: documents(one_at_a_time(reference(models / "bert"))), ""),
    "a BERT at vLLM": ("bert", lambda models: vllm(Plain(models / "bert", "classifier", pair)), "vllm-score"),
    "two labels, their logits": (
        "two-labels",
        lambda models: documents(Plain(models / "two-labels", "classifier", pair, rows=(1, 0))),
        "",
    ),
    "two labels, a probability": (
        "two-labels",
        lambda models: documents(squashed(Plain(models / "two-labels", "classifier", pair, rows=(1, 0)), sigmoid)),
        "",
    ),
    "a ModernBERT": ("modernbert", lambda models: documents(Plain(models / "modernbert", "classifier", pair)), ""),
    "modules": ("modular", lambda models: documents(reference(models / "modular", batch_tokens=512)), ""),
    "a causal reranker": ("qwen3", lambda models: documents(qwen3(models, most=4096)), ""),
    "monoT5": (
        "t5",
        lambda models: documents(
            squashed(
                Plain(models / "t5", "seq2seq", asked, rows=yes_and_no(models / "t5", ("true", "false")), most=4096),
                sigmoid,
            )
        ),
        "",
    ),
    "MiniLM, an embedder": (MINILM, lambda models: documents(reference(MINILM)), ""),
    "an embedder with prompts, scores from 0 to 1": (
        "e5",
        lambda models: documents(squashed(reference(models / "e5"), lambda score: (1 + score) / 2)),
        "",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_server_is_equal(name: str, models: Path) -> None:
    model, serve, form = RIGHT[name]
    place = model if model == MINILM else models / model
    found = checked(serve(models), place, form or "documents")
    assert found.equal and not found.cause, found
    assert found.tau > 0.999 and found.churn == 0 and found.difference <= found.tolerance
    assert found.ndcg is not None and found.ndcg.difference == 0


def test_a_server_may_read_more_than_the_reference_does(models: Path) -> None:
    found = checked(documents(reference(models / "modernbert", max_length=512)), models / "modernbert", max_length=128)
    assert found.equal and "512 tokens, more than the reference (128)" in found.detail


def test_a_server_of_another_model_has_no_known_cause(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with documents(reference(models / "loud")) as server:
        assert main(["parity", str(models / "bert"), "--endpoint", server.url]) == 1
    told = capsys.readouterr()
    assert UNKNOWN in told.out and "tried: length limit: off by" in told.err and "tried: batch dependence" in told.err
    assert told.err.splitlines()[-1].startswith("exabench: http://127.0.0.1") and "cause: unknown cause" in told.err


def test_a_build_fails_past_the_threshold_alone(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bert = str(models / "bert")
    with documents(Plain(bert, "classifier", pair, most=128)) as server:
        command = ["parity", bert, "--endpoint", server.url]
        assert main(command) == 1
        told = capsys.readouterr()
        assert "length limit: 128 tokens, where the reference reads 512" in told.out and "% of the best ten" in told.err
        assert main([*command, "--most-churn", "0.9", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
    assert found["holds"] and not found["equal"] and found["cause"] == "length limit"
    assert found["pairs"] == 384 and found["ndcg"]["queries"] == 24 and found["tried"][-1]["difference"] < 1e-3
    with documents(reference(bert)) as server:
        assert main(["parity", bert, "--endpoint", server.url]) == 0
    assert "verdict                         equal within 0.001" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_precision_is_compared_without_a_server(precision: str, models: Path) -> None:
    found = exabench.parity(str(models / "modular"), precision=precision)
    assert found.cause == "quantisation" and precision in found.detail and found.served == precision
    assert 0.5 < found.tau < 1 and found.difference > found.tolerance


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_another_backend_is_equal_to_the_reference(
    backend: str, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip({"openvino": "openvino", "onnx": "onnxruntime"}[backend])
    assert main(["parity", str(models / "bert"), "--backend", backend, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] and found["served"] == backend and found["difference"] > 0, "not torch against itself"


def test_the_pairs_are_the_same_each_time_and_those_of_the_task(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "animals"
    (folder / "qrels").mkdir(parents=True)
    texts = [{"_id": f"d{place}", "text": f"A passage about animal {place}."} for place in range(30)]
    queries = [{"_id": f"q{place}", "text": f"animal {place}"} for place in range(3)]
    for name, rows in (("corpus", texts), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = [f"q{place % 3}\td{place}\t1" for place in range(30)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    first, second = (exabench.parity(str(models / "bert"), precision="float32", task=str(folder)) for _ in range(2))
    assert first == second and first.equal and first.queries == 3 and first.pairs == 48
    assert first.ndcg is None, "three queries say nothing of nDCG"
    assert first.digest != exabench.parity(str(models / "bert"), precision="float32").digest


MISTAKES = {
    "give what serves the model": [],
    "an endpoint, or a backend or precision": ["--endpoint", "http://127.0.0.1:9/v1", "--precision", "int8"],
    "unknown precision": ["--precision", "int4"],
    "backend": ["--backend", "abacus"],
    "form must be": ["--endpoint", "http://127.0.0.1:9/v1", "--set", "server.form=jina"],
    "need an endpoint": ["--precision", "int8", "--set", "server.form=texts"],
    "unknown task": ["--precision", "int8", "--task", "nothing"],
}


@pytest.mark.parametrize("said", MISTAKES)
def test_bad_input_is_told_in_one_line(said: str, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", str(models / "bert"), *MISTAKES[said]]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("exabench: ")]
    assert said in line


def test_a_model_that_is_none_and_a_server_that_is_down_are_told(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match="loads no model here"):
        exabench.parity("endpoint", precision="int8")
    down = ["--set", "server.retries=0", "--endpoint", "http://127.0.0.1:9/v1"]
    assert main(["parity", str(models / "bert"), *down]) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("exabench: ")


def test_tau_is_that_of_scipy_and_churn_a_share() -> None:
    draws = torch.Generator().manual_seed(0)
    for _ in range(20):
        a, b = torch.randint(0, 9, (2, 16), generator=draws).double().numpy()
        assert kendall_tau(a, b) == pytest.approx(kendalltau(a, b).statistic)
        assert kendall_tau(a, a * 0) == 0
    assert churn("abcd", "dcba", 4) == 0 and churn("abcd", "xbcd", 2) == 0.5 and churn("", "a") == 0

"""`bench speed`: latency, pairs per second, memory and agreement of a model, each backend in a process of its own."""

from __future__ import annotations

import json

import pytest
from models import MINILM, classifier_folder

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput


def test_a_model_is_timed_by_each_backend_in_each_precision_that_it_has(tmp_path, capsys):
    folder = str(classifier_folder(tmp_path / "bert"))
    asked = ["--backend", "torch", "--backend", "openvino", "--precision", "float32", "--precision", "int8"]
    assert main(["bench", "speed", folder, *asked, "--passages", "20", "--repeat", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["backend"], row["precision"]) for row in found["rows"]] == [
        ("torch", "float32"),
        ("torch", "int8"),
        ("openvino", "float32"),
    ]
    for row in found["rows"]:
        timing = row["timing"]
        assert 0 < timing["p50"] <= timing["p95"] and timing["sample"] == 3 and timing["pairs_per_second"] > 0
        assert "torch" in timing["hardware"] and row["memory"] > 50_000_000 and row["loading"] > 0
    exact, rounded, other = [row["tau"] for row in found["rows"]]
    assert exact == 1 and 0.5 < rounded <= 1 and other > 0.98
    assert found["passages"] == 20 and found["task"] == "mini" and found["reranker"] == "cross_encoder"
    [refused] = found["refused"]
    assert refused.startswith("openvino in int8: backend openvino computes in float32 or bfloat16, not in int8")


def test_a_model_whose_part_knows_torch_alone_is_timed_by_it_and_nothing_is_said_of_others():
    found = exabench.speed(MINILM, passages=5, repeat=1)
    assert [row.backend for row in found.rows] == ["torch"] and not found.refused


REFUSED = {
    "a backend": ([MINILM, "--backend", "tensorrt"], "choose from: onnx, openvino, torch"),
    "a precision": ([MINILM, "--precision", "float8"], "unknown precision 'float8'"),
    "too many": ([MINILM, "--passages", "1000"], "the collection of mini has only 240 passages"),
    "no model": (["unchanged"], "reranker unchanged loads no model, so there is nothing to time"),
    "a dual encoder": ([MINILM, "--backend", "openvino"], "reranker bi_encoder has no option 'backend'"),
    "none": ([MINILM, "--repeat", "0"], "--repeat"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_timed_is_told_in_one_line(case, capsys):
    words, told = REFUSED[case]
    assert main(["bench", "speed", *words]) == 2
    captured = capsys.readouterr()
    assert told in captured.err and "Traceback" not in captured.err and not captured.out


def test_python_users_are_told_the_same():
    with pytest.raises(BadInput, match="whole numbers from 1 on"):
        exabench.speed(MINILM, passages=0)


@pytest.mark.parametrize("kind", ["a cross-encoder", "a dual encoder"])
def test_scores_of_earlier_runs_are_neither_read_nor_left(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    model = MINILM if kind == "a dual encoder" else str(classifier_folder(tmp_path / "bert"))
    exabench.speed(model, backends=["torch"], passages=5, repeat=1)
    assert not [*tmp_path.glob("cache/**/*.sqlite*"), *tmp_path.glob("cache/**/*.npy")]

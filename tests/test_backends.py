"""Back-ends: OpenVINO and ONNX Runtime give the scores of torch, or one line says why they do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from models import CLASSIFIERS, UNCOUNTED, classifier_folder, decoder_folder, modular_folder, t5_folder, t5_tokenizer

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput, ExabenchError, MissingExtra, UnknownName
from exabench.core.nouns import Passage, Query

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [
    Passage("a", "Light of short waves is scattered more than light of long waves.", "The sky"),
    Passage("b", "No!"),
    Passage("c", 'A "quoted" passage, with (brackets) and 1.5 numbers. ' * 3),
    Passage("d", "The sky is blue because of Rayleigh scattering.", "Rayleigh"),
    Passage("e", "A passage that is longer than what any model reads of one. " * 60),
]
KINDS = [*CLASSIFIERS, *UNCOUNTED, "modular"]


def folder_of(kind: str, place: Path) -> Path:
    if kind == "modular":
        return modular_folder(place / kind)
    return classifier_folder(place / kind, kind, labels=2 if kind == "electra" else 1)


def check_scores(folder: Path, backend: str) -> None:
    """The scores are those of torch, of a passage alone, in a group and in a whole run."""
    torch_alone = exabench.reranker("auto", model=str(folder)).score(QUERY, PASSAGES)
    made: Any = exabench.reranker("auto", model=str(folder), backend=backend)
    near = 1e-4 * max(1.0, *map(abs, torch_alone))
    assert max(torch_alone) - min(torch_alone) > 10 * near, "the toy tells passages apart"
    assert made.score(QUERY, PASSAGES) == pytest.approx(torch_alone, abs=near)
    for passage, score in zip(PASSAGES, torch_alone, strict=True):
        assert made.score(QUERY, [passage]) == pytest.approx([score], abs=near)
    [(many, usage)] = made.score_many([(QUERY, PASSAGES[::-1])])
    assert many[::-1] == pytest.approx(torch_alone, abs=near)
    assert usage.input_tokens > 512 and usage.cut_passages == 1  # tokens are counted as torch's are


@pytest.mark.parametrize("kind", KINDS)
def test_openvino_gives_the_scores_of_torch_whatever_the_batch(kind, tmp_path):
    check_scores(folder_of(kind, tmp_path), "openvino")


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta-v2", "modernbert", "modular"])
def test_onnx_gives_the_scores_of_torch_whatever_the_batch(kind, tmp_path):
    check_scores(folder_of(kind, tmp_path), "onnx")


def test_two_workers_share_a_converted_model(tmp_path):
    folder = str(classifier_folder(tmp_path / "bert"))
    jobs = [(Query(str(number), f"query {number}"), PASSAGES) for number in range(20)]
    found = []
    for devices in (["cpu"], ["cpu", "cpu"]):
        made: Any = exabench.reranker("auto", model=folder, backend="openvino", devices=devices, batch_tokens=1024)
        found.append([score for scores, _ in made.score_many(jobs) for score in scores])
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_scores_and_results_say_who_computed_them_and_those_of_torch_are_filed_as_before(tmp_path):
    folder = str(classifier_folder(tmp_path / "bert"))
    identities = {}
    for backend in ("", "torch", "openvino"):
        options = {"backend": backend} if backend else {}
        store = tmp_path / f"scores-{backend}"
        made: Any = exabench.reranker("auto", model=folder, scores=str(store), **options)
        list(made.score_many([(QUERY, PASSAGES)]))
        identities[backend] = (made.identity, [file.name for file in store.iterdir()])
    assert identities[""] == identities["torch"] and "backend" not in identities[""][0]
    assert identities["openvino"][0] == {**identities[""][0], "backend": "openvino"}
    assert identities["openvino"][1] != identities[""][1], "the two share no file of scores"


REFUSED = {
    "a name": ("bert", {"backend": "tensorrt"}, UnknownName, "onnx, openvino, torch"),
    "int8": ("bert", {"backend": "openvino", "precision": "int8"}, BadInput, "computes in float32 or bfloat16, not in"),
    "half": ("bert", {"backend": "onnx", "precision": "bfloat16"}, BadInput, "onnx computes in float32, not in bfloat"),
    "a GPU": ("bert", {"backend": "onnx", "devices": ["cuda:0"]}, BadInput, "runs on the CPU, not on cuda:0"),
    "a T5": ("t5", {"backend": "openvino"}, BadInput, "the encoders that cross_encoder reads, not a T5"),
    "a decoder": ("llama", {"backend": "onnx"}, BadInput, "encoders that cross_encoder reads, not a Llama"),
    "a decoder's head": ("qwen2", {"backend": "openvino"}, BadInput, "cross_encoder reads, not a decoder; use backend"),
    "an uncounted one": ("smollm3", {"backend": "openvino"}, BadInput, "not a decoder; use backend torch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_backend_cannot_compute_is_refused_in_one_line(case, tmp_path):
    kind, options, error, told = REFUSED[case]
    part = "cross_encoder"
    if kind == "t5":
        folder = t5_folder(tmp_path / kind, t5_tokenizer())
        part = "monot5"
    elif kind == "llama":
        folder = decoder_folder(tmp_path / kind)
        part = "yes_no"
    else:
        folder = classifier_folder(tmp_path / kind, kind)
    with pytest.raises(ExabenchError, match=told) as caught:
        exabench.reranker(part, model=str(folder), **options)
    assert type(caught.value) is error and "\n" not in str(caught.value)


STAGE = ("--set", "retriever.model=acme/none", "--set", "retriever.backend=onnx")


def test_a_wrong_backend_is_told_on_the_command_line_before_a_model_is_read(capsys):
    assert main(["evaluate", "acme/none", "--task", "mini", "--set", "backend=faiss"]) == 2
    assert "choose from: onnx, openvino, torch" in capsys.readouterr().err
    assert main(["evaluate", "unchanged", "--task", "mini", "--retriever", "dense", *STAGE]) == 2
    assert "choose from: faiss, torch" in capsys.readouterr().err


def test_bfloat16_needs_a_cpu_that_has_it(tmp_path):
    import openvino

    folder = str(classifier_folder(tmp_path / "bert"))
    options = {"model": folder, "backend": "openvino", "precision": "bfloat16"}
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        wanted = exabench.reranker("auto", model=folder).score(QUERY, PASSAGES)
        assert exabench.reranker("auto", **options).score(QUERY, PASSAGES) == pytest.approx(wanted, abs=0.3)
        return
    with pytest.raises(BadInput, match="this CPU has no bfloat16 .*; use precision float32"):
        exabench.reranker("auto", **options)


def test_a_package_that_is_not_installed_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    folder = str(classifier_folder(tmp_path / "bert"))
    for backend, module in (("openvino", "openvino"), ("onnx", "onnxscript")):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, module, None)
            with pytest.raises(MissingExtra, match=rf"backend {backend} needs a package \({module}\): pip install"):
                exabench.reranker("auto", model=folder, backend=backend)


def test_a_model_of_another_backend_cannot_be_trained(tmp_path):
    made: Any = exabench.reranker("auto", model=str(classifier_folder(tmp_path / "bert")), backend="openvino")
    with pytest.raises(BadInput, match="of backend openvino cannot be trained; use backend torch"):
        made.learner()


WATCHED = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        print("ASKED", event, arguments, flush=True)
sys.addaudithook(watch)
import exabench
for backend in ("openvino", "onnx"):
    made = exabench.reranker("cross_encoder", model=sys.argv[1], backend=backend)
    print(len(made.score(exabench.Query("q", "sky"), [exabench.Passage("a", "blue")])))
"""


def test_no_backend_reports_its_use_to_anyone(tmp_path, monkeypatch):
    folder = str(classifier_folder(tmp_path / "bert"))
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CI", raising=False)  # where OpenVINO reports nothing by itself
    watched = subprocess.run([sys.executable, "-c", WATCHED, folder], capture_output=True, text=True, check=False)
    assert watched.stdout.split() == ["1", "1"] and watched.stderr == ""
    assert not (home / "intel").exists(), "where OpenVINO keeps the number it reports under"

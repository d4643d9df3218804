"""Which reranker reads a model: told from its settings alone, or refused with the parts to name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from models import (
    CLASSIFIERS,
    DECODERS,
    MINILM,
    bpe_tokenizer,
    classifier_folder,
    decoder_folder,
    encoder_folder,
    minilm_folder,
    rankt5_folder,
    t5_folder,
    t5_tokenizer,
)

import exabench
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.parts.recognition import recognise

QUERY = Query("q", "why is the sky blue")
PASSAGES = [Passage("a", "Air scatters blue light."), Passage("b", "Bread.", "Food")]


def edited(folder: Path, name: str = "config.json", **changes: Any) -> str:
    """The folder after changes of one of its JSON files."""
    file = folder / name
    values = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(values | changes))
    return str(folder)


def check_same_scores(folder: str, name: str, options: Mapping[str, Any]) -> None:
    """`auto` scores as the part does that is named, with these options."""
    found = recognise(folder)
    assert (found.reranker, dict(found.options)) == (name, dict(options))
    scores = exabench.reranker("auto", model=folder).score(QUERY, PASSAGES)
    assert scores == exabench.reranker(name, model=folder, **options).score(QUERY, PASSAGES)


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_of_one_or_two_labels_is_a_cross_encoder(kind: str, labels: int, tmp_path: Path) -> None:
    folder = str(classifier_folder(tmp_path / "m", kind, labels=labels))
    found = recognise(folder)
    assert found.reranker == "cross_encoder" and f"with {labels} label" in found.why
    if kind == "bert":
        check_same_scores(folder, "cross_encoder", {})


def test_t5s_are_monot5_and_their_encoders_rankt5(tmp_path: Path) -> None:
    check_same_scores(str(t5_folder(tmp_path / "t5", t5_tokenizer())), "monot5", {})
    assert recognise(str(t5_folder(tmp_path / "mt5", t5_tokenizer(), kind="mt5", tied=False))).reranker == "monot5"
    check_same_scores(str(rankt5_folder(tmp_path / "rank", t5_tokenizer())), "rankt5", {})


@pytest.mark.parametrize("kind", DECODERS)
def test_a_causal_model_is_asked_yes_or_no_by_its_chat_template_where_it_has_one(kind: str, tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path / "m", kind)
    assert bpe_tokenizer().chat_template
    assert recognise(str(folder)).options == {"chat": True}
    if kind == "llama":
        check_same_scores(str(folder), "yes_no", {"chat": True})
    for file in folder.glob("chat_template*"):
        file.unlink()
    found = recognise(edited(folder, "tokenizer_config.json", chat_template=None))
    assert (found.reranker, found.options) == ("yes_no", {})


def test_a_sentence_encoder_is_a_bi_encoder() -> None:
    assert recognise(MINILM).why == "modules.json lists Transformer, Pooling, Normalize"
    check_same_scores(str(minilm_folder()), "bi_encoder", {})


def test_what_a_training_says_of_its_model_counts_first(tmp_path: Path) -> None:
    folder = str(t5_folder(tmp_path / "m", t5_tokenizer()))
    edited(Path(folder), "training.json", reranker="exaranker", options={"max_length": 96})
    check_same_scores(folder, "exaranker", {"max_length": 96})
    given = exabench.reranker("auto", model=folder, max_length=120)
    assert given.identity["max_length"] == 120  # type: ignore[attr-defined]
    edited(Path(folder), "training.json", reranker="no_such_part")
    assert recognise(folder).reranker == "monot5"


def modular(folder: Path, *modules: str, made_as: str = "CrossEncoder") -> str:
    """The folder with these modules of sentence-transformers."""
    listed = [{"type": f"sentence_transformers.models.{name}", "path": ""} for name in modules]
    (folder / "modules.json").write_text(json.dumps(listed))
    return edited(folder, "config_sentence_transformers.json", model_type=made_as)


def test_a_cross_encoder_that_lists_its_transformer_alone_is_read(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m")
    check_same_scores(modular(folder, "Transformer"), "cross_encoder", {})


def refused(folder: Path | str) -> str:
    """Why a model is refused: one line that ends with the parts to name."""
    with pytest.raises(BadInput) as error:
        exabench.reranker("auto", model=str(folder))
    line = str(error.value)
    assert line.startswith(str(folder)) and "\n" not in line
    parts = "bi_encoder, cross_encoder, exaranker, late_interaction, monot5, pairwise, query_likelihood, rankt5, yes_no"
    assert line.endswith(parts)
    return line


def test_what_cannot_be_told_is_refused_in_one_line_that_lists_the_parts(tmp_path: Path) -> None:
    def copy(folder: Path, name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    classifier = classifier_folder(tmp_path / "classifier")
    decoder = decoder_folder(tmp_path / "decoder", "qwen3")
    encoder = encoder_folder(tmp_path / "encoder")
    assert "config.json says BertModel: an encoder with neither a head that scores pairs" in refused(encoder)
    assert "with 3 labels; a reranker has one or two" in refused(classifier_folder(tmp_path / "nli", labels=3))
    for modules in (("Transformer", "Pooling", "Dense", "LayerNorm", "Dense"),):
        folder = modular(copy(encoder, modules[-1]), *modules)
        assert f"modules.json: a cross-encoder of {', '.join(modules)}, none of which gives scores" in refused(folder)
    assert "which is not a reranker here" in refused(
        modular(copy(encoder, "sparse"), "Transformer", "SpladePooling", made_as="SparseEncoder")
    )
    odd = modular(copy(encoder, "odd"), "Transformer", "Pooling", "Odd", made_as="SentenceTransformer")
    assert (
        "modules.json lists Odd, and Transformer, Pooling, Normalize, Dense, LayerNorm, Dropout, LogitScore are read"
        in refused(odd)
    )

    code = edited(copy(classifier, "code"), auto_map={"AutoModel": "x.Y"})
    assert "needs its own code (auto_map), which is never run" in refused(code)
    mamba = edited(copy(encoder, "mamba"), model_type="mamba")
    assert "which is not supported here (unknown model_type" in refused(mamba)
    for folder, family in (
        (copy(decoder, "Qwen3-Reranker-0.6B"), "qwen3-reranker"),
        (t5_folder(tmp_path / "ptt5-base-msmarco", t5_tokenizer()), "ptt5"),
    ):
        assert f"is named as those of {family}, which are asked in their own way; if it is of a fam" in refused(folder)
    assert recognise(str(t5_folder(tmp_path / "monot5-mine", t5_tokenizer()))).reranker == "monot5"
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="is not a model folder: config.json is missing$"):  # no part reads it
        exabench.reranker("auto", model=str(tmp_path / "empty"))
    listed = copy(classifier, "listed")
    (listed / "config.json").write_text("[]")
    assert "config.json is not the description of a model" in refused(listed)

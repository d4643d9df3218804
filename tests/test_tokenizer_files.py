"""Tokenizers that are a SentencePiece model and nothing else: read as sentencepiece reads them, or refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import transformers
from models import classifier_folder, decoder_folder, real_t5_tokenizer, t5_folder, texts

import exabench
from exabench.core.errors import BadInput, MissingExtra
from exabench.core.nouns import Passage, Query

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [Passage("a", "Light of short waves is scattered."), Passage("b", "No!"), Passage("c", "Rayleigh " * 9)]
DEBERTA = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
DEBERTA |= {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
LLAMA = {"model_type": "bpe", "byte_fallback": True, "unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1}


def learnt(file: Path, **options: Any) -> Path:
    """A SentencePiece model of `mini`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    corpus = file.with_suffix(".txt")
    corpus.write_text("\n".join(texts()), encoding="utf-8")
    given = {"input": str(corpus), "model_prefix": str(file.with_suffix("")), "minloglevel": 2, "vocab_size": 800}
    sentencepiece.SentencePieceTrainer.train(**given, **options)
    return file


def only_pieces(folder: Path, pieces: Path, name: str, kind: str) -> Path:
    """The model with this SentencePiece model as its only tokenizer file, as older repositories are."""
    for file in [*folder.glob("tokenizer*"), *folder.glob("chat_template*"), *folder.glob("vocab*")]:
        file.unlink()
    shutil.copyfile(pieces, folder / name)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, "add_bos_token": True}))
    return folder


def scores(folder: Path, part: str) -> list[float]:
    made: Any = exabench.reranker(part, model=str(folder))
    return list(made.score(QUERY, PASSAGES))


def check_as_with_tokenizer_json(folder: Path, part: str) -> None:
    """The folder scores as it does with the tokenizer.json that transformers makes of it."""
    assert not (folder / "tokenizer.json").exists()
    found = scores(folder, part)
    whole = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-whole")))
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(whole)
    assert (whole / "tokenizer.json").exists()
    assert scores(whole, part) == pytest.approx(found, abs=1e-6)
    assert len(set(found)) == len(found)


def test_deberta_and_llama_score_as_with_a_tokenizer_json(tmp_path: Path) -> None:
    deberta = learnt(tmp_path / "deberta.model", model_type="unigram", **DEBERTA)
    folder = classifier_folder(tmp_path / "deberta", "deberta-v2")
    check_as_with_tokenizer_json(only_pieces(folder, deberta, "spm.model", "DebertaV2Tokenizer"), "cross_encoder")
    llama = learnt(tmp_path / "llama.model", **LLAMA)
    folder = classifier_folder(tmp_path / "llama", "llama")
    check_as_with_tokenizer_json(only_pieces(folder, llama, "tokenizer.model", "LlamaTokenizer"), "cross_encoder")


@pytest.mark.real_data
def test_t5_with_its_own_pieces_scores_as_with_a_tokenizer_json(real_data: Path, tmp_path: Path) -> None:
    tokenizer = real_t5_tokenizer(real_data, tmp_path / "own")
    folder = t5_folder(tmp_path / "t5", tokenizer)
    pieces = real_data / "tokenizers" / "t5_spiece.model"
    check_as_with_tokenizer_json(only_pieces(folder, pieces, "spiece.model", "T5Tokenizer"), "monot5")


def test_pieces_that_transformers_reads_otherwise_and_a_missing_package_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = learnt(tmp_path / "llama.model", **LLAMA)
    folder = only_pieces(decoder_folder(tmp_path / "m", "mistral"), pieces, "tokenizer.model", "LlamaTokenizer")
    with pytest.raises(BadInput, match="tokenizer.model is read here as 't he .* add the model's tokenizer.json"):
        exabench.reranker("auto", model=str(folder))
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(MissingExtra, match="reading tokenizer.model without a tokenizer.json needs a package: pip"):
        exabench.reranker("auto", model=str(folder))

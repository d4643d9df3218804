"""Loading: a head computes what transformers' own forward does, and a folder that cannot be trusted is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from models import (
    CLASSIFIERS,
    DECODERS,
    MINILM,
    bert_tokenizer,
    bpe_tokenizer,
    classifier_folder,
    decoder_folder,
    rankt5_folder,
    t5_folder,
    t5_tokenizer,
)
from safetensors.torch import load_file

from exabench.core.errors import BadInput
from exabench.models.heads import _replica, load

SENTENCES = ("why", "the sky is blue", "light of short waves is scattered more than light of long waves " * 4)
T5S = {
    "t5 v1.0": {},
    "t5 v1.1": {"tied": False, "gated": True},
    "mt5": {"kind": "mt5", "tied": False, "gated": True},
}


def padded(tokenizer, pad):
    rows = [tokenizer(text)["input_ids"] for text in SENTENCES]
    ids = torch.full((len(rows), max(map(len, rows))), pad)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = torch.tensor(row)
    mask = torch.arange(ids.shape[1])[None] < torch.tensor([len(row) for row in rows])[:, None]
    return rows, ids, mask


def logits(loaded):
    rows, ids, mask = padded(loaded.tokenizer, loaded.head.pad)
    with torch.inference_mode():
        return rows, loaded.head.logits(ids, mask, None)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return t5_folder(tmp_path_factory.mktemp("t5"), t5_tokenizer())


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return classifier_folder(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def copy(t5, tmp_path):
    return shutil.copytree(t5, tmp_path / "copy")


def edited(folder, **changes):
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder


# -- equal to transformers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", T5S)
def test_one_decoder_step_gives_the_logits_of_transformers_full_forward(kind, tmp_path):
    folder = t5_folder(tmp_path, t5_tokenizer(), **T5S[kind])
    loaded = load(str(folder), "seq2seq")
    rows, made = logits(loaded)
    own = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    weights = load_file(folder / "model.safetensors")
    tied = "lm_head.weight" not in weights
    for row, line in zip(rows, made, strict=True):
        with torch.inference_mode():
            told = own(input_ids=torch.tensor([row]), decoder_input_ids=torch.tensor([[0]]), output_hidden_states=True)
        state = told.decoder_hidden_states[-1][0, 0]
        by_hand = weights["shared.weight"] @ (state * 32**-0.5) if tied else weights["lm_head.weight"] @ state
        assert torch.allclose(line, told.logits[0, 0], atol=1e-5, rtol=1e-5)
        assert torch.allclose(line, by_hand, atol=1e-5), "only v1.0 scales, and only v1.0 shares its embedding"
    assert tied == (kind == "t5 v1.0")
    some = (7, 900, 3)
    _, few = logits(loaded.only(some))
    assert torch.allclose(few, made[:, list(some)], atol=1e-5)
    assert (loaded.head.rows, loaded.only(some).head.rows, loaded.only(some).head.chosen) == (1_152, 3, some)


@pytest.mark.parametrize(("kind", "labels"), [*((kind, 1) for kind in CLASSIFIERS), ("bert", 2), ("modernbert", 2)])
def test_a_classifier_in_a_padded_batch_is_transformers_one_at_a_time(kind, labels, tmp_path):
    folder = classifier_folder(tmp_path, kind, labels=labels)
    loaded = load(str(folder), "classifier")
    rows, made = logits(loaded)
    own = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        told = torch.cat([own(torch.tensor([row]), torch.ones(1, len(row))).logits for row in rows])
    assert torch.allclose(made, told, atol=2e-5)
    assert made.shape == (3, labels) and loaded.head.rows == labels
    assert np.ptp(made[:, 0].numpy()) > 1e-3, "the toy tells texts apart"
    assert loaded.head.limit == (512 if kind != "modernbert" else bert_tokenizer().model_max_length)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_in_a_padded_batch_is_transformers_last_token_one_at_a_time(kind, tmp_path):
    folder = decoder_folder(tmp_path, kind)
    loaded = load(str(folder), "decoder")
    rows, made = logits(loaded)
    own = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        told = torch.cat([own(torch.tensor([row]), torch.ones(1, len(row))).logits[:, -1] for row in rows])
    assert torch.allclose(made, told, atol=1e-4)
    _, few = logits(loaded.only((5, 9)))
    assert torch.allclose(few, told[:, [5, 9]], atol=1e-4)


def test_rankt5s_encoder_scores_its_first_state(tmp_path):
    folder = rankt5_folder(tmp_path, t5_tokenizer())
    loaded = load(str(folder), "encoder")
    rows, made = logits(loaded)
    weights = load_file(folder / "model.safetensors")
    own = transformers.T5EncoderModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        told = [own(torch.tensor([row])).last_hidden_state[0, 0] @ weights["dense.weight"][0] for row in rows]
    assert made[:, 0].tolist() == pytest.approx([float(x + weights["dense.bias"]) for x in told], abs=1e-5)


@pytest.mark.parametrize(("precision", "near"), [("bfloat16", 0.1), ("float16", 0.02), ("int8", 0.2)])
def test_lower_precisions_stay_near_and_still_give_float32(precision, near, t5, bert):
    for folder, kind in ((t5, "seq2seq"), (bert, "classifier")):
        full, low = load(str(folder), kind), load(str(folder), kind, precision=precision)
        _, made = logits(full)
        _, less = logits(low)
        assert less.dtype == torch.float32
        assert (less - made).abs().max() <= near * made.abs().max()
        assert low.parameters == full.parameters and low.precision == precision


def test_weights_are_counted_once_however_often_they_are_used(t5):
    assert load(str(t5), "seq2seq").parameters == sum(w.numel() for w in load_file(t5 / "model.safetensors").values())


def test_a_replica_shares_nothing_with_its_model_but_what_was_tied_stays_tied(t5):
    loaded = load(str(t5), "seq2seq")
    there = loaded.head.on("meta")
    assert {p.device.type for p in there.model.parameters()} == {"meta"}
    assert there.model.encoder.embed_tokens.weight is there.model.shared.weight
    assert loaded.head.on("cpu") is loaded.head
    twin = _replica(loaded.head.model, torch.device("cpu"))
    assert torch.equal(twin.shared.weight, loaded.head.model.shared.weight)


def test_loading_says_nothing_and_leaves_transformers_as_it_was(t5, bert, capfd):
    before = transformers.utils.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled()
    load(str(t5), "seq2seq", precision="int8")
    load(str(bert), "classifier")
    assert capfd.readouterr() == ("", "")
    assert before == (transformers.utils.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled())


# -- refused ---------------------------------------------------------------------------------------------------


def refused(folder, kind="seq2seq", **options):
    with pytest.raises(BadInput) as caught:
        load(str(folder), kind, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_tokenizer_is_refused(copy):
    for file in copy.glob("tokenizer*"):
        file.unlink()
    assert "holds no tokenizer" in refused(copy)


def test_an_unknown_architecture_is_named(copy):
    assert "architecture 'mamba9' is not supported" in refused(edited(copy, model_type="mamba9"))
    assert "architecture None is not supported" in refused(edited(copy, model_type=None))
    (copy / "config.json").write_text("[1]")
    assert "config.json" in refused(copy)


def test_the_wrong_kind_of_model_is_refused(t5, bert, tmp_path):
    llama = decoder_folder(tmp_path)
    assert "is of type bert (encoder), but this reranker needs a T5 (encoder-decoder)" in refused(bert)
    assert "is of type llama (decoder)" in refused(llama, "classifier")
    assert "is of type t5 (encoder-decoder), but this reranker needs a Llama" in refused(t5, "decoder")


def test_a_model_without_its_head_is_refused_and_not_given_a_random_one(tmp_path):
    said = refused(MINILM, "classifier")
    assert "holds no weights for classifier.bias and 1 more: it is not a BERT with a classification head" in said
    encoder = rankt5_folder(tmp_path / "encoder", t5_tokenizer())
    assert "holds no weights for" in refused(edited(encoder, architectures=["T5ForConditionalGeneration"]))
    t5 = edited(t5_folder(tmp_path / "t5", t5_tokenizer()), architectures=["T5EncoderModel"])
    assert "holds no dense.weight" in refused(t5, "encoder")


def test_more_than_two_labels_are_refused(tmp_path):
    assert "has 3 labels; a reranker has one or two" in refused(classifier_folder(tmp_path, labels=3), "classifier")


def test_damaged_weights_are_refused(copy):
    file = copy / "model.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:4], b"", b"\xff" * 64, b"PK\x03\x04" + whole):
        file.write_bytes(damaged)
        assert "cannot be loaded" in refused(copy)
    file.write_bytes(whole)
    assert "cannot be loaded" in refused(edited(copy, d_ff=96)), "weights of another size than config.json says"


def test_damaged_tokenizers_are_refused(copy):
    (copy / "tokenizer.json").write_text("{}")
    assert "cannot be loaded" in refused(copy)


def test_a_tokenizer_of_another_model_is_refused(t5, tmp_path):
    folder = shutil.copytree(t5, tmp_path / "other")
    bpe_tokenizer().save_pretrained(folder)
    assert "its tokenizer has 1200 tokens, but the model only 1152" in refused(folder)


def test_code_that_comes_with_a_model_never_runs(tmp_path):
    folder = classifier_folder(tmp_path / "model")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    edited(folder, auto_map={"AutoModelForSequenceClassification": "evil.Evil", "AutoConfig": "evil.Evil"})
    load(str(folder), "classifier")
    refused(edited(folder, model_type="evil"), "classifier")
    assert not (tmp_path / "ran").exists()


def test_pickles_are_never_opened(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "pickles are never loaded" in refused(copy)


def test_options_that_cannot_be_are_refused(t5):
    assert "unknown precision 'fp8'" in refused(t5, precision="fp8")
    assert "int8 runs on the CPU" in refused(t5, precision="int8", devices=["cuda:0"])

"""Loading: a head computes what transformers' own forward does, and a folder that cannot be trusted is refused."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial

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
from exabench.models.heads import load
from exabench.models.int8_linear import Int8Linear

SENTENCES = ("why", "the sky is blue", "light of short waves is scattered more than light of long waves " * 4)
LOADERS = {
    "seq2seq": transformers.AutoModelForSeq2SeqLM,
    "classifier": transformers.AutoModelForSequenceClassification,
    "decoder": transformers.AutoModelForCausalLM,
}


def t5_in(folder, **options):
    """A T5 whose tokenizer is made when a test wants it, not when tests are collected."""
    return t5_folder(folder, t5_tokenizer(), **options)


OF_EVERY_KIND = [
    ("seq2seq", t5_in),
    ("seq2seq", partial(t5_in, tied=False, gated=True)),
    ("seq2seq", partial(t5_in, kind="mt5", tied=False, gated=True)),
    *(("classifier", partial(classifier_folder, kind=kind)) for kind in CLASSIFIERS),
    *(("classifier", partial(classifier_folder, kind=kind, labels=2)) for kind in ("bert", "modernbert")),
    *(("decoder", partial(decoder_folder, kind=kind)) for kind in DECODERS),
]


def logits(loaded):
    """The ids of each sentence, and the head's logits of all of them in one padded batch."""
    rows = [loaded.tokenizer(text)["input_ids"] for text in SENTENCES]
    ids = torch.tensor([row + [loaded.head.pad] * (len(rows[-1]) - len(row)) for row in rows])
    mask = torch.arange(ids.shape[1])[None] < torch.tensor([len(row) for row in rows])[:, None]
    with torch.inference_mode():
        return rows, loaded.head.logits(ids, mask, None)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return t5_folder(tmp_path_factory.mktemp("t5"), t5_tokenizer())


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return classifier_folder(tmp_path_factory.mktemp("bert"))


def edited(folder, **changes):
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder


@pytest.mark.parametrize(("kind", "make"), OF_EVERY_KIND)
def test_a_head_in_a_padded_batch_gives_the_logits_of_transformers_one_at_a_time(kind, make, tmp_path):
    loaded = load(str(make(tmp_path)), kind)
    rows, made = logits(loaded)
    own = LOADERS[kind].from_pretrained(tmp_path, dtype=torch.float32).eval()
    begun = {"decoder_input_ids": torch.tensor([[0]])} if kind == "seq2seq" else {}
    with torch.inference_mode():
        told = [own(torch.tensor([row]), torch.ones(1, len(row)), **begun).logits for row in rows]
    last = torch.stack([one.reshape(-1, made.shape[1])[-1] for one in told])  # the last token's, or the labels'
    assert torch.allclose(made, last, atol=5e-5)
    assert np.ptp(made.numpy(), axis=0).max() > 1e-3, "the toy tells texts apart"
    assert loaded.head.rows == made.shape[1]
    if kind == "classifier":
        limit = bert_tokenizer().model_max_length if own.config.model_type == "modernbert" else 512
        assert loaded.head.limit == limit
    else:
        some = loaded.only((7, 900, 3))
        assert torch.allclose(logits(some)[1], made[:, [7, 900, 3]], atol=1e-5) and some.head.rows == 3


@pytest.mark.parametrize(("precision", "near"), [("bfloat16", 0.1), ("float16", 0.02), ("int8", 0.2)])
def test_lower_precisions_stay_near_and_still_give_float32(precision, near, t5, bert):
    for folder, kind in ((t5, "seq2seq"), (bert, "classifier")):
        full, low = load(str(folder), kind), load(str(folder), kind, precision=precision)
        _, made = logits(full)
        _, less = logits(low)
        assert less.dtype == torch.float32
        assert (less - made).abs().max() <= near * made.abs().max()
        assert low.parameters == full.parameters and low.precision == precision


@pytest.mark.parametrize("kind", ["seq2seq", "classifier", "decoder", "encoder"])
def test_an_int8_layer_makes_of_a_row_what_it_makes_of_it_alone(kind, t5, bert, tmp_path):
    """Bit for bit, and as the whole numbers say: no activation of another row, however large, moves it."""
    folders = {"seq2seq": t5, "classifier": bert}
    folder = folders.get(kind)
    if kind == "decoder":
        folder = decoder_folder(tmp_path / kind)
    if kind == "encoder":
        folder = rankt5_folder(tmp_path / kind, t5_tokenizer())
    model = load(str(folder), kind, precision="int8").head.model
    full = dict(load(str(folder), kind).head.model.named_modules())
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, Int8Linear)}
    assert layers
    generator = torch.Generator().manual_seed(0)
    for name, layer in layers.items():
        weight = full[name].weight
        rows = torch.randn(3, 5, weight.shape[1], generator=generator)
        rows[1, 2] *= 1000  # an outlier among the others
        rows[2, 4] = 0
        made = layer(rows)
        for place in range(3):
            assert torch.equal(layer(rows[place, 1:2]), made[place, 1:2]), name

        low, high = rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True)
        steps = ((high - low) / 127).clamp(min=1e-30)
        of_weights = weight.abs().amax(1, keepdim=True) / 127
        rounded = (weight / of_weights).round().double() * of_weights
        expected = (((rows - low) / steps).round().double() * steps + low) @ rounded.T
        if full[name].bias is not None:
            expected = expected + full[name].bias
        assert torch.allclose(made, expected.float(), rtol=1e-4, atol=1e-4), name


def test_weights_are_counted_once_however_often_they_are_used(t5):
    assert load(str(t5), "seq2seq").parameters == sum(w.numel() for w in load_file(t5 / "model.safetensors").values())


def test_a_replica_shares_nothing_with_its_model_but_what_was_tied_stays_tied(t5):
    head = load(str(t5), "seq2seq").head
    there = head.on("meta")
    assert {p.device.type for p in there.model.parameters()} == {"meta"}
    assert there.model.encoder.embed_tokens.weight is there.model.shared.weight
    twin = head.on("cpu:1")
    assert head.on("cpu") is head is not twin and torch.equal(twin.model.shared.weight, head.model.shared.weight)


def test_loading_says_nothing_and_leaves_transformers_as_it_was(t5, bert, capfd):
    before = transformers.utils.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled()
    load(str(t5), "seq2seq", precision="int8")
    load(str(bert), "classifier")
    assert capfd.readouterr() == ("", "")
    assert before == (transformers.utils.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled())


def refused(folder, kind="seq2seq", **options):
    with pytest.raises(BadInput) as caught:
        load(str(folder), kind, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be loaded"),
        (
            lambda folder: bpe_tokenizer().save_pretrained(folder),
            "its tokenizer has 1200 tokens, but the model only 1152",
        ),
        (lambda folder: edited(folder, model_type="mamba9"), "architecture 'mamba9' is not supported"),
        (lambda folder: edited(folder, model_type=None), "architecture None is not supported"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "config.json"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "model.bin"), "pickles are never loaded"),
        (lambda folder: edited(folder, d_ff=96), "cannot be loaded"),  # weights of another size than it says
        (lambda folder: os.truncate(folder / "model.safetensors", 40_000), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"PK\x03\x04"), "cannot be loaded"),
    ],
)
def test_a_folder_that_cannot_be_trusted_is_refused(t5, tmp_path, spoil, said):
    folder = shutil.copytree(t5, tmp_path / "copy")
    spoil(folder)
    assert said in refused(folder)


def test_options_that_cannot_be_are_refused(t5):
    assert "unknown precision 'fp8'" in refused(t5, precision="fp8")
    assert "int8 runs on the CPU" in refused(t5, precision="int8", devices=["cuda:0"])


def test_a_model_without_its_head_is_refused_and_not_given_a_random_one(t5, tmp_path):
    said = refused(MINILM, "classifier")
    assert "has no weights for classifier.bias and 1 more: it is not a BERT with a classification head" in said
    encoder = rankt5_folder(tmp_path / "encoder", t5_tokenizer())
    assert "has no weights for" in refused(edited(encoder, architectures=["T5ForConditionalGeneration"]))
    copy = shutil.copytree(t5, tmp_path / "copy")
    assert "has no dense.weight" in refused(edited(copy, architectures=["T5EncoderModel"]), "encoder")
    three = classifier_folder(tmp_path / "three", labels=3)
    assert "has 3 labels; a reranker has one or two" in refused(three, "classifier")


def test_code_that_comes_with_a_model_never_runs(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "model")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    edited(folder, auto_map={"AutoModelForSequenceClassification": "evil.Evil", "AutoConfig": "evil.Evil"})
    load(str(folder), "classifier")
    refused(edited(folder, model_type="evil"), "classifier")
    assert not (tmp_path / "ran").exists()

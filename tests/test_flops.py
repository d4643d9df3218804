"""FLOPs: the published estimate by hand, the exact count against PyTorch's own counter, RPP and QPP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from exabench.core.errors import BadInput
from exabench.models.flops import Shape, exact, paper, qpp, rpp, shape_of

ENCODER = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
ENCODER |= {"intermediate_size": 80, "num_labels": 1}
T5 = {"vocab_size": 200, "d_model": 32, "d_kv": 12, "d_ff": 72, "num_layers": 3, "num_heads": 4}
LLAMA = {"vocab_size": 300, "hidden_size": 48, "intermediate_size": 100, "num_hidden_layers": 2}
LLAMA |= {"num_attention_heads": 6, "num_key_value_heads": 2}


def made(name: str, head: str, values: dict[str, Any]) -> tuple[Any, Shape]:
    """A model of that class from its config, and the Shape read from the config.json it would save."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**values)
    model = getattr(transformers, f"{name}{head}")
    loaded = model._from_config(config, attn_implementation="eager").eval().requires_grad_(False)
    loaded.config.architectures = [model.__name__]
    return loaded, shape_of(loaded.config.to_dict())


def counted(call: Any) -> float:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        call()
    return float(counter.get_total_flops())


def ids(rows: int, length: int) -> Any:
    return torch.arange(rows * length).reshape(rows, length) % 90 + 5


ENCODERS = {
    "Bert": ENCODER,
    "Electra": ENCODER | {"embedding_size": 16},
    "Albert": ENCODER | {"embedding_size": 16},
    "MPNet": ENCODER,
    "DistilBert": {"vocab_size": 99, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 80, "num_labels": 1},
    "ModernBert": ENCODER | {"num_hidden_layers": 4, "pad_token_id": 0, "local_attention": 200},
}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_counted_to_the_last_product_and_a_batch_costs_what_its_rows_cost(name: str) -> None:
    model, shape = made(name, "ForSequenceClassification", ENCODERS[name])
    for rows, length in ((1, 1), (1, 7), (1, 64), (5, 20)):
        mask = torch.ones(rows, length)
        found = counted(lambda mask=mask: model(input_ids=ids(*mask.shape), attention_mask=mask))
        assert exact(shape, np.full(rows, length), 0, rows=1).sum() == found


@pytest.mark.parametrize("name", ["Deberta", "DebertaV2"])
def test_deberta_is_counted_but_for_its_position_table(name: str) -> None:
    values = ENCODER | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_position_embeddings": 40}
    if name == "DebertaV2":
        values |= {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
    model, shape = made(name, "ForSequenceClassification", values)
    rows, length = 6, 20
    found = counted(lambda: model(input_ids=ids(rows, length), attention_mask=torch.ones(rows, length)))
    table = 2 * (length if name == "Deberta" else 8)  # rows of the position table, projected once for the batch
    shared = shape.layers * 2 * 2 * table * shape.width * shape.attention
    assert exact(shape, np.full(rows, length), 0, rows=1).sum() + shared == found


@pytest.mark.parametrize(("activation", "matrices"), [("relu", 2), ("gated-gelu", 3)])
def test_t5_is_counted_to_the_last_product_and_its_encoder_alone_has_no_decoder(activation: str, matrices: int) -> None:
    model, shape = made("T5", "ForConditionalGeneration", T5 | {"feed_forward_proj": activation})

    def decode(outputs: int) -> None:
        states, kept, seen = model.encoder(input_ids=ids(1, 30)), None, torch.zeros(1, 1, dtype=torch.long)
        for _ in range(outputs):
            done = model(encoder_outputs=states, decoder_input_ids=seen, past_key_values=kept, use_cache=True)
            kept = done.past_key_values

    assert (shape.attention, shape.width, shape.ffn_matrices) == (48, 32, matrices)
    assert exact(shape, 30, 1, rows=200) == counted(lambda: decode(1))
    assert exact(shape, 30, 4, rows=200) == counted(lambda: decode(4))
    encoder, shape = made("T5", "EncoderModel", T5)
    assert exact(shape, 30, 0, rows=0) == counted(lambda: encoder(input_ids=ids(1, 30)))


@pytest.mark.parametrize(("kind", "more"), [("Llama", {}), ("Qwen3", {"head_dim": 16})])
def test_a_decoder_is_counted_but_for_the_scores_that_its_mask_throws_away(kind: str, more: dict[str, int]) -> None:
    model, shape = made(kind, "ForCausalLM", LLAMA | more)
    prompt, outputs = 40, 5

    def generate() -> None:
        done = model(input_ids=ids(1, prompt), use_cache=True, logits_to_keep=1)
        for _ in range(outputs - 1):
            done = model(input_ids=ids(1, 1), past_key_values=done.past_key_values, use_cache=True, logits_to_keep=1)

    thrown = 4 * shape.layers * shape.attention * prompt * (prompt - 1) / 2  # a plain product makes the upper triangle
    assert exact(shape, prompt, outputs, rows=300) + thrown == counted(generate)


def test_a_window_limits_what_a_token_meets() -> None:
    whole = shape_of({"model_type": "mistral", **LLAMA, "sliding_window": None})
    near = shape_of({"model_type": "mistral", **LLAMA, "sliding_window": 4})
    pairs = 1 + 2 + 3 + 4 * 7  # ten tokens that see four at most
    assert exact(whole, 10, 1, rows=1) - exact(near, 10, 1, rows=1) == 4 * 2 * near.attention * (55 - pairs)
    local = shape_of({"model_type": "modernbert", **ENCODER, "local_attention": 4})
    wide = shape_of({"model_type": "modernbert", **ENCODER, "local_attention": 400})
    assert local.local_layers == 2  # every third layer, from the first on, sees everything
    seen = sum(min(9, i + 2) - max(0, i - 2) + 1 for i in range(10))
    assert exact(wide, 10, 0, rows=1) - exact(local, 10, 0, rows=1) == 4 * 2 * local.attention * (100 - seen)


def test_the_published_estimate_is_theirs_to_the_last_digit() -> None:
    decoder = shape_of({"model_type": "llama", **LLAMA})  # L 2, d 48, f 100, r 3; worked by hand
    weights = 2 * 48 * 2 * ((1 + 1 / 3) * 48 + 100)
    by_hand = 2 * weights * 10 + 4 * 2 * 100 / 3 * 48 + 2 * weights * 4 + 2 * 2 / 3 * 48 * (2 * 4 * 10 + 4 * 3)
    assert paper(decoder, 10, 4) == pytest.approx(by_hand, rel=1e-12)
    assert by_hand == pytest.approx(2 * 31488 * 14 + 12800 + 5888, rel=1e-12)
    t5 = shape_of({"model_type": "t5", **T5})  # L 3, d 32, f 72
    encoder, steps = 2 * 32 * 3 * (64 + 72), 2 * 32 * 3 * (96 + 72)
    by_hand = 2 * encoder * 10 + 4 * 3 * 100 * 32 + 4 * 3 * 10 * 32**2 + 2 * steps * 4 + 2 * 3 * 32 * (80 + 12)
    assert paper(t5, 10, 4) == by_hand == 522240 + 38400 + 122880 + 258048 + 17664
    bert = shape_of({"model_type": "bert", **ENCODER})
    assert paper(bert, 10, 7) == 2 * (2 * 32 * 3 * (64 + 80)) * 10 + 4 * 3 * 100 * 32  # the encoder half, no output


def test_counts_come_one_by_one_or_as_an_array() -> None:
    large = {"num_hidden_layers": 80, "hidden_size": 8192, "intermediate_size": 28672, "vocab_size": 128256}
    for config in ({"model_type": "t5", **T5}, {"model_type": "llama", **LLAMA, **large}):
        shape, prompts, outputs = shape_of(config), np.array([3, 50, 1_000_000]), np.array([1, 2, 300])
        pairs = list(zip(prompts, outputs, strict=True))
        for together, alone in (
            (exact(shape, prompts, outputs, rows=2), [exact(shape, *pair, rows=2) for pair in pairs]),
            (paper(shape, prompts, outputs), [paper(shape, *pair) for pair in pairs]),
        ):
            assert together.tolist() == alone and together.dtype == np.float64
            assert all(type(value) is float for value in alone) and together.min() > 0 and together.max() < 1e20


def test_a_shape_reads_what_files_leave_out() -> None:
    assert shape_of({"model_type": "t5", **T5, "num_decoder_layers": 1}).decoder_layers == 1
    assert shape_of({"model_type": "t5", **T5}).decoder_layers == 3
    plain = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    shape = shape_of({"model_type": "qwen2", **plain, "sliding_window": 8, "use_sliding_window": False})
    assert (shape.attention, shape.keys, shape.local_layers) == (48, 48, 0)
    gemma = {"model_type": "gemma2", **LLAMA, "num_hidden_layers": 5, "sliding_window": 8}
    assert shape_of(gemma).local_layers == 3
    assert shape_of({"model_type": "electra", **ENCODER, "embedding_size": 16}).embedding == 16
    sizes = {"relative_attention": True, "position_buckets": 8, "max_position_embeddings": 40}
    listed = shape_of({"model_type": "deberta-v2", **ENCODER, **sizes, "pos_att_type": ["p2c", "c2p"]})
    named = shape_of({"model_type": "deberta-v2", **ENCODER, **sizes, "pos_att_type": "p2c|c2p"})
    assert listed.position_sides == 2 and listed == named


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "lama"}, "did you mean llama"),
        ({"model_type": "mixtral"}, "unknown model_type"),
        ({"model_type": "bert", "hidden_size": 3}, "whole number for num_hidden_layers, not None"),
        ({"model_type": "t5", **T5, "d_kv": "64"}, "whole number for d_kv, not '64'"),
        ({"model_type": "t5", **T5, "d_ff": 0}, "whole number for d_ff, not 0"),
    ],
)
def test_a_config_that_says_nothing_is_refused_by_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        shape_of(config)


def test_rpp_and_qpp_are_the_published_quotients_and_what_costs_nothing_has_none() -> None:
    values, flops = {"a": 0.5, "b": 1.0, "c": 0.0}, {"a": 1e15, "b": 4e15, "c": 1e15}
    assert rpp(values, flops) == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert qpp(flops) == pytest.approx(0.5)  # 1e15 over a mean of 2e15
    assert rpp(values | {"d": 1.0}, flops | {"e": 9.0}) == pytest.approx(0.25)  # d cost nothing that is known
    assert rpp({"a": 1.0}, {"a": 0.0}) is rpp({}, {}) is qpp({"a": 0.0}) is qpp({}) is None

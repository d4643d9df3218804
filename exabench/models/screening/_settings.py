"""Settings of a model folder: JSON that may say nothing that would make a library run or fetch anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import from_json
from exabench.models.screening._refusals import SubmissionRefused
from exabench.models.sentence_modules import checked_modules

FAMILIES: Mapping[str, str] = {  # model_type: how its classes begin; those that a head of exabench reads
    **{"albert": "Albert", "bert": "Bert", "camembert": "Camembert", "deberta": "Deberta"},
    **{"deberta-v2": "DebertaV2", "distilbert": "DistilBert", "electra": "Electra", "modernbert": "ModernBert"},
    **{"mpnet": "MPNet", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "gemma": "Gemma", "gemma2": "Gemma2"},
    **{"gemma3_text": "Gemma3", "granite": "Granite", "llama": "Llama", "mistral": "Mistral", "olmo2": "Olmo2"},
    **{"phi3": "Phi3", "qwen2": "Qwen2", "qwen3": "Qwen3", "mt5": "MT5", "t5": "T5", "umt5": "UMT5"},
}
_TOKENIZED = {*FAMILIES.values(), "CodeLlama", "GPT2", "PreTrained"}
TOKENIZERS = {f"{name}Tokenizer{fast}" for name in _TOKENIZED for fast in ("", "Fast")}
TOKENIZERS |= {"SentencePieceBackend", "TokenizersBackend"}
DEPTH = 16  # of a settings file; those of the families above go 5 deep
WORDS = 64 << 10  # bytes of a chat template, which is a program of sorts

_HEADS = r"(Model|EncoderModel|PreTrainedModel|LMHeadModel|For(SequenceClassification|ConditionalGeneration|CausalLM"
_HEADS += r"|MaskedLM|PreTraining|TextEncoding|TextModel|TokenClassification))"
_CODE = {  # settings that name code or a place to fetch it from
    *("auto_map", "trust_remote_code", "custom_pipelines", "custom_code", "custom_generate", "quantization_config"),
    *("compression_config", "kernel_config", "use_kernels", "kernels", "adapter_config", "base_model_name_or_path"),
    *("peft_type", "hub_kernels", "code_revision", "remote_code"),
}
_ATTENTION = {"_attn_implementation", "_attn_implementation_internal", "attn_implementation", "_experts_implementation"}


def parsed(data: bytes, file: str) -> Any:
    """JSON text as values: UTF-8, no key twice, no NaN, not deeper than DEPTH.

    Raises SubmissionRefused (unsafe-files).
    """
    try:
        text = data.decode("utf-8")
        json.loads(text, object_pairs_hook=_refuse_doubles)
        value = from_json(text)
    except (ValueError, RecursionError) as error:
        raise SubmissionRefused("unsafe-files", f"is not JSON as it should be ({error})", file=file) from error
    level = [value]
    for _ in range(DEPTH + 1):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise SubmissionRefused("unsafe-files", f"is nested deeper than {DEPTH} levels", file=file)
    return value


def check_settings(value: Any, file: str) -> None:
    """Nothing in a settings file, however deep, names code, or a place to fetch it from. Raises SubmissionRefused."""
    for key, inner in _pairs(value):
        if key in _CODE and inner not in (None, False):
            raise SubmissionRefused("unsafe-files", f"says {key}, which may run or fetch code", file=file)
        if key in _ATTENTION and inner not in (None, "eager", "sdpa"):
            raise SubmissionRefused(
                "unsafe-files", f"asks for {key} {str(inner)[:60]!r}; eager and sdpa are read", file=file
            )
        if key == "chat_template" and len(json.dumps(inner)) > WORDS:
            raise SubmissionRefused("unsafe-files", f"holds a chat template of more than {WORDS} bytes", file=file)
        if key == "tokenizer_class" and inner is not None and str(inner) not in TOKENIZERS:
            raise SubmissionRefused("unsupported-model", f"names tokenizer_class {str(inner)[:60]!r}", file=file)


def check_config(value: Any, file: str) -> None:
    """config.json describes a model of FAMILIES, under the class names of its own family alone.

    Raises SubmissionRefused.
    """
    if not isinstance(value, dict):
        raise SubmissionRefused("unsupported-model", "is not the description of a model", file=file)
    kind = value.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise SubmissionRefused("unsupported-model", f"model_type {str(kind)[:60]!r} is not one of {known}", file=file)
    named = value.get("architectures") or []
    fitting = re.compile(FAMILIES[kind] + _HEADS)
    for name in named if isinstance(named, list) else [named]:
        if not isinstance(name, str) or not fitting.fullmatch(name):
            raise SubmissionRefused(
                "unsupported-model", f"architecture {str(name)[:60]!r} is none of a {kind}", file=file
            )
    for key, inner in _pairs(value):
        if key == "activation_fn" and not re.fullmatch(r"torch\.nn\.modules\.(\w+\.)*\w+", str(inner)):
            raise SubmissionRefused(
                "unsafe-files", f"names activation_fn {str(inner)[:60]!r}, which may be any code", file=file
            )


def check_modules(value: Any, file: str) -> None:
    """modules.json names the modules of sentence-transformers that are read here, each in a plain folder."""
    try:
        checked_modules(value, "")
    except UnknownName as error:
        raise SubmissionRefused("unsupported-model", str(error), file=file) from error
    except BadInput as error:
        raise SubmissionRefused("unsafe-files", str(error), file=file) from error


def check_index(value: Any, file: str, present: Mapping[str, int]) -> None:
    """Every shard that a `*.index.json` names lies in `present` under that very name. Raises SubmissionRefused."""
    table = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(table, dict):
        raise SubmissionRefused("unsafe-files", "has no weight_map of names", file=file)
    for shard in set(map(str, table.values())):
        called = f"names the shard {shard[:80]!r}"
        if not re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,95}\.safetensors", shard, re.ASCII):
            raise SubmissionRefused("unsafe-files", f"{called}, no safetensors of this folder", file=file)
        if shard not in present:
            raise SubmissionRefused("missing-files", f"{called}, which is not there", file=file)


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    todo = [value]
    while todo:
        outer = todo.pop()
        if isinstance(outer, dict):
            yield from outer.items()
        todo.extend(_inside(outer))


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")

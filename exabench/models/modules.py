"""Cross-encoders made of modules (sentence-transformers 5.4 and newer): what their settings say, and the modules behind
the encoder. https://sbert.net/docs/cross_encoder/usage/custom_models.html

A table says which modules and activations are loaded; a dotted path of a folder is compared with it, never imported.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import json_text, read_json, write
from exabench.models.screening import ACTIVATIONS, activation_named, modules_in

if TYPE_CHECKING:
    from torch import Tensor

_BASE = "sentence_transformers.base.modules"
_SENTENCE = "sentence_transformers.sentence_transformer.modules"
_MULTI_VECTOR = "sentence_transformers.multi_vector_encoder.modules"
PLACES = {
    "Transformer": f"{_BASE}.transformer",
    "Dense": f"{_BASE}.dense",
    "Normalize": f"{_BASE}.normalize",
    "Pooling": f"{_SENTENCE}.pooling",
    "LayerNorm": f"{_SENTENCE}.layer_norm",
    "Dropout": f"{_SENTENCE}.dropout",
    "MultiVectorMask": f"{_MULTI_VECTOR}.multi_vector_mask",
    "HierarchicalTokenPooling": f"{_MULTI_VECTOR}.token_pooling",
}
"""The modules that are loaded, and where sentence-transformers keeps the class of each."""

_WITH_WEIGHTS = ("Dense", "LayerNorm")
BEHIND = "modules_behind"
"""The name of such modules in what learns, next to the model."""

_SCORES = "scores"
"""The feature that holds the scores, behind the last module."""

OF_MODEL = "config_sentence_transformers.json"
OF_TRANSFORMER = "sentence_bert_config.json"
# Settings of a Transformer that are read here, or that say how fast it runs; any other may change what it computes.
_READ = frozenset(
    "max_seq_length do_lower_case transformer_task modality_config module_output_name processing_kwargs "
    "unpad_inputs".split()
)


@dataclass(frozen=True)
class PairSettings:
    """How a cross-encoder of sentence-transformers reads a pair.

    `prompt` stands before the query. Where `chat`, the two texts are the turns "query" and "document" of its chat
    template, with the assistant's turn begun behind them where `turn`. `lower`: texts in small letters; `most`: tokens
    of a pair, 0 for as many as the model holds.
    """

    prompt: str = ""
    chat: bool = False
    turn: bool = False
    lower: bool = False
    most: int = 0


def is_modular(folder: Path) -> bool:
    """Does a folder hold a cross-encoder whose scores are made by a module, rather than by a classification head?"""
    try:
        listed = modules_in(folder)
    except BadInput:
        return False
    for kind, inside in listed:
        # Only such a Dense gives scores; that of a bi-encoder gives a vector.
        if kind == "Dense" and settings_in(folder / inside / "config.json").get("module_output_name") == _SCORES:
            return True
    return False


@dataclass(frozen=True)
class SavedSettings:
    """What sentence-transformers writes of a model and of its Transformer, whatever the model is.

    `made_as`: its class; `prompt`: the default one; `forms`: how texts are given to it, None where that is not said;
    `processing`: options of its tokenizer and chat template; `transformer`: all settings of the Transformer.
    """

    made_as: str
    prompt: str
    lower: bool
    most: int
    forms: Mapping[str, Any] | None
    processing: Mapping[str, Any]
    transformer: Mapping[str, Any]


def saved_settings(folder: Path) -> SavedSettings:
    """The settings that sentence-transformers wrote into a folder; empty ones for any other folder. Raises BadInput."""
    of_model = settings_in(folder / OF_MODEL)
    prompts = of_model.get("prompts")
    prompt = ""
    if isinstance(prompts, Mapping):
        prompt = str(prompts.get(of_model.get("default_prompt_name")) or "")
    file = folder / OF_TRANSFORMER
    own = settings_in(file)
    most = own.get("max_seq_length") or 0
    if not isinstance(most, int) or most < 0:
        raise BadInput(f"max_seq_length is a number of tokens, not {printable(str(most))!r}", file=file)
    forms = own.get("modality_config")
    processing = own.get("processing_kwargs") or {}
    for name, value in (("modality_config", forms or {}), ("processing_kwargs", processing)):
        if not isinstance(value, Mapping):
            raise BadInput(f"{name} is a table of settings, not {printable(str(value))!r}", file=file)
    made_as = str(of_model.get("model_type") or "")
    return SavedSettings(made_as, prompt, bool(own.get("do_lower_case")), most, forms, processing, own)


def pair_settings(folder: Path) -> PairSettings:
    """How a folder that sentence-transformers saved as a CrossEncoder reads a pair; the defaults for any other.

    Raises BadInput for a setting that would change what the encoder computes and is not read here.
    """
    saved = saved_settings(folder)
    # A plain classifier of transformers has no such files, and reads a pair as its tokenizer makes it.
    if not (folder / "modules.json").is_file() or saved.made_as != "CrossEncoder":
        return PairSettings()
    file = folder / OF_TRANSFORMER
    for name, value in saved.transformer.items():
        harmless = isinstance(value, Mapping) and set(value) <= {"attn_implementation", "dtype", "torch_dtype"}
        if name not in _READ and value and not harmless:
            raise BadInput(
                f"says {printable(name)}, which is not read here: remove it, or use another model", file=file
            )
    begins = [{"chat_template": {"add_generation_prompt": turn}} for turn in (False, True)]
    processing = saved.processing or begins[False]
    if processing not in begins:
        raise BadInput("says processing_kwargs, of which only chat_template.add_generation_prompt is read", file=file)
    return PairSettings(
        prompt=saved.prompt,
        chat="message" in (saved.forms or {}),
        turn=processing == begins[True],
        lower=saved.lower,
        most=saved.most,
    )


def load_module(folder: Path, kind: str, inside: str) -> Any:
    """One module of a model folder, in float32, from safetensors only. Raises BadInput, UnknownName."""
    place = folder / inside
    if kind not in PLACES:
        raise UnknownName("module", kind, PLACES, file=folder / "modules.json")
    if kind in _WITH_WEIGHTS and not (place / "model.safetensors").is_file():
        raise BadInput(f"module {printable(inside)!r} has no model.safetensors (pickles are never loaded)", file=folder)
    named = settings_in(place / "config.json").get("activation_function")
    if named is not None and activation_named(str(named)) is None:
        raise UnknownName("activation_function", str(named), ACTIVATIONS, file=place / "config.json")
    # The class of the table, whatever path the folder names.
    module_class = getattr(importlib.import_module(PLACES[kind]), kind)
    return module_class.load(str(folder), subfolder=inside, local_files_only=True)


def load_modules(folder: Path) -> Any:
    """The modules behind the Transformer, which is the first, as a ModuleList in evaluation mode."""
    from torch import nn

    # The encoder itself is loaded by transformers, as every other model is.
    first, *others = modules_in(folder)
    if first != ("Transformer", ""):
        raise BadInput("its first module is not a Transformer in the folder itself", file=folder / "modules.json")
    modules = nn.ModuleList()
    for kind, inside in others:
        module = load_module(folder, kind, inside)
        if not getattr(module, "include_prompt", True) and pair_settings(folder).prompt:
            raise BadInput("leaves its prompt out of the pooling, which is not supported here", file=folder / inside)
        modules.append(module)
    return modules.float().eval().requires_grad_(False)


def scores_of(modules: Any, states: Tensor, mask: Tensor) -> Tensor:
    """The scores `[n, labels]` that modules make of an encoder's states `[n, length, width]`, padding masked."""
    # The names that modules of sentence-transformers look for.
    features = {"token_embeddings": states, "attention_mask": mask.long()}
    for module in modules:
        features = module(features)
    return features[_SCORES]


def with_weights(modules: Any, weights: Mapping[str, Tensor]) -> Any:
    """A copy of modules with those of the `weights` whose names begin with BEHIND; the modules that learn stay."""
    inside = f"{BEHIND}."
    own = {}
    for name, tensor in weights.items():
        if name.startswith(inside):
            own[name.removeprefix(inside)] = tensor
    copied = copy.deepcopy(modules)
    copied.load_state_dict(own)
    return copied


def write_modules(folder: Path, modules: Any) -> list[dict[str, Any]]:
    """Write modules next to their encoder, and modules.json, whose entries are returned."""
    listed: list[dict[str, Any]] = [{"idx": 0, "name": "0", "path": "", "type": f"{PLACES['Transformer']}.Transformer"}]
    for place, module in enumerate(modules, start=1):
        kind = type(module).__name__
        path = f"{place}_{kind}"
        (folder / path).mkdir()
        module.save(str(folder / path))
        listed.append({"idx": place, "name": str(place), "path": path, "type": f"{PLACES[kind]}.{kind}"})
    write(folder / "modules.json", json_text(listed))
    return listed


def save_modules(folder: Path, modules: Any, settings: PairSettings, limit: int) -> None:
    """Write modules and settings of a cross-encoder next to its encoder, as sentence-transformers lays them out.

    Without modules it is a model with a classification head.
    """
    listed = write_modules(folder, modules)

    # How sentence-transformers loads the first module: with its head, or only the encoder for the modules behind it.
    task = "sequence-classification"
    gives = "logits"
    feature = _SCORES
    if len(listed) > 1:
        task = "feature-extraction"
        gives = "last_hidden_state"
        feature = "token_embeddings"
    read_as: dict[str, Any] = {"text": {"method": "forward", "method_output_name": gives}}
    own: dict[str, Any] = {"transformer_task": task, "module_output_name": feature}
    if settings.chat:
        read_as["message"] = {**read_as["text"], "format": "flat"}
        own["processing_kwargs"] = {"chat_template": {"add_generation_prompt": settings.turn}}
    # no do_lower_case: where texts are in small letters, the tokenizer that is saved makes them so
    own |= {"modality_config": read_as, "max_seq_length": limit}
    write(folder / OF_TRANSFORMER, json_text(own))
    of_model: dict[str, Any] = {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.linear.Identity"}
    of_model |= {"prompts": {}, "default_prompt_name": None}
    if settings.prompt:
        of_model |= {"prompts": {"query": settings.prompt}, "default_prompt_name": "query"}
    write(folder / OF_MODEL, json_text(of_model))


def settings_in(file: Path) -> Mapping[str, Any]:
    """The settings in a JSON file, none without one. Raises BadInput."""
    if not file.is_file():
        return {}
    values = read_json(file)
    if not isinstance(values, Mapping):
        raise BadInput("is not a table of settings", file=file)
    return values

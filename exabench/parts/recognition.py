"""Recognition of a model: which reranker reads it, and which of its files says so. Settings are read, never weights.

| what the folder holds | reranker |
|---|---|
| training.json: a model that exabench trained | the one that it was trained as, with its options |
| modules.json with a LogitScore, or a causal model's chat template of query and document | yes_no, as the folder says |
| a Hub id of a family (models/families) | the one that reads the family |
| a classification head of one or two labels | cross_encoder |
| a cross-encoder made of modules | cross_encoder |
| modules.json with a pooling | bi_encoder |
| an architecture of a family: a T5 that writes, its encoder, a causal language model | monot5, rankt5, yes_no |

A causal language model is asked by its chat template where it has one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import read_json
from exabench.hub.client import ADAPTER, check_described, local_model, settings_of
from exabench.models.adapters import check_adapter
from exabench.models.families import families, family_named, family_of_config, family_of_id, family_of_name
from exabench.models.flops import shape_of
from exabench.models.labels import relevant_label
from exabench.models.logit_score import chat_template_in, has_logit_score, read_logit_score
from exabench.models.modules import is_modular
from exabench.models.screening import MODULES
from exabench.parts.rerankers import RERANKERS

AUTO = "auto"
NO_MODEL = "reranker auto needs a model: a folder, pypi:<package> or a Hub id (owner/name)"
MODEL_PARTS = ("bi_encoder", "cross_encoder", "exaranker", "monot5", "pairwise", "query_likelihood", "rankt5", "yes_no")
"""The rerankers that load a model."""

_CLASSIFIER = "ForSequenceClassification"


class Recognised(NamedTuple):
    """The reranker of a model, the options that its folder asks for, and why it is this one."""

    reranker: str
    options: Mapping[str, Any]
    why: str


def choose_reranker(given: str, options: Mapping[str, Any], reranker: str = "") -> Recognised:
    """The reranker that `given` stands for: a part's name, AUTO with a `model` among the options, or a model.

    With `reranker`, a part's name, `given` is its model. The options that come back are those of the folder under
    those that were given. Raises UnknownName and BadInput for what is none of these, OutsideFailed.
    """
    options = dict(options)
    if reranker and reranker != AUTO:
        if reranker not in RERANKERS:
            raise UnknownName("reranker", reranker, RERANKERS)
        if given != AUTO:
            options["model"] = given
        return Recognised(reranker, options, "it was named")
    if given in RERANKERS:
        return Recognised(given, options, "it is the name of a part")
    if given != AUTO:
        options["model"] = given
    if not isinstance(options.get("model"), str):
        raise BadInput(NO_MODEL)
    family = options.get("family")
    if isinstance(family, str) and family:
        return Recognised(family_named(family).reranker, options, f"family {family} was named")
    found = recognise(options["model"], str(options.get("revision", "")))
    return Recognised(found.reranker, {**found.options, **options}, found.why)


def check_given(given: str, options: Mapping[str, Any]) -> None:
    """Raise BadInput for what is not a reranker, no folder and no Hub id, and for AUTO without a model; offline."""
    if given == AUTO and not isinstance(options.get("model"), str):
        raise BadInput(NO_MODEL)
    if given == AUTO or given in RERANKERS:
        return
    is_path = "/" in given or given.startswith(("pypi:", "."))
    if not is_path and not Path(given).is_dir():
        # 0.6: two names at most, and none for what is not a slip of the keyboard.
        near = difflib.get_close_matches(given, [*RERANKERS, AUTO], n=2, cutoff=0.6)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; exabench parts rerankers lists the parts"
        raise BadInput(f"{printable(given)!r} is neither a reranker, a folder nor a Hub id (owner/name){hint}")
    local_model(given)


def with_family(reranker: str, model: str, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The options of a reranker for `folder`, a copy of `model` that has no Hub id: the family of the id is named."""
    options = dict(options)
    family = family_of_id(model)
    if family is not None and family.reranker == reranker and read_logit_score(folder) is None:
        options.setdefault("family", family.name)
    return options


def recognise(model: str, revision: str = "", lock: str | Path | None = None) -> Recognised:
    """The reranker that reads a model: a folder, `pypi:<package>` or a Hub id.

    Raises BadInput for a model that is not there, and where its files do not say what it is, with the rerankers to
    name; OutsideFailed.
    """
    folder = settings_of(model, revision, lock)

    def refuse(why: str) -> NoReturn:
        known = f"if it is of a family, name it (--set family=NAME): {', '.join(families())}"
        parts = f"if a part supports it, choose the part (--reranker NAME): {', '.join(MODEL_PARTS)}"
        raise BadInput(f"{why}; {known}; {parts}", file=model)

    # What exabench trained says so, whatever its architecture looks like.
    report = folder / "training.json"
    if report.is_file():
        values = read_json(report)
        if isinstance(values, Mapping) and values.get("reranker") in MODEL_PARTS:
            options = values.get("options") or {}
            if isinstance(options, Mapping):
                name = str(values["reranker"])
                return Recognised(name, dict(options), f"training.json says that it was trained as {name}")
    # Before the settings: these models look like others there. What a folder says of itself is newer than its family.
    if has_logit_score(folder):
        return Recognised("yes_no", {}, f"modules.json lists {', '.join(_modules(folder))}")
    of_id = family_of_id(model)
    if of_id is not None:
        return Recognised(of_id.reranker, {"family": of_id.name}, f"{model} is of the family {of_id.name}")

    check_described(folder, model)
    config = read_json(folder / "config.json")
    if not isinstance(config, Mapping):
        refuse("config.json is not the description of a model")
    architectures = config.get("architectures") or []
    architecture = "no architecture"
    if isinstance(architectures, list) and architectures:
        architecture = str(architectures[0])
    kind = printable(str(config.get("model_type")))
    said = f"config.json says {printable(architecture)}"
    if config.get("auto_map"):
        refuse(f"{said} and needs its own code (auto_map), which is never run")
    unknown = ""
    try:
        family = shape_of(config).family
    except UnknownName as error:
        unknown = str(error)
        family = ""
        if architecture.endswith(("ForCausalLM", "LMHeadModel")):
            family = "decoder"
    except BadInput as error:
        refuse(f"{said}, which is not supported here ({error})")

    settings = folder / "config_sentence_transformers.json"
    made_as = ""
    if settings.is_file():
        values = read_json(settings)
        made_as = str(values.get("model_type", "")) if isinstance(values, Mapping) else ""
    modules = _modules(folder)
    if made_as in ("SparseEncoder", "MultiVectorEncoder"):
        refuse(f"config_sentence_transformers.json says {made_as}, which is not a reranker here (first stage: splade)")
    if is_modular(folder):
        return Recognised("cross_encoder", {}, f"modules.json lists {', '.join(modules)}")
    if made_as == "CrossEncoder" and len(modules) > 1:
        refuse(f"modules.json: a cross-encoder of {', '.join(modules)}, none of which gives scores")

    if (folder / ADAPTER).is_file():
        adapter = read_json(folder / ADAPTER)
        check_adapter(adapter, folder / ADAPTER)
        if adapter.get("task_type") == "SEQ_CLS" and not architecture.endswith(_CLASSIFIER):
            return Recognised("cross_encoder", {}, f"{said}, and {ADAPTER} brings a classification head (SEQ_CLS)")
    if architecture.endswith(_CLASSIFIER):
        names = config.get("id2label")
        if not isinstance(names, Mapping):
            names = {}
        labels = config.get("num_labels") or len(names) or 2  # 2: as transformers takes it
        if labels not in (1, 2):
            refuse(f"{said} with {labels} labels; a reranker has one or two")
        why = f"{said} with 1 label"
        if labels == 2:
            _, which = relevant_label(names)
            why = f"{said} with 2 labels; {which}"
        return Recognised("cross_encoder", {}, why)
    # Only here: a cross-encoder's own modules.json says nothing that its head does not.
    strange = sorted(set(modules) - set(MODULES))
    if strange:
        refuse(f"modules.json lists {', '.join(strange)}, and {', '.join(MODULES)} are read")
    if "Pooling" in modules:
        return Recognised("bi_encoder", {}, f"modules.json lists {', '.join(modules)}")
    of_config = family_of_config(architecture, kind)
    if of_config is not None:
        asks = of_config.reranker == "yes_no"
        if asks and read_logit_score(folder) is not None:
            return Recognised("yes_no", {}, f"{said}, with a chat template of query and document")
        # A copy of a known reranker would give scores of the wrong tokens, and no sign of it.
        name = Path(model).resolve().name
        alike = family_of_name(name)
        if alike is not None and alike != of_config and alike.reranker == of_config.reranker:
            refuse(f"{said}, and {name} is named as those of {alike.name}, which are asked in their own way")
        if asks and chat_template_in(folder):
            return Recognised("yes_no", {"chat": True}, f"{said}, with a chat template")
        return Recognised(of_config.reranker, {}, said)
    if family == "encoder":
        refuse(f"{said}: an encoder with neither a head that scores pairs nor a modules.json with the pooling")
    if unknown:
        refuse(f"{said}, which is not supported here ({unknown})")
    refuse(f"{said}, a {family} that does not generate text")


def _modules(folder: Path) -> list[str]:
    """The names of the modules of sentence-transformers that modules.json lists, whatever they are."""
    file = folder / "modules.json"
    if not file.is_file():
        return []
    listed = read_json(file)
    names = []
    if isinstance(listed, list):
        for module in listed:
            if isinstance(module, Mapping):
                names.append(printable(str(module.get("type")).rpartition(".")[2]))
    return names

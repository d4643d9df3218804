"""Recognition of a model: which reranker reads it, and which of its files says so. Settings are read, never weights.

| what the folder holds | reranker |
|---|---|
| training.json: a model that exabench trained | the one that it was trained as, with its options |
| modules.json with a LogitScore, or a causal model's chat template of query and document | yes_no, as the folder says |
| a Hub id of a family (models/families) | the one that reads the family |
| the settings of a late-interaction model: of sentence-transformers, PyLate or ColBERT | late_interaction |
| a classification head of one or two labels | cross_encoder |
| a cross-encoder made of modules | cross_encoder |
| an adapter with a classification head, or of a model of a family | cross_encoder, or the one that reads the family |
| modules.json with a pooling | bi_encoder |
| an architecture of a family: a T5 that writes, its encoder, a causal language model | monot5, rankt5, yes_no |

A causal language model is asked by its chat template where it has one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import read_json
from exabench.hub.client import ADAPTER, check_described, local_model, settings_of
from exabench.measure.interpolation import is_weight
from exabench.models.adapters import check_adapter
from exabench.models.families import families, family_named, family_of_config, family_of_id, family_of_name
from exabench.models.flops import shape_of
from exabench.models.labels import relevant_label
from exabench.models.logit_score import chat_template_in, has_logit_score, read_logit_score
from exabench.models.modules import OF_MODEL, is_modular, settings_in
from exabench.models.multi_vector_settings import multi_vector_settings
from exabench.models.screening import MODULES, own_code_needed
from exabench.parts.rerankers import RERANKERS

AUTO = "auto"
NO_MODEL = "reranker auto needs a model: a folder, pypi:<package> or a Hub id (owner/name)"
MODEL_PARTS = (
    "bi_encoder",
    "cross_encoder",
    "exaranker",
    "late_interaction",
    "monot5",
    "pairwise",
    "query_likelihood",
    "rankt5",
    "yes_no",
)
"""The rerankers that load a model."""

ENCODED_APART = ("bi_encoder", "late_interaction")
"""Those of them that encode query and passage apart, each distinct text once."""

_CLASSIFIER = "ForSequenceClassification"


class Recognised(NamedTuple):
    """The reranker of a model, the options that its folder asks for, and why it is this one.

    `interpolate` is the weight that it was fitted with, where its scores are mixed with the first stage's.
    """

    reranker: str
    options: Mapping[str, Any]
    why: str
    interpolate: float | None = None


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
    return found._replace(options={**found.options, **options})


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
    # Before the settings: these models look like others there. What a folder says of itself is newer than its family.
    found = _trained_here(folder) or _with_logit_score(folder) or _of_known_id(model)
    if found is not None:
        return found
    described = _read_description(model, folder)
    # The head and the pooling come after what may bring or replace them.
    steps = (
        _with_token_vectors,
        _made_of_modules,
        _with_adapter,
        _with_classification_head,
        _with_pooling,
        _of_known_architecture,
    )
    for step in steps:
        found = step(described)
        if found is not None:
            return found
    said = described.said
    if described.family == "encoder":
        described.refuse(
            f"{said}: an encoder with neither a head that scores pairs nor a modules.json with the pooling"
        )
    if described.unknown:
        described.refuse(f"{said}, which is not supported here ({described.unknown})")
    described.refuse(f"{said}, a {described.family} that does not generate text")


# -- the steps, each for one thing that a folder may say ---------------------------------------------------------------


class _Described(NamedTuple):
    """What the settings of a model say: its first architecture, the modules of sentence-transformers that it lists.

    `family` is that of its FLOPs, empty with the reason in `unknown` where they are not counted.
    """

    model: str
    folder: Path
    config: Mapping[str, Any]
    architecture: str
    modules: Sequence[str]
    family: str = ""
    unknown: str = ""

    @property
    def said(self) -> str:
        """What config.json says, as the reasons begin."""
        return f"config.json says {printable(self.architecture)}"

    def refuse(self, why: str) -> NoReturn:
        """Raise BadInput with what can be named instead."""
        known = f"if it is of a family, name it (--set family=NAME): {', '.join(families())}"
        parts = f"if a part supports it, choose the part (--reranker NAME): {', '.join(MODEL_PARTS)}"
        raise BadInput(f"{why}; {known}; {parts}", file=self.model)


def _trained_here(folder: Path) -> Recognised | None:
    """What exabench trained says so, whatever its architecture looks like."""
    report = folder / "training.json"
    if not report.is_file():
        return None
    values = read_json(report)
    if not isinstance(values, Mapping) or values.get("reranker") not in MODEL_PARTS:
        return None
    options = values.get("options") or {}
    if not isinstance(options, Mapping):
        return None
    name = str(values["reranker"])
    why = f"training.json says that it was trained as {name}"
    mixed = values.get("interpolate")
    if not isinstance(mixed, Mapping):
        return Recognised(name, dict(options), why)
    weight = mixed.get("weight")
    if not is_weight(weight):
        raise BadInput("interpolate.weight must be a number above 0 and at most 1", file=report)
    return Recognised(name, dict(options), f"{why}, mixed with the first stage, weight {weight}", weight)


def _with_logit_score(folder: Path) -> Recognised | None:
    """A causal reranker of sentence-transformers says of itself how it is asked."""
    if not has_logit_score(folder):
        return None
    return Recognised("yes_no", {}, f"modules.json lists {', '.join(_modules(folder))}")


def _of_known_id(model: str) -> Recognised | None:
    """A Hub id of a family is asked as the family is."""
    family = family_of_id(model)
    if family is None:
        return None
    return Recognised(family.reranker, {"family": family.name}, f"{model} is of the family {family.name}")


def _read_description(model: str, folder: Path) -> _Described:
    """Read the settings. Raises BadInput for a model that cannot be any reranker's."""
    check_described(folder, model)
    config = read_json(folder / "config.json")
    described = _Described(model, folder, {}, "no architecture", _modules(folder))
    if not isinstance(config, Mapping):
        described.refuse("config.json is not the description of a model")
    architectures = config.get("architectures") or []
    if isinstance(architectures, list) and architectures:
        described = described._replace(architecture=str(architectures[0]))
    if config.get("auto_map"):
        why = own_code_needed(config)
        if why:
            needs = "needs its own code (auto_map), which is never run"
            described.refuse(f"{described.said} and {needs}: {why}; serve it and use endpoint")
    family = ""
    unknown = ""
    try:
        family = shape_of(config).family
    except UnknownName as error:
        unknown = str(error)
        if described.architecture.endswith(("ForCausalLM", "LMHeadModel")):
            family = "decoder"
    except BadInput as error:
        described.refuse(f"{described.said}, which is not supported here ({error})")
    return described._replace(config=config, family=family, unknown=unknown)


def _with_token_vectors(described: _Described) -> Recognised | None:
    """A late-interaction model says so, in the words of whoever saved it; its modules may look like others'."""
    settings = multi_vector_settings(described.folder)
    if settings is None:
        return None
    return Recognised("late_interaction", {}, settings.why)


def _made_of_modules(described: _Described) -> Recognised | None:
    """A cross-encoder made of modules says so; other models of sentence-transformers are no rerankers."""
    made_as = settings_in(described.folder / OF_MODEL).get("model_type")
    listed = ", ".join(described.modules)
    if made_as == "SparseEncoder":
        what = f"{OF_MODEL} says {made_as}, which is not a reranker here"
        described.refuse(f"{what} (first stage: splade)")
    if is_modular(described.folder):
        return Recognised("cross_encoder", {}, f"modules.json lists {listed}")
    if made_as == "CrossEncoder" and len(described.modules) > 1:
        described.refuse(f"modules.json: a cross-encoder of {listed}, none of which gives scores")
    return None


def _with_adapter(described: _Described) -> Recognised | None:
    """An adapter may bring a classification head; without one the model is asked as its base model is."""
    file = described.folder / ADAPTER
    if not file.is_file():
        return None
    adapter = read_json(file)
    check_adapter(adapter, file)
    if adapter.get("task_type") == "SEQ_CLS":
        if described.architecture.endswith(_CLASSIFIER):
            return None
        why = f"{described.said}, and {ADAPTER} brings a classification head (SEQ_CLS)"
        return Recognised("cross_encoder", {}, why)
    base = str(adapter.get("base_model_name_or_path"))
    family = family_of_id(base)
    if family is None:
        return None
    why = f"{ADAPTER} names {printable(base)}, which is of the family {family.name}"
    return Recognised(family.reranker, {"family": family.name}, why)


def _with_classification_head(described: _Described) -> Recognised | None:
    """A classification head of one or two labels scores pairs."""
    if not described.architecture.endswith(_CLASSIFIER):
        return None
    names = described.config.get("id2label")
    if not isinstance(names, Mapping):
        names = {}
    labels = described.config.get("num_labels") or len(names) or 2  # 2: as transformers takes it
    if labels == 1:
        return Recognised("cross_encoder", {}, f"{described.said} with 1 label")
    if labels != 2:
        described.refuse(f"{described.said} with {labels} labels; a reranker has one or two")
    _, which = relevant_label(names)
    return Recognised("cross_encoder", {}, f"{described.said} with 2 labels; {which}")


def _with_pooling(described: _Described) -> Recognised | None:
    """A pooling among the modules makes vectors. A cross-encoder's modules.json says nothing that its head does not."""
    strange = sorted(set(described.modules) - set(MODULES))
    if strange:
        described.refuse(f"modules.json lists {', '.join(strange)}, and {', '.join(MODULES)} are read")
    if "Pooling" not in described.modules:
        return None
    return Recognised("bi_encoder", {}, f"modules.json lists {', '.join(described.modules)}")


def _of_known_architecture(described: _Described) -> Recognised | None:
    """An architecture of a family: a T5 that writes, its encoder, a causal language model."""
    family = family_of_config(described.architecture, str(described.config.get("model_type")))
    if family is None:
        return None
    said = described.said
    asks = family.reranker == "yes_no"
    if asks and read_logit_score(described.folder) is not None:
        return Recognised("yes_no", {}, f"{said}, with a chat template of query and document")
    # A copy of a known reranker would give scores of the wrong tokens, and no sign of it.
    name = Path(described.model).resolve().name
    alike = family_of_name(name)
    if alike is not None and alike != family and alike.reranker == family.reranker:
        described.refuse(f"{said}, and {name} is named as those of {alike.name}, which are asked in their own way")
    if asks and chat_template_in(described.folder):
        return Recognised("yes_no", {"chat": True}, f"{said}, with a chat template")
    return Recognised(family.reranker, {}, said)


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

"""Start: a pretrained model ready to be fitted, with the scoring head that it may lack drawn from the recipe's seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import nn

from exabench.core.errors import BadInput, printable
from exabench.core.files import read_json, replacing_folder
from exabench.core.nouns import ModelFolder
from exabench.hub.cards import licence_in
from exabench.hub.client import CARD, model_folder
from exabench.models.loading import dtype_of, loading, silence, tokenizer_of
from exabench.parts.assembly import reranker
from exabench.parts.rerankers import RERANKERS

if TYPE_CHECKING:
    from exabench.models.learner import Learner
    from exabench.training.plan import Plan, Steps


@dataclass(frozen=True)
class Start:
    """The model to fit, and what it was made of, with the licence that its card names (or none)."""

    learner: Learner
    model: str
    revision: str
    licence: str


def trainable(plan: Plan) -> Any:
    """The plan's reranker class. Raises UnknownName, BadInput for one that has no model to fit."""
    part = RERANKERS[plan.reranker]
    if not hasattr(part, "learner"):
        fitting = ", ".join(name for name in RERANKERS if hasattr(RERANKERS[name], "learner"))
        raise BadInput(f"reranker {plan.reranker} cannot be trained; take one of {fitting}", file=plan.recipe.file)
    return part


def load_start(plan: Plan, to: Path, lock: Path, devices: tuple[str, ...] = ()) -> Start:
    """The plan's reranker, loaded from its pretrained model, or from `to`/start where that had no scoring head.

    Raises BadInput for a reranker that has no model to fit, and what loading a model raises.
    """
    part = trainable(plan)
    dtype_of(plan.precision)  # int8 learns nothing
    found = model_folder(plan.model, plan.revision, lock)
    options: dict[str, Any] = {"precision": plan.precision, "devices": devices, **plan.options}
    if part.head == "classifier" and not _classifies(found):
        made: Any = reranker(plan.reranker, model=str(_with_head(found, plan, to / "start")), lock=lock, **options)
    else:
        options["revision"] = found.revision
        made = reranker(plan.reranker, model=plan.model, lock=lock, **options)
    learner = made.learner()
    prepare(learner.module, plan.steps)
    card = found.path / CARD
    licence = licence_in(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else ""
    return Start(learner, found.name, found.revision, licence)


def _classifies(folder: ModelFolder) -> bool:
    config = read_json(folder.path / "config.json")
    if not isinstance(config, dict):
        raise BadInput("is not the description of a model", file=folder.path / "config.json")
    return any("ForSequenceClassification" in str(name) for name in config.get("architectures") or ())


def _with_head(folder: ModelFolder, plan: Plan, to: Path) -> Path:
    """The folder `to` with the model and one new label; one that is there already is taken as it is."""
    if to.is_dir():
        return to
    what = "an encoder that a classification head fits on"
    with loading(folder, what), torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        tokenizer = tokenizer_of(folder)
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder.path,
            num_labels=1,
            dtype=dtype_of(plan.precision),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    inside = f"{model.base_model_prefix}."
    missing = [name for name in report["missing_keys"] if name.startswith(inside) and "pooler" not in name]
    if missing:
        raise BadInput(f"holds no weights for {min(missing)}: it is not {what}", file=folder.path)
    with replacing_folder(to) as fresh, silence():
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
    return to


def prepare(module: Any, steps: Steps) -> None:
    """Set `attention`, `checkpointing`, `dropout` and `compile` of the plan on a learner's module.

    Raises BadInput for what its architecture does not support.
    """
    if steps.attention:
        _set_attention(module.model, steps.attention)
    if steps.checkpointing:
        _recompute(module.model)
    if not steps.dropout:
        _without_dropout(module)
    if steps.compile:
        module.compile(dynamic=True)


def _set_attention(model: Any, name: str) -> None:
    try:
        model.set_attn_implementation(name)
    except (ValueError, ImportError) as error:
        reason = printable(str(error).split("\n")[0])
        raise BadInput(f"attention {name} cannot be used here ({reason}); leave steps.attention out") from error
    if model.config._attn_implementation != name:  # transformers only warns
        raise BadInput(f"models of type {model.config.model_type} have no attention {name}; leave steps.attention out")


def _recompute(model: Any) -> None:
    """Keep layers' inputs alone for the way back, and compute the rest again."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # what transformers calls it now
    try:
        (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})
    except ValueError as error:
        what = f"models of type {model.config.model_type} cannot be checkpointed; leave steps.checkpointing out"
        raise BadInput(what) from error


def _without_dropout(module: nn.Module) -> None:
    """Every rate at 0 and the module still in training mode, since gradient checkpointing works in no other.

    Rates are `p` of a dropout layer, or a number that an attention keeps under the name of one (T5, Llama).
    """
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
        for name, value in vars(part).items():
            if "dropout" in name and isinstance(value, float):
                setattr(part, name, 0.0)

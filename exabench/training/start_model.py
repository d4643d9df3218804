"""Start: a pretrained model ready to be fitted, with the scoring head that it may lack drawn from the recipe's seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from exabench.core.errors import REASON, BadInput, printable
from exabench.core.files import read_json, replacing_folder
from exabench.hub.cards import licence_in
from exabench.hub.client import CARD, model_folder
from exabench.models.learner import Learner
from exabench.models.loading import dtype_of, loading, silence, tokenizer_of, weights_of
from exabench.models.lora import TASK_TYPES
from exabench.models.modules import is_modular
from exabench.parts.assembly import reranker
from exabench.parts.rerankers import RERANKERS
from exabench.training.recipe import Plan, Steps

LOCK = "recipe.lock.json"
"""The file of a run's folder with its recipe, and the commits that were looked up for it."""


def load_start(plan: Plan, to: Path, lock: Path, devices: tuple[str, ...]) -> tuple[Learner, dict[str, str]]:
    """The plan's reranker, ready to be fitted, and the name, revision and licence of the model that it starts from.

    It is loaded from its pretrained model, or from `to`/start where that had no scoring head: there it gets one for one
    label, drawn from the plan's seed, or of three labels and more the row of the plan's `start_label`. Raises
    what loading a model raises, and BadInput for a label that it does not have.
    """
    dtype = dtype_of(plan.precision)  # raises for int8, which learns nothing
    found = model_folder(plan.model, plan.revision, lock)
    options: dict[str, Any] = {"precision": plan.precision, "devices": devices, "lock": lock, **plan.options}
    has_head = True
    has_labels = False
    if RERANKERS[plan.reranker].head == "classifier" and not is_modular(found.path):
        config = read_json(found.path / "config.json")
        if not isinstance(config, dict):
            raise BadInput("is not the description of a model", file=found.path / "config.json")
        has_head = any("ForSequenceClassification" in str(name) for name in config.get("architectures") or ())
        has_labels = has_head and has_many_labels(config)
    if has_head and not has_labels:
        options["revision"] = found.revision
        start: Any = reranker(plan.reranker, model=plan.model, **options)
    else:
        with_head = to / "start"
        if not with_head.is_dir():  # a run that continues, or another rank, finds it there
            what = "an encoder that a classification head fits on"
            with loading(found, what), torch.random.fork_rng(devices=[]):
                torch.manual_seed(plan.seed)
                tokenizer = tokenizer_of(found)
                kind = transformers.AutoModelForSequenceClassification
                if has_labels:
                    model = weights_of(kind, found, what, dtype)
                    _keep_label(model, plan.start_label, found.path)
                else:
                    model = weights_of(kind, found, what, dtype, new_head=True, num_labels=1)
            with replacing_folder(with_head) as fresh, silence():
                model.save_pretrained(fresh)
                tokenizer.save_pretrained(fresh)
        start = reranker(plan.reranker, model=str(with_head), **options)
    learner = start.learner()
    if plan.lora.rank:
        _add_adapter(learner, plan, has_head and not has_labels)
    for name, parameter in learner.module.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            wrong = f"{name} would learn in {plan.precision}, which rounds most updates away"
            advice = 'write precision = "float32" and steps.autocast = "bfloat16"'
            raise BadInput(f"{wrong}: {advice}", file=plan.recipe.file)
    prepare(learner.module, plan.steps)
    base = {"model": found.name, "revision": found.revision, "licence": ""}
    card = found.path / CARD
    if card.is_file():
        base["licence"] = licence_in(card.read_text(encoding="utf-8", errors="replace"))
    return learner, base


def has_many_labels(config: Mapping[str, Any]) -> bool:
    """Does a config.json say that a model has three labels or more, as those for natural language inference have?"""
    return len(config.get("id2label") or ()) > 2 or (config.get("num_labels") or 0) > 2


def _keep_label(model: Any, wanted: str, folder: Path) -> None:
    """Make a classifier one of a single label, with its row of the last layer. Raises BadInput for an unknown label."""
    places = {str(name).lower(): int(place) for place, name in model.config.id2label.items()}
    if wanted.lower() not in places:
        names = ", ".join(printable(name) for name in places)
        raise BadInput(f"has no label {wanted}; choose the relevant one by start_label: {names}", file=folder)
    place = places[wanted.lower()]
    # Whatever a library calls it, the last linear layer is the one with a row for each label.
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    last.weight = nn.Parameter(last.weight[place : place + 1].clone())
    if last.bias is not None:
        last.bias = nn.Parameter(last.bias[place : place + 1].clone())
    last.out_features = 1
    model.num_labels = 1
    model.config.num_labels = 1  # which names the one label anew


def _add_adapter(learner: Learner, plan: Plan, has_head: bool) -> None:
    """Put the plan's LoRA adapter into a model. Raises BadInput where it could not be read so."""
    lora = plan.lora
    if lora.save == "adapter" and (learner.kind not in TASK_TYPES or not has_head):
        wrong = f"{plan.model} gets a new scoring head"
        if has_head:
            wrong = f"a model of kind {learner.kind} is not read from an adapter without its base model"
        raise BadInput(f'{wrong}; write lora.save = "merged"', file=plan.recipe.file)
    with torch.random.fork_rng(devices=[]):  # all ranks, and a run that continues, draw the same
        torch.manual_seed(plan.seed)
        learner.add_adapter(rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, targets=lora.targets)


def prepare(module: Any, steps: Steps) -> None:
    """Set `attention`, `checkpointing`, `dropout` and `compile` of the plan on a learner's module.

    Raises BadInput for what its architecture does not support.
    """
    model = module.model
    kind = model.config.model_type
    if steps.attention:
        try:
            model.set_attn_implementation(steps.attention)
        except (ValueError, ImportError) as error:
            reason = printable(str(error).split("\n")[0], REASON)
            raise BadInput(
                f"attention {steps.attention} cannot be used here ({reason}); remove steps.attention"
            ) from error
        if model.config._attn_implementation != steps.attention:  # transformers only warns
            raise BadInput(f"models of type {kind} have no attention {steps.attention}; remove steps.attention")

    if steps.checkpointing:
        newer = getattr(model, "activation_checkpointing_enable", None)  # what transformers calls it now
        try:
            # Layers' inputs alone are kept for the way back, and the rest is computed again.
            (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})
        except ValueError as error:
            raise BadInput(f"models of type {kind} cannot be checkpointed; remove steps.checkpointing") from error

    if not steps.dropout:
        # Every rate at 0 and the module still in training mode, since gradient checkpointing works in no other. Rates
        # are `p` of a dropout layer, or a number that an attention keeps under the name of one (T5, Llama).
        for part in module.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):
                part.p = 0.0
            for name, value in vars(part).items():
                if "dropout" in name and isinstance(value, float):
                    setattr(part, name, 0.0)

    if steps.compile:
        module.compile(dynamic=True)

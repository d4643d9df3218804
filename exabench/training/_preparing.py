"""Preparing: a model under the plan's options, before it is wrapped for the ranks: none of them changes what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from exabench.errors import BadInput, printable

if TYPE_CHECKING:
    from exabench.rerankers._learning import Learner
    from exabench.training.plan import Steps


def prepared(learner: Learner, steps: Steps) -> Any:
    """The learner's module with `attention`, `checkpointing`, `dropout` and `compile` of the plan.

    Raises BadInput for what its architecture does not support. The plan knows the names of attentions: any other
    transformers would take for a repository, with code to fetch and run.
    """
    module: Any = learner.module
    if steps.attention:
        _attend(module.model, steps.attention)
    if steps.checkpointing:
        _recompute(module.model)
    if not steps.dropout:
        without_dropout(module)
    if steps.compile:
        module.compile(dynamic=True)
    return module


def without_dropout(module: nn.Module) -> None:
    """Every rate at 0 and the module still in training mode, since gradient checkpointing works in no other.

    Rates are `p` of a dropout layer, or a number that an attention keeps under the name of one (T5, Llama).
    """
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
        for name, value in vars(part).items():
            if "dropout" in name and isinstance(value, float):
                setattr(part, name, 0.0)


def _attend(model: Any, name: str) -> None:
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

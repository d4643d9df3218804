"""Where training starts: a pretrained model, with the scoring head that it may lack drawn from the recipe's seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
import transformers

from exabench.cards import licence_in
from exabench.errors import BadInput
from exabench.files import read_json, replacing_folder
from exabench.hub import CARD, model_folder
from exabench.models import dtype_of, loading, silence, tokenizer_of
from exabench.nouns import ModelFolder
from exabench.rerankers import RERANKERS
from exabench.systems import reranker

if TYPE_CHECKING:
    from exabench.rerankers._learning import Learner
    from exabench.training._plan import Plan


class Fittable(Protocol):
    """A reranker whose model can be fitted."""

    def learner(self) -> Learner:
        """Its model, while it learns."""


@dataclass(frozen=True)
class Start:
    """The reranker to fit, and the model that it was made of, with the licence that its card names (or none)."""

    reranker: Fittable
    model: str
    revision: str
    licence: str


def start(plan: Plan, to: Path, lock: Path, devices: tuple[str, ...] = ()) -> Start:
    """The plan's reranker, loaded from its pretrained model, or from `to`/start where that had no scoring head.

    Raises BadInput for a reranker that has no model to fit, and what loading a model raises.
    """
    part = RERANKERS[plan.reranker]
    if not hasattr(part, "learner"):
        fitting = ", ".join(name for name in RERANKERS if hasattr(RERANKERS[name], "learner"))
        raise BadInput(f"reranker {plan.reranker} cannot be trained; take one of {fitting}", file=plan.recipe.file)
    dtype_of(plan.precision)  # int8 learns nothing
    found = model_folder(plan.model, plan.revision, lock)
    options: dict[str, Any] = {"precision": plan.precision, "devices": devices, **plan.options}
    if part.head == "classifier" and not _classifies(found):
        made: Any = reranker(plan.reranker, model=str(_with_head(found, plan, to / "start")), lock=lock, **options)
    else:
        options["revision"] = found.revision
        made = reranker(plan.reranker, model=plan.model, lock=lock, **options)
    card = found.path / CARD
    licence = licence_in(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else ""
    return Start(made, found.name, found.revision, licence)


def _classifies(folder: ModelFolder) -> bool:
    config = read_json(folder.path / "config.json")
    if not isinstance(config, dict):
        raise BadInput("is not the description of a model", file=folder.path / "config.json")
    return any("ForSequenceClassification" in str(name) for name in config.get("architectures") or ())


def _with_head(folder: ModelFolder, plan: Plan, to: Path) -> Path:
    """The model with one new label, in a folder of its own that is whole or not there."""
    if to.is_dir():
        return to
    what = "an encoder that a classification head fits on"
    with loading(folder, what), torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        tokenizer = tokenizer_of(folder)
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder.path,
            **{"num_labels": 1, "dtype": dtype_of(plan.precision), "use_safetensors": True},
            **{"local_files_only": True, "trust_remote_code": False, "output_loading_info": True},
        )
    inside = f"{model.base_model_prefix}."
    body = [name for name in report["missing_keys"] if name.startswith(inside) and "pooler" not in name]
    if body:
        raise BadInput(f"holds no weights for {min(body)}: it is not {what}", file=folder.path)
    with replacing_folder(to) as fresh, silence():
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
    return to

"""README.md of a trained model: front matter that the Hub reads, and what training.json holds as people read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.files import dotted, read_text, toml_text
from exabench.hub.cards._datasets import merged
from exabench.hub.cards._templates import filled
from exabench.hub.cards.front_matter import licence_keys, parsed, refreshed, split
from exabench.hub.cards.markdown import Markdown

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_OURS = (
    "license",
    "license_name",
    "base_model",
    "base_model_relation",
    "datasets",
    "library_name",
    "pipeline_tag",
    "model-index",
)
_NOT_SETTINGS = ("title", "note", "data", "check", "licence", "model", "revision", "reranker")
_LENGTH = 512  # tokens that a reranker reads where nothing else is said


def model_template() -> str:
    """The template that comes with exabench."""
    return read_text(Path(__file__).with_name("model.md"))


def model_card(training: Mapping[str, Any], template: str, *, name: str = "", existing: str = "") -> str:
    """README.md of the model that training.json describes, under its own name or that of the place it goes to.

    Of an `existing` card all stays but the computed keys of its front matter and our sections, as with a dataset's
    card. Raises BadInput for a training.json or a template that cannot be filled in, and for an existing card whose
    marks or front matter cannot be told apart.
    """
    template_block, template_body = split(template)
    old_block, old_body = split(existing)
    try:
        computed = front_matter(training, name or training["name"])
        text = filled(template_body, _values(training, name or training["name"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"is not what this exabench writes ({error!r})", file="training.json") from error
    there = {key: value for key, value in parsed(old_block).items() if key in _OURS}
    block = old_block  # what says the same already stays as it is written, to the byte
    if there != computed:
        # A card that is ours already is not given again what people took out of it.
        defaults = {} if there else parsed(template_block, "the card's template")
        block = refreshed(old_block, {**computed, **defaults}, _OURS)
    return f"---\n{block}---\n{merged(text, old_body)}"


def model_settings(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a recipe sets, as dotted names and values; what a report says in other places is left out."""
    settings = {key: value for key, value in recipe.items() if key not in _NOT_SETTINGS}
    return list(dotted(settings))


def front_matter(training: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the Hub reads; a base model or a data set that is in no repository there is left to the text."""
    from huggingface_hub import EvalResult, ModelCardData

    if not training["licence"].strip():
        raise BadInput("the model has no licence; give its recipe one (licence = ...)")
    base = training["base"]["model"]
    is_finetune = _REPOSITORY.fullmatch(base) is not None
    datasets: list[str] = []
    for each in training["data"]:
        if _REPOSITORY.fullmatch(each["repository"]) and each["repository"] not in datasets:
            datasets.append(each["repository"])
    results = []
    for check in training["checks"]:
        results.append(
            EvalResult(
                task_type="text-ranking",
                task_name="Reranking",
                dataset_type=check["task"],
                dataset_name=check["task"],
                dataset_config=check["candidates"],
                metric_type=check["metric"].lower(),
                metric_name=f"{check['metric']} over {check['candidates']}",
                metric_value=check["value"],
            )
        )
    card = ModelCardData(
        **licence_keys([training["licence"]]),
        base_model=base if is_finetune else None,
        base_model_relation="finetune" if is_finetune else None,
        datasets=datasets or None,
        library_name="sentence-transformers" if training["kind"] == "bi_encoder" else "transformers",
        pipeline_tag="text-ranking",
        model_name=name,
        eval_results=results or None,
    )
    values: dict[str, Any] = card.to_dict()  # type: ignore[no-untyped-call]
    return {key: values[key] for key in _OURS if key in values}


def _values(training: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a template may name: the keys of training.json, and what takes more than a template to say."""
    return {
        **training,
        "name": name,
        "length": Markdown(int(training["options"].get("max_length") or _LENGTH)),  # in code: no comma
        "arguments": _arguments(training["options"]),
        "settings": model_settings(training["recipe"]),
        "kept": dict(training["dev"]["values"]).get(training["best"]),
        "teachers": dict.fromkeys(_teacher(each) for each in training["data"]),
        "against": _against,
        "teacher_of": _teacher,
    }


def _arguments(options: Mapping[str, Any]) -> Markdown:
    """Options as keyword arguments; the code block they stand in cannot be ended by them, for they hold no line."""
    text = ""
    for key, value in sorted(options.items()):
        if key.isidentifier():
            plain_value = isinstance(value, str | int | float | bool | list)
            text += f", {key}={repr(value) if plain_value else toml_text(value)}"
    return Markdown(text)


def _teacher(each: Mapping[str, Any]) -> str:
    known = each["teacher"]
    if not known.get("model"):
        return "no language model"
    return f"{known['model']} ({known['revision']})" if known.get("revision") else str(known["model"])


def _against(other: Mapping[str, Any] | None) -> str:
    """The other's value, how much more this is, and how sure that is."""
    if other is None:
        return "not measured"
    p = "p < 0.001" if other["p_holm"] < 0.001 else f"p = {other['p_holm']:.3f}"
    return f"{other['value']:.4f}: {other['difference']:+.4f}, {p}"

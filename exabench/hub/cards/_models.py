"""README.md of a trained model: front matter that the Hub reads, and what training.json holds as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.files import dotted, read_text, toml_text
from exabench.hub.cards._datasets import fill, merge
from exabench.hub.cards.front_matter import licence_keys, parse, refresh, split
from exabench.hub.cards.markdown import Markdown
from exabench.hub.client import is_repo

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
    marks or front matter are ambiguous.
    """
    template_block, template_body = split(template)
    old_block, old_body = split(existing)
    try:
        name = name or training["name"]
        computed = _front_matter(training, name)
        arguments = ""
        for key, value in sorted(training["options"].items()):
            if key.isidentifier():
                # Either way it is one line, so it cannot end the code block that it stands in.
                is_plain = isinstance(value, str | int | float | bool | list)
                arguments += f", {key}={repr(value) if is_plain else toml_text(value)}"
        values = {
            **training,
            "name": name,
            "length": Markdown(int(training["options"].get("max_length") or _LENGTH)),  # in code: no comma
            "arguments": Markdown(arguments),
            "settings": model_settings(training["recipe"]),
            "kept": dict(training["dev"]["values"]).get(training["best"]),
            "teachers": dict.fromkeys(_teacher(each) for each in training["data"]),
            "against": _against,
            "teacher_of": _teacher,
        }
        text = fill(template_body, values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"is not what this exabench writes ({error!r})", file="training.json") from error
    there = {key: value for key, value in parse(old_block).items() if key in _OURS}
    block = old_block  # what says the same already stays as it is written, to the byte
    if there != computed:
        # A card that is ours already is not given again what people took out of it.
        defaults = {} if there else parse(template_block, "the card's template")
        block = refresh(old_block, {**computed, **defaults}, _OURS)
    return f"---\n{block}---\n{merge(text, old_body)}"


def model_settings(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings of a recipe, as dotted names and values; what a report says in other places is left out."""
    settings = {key: value for key, value in recipe.items() if key not in _NOT_SETTINGS}
    return list(dotted(settings))


def _front_matter(training: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The keys that the Hub reads; a base model or a data set that is in no repository there is left to the text."""
    from huggingface_hub import EvalResult, ModelCardData

    if not training["licence"].strip():
        raise BadInput("the model has no licence; give its recipe one (licence = ...)")
    known = licence_keys([training["licence"]])
    base = training["base"]["model"]
    if is_repo(base):
        known |= {"base_model": base, "base_model_relation": "finetune"}
    repositories = dict.fromkeys(each["repository"] for each in training["data"])
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
        **known,
        datasets=list(filter(is_repo, repositories)) or None,
        library_name="sentence-transformers" if training["kind"] == "bi_encoder" else "transformers",
        pipeline_tag="text-ranking",
        model_name=name,
        eval_results=results or None,
    )
    values = card.to_dict()  # type: ignore[no-untyped-call]
    return {key: values[key] for key in _OURS if key in values}


def _teacher(each: Mapping[str, Any]) -> str:
    known = each["teacher"]
    if not known.get("model"):
        return "no language model"
    if not known.get("revision"):
        return known["model"]
    return f"{known['model']} ({known['revision']})"


def _against(other: Mapping[str, Any] | None) -> str:
    """The other's value, how much more this is, and how sure that is."""
    if other is None:
        return "not measured"
    p = "p < 0.001" if other["p_holm"] < 0.001 else f"p = {other['p_holm']:.3f}"
    return f"{other['value']:.4f}: {other['difference']:+.4f}, {p}"

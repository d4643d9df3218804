"""README.md of a trained model: front matter that the Hub reads, and what training.json holds as people read it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.cards._front_matter import HUB_LICENCES, parsed, split, written
from exabench.cards._markdown import Markdown, code, figure, plain, table
from exabench.cards._pages import merged
from exabench.cards._templates import filled
from exabench.errors import BadInput
from exabench.files import dotted, read_text, toml_text

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_OURS = (
    *("license", "license_name", "base_model", "datasets", "library_name", "pipeline_tag", "model-index"),
    "base_model_relation",
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
    given, body = split(template)
    old, old_body = split(existing)
    try:
        computed = front_matter(training, name or training["name"])
        text = filled(body, _values(training, name or training["name"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"is not what this exabench writes ({error!r})", file="training.json") from error
    block = _block(computed, parsed(given, "the card's template"), old)
    return f"---\n{block}---\n{merged(text, old_body)}"


def _block(computed: Mapping[str, Any], template: Mapping[str, Any], old: str) -> str:
    """The YAML of a card: the computed keys, and the others as they were; the template's where it is not ours yet.

    What says the same already stays as it is written, to the byte.
    """
    there = parsed(old)
    ours = {key: value for key, value in there.items() if key in _OURS}
    if ours == computed:
        return old
    kept = {key: value for key, value in there.items() if key not in _OURS}
    return written({**computed, **({} if ours else template), **kept})


def model_settings(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a recipe sets, as dotted names and values; what a report says in other places is left out."""
    return [*dotted({key: value for key, value in recipe.items() if key not in _NOT_SETTINGS})]


def front_matter(training: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the Hub reads; a base model or a data set that is in no repository there is left to the text."""
    base = training["base"]["model"]
    datasets = dict.fromkeys(each["repository"] for each in training["data"] if _is_repository(each["repository"]))
    return {
        **_licence(training["licence"]),
        **({"base_model": base, "base_model_relation": "finetune"} if _is_repository(base) else {}),
        **({"datasets": [*datasets]} if datasets else {}),
        "library_name": "sentence-transformers" if training["kind"] == "bi_encoder" else "transformers",
        "pipeline_tag": "text-ranking",
        **({"model-index": [{"name": name, "results": _index(training["checks"])}]} if training["checks"] else {}),
    }


def _is_repository(name: str) -> bool:
    return _REPOSITORY.fullmatch(name) is not None


def _licence(name: str) -> dict[str, str]:
    if not name.strip():
        raise BadInput("the model has no licence; give its recipe one (licence = ...)")
    if name.strip().lower() in HUB_LICENCES:
        return {"license": name.strip().lower()}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") or "other"}


def _index(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "task": {"type": "text-ranking", "name": "Reranking"},
            "dataset": {"type": check["task"], "name": check["task"], "config": check["candidates"]},
            "metrics": [
                {
                    "type": check["metric"].lower(),
                    "name": f"{check['metric']} over {check['candidates']}",
                    "value": check["value"],
                }
            ],
        }
        for check in checks
    ]


def _values(training: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a template may name: the keys of training.json, and its tables."""
    return {
        **training,
        "name": name,
        "length": Markdown(int(training["options"].get("max_length") or _LENGTH)),  # in code: no comma
        "arguments": _arguments(training["options"]),
        "summary": _summary(training),
        "learnt": _learnt(training["data"]),
        "run": _run(training),
        "settings": _settings(training["recipe"]),
        "results": _results(training["checks"]),
        "published": _published(training["checks"]),
        "licences": _licences(training),
    }


def _arguments(options: Mapping[str, Any]) -> Markdown:
    """Options as keyword arguments; the code block they stand in cannot be ended by them, for they hold no line."""
    shown = (f", {key}={_python(value)}" for key, value in sorted(options.items()) if key.isidentifier())
    return Markdown("".join(shown))


def _python(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float | bool | list) else toml_text(value)


def _summary(training: Mapping[str, Any]) -> Markdown:
    base = training["base"]
    teachers = dict.fromkeys(_teacher(each) for each in training["data"])
    return table(
        ["", ""],
        [
            ["trained from", code(base["model"])],
            ["at revision", code(base["revision"] or "not known")],
            ["reranker", code(training["reranker"])],
            ["taught by", ", ".join(teachers)],
            ["licence", training["licence"]],
        ],
    )


def _teacher(each: Mapping[str, Any]) -> str:
    known = each["teacher"]
    if not known.get("model"):
        return "no language model"
    return f"{known['model']} ({known['revision']})" if known.get("revision") else str(known["model"])


def _learnt(data: Sequence[Mapping[str, Any]]) -> Markdown:
    rows = [
        [
            code(each["repository"] or each["name"]),
            code(f"v{each['version']}"),
            code(each["table"]),
            each["family"],
            each["rows"],
            _teacher(each),
            each["licence"],
            code(each["content"]),
        ]
        for each in data
    ]
    return table(["release", "tag", "table", "family", "rows used", "teacher", "licence", "digest"], rows)


def _run(training: Mapping[str, Any]) -> Markdown:
    dev, rows = training["dev"], []
    if dev["values"]:
        value = next((value for step, value in dev["values"] if step == training["best"]), None)
        rows.append(["kept", f"step {figure(training['best'])}, {dev['metric']} {figure(value)} on {dev['source']}"])
    versions = ", ".join(f"{name} {version}" for name, version in sorted(training["versions"].items()))
    head = [
        *(["optimiser steps", training["steps"]], ["groups", training["groups"]], ["seed", training["seed"]]),
        ["digest of the order of the groups", code(training["order"])],
    ]
    return table(["", ""], [*head, *rows, ["hardware", training["hardware"]], ["software", versions]])


def _settings(recipe: Mapping[str, Any]) -> Markdown:
    return table(["setting", "value"], [[code(key), code(value)] for key, value in model_settings(recipe)])


def _results(checks: Sequence[Mapping[str, Any]]) -> Markdown:
    rows = [
        [
            *(check["task"], code(check["candidates"]), check["depth"], check["queries"], check["metric"]),
            f"{check['value']:.4f} [{check['interval'][0]:.4f}, {check['interval'][1]:.4f}]",
            _against(check["first_stage"]),
            _against(check["start"]),
        ]
        for check in checks
    ]
    heads = ("task", "candidates", "depth", "queries", "metric", "value [95 %]")
    return table([*heads, "against the first stage", "against its start"], rows)


def _against(other: Mapping[str, Any] | None) -> str:
    """The other's value, how much more this is, and how sure that is."""
    if other is None:
        return "not measured"
    p = "p < 0.001" if other["p_holm"] < 0.001 else f"p = {other['p_holm']:.3f}"
    return f"{other['value']:.4f}: {other['difference']:+.4f}, {p}"


def _published(checks: Sequence[Mapping[str, Any]]) -> Markdown:
    """What others printed for it, where the recipe names a number to reproduce."""
    rows = [
        [
            check["task"],
            code(check["candidates"]),
            check["metric"],
            known["value"],
            f"{check['value']:.4f}",
            known["source"],
        ]
        for check, known in ((check, check["published"]) for check in checks)
        if known
    ]
    return table(["task", "candidates", "metric", "published", "here", "source"], rows) if rows else Markdown("")


def _licences(training: Mapping[str, Any]) -> Markdown:
    base = training["base"]
    told = f"The weights are under {plain(training['licence'])}. They were trained from {code(base['model'])}"
    told += f" ({plain(base['licence'])})" if base["licence"] else ""
    named = dict.fromkeys(f"{each['name']} {each['table']}: {each['licence']}" for each in training["data"])
    return Markdown(f"{told} on data under licences of their own ({plain('; '.join(named))}), which apply as well.")

"""Cards of datasets and models, and a dataset's changelog, made from their facts.

No figure is typed: prose and tables are Jinja templates, their figures come from the Release or from training.json.
The text between `<!-- exabench: NAME -->` and `<!-- /exabench -->` is ours and is written again each time;
everything else of an existing card or changelog is kept byte for byte.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2

from exabench.core.errors import REASON, BadInput, plural, printable
from exabench.core.files import PACKAGE, flatten_to_text, read_text, toml_lines, toml_text
from exabench.core.licences import is_known_to_the_hub
from exabench.core.nouns import Task
from exabench.core.row_passages import ROW_IS, passages_of_row
from exabench.core.rows import MEANINGS, DataFile, Release, Row, Table
from exabench.core.templates import Templates
from exabench.hub.cards.front_matter import licence_in as licence_in, licence_keys, one_or_list, parse, refresh, split
from exabench.hub.cards.markdown import Markdown, code, figures, plain
from exabench.hub.client import is_repo

# The keys of the front matter that are computed; all others belong to whoever writes the card.
_OF_MODELS = (
    "license license_name base_model base_model_relation datasets library_name pipeline_tag model-index".split()
)
_OF_DATASETS = "license license_name size_categories configs dataset_info".split()
_SHOWN_SIGNS = 240  # of a text in a sample row: a screen holds the whole row
_SHOWN_PASSAGES = 3
_TRAINING_LINES = {
    "explanations": """
# explanations: for BinaryCrossEntropyLoss
examples = rows.select_columns(["query", "passage", "relevant"]).rename_column("relevant", "label")""",
    "contrastive": """
# contrastive groups: for LambdaLoss, ListNetLoss and others that read lists
def listed(row):
    return {"docs": [row["positive"], *row["negatives"]], "labels": [1.0] + [0.0] * len(row["negatives"])}

examples = rows.map(listed).select_columns(["query", "docs", "labels"])""",
    "listwise": """
# listwise orders: for RankNetLoss, LambdaLoss and others that read lists
examples = rows.select_columns(["query", "passages", "labels"])""",
    "scored": """
# scored lists: for ListNetLoss, RankNetLoss and others that read lists
examples = rows.select_columns(["query", "passages", "scores"])""",
}
REASONS = 20
"""Reasons why inputs did not become rows that are listed, the most frequent first; the others are summed up."""

_SIZES = "n<1K 1K<n<10K 10K<n<100K 100K<n<1M 1M<n<10M 10M<n<100M 100M<n<1B 1B<n<10B 10B<n<100B 100B<n<1T n>1T".split()
# Marks count at the start of a line alone, so that prose may name them.
_SECTION = re.compile(r"^<!-- exabench: (\S+) -->[ \t]*$.*?^<!-- /exabench -->[ \t]*$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"^<!-- (?:exabench: \S+|/exabench) -->", re.MULTILINE)
_ENTRY = re.compile(r"^## .*?(\d+\.\d+\.\d+).*$", re.MULTILINE)
_TEMPLATES = PACKAGE / "dataset_cards"
if not _TEMPLATES.is_dir():  # in a checkout they are next to the package
    _TEMPLATES = PACKAGE.parent / "dataset_cards"
_NOT_SETTINGS = "title note data check licence model revision reranker".split()
_LENGTH = 512  # tokens that a reranker reads where nothing else is said
# What sentence-transformers loads, by the kind of model, and the tags that its own cards carry: the Hub lists by them.
_TAGS_OF_SENTENCE_TRANSFORMERS = {
    "classifier": ("sentence-transformers", "cross-encoder", "reranker"),
    "bi_encoder": ("sentence-transformers", "reranker"),
    "late_interaction": ("sentence-transformers", "multi-vector", "colbert", "late-interaction", "reranker"),
}


_BARE = Templates()


# -- datasets --------------------------------------------------------------------------------------------


def template_for(name: str) -> str:
    """The template of the dataset of that name (an owner before a slash aside), else default.md."""
    file = f"{name.rpartition('/')[2]}.md"
    # A name that begins with an underscore is that of a part of templates.
    known = [each.name for each in _TEMPLATES.glob("[!_]*.md")]
    return read_text(_TEMPLATES / (file if file in known else "default.md"))


def card(
    release: Release,
    template_text: str,
    *,
    samples: Mapping[str, Sequence[Row]] = MappingProxyType({}),
    sources: Mapping[str, Sequence[Task]] = MappingProxyType({}),
    languages: Sequence[str] = (),
    repository: str = "",
    existing: str = "",
) -> str:
    """README.md of a release: YAML front matter that the Hub can read, and the template filled in.

    `samples` are rows to show, and `sources` the tasks whose texts it was made from, both by table; `languages` are
    those of all texts. `repository` (owner/name) is where it is published, and what the lines that load it name.
    Of an `existing` card all stays but the computed keys of its front matter and our sections; a section that it
    lacks is added at its end. Raises BadInput for a table without a licence, a template that cannot be filled in,
    and an existing card whose marks or front matter are ambiguous.
    """
    tables = dict(sorted(release.tables.items()))
    listed = {file.path for file in release.files}
    replies = [f"replies/{name}.parquet" for name in tables if f"replies/{name}.parquet" in listed]
    values = {
        "release": release,
        "tables": tables,
        "replies": replies,
        "repository": repository,
        "samples": {name: [_sample(row) for row in rows] for name, rows in samples.items()},
        "row_is": ROW_IS,
        "kept_samples": _kept_samples(existing),
        "training_lines": {family: Markdown(lines.strip()) for family, lines in _TRAINING_LINES.items()},
        "collections": _collections(sources),
        "meanings": {field: Markdown(meaning) for field, meaning in MEANINGS.items()},
    }

    # The keys that the Hub reads: licence, size, and for each table its files, features, rows and bytes.
    configs = []
    infos = []
    all_rows = 0
    for name, table in tables.items():
        if not table.licence.strip():
            raise BadInput("has no licence; a table is published under the licence its recipe names", id=name)
        if not table.splits:
            continue
        data_files = []
        splits = []
        table_size = 0
        for split_name, files in _splits_of(table).items():
            paths = []
            size = 0
            rows = 0
            for file in files:
                paths.append(file.path)
                size += file.bytes
                rows += file.rows
            # Every file by its name: a glob would also read what an earlier version left behind.
            data_files.append({"split": split_name, "path": one_or_list(paths)})
            # To the Hub num_bytes is the size in memory, which no one but a reader knows; ours is that of the files.
            splits.append({"name": split_name, "num_bytes": size, "num_examples": rows})
            table_size += size
            all_rows += rows
        features = []
        for field, kind in table.columns.items():
            # A list is a `sequence`: the one word for it that every version of `datasets` knows (2 to 5).
            key = "sequence" if kind.startswith("list<") else "dtype"
            inner = kind.removeprefix("list<").removesuffix(">")
            features.append({"name": field, key: inner.replace("double", "float64")})
        configs.append({"config_name": name, "data_files": data_files})
        info = {"config_name": name, "features": features, "splits": splits}
        infos.append({**info, "download_size": table_size, "dataset_size": table_size})
    computed = licence_keys(_licences(tables, sources))
    computed |= {"size_categories": [size_category(all_rows)], "configs": configs, "dataset_info": one_or_list(infos)}
    # Not among the computed keys: a card that already exists keeps its own, and a template may know better.
    told = parse(split(template_text)[0], "the card's template")
    computed |= {key: value for key, value in _origin(tables, sources, languages).items() if key not in told}
    tags = told.get("tags", [])
    if any(map(_is_synthetic, tables.values())) and "synthetic" not in tags:
        computed["tags"] = [*tags, "synthetic"]
    return fill_card(template_text, values, computed, keys=_OF_DATASETS, existing=existing)


def _origin(
    tables: Mapping[str, Table], sources: Mapping[str, Sequence[Task]], languages: Sequence[str]
) -> dict[str, Any]:
    """The keys of the Hub's template that say who made the texts and labels, in its own words."""
    writers = {"found"}
    annotators = set()
    for table in tables.values():
        is_synthetic = _is_synthetic(table)
        if is_synthetic and (table.prompt or table.family == "explanations"):
            writers.add("machine-generated")
        # A reranker or a rule that scores is a machine, too. What people judged was found with the collection.
        annotators.add("machine-generated" if is_synthetic or table.teacher.get("model") else "found")
    keys: dict[str, Any] = {"annotations_creators": sorted(annotators), "language_creators": sorted(writers)}
    if languages:
        keys["language"] = list(languages)
        keys["multilinguality"] = "monolingual" if len(languages) == 1 else "multilingual"
    datasets = set()
    for tasks in sources.values():
        for task in tasks:
            if task.hub:
                datasets.add(task.hub["repo"])
    if datasets:
        keys["source_datasets"] = sorted(datasets)
    return keys


def _licences(tables: Mapping[str, Table], sources: Mapping[str, Sequence[Task]]) -> list[str]:
    """The licences of the tables; in place of "other" those of the sources that the Hub has no name for, if any."""
    licences = []
    for name, table in tables.items():
        inherited = []
        for source in sources.get(name, ()):
            if source.licence and not is_known_to_the_hub(source.licence):
                inherited.append(source.licence)
        if table.licence.lower() == "other" and inherited:
            licences += inherited
        else:
            licences.append(table.licence)
    return licences


def _is_synthetic(table: Table) -> bool:
    """Did a language model write, judge or order anything of it, here or where its file or run was made?"""
    options = table.recipe.get("options")
    made_by = options.get("made_by") if isinstance(options, Mapping) else None
    return bool(table.prompt or table.tokens.get("replies") or made_by)


def _collections(sources: Mapping[str, Sequence[Task]]) -> list[dict[str, Any]]:
    """The tasks that tables were made from, by name, each with those tables."""
    found: dict[str, dict[str, Any]] = {}
    for table, tasks in sorted(sources.items()):
        for task in tasks:
            if task.name not in found:
                found[task.name] = {
                    "name": task.name,
                    "title": task.title,
                    "language": task.language,
                    "passages": task.documents or "not recorded",
                    "licence": task.licence,
                    "tables": [],
                }
            found[task.name]["tables"].append(table)
    return [found[name] for name in sorted(found)]


def _sample(row: Row) -> dict[str, Any]:
    """A row as a card shows it: the beginnings of its texts, and of its list of passages."""
    passages = passages_of_row(row)
    shown = []
    for passage in passages[:_SHOWN_PASSAGES]:
        shown.append(replace(passage, text=_shorten(passage.text)))
    return {
        "query": _shorten(row.get("query", "")),
        "passages": shown,
        "more": len(passages) - len(shown),
        "explanation": _shorten(row.get("explanation", "")),
    }


def _kept_samples(existing: str) -> dict[str, Markdown]:
    """The rows that an existing card shows, by table: those of a table that is not at hand stay as they are."""
    section = _sections(split(existing)[1], "README.md").get("sample", "")
    kept = {}
    for block in re.split(r"^### Rows of `", section.removesuffix("<!-- /exabench -->"), flags=re.MULTILINE)[1:]:
        name = block.partition("`")[0]
        kept[name] = Markdown(f"### Rows of `{block.strip()}")
    return kept


def _shorten(text: str) -> str:
    """The beginning of a long text."""
    if len(text) > _SHOWN_SIGNS:
        text = text[:_SHOWN_SIGNS] + "\N{HORIZONTAL ELLIPSIS}"
    return text


def size_category(rows: int) -> str:
    """The category of the Hub for a dataset of so many rows."""
    # Each category is ten times the one before; all from 10**12 rows on are in the last.
    return _SIZES[min(max(0, len(str(rows)) - 3), len(_SIZES) - 1)]


def changelog(release: Release, diff_lines: Sequence[str], existing: str = "") -> str:
    """CHANGELOG.md with an entry for this version, newest first; what people wrote into it stays.

    The entry of a version that has one is replaced, so that the same call twice changes nothing. Raises BadInput.
    """
    version = release.version
    # The headings of the entries, ours and those that people wrote.
    headings = list(_ENTRY.finditer(existing))
    others = [heading for heading in headings if heading[1] != version]
    nothing = "First version."
    if others:
        nothing = "Tables, fields and rows are those of the version before."
    listed = "\n".join([f"- {plain(line)}" for line in diff_lines or [nothing]])
    section = f"<!-- exabench: {version} -->\n{listed}\n<!-- /exabench -->"
    if version in _sections(existing, "CHANGELOG.md"):
        # Our section may stand where a person moved it.
        return _SECTION.sub(lambda match: section if match[1] == version else match[0], existing)
    for heading in headings:
        if heading[1] == version:
            # A person wrote it already: our section goes right below it.
            return f"{existing[: heading.end()]}\n\n{section}{existing[heading.end() :]}"
    text = f"## {version}\n\n{section}\n"
    place = len(existing)
    for heading in others:
        if _numbers(heading[1]) < _numbers(version):
            text += "\n"
            place = heading.start()
            break
    return _with_empty_line(existing[:place] or "# Changelog\n") + text + existing[place:]


# -- models ----------------------------------------------------------------------------------------------


def model_template() -> str:
    """The template that comes with exabench."""
    return read_text(Path(__file__).with_name("model.md"))


def model_card(
    training: Mapping[str, Any],
    template: str,
    *,
    datasets: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    name: str = "",
    existing: str = "",
) -> str:
    """README.md of the model that training.json describes, under its own name or that of the place it goes to.

    `datasets` says where on the Hub a task lies, as tasks do: `repo`, and `config`, `split`, `revision` where known.
    The front matter has only the results on such tasks, because the Hub knows a dataset by its id.

    Of an `existing` card all stays but the computed keys of its front matter and our sections, as with a dataset's
    card. Raises BadInput for a training.json or a template that cannot be filled in, and for an existing card whose
    marks or front matter are ambiguous.
    """
    template_block, template_body = split(template)
    old_block, old_body = split(existing)
    try:
        name = name or training["name"]
        computed = _model_front_matter(training, name, datasets)
        arguments = ""
        for key, value in sorted(training["options"].items()):
            if key.isidentifier():
                # Either way it is one line, so it cannot end the code block that it is in.
                is_plain = isinstance(value, str | int | float | bool | list)
                shown = repr(value) if is_plain else toml_text(value)
                arguments += f", {key}={shown}"
        values = {
            **training,
            "name": name,
            "length": Markdown(int(training["options"].get("max_length") or _LENGTH)),  # in code: no comma
            "arguments": Markdown(arguments),
            "settings": model_settings(training["recipe"]),
            "kept": dict(training["dev"]["values"]).get(training["best"]),
            "teachers": dict.fromkeys(map(_teacher, training["data"])),
            "against": _against,
            "interpolate": training.get("interpolate"),
            "negatives": training.get("negatives"),
            "teacher_of": _teacher,
        }
        text = fill(template_body, values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"is not what this exabench writes ({printable(repr(error), REASON)})", file="training.json"
        ) from error
    there = {key: value for key, value in parse(old_block).items() if key in _OF_MODELS}
    block = old_block  # what says the same already stays as it is written, to the byte
    if there != computed:
        # A card that is ours already is not given again what people took out of it.
        if not there:
            added = parse(template_block, "the card's template")
            added["tags"] = [*_TAGS_OF_SENTENCE_TRANSFORMERS.get(training["kind"], ()), *added["tags"]]
            computed |= added
        block = refresh(old_block, computed, _OF_MODELS)
    return f"---\n{block}---\n{merge(text, old_body)}"


def model_settings(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings of a recipe, as dotted names and values; what a report says in other places is left out."""
    settings = {key: value for key, value in recipe.items() if key not in _NOT_SETTINGS}
    return list(flatten_to_text(settings))


def _model_front_matter(
    training: Mapping[str, Any], name: str, places: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """The keys that the Hub reads; a base model or a data set that is in no repository there is left to the text."""
    from huggingface_hub import EvalResult, ModelCardData

    if not training["licence"].strip():
        raise BadInput("the model has no licence; add one to its recipe (licence = ...)")
    known = licence_keys([training["licence"]])
    base = training["base"]["model"]
    if is_repo(base):
        known |= {"base_model": base, "base_model_relation": "finetune"}
    datasets = []
    for part in training["data"]:
        repository = part["repository"]
        if is_repo(repository) and repository not in datasets:
            datasets.append(repository)
    results = []
    for check in training["checks"]:
        place = places.get(check["task"])
        if place is None:
            continue
        results.append(
            EvalResult(
                task_type="text-ranking",
                task_name="Reranking",
                dataset_type=place["repo"],
                dataset_name=check["task"],
                dataset_config=place.get("config"),
                dataset_split=place.get("split"),
                dataset_revision=place.get("revision"),
                metric_type=check["metric"].lower(),
                metric_name=f"{check['metric']} over {check['candidates']}",
                metric_value=check["value"],
            )
        )
    library = "transformers"
    if training["kind"] in _TAGS_OF_SENTENCE_TRANSFORMERS:
        library = "sentence-transformers"
    elif training["kind"] == "adapter":
        library = "peft"
    card = ModelCardData(
        **known,
        datasets=datasets or None,
        library_name=library,
        pipeline_tag="text-ranking",
        model_name=name,
        eval_results=results or None,
    )
    values = card.to_dict()  # type: ignore[no-untyped-call]
    return {key: values[key] for key in _OF_MODELS if key in values}


def _teacher(data: Mapping[str, Any]) -> str:
    """The teacher behind a data set, with its revision where that is known."""
    teacher = data["teacher"]
    if not teacher.get("model"):
        return "no language model"
    if not teacher.get("revision"):
        return teacher["model"]
    return f"{teacher['model']} ({teacher['revision']})"


def _against(other: Mapping[str, Any] | None) -> str:
    """The other's value, how much more this is, and how sure that is."""
    if other is None:
        return "not measured"
    p = f"p = {other['p_holm']:.3f}"
    if other["p_holm"] < 0.001:
        p = "p < 0.001"
    return f"{other['value']:.4f}: {other['difference']:+.4f}, {p}"


# -- both ------------------------------------------------------------------------------------------------


def fill_card(
    template_text: str,
    values: Mapping[str, Any],
    computed: Mapping[str, Any],
    *,
    keys: Collection[str],
    existing: str = "",
) -> str:
    """A template filled in, with the `computed` values of those `keys` of the front matter that no one writes by hand.

    Of an `existing` card all stays but these keys and our sections; it gets what it lacks. Raises BadInput.
    """
    template_block, template_body = split(template_text)
    old_block, old_body = split(existing)
    fresh = {}
    for key, value in parse(template_block, "the card's template").items():
        if key not in keys:
            fresh[key] = _fill_value(value, values)
    # Keys that a card keeps come before those that are written again each time, as they will when it is refreshed.
    fresh |= {key: value for key, value in computed.items() if key not in keys}
    block = refresh(old_block, {**fresh, **computed}, keys)
    return f"---\n{block}---\n{merge(fill(template_body, values), old_body)}"


def merge(new: str, old: str) -> str:
    """The old text with its sections as they are in the new one, and behind it those that it lacks."""
    sections = _sections(new, "the card's template")
    old_sections = _sections(old, "README.md")
    if not old.strip():
        return new
    # A section that the template no longer has leaves the card.
    text = _SECTION.sub(lambda match: sections.get(match[1], ""), old)
    missing = [section for name, section in sections.items() if name not in old_sections]
    if missing:
        text = _with_empty_line(text) + "\n\n".join(missing) + "\n"
    return text


def _sections(text: str, file: str) -> dict[str, str]:
    """Our sections by name. Raises BadInput where a mark has no partner."""
    matches = list(_SECTION.finditer(text))
    # A section runs to the first end mark: a start inside it has no end.
    are_whole = all(len(_MARK.findall(match[0])) == 2 for match in matches)
    if not are_whole or len(_MARK.findall(text)) != 2 * len(matches):
        raise BadInput(
            "a mark <!-- exabench: ... --> has no matching <!-- /exabench -->, or the other way round", file=file
        )
    return {match[1]: match[0] for match in matches}


def _with_empty_line(text: str) -> str:
    """The text with an empty line behind it; not a byte of it is changed."""
    while not text.endswith("\n\n"):
        text += "\n"
    return text


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Prose filled in: the values are escaped, so that none is markup. Raises BadInput."""
    return _render(_prose(), template, values)


@functools.cache
def _prose() -> Templates:
    """Jinja for prose, with the parts that it includes."""
    jinja = Templates(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        # An undefined value must stay one, so that it is refused when it is shown.
        finalize=lambda value: value if isinstance(value, Markdown | jinja2.Undefined) else plain(value),
        # A line with nothing but a tag leaves no empty line behind: Markdown would see a paragraph.
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters.update(code=code, figures=figures, splits=_splits_of, left_out=_left_out_counts)
    jinja.filters["settings"] = flatten_to_text
    jinja.filters["literal"] = lambda text: Markdown(json.dumps(text))  # as Python writes it
    # Texts in TOML have no line ends, so none can end the code block that it is in.
    jinja.filters["toml"] = lambda recipe: Markdown(toml_lines(sorted(recipe.items())).rstrip())
    return jinja


def _fill_value(value: Any, values: Mapping[str, Any]) -> Any:
    """A value of the template's front matter, its texts filled in; YAML is written later, so nothing is escaped."""
    if isinstance(value, list):
        return [_fill_value(item, values) for item in value]
    if not isinstance(value, str):
        return value
    return _render(_BARE, value, values)


def _render(jinja: Templates, template: str, values: Mapping[str, Any]) -> str:
    with jinja.filling("the card's template"):
        return jinja.from_string(template).render(values)


def _splits_of(table: Table) -> dict[str, tuple[DataFile, ...]]:
    """The files by split: train, validation, test, then the others by name."""
    first = {name: table.splits[name] for name in ("train", "validation", "test") if name in table.splits}
    return first | dict(sorted(table.splits.items()))


def _left_out_counts(table: Table) -> list[tuple[str, int]]:
    """Why inputs did not become rows, and how many, the most frequent reason first."""
    # Sorted first, so that reasons given equally often come by name.
    reasons = Counter(dict(sorted(table.counts.get("reasons", {}).items())))
    listed = reasons.most_common(REASONS)
    others = len(reasons) - len(listed)
    if others:
        named = sum(count for _, count in listed)
        listed.append((plural(others, "other reason"), reasons.total() - named))
    return listed

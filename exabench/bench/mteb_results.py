"""Results of MTEB: the JSON files of its evaluations become reported numbers of a board, never measured ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exabench.bench.ledger import REPORTED_COLUMNS, Ledger
from exabench.core.errors import BadInput, printable
from exabench.core.files import only_writer, read_json, read_text, write
from exabench.tasks.catalogue import aliases

TABLE = "mteb"
"""The name of the table in a board's reported/."""

# Its section in reported/tables.toml.
_TITLE = f"""[{TABLE}]
title = "Results of MTEB"
about = "Imported from the result files of MTEB, as these print them. Each searched the whole collection, or reranked \
what its task gives: no candidate list of this board."
link = "https://github.com/embeddings-benchmark/mteb"
"""
META = "model_meta.json"
# MTEB's name of a metric and ours. Its mrr_at_10 is RR@10, its map_at_1000 AP@1000.
_METRICS = {
    "ndcg_at_10": "nDCG@10",
    "mrr_at_10": "RR@10",
    "map_at_1000": "AP@1000",
    "recall_at_100": "R@100",
    "recall_at_1000": "R@1000",
}
_WHOLE = "default"  # the subset of a task that has one


@dataclass(frozen=True)
class ImportedResults:
    """What came of an import: the table, its rows that are new, changed and as they were, and the files ignored."""

    file: Path
    added: int
    changed: int
    same: int
    others: tuple[str, ...]


def import_mteb(board: str | Path, places: Sequence[str | Path], system: str = "") -> ImportedResults:
    """Add the retrieval results in some files or folders of MTEB to a board's reported/mteb.csv.

    In a folder each model's results are next to its model_meta.json, or in <owner>__<model>/<revision>/; `system` names
    the model of other files. A row that already exists gets the new value. Files of other kinds of
    tasks, which hold no nDCG@10, are ignored. Raises BadInput for a file that is not a result of MTEB, and for one
    whose model no one names, for two values of one number, and for a table of that name with other columns; nothing is
    written then.
    """
    ledger = Ledger(Path(board))
    ledger.check_exists()
    new: dict[tuple[str, ...], dict[str, str]] = {}
    others = []
    for file in _files(places):
        rows = list(_rows(file, system))
        if not rows:
            others.append(str(file))
        for row in rows:
            first = new.setdefault(_key(row), row)
            if row != first:
                number = f"{row['metric']} of {printable(row['system'])} on {printable(row['dataset'])}"
                differ = f"is {row['value']} here and {first['value']} elsewhere"
                raise BadInput(f"{number} {differ} among these results; leave one of them out", file=file)
    if not new:
        raise BadInput("these files contain no result of a retrieval task")

    table = ledger.folder / "reported" / f"{TABLE}.csv"
    with only_writer(ledger.folder):
        filed = _filed(table) if table.is_file() else {}
        has_title = TABLE in ledger.reported_sources()
        same = sum(filed.get(key) == row for key, row in new.items())
        changed = sum(key in filed for key in new) - same
        rows_now = [row for _, row in sorted({**filed, **new}.items())]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, REPORTED_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows_now)
        write(table, text.getvalue().encode())
        if not has_title:
            titles = ledger.reported_titles
            before = read_text(titles).rstrip() + "\n\n" if titles.is_file() else ""
            write(titles, before + _TITLE)
    return ImportedResults(table, len(new) - same - changed, changed, same, tuple(others))


def _filed(table: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of the table that exists. Raises BadInput for a table with other columns than an import writes."""
    lines = csv.reader(io.StringIO(read_text(table), newline=""))
    header = next(lines, [])
    if header != [*REPORTED_COLUMNS]:
        raise BadInput(f"must have the columns {','.join(REPORTED_COLUMNS)}; give it another name", file=table)
    filed = {}
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise BadInput(f"row {number} must have {len(header)} cells, not {len(line)}", file=table)
        row = dict(zip(header, line, strict=True))
        filed[_key(row)] = row
    return filed


def _files(places: Sequence[str | Path]) -> Iterator[Path]:
    """The result files, in the order of their names; raises BadInput for a place that is not there."""
    for place in map(Path, places):
        if place.is_dir():
            found = [file for file in sorted(place.rglob("*.json")) if file.name != META]
            if not found:
                raise BadInput("contains no JSON file", file=place)
            yield from found
        elif place.is_file():
            yield place
        else:
            raise BadInput("does not exist", file=place)


def _rows(file: Path, system: str) -> Iterator[dict[str, str]]:
    """The rows of one result: its metrics on each split and subset; none of a task that is not a retrieval."""
    values = read_json(file)
    task = _text(values, "task_name") or _text(values, "mteb_dataset_name")  # the second: before MTEB 1.11
    if not task:
        raise BadInput("is not an MTEB result: it has no task_name", file=file)
    version = _text(values, "mteb_version") or "of unknown version"
    revision = _text(values, "dataset_revision") or "unknown"
    scores = values.get("scores", values)
    if not isinstance(scores, Mapping):
        raise BadInput("is not an MTEB result: its scores are not a table", file=file)
    for split, of_split in sorted(scores.items()):
        for subset, measured in _subsets(of_split):
            if not f"{split}{subset}".isprintable() or len(f"{split}{subset}") > 200:
                raise BadInput("a split or a subset of it has a name that is not one line of text", file=file)
            if "ndcg_at_10" not in measured:
                continue
            model, model_revision = _model_of(file, system)
            dataset = aliases().get(task.lower(), task)
            if subset != _WHOLE:
                dataset = f"{dataset} ({subset})"
            source = f"MTEB {version}: {task} at {revision}, split {split}, subset {subset}; model at {model_revision}"
            for name, value in _metric_values(measured, file):
                row = dict.fromkeys(REPORTED_COLUMNS, "")
                row |= {"system": model, "dataset": dataset, "metric": name, "value": value, "source": source}
                yield row


def _subsets(of_split: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The scores of each subset: a list since MTEB 1.11, before it a table of metrics or of subsets."""
    if isinstance(of_split, list):
        for measured in of_split:
            if isinstance(measured, Mapping):
                yield str(measured.get("hf_subset", _WHOLE)), measured
    elif isinstance(of_split, Mapping):
        inner = {name: value for name, value in of_split.items() if isinstance(value, Mapping)}
        for subset, measured in (inner or {_WHOLE: of_split}).items():
            yield str(subset), measured


def _metric_values(measured: Mapping[str, Any], file: Path) -> Iterator[tuple[str, str]]:
    """Our names of the metrics, and their values as they are there; the main score where it is another one."""
    known = {name: measured[name] for name in _METRICS if name in measured}
    main = measured.get("main_score")
    if main is not None and main not in known.values():
        known["main_score"] = main
    for name, value in known.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= 1:
            raise BadInput(f"{name} must be a number from 0 to 1, not {printable(repr(value))}", file=file)
        yield _METRICS.get(name, name), repr(value)


def _model_of(file: Path, system: str) -> tuple[str, str]:
    """The model of a result and its revision. Raises BadInput where no one names it."""
    meta = file.parent / META
    name = ""
    revision = "unknown revision"
    if meta.is_file():
        values = read_json(meta)
        name = _text(values, "name")
        revision = _text(values, "revision") or revision
    # MTEB's own layout: results/<owner>__<model>/<revision>/<task>.json
    owner, mark, model = file.parent.parent.name.partition("__")
    if mark and owner and model:
        if "/" not in name:  # older versions wrote the name without its owner
            name = f"{owner}/{model}"
        if revision == "unknown revision":
            revision = file.parent.name
    name = system.strip() or name
    if not name:
        raise BadInput(f"has no {META} next to it: name the model (--system owner/model)", file=file)
    if not name.isprintable() or len(name) > 200:
        raise BadInput("the name of its model must be text on one line, of at most 200 characters", file=file)
    return name, revision


def _text(values: object, key: str) -> str:
    """A text of a JSON object; empty where it has none that is one line of at most 200 characters."""
    value = values.get(key) if isinstance(values, Mapping) else None
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        return ""
    return value.strip()


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    """What makes a row the same number: all but its value."""
    return tuple(str(row.get(column)) for column in REPORTED_COLUMNS if column != "value")

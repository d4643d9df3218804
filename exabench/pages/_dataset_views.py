"""The pages of datasets, worked out from their manifests as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from exabench.files import toml_text
from exabench.pages import _rows
from exabench.pages._format import told, words
from exabench.pages._model_views import learnt_from
from exabench.pages._page import Page
from exabench.pages._paths import dataset_page
from exabench.pages._views import View
from exabench.rows import Release, Table

RESULTS = 100  # of the models that learnt from a dataset
Lines = list[tuple[str, str]]


def pages(view: View) -> Iterator[Page]:
    """The list of datasets, where the board has one, a page for each, and one for the rows of each table."""
    if view.board.datasets:
        yield Page("datasets/index.html", partial(datasets, view), "datasets.html", (view.datasets, view.version))
    for release in view.board.datasets:
        yield Page(dataset_page(release.name), partial(dataset, view, release), "dataset.html", (view.everything,))
    yield from _rows.pages(view)


@dataclass(frozen=True)
class Shown:
    """A table of a dataset: its rows by split, and its recipe and its report as lines of (what, value)."""

    name: str
    table: Table
    rows: Mapping[str, int]
    recipe: Lines
    report: Lines


def datasets(view: View) -> dict[str, Any]:
    """Every table of every dataset."""
    return {"shown": [(release, _tables(release)) for release in view.board.datasets], "stamp": ("", view.version)}


def dataset(view: View, release: Release) -> dict[str, Any]:
    """One dataset, the models that learnt from it, and what came of them."""
    models = learnt_from(view, release)
    slugs = dict.fromkeys(model.submission.slug for model, _ in models)  # one that learnt from two tables counts once
    results = [result for slug in slugs for result in view.by_submission[slug]]
    results.sort(key=lambda r: (-r.value, r.submission, r.task, r.candidates))
    return {
        "release": release,
        "tables": _tables(release),
        "row_pages": _rows.with_rows(view).get(release.name, {}),
        "models": models,
        "results": results[:RESULTS],
        "measured": len(results),
        "stamp": ("", view.version),
    }


def _tables(release: Release) -> list[Shown]:
    return [
        Shown(
            name=name,
            table=table,
            rows={split: sum(file.rows for file in files) for split, files in table.splits.items()},
            recipe=[(key, toml_text(value)) for key, value in table.recipe.items()],
            report=[
                (words(title), told(value)) for title, value in sorted(table.report.items()) if value not in ({}, [])
            ],
        )
        for name, table in sorted(release.tables.items())
    ]

"""The pages of datasets, from their manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from exabench.files import toml_text
from exabench.pages._format import flat, words
from exabench.pages._model_views import trained_models
from exabench.pages._page import Page
from exabench.pages._paths import dataset_page
from exabench.pages._rows import pages as rows_pages
from exabench.pages._rows import row_pages
from exabench.pages._views import WRITTEN, View
from exabench.rows import Release, Table


def pages(view: View) -> Iterator[Page]:
    """The list of datasets, where the board has one, a page for each, and one for the rows of each table."""
    if view.board.datasets:
        yield Page("datasets/index.html", partial(_datasets, view), "datasets.html")
    for release in view.board.datasets:
        yield Page(dataset_page(release.name), partial(_dataset, view, release), "dataset.html")
    yield from rows_pages(view)


@dataclass(frozen=True)
class TableView:
    """A table of a dataset: its rows by split, and its recipe and its report as (what, value)."""

    name: str
    table: Table
    rows: Mapping[str, int]
    recipe: list[tuple[str, str]]
    report: list[tuple[str, str]]


def _datasets(view: View) -> dict[str, Any]:
    """Every table of every dataset."""
    return {"shown": [(release, _tables(release)) for release in view.board.datasets], "stamp": ("", view.version)}


def _dataset(view: View, release: Release) -> dict[str, Any]:
    """One dataset, the models that learnt from it, and what came of them."""
    models = [(one, table) for one in trained_models(view) for table in one.learnt if table.release is release]
    slugs = dict.fromkeys(model.submission.slug for model, _ in models)  # one that learnt from two tables counts once
    results = [result for slug in slugs for result in view.by_submission[slug]]
    results.sort(key=lambda r: (-r.value, r.submission, r.task, r.candidates))
    return {
        "release": release,
        "tables": _tables(release),
        "row_pages": row_pages(view, release),
        "models": models,
        "results": results[:WRITTEN],
        "measured": len(results),
        "stamp": ("", view.version),
    }


def _tables(release: Release) -> list[TableView]:
    views = []
    for name, table in sorted(release.tables.items()):
        rows = {split: sum(file.rows for file in files) for split, files in table.splits.items()}
        recipe = [(key, toml_text(value)) for key, value in table.recipe.items()]
        told = [(words(title), flat(value)) for title, value in sorted(table.report.items()) if value not in ({}, [])]
        views.append(TableView(name, table, rows, recipe, told))
    return views

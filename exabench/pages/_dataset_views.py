"""What the pages of datasets show, worked out from their manifests as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exabench.files import toml_text
from exabench.pages._format import told, words
from exabench.pages._model_views import learnt_from
from exabench.pages._views import View
from exabench.rows import Release, Table

Lines = list[tuple[str, str]]


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
    """One dataset."""
    shown = {"release": release, "tables": _tables(release), "models": learnt_from(view, release)}
    return {**shown, "stamp": ("", view.version)}


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

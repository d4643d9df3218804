"""The card of a release in a folder: its facts, the first rows of its tables, and the collections behind them."""

from __future__ import annotations

from pathlib import Path

from exabench.core.rows import Release, Row
from exabench.data.releases import batches
from exabench.data.table_sources import source_tasks, table_languages
from exabench.hub.cards import card, template_for

_SAMPLES = 3  # rows of a table that are shown


def release_card(folder: str | Path, release: Release, *, repository: str = "", existing: str = "") -> str:
    """README.md of a release. Its tables need not all be in `folder`: rows are shown of those that are.

    Texts are shown whatever the licence: the release contains all of them.
    `repository` and `existing` are those of `card`. Raises BadInput as it does.
    """
    sources = {}
    languages = set()
    for name, table in release.tables.items():
        sources[name] = source_tasks(table)
        languages.update(table_languages(table, sources[name]))
    return card(
        release,
        template_for(release.name),
        samples=_sample_rows(Path(folder), release),
        sources=sources,
        languages=sorted(languages),
        repository=repository,
        existing=existing,
    )


def _sample_rows(folder: Path, release: Release) -> dict[str, list[Row]]:
    """The first rows of each table whose files are in the folder, those of train where there is one.

    Raises BadInput for a file that is not as the manifest says.
    """
    samples = {}
    for name, table in release.tables.items():
        for split in sorted(table.splits, key=lambda split: split != "train"):
            files = table.splits[split]
            is_here = all((folder / file.path).is_file() for file in files)
            if is_here and any(file.rows for file in files):
                first = next(batches(folder, table, split))
                samples[name] = first.slice(0, _SAMPLES).to_pylist()
                break
    return samples

"""The last step of a build: a Release on disk, with its card."""

from __future__ import annotations

from pathlib import Path

from exabench.building._making import Making
from exabench.building._review import TRAIN, VALIDATION, Review
from exabench.cards import card, changelog, template_for
from exabench.files import file_digest, read_text, write
from exabench.nouns import Progress
from exabench.recipe import Recipe
from exabench.releases import save, write_table
from exabench.rows import FAMILIES, DataFile, Release, Table
from exabench.shards import WorkFolder

FIRST = "1.0.0"
"""The version of a release that nothing came before; publishing counts on from what is published."""


def released(page: Recipe, work: WorkFolder, making: Making, data: Path | None, progress: Progress) -> Release:
    """The Release of a work folder whose shards are all done, written anew from them."""
    name, family = page.values["table"], making.builder.family
    progress(0, 3, "doubles, leaks and figures")
    review = Review(page, work, data)
    progress(1, 3, "tables and replies")
    splits = {"train": review.rows(TRAIN)}
    if review.validation:
        splits["validation"] = review.rows(VALIDATION)
    files = write_table(work.release, name, family, splits)
    replies = work.release / "replies" / f"{name}.parquet"
    exported = making.store.export(review.keys(), replies)
    table = Table(
        family=family,
        licence=page.values["licence"],
        recipe=dict(page.values),
        fingerprint=making.about["fingerprint"],
        counts=review.counts,
        teacher=dict(making.identity),
        prompt=making.builder.prompt,
        tokens=making.store.tokens(review.keys()),
        replayable=True,
        report=review.report | dict(making.builder.report(work.all_items())),
        splits=files,
        fields=dict(FAMILIES[family]),
    )
    progress(2, 3, "the card")
    release = Release(page.values["dataset"], FIRST, {name: table}, _extra(work.release, [replies] if exported else []))
    _write_papers(release, work.release)
    save(release, work.release)
    progress(3, 3, "the release")
    return release


def _extra(folder: Path, files: list[Path]) -> tuple[DataFile, ...]:
    return tuple(
        DataFile(file.relative_to(folder).as_posix(), file_digest(file).removeprefix("sha256:"), file.stat().st_size)
        for file in files
    )


def _write_papers(release: Release, folder: Path) -> None:
    """Write what people read: the card and the changes."""
    page = folder / "README.md"
    written = read_text(page) if page.is_file() else ""
    write(page, card(release, template_for(release.name), existing=written))
    write(folder / "CHANGELOG.md", changelog(release, [], ""))

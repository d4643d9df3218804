"""The last step of a build: a Release on disk, with its card."""

from __future__ import annotations

from exabench.core.files import file_digest, read_text, write
from exabench.core.nouns import Progress
from exabench.core.rows import FAMILIES, DataFile, Release, Table
from exabench.data.building._making import Making
from exabench.data.building._review import TRAIN, VALIDATION, Review
from exabench.data.releases import save, write_table
from exabench.hub.cards import card, changelog, template_for

FIRST = "1.0.0"
"""The version of a release that nothing came before; publishing counts on from what is published."""


def released(making: Making, progress: Progress) -> Release:
    """The Release of a work folder whose shards are all done, written anew from them."""
    values = making.page.values
    name = values["table"]
    family = making.builder.family
    folder = making.work.release
    progress(0, 3, "doubles, leaks and figures")
    review = Review(making)
    progress(1, 3, "tables and replies")
    splits = {"train": review.rows(TRAIN)}
    if review.validation:
        splits["validation"] = review.rows(VALIDATION)
    files = write_table(folder, name, family, splits)
    replies = folder / "replies" / f"{name}.parquet"
    extra = []
    if making.store.export(review.keys(), replies):
        digest = file_digest(replies).removeprefix("sha256:")
        extra.append(DataFile(replies.relative_to(folder).as_posix(), digest, replies.stat().st_size))
    table = Table(
        family=family,
        licence=values["licence"],
        recipe=dict(values),
        fingerprint=making.about["fingerprint"],
        counts=review.counts,
        teacher=dict(making.identity),
        prompt=making.builder.prompt,
        tokens=making.store.tokens(review.keys()),
        replayable=True,
        report=review.report | dict(making.builder.report(making.work.all_items())),
        splits=files,
        fields=dict(FAMILIES[family]),
    )
    progress(2, 3, "the card")
    release = Release(values["dataset"], FIRST, {name: table}, tuple(extra))
    page = folder / "README.md"
    existing = read_text(page) if page.is_file() else ""
    write(page, card(release, template_for(release.name), existing=existing))
    write(folder / "CHANGELOG.md", changelog(release, [], ""))
    save(release, folder)
    progress(3, 3, "the release")
    return release

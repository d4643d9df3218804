"""The last step of a build: its shards reviewed once, and a Release on disk with its card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from exabench.core.files import file_digest, read_text, replacing, write
from exabench.core.nouns import Progress
from exabench.core.rows import FAMILIES, DataFile, Release, Row, Table
from exabench.data.building._making import Making
from exabench.data.quality import Duplicates, Leaks, Report
from exabench.data.releases import save, write_table
from exabench.data.sampling import Sample, by_turns
from exabench.hub.cards import card, changelog, template_for
from exabench.parts.replies import without_server
from exabench.tasks.collections import benchmarks

FIRST = "1.0.0"
"""The version of a release that nothing came before; publishing counts on from what is published."""

TRAIN = 0
VALIDATION = 1
LEFT_OUT = 2


class Review:
    """One pass over the shards in order; a byte for each row is all that is held of it.

    Rejected items are written to quarantine.jsonl with their reason and the raw replies. `counts` says where every
    item went: input = good + quarantined + skipped, and the reasons. `report` has figures about the good rows, and says
    which of them touch a benchmark. Which rows are for validation depends on their ids alone: those whose digests are
    smallest, as many of each label or source of queries. `validation` counts them.
    """

    def __init__(self, making: Making) -> None:
        self._work = making.work
        doubles = Duplicates(making.quality.near)
        leaks = Leaks()
        for benchmark in benchmarks(making.sources.data):
            leaks.add(*benchmark)
        report = Report()
        reasons: Counter[str] = Counter()
        most = making.page.values.get("validation", 0)
        samples: dict[str, Sample[int]] = {}
        splits = bytearray()  # of every row, in order
        with replacing(self._work.quarantine) as quarantine:
            for line in self._work.lines():
                if "rejected" in line:
                    quarantine.write((json.dumps(line["rejected"], sort_keys=True) + "\n").encode())
                    reasons[f"rejected: {line['rejected']['reason']}"] += 1
                    continue
                row = line["row"]
                double = doubles.seen(row)
                marks = {} if double else leaks.marks(row)
                if double or (marks and making.quality.leaks == "drop"):
                    reasons[f"skipped: {double.kind} duplicate" if double else "skipped: leak"] += 1
                    splits.append(LEFT_OUT)
                    continue
                report.add(row, marks)
                kind = str(row.get("query_source", row.get("relevant")))
                samples.setdefault(kind, Sample(most, digits=15)).offer(len(splits), row["id"])
                splits.append(TRAIN)

        chosen = by_turns(samples[kind].lowest() for kind in sorted(samples))[:most]
        for place in chosen:
            splits[place] = VALIDATION
        self._splits = splits
        self.validation = len(chosen)
        self.report = report.figures()
        skipped = splits.count(LEFT_OUT)
        quarantined = reasons.total() - skipped
        self.counts: dict[str, Any] = {
            "input": len(splits) + quarantined,
            "good": len(splits) - skipped,
            "quarantined": quarantined,
            "skipped": skipped,
            "reasons": dict(sorted(reasons.items())),
        }

    def rows(self, split: int) -> Iterator[Row]:
        """The rows of a split, in order."""
        splits = iter(self._splits)
        for line in self._work.lines():
            if "row" in line and next(splits) == split:
                yield line["row"]

    def keys(self) -> Iterator[str]:
        """The replies that anything here was made of, rejected items and skipped rows included."""
        for line in self._work.lines():
            yield from line["keys"]


def write_release(making: Making, progress: Progress) -> Release:
    """Write the Release of a work folder whose shards are all done, anew from them."""
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
        teacher=dict(without_server(making.teacher.identity) if making.teacher else making.builder_identity),
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

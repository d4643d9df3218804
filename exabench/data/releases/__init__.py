"""Releases on disk: tables as Parquet, a manifest with their digests; reading, comparing, loading them.

A release is a folder that `datasets.load_dataset` reads with nothing of ours installed:

    data/<table>/<split>-00000-of-0000N.parquet    the rows
    replies/<table>.parquet                        the teacher's replies
    manifest.json                                  rows.Release as JSON; sha256 and size of every file of the above
    README.md, CHANGELOG.md                        card and change log, which people may edit
"""

from __future__ import annotations

from exabench.data.releases._diff import FIRST_VERSION, Diff, diff, next_version
from exabench.data.releases._manifest import raise_version, read, save
from exabench.data.releases._reading import batches, load, row_ids, rows, verify
from exabench.data.releases._tables import write_table
from exabench.hub.commits import MANIFEST

__all__ = [
    "FIRST_VERSION",
    "MANIFEST",
    "Diff",
    "batches",
    "diff",
    "load",
    "next_version",
    "raise_version",
    "read",
    "row_ids",
    "rows",
    "save",
    "verify",
    "write_table",
]

"""Releases on disk: tables as Parquet, a manifest with the digest of every file; reading, comparing, loading them.

A release is a folder that `datasets.load_dataset` reads with nothing of ours installed:

    data/<table>/<split>-00000-of-0000N.parquet    the rows
    manifest.json                                  rows.Release as JSON; sha256 and size of every other file
    README.md, CHANGELOG.md, replies/, ...         the files that the manifest lists next to the tables
"""

from __future__ import annotations

from exabench.data.releases._diff import FIRST_VERSION, Diff, diff, next_version
from exabench.data.releases._manifest import raise_version, read, save
from exabench.data.releases._reading import load, rows, verify
from exabench.data.releases._tables import write_table
from exabench.hub.commits import MANIFEST

__all__ = [
    "FIRST_VERSION",
    "MANIFEST",
    "Diff",
    "diff",
    "load",
    "next_version",
    "raise_version",
    "read",
    "rows",
    "save",
    "verify",
    "write_table",
]

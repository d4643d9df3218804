"""Releases on disk: tables as Parquet, the manifest that vouches for every file; reading, comparing, loading them.

A release is a folder that `datasets.load_dataset` reads with nothing of ours installed:

    data/<table>/<split>-00000-of-0000N.parquet    the rows
    manifest.json                                  rows.Release as JSON; sha256 and size of every other file
    README.md, CHANGELOG.md, replies/, ...         the files that the manifest lists beside the tables
"""

from __future__ import annotations

from exabench.data.releases._checks import rows as rows
from exabench.data.releases._checks import verify as verify
from exabench.data.releases._diff import Diff as Diff
from exabench.data.releases._diff import TableDiff as TableDiff
from exabench.data.releases._diff import diff as diff
from exabench.data.releases._diff import next_version as next_version
from exabench.data.releases._loading import load as load
from exabench.data.releases._manifest import MANIFEST as MANIFEST
from exabench.data.releases._manifest import read as read
from exabench.data.releases._manifest import save as save
from exabench.data.releases._tables import features as features
from exabench.data.releases._tables import write_table as write_table
from exabench.data.releases._versions import raised as raised

"""A table of a release, checked byte for byte, as a `datasets.Dataset` with its Release beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exabench.core.errors import BadInput
from exabench.core.files import cache_folder, digest_of
from exabench.data.releases._checks import checked_files, chosen_table
from exabench.data.releases._manifest import MANIFEST, read
from exabench.data.releases._versions import numbers

if TYPE_CHECKING:
    import datasets


def load(
    place: str | Path,
    table: str,
    split: str = "train",
    *,
    version: str = "",
    revision: str = "",
    lock: str | Path | None = None,
) -> datasets.Dataset:
    """A split of a table, from a release folder or a dataset on the Hub, as a Dataset with `.release` beside it.

        rows = load("exabench/exaranker-open", "llama-2-7b-15k", version="1.0.0")
        rows[0]["explanation"], rows.release.version

    A Hub id is read at the tag of `version`, or at `revision` (a commit or a branch), else at its head; whichever it
    is, at the commit behind it, that `lock` remembers where it is a file. A folder is its own revision. A file with
    one byte that is not the manifest's is refused. `.release` stays with this Dataset, not with those made from it
    by map or filter. Raises BadInput, UnknownName for a table or split, OutsideFailed where the Hub cannot be read.
    """
    import datasets

    if version and revision:
        raise BadInput("give version or revision, not both")
    if version:
        numbers(version)
    if (Path(place) / MANIFEST).is_file() or Path(place).is_dir():
        if revision:
            raise BadInput(f"a folder has no revision {revision!r}; leave it out", file=place)
        folder = Path(place)
    else:
        folder = _fetched(str(place), table, split, f"v{version}" if version else revision, lock)
    release = read(folder)
    if version and release.version != version:
        raise BadInput(f"{place} holds version {release.version}, not {version}")
    chosen = chosen_table(release, table, split, folder)
    files = checked_files(folder, chosen, split)
    # The rows are kept in arrow under the digest of their files: a file that changed never finds what another left.
    kept = cache_folder("loaded") / digest_of([file.sha256 for file in chosen.splits[split]]).removeprefix("sha256:")
    dataset = datasets.Dataset.from_parquet([str(file) for file in files], split=split, cache_dir=str(kept))
    dataset.release = release
    return dataset


def _fetched(repo: str, table: str, split: str, revision: str, lock: str | Path | None) -> Path:
    """The manifest and the files of one split, fetched from the Hub at one commit."""
    from exabench.hub.client import dataset_snapshot, is_repo

    if not is_repo(repo):
        raise BadInput(f"{repo!r} is no release folder here and no Hub id (owner/name); give one of the two")
    folder, commit = dataset_snapshot(repo, revision or None, lock, only=[MANIFEST])
    chosen = chosen_table(read(folder), table, split, folder)
    folder, _ = dataset_snapshot(repo, commit, only=[file.path for file in chosen.splits[split]])
    return folder

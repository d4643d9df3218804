"""A stranger's model folder: screened before it is fetched, fetched without what no model is loaded from, screened."""

from __future__ import annotations

import shutil
from pathlib import Path

import exabench.hub.client
from exabench.core.files import cache_folder, replacing_folder
from exabench.core.nouns import ModelFolder
from exabench.models.screening import SizeLimits, SubmissionRefused, check_libraries, screened, screened_repo


def stranger(
    model: str, revision: str = "", lock: str | Path | None = None, limits: SizeLimits | None = None
) -> ModelFolder:
    """The model of a folder, a package or the Hub (see hub.model_folder), of which nothing has been loaded.

    Of a repository only what a model is loaded from is fetched, once, and not before its names, sizes, settings and
    headers were looked at there. Raises SubmissionRefused, BadInput, OutsideFailed.
    """
    check_libraries()
    here = Path(model).is_dir()
    if here or not exabench.hub.client.is_repo(model):
        if here:
            screened(model, limits)  # before anything reads it whole
        found = exabench.hub.client.model_folder(model, revision, lock)
        screened(found.path, limits)
        return found
    if revision.startswith("sha256:"):
        raise SubmissionRefused(
            "invalid-submission", f"the revision of {model} must be a commit of the Hub, not a digest"
        )
    commit = exabench.hub.client.pinned(model, revision or None, lock, kind="model")
    folder = cache_folder("strangers") / model.replace("/", "--") / commit
    if not folder.is_dir():
        files = exabench.hub.client.model_files(model, commit)

        def read(file: str, start: int, end: int) -> bytes:
            end = min(end, files[file])
            return exabench.hub.client.file_part(model, file, commit, start, end) if start < end else b""

        _fetch(model, commit, sorted(screened_repo(files, read, limits).files), folder)
    screened(folder, limits)
    return ModelFolder(model, folder, commit)


def _fetch(model: str, commit: str, files: list[str], folder: Path) -> None:
    """The files in `folder`, all or none."""
    with replacing_folder(folder) as fresh:
        exabench.hub.client.snapshot(model, commit, files, fresh)
        shutil.rmtree(fresh / ".cache", ignore_errors=True)  # the client's notes

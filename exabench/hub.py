"""The Hugging Face Hub: the only module that talks to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exabench.errors import OutsideFailed
from exabench.files import json_text, read_json, write

_COMMIT = re.compile(r"[0-9a-f]{40}")


def pinned(repo: str, revision: str | None, lock: str | Path | None) -> str:
    """The commit to read `repo` at: `revision` where it is one, else what the lock file says, else today's head.

    A commit looked up here is written to the lock file, so that it is looked up once. Raises OutsideFailed.
    """
    if revision and _COMMIT.fullmatch(revision):
        return revision
    locked = read_json(lock) if lock and Path(lock).is_file() else {}
    key = f"{repo}@{revision or 'main'}"
    if key not in locked.get("hub", {}):
        from huggingface_hub import HfApi

        try:
            commit = HfApi().dataset_info(repo, revision=revision).sha
        except Exception as error:
            raise _failed(repo, error) from error
        locked.setdefault("hub", {})[key] = commit
        if lock:
            write(lock, json_text(locked))
    return str(locked["hub"][key])


def rows(repo: str, config: str, split: str, commit: str) -> Iterator[dict[str, Any]]:
    """The rows of one config and split at a commit, in order. Raises OutsideFailed."""
    import datasets

    try:
        loaded = datasets.load_dataset(repo, config, split=split, revision=commit)
    except Exception as error:
        raise _failed(f"{repo}@{commit} config {config}", error) from error
    return iter(loaded)


def _failed(what: str, error: Exception) -> OutsideFailed:
    reason = (str(error).strip() or type(error).__name__).split("\n")[0][:200]
    return OutsideFailed(f"Hub dataset {what}: {type(error).__name__}: {reason}; check the network and try again")

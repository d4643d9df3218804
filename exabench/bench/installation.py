"""What `exabench doctor` looks at: what is installed, what can be reached, where things are kept, what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from exabench.core.errors import BadInput, MissingExtra, OutsideFailed, plural
from exabench.core.files import cache_folder
from exabench.core.packages import Requirement, extra_line, meets, module_spec, requirements
from exabench.hub.client import account_name, hub_address
from exabench.models.costs import gpus

PATIENCE = 3.0  # seconds for the one request of the Hub: a network that needs more is as good as none
_FOR_DEVELOPERS = "dev"  # an extra that no command needs


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, how it is, and what to type where that is not well.

    "missing" is what some commands need and others do not; "broken" is what no command should be run with.
    """

    area: Literal["installed", "reachable", "kept"]
    what: str
    state: Literal["ok", "missing", "broken", "skipped"]
    detail: str
    advice: str = ""


def examine(*, offline: bool = False) -> Iterator[Finding]:
    """Look at this machine and yield a finding for each thing; nothing is written, and no library of models is loaded.

    The Hub is asked once, and not at all with `offline` or where HF_HUB_OFFLINE is set.
    """
    yield from _packages()
    yield _java()
    yield _sandbox()
    yield _gpu()
    yield _hub(offline)
    yield _cache()
    for store in ("replies", "scores"):
        yield _store(store)
    yield _collections()
    yield _folder_of_library("HF_HOME", ".cache/huggingface", "models and datasets of the Hub")
    yield _folder_of_library("IR_DATASETS_HOME", ".ir_datasets", "collections of ir_datasets")


def problem_of(requirement: Requirement) -> str:
    """Why the installed package will not do, in a few words, or nothing."""
    package = requirement.package
    version = requirement.installed
    if not version:
        return f"{package} is not installed"
    if not meets(version, requirement.versions):
        return f"{package} is {version}, not {requirement.versions}"
    return ""


def _packages() -> Iterator[Finding]:
    """The base and each extra, with the packages that are missing or of another version."""
    problems: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for requirement in requirements():
        extra = requirement.extra
        if extra == _FOR_DEVELOPERS:
            continue
        counts[extra] = counts.get(extra, 0) + 1
        found = problems.setdefault(extra, [])
        problem = problem_of(requirement)
        if problem:
            found.append(problem)
    for extra, found in problems.items():
        name = f"[{extra}]" if extra else "exabench"
        if not found:
            detail = f"{plural(counts[extra], 'package')}, in the required versions"
            yield Finding("installed", name, "ok", detail)
            continue
        state: Literal["broken", "missing"] = "missing" if extra else "broken"
        yield Finding("installed", name, state, "; ".join(found), extra_line(extra))


def _java() -> Finding:
    """The Java of Lucene, as the retriever finds it: a `java` on the PATH is not taken."""
    from exabench.parts.retrievers.pyserini import java_home

    try:
        home = java_home()
    except MissingExtra:
        return Finding("installed", "Java", "missing", "--retriever pyserini needs it", extra_line("lucene"))
    return Finding("installed", "Java", "ok", str(home))


def _sandbox() -> Finding:
    bubblewrap = shutil.which("bwrap")
    if bubblewrap:
        return Finding("installed", "bubblewrap", "ok", bubblewrap)
    advice = "apt-get install bubblewrap"
    return Finding("installed", "bubblewrap", "missing", "the sandbox for submitted models", advice)


def _gpu() -> Finding:
    """The GPUs that torch sees. Without a driver torch is not loaded: that takes seconds, and it would see none."""
    if module_spec("torch") is None:
        return Finding("installed", "GPU", "missing", "torch is not installed, so it is not used", extra_line("models"))
    # The device files of NVIDIA's driver and of AMD's.
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/kfd").exists():
        return Finding("installed", "GPU", "ok", "none: models run on the CPU")
    names = gpus()
    if names:
        return Finding("installed", "GPU", "ok", ", ".join(names))
    detail = "found, but torch cannot use it; models run on the CPU"
    return Finding(
        "installed", "GPU", "missing", detail, "see https://pytorch.org/get-started for the build to install"
    )


def _hub(offline: bool) -> Finding:
    """Can the Hub be reached, and does it take the token?"""
    if module_spec("huggingface_hub") is None:
        return Finding("reachable", "Hub", "missing", "huggingface-hub is not installed", extra_line("bench"))
    address = hub_address()
    # The values that huggingface_hub takes for true.
    if offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Finding("reachable", "Hub", "skipped", f"{address}: not checked")
    try:
        user = account_name(PATIENCE)
    except BadInput as error:
        return Finding("reachable", "Hub", "broken", str(error), "hf auth login")
    except OutsideFailed as error:
        advice = "check the network, or a proxy (HTTPS_PROXY), or HF_ENDPOINT; --data DIR needs no network"
        return Finding("reachable", "Hub", "missing", str(error), advice)
    if user:
        return Finding("reachable", "Hub", "ok", f"{address}, as {user}")
    advice = "hf auth login, to read gated or private repositories, and to publish"
    return Finding("reachable", "Hub", "ok", f"{address}, without a token", advice)


def _cache() -> Finding:
    """The folder of what can be made again."""
    folder = cache_folder("").resolve()
    # The folder is made when something is kept in it, and not by looking.
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        advice = "export EXABENCH_CACHE=DIR, a writable folder"
        return Finding("kept", "EXABENCH_CACHE", "broken", f"{folder}: cannot be written", advice)
    return Finding("kept", "EXABENCH_CACHE", "ok", str(folder))


def _store(name: str) -> Finding:
    """How much a store of the cache folder holds."""
    size = 0
    files = 0
    for file in cache_folder(name).rglob("*"):
        if file.is_file():
            size += file.stat().st_size
            files += 1
    return Finding("kept", f"  {name}", "ok", f"{size / 1e6:,.1f} MB in {plural(files, 'file')}")


def _collections() -> Finding:
    """The collections in the folder that EXABENCH_DATA names."""
    place = os.environ.get("EXABENCH_DATA")
    if not place:
        return Finding("kept", "EXABENCH_DATA", "ok", "not set: collections are read from their public sources")
    folder = Path(place)
    if not folder.is_dir():
        advice = "export EXABENCH_DATA=DIR, an existing folder, or unset EXABENCH_DATA"
        return Finding("kept", "EXABENCH_DATA", "broken", f"{folder}: no such folder", advice)
    # The likely mistake: the folder of one collection in place of the folder above it.
    if (folder / "qrels").is_dir():
        advice = f"export EXABENCH_DATA={folder.resolve().parent}"
        return Finding(
            "kept", "EXABENCH_DATA", "broken", f"{folder}: is a collection, not a folder of collections", advice
        )
    names = sorted(one.name for one in folder.iterdir() if (one / "qrels").is_dir() or (one / "task.toml").is_file())
    return Finding("kept", "EXABENCH_DATA", "ok", f"{folder}: {', '.join(names) or 'no collection'}")


def _folder_of_library(variable: str, usual: str, what: str) -> Finding:
    """Where another library keeps what it fetched."""
    folder = Path(os.environ.get(variable) or Path.home() / usual)
    detail = f"{folder}: {what}"
    if not folder.exists():
        detail += ", none yet"
    return Finding("kept", variable, "ok", detail)

"""The packages that exabench asks for: which are installed, and the line that installs what is missing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

NAME = "exabench"


@dataclass(frozen=True)
class Requirement:
    """A line of pyproject.toml: a package, the versions that will do, and the extra that asks for it ("": the base).

    `parts` are the package's own extras, as in "[data]".
    """

    package: str
    versions: str
    extra: str
    parts: str = ""

    @property
    def installed(self) -> str:
        """The version that is installed, or nothing."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return ""


def requirements() -> Iterator[Requirement]:
    """What the installed exabench asks for, the base and every extra."""
    try:
        lines = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:  # read from a folder that was never installed
        return
    for line in lines:
        asked, _, marker = line.partition(";")
        # name[extras]versions; what is behind the semicolon says when the package is wanted (PEP 508).
        found = re.fullmatch(r"\s*([\w.-]+)\s*(\[[^\]]*\])?\s*(.*?)\s*", asked)
        if not found:
            continue
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        yield Requirement(found[1], found[3], extra[1] if extra else "", found[2] or "")


def pip_line(module: str) -> str:
    """The pip command that brings `module`: an extra of exabench where one lists it."""
    # A module need not be called as its package is: faiss comes as faiss-cpu, jnius as pyjnius.
    wanted = module.split(".")[0].replace("_", "-").lower()
    for requirement in requirements():
        if requirement.extra and requirement.package.lower() in (wanted, f"{wanted}-cpu", f"py{wanted}"):
            return extra_line(requirement.extra)
    return f"pip install {wanted}"


def extra_line(extra: str = "") -> str:
    """The pip command that installs exabench with an extra, from where it came: a checkout, a wheel, or git.

    Where pip noted no such place it names the packages of the extra: exabench is on no index, and anyone who takes its
    name there could run anything.
    """
    origin = _origin()
    url = str(origin.get("url", ""))
    wanted = NAME
    if extra:
        wanted += f"[{extra}]"
    if not url:
        packages = [f"{one.package}{one.parts}{one.versions}" for one in requirements() if one.extra == extra]
        if not packages:
            return f"pip install -e {shlex.quote(wanted.replace(NAME, '.'))} in a checkout of exabench"
        return shlex.join(["pip", "install", *packages])
    folder = origin.get("dir_info")
    if isinstance(folder, Mapping) and folder.get("editable"):
        place = wanted.replace(NAME, url.removeprefix("file://"), 1)
        return f"pip install -e {shlex.quote(place)}"
    line = f"{wanted} @ {pinned_source() or url}"
    return f"pip install {shlex.quote(line)}"


def pinned_source() -> str:
    """The commit that exabench was installed from, as pip takes it ("git+https://...@COMMIT"), or nothing."""
    origin = _origin()
    version_control = origin.get("vcs_info")
    if not isinstance(version_control, Mapping):
        return ""
    kind = version_control.get("vcs", "git")
    commit = version_control.get("commit_id", "")
    return f"{kind}+{origin.get('url', '')}@{commit}"


def _origin() -> Mapping[str, object]:
    """What pip noted when it installed exabench from anywhere but an index (PEP 610)."""
    try:
        text = metadata.distribution(NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return {}
    if not text:
        return {}
    return dict(json.loads(text))

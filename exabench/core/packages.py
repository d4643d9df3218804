"""The packages that exabench asks for: which are installed, and the line that installs what is missing."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import operator
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.machinery import ModuleSpec

from exabench.core.errors import MissingExtra

NAME = "exabench"
_COMPARED = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}


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


def requirements() -> list[Requirement]:
    """What the installed exabench asks for, the base and every extra; an extra that includes another has its packages.

    What an extra names itself comes first.
    """
    try:
        lines = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:  # read from a folder that was never installed
        return []
    own = []
    included = []
    for line in lines:
        asked, _, marker = line.partition(";")
        # name[extras]versions; what is behind the semicolon says when the package is wanted (PEP 508).
        found = re.fullmatch(r"\s*([\w.-]+)\s*(\[[^\]]*\])?\s*(.*?)\s*", asked)
        if not found:
            continue
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        one = Requirement(found[1], found[3], extra[1] if extra else "", found[2] or "")
        if one.package == NAME:
            included.append(one)
        else:
            own.append(one)
    inherited = []
    for outer in included:
        for inner in own:
            if inner.extra and inner.extra in re.findall(r"[\w-]+", outer.parts):
                inherited.append(replace(inner, extra=outer.extra))
    return own + inherited


def meets(version: str, wanted: str) -> bool:
    """Is a version one of those that a requirement names, as in ">=21.0.4,<22"?

    A nightly build is taken for what it is called: 2.14.0.dev3+cpu is 2.14.
    """
    release = _release(version)
    for compared, bound in re.findall(r"([<>]=?|==)\s*([\d.]+)", wanted):
        if not _COMPARED[compared](release, _release(bound)):
            return False
    return True


def module_spec(module: str) -> ModuleSpec | None:
    """Where a module outside of exabench is, found without importing it; None where it is not installed."""
    # ValueError: a module in sys.modules that has no spec.
    with contextlib.suppress(ValueError, ModuleNotFoundError):
        return importlib.util.find_spec(module)
    return None


def missing_package(error: ModuleNotFoundError) -> MissingExtra | None:
    """What to say of a package that exabench asks for and that is not installed; None for any other module.

    A module of exabench itself, a part of an installed package, and what nothing here asks for are none.
    """
    module = error.name or ""
    package = _package_of(module)
    if package is None or "." in module:
        return None
    return MissingExtra(f"the package {package.package} is needed and not installed: {extra_line(package.extra)}")


def pip_line(module: str) -> str:
    """The pip command that brings `module`: an extra of exabench where one lists it."""
    package = _package_of(module)
    if package is not None:
        return extra_line(package.extra)
    return f"pip install {_plain(module)}"


def _package_of(module: str) -> Requirement | None:
    """The package that exabench asks for and that has a module."""
    wanted = _plain(module)
    # A module need not be called as its package is: faiss comes as faiss-cpu, jnius as pyjnius.
    names = (wanted, f"{wanted}-cpu", f"py{wanted}")
    for requirement in requirements():
        if _plain(requirement.package) in names:
            return requirement
    return None


def _release(version: str) -> list[int]:
    """The numbers that a version begins with, without zeros at the end: 2.10 and 2.10.0 are one."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers: list[int] = []
    if found:
        numbers = [int(number) for number in found[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def _plain(module: str) -> str:
    return module.split(".")[0].replace("_", "-").lower()


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

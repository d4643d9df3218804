"""The pins of constraints.txt with the digests of their files: `python tests/digests.py` writes them.

`constraints-hashed.txt` has every package, for Linux x86-64 with CPython 3.11 and the CPU build of torch; the list in
exabench/bench/new_board has what a board's workflow installs, for CPython 3.11 to 3.13. pip names the files it would
take and their digests, so run it with CPython 3.11 on Linux, where pip finds the CPU build of torch.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
HASHED = ROOT / "constraints-hashed.txt"
FOR_BOARDS = ROOT / "exabench" / "bench" / "new_board" / "requirements.txt"
OTHER_PYTHONS = ("3.12", "3.13")
# The oldest and the newest systems that the pinned packages have wheels for; pip takes a name only as it is written.
PLATFORMS = (
    "manylinux1_x86_64 manylinux2010_x86_64 manylinux_2_12_x86_64 manylinux2014_x86_64 manylinux_2_17_x86_64 "
    "manylinux_2_27_x86_64 manylinux_2_28_x86_64 manylinux_2_34_x86_64"
).split()
PIN = re.compile(r"(?P<package>[A-Za-z0-9._-]+)==(?P<version>[A-Za-z0-9.!]+)")
HASHED_ALL = "# Written by tests/digests.py: constraints.txt for Linux x86-64, CPython 3.11 and the CPU build of torch."
HASHED_SOME = "# Written by tests/digests.py: what exabench[bench] installs, for Linux x86-64 and CPython 3.11 to 3.13."


def pins(text: str) -> dict[str, str]:
    """The versions of a list of pins, by the names of the packages as indexes spell them."""
    found = {}
    for line in text.splitlines():
        pin = PIN.match(line)
        if pin:
            found[index_name(pin["package"])] = pin["version"]
    return found


def index_name(package: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def chosen(words: Sequence[str]) -> list[dict[str, Any]]:
    """What pip would install, as its report lists it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*pip, "--report", str(report), *words], check=True, cwd=ROOT)
        listed: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return listed


def digests(listed: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The SHA-256 of the file of each package, by its name."""
    found = {}
    for one in listed:
        archive = one["download_info"].get("archive_info")
        if archive:  # exabench itself is a folder
            found[index_name(one["metadata"]["name"])] = archive["hashes"]["sha256"]
    return found


def wanted_extras(listed: Sequence[dict[str, Any]]) -> dict[str, set[str]]:
    """The extras that packages want of each other: pip wants a pin of "pydantic[email]" beside that of "pydantic"."""
    extras: dict[str, set[str]] = {}
    for one in listed:
        for line in one["metadata"].get("requires_dist", ()):
            found = re.match(r"([\w.-]+)\s*\[([^\]]+)\]", line)
            if found and "extra ==" not in line:
                extras.setdefault(index_name(found[1]), set()).update(found[2].replace(" ", "").split(","))
    return extras


def other_files(requirements: Sequence[str], python: str) -> dict[str, str]:
    """The digests for another Python. A package without a wheel is the same source archive there."""
    words = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--target", "unused"]
    for platform in PLATFORMS:
        words += ["--platform", platform]
    return digests(chosen([*words, *requirements]))


def write_pins(file: Path, title: str, listed: Sequence[dict[str, Any]], others: Sequence[dict[str, str]]) -> None:
    """Write a line for each package that is listed, with its digests here and for other Pythons."""
    versions = pins(CONSTRAINTS.read_text(encoding="utf-8"))
    extras = wanted_extras(listed)
    here = digests(listed)
    lines = [title]
    for package in sorted(here):
        known = {found[package] for found in [here, *others] if package in found}
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in sorted(known))
        names = [package]
        if package in extras:
            names.append(f"{package}[{','.join(sorted(extras[package]))}]")
        lines += [f"{name}=={versions[package]} {hashes}" for name in names]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    write_pins(HASHED, HASHED_ALL, chosen(["--no-deps", "-r", str(CONSTRAINTS)]), ())
    listed = chosen(["-c", str(CONSTRAINTS), ".[bench]"])
    versions = pins(CONSTRAINTS.read_text(encoding="utf-8"))
    # cwl-eval is published as a source archive only.
    wheels = [f"{package}=={versions[package]}" for package in digests(listed) if package != "cwl-eval"]
    others = []
    for python in OTHER_PYTHONS:
        others.append(other_files(wheels, python))
    write_pins(FOR_BOARDS, HASHED_SOME, listed, others)


if __name__ == "__main__":
    main()

"""README.md and CHANGELOG.md of a release: our sections written anew, all else kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.rows import DataFile, Release, Table
from exabench.hub.cards._templates import filled, filled_value, splits_of, values_of
from exabench.hub.cards.front_matter import licence_keys, parsed, refreshed, split
from exabench.hub.cards.markdown import plain

OURS = ("license", "license_name", "size_categories", "configs", "dataset_info")
"""The keys of the front matter that are computed; all others belong to whoever writes the card."""

_SIZES = "n<1K 1K<n<10K 10K<n<100K 100K<n<1M 1M<n<10M 10M<n<100M 100M<n<1B 1B<n<10B 10B<n<100B 100B<n<1T".split()
_SECTION = re.compile(r"^<!-- exabench: (\S+) -->[ \t]*$.*?^<!-- /exabench -->[ \t]*$", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"^<!-- (?:exabench: \S+|/exabench) -->", re.MULTILINE)
_ENTRY = re.compile(r"^## .*?(\d+\.\d+\.\d+).*$", re.MULTILINE)


def card(release: Release, template_text: str, *, existing: str = "") -> str:
    """README.md of a release: YAML front matter that the Hub can read, and the template filled in.

    Of an `existing` card all stays but the computed keys of its front matter and our sections; a section that it
    lacks is added at its end. Raises BadInput for a table without a licence, a template that cannot be filled in,
    and an existing card whose marks or front matter cannot be told apart.
    """
    values = values_of(release)
    template_block, template_body = split(template_text)
    old_block, old_body = split(existing)
    fresh: dict[str, Any] = {}
    for key, value in parsed(template_block, "the card's template").items():
        if key not in OURS:
            fresh[key] = filled_value(value, values)
    block = refreshed(old_block, fresh | front_matter(release), OURS)
    return f"---\n{block}---\n{merged(filled(template_body, values), old_body)}"


def front_matter(release: Release) -> dict[str, Any]:
    """What the Hub reads: licence, size, and for each table its files, features, rows and bytes.

    The Hub means by num_bytes the size in memory, which nobody but a reader knows; ours is that of the files.
    Raises BadInput for a table without a licence.
    """
    for name, table in release.tables.items():
        if not table.licence.strip():
            raise BadInput("has no licence; a table is published under the licence its recipe names", id=name)
    configs = []
    infos = []
    rows = 0
    for name in sorted(release.tables):
        table = release.tables[name]
        if table.splits:
            configs.append({"config_name": name, "data_files": _data_files(table)})
            infos.append(_info(name, table))
            rows += table.rows
    digits = len(str(rows))
    return {
        **licence_keys(table.licence for table in release.tables.values()),
        "size_categories": [_SIZES[max(0, digits - 3)] if digits < 13 else "n>1T"],
        "configs": configs,
        "dataset_info": infos[0] if len(infos) == 1 else infos,
    }


def _data_files(table: Table) -> list[dict[str, Any]]:
    """Every file by its name: a glob would also read what an earlier version left behind."""
    listed = []
    for split_name, files in splits_of(table).items():
        paths = [file.path for file in files]
        listed.append({"split": split_name, "path": paths[0] if len(paths) == 1 else paths})
    return listed


def _info(name: str, table: Table) -> dict[str, Any]:
    features = []
    for field, kind in table.columns.items():
        # A list is a `sequence`: the one word for it that every version of `datasets` knows (2 to 5).
        key = "sequence" if kind.startswith("list<") else "dtype"
        inner = kind.removeprefix("list<").removesuffix(">")
        features.append({"name": field, key: inner.replace("double", "float64")})
    splits = []
    for split_name, files in splits_of(table).items():
        splits.append({"name": split_name, "num_bytes": _bytes(files), "num_examples": _rows(files)})
    size = _bytes(table.files)
    return {
        "config_name": name,
        "features": features,
        "splits": splits,
        "download_size": size,
        "dataset_size": size,
    }


def _rows(files: Sequence[DataFile]) -> int:
    return sum(file.rows for file in files)


def _bytes(files: Sequence[DataFile]) -> int:
    return sum(file.bytes for file in files)


def changelog(release: Release, diff_lines: Sequence[str], existing: str = "") -> str:
    """CHANGELOG.md with an entry for this version, newest first; what people wrote into it stays.

    A version that has its entry gets it written anew, so that the same call twice changes nothing. Raises BadInput.
    """
    version = release.version
    entries = list(_ENTRY.finditer(existing))
    others = [entry for entry in entries if entry[1] != version]
    nothing = "Tables, fields and rows are those of the version before." if others else "First version."
    listed = "\n".join(f"- {plain(line)}" for line in diff_lines or [nothing])
    section = f"<!-- exabench: {version} -->\n{listed}\n<!-- /exabench -->"
    if version in {found[1] for found in _sections(existing, "CHANGELOG.md")}:
        return _SECTION.sub(lambda found: section if found[1] == version else found[0], existing)
    for entry in entries:
        if entry[1] == version:
            return f"{existing[: entry.end()]}\n\n{section}{existing[entry.end() :]}"
    older = [entry.start() for entry in others if _numbers(entry[1]) < _numbers(version)]
    place = min(older, default=len(existing))
    entry_text = f"## {version}\n\n{section}\n"
    return _spaced(existing[:place] or "# Changelog\n") + entry_text + ("\n" if older else "") + existing[place:]


def merged(new: str, old: str) -> str:
    """The old text with its sections as they are in the new one, and behind it those that it lacks."""
    sections = {found[1]: found[0] for found in _sections(new, "the card's template")}
    there = {found[1] for found in _sections(old, "README.md")}
    if not old.strip():
        return new
    kept = _SECTION.sub(lambda found: sections.get(found[1], ""), old)
    missing = [text for name, text in sections.items() if name not in there]
    return _spaced(kept) + "\n\n".join(missing) + "\n" if missing else kept


def _sections(text: str, file: str) -> list[re.Match[str]]:
    """Our sections. Raises BadInput where a mark has no partner."""
    found = list(_SECTION.finditer(text))
    if len(_MARK.findall(text)) != 2 * len(found) or any(len(_MARK.findall(each[0])) != 2 for each in found):
        raise BadInput("a mark <!-- exabench: ... --> has no <!-- /exabench -->, or the other way round", file=file)
    return found


def _spaced(text: str) -> str:
    """The text, an empty line behind it, and not a byte of it changed."""
    return text + ("" if text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))

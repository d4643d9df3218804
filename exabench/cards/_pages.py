"""README.md and CHANGELOG.md of a release: our sections written anew, all else kept."""

from __future__ import annotations

import re
from collections.abc import Sequence

from exabench.cards._front_matter import front_matter, parsed, split
from exabench.cards._markdown import plain
from exabench.cards._templates import filled, filled_value, values_of
from exabench.errors import BadInput
from exabench.rows import Release

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
    given, body = split(template_text)
    old, old_body = split(existing)
    own = {key: filled_value(value, values) for key, value in parsed(given, "the card's template").items()}
    return f"---\n{front_matter(release, own, old)}---\n{merged(filled(body, values), old_body)}"


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

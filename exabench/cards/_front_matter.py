"""The YAML at the top of a card: what the Hub reads of it is computed from the Release, the rest is kept as it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

from exabench.cards._tables import bytes_in, fields_of, files_of, rows_in, splits_of
from exabench.errors import BadInput
from exabench.rows import Release, Table

OURS = ("license", "license_name", "size_categories", "configs", "dataset_info")
"""The keys that are computed; all others belong to whoever writes the card."""

# What the Hub knows (huggingface/hub-docs, docs/hub/repositories-licenses.md); any other licence is "other" there.
HUB_LICENCES = frozenset(
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m "
    "afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 "
    "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 "
    "cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 agpl-3.0 gfdl gpl gpl-2.0 "
    "gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 "
    "ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2 gemma unknown other".split()
)
_SIZES = "n<1K 1K<n<10K 10K<n<100K 100K<n<1M 1M<n<10M 10M<n<100M 100M<n<1B 1B<n<10B 10B<n<100B 100B<n<1T".split()
_BLOCK = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_REMARKS = re.compile(r"(?:^[ \t]*(?:#[^\n]*)?\n)*\Z", re.MULTILINE)


def split(text: str) -> tuple[str, str]:
    """The YAML block of a card, empty where there is none, and what follows it."""
    found = _BLOCK.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def parsed(block: str, file: str = "README.md") -> dict[str, Any]:
    """The values of a YAML block. Raises BadInput for what is no mapping."""
    try:
        values = yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"its front matter is not YAML ({' '.join(str(error).split())}); mend it", file=file) from error
    if values is not None and not isinstance(values, dict):
        raise BadInput("its front matter must be key: value lines", file=file)
    return values or {}


def licence_in(card: str) -> str:
    """The licence that a card's front matter names, in its own words; empty where it names none that can be read."""
    try:
        values = parsed(split(card)[0])
    except BadInput:
        return ""
    named = values.get("license_name") if values.get("license") == "other" else None
    found = named or values.get("license")
    return found if isinstance(found, str) else ""


def front_matter(release: Release, template: Mapping[str, Any], existing: str) -> str:
    """The YAML block of a card: the existing one's own keys, the template's where it lacks them, and the computed ones.

    What is kept is kept as it is written, remarks included. Raises BadInput where that cannot be done.
    """
    held = {key: value for key, value in parsed(existing).items() if key not in OURS}
    given = {key: value for key, value in template.items() if key not in OURS and key not in held}
    block = _kept(existing) + written(given) + written(computed(release))
    if held and {key: value for key, value in parsed(block).items() if key in held} != held:
        raise BadInput("the keys of its front matter refer to one another; write each one out", file="README.md")
    return block


def computed(release: Release) -> dict[str, Any]:
    """What the Hub reads: licence, size, and for each table its files, features, rows and bytes.

    The Hub means by num_bytes the size in memory, which nobody but a reader knows; ours is that of the files.
    Raises BadInput for a table without a licence.
    """
    tables = {name: release.tables[name] for name in sorted(release.tables) if release.tables[name].splits}
    infos = [_info(name, table) for name, table in tables.items()]
    rows = rows_in(files_of(tables.values()))
    return {
        **_licence(release),
        "size_categories": [_SIZES[max(0, len(str(rows)) - 3)] if len(str(rows)) < 13 else "n>1T"],
        "configs": [{"config_name": name, "data_files": _data_files(table)} for name, table in tables.items()],
        "dataset_info": infos[0] if len(infos) == 1 else infos,
    }


def written(values: Mapping[str, Any]) -> str:
    """Values as YAML: one meaning for a reader of YAML 1.1 (Python) and of 1.2 (the Hub), one line for each text."""
    if not values:
        return ""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes every text that is not plainly a word, writes lists indented, and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    odd = not text[:1].isalpha() or not text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else None)


_Dumper.add_representer(str, _text)


def _licence(release: Release) -> dict[str, Any]:
    for name, table in release.tables.items():
        if not table.licence.strip():
            raise BadInput("has no licence; a table is published under the licence its recipe names", id=name)
    named = sorted({table.licence.strip() for table in release.tables.values()})
    others = [name for name in named if name.lower() not in HUB_LICENCES]
    known = sorted({name.lower() if name not in others else "other" for name in named})
    slugs = [re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") or "other" for name in others]
    return {
        "license": known[0] if len(known) == 1 else known,
        **({"license_name": "-and-".join(slugs)} if others else {}),
    }


def _data_files(table: Table) -> list[dict[str, Any]]:
    """Every file by its name: a glob would also read what an earlier version left behind."""
    paths = {name: [file.path for file in files] for name, files in splits_of(table).items()}
    return [{"split": name, "path": found[0] if len(found) == 1 else found} for name, found in paths.items()]


def _info(name: str, table: Table) -> dict[str, Any]:
    splits = splits_of(table)
    size = bytes_in(files_of([table]))
    return {
        "config_name": name,
        "features": [_feature(field, kind) for field, kind in fields_of(table).items()],
        "splits": [
            {"name": split, "num_bytes": bytes_in(files), "num_examples": rows_in(files)}
            for split, files in splits.items()
        ],
        "download_size": size,
        "dataset_size": size,
    }


def _feature(name: str, kind: str) -> dict[str, str]:
    """A list is a `sequence`: the one word for it that every version of `datasets` knows (2 to 5)."""
    inner = kind.removeprefix("list<").removesuffix(">").replace("double", "float64")
    return {"name": name, "sequence" if kind.startswith("list<") else "dtype": inner}


def _kept(block: str) -> str:
    """The block without our keys, as it is written; a remark that stands before a key that is kept is kept."""
    node = yaml.compose(block, Loader=yaml.SafeLoader)
    if node is None:
        return block if block.strip() else ""
    if node.flow_style and node.value:
        raise BadInput("its front matter must be key: value lines, not { }", file="README.md")
    names = [key.value for key, _ in node.value]
    if len(set(names)) < len(names):
        raise BadInput("its front matter says a key twice", file="README.md")
    starts = [key.start_mark.index for key, _ in node.value]
    pieces = [block[start:end] for start, end in zip(starts, [*starts[1:], len(block)], strict=True)]
    remarks = (_REMARKS.search(piece) for piece in pieces)
    rest = (
        piece if name not in OURS else found[0] if found else ""
        for name, piece, found in zip(names, pieces, remarks, strict=True)
    )
    return block[: starts[0]] + "".join(rest) if starts else ""

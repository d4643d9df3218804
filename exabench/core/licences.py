"""Licences: which the Hub knows, which let anybody pass texts on, and which are open for software and weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput

# huggingface/hub-docs, docs/hub/repositories-licenses.md
_OF_THE_HUB = (
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m "
    "afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 "
    "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 "
    "cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 agpl-3.0 gfdl gpl gpl-2.0 "
    "gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0 postgresql ofl-1.1 "
    "ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2 gemma unknown other".split()
)
_FOR_TEXTS = "apache-2.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 mit odc-by-1.0 pddl-1.0".split()
_NON_COMMERCIAL = re.compile(r"\bnc\b|non-?\s?commercial|academic use|research only|research use", re.IGNORECASE)
_FOR_SOFTWARE = re.compile(
    r"apache-2\.0|mit(-0)?|bsd-[23]-clause|isc|cc0-1\.0|cc-by(-sa)?-[34]\.0|unlicense|[al]?gpl-.*|mpl-2\.0|zlib"
)


def as_licence(values: Mapping[str, Any], file: str | Path | None = None) -> dict[str, Any]:
    """`values` with the Hub's key `license` as `licence`. Raises BadInput where both are there and differ."""
    found = dict(values)
    if "license" in found:
        of_the_hub = found.pop("license")
        if found.setdefault("licence", of_the_hub) != of_the_hub:
            raise BadInput("licence and license disagree; keep one of them", file=file)
    return found


def is_known_to_the_hub(licence: str) -> bool:
    """True for a licence that the Hub has a name for; any other is "other" there."""
    return licence.lower() in _OF_THE_HUB


def is_open_for_texts(licence: str | None) -> bool:
    """True where anyone may redistribute texts, for any purpose: for other collections a page shows only ids."""
    return re.sub(r"[\s_]+", "-", (licence or "").strip().lower()) in _FOR_TEXTS


def is_non_commercial(licence: str) -> bool:
    """True for a licence, or terms in words, that forbid commercial use."""
    return _NON_COMMERCIAL.search(licence) is not None


def check_inherited(licence: str, sources: Mapping[str, str], file: str | Path | None = None) -> None:
    """Raise BadInput where `licence` allows commercial use and that of a source does not; `sources` are by name.

    A licence that the Hub has no name for ("other", terms in words) says by itself what it allows.
    """
    is_commercial = is_known_to_the_hub(licence) and licence.lower() not in ("other", "unknown")
    if not is_commercial or is_non_commercial(licence):
        return
    for name, inherited in sources.items():
        if is_non_commercial(inherited):
            raise BadInput(
                f"declares the licence {licence}, and {name} is for non-commercial use ({inherited}): what is made of "
                'it is, too; write licence = "other" with a note, or a licence such as cc-by-nc-4.0',
                file=file,
            )


def is_open_for_software(licence: str) -> bool:
    """True for a licence under which anybody may use, change and pass on a model."""
    return _FOR_SOFTWARE.fullmatch(licence.lower()) is not None

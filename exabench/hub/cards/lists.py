"""The card of a dataset of frozen candidate lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.core.files import read_text
from exabench.hub.cards import fill_card, size_category
from exabench.hub.cards.front_matter import licence_keys, one_or_list

_COMPUTED = "license license_name language multilinguality source_datasets size_categories configs".split()


def lists_card(
    lists: Sequence[Mapping[str, Any]],
    *,
    title: str,
    url: str,
    repository: str,
    licences: Sequence[str],
    languages: Sequence[str],
    sources: Sequence[str],
    existing: str = "",
) -> str:
    """README.md of the dataset `repository`, which holds these lists of the leaderboard `title`.

    A list is what describes it (`Candidates.as_json`) with `config`, `path`, and the `command` that freezes it again.
    `licences` are those of the texts in it, `sources` the datasets of the Hub whose queries and passages it names. Of
    an `existing` card stays what `card` lets stay. Raises BadInput.
    """
    configs = []
    for one in lists:
        configs.append({"config_name": one["config"], "data_files": [{"split": "test", "path": one["path"]}]})
    computed: dict[str, Any] = {}
    if licences:
        computed |= licence_keys(licences)
    computed["language"] = one_or_list(list(languages))
    computed["multilinguality"] = "monolingual" if len(languages) == 1 else "multilingual"
    if sources:
        computed["source_datasets"] = list(sources)
    computed["size_categories"] = [size_category(sum(one["queries"] for one in lists))]
    computed["configs"] = configs
    values = {"lists": lists, "title": title, "url": url, "repository": repository}
    template = read_text(Path(__file__).with_name("lists.md"))
    return fill_card(template, values, computed, keys=_COMPUTED, existing=existing)

"""The table of tasks says of every collection what was counted on its published judgements."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from exabench.core.errors import BadInput, UnknownName
from exabench.measure.metric_values import MetricName
from exabench.tasks.catalogue import expand, single_task, suites, task, tasks
from exabench.tasks.facts import facts_of

STATS = Path(__file__).parents[1] / "leaderboard" / "reported" / "qrels_stats.csv"
PRINTED = {
    "dl19-passage": "trec-dl-2019",
    "dl20-passage": "trec-dl-2020",
    "dl21-passage": "trec-dl-2021",
    "dl23-passage": "trec-dl-2023",
    "msmarco-passage.dev-subset": "msmarco-dev",
}
NEW = ("nano-beir", "bright", "bright-long", "miracl", "lotte")  # of other sources: tests/test_tasks_of_today.py
SINGLE = [entry for entry in tasks().values() if not entry.members]


def counted() -> dict[str, dict[str, str]]:
    with STATS.open(encoding="utf-8", newline="") as file:
        rows = {row["dataset"]: row for row in csv.DictReader(file)}
    shown = {name: re.fullmatch(r"beir-v1\.0\.0-(.+)\.test", name) for name in rows}
    return {PRINTED.get(name, match[1] if (match := shown[name]) else name): row for name, row in rows.items()}


def test_every_task_fits_what_was_counted_on_its_qrels():
    for name in counted():
        entry, row = task(name), counted()[name]
        found = (entry.queries, entry.judgements, entry.qrels_md5)
        assert found == (int(row["queries"]), int(row["judgements"]), row["md5"]), name
    others = {entry.name for entry in SINGLE if entry.benchmark} - set(counted())
    assert others - {one.name for one in expand(NEW)} == {"mini", "noveleval", "robust04", "trec-dl-2022"}


def test_the_suites_hold_known_tasks_as_their_titles_say_and_what_needs_a_licence_is_not_public():
    sizes = {"beir-18": 18, "beir-17": 17, "beir-15": 15, "beir-public": 14, "trec-dl": 2, "trec-dl-21-23": 3}
    assert {suite: len(names) for suite, names in suites().items() if suite.startswith(("beir", "trec"))} == sizes
    for names in suites().values():
        assert len(set(names)) == len(names) and set(names) <= set(tasks())
    whole = set(suites()["beir-18"])
    assert whole - set(suites()["beir-17"]) == {"cqadupstack"}
    assert whole - set(suites()["beir-15"]) == {"cqadupstack", "robust04", "trec-news"}
    assert whole - set(suites()["beir-public"]) == {"bioasq", "robust04", "signal1m", "trec-news"}
    assert {entry.name for entry in tasks().values() if entry.needs_licence} == whole - set(suites()["beir-public"])


def test_cqadupstack_is_twelve_forums():
    members = task("cqadupstack").members
    assert len(set(members)) == 12
    assert set(members) <= set(tasks())
    with pytest.raises(BadInput, match="is the mean of 12 tasks.*cqadupstack-android"):
        single_task("cqadupstack")


@pytest.mark.parametrize("entry", SINGLE, ids=lambda entry: entry.name)
def test_every_task_is_pinned_and_readable(entry):
    assert entry.title
    assert str(MetricName.parse(entry.headline)) == entry.headline
    assert entry.convention.relevance_threshold in (1, 2)
    assert entry.convention.self_match in ("keep", "drop")
    assert set(entry.convention.text_fields) <= {"title", "text"}
    assert entry.hub is None or re.fullmatch(r"[0-9a-f]{40}", entry.hub["revision"])
    assert (
        entry.ir_datasets
        or entry.hub
        or entry.needs_licence
        or entry.name in ("mini", "noveleval")
        or not entry.benchmark
    )
    assert entry.qrels_digest is None or re.fullmatch(r"sha256:[0-9a-f]{64}", entry.qrels_digest)


def test_the_conventions_of_the_field_are_kept_and_unlike_ones_have_unlike_digests():
    dropping = {name for name, entry in tasks().items() if entry.convention.self_match == "drop"}
    strict = {name for name, entry in tasks().items() if entry.convention.relevance_threshold == 2}
    excluding = {name for name, entry in tasks().items() if entry.convention.excluded_ids == "drop"}
    assert dropping == {"arguana", "quora"}
    assert strict == {*suites()["trec-dl"], *suites()["trec-dl-21-23"]}
    assert excluding == {*suites()["bright"], *suites()["bright-long"]}
    assert task("msmarco-dev").headline == "RR@10"
    assert task("arguana").convention.digest != task("mini").convention.digest
    assert task("nfcorpus").convention.digest == task("mini").convention.digest


def test_a_task_is_listed_under_each_of_its_names_once():
    for name in tasks():
        names = [name, *filter(None, facts_of(name)["other names"].split(", "))]
        assert len(set(names)) == len(names), names


def test_suites_expand_in_order_each_task_once_and_an_unknown_task_is_answered_with_the_nearest():
    names = [one.name for one in expand(["trec-dl-2020", "trec-dl", "mini", "mini"])]
    assert names == ["trec-dl-2020", "trec-dl-2019", "mini"]
    with pytest.raises(UnknownName, match="unknown task 'scifacts'; did you mean scifact"):
        task("scifacts")
    with pytest.raises(
        UnknownName, match="unknown task 'qqq'; exabench bench tasks lists them; give your own collection"
    ):
        task("qqq")
    with pytest.raises(UnknownName, match="unknown task 'no-suite'"):
        expand(["mini", "no-suite"])

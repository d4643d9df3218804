"""Leaks of tasks: does the training data that a submission declares, or that exabench recorded, meet a task?"""

from __future__ import annotations

import functools
import re

from exabench.bench.submissions import Training
from exabench.core.nouns import Submission, Task
from exabench.tasks.catalogue import suites, task as task_of, tasks

# Training data is often named with its split ("scifact-train") or with what its files hold ("nq-queries"): the
# collection is what counts.
_SPLIT = re.compile(
    r"(-(train|training|dev|test|val|validation|small|judged|queries|qrels|corpus|generated|retrieval))+$"
)
_SUITE = re.compile(r"^(irds:|beir-|mteb-)+")


def exposure_of(submission: Submission, task: str | Task, training: Training | None = None) -> str:
    """ "yes", "no" or "unknown": was the model trained on what the task is made of?

    Declared names (`training_data` and `synthetic_data`) meet a task by its own name, those of its members, of the
    whole that it is a member or a subset of and of its subsets, its Hub id or its ir_datasets id, in upper or lower
    case, with or without the suite before it and the split behind it: "BeIR/scifact", "scifact-train". MS MARCO in any
    split meets MS MARCO dev and the TREC DL tracks: one collection with other judged queries, which other boards count
    as trained on, too. Where nothing meets it and something is not said ("unknown"), the answer is "unknown"; else
    "no". What `exabench train` recorded (the rows that share texts or ids with a benchmark) can only turn the answer
    into "yes".
    """
    names = _names_of(task_of(task))
    for table in training.values["data"] if training else ():
        for benchmark in table["leaks"].get("benchmarks") or {}:
            if _possible_names(str(benchmark)) & names:
                return "yes"
    return _declared_exposure(submission.training_data, submission.synthetic_data, names)


@functools.lru_cache(maxsize=65536)
def _declared_exposure(
    data: tuple[str, ...] | str, synthetic: tuple[str, ...] | str, names_of_task: frozenset[str]
) -> str:
    unknown = False
    for names in (data, synthetic):
        if isinstance(names, str):  # "unknown"
            unknown = True
            continue
        for name in names:
            if _possible_names(name) & names_of_task:
                return "yes"
            if name.strip().lower() == "unknown":
                unknown = True
    return "unknown" if unknown else "no"


def _names_of(task: Task) -> frozenset[str]:
    return _plain_names(task.name, task.ir_datasets, (task.hub or {}).get("repo"), task.members)


@functools.cache
def _plain_names(name: str, ir_datasets: str | None, repo: str | None, members: tuple[str, ...]) -> frozenset[str]:
    """All names of a task, in plain form: its own, those of its members, subsets and wholes, and their suites."""
    relatives = [one for one in tasks().values() if name in one.members or name == one.subset_of]
    if name in tasks() and tasks()[name].subset_of:
        relatives.append(tasks()[tasks()[name].subset_of])
    relatives += [task_of(member) for member in members]
    all_names = {name: (ir_datasets, repo)}
    for one in relatives:
        all_names[one.name] = (one.ir_datasets, (one.hub or {}).get("repo"))
    names = set()
    for own, others in all_names.items():
        for called in (own, *others):
            if called:
                names.add(_plain_name(called))
        for suite, suite_tasks in suites().items():
            if own in suite_tasks:
                names |= {suite, suite.replace("-", "")}
                if suite.startswith("beir-"):
                    names.add("beir")
    return frozenset(names)


@functools.lru_cache(maxsize=65536)
def _possible_names(name: str) -> frozenset[str]:
    """The plain names that a declared name may stand for: with and without suite and split, without the owner, too."""
    lower = re.sub(r"[\s_]+", "-", name.strip().lower())
    return frozenset({lower, _plain_name(lower), _plain_name(lower.rpartition("/")[2])} - {""})


def _plain_name(name: str) -> str:
    """A data set's name without case, suite and split: "BeIR/SciFact-train" is "scifact"."""
    plain = _SPLIT.sub("", _SUITE.sub("", name.lower().replace("/", "-")))
    return "msmarco" if re.match(r"ms-?marco(-|$)", plain) else plain

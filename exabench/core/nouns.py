"""The nouns that every part of exabench shares, as frozen values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from exabench.core.files import digest_of
from exabench.core.replies import Likelihoods, Reading, is_complete, read_log_probs, read_reply
from exabench.core.tables import data_frame, html_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Qrels: TypeAlias = Mapping[str, Mapping[str, int]]
"""`{query_id: {passage_id: grade}}`; a grade of 0 or less is a judged passage that is not relevant."""


Progress: TypeAlias = Callable[[int, int, str], None]
"""Called by long work as it progresses: (pieces done, pieces in total or 0 where no one knows, the piece just done)."""

RESULT_FORMAT = 5
"""Of results. 2: they carry the model and what it cost; 3: the gain is one paired test; 4: Judged@k is over what is
ranked within k, and rounding is not a difference; 5: the cost says how many passages were cut."""

MOST_TOKENS = 2**53
"""What every count of tokens is below: up to here every reader of JSON and Parquet gets the same whole number."""

FIRST_STAGE = "exabench--unchanged"
"""The slug of the baseline that keeps the candidates' own order: the first stage itself, as a line of the board."""


def silent(done: int, total: int, what: str) -> None:
    """The Progress of those who want none."""


@dataclass(frozen=True)
class Query:
    """A query: id and text."""

    id: str
    text: str


@dataclass(frozen=True)
class Passage:
    """A passage: id, text and, where the collection has one, a title."""

    id: str
    text: str
    title: str = ""

    def flat(self, fields: tuple[str, ...] = ("title", "text")) -> str:
        """The named fields in one string, joined by a space; empty ones leave no trace."""
        parts = [str(getattr(self, name)) for name in fields]
        return " ".join(filter(None, parts))


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk, pinned: `revision` is a Hub commit, or the digest of the folder's files."""

    name: str
    path: Path
    revision: str


@dataclass(frozen=True)
class Prompt:
    """A question to a teacher: chat turns of (role, text), and how its answer is sampled.

    A last turn of the assistant is the beginning of the answer. `pattern` is a regular
    expression for the whole answer; an engine that can be guided writes nothing else. With `max_tokens` 0 nothing is
    written: the reply says how likely each of the `choices` comes next. `passages` is the number of passages that the
    answer puts in order, 0 where it orders nothing. With `likelihood` the reply says how likely its text is.
    """

    id: str
    turns: tuple[tuple[str, str], ...]
    max_tokens: int = 256
    temperature: float = 0.0
    sample: int = 0
    pattern: str = ""
    passages: int = 0
    likelihood: bool = False

    @classmethod
    def of_choices(cls, id: str, turns: tuple[tuple[str, str], ...], choices: Sequence[str]) -> Prompt:
        """A prompt whose reply says how likely each of these words comes next."""
        return cls(id, turns, max_tokens=0, pattern="|".join(choices))

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that may come next, where the reply says how likely each is; none where an answer is written."""
        if self.max_tokens or not self.pattern:
            return ()
        return tuple(self.pattern.split("|"))

    @property
    def beginning(self) -> str:
        """The text that the answer begins with; empty where the prompt gives none."""
        role, text = self.turns[-1]
        if role != "assistant":
            return ""
        return text


@dataclass(frozen=True)
class Reply:
    """A teacher's reply to the prompt of the same id: its raw `text`, and the reason that it ended for.

    `finish` is as the engine names it ("stop", "length", "content_filter", "" where none is named). Token counts are
    None where a server gives none. The text of a reply to a prompt with choices is a JSON object: tokens that may come
    next, as the engine spells them, and their log-probabilities. `log_prob` is the mean log-probability of the tokens
    that were written, None where the prompt did not ask for it.
    """

    id: str
    text: str
    finish: str
    prompt_tokens: int | None
    output_tokens: int | None
    log_prob: float | None = None

    @property
    def answer(self) -> str:
        """The text without reasoning, special tokens at its end and wrappers (core/replies.py)."""
        return self._reading.answer

    @property
    def is_cut(self) -> bool:
        """Did the reply end before it was whole, by its finish reason or within its reasoning?"""
        return self._reading.unfinished or not is_complete(self.finish)

    def likelihoods(self, choices: Sequence[str]) -> Likelihoods:
        """How likely each choice is, by a reply to a prompt with choices."""
        return read_log_probs(self.text, choices)

    @cached_property
    def _reading(self) -> Reading:
        return read_reply(self.text)


@dataclass(frozen=True)
class Usage:
    """The work of ranking one query. Tokens and FLOPs are None where a server does not say them.

    `prompts` counts forwards (pairs, comparisons or windows); `repairs` counts what a listwise answer needed.
    `passages` were read, `cut_passages` of them not to their end; duoT5 counts its pairs. It is None where no one knows
    what was cut, as behind a server.
    """

    prompts: int = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    flops_paper: float | None = None
    flops_exact: float | None = None
    cut_passages: int = 0
    cut_queries: int = 0
    repairs: Mapping[str, int] = field(default_factory=dict)
    passages: int | None = None


@dataclass(frozen=True)
class Timing:
    """How fast, and on what: seconds per query (each alone, `sample` queries) and pairs per second (batched)."""

    p50: float
    p95: float
    sample: int
    pairs_per_second: float | None
    hardware: str


@dataclass(frozen=True)
class Cost:
    """The cost of the reranking behind a Result. Tokens and FLOPs are means per query, the counts totals.

    `rpp` and `qpp` are the E2R-FLOPs pair (headline metric per PFLOP, queries per PFLOP) under the `paper` and the
    `exact` estimate; what cannot be known is None. `passages` as in Usage; results before format 5 do not say it.
    """

    prompts: float
    input_tokens: float | None
    output_tokens: float | None
    flops_paper: float | None
    flops_exact: float | None
    rpp: Mapping[str, float | None]
    qpp: Mapping[str, float | None]
    cut_passages: int
    cut_queries: int
    repairs: Mapping[str, int]
    precision: str
    parameters: int | None
    timing: Timing | None
    passages: int | None = None

    @property
    def cut_share(self) -> float | None:
        """The share of passages that were cut, from 0 to 1; None where it is not known, or nothing was read."""
        if not self.passages:
            return None
        return self.cut_passages / self.passages


@dataclass(frozen=True)
class Convention:
    """How a number was made. Its digest goes into every Result, so that unlike numbers never meet unseen."""

    gain: str = "linear"  # trec_eval's; the other one in use is 2^grade - 1 (Burges et al. 2005)
    discount: str = "log2(rank + 1)"
    relevance_threshold: int = 1
    self_match: str = "keep"
    missing_queries: str = "count 0"  # as with trec_eval -c
    text_fields: tuple[str, ...] = ("title", "text")
    # trec_eval's rule, on which a run file's own ranks have no influence.
    ties: str = "scores as float32, then score descending, then document id descending as a string"
    excluded_ids: str = "keep"

    @property
    def digest(self) -> str:
        """sha256 of all fields that say something."""
        return digest_of(self._fields())

    def as_json(self) -> dict[str, Any]:
        """All fields that say something and the digest, as JSON holds them."""
        return self._fields() | {"text_fields": list(self.text_fields), "digest": self.digest}

    def _fields(self) -> dict[str, Any]:
        fields = asdict(self)
        # Results from before there were excluded ids keep their digests and their files.
        if self.excluded_ids == "keep":
            del fields["excluded_ids"]
        return fields


@dataclass(frozen=True)
class Task:
    """A test collection by name: where it is read, what it must hold, and the convention of its numbers.

    One that is not a `benchmark` is what training sets are made of. `aliases` are its names in other tools, `folder` is
    where a custom task lies, and `query_field` the field of ir_datasets' queries that is searched with ("": the one
    that ir_datasets takes by default). `subset_of` is the task whose queries and passages it has some of (NanoBEIR).
    """

    name: str
    title: str
    convention: Convention = field(default_factory=Convention)
    headline: str = "nDCG@10"
    split: str = "test"
    queries: int | None = None
    judgements: int | None = None
    # Counts of judgements in other honest copies, texts as TOML's keys are, and why these copies have them.
    also_judgements: Mapping[str, str] = field(default_factory=dict)
    qrels_md5: str | None = None
    qrels_digest: str | None = None
    documents: int | None = None
    ir_datasets: str | None = None
    hub: Mapping[str, str] | None = None
    licence: str | None = None
    needs_licence: str | None = None
    members: tuple[str, ...] = ()
    benchmark: bool = True
    language: str = "en"
    aliases: tuple[str, ...] = ()
    folder: Path | None = None
    query_field: str = ""
    subset_of: str = ""


# eq=False: arrays that are compared give arrays, which are neither true nor false.
@dataclass(frozen=True, eq=False)
class Run:
    """A ranking of passages for each query, always in the one ranking order (exabench.measure.runs makes them).

    `passage_ids` and `scores` are columns over all queries; `offsets[i]:offsets[i + 1]` are the rows of
    `query_ids[i]`, best first. `query_ids` is sorted. As a mapping it reads `{query_id: {passage_id: score}}`.
    `rank_disagreements` counts the queries in which the file's own ranks say another order than its scores (ties
    apart); 0 where there were no ranks.
    """

    name: str
    query_ids: tuple[str, ...]
    offsets: np.ndarray[Any, np.dtype[np.int64]]
    passage_ids: pa.StringArray
    scores: np.ndarray[Any, np.dtype[np.float32]]
    rank_disagreements: int = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.query_ids)

    def __len__(self) -> int:
        return len(self.query_ids)

    def __getitem__(self, query_id: str) -> dict[str, float]:
        rows = self.rows(query_id)
        if rows is None:
            raise KeyError(query_id)
        return dict(zip(self.passage_ids[rows].to_pylist(), self.scores[rows].tolist(), strict=True))

    def rows(self, query_id: str) -> slice | None:
        """The rows of a query, or None where the run does not answer it."""
        place = self._places.get(query_id)
        if place is None:
            return None
        return slice(int(self.offsets[place]), int(self.offsets[place + 1]))

    def ranking(self, query_id: str) -> list[str]:
        """The passage ids of a query, best first; empty where the run does not answer it."""
        rows = self.rows(query_id)
        if rows is None:
            return []
        return self.passage_ids[rows].to_pylist()

    @cached_property
    def _places(self) -> dict[str, int]:
        return {query_id: i for i, query_id in enumerate(self.query_ids)}


@dataclass(frozen=True)
class Credit:
    """Whose work a first stage is. What is not given is "unknown", or empty for `link` and `description`.

    `owner` is the account or the group that made it, `licence` that of its model or index, `training_data` names data
    sets, none of them for a first stage that learnt nothing.
    """

    owner: str = "unknown"
    link: str = ""
    licence: str = "unknown"
    training_data: tuple[str, ...] | str = "unknown"
    description: str = ""


@dataclass(frozen=True)
class Coverage:
    """How far candidate lists go, counted.

    `judged` and `answered` queries, those `without_text`, those `missing` from lists that were given, the `short` lists
    that hold fewer passages than the depth, and the passages of the `shortest` and the `longest` list.
    """

    judged: int
    answered: int
    without_text: int
    missing: int
    short: int
    shortest: int
    longest: int


@dataclass(frozen=True)
class Candidates:
    """A frozen first-stage Run for a Task at a depth: what everybody reranks, known by its digest.

    `parameters` are what the first stage says of itself, `options` what it was given, with paths from the working
    folder on. Lists that were frozen before there were options and coverage have None. `credit` says whose work the
    first stage is.
    """

    name: str
    task: str
    retriever: str
    parameters: Mapping[str, Any]
    depth: int
    digest: str
    queries: int
    recall: float
    source: str
    qrels_digest: str
    convention_digest: str
    licence: str | None = None
    options: Mapping[str, Any] | None = None
    coverage: Coverage | None = None
    credit: Credit = Credit()

    def as_json(self) -> dict[str, Any]:
        """Every field, as JSON holds it; older lists keep the fields that they had, for results repeat them."""
        fields = asdict(self)
        for name in ("options", "coverage"):
            if fields[name] is None:
                del fields[name]
        if self.credit == Credit():
            del fields["credit"]
        elif isinstance(self.credit.training_data, tuple):  # JSON has lists alone
            fields["credit"]["training_data"] = list(self.credit.training_data)
        return fields


@dataclass(frozen=True)
class Submission:
    """An entry for the board: a model, runs, runs made by calling an API, or one of exabench's baselines.

    Of kind `model`: `reranker` is a part of the shelf, `model` a Hub id or a local folder at `revision`, and
    `options` the part's other options. Of kind `api`: `reranker` calls `endpoint` for `model`, on the sender's
    machine. `family`, `strategy`, `template`, `precision` describe the run; `training_data` and
    `synthetic_data` name data sets, or are "unknown", and `teacher` is who wrote the synthetic ones. `type` is the kind
    of system, such as cross-encoder. Runs of one system that differ only by chance are its samples: each is a
    submission of the same `system` with its own `sample` number, from 1. `interpolate` is the weight of a model whose
    scores are mixed with the first stage's, None where they are not. `notes` say, by task and candidate list
    ("mini.bm25-100"), what was odd when its endpoint was called. `withdrawn` is the reason why it no longer counts,
    empty while it does. `sender` is the Hub account that sent it, where a queue has seen that.
    """

    name: str
    kind: str
    licence: str
    training_data: tuple[str, ...] | str
    link: str = ""
    contact: str = ""
    description: str = ""
    reranker: str = ""
    model: str = ""
    revision: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""
    family: str = ""
    strategy: str = ""
    template: str = ""
    precision: str = ""
    synthetic_data: tuple[str, ...] | str = ()
    teacher: str = ""
    endpoint: str = ""
    bibtex: str = ""
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    withdrawn: str = ""
    type: str = ""
    system: str = ""
    sample: int = 0
    sender: str = ""
    interpolate: float | None = None

    @cached_property
    def slug(self) -> str:
        """The name as a file name: `owner/model` becomes `owner--model`."""
        # No part of a name may hold `--` or end in `-` (bench.submissions), so two names never share a file, and the
        # owner can be read off it.
        return self.name.replace("/", "--")

    @property
    def owner(self) -> str:
        """Who sends it: the name up to the slash."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class BoardChange:
    """One line of a board's change log: a number that came, changed or went (None), when and why."""

    date: str
    submission: str
    task: str
    candidates: str
    metric: str
    before: float | None
    after: float | None
    reason: str


@dataclass(frozen=True, repr=False)
class Measurement:
    """The worth of a run on a set of judgements: values, intervals, per-query values, ties, conventions.

    `abstention` holds what is one number of the whole run and has no value for a query: nAUC, None where undefined.
    """

    run: str
    task: str | None
    convention: Convention
    headline: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    queries: int
    missing_queries: int
    extra_queries: int
    ties: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...] = ()
    abstention: Mapping[str, float | None] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> float:
        return self.metrics[metric]

    def __repr__(self) -> str:
        low, high = self.interval
        value = f"{self.headline} {self.metrics[self.headline]:.4f} [{low:.4f}, {high:.4f}]"
        return f"<Measurement of {self._title}: {value}, {len(self.metrics)} metrics, {self.queries} queries>"

    # IPython asks every value for a method of this name.
    def _repr_html_(self) -> str:
        rows = []
        for row in self.rows():
            rows.append((row["metric"], row["value"], f"[{row['low']:.4f}, {row['high']:.4f}]"))
        return html_table(self._title, ("metric", "value", "95% interval"), rows)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each metric: its value and the bounds of its 95% interval."""
        rows = []
        for metric, value in self.metrics.items():
            low, high = self.intervals[metric]
            rows.append({"metric": metric, "value": value, "low": low, "high": high})
        return rows

    def to_pandas(self) -> Any:
        """`rows` as a pandas DataFrame. Raises MissingExtra where pandas is not installed."""
        return data_frame(self.rows())

    @property
    def _title(self) -> str:
        return f"{self.run} on {self.task}" if self.task else self.run

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the headline metric."""
        return self.intervals[self.headline]

    def as_json(self) -> dict[str, Any]:
        """The object that `bench score --json` prints."""
        values = vars(self) | {
            "convention": self.convention.as_json(),
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
            "notes": list(self.notes),
        }
        if not self.abstention:  # results of a board have none
            del values["abstention"]
        return values


@dataclass(frozen=True, repr=False)
class Result:
    """The result of one Submission on one Task and Candidates, with everything needed to compute it again.

    `first_stage` and `ceiling` are the same metrics of the candidates as they were and in their best order;
    `gain` is the paired test of the headline metric against the first stage (statistics.PairedTest). `model` is
    the reranker as it was loaded (name, revision, template, strategy, precision), empty where there was none; `format`
    says by which rules the numbers were made.
    """

    submission: str
    state: str
    candidates: Candidates
    measurement: Measurement
    first_stage: Mapping[str, float]
    ceiling: Mapping[str, float]
    gain: Mapping[str, Any]
    run_digest: str
    completed: int
    qrels_digest: str
    qrels_source: str
    versions: Mapping[str, str]
    command: str
    created: str
    model: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost | None = None
    format: int = RESULT_FORMAT

    def __getitem__(self, metric: str) -> float:
        return self.measurement[metric]

    def __repr__(self) -> str:
        headline = self.measurement.headline
        low, high = self.interval
        value = f"{headline} {self[headline]:.4f} [{low:.4f}, {high:.4f}]"
        before = f"{self.candidates.name} {self.first_stage[headline]:.4f}"
        return f"<Result of {self.submission} on {self.task}: {value}, first stage {before}>"

    def _repr_html_(self) -> str:
        title = f"{self.submission} on {self.task} ({self.candidates.name})"
        rows = []
        for row in self.rows():
            interval = f"[{row['low']:.4f}, {row['high']:.4f}]"
            rows.append((row["metric"], row["value"], interval, row["first_stage"], row["ceiling"]))
        return html_table(title, ("metric", "value", "95% interval", "first stage", "ceiling"), rows)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each metric: its value, the bounds of its 95% interval, the first stage's value, the ceiling."""
        rows = []
        for row in self.measurement.rows():
            metric = row["metric"]
            row["first_stage"] = self.first_stage[metric]
            row["ceiling"] = self.ceiling[metric]
            rows.append(row)
        return rows

    def to_pandas(self) -> Any:
        """`rows` as a pandas DataFrame. Raises MissingExtra where pandas is not installed."""
        return data_frame(self.rows())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the headline metric."""
        return self.measurement.interval

    @property
    def task(self) -> str:
        """The task's name."""
        return self.candidates.task

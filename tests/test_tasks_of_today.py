"""NanoBEIR, BRIGHT, MIRACL, TREC-DL 2021 to 2023, LoTTE and NovelEval: their table, and their layouts as published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import ir_datasets
import pytest
from hub_double import HubDouble, repository
from toys import Given, ShortestFirst, write_beir, write_run, write_submission

from exabench import evaluate, score
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.files import read_json
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.runs import read_run, run_in_order
from exabench.tasks.catalogue import expand, suites, task, tasks
from exabench.tasks.collections import judgements_of, open_collection

REPO = "owner/Toy"
TEXTS = {
    "d1": "Bats hear the echoes of their own calls.",
    "d2": "Bats hang upside down and hear well.",
    "d3": "Whales hear far under water.",
    "d4": "The sky is blue since blue light is scattered most.",
}
QUERIES = {"q1": "how do bats hear", "q2": "why is the sky blue"}
NANO = {
    ("corpus", "train"): [{"_id": id, "text": text} for id, text in TEXTS.items()],
    ("queries", "train"): [{"_id": id, "text": text} for id, text in QUERIES.items()],
    ("qrels", "train"): [{"query-id": "q1", "corpus-id": "d1"}, {"query-id": "q2", "corpus-id": "d4"}],
}
BRIGHT = {
    ("documents", "biology"): [{"id": id, "content": text} for id, text in TEXTS.items()],
    ("long_documents", "biology"): [{"id": "page", "content": " ".join(TEXTS.values())}],
    ("examples", "biology"): [
        {
            "id": "q1",
            "query": QUERIES["q1"],
            "reasoning": "",
            "excluded_ids": ["d2"],
            "gold_ids_long": ["page"],
            "gold_ids": ["d1", "d3"],
            "gold_answer": "",
        },
        {
            "id": "q2",
            "query": QUERIES["q2"],
            "reasoning": "",
            "excluded_ids": ["N/A"],
            "gold_ids_long": ["page"],
            "gold_ids": ["d4"],
            "gold_answer": "",
        },
    ],
}
LOTTE = {
    (f"writing_search-{config}", "test"): [{"score": 1, **row} for row in rows] for (config, _), rows in NANO.items()
} | {("science_forum-corpus", "test"): [{"_id": "other", "text": "other"}]}


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def place(commit: str, config: str) -> dict[str, str]:
    return {"repo": REPO, "revision": commit, "config": config}


def headline(task_name: str) -> float:
    """The nDCG@10 of the run that was sent in."""
    return float(read_json(f"board/results/acme--good/{task_name}.bm25-3.json")["measurement"]["metrics"]["nDCG@10"])


def pass_through_a_board(name: object, task_name: str, ranking: Run, retriever: str = "bm25") -> None:
    """Candidates, evaluation, a submitted run, baselines, verification and pages, in the working folder."""
    arguments = ["--retriever", retriever, "--depth", 3, "--name", "bm25-3", "--board", "board"]
    assert run("bench", "candidates", name, *arguments) == 0
    results = evaluate(ShortestFirst(), task_name, candidates="bm25-3", board="board")
    assert 0 < results[task_name].measurement["nDCG@10"] <= 1
    write_run(Path("sent.trec"), ranking)
    submission = write_submission(Path("sent"))
    sent = ["--run", f"{task_name}=sent.trec", "--board", "board"]
    assert run("bench", "submit", submission, *sent) == 0
    for command in (["bench", "run"], ["bench", "verify"], ["board", "build"]):
        assert run(*command, "--board", "board") == 0
    assert Path(f"board/results/acme--good/{task_name}.bm25-3.json").is_file()


def test_nanobeir_has_one_split_and_no_grades(dataset_hub: HubDouble) -> None:
    dataset_hub.commit(REPO, repository(NANO))
    ranking = run_in_order("r", {"q1": ["d1", "d2"], "q2": ["d4"]})
    pass_through_a_board(f"hub:{REPO}", "owner-toy", ranking)
    assert headline("owner-toy") == 1.0


def test_bright_excludes_passages_before_the_cut_in_a_run_that_is_sent_and_at_scoring(
    dataset_hub: HubDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset_hub.commit(REPO, repository(BRIGHT))
    Path("toy.toml").write_text(f'source = "hub:{REPO}"\nsplit = "biology"\nexcluded_ids = "drop"\n')
    ranking = run_in_order("r", {"q1": ["d2", "d1", "d3"], "q2": ["d4"]})
    pass_through_a_board("toy.toml", "toy", ranking)
    assert "1 passage that the task excludes" in capsys.readouterr().err
    assert read_run("board/candidates/toy/bm25-3.trec.gz").ranking("q1") == ["d1", "d3"], "d2 goes before the cut"
    assert headline("toy") == 1.0
    for page in ("tasks/toy", "results/acme--good/toy.bm25-3"):
        assert "passages that a query excludes are dropped" in Path(f"board/site/{page}.html").read_text(), page
    measured = score("sent.trec", task="toy.toml")
    assert measured.metrics["nDCG@10"] == 1.0
    assert any("1 passage that the task excludes" in note for note in measured.notes)


def test_a_folder_holds_excluded_ids_beside_its_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    passages = [Passage(id, text) for id, text in TEXTS.items()]
    write_beir(
        Path("toy"), Given([Query(*one) for one in QUERIES.items()], passages, {"q1": {"d1": 1}, "q2": {"d4": 1}})
    )
    Path("toy/task.toml").write_text('excluded_ids = "drop"\n')
    write_run(Path("sent.trec"), run_in_order("r", {"q1": ["d2", "d1"], "q2": ["d4"]}))
    with pytest.raises(BadInput, match=r"toy/queries.jsonl: no query has the key excluded_ids, which toy needs"):
        score("sent.trec", task="./toy")
    rows = [{"_id": "q1", "text": QUERIES["q1"], "excluded_ids": ["d2"]}, {"_id": "q2", "text": QUERIES["q2"]}]
    Path("toy/queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    measured = score("sent.trec", task="./toy")
    assert measured["nDCG@10"] == 1.0
    assert "1 passage that the task excludes" in " ".join(measured.notes)
    assert run("bench", "candidates", "./toy", "--depth", 1, "--board", "board") == 0
    assert read_run("board/candidates/toy/bm25-1.trec.gz").ranking("q1") == ["d1"]


def test_bright_without_the_rule_for_excluded_ids_is_told_how_to_say_it(dataset_hub: HubDouble) -> None:
    dataset_hub.commit(REPO, repository(BRIGHT))
    with pytest.raises(BadInput, match='a task.toml with these lines: .*split = "DOMAIN", excluded_ids = "drop"'):
        open_collection(task(f"hub:{REPO}"))


def test_parts_of_a_repository_are_read_by_their_config(dataset_hub: HubDouble) -> None:
    commit = dataset_hub.commit(REPO, repository({**LOTTE, **BRIGHT}))
    lotte = replace(tasks()["lotte-writing-search"], ir_datasets=None, hub=place(commit, "writing_search"))
    found = open_collection(lotte)
    assert [query.text for query in found.queries()] == list(QUERIES.values())
    assert [passage.id for passage in found.passages()] == list(TEXTS)
    assert found.qrels("test") == {"q1": {"d1": 1}, "q2": {"d4": 1}}

    long = replace(tasks()["bright-long-biology"], hub=place(commit, "long_documents"))
    found = open_collection(long)
    assert [passage.id for passage in found.passages()] == ["page"]
    assert found.qrels("biology") == {"q1": {"page": 1}, "q2": {"page": 1}}


class MiraclDoc(NamedTuple):
    """A document as ir_datasets has those of MIRACL."""

    doc_id: str
    title: str
    text: str

    def default_text(self) -> str:
        return f"{self.title} {self.text}"


class TrecQuery(NamedTuple):
    """A topic as ir_datasets has those of TREC."""

    query_id: str
    title: str
    description: str
    narrative: str

    def default_text(self) -> str:
        return self.title


class TrecParsedDoc(NamedTuple):
    """A document as ir_datasets has those of TREC's disks."""

    doc_id: str
    title: str
    body: str

    def default_text(self) -> str:
        return f"{self.title} {self.body}"


class GenericQuery(NamedTuple):
    """A query as ir_datasets has most of them."""

    query_id: str
    text: str

    def default_text(self) -> str:
        return self.text


class TrecQrel(NamedTuple):
    """A judgement as ir_datasets has them."""

    query_id: str
    doc_id: str
    relevance: int
    iteration: str


@dataclass
class Collected:
    """What ir_datasets.load gives, with the methods that are asked."""

    queries: Sequence[Any]
    docs: Sequence[Any] = ()
    qrels: Sequence[Any] = ()

    def queries_iter(self) -> Iterator[Any]:
        return iter(self.queries)

    def docs_iter(self) -> Iterator[Any]:
        return iter(self.docs)

    def docs_count(self) -> int | None:
        return None  # as for most collections before their index is built

    def qrels_iter(self) -> Iterator[Any]:
        return iter(self.qrels)

    def docs_store(self) -> Collected:
        return self

    def get_many_iter(self, ids: Sequence[str]) -> Iterator[Any]:
        return (document for document in self.docs if document.doc_id in ids)


def test_miracl_is_searched_in_its_language_and_read_as_ir_datasets_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jnius_config")
    toy = Collected(
        [GenericQuery("7", "miten lepakot kuulevat"), GenericQuery("8", "miksi taivas on sininen")],
        [
            MiraclDoc("1#0", "Lepakot", "Lepakko kuulee kaiun."),
            MiraclDoc("1#1", "Lepakot", "Lepakot nukkuvat päivällä."),
            MiraclDoc("2#0", "Taivas", "Sininen valo siroaa."),
        ],
        [TrecQrel("7", "1#0", 1, "Q0"), TrecQrel("7", "1#1", 0, "Q0"), TrecQrel("8", "2#0", 1, "Q0")],
    )
    monkeypatch.setattr(ir_datasets, "load", lambda id: {"miracl-toy/fi/dev": toy}[id])
    monkeypatch.chdir(tmp_path)
    Path("miracl-toy.toml").write_text('source = "irds:miracl-toy/fi/dev"\nsplit = "dev"\nlanguage = "fi"\n')
    assert run("bench", "candidates", "miracl-toy.toml", "--board", "board") == 2
    assert "bm25 supports only English, and these texts are in 'fi'" in capsys.readouterr().err
    ranking = run_in_order("r", {"7": ["1#0", "1#1"], "8": ["2#0"]})
    pass_through_a_board("miracl-toy.toml", "miracl-toy", ranking, "pyserini")
    assert headline("miracl-toy") == 1.0
    assert read_json("board/candidates/miracl-toy/bm25-3.json")["parameters"]["language"] == "fi"


def test_robust04_asks_with_the_description_as_beir_does(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = TrecQuery("301", "International Organized Crime", "Identify organizations that\ntake part.", "Any.")
    document = TrecParsedDoc("FT911-1", "Crime", "The police of two countries met.")
    monkeypatch.setattr(ir_datasets, "load", lambda id: Collected([topic], [document]))
    found = open_collection(task("robust04"))
    assert list(found.passages()) == [Passage("FT911-1", "Crime The police of two countries met.")], "the title once"
    assert list(found.queries()) == [Query("301", "Identify organizations that take part.")]
    assert (task("robust04").queries, task("beir/robust04").name) == (249, "robust04")


@pytest.mark.parametrize("name", ["robust04", "bright-biology", "nano-scifact", "miracl-fi", "trec-dl-2022"])
def test_a_toy_under_the_name_of_a_published_task_is_refused(tmp_path: Path, name: str) -> None:
    given = Given([Query("1", "a"), Query("2", "b")], [Passage("d", "a b")], {"1": {"d": 1}, "2": {"d": 1}})
    write_beir(tmp_path / name, given, tasks()[name].split)
    message = f"task {name} from .* has 2 queries where the table says {tasks()[name].queries}"
    with pytest.raises(BadInput, match=message):
        judgements_of(name, None, tmp_path, None, None)


def test_noveleval_is_read_as_rankgpt_holds_it(tmp_path: Path) -> None:
    folder = tmp_path / "noveleval"
    folder.mkdir()
    (folder / "corpus.tsv").write_text("0-0\tA film of 2023.\n0-1\tAnother.\n")
    (folder / "queries.tsv").write_text("0\tWhich film?\n")
    (folder / "qrels.txt").write_text("0 Q0 0-0 2\n0 Q0 0-1 0\n")
    found = open_collection(task("NovelEval"), tmp_path)
    assert list(found.queries()) == [Query("0", "Which film?")]
    assert list(found.passages()) == [Passage("0-0", "A film of 2023."), Passage("0-1", "Another.")]
    assert found.qrels("test") == {"0": {"0-0": 2, "0-1": 0}}
    with pytest.raises(BadInput, match="has 1 queries where the table says 21"):
        judgements_of("noveleval", None, tmp_path, None, None)
    (folder / "corpus.tsv").write_text("0-0 A film of 2023.\n")
    with pytest.raises(BadInput, match=r"corpus.tsv:1: has no tab; a line has an id and a text"):
        list(found.passages())


SIZES = {
    "nano-beir": 13,
    "bright": 12,
    "bright-long": 8,
    "miracl": 18,
    "trec-dl-21-23": 3,
    "lotte-search": 6,
    "lotte-forum": 6,
    "lotte": 12,
}


@pytest.mark.parametrize("suite", SIZES)
def test_every_task_of_a_suite_says_what_it_must_hold_and_where_it_is_read(suite: str) -> None:
    members = expand(suite)
    assert len(members) == len(suites()[suite]) == SIZES[suite]
    for one in members:
        assert one.queries and one.judgements and one.documents and one.licence, one.name
        assert one.ir_datasets or (one.hub and len(one.hub["revision"]) == 40), one.name


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ("NanoArguAnaRetrieval", "nano-arguana"),
        ("zeta-alpha-ai/NanoSciFact", "nano-scifact"),
        ("nano-beir/quora", "nano-quora"),
        ("BrightBiologyRetrieval", "bright-biology"),
        ("bright/earth_science", "bright-earth-science"),
        ("miracl/fi/dev", "miracl-fi"),
        ("miracl-v1.0-sw-dev", "miracl-sw"),
        ("dl21-passage", "trec-dl-2021"),
        ("msmarco-passage-v2/trec-dl-2023/judged", "trec-dl-2023"),
        ("lotte/writing/test/search", "lotte-writing-search"),
    ],
)
def test_names_of_other_tools_are_known(other: str, name: str) -> None:
    assert task(other).name == name


def test_a_repository_of_many_tasks_is_the_name_of_none() -> None:
    for repo in ("xlangai/BRIGHT", "mteb/LoTTE"):
        with pytest.raises(BadInput):
            task(repo)


def test_the_list_of_tasks_is_grouped_by_suite_and_can_be_asked_for_some(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "tasks") == 0
    listed = capsys.readouterr().out
    for name in tasks():
        assert f"\n{name} " in listed, name
    assert listed.count("\nscifact ") == 1, "a task stands under one suite"
    assert run("bench", "tasks", "NanoBEIR") == 0
    listed = capsys.readouterr().out
    assert "nano-beir: NanoBEIR, all 13\n" in listed and "\nnano-nq " in listed and "trec-dl-2022 " not in listed
    assert run("bench", "tasks", "nano-bier") == 2
    assert "unknown task 'nano-bier'; did you mean nano-beir" in capsys.readouterr().err
    assert run("bench", "score", "none.trec", "--task", "nano-beir") == 2

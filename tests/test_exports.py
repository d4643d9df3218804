"""Exports: every format from every family that holds what it needs, read back as the format's own reader reads it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import datasets
import pytest
from click.testing import CliRunner
from models import classifier_folder
from sentence_transformers.cross_encoder import (
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
    losses,
)

import exabench
from exabench.cli import exabench as commands, main
from exabench.core.errors import BadInput, CannotWrite, UnknownName
from exabench.core.rows import FAMILIES, Row
from exabench.data.building import Sources
from exabench.data.exports import EXPORTS
from exabench.data.releases import rows
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

ON_GROUPS = {"flagembedding", "sentence_transformers", "tevatron"}
HELD = {  # what each family holds is written once more here, so that a format that forgets one is seen
    "contrastive": ON_GROUPS | {"beir"},
    "explanations": ON_GROUPS | {"beir", "exaranker"},
    "listwise": ON_GROUPS | {"rank_llm", "twolar"},
    "scored": ON_GROUPS | {"rank_llm", "twolar"},
}
PAIRS = [(family, format) for family in FAMILIES for format in sorted(EXPORTS)]
SUFFIX = {"beir": "", "exaranker": ".tsv", "rank_llm": ".json", "sentence_transformers": ".parquet"}


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a release of each family, each of `mini`."""
    root = tmp_path_factory.mktemp("releases")
    for family in FAMILIES:
        exabench.build(f"mini-{family}", root / family, sources=Sources(replies=root / "replies.sqlite"))
    return root


@pytest.fixture
def exported(releases: Path, tmp_path: Path) -> Callable[[str, str], tuple[list[Row], Path]]:
    """The rows of a family, and the file that they were exported to."""

    def write(family: str, format: str) -> tuple[list[Row], Path]:
        release = releases / family / "release"
        to = tmp_path / f"{format}{SUFFIX.get(format, '.jsonl')}"
        exabench.export(release, family, format, to)
        return list(rows(release, family, "train")), to

    return write


def flat(title: str, text: str) -> str:
    return f"{title} {text}".strip()


def lines(file: Path) -> list[dict[str, Any]]:
    """As FlagEmbedding and Tevatron read a file: by `datasets`, in the json format."""
    return datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(file.parent)).to_list()


def in_order(row: Row) -> tuple[list[str], list[float]]:
    """The texts of a row of an order, best first, and their numbers: scores, or 1 over the rank."""
    texts = [flat(*fields) for fields in zip(row["titles"], row["passages"], strict=True)]
    return texts, row.get("scores") or [1 / (1 + place) for place in range(len(texts))]


# -- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "format"), PAIRS)
def test_a_table_goes_into_the_formats_that_can_hold_it_and_the_others_name_those(
    family: str, format: str, releases: Path, tmp_path: Path
) -> None:
    release = releases / family / "release"
    first, second = tmp_path / f"one{SUFFIX.get(format, '.jsonl')}", tmp_path / f"two{SUFFIX.get(format, '.jsonl')}"
    if format in HELD[family]:
        assert exabench.export(release, family, format, first).rows > 10
        exabench.export(release, family, format.replace("_", "-"), second)
        assert content(first) == content(second), "the same rows give the same bytes"
        return
    with pytest.raises(BadInput) as refused:
        exabench.export(release, family, format, first)
    told = f"table {family} contains {family} rows, and {format} cannot hold them; export it as: "
    assert told + ", ".join(sorted(HELD[family])) in str(refused.value) and not first.exists()


def content(place: Path) -> dict[str, bytes]:
    files = [place]
    if place.is_dir():
        files = [file for file in place.rglob("*") if file.is_file()]
    return {str(file.relative_to(place)): file.read_bytes() for file in files}


def test_unknown_formats_tables_and_splits_are_refused_by_name(releases: Path, tmp_path: Path) -> None:
    release = releases / "scored" / "release"
    for asked, told in (
        (("scored", "tevatorn"), "unknown format 'tevatorn'; did you mean tevatron"),
        (("lists", "tevatron"), "unknown table 'lists'; choose from: scored"),
        (("scored", "tevatron", "tain"), "unknown split of scored 'tain'; did you mean train"),
    ):
        table, format, *split = asked
        with pytest.raises(UnknownName, match=told):
            exabench.export(release, table, format, tmp_path / "out", split=(split or ["train"])[0])
    assert not (tmp_path / "out").exists()


def test_what_was_there_stays_where_an_export_fails(releases: Path, tmp_path: Path) -> None:
    release = releases / "explanations" / "release"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"mine: is not empty, and a folder in BEIR's layout is written whole"):
        exabench.export(release, "explanations", "beir", tmp_path / "mine")
    with pytest.raises(BadInput, match=r"notes.txt: FlagEmbedding reads files whose names end in .jsonl or .json"):
        exabench.export(release, "explanations", "flagembedding", tmp_path / "mine" / "notes.txt")
    with pytest.raises(CannotWrite, match="mine: cannot be written"):
        exabench.export(release, "explanations", "exaranker", tmp_path / "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_the_command_says_what_it_wrote_and_what_it_left_out(releases: Path, tmp_path: Path) -> None:
    asked = ["data", "export", str(releases / "explanations" / "release"), "explanations", "--to"]
    done = CliRunner().invoke(commands, [*asked, str(tmp_path / "a.jsonl"), "--format", "tevatron"])
    assert "22 rows: " in done.stdout
    assert "2 queries are left out: without a relevant passage, or without another one" in done.stderr
    done = CliRunner().invoke(commands, [*asked, str(tmp_path / "b.jsonl"), "--format", "tevatron", "--json"])
    assert json.loads(done.stdout) == {"file": str(tmp_path / "b.jsonl"), "left_out": 2, "rows": 22}
    assert main(["data", "export", *asked[2:], str(tmp_path / "c"), "--format", "rank-llm"]) == 2


# -- sentence-transformers ------------------------------------------------------------------------------------


def train_one_step(examples: datasets.Dataset, loss: Callable[[CrossEncoder], Any], folder: Path) -> float:
    """The loss of one step of a tiny cross-encoder, by the trainer of sentence-transformers itself."""
    model = CrossEncoder(str(classifier_folder(folder / "model")), device="cpu", num_labels=1)
    told = {"max_steps": 1, "per_device_train_batch_size": 4, "report_to": "none", "use_cpu": True}
    arguments = CrossEncoderTrainingArguments(str(folder / "trained"), save_strategy="no", disable_tqdm=True, **told)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = CrossEncoderTrainer(model=model, args=arguments, train_dataset=examples, loss=loss(model))
    value = float(trainer.train().training_loss)
    assert any((value != before[name]).any() for name, value in model.named_parameters()), "the step moved weights"
    return value


@pytest.mark.parametrize(
    ("family", "loss"),
    [
        ("explanations", losses.BinaryCrossEntropyLoss),
        ("contrastive", losses.LambdaLoss),
        ("contrastive", losses.ListNetLoss),
        ("listwise", losses.RankNetLoss),
        ("listwise", losses.PListMLELoss),
        ("scored", losses.ListNetLoss),
    ],
)
def test_sentence_transformers_takes_a_training_step_on_its_export(
    family: str, loss: Callable[[CrossEncoder], Any], exported: Any, tmp_path: Path
) -> None:
    ours, file = exported(family, "sentence-transformers")
    examples = datasets.load_dataset("parquet", data_files=str(file), split="train", cache_dir=str(tmp_path))
    assert len(examples) == len(ours)
    assert 0 < train_one_step(examples, loss, tmp_path) < 100


def test_the_columns_for_sentence_transformers_are_texts_and_labels_alone(exported: Any) -> None:
    for family in FAMILIES:
        ours, file = exported(family, "sentence_transformers")
        examples = datasets.Dataset.from_parquet(str(file), cache_dir=str(file.parent / family))
        for row, example in zip(ours, examples, strict=True):
            if family == "explanations":
                passage = flat(row["title"], row["passage"])
                assert example == {"query": row["query"], "passage": passage, "label": int(row["relevant"])}
                continue
            if family == "contrastive":
                texts = [flat(row["positive_title"], row["positive"])]
                texts += [flat(*each) for each in zip(row["negative_titles"], row["negatives"], strict=True)]
                labels = [1.0] + [0.0] * len(row["negatives"])
            else:
                texts, labels = in_order(row)
            assert example == {"query": row["query"], "docs": texts, "labels": labels}


@pytest.mark.parametrize(
    ("family", "loss"),
    [
        ("explanations", losses.BinaryCrossEntropyLoss),
        ("contrastive", losses.LambdaLoss),
        ("listwise", losses.RankNetLoss),
        ("scored", losses.ListNetLoss),
    ],
)
def test_a_published_table_is_trained_on_as_its_card_says(
    family: str, loss: Callable[[CrossEncoder], Any], releases: Path, tmp_path: Path
) -> None:
    folder = releases / family / "release"
    card = (folder / "README.md").read_text(encoding="utf-8")
    [lines] = re.findall(r"give its trainer the columns that its losses read:\n\n```python\n(.*?)```", card, re.DOTALL)
    loaded = datasets.load_dataset(str(folder), family, split="train", cache_dir=str(tmp_path / "cache"))
    told = {"rows": loaded}
    exec(lines, told)
    assert len(told["examples"]) == len(loaded)
    assert 0 < train_one_step(told["examples"], loss, tmp_path) < 100


# -- groups of positives and negatives ------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["contrastive", "listwise", "scored"])
def test_flagembedding_and_tevatron_get_a_line_for_each_row(family: str, exported: Any) -> None:
    ours, file = exported(family, "flagembedding")
    theirs = lines(file)
    for row, line in zip(ours, theirs, strict=True):
        assert (line["id"], line["query"]) == (row["id"], row["query"])
        if family == "contrastive":
            assert line.keys() == {"id", "query", "pos", "neg"}
            assert line["pos"] == [flat(row["positive_title"], row["positive"])]
            assert line["neg"] == [flat(*each) for each in zip(row["negative_titles"], row["negatives"], strict=True)]
        else:
            assert line.keys() == {"id", "query", "pos", "neg", "pos_scores", "neg_scores"}
            assert (line["pos"] + line["neg"], line["pos_scores"] + line["neg_scores"]) == in_order(row)
            assert len(line["pos"]) == 1, "of an order the best passage counts as the positive one"

    ours, file = exported(family, "tevatron")
    for row, line, other in zip(ours, lines(file), theirs, strict=True):
        assert line.keys() == {"id", "query_id", "query", "positive_passages", "negative_passages"}
        assert (line["id"], line["query_id"], line["query"]) == (row["id"], row["query_id"], row["query"])
        for passages, texts, scores in (
            (line["positive_passages"], other["pos"], other.get("pos_scores")),
            (line["negative_passages"], other["neg"], other.get("neg_scores")),
        ):
            assert [flat(passage["title"], passage["text"]) for passage in passages] == texts
            assert [passage.get("score") for passage in passages] == (scores or [None] * len(texts))
        ids = [passage["docid"] for passage in line["positive_passages"] + line["negative_passages"]]
        assert ids == (row.get("passage_ids") or [row["positive_id"], *row["negative_ids"]])


def pair(query: str, passage: str, relevant: bool, **other: str) -> Row:
    """A row of explanations; the id of a text is its first letter."""
    told = {"id": f"{query[0]}{passage[0]}", "query_id": query[0], "query": query, "passage_id": passage[0]}
    return {**told, "passage": passage, "title": "", "relevant": relevant, "input": "", "target": "", **other}


def write(format: str, family: str, given: Iterable[Row], to: Path) -> Any:
    return EXPORTS[format]().write(family, "train", list(given), to)


def test_pairs_are_put_together_by_their_query_wherever_they_lie(tmp_path: Path) -> None:
    given = [
        pair("one", "alpha", False),
        pair("two", "alpha", True),
        pair("one", "beta", True),
        pair("three", "alpha", True),  # nothing else to rank it against
        pair("one", "gamma", True),
        pair("one", "beta", True, id="again"),
        pair("two", "delta", False),
        pair("four", "alpha", False),  # nothing relevant
    ]
    given[3]["query_id"] = "3"  # two and three begin with one letter
    written = write("flagembedding", "explanations", given, tmp_path / "out.jsonl")
    assert (written.rows, written.left_out) == (2, 2)
    assert lines(tmp_path / "out.jsonl") == [
        {"id": "oa", "query": "one", "pos": ["beta", "gamma"], "neg": ["alpha"]},
        {"id": "ta", "query": "two", "pos": ["alpha"], "neg": ["delta"]},
    ]


@pytest.mark.parametrize("format", ["beir", "flagembedding", "tevatron"])
def test_a_pair_with_two_labels_is_refused(format: str, tmp_path: Path) -> None:
    given = [pair("one", "alpha", True), pair("one", "beta", False), pair("one", "alpha", False, id="odd")]
    with pytest.raises(BadInput, match=r"another label .*\(id 'odd'\)"):
        write(format, "explanations", given, tmp_path / "out.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_table_without_any_whole_group_is_refused(tmp_path: Path) -> None:
    given = [pair("one", "alpha", True), pair("two", "beta", False)]
    with pytest.raises(BadInput, match="no query of this split has both a relevant passage and another one"):
        write("tevatron", "explanations", given, tmp_path / "out.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["flagembedding", "rank_llm", "sentence_transformers", "tevatron", "twolar"])
def test_a_row_whose_lists_do_not_fit_is_refused_by_its_id(format: str, tmp_path: Path) -> None:
    good = {"id": "a", "query_id": "q", "query": "why", "passage_ids": ["1", "2"], "titles": ["", ""]}
    good |= {"passages": ["one", "two"], "scores": [2.0, 1.0]}
    for change, told in (
        ({"titles": [""]}, "lists of ids, titles and texts that are not equally long"),
        ({"scores": [1.0]}, "has 2 passages and 1 labels"),
        ({"passage_ids": [], "titles": [], "passages": [], "scores": []}, "has 0 passages"),
    ):
        with pytest.raises(BadInput, match=rf"{told}.*\(id 'b'\)"):
            write(format, "scored", [good, {**good, "id": "b", **change}], tmp_path / "out.jsonl")
        assert not list(tmp_path.iterdir())
    without = {name: value for name, value in good.items() if name != "scores"}
    with pytest.raises(BadInput, match=r"lacks the field scores \(id 'a'\)"):
        write(format, "scored", [without], tmp_path / "out.jsonl")


# -- rank_llm -------------------------------------------------------------------------------------------------


def spoken(file: Path) -> list[dict[str, Any]]:
    """As rank_llm's training reads a file: all of it as one JSON value."""
    return json.loads(file.read_text(encoding="utf-8"))


def shown_passages(question: str) -> dict[str, str]:
    """The passages of a question of rank_llm by the name that they are shown under."""
    return dict(re.findall(r"^\[(\w+)\] (.*)$", question, re.MULTILINE))


def one_line(title: str, text: str) -> str:
    words = f"Title: {title} Content: {text}" if title else text
    return " ".join(words.split())


@pytest.mark.parametrize("family", ["listwise", "scored"])
def test_rank_llm_gets_a_conversation_whose_answer_is_the_teachers_order(family: str, exported: Any) -> None:
    ours, file = exported(family, "rank_llm")
    firsts = set()
    for row, line in zip(ours, spoken(file), strict=True):
        assert line.keys() == {"id", "conversations"} and line["id"] == row["id"]
        assert [turn["from"] for turn in line["conversations"]] == ["system", "human", "gpt"]
        _, question, answer = [turn["value"] for turn in line["conversations"]]
        shown = shown_passages(question)
        assert list(shown) == [chr(ord("A") + place) for place in range(len(row["passages"]))]
        named = re.fullmatch(r"\[[A-Z]\]( > \[[A-Z]\])*", answer)[0]
        best_first = [shown[name] for name in re.findall(r"[A-Z]", named)]
        assert best_first == [one_line(*each) for each in zip(row["titles"], row["passages"], strict=True)]
        if family == "listwise":
            by_rank = sorted(zip(row["first_stage_ranks"], best_first, strict=True))
            assert list(shown.values()) == [text for _, text in by_rank], "shown in the first stage's order"
        firsts.add(answer[:3])
    assert len(firsts) > 3, "the best passage is not always shown in one place"


def test_rank_llm_is_asked_in_the_words_of_its_own_prompts(tmp_path: Path) -> None:
    """rank_zephyr_alpha_template.yaml and rank_zephyr_template.yaml of castorini/rank_llm, filled in."""

    def given(count: int) -> Row:
        told = {"id": "a", "query_id": "q", "query": "why [1]", "passage_ids": [str(i) for i in range(count)]}
        told |= {"titles": ["T"] + [""] * (count - 1), "passages": [f"text [{i}]\nmore" for i in range(count)]}
        return {**told, "first_stage_ranks": list(range(1, count + 1))}

    for count, kind, example, answer in (
        (3, "an alphabetical", "[B] > [A]", "[A] > [B] > [C]"),
        (27, "a numerical", "[2] > [1]", " > ".join(f"[{number}]" for number in range(1, 28))),
    ):
        write("rank_llm", "listwise", [given(count)], tmp_path / "out.json")
        [line] = spoken(tmp_path / "out.json")
        system, question, told = [turn["value"] for turn in line["conversations"]]
        assert told == answer
        assert system.startswith("You are RankLLM, an intelligent assistant that can rank passages")
        first, *between, asked, last = question.split("\n")
        assert first == (
            f"I will provide you with {count} passages, each indicated by {kind} identifier []. "
            "Rank the passages based on their relevance to the search query: why (1)."
        )
        assert between[0].partition(" ")[2] == "Title: T Content: text (0) more" and len(between) == count
        assert asked == "Search Query: why (1)."
        assert last.startswith(f"Rank the {count} passages above") and f"e.g., {example}, Answer" in last


def test_a_list_without_ranks_is_not_shown_to_rank_llm_in_the_teachers_order(tmp_path: Path) -> None:
    told = {"query_id": "q", "query": "why", "passage_ids": list("abcdef"), "titles": [""] * 6}
    given = [{**told, "id": f"r{n}", "passages": list("abcdef"), "first_stage_ranks": []} for n in range(20)]
    write("rank_llm", "listwise", given, tmp_path / "out.json")
    answers = {line["conversations"][2]["value"] for line in spoken(tmp_path / "out.json")}
    assert len(answers) > 10 and "[A] > [B] > [C] > [D] > [E] > [F]" not in answers
    with pytest.raises(BadInput, match=r"has one passage; an order needs two or more \(id 'r0'\)"):
        one = {**given[0], "passage_ids": ["a"], "titles": [""], "passages": ["a"]}
        write("rank_llm", "listwise", [one], tmp_path / "out.json")


# -- collections ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["contrastive", "explanations"])
def test_a_folder_in_beirs_layout_holds_the_texts_and_labels_of_the_rows(family: str, exported: Any) -> None:
    ours, folder = exported(family, "beir")
    texts = {}
    wanted: dict[tuple[str, str], int] = {}
    for row in ours:
        if family == "explanations":
            found = [(row["passage_id"], row["title"], row["passage"], int(row["relevant"]))]
        else:
            found = [(row["positive_id"], row["positive_title"], row["positive"], 1)]
            negatives = zip(row["negative_ids"], row["negative_titles"], row["negatives"], strict=True)
            found += [(*negative, 0) for negative in negatives]
        for id, title, text, label in found:
            texts[id] = (title, text)
            wanted[row["query_id"], id] = label

    # As GenericDataLoader of beir reads it.
    read = {}
    for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        assert record.keys() == {"_id", "title", "text"}
        read[record["_id"]] = (record["title"], record["text"])
    assert read == texts
    with open(folder / "qrels" / "train.tsv", encoding="utf-8") as file:
        header, *judged = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_MINIMAL)
    assert header == ["query-id", "corpus-id", "score"]
    assert {(query, passage): int(grade) for query, passage, grade in judged} == wanted

    # And as exabench does: the folder is a collection that can be evaluated on.
    own = open_collection(task(str(folder)))
    assert {query.id: query.text for query in own.queries()} == {row["query_id"]: row["query"] for row in ours}


def test_one_id_with_two_texts_is_no_collection(tmp_path: Path) -> None:
    given = [pair("one", "alpha", True), pair("one", "another", False, id="odd")]
    with pytest.raises(BadInput, match=r"has passage 'a' with another text than an earlier row \(id 'odd'\)"):
        write("beir", "explanations", given, tmp_path / "out")
    given = [pair("one", "alpha", True), pair("other", "beta", False, id="odd")]
    with pytest.raises(BadInput, match=r"has query 'o' with another text than an earlier row \(id 'odd'\)"):
        write("beir", "explanations", given, tmp_path / "out")
    assert not list(tmp_path.iterdir())


# -- releases of earlier versions -----------------------------------------------------------------------------


def test_lists_of_earlier_releases_are_exported_with_one_over_the_rank(releases: Path, tmp_path: Path) -> None:
    ours = [dict(row) for row in rows(releases / "listwise" / "release", "listwise", "train")]
    for row in ours:
        row.pop("labels", None)
        row.pop("method", None)
    write("flagembedding", "listwise", ours, tmp_path / "out.jsonl")
    for row, line in zip(ours, lines(tmp_path / "out.jsonl"), strict=True):
        assert line["pos_scores"] + line["neg_scores"] == [1 / rank for rank in range(1, len(row["passages"]) + 1)]

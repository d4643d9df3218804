"""Cards say what the Release says, no value of it is ever markup, and what people wrote stays as they wrote it."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hub_client import write_release
from hypothesis import example, given, settings, strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from toys import features_of

from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.rows import FAMILIES, MEANINGS, DataFile, Release, Table
from exabench.data.releases import read, rows, save, write_table
from exabench.hub.cards import card, changelog, template_for
from exabench.hub.cards.front_matter import refresh
from exabench.hub.cards.markdown import code, figures, plain, table
from exabench.tasks.catalogue import task

GOLDEN = Path(__file__).parent / "golden"
TEMPLATES = (
    "exaranker-open twolar-distill domain-contrastive contrastive-human scored-rrf exabench-mini default".split()
)
DIGEST = "3f" * 32
HOSTILE = (
    "<script>alert(1)</script>", "a | b", "<!-- /exabench -->", "x\n\n# y", "```", "[a](b)", "{{ 1 }}", "---\nx: 1",
    "no", "1e5", "0o7", "null", "~", "2024-01-01", "\\|", "`a|b`", "<!-- exabench: figures -->", "x\n---\n", "- a: b",
)  # fmt: skip
ODD = ": # - ' \" { } | ` < > & * _ [ ] ~ $ ! \\ \n \r \t \x85 \u2028 \u202e \x00 א 語 é 0 1 e".split(" ")
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NASTY = st.text(st.sampled_from(ODD)) | ANYTHING | st.sampled_from(HOSTILE)


def a_table(name: str, family: str, **changes: Any) -> Table:
    def file(split: str, part: int, of: int, rows: int) -> DataFile:
        return DataFile(f"data/{name}/{split}-{part:05d}-of-{of:05d}.parquet", DIGEST, 1000 + rows, rows)

    spread = {"mean": 6.25, "p5": 3, "p50": 6, "p95": 11, "min": 2, "max": 17}
    reasons = {"rejected: empty reply": 201, "skipped: near duplicate": 42}
    teacher = {"engine": "vllm", "model": "acme/teacher-7b", "revision": "4f" * 20, "seed": 7}
    report = {
        **{"rows": 15007, "query words": spread, "passage words": spread | {"mean": 60.123456}},
        "labels": {"relevant": 0.5, "not relevant": 0.5},
        "leaks": {"rows": 12, "rate": 0.0008, "benchmarks": {"scifact": {"rows": 12, "query text": 12}}},
        "overlap": {"cropped": {"queries": 10, "rates": {"bm25": {"splade": 0.2, "dragon": 0.29}}}},
        "something_new": {"a": [1, 2], "b": None},
    }
    table = Table(
        family=family,
        licence="cc-by-4.0",
        recipe={"title": "A small set", "builder": "twolar", "options": {"documents": 30, "leave_out": ["bm25"]}},
        fingerprint=f"sha256:{'5a' * 32}",
        counts={"input": 15250, "good": 15007, "quarantined": 201, "skipped": 42, "reasons": reasons},
        teacher=teacher | {"server": "http://10.1.2.3:8000/v1"},
        prompt=f"explain@sha256:{'7b' * 32}",
        tokens={"replies": 15208, "prompt_tokens": 9876543, "output_tokens": 765432},
        replayable=True,
        report=report,
        splits={
            "validation": (file("validation", 0, 1, 7),),
            "train": (file("train", 0, 2, 10000), file("train", 1, 2, 5000)),
        },
    )
    return dataclasses.replace(table, **changes)


def a_release(name: str = "twolar-distill", **changes: Any) -> Release:
    tables = {
        "listwise-20k": a_table("listwise-20k", "listwise"),
        "by-people": a_table("by-people", "explanations", teacher={}, prompt="", licence="cc0-1.0", tokens={}),
    }
    replies = DataFile("replies/listwise-20k.parquet", DIGEST, 5)
    return dataclasses.replace(Release(name, "1.2.0", tables, (replies,)), **changes)


def made(release: Release, existing: str = "") -> str:
    return card(release, template_for(release.name), existing=existing)


def front(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


def tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text.split("---\n", 2)[2])


def test_a_card_shows_rows_says_how_to_load_them_and_what_each_field_means_before_it_counts(tmp_path: Path) -> None:
    assert main(["data", "build", "mini-explanations", "--to", str(tmp_path)]) == 0
    text = (tmp_path / "release" / "README.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    order = ["Look at the data", "How to load it", "Fields", "How it was made", "Source collections"]
    assert headings[:6] == [*order, "Version 1.0.0 in figures"]
    assert "| `relevant` | bool | the label: does the passage answer the query? |" in text
    assert "| mini (comes with exabench) (`mini`) | en | 240 | CC0-1.0 | `explanations` |" in text
    about = front(text)
    assert about["language"] == ["en"] and about["annotations_creators"] == ["other"]
    assert (about["language_creators"], about["multilinguality"]) == (["other"], "monolingual")
    assert about["source_datasets"] == ["original"] and "synthetic" in about["tags"]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_three_rows_are_shown_in_words(family: str, tmp_path: Path) -> None:
    assert main(["data", "build", f"mini-{family}", "--to", str(tmp_path)]) == 0
    shown = (tmp_path / "release" / "README.md").read_text().partition("## How to load it")[0]
    for row in list(rows(tmp_path / "release", family, "train"))[:3]:
        best = row.get("passage") or row.get("positive") or row["passages"][0]
        assert row["query"][:100] in shown and best[:100] in shown.replace("\\", "")
        assert row["id"] not in shown.partition("## Look")[2] and "sha256" not in shown
        if family == "explanations":
            assert f"**Explanation:** {row['explanation'][:60]}" in shown
            assert ("| not relevant |" in shown) or row["relevant"]
        if family == "listwise":
            assert f"| rank {row['first_stage_ranks'][0]} in {row['first_stage']} |" in shown
        if family == "scored":
            assert f"| score {row['scores'][0]:.4g} |" in shown
    assert shown.count("**Query") == 3


def test_rows_of_tables_that_were_published_before_stay_on_the_card(tmp_path: Path) -> None:
    shown = {}
    for family in ("listwise", "scored"):
        assert main(["data", "build", f"mini-{family}", "--to", str(tmp_path / family)]) == 0
        shown[family] = sample_of((tmp_path / family / "release" / "README.md").read_text())
        assert main(["data", "publish", str(tmp_path / family / "release"), "--to", str(tmp_path / "both")]) == 0
    both = sample_of((tmp_path / "both" / "README.md").read_text())
    rows_of_scored = shown["scored"].partition("### ")[2]
    assert both == f"{shown['listwise']}\n\n### {rows_of_scored}"


def sample_of(text: str) -> str:
    return text.partition("<!-- exabench: sample -->\n")[2].partition("<!-- /exabench -->")[0].strip()


def test_every_table_has_a_line_that_loads_it_from_where_it_was_published() -> None:
    text = card(a_release(), template_for("default"), repository="acme/lists")
    for name in ("listwise-20k", "by-people"):
        assert f'rows = load_dataset("acme/lists", "{name}", split="train", revision="v1.2.0")' in text
    assert "OWNER" not in text
    assert 'load_dataset("OWNER/twolar-distill", "by-people"' in made(a_release())


def test_languages_and_licences_are_those_of_the_collections() -> None:
    both = {"listwise-20k": [task("scifact"), task("miracl-ja")], "by-people": [task("scifact")]}
    text = card(a_release("default"), template_for("default"), sources=both, languages=["en", "ja"])
    about = front(text)
    assert (about["language"], about["multilinguality"]) == (["en", "ja"], "multilingual")
    scifact = task("scifact")
    told = f"| {scifact.title} (`scifact`) | en | 5,183 | {plain(scifact.licence)} | `by-people`, `listwise-20k` |"
    assert told in text
    assert scifact.hub["repo"] in about["source_datasets"]
    assert "language" not in front(made(a_release("default"))), "nothing says what language the texts are in"


def test_a_licence_that_is_other_has_the_name_of_the_terms_it_was_inherited_from() -> None:
    table = a_table("by-people", "explanations", teacher={}, prompt="", tokens={}, licence="other")
    release = a_release("default", tables={"by-people": table})
    for source, name in (("trec-dl-2019", "ms-marco-terms-non-commercial-research-only"), ("scifact", None)):
        about = front(card(release, template_for("default"), sources={"by-people": [task(source)]}))
        assert (about["license"], about.get("license_name")) == ("other", name)


def test_figures_of_a_table_name_no_replies_that_nobody_gave(tmp_path: Path) -> None:
    assert main(["data", "build", "mini-scored", "--to", str(tmp_path)]) == 0
    text = (tmp_path / "release" / "README.md").read_text().partition("in figures")[2]
    made_with = text.partition("Of 60 inputs")[0]
    assert "`rrf(bm25,bm25-long)`" in made_with and "tokens" not in made_with and "replies" not in made_with
    # Each figure once; a count of passages is no share of rows.
    assert text.count(" 600 |") == 2 and "First stages (share of rows)" not in text
    assert "| Passages in a list | 10 | 10 |" in text


def test_tables_in_what_is_known_of_a_teacher_are_shown_in_words() -> None:
    teacher = {"model": "gpt", "recorded": True, "scores": {"scale": "log-odds", "letters": ["A", "B"]}}
    text = made(a_release("default", tables={"set": a_table("set", "explanations", teacher=teacher)}))
    made_with = text.partition("| made with |")[2].partition("recipe's fingerprint")[0]
    assert (
        "| teacher's scores.scale | `log-odds` |" in made_with
        and "| replies | recorded, and played back |" in made_with
    )
    assert "{" not in made_with and "'" not in made_with.replace("teacher's", "")


def test_every_field_of_every_family_has_a_meaning() -> None:
    for fields in FAMILIES.values():
        assert fields.keys() <= MEANINGS.keys()


def test_what_a_model_wrote_is_synthetic_and_what_people_wrote_is_not() -> None:
    people = a_table("by-people", "explanations", teacher={}, prompt="", tokens={})
    assert "synthetic" in front(made(a_release("default")))["tags"]
    about = front(made(a_release("default", tables={"by-people": people})))
    assert "synthetic" not in about["tags"] and about["language_creators"] == ["found"]
    assert about["annotations_creators"] == ["found"]
    recipe = {"builder": "imported", "options": {"made_by": "gpt-4"}}
    imported = dataclasses.replace(people, recipe=recipe)
    about = front(made(a_release("default", tables={"by-gpt": imported})))
    assert "synthetic" in about["tags"] and about["annotations_creators"] == ["machine-generated"]
    fused = a_table("fused", "scored", teacher={"model": "rrf"}, prompt="", tokens={})
    about = front(made(a_release("scored-rrf", tables={"fused": fused})))
    assert "synthetic" not in about["tags"] and about["annotations_creators"] == ["machine-generated"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_cards_are_the_golden_ones_type_no_figure_and_hold_no_html_but_our_marks(name: str) -> None:
    golden, text = GOLDEN / f"card-{name}.md", made(a_release(name))
    if os.environ.get("REFRESH_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    told = "if this is meant: REFRESH_GOLDEN=1 python -m pytest tests/test_cards.py"
    assert golden.is_file() and golden.read_text(encoding="utf-8") == text, told
    assert_only_our_marks(text)
    prose = re.sub(r"^---\n.*?^---\n", "", template_for(name), flags=re.DOTALL | re.MULTILINE)
    named = r"```bibtex.*?```|\[arXiv \S+\]\(\S+\)|CC0 1\.0|Table 1|Llama-2|from 0|from 1"
    assert not re.findall(r"\d+", re.sub(named, "", prose, flags=re.DOTALL))
    parsed = pytest.importorskip("huggingface_hub").DatasetCard(text)  # the Hub's own parser
    assert parsed.data.to_dict() == {key: value for key, value in front(text).items() if value is not None}
    assert parsed.text == text.split("---\n", 2)[2]
    assert set(parsed.data.task_categories) == {"text-ranking", "text-retrieval"}


def assert_only_our_marks(text: str) -> None:
    inner = [child for token in tokens(text) for child in token.children or ()]
    html = [token.content for token in [*tokens(text), *inner] if token.type.startswith("html")]
    for line in "\n".join(html).splitlines():
        assert not line.strip() or re.fullmatch(r"<!-- (exabench: \w+|/exabench) -->", line.strip())


def test_the_size_category_follows_from_the_rows() -> None:
    sizes = {0: "n<1K", 999: "n<1K", 1000: "1K<n<10K", 9_999_999: "1M<n<10M", 10**11: "100B<n<1T", 10**12: "n>1T"}
    for count, size in sizes.items():
        only = a_table("a", "listwise", splits={"train": (DataFile("data/a/train-0.parquet", DIGEST, 1, count),)})
        assert front(made(a_release(tables={"a": only})))["size_categories"] == [size]


def test_a_licence_that_the_hub_does_not_know_is_other_and_named_and_none_is_refused() -> None:
    def licensed(*licences: str) -> tuple[Any, Any]:
        tables = {str(i): a_table("a", "listwise", licence=licence) for i, licence in enumerate(licences)}
        seen = front(made(a_release(tables=tables)))
        return seen["license"], seen.get("license_name")

    assert licensed("MIT", "mit") == ("mit", None)
    assert licensed("MS MARCO (non-commercial)", "cc0-1.0") == (["cc0-1.0", "other"], "ms-marco-non-commercial")
    with pytest.raises(BadInput, match="no licence"):
        licensed(" ")


def test_a_card_does_not_hang_on_the_order_of_mappings(tmp_path: Path) -> None:
    release = a_release()
    save(release, tmp_path)  # a manifest has its keys sorted
    assert made(read(tmp_path)) == made(release)


@example("---\nx: 1", "x\n---\n", "no")
@settings(max_examples=15)
@given(NASTY, NASTY, NASTY)
def test_front_matter_parses_back_to_what_was_written(title: str, tag: str, licence: str) -> None:
    values = {"pretty_name": title, "tags": [tag, "a"], licence or "x": {"b": [title, 1, None, True]}}
    block = refresh("", values, ())
    assert yaml.safe_load(block) == values
    assert "\n---" not in f"\n{block}" and len(block.splitlines()) == block.count("\n")


@settings(max_examples=15)  # each one makes and reads two whole cards
@given(NASTY, NASTY, NASTY, NASTY)
def test_no_text_of_a_release_is_ever_markup(title: str, reason: str, key: str, value: str) -> None:
    hostile = a_table(
        "t",
        "listwise",
        recipe={"title": title, "note": value, key or "k": [value, {"x": reason}]},
        counts={"input": 3, "good": 1, "quarantined": 1, "skipped": 1, "reasons": {reason: 1, value: 1}},
        teacher={"model": value, "revision": key, key: title},
        prompt=reason,
        report={key: value, "matrix": {title: {reason: 1, "n": value}, "z": {"n": 2}}, "list": [title, value]},
    )
    release = a_release(name=title or "n", tables={"t": hostile}, files=())
    listed = {"passage_ids": list("abcd"), "titles": [title, "", value, key], "passages": [reason, key, value, title]}
    row = {**listed, "query": title, "explanation": reason, "first_stage": key, "first_stage_ranks": [1, 2, 3, 4]}
    samples = {"t": [row, row]}
    text = card(release, template_for("default"), samples=samples)
    assert front(text)["pretty_name"] == (title or "n")
    assert_only_our_marks(text)
    kinds = {token.type for token in tokens(text)} | {c.type for t in tokens(text) for c in t.children or ()}
    assert not kinds & {"link_open", "image", "em_open", "blockquote_open", "hr", "ordered_list_open"}
    fences = {t.info: t.content for t in tokens(text) if t.type == "fence"}
    assert fences["toml"].count("\n") == len(hostile.recipe)
    assert card(release, template_for("default"), samples=samples, existing=text) == text


@settings(max_examples=15)
@given(st.lists(st.lists(NASTY, min_size=3, max_size=3), max_size=4))
def test_rows_of_a_table_keep_their_cells(rows: list[list[str]]) -> None:
    found = tokens(f"---\n---\n{table(['a', 'b', 'c'], rows)}\n")
    seen = []  # the cells, as a reader of Markdown sees them
    for token, following in itertools.pairwise(found):
        if token.type in ("td_open", "th_open"):
            seen.append("".join(part.content for part in following.children or ()))
    for cell, shown in zip([*"abc", *itertools.chain(*rows)], seen, strict=True):
        assert " ".join("".join(c if c.isprintable() else " " for c in cell).split()) == shown
    assert sum(token.type == "tr_open" for token in found) == len(rows) + 1


def test_known_tricks_stay_text_and_numbers_are_shown_exactly_or_to_four_digits() -> None:
    for text in HOSTILE:
        for shown in (plain(text), code(text)):
            assert "<" not in shown and "\n" not in shown
            assert MarkdownIt("commonmark").enable("table").render(f"x {shown}").startswith("<p>x ")
    known = {1234567: "1,234,567", 0.123456: "0.1235", 12345.678: "12,345.7", True: "yes", None: "-"}
    assert {number: plain(number) for number in known} == known
    assert figures({}) == "" and "none" in figures({"empty": {}})


def test_what_people_wrote_survives_any_number_of_refreshes_byte_for_byte() -> None:
    ours = re.compile(r"^<!-- exabench: .*?^<!-- /exabench -->$", re.DOTALL | re.MULTILINE)
    written_by_hand = "\r\n## Mine  \r\n\r\n<b>bold</b>\ttext | $x$ \u2028 {{ no template }}\n\n---\n\n"
    keys = "# why: see the paper\nlanguage:\n- fr  # checked by hand\nmine:\n  x: !!str 1e5\n"
    edited = made(a_release()).replace("## Known limits", written_by_hand + "## Known limits")
    old = edited = edited.replace("task_categories:", keys + "task_categories:")
    for number in range(3):
        release = a_release(version=f"1.{number + 3}.0")
        new = made(release, old)
        assert ours.split(new.split("---\n", 2)[2]) == ours.split(edited.split("---\n", 2)[2])
        assert keys in new
        assert f"Version 1.{number + 3}.0 in figures" in new and made(release, new) == new
        old = new


def test_a_card_without_our_marks_gets_our_sections_added_and_tables_that_left_leave_it() -> None:
    theirs = "---\nlicense: mit\ndataset_info:\n  x: 1\n# about tags\ntags: [a]\n---\n# Their card\n\nTheir words."
    new = made(a_release(), theirs)
    assert new.split("---\n", 2)[2].startswith("# Their card\n\nTheir words.\n\n<!-- exabench: sample -->\n")
    assert front(new)["tags"] == ["a"] and front(new)["license"] == ["cc-by-4.0", "cc0-1.0"]
    assert "# about tags\ntags: [a]\n" in new and "x: 1" not in new
    assert made(a_release(), new) == new
    assert made(a_release(), "only words").count("only words") == 1
    left = made(a_release(tables={"by-people": a_release().tables["by-people"]}), new)
    assert "listwise-20k" not in left.replace("replies/listwise-20k.parquet", "")
    assert front(left)["dataset_info"]["config_name"] == "by-people"


@settings(max_examples=15)
@given(st.text(st.sampled_from("ab\n\r-# <>!|é`"), max_size=80), st.text(st.sampled_from("ab\n\r# é"), max_size=40))
def test_any_words_around_our_sections_stay(before: str, after: str) -> None:
    template = "<!-- exabench: figures -->\nVersion {{ release.version }}\n<!-- /exabench -->\n"
    new = card(a_release(tables={}), template, existing=f"---\nx: 1\n---\nwords {before}")
    assert new.split("---\n", 2)[2].startswith(f"words {before}") and "\nVersion 1.2.0\n" in new
    again = card(a_release(tables={}, version="2.0.0"), template, existing=new + after)
    assert again == new.replace("Version 1.2.0", "Version 2.0.0") + after


@pytest.mark.parametrize(
    ("existing", "said"),
    [
        ("<!-- exabench: figures -->\nno end", "has no matching <!-- /exabench -->"),
        ("<!-- exabench: a -->\n<!-- exabench: b -->\n<!-- /exabench -->", "has no matching <!-- /exabench -->"),
        ("---\na: [1\n---\n", "not YAML"),
        ("---\n- a\n---\n", "key: value"),
        ("---\n{a: 1}\n---\n", "key: value"),
        ("---\na: 1\na: 2\n---\n", "twice"),
        ("---\nconfigs: &c [1]\nmine: *c\n---\n", "front matter"),
    ],
)
def test_an_existing_card_that_cannot_be_told_apart_is_refused(existing: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        made(a_release(), existing)


def test_templates_are_found_by_name_and_one_that_cannot_be_filled_in_is_one_line() -> None:
    assert template_for("acme/twolar-distill") == template_for("twolar-distill") != template_for("default")
    for other in ("unheard-of", "_figures", "../README", ""):
        assert template_for(other) == template_for("default")
    for template in ("{{ nothing }}", "{% if %}", "{{ release.name.__class__.mro() }}", "{{ 1 / 0 }}"):
        with pytest.raises(BadInput, match="cannot be filled in"):
            card(a_release(), template)


def test_the_changelog_has_one_entry_a_version_newest_first_and_keeps_what_people_wrote() -> None:
    first = changelog(a_release(version="1.0.0"), [])
    assert first == "# Changelog\n\n## 1.0.0\n\n<!-- exabench: 1.0.0 -->\n- First version.\n<!-- /exabench -->\n"
    noted = first.replace("## 1.0.0\n", "## 1.0.0\n\nWe were happy.\n")
    second = changelog(a_release(version="1.10.0"), ["table a: 3 rows added: <b>, x|y"], noted)
    third = changelog(a_release(version="1.9.0"), [], second)
    assert re.findall(r"^## (.*)$", third, re.MULTILINE) == ["1.10.0", "1.9.0", "1.0.0"]
    escaped = "table a: 3 rows added: &lt;b&gt;, x\\|y"
    assert "We were happy." in third and f"- {escaped}\n" in third
    assert changelog(a_release(version="1.9.0"), [], third) == third
    assert changelog(a_release(version="1.10.0"), ["another line"], third) == third.replace(escaped, "another line")


def test_a_changelog_of_somebody_s_own_is_added_to() -> None:
    theirs = "# History\n\nWords.\n\n## 2.0.0 (soon)\n\n* a plan\n\n## v1.0.0\nold"
    new = changelog(a_release(version="1.5.0"), ["x"], theirs)
    section = "<!-- exabench: 1.5.0 -->\n- x\n<!-- /exabench -->"
    assert new == theirs.replace("## v1.0.0", f"## 1.5.0\n\n{section}\n\n## v1.0.0")
    own = changelog(a_release(version="2.0.0"), ["x"], theirs)
    assert own.count("2.0.0 (soon)") == 1 and "## 2.0.0 (soon)\n\n<!-- exabench: 2.0.0 -->\n- x\n" in own
    with pytest.raises(BadInput, match="CHANGELOG.md"):
        changelog(a_release(), [], "<!-- exabench: 1.0.0 -->\n")


def test_datasets_reads_the_folder_by_its_card_streaming_and_not(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder, blank, tables = tmp_path / "tiny", {"string": "", "bool": True, "int64": 0, "double": 0.5}, {}
    for family, fields in FAMILIES.items():
        row = {name: blank[kind] if kind in blank else [blank[kind[5:-1]]] for name, kind in fields.items()}
        rows = [row | {"id": f"{family} {number}"} for number in range(8)]
        splits = {"train": rows[:5], "validation": rows[5:]}
        tables[family] = a_table(family, family, splits=write_table(folder, family, family, splits, rows_per_file=3))
    (folder / "README.md").write_text(made(Release("tiny", "1.0.0", tables)), encoding="utf-8")
    stale = folder / "data" / "listwise" / "train-00002-of-00003.parquet"  # of an earlier version: not to be read
    stale.write_bytes((folder / "data" / "contrastive" / "train-00000-of-00002.parquet").read_bytes())
    assert datasets.get_dataset_config_names(str(folder)) == sorted(FAMILIES)
    for family in FAMILIES:
        found = datasets.load_dataset(str(folder), family, cache_dir=str(tmp_path / "cache"))
        assert {name: rows.num_rows for name, rows in found.items()} == {"train": 5, "validation": 3}
        assert found["train"].features == features_of(family)
        streamed = datasets.load_dataset(str(folder), family, split="train", streaming=True)
        assert list(streamed) == found["train"].to_list()


def test_a_card_of_a_file_that_is_not_as_the_manifest_says_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "release"
    release = write_release(folder, {"first": ["sky", "sea"]})
    [listed] = release.tables["first"].files
    columns = dict.fromkeys(release.tables["first"].columns, [0.5, float("nan")])
    pq.write_table(pa.table(columns), folder / listed.path)
    assert main(["data", "card", str(folder)]) == 2
    said = capsys.readouterr().err
    assert listed.path in said and "where the manifest says" in said and said.count("\n") == 1

"""Characters that turn text around, hide in it or drive a terminal: no file that exabench makes for people has one."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from test_cards import a_release, a_table
from toys import SUBMISSION, row, toml

from exabench.bench.ledger import Ledger
from exabench.bench.settings import read_settings
from exabench.bench.submissions import read_submission
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.errors import BadInput, ExabenchError
from exabench.core.files import digest_of, json_text, toml_text
from exabench.hub.cards import card, template_for
from exabench.tasks.custom import file_task

UNSEEN = "\x00\x07\x1b\x7f\x80\x85\x9f\u061c\u200b\u200e\u2028\u2029\u202a\u202e\u2066\u2069\ufeff"
ODD = "".join(f"a{sign}b" for sign in UNSEEN)


def unseen_in(text: str) -> set[str]:
    return set(text) & set(UNSEEN)


def planted(value: Any) -> Any:
    """A value with odd characters behind every text and key of it, but for what is checked against something."""
    if isinstance(value, dict):
        return {key + ODD: planted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [planted(one) for one in value]
    return value + ODD if isinstance(value, str) else value


def test_every_file_of_a_site_is_free_of_them_wherever_they_were_planted(board: Path, tmp_path: Path) -> None:
    description = board / "candidates" / "mini" / "bm25-20.json"
    values = json.loads(description.read_bytes())
    for key in ("retriever", "source", "licence"):
        values[key] = f"{values[key]}{ODD}"
    values["parameters"], values["options"] = planted({"a": "b"}), planted({"c": ["d"], "e": {"f": "g"}})
    credit = {
        "owner": "o",
        "link": "https://example.org/",
        "licence": "mit",
        "training_data": ["x"],
        "description": "d",
    }
    values["credit"] = {key: planted(value) for key, value in credit.items()}
    description.write_text(json.dumps(values))
    for file in board.glob("results/*/*.json"):
        result = json.loads(file.read_bytes())
        result["candidates"] = values
        for key in ("command", "qrels_source"):
            result[key] += ODD
        result["versions"] = {**result["versions"], "numpy": ODD}
        result["measurement"]["notes"] = [ODD]
        del result["digest"]
        file.write_text(json.dumps({**result, "digest": digest_of(result)}))
    (board / "reported").mkdir()
    line = {"system": ODD, "dataset": "mini", "first_stage": ODD, "topk": "20", "metric": "nDCG@10", "value": "0.5"}
    out = io.StringIO()
    writer = csv.DictWriter(out, [*line, "source"])
    writer.writeheader()
    writer.writerow({**line, "source": ODD.replace("\x00", "")})
    (board / "reported" / "t.csv").write_text(out.getvalue().replace("\x00", ""))
    (board / "reported" / "tables.toml").write_text(f"[t]\ntitle = {toml_text('T' + ODD)}\nabout = {toml_text(ODD)}\n")
    lines = (board / "changes.jsonl").read_text().splitlines()
    changed = json.loads(lines[-1])
    changed["reason"] = ODD
    (board / "changes.jsonl").write_text("\n".join([*lines[:-1], json.dumps(changed), ""]))
    site = tmp_path / "site"
    render(Board.read(board), site)
    files = [file for file in site.rglob("*") if file.is_file()]
    assert len(files) > 30
    for file in files:
        text = file.read_bytes().decode("utf-8", "ignore")
        if file.suffix == ".parquet":
            text = "".join(str(cell) for line in pq.read_table(file).to_pylist() for cell in line.values())
        if file.suffix not in (".png", ".woff2"):
            assert not unseen_in(text), file
    assert "<U+202E>" in (site / "data" / "board.json").read_text()


@pytest.mark.parametrize("sign", UNSEEN, ids=lambda sign: f"U+{ord(sign):04X}")
def test_texts_that_people_write_are_refused_with_them(tmp_path: Path, sign: str) -> None:
    file = tmp_path / "x.toml"
    for key in ("description", "contact", "link", "teacher", "family", "strategy", "template", "precision", "bibtex"):
        text = {"contact": "https://a.org/", "link": "https://a.org/", "bibtex": "@misc{a}"}.get(key, "") + f"a{sign}b"
        file.write_text(toml(SUBMISSION | {key: text}))
        with pytest.raises(BadInput, match=f"{key} must"):
            read_submission(file)
    for key in ("title", "description", "source", "contact", "citation", "licence", "url"):
        file.write_text(toml({"title": "T", "tasks": ["mini"], key: f"a{sign}b"}))
        with pytest.raises(BadInput, match=key):
            read_settings(file)
    file.write_text(toml({"title": "T", "tasks": ["mini"], "views": {f"a{sign}b": ["mini"]}}))
    with pytest.raises(BadInput, match="must be text on one line"):
        read_settings(file)
    for key in ("title", "language", "licence"):
        file.write_text(toml({"source": "irds:vaswani", key: f"a{sign}b"}))
        with pytest.raises(BadInput, match=f"{key} .* must be text on one line"):
            file_task(file)


def test_json_and_toml_hold_them_as_escapes_and_read_the_same() -> None:
    value = {f"key{ODD}": [ODD, {"x": ODD}]}
    assert not unseen_in(json_text(value)) and json.loads(json_text(value)) == value
    text = f"value = {toml_text(value)}"
    assert not unseen_in(text) and tomllib.loads(text)["value"] == value


def test_options_of_a_submission_keep_them_as_escapes(board: Path) -> None:
    values = {**SUBMISSION, "name": "acme/asks", "kind": "api", "reranker": "unchanged", "model": "m"}
    values |= {"endpoint": "https://example.org/v1", "options": {"prompt": ODD}}
    file = board.parent / "s.toml"
    file.write_text(toml(values))
    filed = Ledger(board).add_submission(read_submission(file))
    assert not unseen_in(filed.read_text()) and read_submission(filed).options == {"prompt": ODD}


def test_a_card_is_free_of_them_whatever_a_release_holds() -> None:
    told = {
        **{
            "recipe": {"title": ODD, "note": ODD, "options": {"made_by": ODD}},
            "prompt": ODD,
            "report": {ODD: {"x": ODD}},
        },
        **{
            "teacher": {"model": ODD, "revision": ODD},
            "counts": {"input": 1, "good": 0, "quarantined": 1, "skipped": 0, "reasons": {ODD: 1}},
        },
    }
    release = a_release(name=ODD, tables={"x": a_table("x", "explanations", **told)}, files=())
    shown = row(id="1", query=ODD, passage=ODD, title=ODD, explanation=ODD)
    for name in ("default", "exaranker", "twolar"):
        assert not unseen_in(card(release, template_for(name), samples={"x": [shown]}))


def test_no_message_has_one() -> None:
    for error in (ExabenchError(ODD), BadInput(ODD, file=ODD, id=ODD)):
        assert not unseen_in(str(error)) and "\\u202e" in str(error)
    assert str(ExabenchError("a\nb")) == "a\nb"

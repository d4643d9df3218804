"""An audit calls suspicious texts problems, each kind with the number of its rows and the first of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exabench.cli import main

PLAIN = "The heart pumps blood through the arteries of the body, and back through the veins, every minute."
ODD = {
    "a control character": f"{PLAIN} \x00 and \x07",
    "a replacement character (U+FFFD)": f"{PLAIN} caf\ufffd",
    "a text of more than 100,000 characters": f"{PLAIN} " * 1_100,
    "a word of more than 1,000 characters": f"{PLAIN} {'A' * 1_001}",
    "a character that turns the direction of a text": f"{PLAIN} \u202eevil",
    "an HTML tag": f"<p>{PLAIN}</p><script>alert(1)</script>",
}
HONEST = [
    "Line\u2028separators, a tab\there, a family \U0001f469\u200d\U0001f467, and caf\u0065\u0301 are no problem.",
    "\u8fd9\u662f\u4e00\u4e2a\u5173\u4e8e\u5fc3\u810f\u5982\u4f55\u6cf5\u8840\u7684\u6bb5\u843d\u3002",
    "MS MARCO has that once decoded wrongly: the heart\u00e2\u0080\u0099s rate is an ordinary text there.",
    "If a < b and b > c, what is x in f(x) = <x>? An address: https://example.org/" + "path/" * 60,
]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A set of pairs of people's, one for each text."""
    folder = tmp_path / "odd"
    (folder / "qrels").mkdir(parents=True)
    judged = "query-id\tcorpus-id\tscore\n"
    with (folder / "corpus.jsonl").open("w") as corpus, (folder / "queries.jsonl").open("w") as queries:
        for number, text in enumerate([*ODD.values(), *HONEST, *[f"{PLAIN} Number {n}." for n in range(9)]]):
            corpus.write(json.dumps({"_id": f"p{number}", "text": text}) + "\n")
            queries.write(json.dumps({"_id": f"q{number}", "text": f"question number {number} about hearts"}) + "\n")
            judged += f"q{number}\tp{number}\t1\n"
    (folder / "qrels" / "train.tsv").write_text(judged)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'builder = "mined"\ndataset = "d"\ntable = "t"\nlicence = "cc0-1.0"\n[options]\n'
        f'task = "{folder}"\nretrievers = {{ bm25 = {{ part = "bm25" }} }}\nnegatives = 1\nskip_top = 1\n'
    )
    assert main(["data", "build", str(recipe), "--to", str(tmp_path / "work")]) == 0
    return tmp_path / "work" / "release"


def test_every_kind_of_suspicious_text_is_a_problem_of_the_audit_and_honest_texts_are_none(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["data", "audit", str(release), "--json"]) == 0
    problems = json.loads(capsys.readouterr().out)["problems"]
    found = {}
    for problem in problems:
        assert problem.startswith("t: ")
        kind = problem.partition(" has ")[2] or problem.partition(" have ")[2]
        found[kind.partition(", first")[0]] = problem
    assert found.keys() == ODD.keys()
    for place, kind in enumerate(ODD):
        assert "first" in found[kind] and "q" in found[kind].partition("first")[2], (place, found[kind])

"""Builds end: what answers nothing is set aside, a hopeless build is given up, and no rows are no release."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint, Handler, serving

import exabench
from exabench.cli import main
from exabench.core.errors import CheckFailed

GOOD = "The passage names the very thing that the question asks for, and says how it works."

REFUSALS = [
    "I'm unable to assist with that.",
    "I apologize, but this is not something I can explain.",
    "Unfortunately, I can\u2019t answer that.",
    "As a language model, I have no opinion on it.",
    "I cannot fulfill this request.",
    "I must respectfully decline.",
    "Lo siento, pero no puedo ayudar con eso.",
    "Je suis désolé, mais je ne peux pas répondre.",
    "Es tut mir leid, dabei kann ich nicht helfen.",
    "Mi dispiace, non posso rispondere.",
    "Desculpe, mas não posso ajudar com isso.",
    "Helaas kan ik hier niet bij helpen.",
    "Przepraszam, nie mogę pomóc.",
    "Извините, я не могу ответить.",
    "抱歉，我无法回答这个问题。",
    "申し訳ありませんが、お答えできません。",
    "죄송하지만 도와드릴 수 없습니다.",
    "عذرًا، لا أستطيع المساعدة.",
    "ขออภัย ฉันไม่สามารถตอบได้",
    "क्षमा करें, मैं उत्तर नहीं दे सकता।",
]
SAYING_NOTHING = [
    "N/A",
    "None",
    "null",
    "n/a.",
    "I don't know.",
    "Sure!",
    "无",
    "なし",
    "Explanation",
]
QUESTIONS = [
    "Please provide the passage.",
    "Could you please share the document?",
    "Hello! How can I assist you today?",
]
KINDS = {"refuses to answer": REFUSALS, "says nothing": SAYING_NOTHING, "asks for something": QUESTIONS}
ANSWERS = [
    "Unfortunately, the passage does not say how it works.",
    "None of its sentences names the thing.",
    "No, the passage is about bread alone.",
    "Sorry is a song by Justin Bieber, and the passage names it.",
    "Please note that the passage says how it works.",
    "As an AI pioneer, Turing is named in the passage.",
    "段落说明了原因，所以它回答了问题。",
]
INTRODUCTIONS = [
    "Sure! Here is the explanation: ",
    "Certainly!\n",
    "Here\u2019s why:\n\n",
    "好的，以下是解释：",
]


def acting(answer: Callable[[Any], str]) -> Callable[[Endpoint, Handler, Any], None]:
    """A server of OpenAI's protocol that says what `answer` makes of a request."""

    def act(here: Endpoint, handler: Handler, body: Any) -> None:
        message = {"role": "assistant", "content": answer(body)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        handler.send(200, {"choices": [choice], "usage": usage})

    return act


def in_turn(answers: list[str]) -> Callable[[Any], str]:
    """Each answer as often as the others."""
    asked = iter(range(1_000_000))
    return lambda body: answers[next(asked) % len(answers)]


def slowly(answer: str) -> Callable[[Any], str]:
    """The answer, after so long that each one is stored before the next prompt is sent."""

    def wait(body: Any) -> str:
        time.sleep(0.05)
        return answer

    return wait


def build(server: Endpoint, folder: Path, recipe: str = "mini-explanations", *options: str) -> int:
    """The exit code of a build whose teacher is the server."""
    teacher = f'teacher={{part="openai",model="m/m",base_url="{server.url}",retries=0,concurrency=1}}'
    told = ["data", "build", recipe, "--to", str(folder / "work"), "--replies", str(folder / "replies.db")]
    return main([*told, "--set", teacher, *options])


def quarantined(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "work" / "quarantine.jsonl").read_text().splitlines()
    return list(map(json.loads, lines))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    release = folder / "work" / "release"
    for split in ("train", "validation"):
        found += exabench.load(release, "explanations", split)
    return found


# -- answers that answer nothing -------------------------------------------------------------------------------


def test_an_explanation_that_refuses_says_nothing_or_asks_back_is_set_aside_by_kind(tmp_path: Path) -> None:
    bad = [*REFUSALS, *SAYING_NOTHING, *QUESTIONS]
    with serving(acting(in_turn([*bad, *[GOOD] * len(bad)]))) as server:
        build(server, tmp_path, "mini-explanations", "--set", "quality.most_rejected=1.0", "--set", "quality.near=0")
    found = quarantined(tmp_path)
    kind_of = {answer: kind for kind, answers in KINDS.items() for answer in answers}
    assert {one["replies"][0]["text"] for one in found} == set(bad), "every one of them was met"
    for one in found:
        assert one["reason"] == kind_of[one["replies"][0]["text"]], one
    assert {row["explanation"] for row in rows_of(tmp_path)} == {GOOD}


def test_an_explanation_that_begins_like_one_is_none_of_them_and_an_introduction_is_left_out(tmp_path: Path) -> None:
    introduced = [introduction + GOOD for introduction in INTRODUCTIONS]
    with serving(acting(in_turn([*ANSWERS, *introduced]))) as server:
        assert build(server, tmp_path) == 0
    assert quarantined(tmp_path) == []
    assert {row["explanation"] for row in rows_of(tmp_path)} == {*ANSWERS, GOOD}


def test_queries_that_are_no_queries_are_in_the_quarantine_with_reason_and_reply(tmp_path: Path) -> None:
    bad = ["I cannot create a search query.", "Here is a search query:", "N/A", "bees", "Please provide the passage."]
    good = iter(range(1000))

    def answer(body: Any) -> str:
        if "write one search query" not in json.dumps(body):
            return "not relevant"
        number = next(good)
        if number % 2:
            return bad[number // 2 % len(bad)]
        return f"why does thing number {number} happen"

    options = ("--go-on", "--set", "options.queries.count=40", "--set", "quality.most_rejected=1.0")
    with serving(acting(answer)) as server:
        assert build(server, tmp_path, "mini-contrastive", *options) == 1, "the judge calls nothing relevant"
    reasons = Counter(one["reason"] for one in quarantined(tmp_path))
    del reasons["positive judged not relevant"]
    wanted = ("refuses to answer", "empty", "says nothing", "too short", "asks for something")
    assert reasons == {f"query: {reason}": 4 for reason in wanted}
    for one in quarantined(tmp_path):
        assert one["replies"]


# -- builds that are given up ----------------------------------------------------------------------------------


def test_a_build_whose_first_answers_are_all_rejected_is_given_up_and_goes_on_where_it_is_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(acting(slowly("N/A"))) as server:
        assert build(server, tmp_path) == 1
        asked = len(server.asked)
        assert 50 <= asked <= 55, "50, and what was in flight then"
        message = capsys.readouterr().err.splitlines()[-1]
        assert "50 answers were all rejected (50 says nothing)" in message and "--go-on" in message
        assert not (tmp_path / "work" / "release").exists()
        assert build(server, tmp_path) == 1 and len(server.asked) <= asked + 5, "nothing is asked twice"
        assert build(server, tmp_path, "mini-explanations", "--go-on") == 1
        assert len(server.asked) == 120
        assert "has no rows" in capsys.readouterr().err.splitlines()[-1]
    assert len(quarantined(tmp_path)) == 120


def test_the_number_of_first_answers_is_the_recipes_and_one_good_answer_is_enough(tmp_path: Path) -> None:
    answers = ["N/A"] * 9 + [GOOD]
    with serving(acting(in_turn(answers))) as server:
        options = ("--set", "quality.give_up_after=9", "--set", "quality.most_rejected=1.0")
        assert build(server, tmp_path / "nine", "mini-explanations", *options) == 1
    with serving(acting(in_turn(answers))) as server:
        options = ("--set", "quality.give_up_after=10", "--set", "quality.most_rejected=1.0")
        assert build(server, tmp_path / "ten", "mini-explanations", *options) == 0
        assert len(server.asked) == 120


def test_generated_queries_that_are_all_rejected_are_given_up_before_the_others_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(acting(slowly("I cannot help with that."))) as server:
        assert build(server, tmp_path, "mini-contrastive") == 1
        assert 50 <= len(server.asked) <= 55
    assert "50 refuses to answer" in capsys.readouterr().err.splitlines()[-1]


# -- tables that are no release --------------------------------------------------------------------------------


def test_a_table_with_more_rejections_than_its_recipe_allows_is_no_release_until_it_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(acting(in_turn([GOOD, "N/A", "None"]))) as server:
        assert build(server, tmp_path) == 1
        message = capsys.readouterr().err.splitlines()[-1]
        assert "80 of 120 items were rejected" in message and "quality.most_rejected = 0.72" in message
        assert not (tmp_path / "work" / "release").exists() and len(quarantined(tmp_path)) == 80
        assert build(server, tmp_path, "mini-explanations", "--set", "quality.most_rejected=0.72") == 0
        assert len(server.asked) == 120, "what is allowed in the last step asks nothing again"
    assert exabench.load(tmp_path / "work" / "release", "explanations").release.tables["explanations"].rows


def test_from_python_it_is_a_check_that_failed(tmp_path: Path) -> None:
    with serving(acting(lambda body: "N/A")) as server:
        recipe = tmp_path / "recipe.toml"
        main(["data", "show", "mini-explanations"])
        recipe.write_text(
            'builder = "exaranker"\ndataset = "d"\ntable = "t"\nlicence = "cc0-1.0"\n'
            f'teacher = {{ part = "openai", model = "m/m", base_url = "{server.url}", concurrency = 1 }}\n'
            'options = { task = "mini", pairs = { part = "judged", split = "train", count = 60 } }\n'
        )
        with pytest.raises(CheckFailed, match="50 answers were all rejected"):
            exabench.build(recipe, tmp_path / "work")


# -- passages without a word -----------------------------------------------------------------------------------


def test_an_empty_passage_is_a_rejected_row_and_no_teacher_is_asked_about_it(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "small"
    (folder / "qrels").mkdir(parents=True)
    texts = {"full": "Bees dance to show where flowers are.", "blank": " \n ", "signs": "\u200b ...", "title": ""}
    with (folder / "corpus.jsonl").open("w") as corpus:
        for id, text in texts.items():
            title = "How bees dance" if id == "title" else ""
            corpus.write(json.dumps({"_id": id, "text": text, "title": title}) + "\n")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "why do bees dance"}) + "\n")
    lines = [f"q\t{id}\t1\n" for id in texts]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    recipe = tmp_path / "recipe.toml"
    with serving(acting(lambda body: GOOD)) as server:
        recipe.write_text(
            'builder = "exaranker"\ndataset = "d"\ntable = "explanations"\nlicence = "cc0-1.0"\n'
            f'teacher = {{ part = "openai", model = "m/m", base_url = "{server.url}" }}\n'
            f'[options]\ntask = "{folder}"\npairs = {{ part = "judged", split = "train", classes = "relevant" }}\n'
        )
        told = ["--to", str(tmp_path / "work"), "--replies", str(tmp_path / "replies.db")]
        assert main(["data", "build", str(recipe), *told]) == 0
        assert len(server.asked) == 2
    assert {row["passage_id"] for row in exabench.load(tmp_path / "work" / "release", "explanations")} == {
        "full",
        "title",
    }
    assert {one["id"]: one["reason"] for one in quarantined(tmp_path)} == {
        "q/blank": "empty passage",
        "q/signs": "empty passage",
    }

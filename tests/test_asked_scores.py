"""Scores that a language model is asked for: each rests on replies that the release holds, and a stop does no harm."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from endpoint import Endpoint, Handler, completion, serving
from tiny_llama import tiny_llama
from toys import contents, toml

import exabench
from exabench.core.nouns import Passage, Query
from exabench.core.recipe import Recipe
from exabench.core.rows import Row
from exabench.data.auditing import audit
from exabench.data.building import Sources, build, data_recipe, plan_build
from exabench.data.releases import rows
from exabench.parts.comparisons import thurstone

YES_NO = {"part": "relevance_generation", "words": 60}
PAIRS = {"part": "pairwise", "method": "thurstone", "words": 60}


def recipe(folder: Path, reranker: dict[str, Any], **options: Any) -> Recipe:
    """Lists of five passages for six sentences of the embedded collection."""
    queries = {"part": "cropped", "count": 6, "fewest_words": 5}
    told = {"task": "mini", "queries": queries, "documents": 5, "depth": 5, "reranker": reranker, **options}
    told["retrievers"] = {"bm25": {"part": "bm25"}}
    page = {"builder": "scored", "dataset": "set", "table": "asked", "licence": "cc0-1.0", "seed": 0, "shard": 2}
    page["quality"] = {"most_rejected": 1.0}
    (folder / "recipe.toml").write_text(toml({**page, "validation": 1, "options": told}), encoding="utf-8")
    return data_recipe(folder / "recipe.toml")


def of_yes(id: str) -> str:
    """A reply to a question about Yes and No, which its place decides."""
    place = int(id.rpartition(":")[2])
    return json.dumps({"Yes": math.log(0.9 / place), " No": math.log(0.02 * place), "the": -9.0})


def of_pairs(id: str) -> str:
    """The passage that the first stage ranks higher."""
    first, second = id.split(":")[-2].split(",")
    return "Passage A" if int(first) < int(second) else "Passage B"


def planned(work: Path) -> list[dict[str, Any]]:
    """The items of a work folder's plan."""
    shards = sorted((work / "plan").glob("0*.jsonl"))
    return [json.loads(line) for shard in shards for line in shard.read_text(encoding="utf-8").splitlines()]


def recorded(folder: Path, reranker: dict[str, Any], answer: Callable[[str], str]) -> dict[str, Any]:
    """The reranker with a teacher whose replies are recorded: the plan says what will be asked."""
    file = folder / "said.jsonl"
    file.write_text('{"id": "none", "text": ""}\n')
    told = {**reranker, "teacher": {"part": "replay", "file": str(file), "model": "recorded toy"}}
    plan_build(recipe(folder, told), folder / "planned")
    lines = []
    for item in planned(folder / "planned"):
        for prompt in item["prompts"]:
            lines.append(json.dumps({"id": prompt["id"], "text": answer(prompt["id"])}) + "\n")
    file.write_text("".join(lines))
    return told


def built(folder: Path, page: Recipe, name: str = "work") -> tuple[Any, list[Row]]:
    """The table, and its rows of both splits."""
    release = build(page, folder / name, sources=Sources(replies=folder / "replies.sqlite"))
    table = release.tables["asked"]
    return table, [row for split in table.splits for row in rows(folder / name / "release", "asked", split)]


def test_yes_against_no_gives_log_odds_that_lead_back_to_each_reply(tmp_path: Path) -> None:
    table, found = built(tmp_path, recipe(tmp_path, recorded(tmp_path, YES_NO, of_yes)))
    assert (table.counts["good"], len(found), table.tokens["replies"]) == (6, 6, 30)
    assert table.teacher["model"] == "recorded toy" and table.prompt.startswith("relevance@sha256:")
    assert table.report["scores"] == "log-odds of Yes against No"
    replies = pq.read_table(tmp_path / "work" / "release" / "replies" / "asked.parquet").to_pylist()
    said = {reply["key"]: reply for reply in replies}
    for row in found:
        expected = [math.log(0.9 / place) - math.log(0.02 * place) for place in range(1, 6)]
        assert row["scores"] == pytest.approx(expected)
        assert (row["teacher"], row["prompt"], len(row["replies"])) == ("recorded toy", table.prompt, 5)
        asked = " ".join(said[key]["turns"][0]["content"] for key in row["replies"])
        assert all(row["query"] in asked and title in asked for title in row["titles"])
    assert not audit(tmp_path / "work" / "release").problems


def test_comparisons_give_strengths_in_the_order_of_an_honest_judge(tmp_path: Path) -> None:
    table, found = built(tmp_path, recipe(tmp_path, recorded(tmp_path, PAIRS, of_pairs)))
    assert len(found) == 6 and table.report["scores"] == "thurstone, 2 cycles"
    assert table.tokens["replies"] == sum(len(row["replies"]) for row in found) <= 6 * 4 * 5
    expected = {}
    for item in planned(tmp_path / "work"):
        asked = [tuple(map(int, prompt["id"].split(":")[-2].split(","))) for prompt in item["prompts"]]
        wins = {(min(pair) - 1, max(pair) - 1, 1.0) for pair in asked}
        assert len(asked) == 2 * len(wins), "both orders"
        expected[item["id"]] = dict(zip(item["data"]["passage_ids"], thurstone(5, sorted(wins)), strict=True))
    for row in found:
        assert row["scores"] == sorted(row["scores"], reverse=True) and abs(sum(row["scores"])) < 1e-4
        scores = dict(zip(row["passage_ids"], row["scores"], strict=True))
        assert scores == pytest.approx(expected[row["id"]], abs=2e-6)
    assert not audit(tmp_path / "work" / "release").problems


@pytest.mark.parametrize("reranker", [YES_NO, PAIRS], ids=["yes-no", "pairs"])
def test_a_build_that_was_stopped_ends_with_the_same_bytes_and_asks_nothing_twice(
    reranker: dict[str, Any], tmp_path: Path
) -> None:
    answer = of_yes if reranker is YES_NO else of_pairs
    page = recipe(tmp_path, recorded(tmp_path, reranker, answer))
    built(tmp_path, page)

    class Stop(Exception):
        pass

    def stop_soon(done: int, total: int, what: str) -> None:
        if what == "shards" and done:
            raise Stop

    fresh = Sources(replies=tmp_path / "other.sqlite")
    with pytest.raises(Stop):
        build(page, tmp_path / "stopped", sources=fresh, progress=stop_soon)
    build(page, tmp_path / "stopped", sources=fresh)
    assert contents(tmp_path / "stopped" / "release") == contents(tmp_path / "work" / "release")
    # All replies are known, so that no engine is needed: its file may be gone.
    whole = contents(tmp_path / "work" / "release")
    (tmp_path / "said.jsonl").unlink()
    for shard in (tmp_path / "work" / "shards").iterdir():
        shard.unlink()
    built(tmp_path, page)
    assert contents(tmp_path / "work" / "release") == whole


def test_a_list_with_replies_that_cannot_be_read_is_rejected_unless_some_are_allowed(tmp_path: Path) -> None:
    def unsure(id: str) -> str:
        return "it depends" if id.endswith(":3") else of_yes(id)

    told = recorded(tmp_path, YES_NO, unsure)
    # One list of the six has an answer that can be read.
    file = tmp_path / "said.jsonl"
    lines = file.read_text().splitlines()
    [third] = [place for place, line in enumerate(lines) if json.loads(line)["id"].endswith(":3")][:1]
    id = json.loads(lines[third])["id"]
    lines[third] = json.dumps({"id": id, "text": of_yes(id)})
    file.write_text("\n".join(lines) + "\n")
    table, found = built(tmp_path, recipe(tmp_path, told))
    assert len(found) == 1 and table.counts["reasons"] == {"rejected: more than 0 replies cannot be read": 5}
    table, found = built(tmp_path, recipe(tmp_path, told, most_repairs=1), "lenient")
    assert len(found) == 6 and [row["scores"][-1] for row in found].count(0) == 5, "even odds"


def test_scores_of_a_real_model_are_those_that_the_reranker_gives_by_itself(tmp_path: Path) -> None:
    told = {
        **YES_NO,
        "answers": ["A", "B"],
        "teacher": {"part": "transformers", "model": str(tiny_llama(tmp_path / "llama")), "device": "cpu"},
    }
    table, found = built(tmp_path, recipe(tmp_path, told, most_repairs=5))
    alone = exabench.reranker(**{"name": told["part"], **{key: told[key] for key in ("words", "teacher", "answers")}})
    assert len(found) == 6
    for row in found:
        passages = list(map(Passage, row["passage_ids"], row["passages"], row["titles"]))
        scores = alone.score(Query(row["query_id"], row["query"]), passages)
        assert row["scores"] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("method", ["heapsort", "sliding"])
def test_a_reranker_that_asks_in_several_rounds_names_every_reply_and_is_never_asked_again(
    method: str, tmp_path: Path
) -> None:
    told = {
        "part": "pairwise",
        "method": method,
        "words": 60,
        "scoring": "likelihood",
        "teacher": {"part": "transformers", "model": str(tiny_llama(tmp_path / "llama")), "device": "cpu"},
    }
    table, found = built(tmp_path, recipe(tmp_path, told, most_repairs=99))
    replies = pq.read_table(tmp_path / "work" / "release" / "replies" / "asked.parquet").to_pylist()
    said = {reply["key"]: reply["turns"][0]["content"] for reply in replies}
    assert table.prompt.startswith("prp_letter@sha256:") and len(found) == 6
    for row in found:
        assert len(row["replies"]) > 4 and row["prompt"] == table.prompt
        assert row["teacher"] == table.teacher["model"]
        for key in row["replies"]:
            assert row["query"] in said[key] and sum(title in said[key] for title in row["titles"]) >= 2
    assert {key for row in found for key in row["replies"]} == said.keys()
    assert table.tokens["replies"] == len(said) > 0 and not audit(tmp_path / "work" / "release").problems
    # Another folder with the same replies asks nothing: the model may be gone.
    shutil.rmtree(tmp_path / "llama")
    shutil.copytree(tmp_path / "work", tmp_path / "again")
    for shard in (tmp_path / "again" / "shards").iterdir():
        shard.unlink()
    built(tmp_path, recipe(tmp_path, told, most_repairs=99), "again")
    assert contents(tmp_path / "again" / "release") == contents(tmp_path / "work" / "release")


def test_a_prompt_that_is_refused_in_a_later_round_rejects_its_list_and_no_other(tmp_path: Path) -> None:
    seen = []

    def act(server: Endpoint, handler: Handler, body: Any) -> None:
        [query] = re.findall("^Query: (.*)$", body["messages"][-1]["content"], re.MULTILINE)
        seen.append(query)
        if query == seen[0] and seen.count(query) > 2:
            handler.send(400, {"error": {"message": "against the rules", "type": "invalid_request_error"}})
        else:
            whole = completion(body)
            whole["choices"][0]["message"]["content"] = "Passage A"
            handler.send(200, whole)

    told = {"part": "pairwise", "method": "sliding", "words": 60}
    with serving(act) as server:
        told["teacher"] = {"part": "openai", "model": "m", "base_url": server.url, "concurrency": 1}
        table, found = built(tmp_path, recipe(tmp_path, told))
        assert len(found) == 5 and list(table.counts["reasons"].values()) == [1]
        [reason] = table.counts["reasons"]
        assert reason.startswith("rejected: the teacher refuses the prompt") and "against the rules" in reason
        asked = len(seen)
        built(tmp_path, recipe(tmp_path, told))
        assert len(seen) == asked, "a second run asks nothing"

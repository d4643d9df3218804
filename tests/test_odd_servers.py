"""Servers answer as real ones were reported to: every row is made of an answer, or its item says why there is none."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from endpoint import Endpoint, Handler, serving

from exabench.cli import main
from exabench.core.nouns import Passage, Query
from exabench.data.releases import read, rows
from exabench.parts.assembly import reranker, teacher
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection

EXPLANATION = "The passage names the very thing that the question asks for, and says how it works."
HALF = "The passage names the very thing that"
THOUGHT = "Okay, the user asks. Passage [1] may be relevant, [2] is not relevant; Passage B is about bread."


def good_answer(body: Any) -> str:
    """What a good model says to a prompt of the embedded recipes: lists are turned round, every pair is relevant."""
    everything = json.dumps(body)
    last = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    passages = len(re.findall(r"Passage \[\d+\] received", everything))
    if passages:
        return " > ".join(f"[{number}]" for number in range(passages, 0, -1))
    if "Passage A:" in last:
        return "Passage B"
    if "Is the passage relevant" in last:
        return ("relevant", "not relevant")[len(last) % 2]
    if "write one search query" in last:
        return f"why does thing number {len(last)} and {last[200:203]!r} happen"
    return EXPLANATION


def completion(text: object, finish: object = "stop", *, usage: object = None, **message: object) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    counted = {"prompt_tokens": 10, "completion_tokens": 5} if usage is None else usage
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": counted}


def is_about_honey(body: Any) -> bool:
    """Is it one of the 8 prompts of mini-explanations whose own pair names honey?"""
    return "honey" in body["messages"][-1]["content"].split("Example 8")[-1].lower()


def said(make: Callable[[str], object]) -> Callable[[Any], tuple[int, object]]:
    """A server that answers every prompt, with what `make` makes of the good answer."""
    return lambda body: (200, make(good_answer(body)))


def refused(status: int, answer: object) -> Callable[[Any], tuple[int, object]]:
    """A server that never answers the prompts about honey."""
    return lambda body: (status, answer) if is_about_honey(body) else (200, completion(good_answer(body)))


ALL_ROWS = {
    "plain": said(completion),
    "think": said(lambda text: completion(f"<think>\n{THOUGHT}\n</think>\n\n{text}")),
    "closing tag alone": said(lambda text: completion(f"{THOUGHT}\n</think>\n\n{text}")),
    "think in one line": said(lambda text: completion(f"<think>{THOUGHT}</think>{text}")),
    "[THINK]": said(lambda text: completion(f"[THINK]{THOUGHT}[/THINK]{text}")),
    "harmony": said(
        lambda text: completion(
            f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{text}"
        )
    ),
    "harmony without its tokens": said(lambda text: completion(f"analysis{THOUGHT}assistantfinal{text}")),
    "reasoning in a field": said(lambda text: completion(text, reasoning_content=THOUGHT)),
    "answer element": said(lambda text: completion(f"<think>{THOUGHT}</think><answer> {text} </answer>")),
    "special token": said(lambda text: completion(f"{text}<|im_end|>")),
    "two special tokens": said(lambda text: completion(f"{text}</s><|endoftext|>")),
    "fence": said(lambda text: completion(f"```\n{text}\n```")),
    "fence with a language": said(lambda text: completion(f"```text\n{text}\n```")),
    "JSON": said(lambda text: completion(json.dumps({"answer": text}))),
    "fenced JSON": said(lambda text: completion("```json\n" + json.dumps({"response": text}) + "\n```")),
    "parts": said(
        lambda text: completion(
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": text}]
        )
    ),
    "parts of the newer API": said(
        lambda text: completion([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": text}])
    ),
    "no usage": said(lambda text: completion(text, usage={})),
    "partial usage": said(lambda text: completion(text, usage={"prompt_tokens": 10})),
    "odd usage": said(lambda text: completion(text, usage={"prompt_tokens": None, "completion_tokens": "5"})),
    "no finish reason": said(lambda text: completion(text, None)),
    "eos": said(lambda text: completion(text, "eos")),
    "eos_token": said(lambda text: completion(text, "eos_token")),
    "stop_sequence": said(lambda text: completion(text, "stop_sequence")),
    "end_turn": said(lambda text: completion(text, "end_turn")),
    "COMPLETE": said(lambda text: completion(text, "COMPLETE")),
}
NO_ROWS = {
    "thinking cut": (lambda text: completion(f"<think>\n{THOUGHT}", "length"), "cut short"),
    "thinking without end": (lambda text: completion(f"<think>\n{THOUGHT}", "stop"), "cut short"),
    "harmony without end": (lambda text: completion(f"<|channel|>analysis<|message|>{THOUGHT}"), "cut short"),
    "reasoning alone, cut": (lambda text: completion("", "length", reasoning_content="Okay"), "cut short"),
    "reasoning alone": (lambda text: completion(None, "stop", reasoning_content="Okay"), "empty reply"),
    "content_filter": (lambda text: completion(HALF, "content_filter"), "cut short"),
    "model_length": (lambda text: completion(HALF, "model_length"), "cut short"),
    "abort": (lambda text: completion(HALF, "abort"), "cut short"),
    "error": (lambda text: completion(HALF, "error"), "cut short"),
    "tool call": (lambda text: completion(None, "tool_calls", tool_calls=[]), "cut short"),
    "refusal in a field": (lambda text: completion(None, "stop", refusal="I cannot."), "empty reply"),
    "null character": (lambda text: completion(f"{text}\0"), "garbled characters"),
}
SOME_ROWS = {
    "500": (refused(500, {"error": {"code": 500, "message": "context exceeded"}}), "the server said 500 context"),
    "200 with an error": (refused(200, {"error": {"message": "prompt flagged", "code": 403}}), "prompt flagged"),
    "403": (refused(403, {"error": {"message": "requires moderation", "code": 403}}), "403 requires moderation"),
    "451": (refused(451, {"message": "not here"}), "451 not here"),
    "422 of TGI": (refused(422, {"error": "too long", "error_type": "validation"}), "422 too long"),
    "no choices": (refused(200, {"choices": [], "usage": {}}), "without choices"),
    "redirect": (refused(307, {"message": "to another place"}), "307 to another place"),
    "an error without a message": (
        refused(200, {"error": {"code": 403}}),
        'an error in place of an answer: {"code":403}',
    ),
    "finish of several words": (refused(200, completion("", "BLOCKED: by the policy")), "cut short"),
    "no message": (refused(200, {"choices": [{"finish_reason": "length", "index": 0}], "usage": {}}), "cut short"),
}


@pytest.fixture(scope="module")
def some() -> tuple[Query, list[Passage]]:
    """A query and five passages of the embedded collection."""
    collection = open_collection(task("mini"))
    query = next(iter(collection.queries()))
    return query, [passage for passage, _ in zip(collection.passages(), range(5), strict=False)]


def acting(answers: Callable[[Any], tuple[int, object]]) -> Callable[[Endpoint, Handler, Any], object]:
    return lambda server, handler, body: handler.send(*answers(body))


def built(server: Endpoint, tmp: Path, recipe: str = "mini-explanations", more: str = "", *options: str) -> int:
    """The exit code of a build whose teacher is the server."""
    about = f'teacher={{part="openai",model="m/m",base_url="{server.url}",retries=1{more}}}'
    arguments = ["data", "build", recipe, "--to", str(tmp / "build"), "--replies", str(tmp / "replies.sqlite")]
    return main([*arguments, "--set", about, *options])


def reasons(tmp: Path) -> Counter[str]:
    """Why items were rejected."""
    lines = (tmp / "build" / "quarantine.jsonl").read_text().splitlines()
    return Counter(json.loads(line)["reason"] for line in lines)


def targets(tmp: Path) -> set[str]:
    table = read(tmp / "build" / "release").tables["explanations"]
    return {row["target"] for split in table.splits for row in rows(tmp / "build" / "release", "explanations", split)}


def in_turn(ways: Iterable[Callable[[Any], tuple[int, object]]]) -> Callable[[Any], tuple[int, object]]:
    """A server that answers each prompt in another of these ways."""
    listed = list(ways)
    numbers: dict[str, int] = {}

    def answers(body: Any) -> tuple[int, object]:
        number = numbers.setdefault(json.dumps(body["messages"]), len(numbers))  # a prompt that is tried again, alike
        return listed[number % len(listed)](body)

    return answers


def test_an_answer_becomes_a_row_whatever_is_around_it(tmp_path: Path) -> None:
    with serving(acting(in_turn(ALL_ROWS.values()))) as server:
        assert built(server, tmp_path) == 0
    assert targets(tmp_path) == {f"true. Explanation: {EXPLANATION}", f"false. Explanation: {EXPLANATION}"}
    assert not reasons(tmp_path) and len(server.asked) == 120, "each prompt is paid for once"
    made = read(tmp_path / "build" / "release").tables["explanations"]
    assert made.counts["good"] == 120
    uncounted = 120 * sum("usage" in way for way in ALL_ROWS) / len(ALL_ROWS)
    assert abs(made.tokens["uncounted"] - uncounted) < 4
    assert main(["data", "cost", str(tmp_path / "build" / "release")]) == 0


def test_a_reply_that_is_no_whole_answer_becomes_no_row(tmp_path: Path) -> None:
    with serving(acting(in_turn(said(make) for make, _ in NO_ROWS.values()))) as server:
        assert built(server, tmp_path, "mini-explanations", "", "--go-on") == 1, "there is no row"
    expected = Counter[str]()
    for _, reason in NO_ROWS.values():
        expected[reason] += 120 // len(NO_ROWS)
    assert reasons(tmp_path) == expected and len(server.asked) == 120


@pytest.mark.parametrize("half", [0, 1])
def test_prompts_that_a_server_never_answers_are_set_aside_and_the_build_ends(tmp_path: Path, half: int) -> None:
    ways = list(SOME_ROWS.values())[half::2]  # of all, as there are only 8 prompts for them
    never = in_turn(answers for answers, _ in ways)
    plain = ALL_ROWS["plain"]
    with serving(acting(lambda body: never(body) if is_about_honey(body) else plain(body))) as server:
        assert built(server, tmp_path) == 0
    why = reasons(tmp_path)
    assert why.total() == 8 and not any(server.url in reason for reason in why)
    for _, reason in ways:
        assert any(reason in one for one in why), reason
    assert read(tmp_path / "build" / "release").tables["explanations"].counts["good"] == 112


def cut_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "500")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    handler.hang_up()


def garbage(handler: Handler) -> None:
    handler.wfile.write(b"\0\1 this is no HTTP\r\n\r\n")
    handler.wfile.flush()
    handler.hang_up()


def test_prompts_whose_connection_breaks_each_time_are_set_aside_too(tmp_path: Path) -> None:
    ways = (Handler.hang_up, cut_off, garbage, lambda handler: handler.send(429, {}, retry_after="3600"))
    places: dict[str, int] = {}

    def act(server: Endpoint, handler: Handler, body: Any) -> object:
        if not is_about_honey(body):
            return handler.send(200, completion(good_answer(body)))
        place = places.setdefault(json.dumps(body), len(places))
        return ways[place % len(ways)](handler)

    with serving(act) as server:
        assert built(server, tmp_path) == 0
        why = reasons(tmp_path)
        asked = len(server.asked)
        assert built(server, tmp_path) == 0 and len(server.asked) == asked, "the second run asks nothing"
    assert why.total() == 8 and not any(str(server.server_port) in reason for reason in why)
    assert sum(times for reason, times in why.items() if "broke before the answer was whole" in reason) == 6
    assert read(tmp_path / "build" / "release").tables["explanations"].counts["good"] == 112


def test_prompts_that_are_never_answered_are_set_aside_though_all_others_were_answered_before(tmp_path: Path) -> None:
    with serving(acting(refused(500, {"error": {"message": "context exceeded"}}))) as server:
        assert built(server, tmp_path) == 0
        (tmp_path / "build").rename(tmp_path / "earlier")
        before = len(server.asked)
        assert built(server, tmp_path) == 0
    assert reasons(tmp_path).total() == 8
    anew = [body for _, body in server.asked[before:]]
    assert sum(map(is_about_honey, anew)) == 8 * 2, "each is tried twice"
    assert [body["messages"][-1]["content"] for body in anew if not is_about_honey(body)] == ["Say yes."]


@pytest.mark.parametrize("answered", [40, 110])
@pytest.mark.parametrize("trouble", ["503", "breaks", "429", "402", "429 without quota"])
def test_a_server_that_dies_makes_no_prompt_bad_and_what_it_answered_is_not_asked_again(
    tmp_path: Path, trouble: str, answered: int, capsys: pytest.CaptureFixture[str]
) -> None:
    is_down = True
    statuses = {"503": 503, "429": 429, "402": 402, "429 without quota": 429}

    def act(server: Endpoint, handler: Handler, body: Any) -> object:
        if not is_down or len(paid) < answered:
            paid.append(json.dumps(body))
            return handler.send(200, completion(good_answer(body)))
        if trouble == "breaks":
            return handler.hang_up()
        kind = "insufficient_quota" if "quota" in trouble else "overloaded"
        return handler.send(statuses[trouble], {"error": {"message": "not now", "type": kind, "code": None}})

    paid: list[str] = []
    with serving(act) as server:
        assert built(server, tmp_path, "mini-explanations", ",patience=0.5") == 3
        assert len(capsys.readouterr().err.splitlines()[-1]) < 400
        assert not (tmp_path / "build" / "quarantine.jsonl").exists()
        is_down = False
        assert built(server, tmp_path, "mini-explanations", ",patience=0.5") == 0
    assert not reasons(tmp_path) and len(set(paid)) == 120 and len(paid) - 120 <= 16
    assert read(tmp_path / "build" / "release").tables["explanations"].counts["good"] == 120


@pytest.mark.parametrize(
    ("status", "message", "code", "advice"),
    [
        (400, "Use 'max_completion_tokens' instead.", 2, 'set limit_field = "max_completion_tokens"'),
        (400, "'temperature' does not support 0", 2, "set send_temperature = false"),
        (404, "This is not a chat model", 2, 'set api = "completions"'),
        (400, "default chat template is no longer allowed", 2, 'set api = "completions"'),
        (404, "model 'm/m' not found", 2, "check base_url, model and key"),
        (200, "Provider returned error", 3, "Provider returned error"),
        (502, "Bad gateway", 3, "502 Bad gateway"),
    ],
)
def test_a_server_that_answers_nothing_is_given_up_in_one_line_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, message: str, code: int, advice: str
) -> None:
    with serving(acting(lambda body: (status, {"error": {"message": message}}))) as server:
        assert built(server, tmp_path) == code
    assert advice in capsys.readouterr().err.splitlines()[-1]
    assert len(server.asked) < 60, "of 120 prompts"


def test_a_server_of_today_s_openai_gets_the_fields_that_it_takes(tmp_path: Path) -> None:
    def act(server: Endpoint, handler: Handler, body: Any) -> object:
        if "max_tokens" in body or "temperature" in body:
            return handler.send(400, {"error": {"message": "Unsupported parameter"}})
        return handler.send(200, completion(good_answer(body)))

    more = (
        ',limit_field="max_completion_tokens",send_temperature=false,reasoning_effort="low",reasoning_tokens=1000'
        ',body={service_tier="flex"},chat_template_kwargs={enable_thinking=false},guided="response_format"'
    )
    with serving(act) as server:
        assert built(server, tmp_path, "mini-contrastive", more) == 0
    for _, body in server.asked:
        assert body["reasoning_effort"] == "low" and body["service_tier"] == "flex"
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        assert body["max_completion_tokens"] > 1000
    judged = [body for _, body in server.asked if "response_format" in body]
    schema = judged[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["pattern"] == "^((not )?relevant)$" and 0 < len(judged) < len(server.asked)


def test_a_base_model_gets_the_prompt_as_plain_text(tmp_path: Path) -> None:
    def act(server: Endpoint, handler: Handler, body: Any) -> object:
        choice = {"index": 0, "text": EXPLANATION, "finish_reason": "stop"}
        return handler.send(200, {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}})

    with serving(act) as server:
        assert built(server, tmp_path, more=',api="completions"') == 0
    path, body = server.asked[0]
    assert path.endswith("/v1/completions") and body["prompt"].endswith("Explanation:") and "messages" not in body
    assert len(targets(tmp_path)) == 2


def test_the_text_of_a_system_turn_that_is_not_taken_comes_first_in_the_user_s(tmp_path: Path) -> None:
    def act(server: Endpoint, handler: Handler, body: Any) -> object:
        if any(turn["role"] == "system" for turn in body["messages"]):
            return handler.send(400, {"error": {"message": "System role not supported", "code": 400}})
        return handler.send(200, completion(good_answer(body)))

    with serving(act) as server:
        assert built(server, tmp_path, "mini-listwise") == 0
    assert read(tmp_path / "build" / "release").tables["listwise"].counts["good"] == 24
    systems = {body["messages"][0]["content"] for _, body in server.asked if body["messages"][0]["role"] == "system"}
    asked = {body["messages"][0]["content"] for _, body in server.asked if body["messages"][0]["role"] == "user"}
    assert len(systems) == 1 and asked and all(text.startswith(f"{min(systems)}\n\n") for text in asked)


def test_lists_and_judgements_are_those_of_the_answers_and_not_of_what_is_around_them(tmp_path: Path) -> None:
    with serving(acting(in_turn(ALL_ROWS.values()))) as server:
        assert built(server, tmp_path / "lists", "mini-listwise") == 0
        assert built(server, tmp_path / "groups", "mini-contrastive") == 0
    lists = tmp_path / "lists" / "build" / "release"
    for split in read(lists).tables["listwise"].splits:
        for row in rows(lists, "listwise", split):
            n = len(row["passage_ids"])
            assert row["first_stage_ranks"] == list(range(n, 0, -1)) and row["malformed"] == 0
    made = read(tmp_path / "groups" / "build" / "release").tables["contrastive"]
    assert made.counts["good"] > 20
    assert not any("read" in reason for reason in reasons(tmp_path / "groups"))


@pytest.mark.parametrize("way", ALL_ROWS)
def test_rerankers_rank_by_the_answers_and_not_by_what_is_around_them(
    tmp_path: Path, way: str, some: tuple[Query, list[Passage]]
) -> None:
    with serving(acting(ALL_ROWS[way])) as server:
        asked = {"part": "openai", "model": "m", "base_url": server.url, "retries": 1}
        listwise = reranker("listwise", teacher=asked, replies=tmp_path / "replies.sqlite")
        pairwise = reranker("pairwise", teacher=asked, replies=tmp_path / "replies.sqlite", method="sliding", k=1)
        [(scores, usage)] = listwise.score_many([some])
        assert scores == [1.0, 2.0, 3.0, 4.0, 5.0] and not usage.repairs["malformed"]
        [(_, usage)] = pairwise.score_many([some])
        assert usage.repairs["malformed"] == 0
        setwise = reranker("setwise", teacher=asked, replies=tmp_path / "replies.sqlite", k=1)
        [(_, usage)] = setwise.score_many([some])
        assert usage.repairs["malformed"] == 0 and usage.prompts


def test_tokens_that_a_server_does_not_count_are_not_known(tmp_path: Path, some: tuple[Query, list[Passage]]) -> None:
    with serving(acting(ALL_ROWS["partial usage"])) as server:
        asked = {"part": "openai", "model": "m", "base_url": server.url}
        listwise = reranker("listwise", teacher=asked, replies=tmp_path / "r.sqlite")
        [(_, usage)] = listwise.score_many([some])
    assert usage.input_tokens == 10 and usage.output_tokens is None and usage.prompts == 1


@pytest.mark.parametrize("count", [-5, 2**53, 10**30])
def test_a_count_of_tokens_that_none_can_be_is_asked_again_and_ends_no_build(tmp_path: Path, count: int) -> None:
    def act(server: Endpoint, handler: Handler, body: Any) -> object:
        odd = server.tries[str(body)] == 1
        counted = {"prompt_tokens": 10, "completion_tokens": count if odd else 5}
        return handler.send(200, completion(good_answer(body), usage=counted))

    with serving(act) as server:
        assert built(server, tmp_path, "mini-listwise") == 0
    table = read(tmp_path / "build" / "release").tables["listwise"]
    assert table.counts["good"] == 24 and table.tokens["output_tokens"] == 24 * 5
    assert len(server.asked) == 2 * 24


def test_a_budget_that_cannot_be_counted_is_refused_when_the_first_reply_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(acting(ALL_ROWS["no usage"])) as server:
        about = f'teacher={{part="openai",model="m/m",base_url="{server.url}",concurrency=2}}'
        arguments = ["data", "build", "mini-explanations", "--to", str(tmp_path / "build"), "--set", about]
        assert main([*arguments, "--replies", str(tmp_path / "r.sqlite"), "--budget", "1000"]) == 2
    assert "remove budget" in capsys.readouterr().err and len(server.asked) < 20


@pytest.mark.parametrize("field", ["model", "messages", "stream"])
def test_a_body_may_not_change_what_exabench_sends(field: str) -> None:
    with pytest.raises(Exception, match=f"body may not set {field}"):
        teacher({"part": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "body": {field: "x"}})

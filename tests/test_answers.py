"""What a reply says: its answer, without reasoning, special tokens and wrappers, in linear time."""

from __future__ import annotations

import json
import random
import time

import pytest

from exabench.core.nouns import Reply
from exabench.core.replies import read_reply
from exabench.parts.permutation import read_permutation

CHANNELS = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>"


def reply(text: str, finish: str = "stop") -> Reply:
    return Reply("p", text, finish, 1, 1)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", "yes"),
        ("<think>no</think>yes", "yes"),
        ("<think>\nno\n</think>\n\nyes\n", "yes"),
        ("<THINK>no</THINK>yes", "yes"),
        ("no</think>yes", "yes"),
        ("<think>a</think>b<think>c</think>yes", "yes"),
        ("[THINK]no[/THINK]yes", "yes"),
        ("<thinking>no</thinking> yes", "yes"),
        ("<reasoning>no</reasoning> yes", "yes"),
        ("\u25c1think\u25b7no\u25c1/think\u25b7yes", "yes"),
        ("<|begin_of_thought|>no<|end_of_thought|><|begin_of_solution|>yes<|end_of_solution|>", "yes"),
        (f"{CHANNELS}yes<|return|>", "yes"),
        ("<|channel|>final<|message|>yes", "yes"),
        ("analysisHm, no.assistantfinalyes", "yes"),
        ("<think>no</think><answer>yes</answer>", "yes"),
        ("<answer>no</answer> or rather <answer>yes</answer>.", "yes"),
        ("yes<|im_end|>", "yes"),
        ("yes</s></s>\n<|endoftext|>", "yes"),
        ("yes<end_of_turn>", "yes"),
        ("yes<\uff5cend\u2581of\u2581sentence\uff5c>", "yes"),
        ("```\nyes\n```", "yes"),
        ('```json\n{"answer": "yes"}\n```<|im_end|>', "yes"),
        ("```yes```", "yes"),
        ('{"explanation": "yes"}', "yes"),
        ('{"reasoning": "no", "answer": "yes"}', "yes"),
        ('"yes"', "yes"),
        # what only looks like any of these stays as it is
        ("The tags <think> and </think> mark reasoning.", "The tags <think> and </think> mark reasoning."),
        ("analysis: it is so", "analysis: it is so"),
        ('{"a": "b", "c": "d"}', '{"a": "b", "c": "d"}'),
        ('{"ranking": [2, 1, 3]}', '{"ranking": [2, 1, 3]}'),
        ("Use ```x``` or ```y```", "Use ```x``` or ```y```"),
        ("a < b and c > d", "a < b and c > d"),
        ("", ""),
    ],
)
def test_the_answer_is_what_stands_behind_reasoning_and_inside_of_wrappers(text: str, answer: str) -> None:
    assert reply(text).answer == answer and not reply(text).is_cut
    assert read_reply(answer) == (answer, False), "an answer is read as itself"


@pytest.mark.parametrize(
    "text",
    ["<think>no", "no\n<think>still", "[THINK]no", "<think>a</think><think>b", "<|channel|>analysis<|message|>no"],
)
def test_reasoning_without_an_end_means_that_the_answer_never_came(text: str) -> None:
    assert reply(text).is_cut and reply(text).answer in ("", "no")


@pytest.mark.parametrize("finish", ["", "stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "COMPLETE"])
def test_some_finish_reasons_mean_that_a_reply_is_whole(finish: str) -> None:
    assert not reply("yes", finish).is_cut


@pytest.mark.parametrize("finish", ["length", "content_filter", "model_length", "abort", "error", "MAX_TOKENS", "x"])
def test_after_any_other_it_may_end_in_the_middle(finish: str) -> None:
    assert reply("yes", finish).is_cut


LONG = ["<think>", "</think>", "```", "<answer>", "</s>", '"', "{", "<|", "\n<think>", "<|channel|>", " ", "[THINK]"]


@pytest.mark.parametrize("piece", LONG, ids=ascii)
def test_long_replies_are_read_in_linear_time(piece: str) -> None:
    started = time.process_time()
    for text in (piece * 100_000, "x" + piece * 100_000, piece * 100_000 + "x"):
        read_reply(text)
    assert time.process_time() - started < 10  # seconds at the most; the square of 100,000 steps would take hours


def an_order(draw: random.Random, n: int) -> list[int]:
    return draw.sample(range(1, n + 1), n)


def written(draw: random.Random, order: list[int]) -> str:
    """The order in a form that models write it in."""
    label = draw.choice(("{}", "[{}]", "[{}]", "[{}]", "Passage {}", "PASSAGE{}", "[Passage {}]"))
    ids = [label.format(number) for number in order]
    form = draw.randrange(6)
    if form == 0:
        return json.dumps(order)
    if form == 1:
        return json.dumps({draw.choice(("ranking", "order", "result")): order})
    if form == 2:
        return json.dumps([f"PASSAGE{number}" for number in order])
    if form == 3:
        return draw.choice((" -> ", "->", " => ", " \u2192 ")).join(ids)
    return draw.choice((" > ", ">", " >\n")).join(ids)


def chatter(draw: random.Random, n: int) -> str:
    """Something that is said about passages in front of an order."""
    a, b, c = (draw.randint(1, n) for _ in range(3))
    return draw.choice(
        (
            f"Passage [{a}] is about bread, [{b}] seems better than [{c}].",
            f"I was given {n} passages. [{a}] > [{b}] in my view.",
            f"{n} passages are provided:",
            f"1. [{a}] names the subject.\n2. [{b}] does not.",
            f'{{"scores": [{a}, {b}]}}',
            f"```json\n[{a}, {b}]\n```",
            f"Comparing {a} -> {b}: the first is better.",
            f"Document {a} is off topic; documents {b} and {c} answer it.",
            "Final ranking:",
            "Sure! Here is the order:",
            "**Answer**",
        )
    )


def test_a_hundred_thousand_answers_with_a_complete_order_at_the_end_are_read_as_that_order() -> None:
    draw = random.Random(20)
    misread = []
    for _ in range(100_000):
        n = draw.choice((3, 4, 5, 10, 20))
        order = an_order(draw, n)
        before = "\n".join(chatter(draw, n) for _ in range(draw.randint(0, 4)))
        answer = written(draw, order)
        if draw.random() < 0.2:
            answer = f"```{draw.choice(('', 'json', 'text'))}\n{answer}\n```"
        answer = f"{before}\n{answer}" if before else answer
        if draw.random() < 0.5:
            thoughts = " ".join(chatter(draw, n) for _ in range(draw.randint(1, 4)))
            opening, closing = draw.choice((("<think>\n", "\n</think>\n\n"), ("", "</think>"), ("[THINK]", "[/THINK]")))
            answer = f"{opening}{thoughts}{closing}{answer}"
        elif draw.random() < 0.1:
            answer = CHANNELS.replace("hm", before) + answer
        answer += draw.choice(("", "", "\n", ".", "<|im_end|>", "</s>", "\n\nI hope that helps!"))
        if [place + 1 for place in read_permutation(answer, n).order] != order:
            misread.append(answer)
    assert not misread, f"{len(misread)} misread: {misread[:5]}"

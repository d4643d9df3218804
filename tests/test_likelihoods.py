"""Rerankers that read how likely the next tokens are, by a model in this process and by servers; nothing is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from endpoint import Endpoint, Handler, serving
from hypothesis import given, settings, strategies as st
from models import bpe_tokenizer, decoder_folder, real_t5_tokenizer, t5_folder
from toys import Answering

import exabench
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Prompt, Query, Reply
from exabench.parts.rerankers import RERANKERS

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [
    Passage("a", "Light of short waves is scattered more than light of long waves.", "The sky"),
    Passage("b", "No."),
    Passage("c", 'A "quoted" passage, with (brackets) and 1.5 numbers. ' * 3),
    Passage("d", "The sea is salty because rivers carry salt."),
    Passage("e", "東京 été 😀"),
]
TEXTS = [passage.flat() for passage in PASSAGES]
SHOWN = ["Title: The sky Content: " + PASSAGES[0].text, *(" ".join(text.split()) for text in TEXTS[1:])]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = bpe_tokenizer(" Yes No\nYes\nNo [A] [B] [C]")
    return decoder_folder(tmp_path_factory.mktemp("qwen") / "m", "qwen3", tokenizer=tokenizer)


class Reference:
    """A model of transformers, one prompt at a time without any padding."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()

    def next_token(self, text: str, beginning: str = "") -> torch.Tensor:
        """The log-probabilities of what follows a user's turn and the beginning of the answer."""
        turns = [{"role": "user", "content": text}]
        asked = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + beginning
        ids = self.tokenizer(asked, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits: torch.Tensor = self.model(ids).logits[0, -1]
        return logits.log_softmax(-1)

    def id(self, token: str) -> int:
        [id] = self.tokenizer(token, add_special_tokens=False)["input_ids"]
        return int(id)


def relevance(passage: str) -> str:
    asked = "Does the passage answer the query? Answer with Yes or No alone."
    return f"Query: {QUERY.text}\n\nPassage: {passage}\n\n{asked}"


def test_a_score_is_the_log_odds_of_yes_against_no(qwen: Path, tmp_path: Path) -> None:
    teacher = {"part": "transformers", "model": str(qwen)}
    made = exabench.reranker("relevance_generation", teacher=teacher, replies=tmp_path / "replies.sqlite")
    [(scores, usage)] = made.score_many([(QUERY, PASSAGES)])
    reference = Reference(qwen)
    for score, shown in zip(scores, SHOWN, strict=True):
        row = reference.next_token(relevance(shown))
        assert score == pytest.approx(float(row[reference.id("Yes")] - row[reference.id("No")]), abs=1e-5)
    assert (usage.prompts, usage.output_tokens, usage.repairs) == (5, 5, {"malformed": 0})
    assert usage.flops_exact is not None, "one row of the vocabulary is read for each passage"


def test_replies_are_kept_and_a_second_run_asks_nothing(qwen: Path, tmp_path: Path) -> None:
    options = {"teacher": {"part": "transformers", "model": str(qwen)}, "replies": tmp_path / "replies.sqlite"}
    first = exabench.reranker("relevance_generation", **options)
    [(scores, _)] = first.score_many([(QUERY, PASSAGES)])
    again = exabench.reranker("relevance_generation", **options)
    assert [scores for scores, _ in again.score_many([(QUERY, PASSAGES)])] == [scores]
    assert (again.teacher.asked, again.teacher.found) == (0, 5)


def first_prompt(shown: list[str]) -> str:
    """What castorini/first_mistral was trained on, as rank_llm writes it."""
    listed = "".join(f"[{letter}] {text}\n" for letter, text in zip("ABCDEFGHIJ", shown, strict=False))
    return (
        f"I will provide you with {len(shown)} passages, each indicated by an alphabetical identifier []. Rank the "
        f"passages based on their relevance to the search query: {QUERY.text}.\n{listed}Search Query: {QUERY.text}.\n"
        f"Rank the {len(shown)} passages above based on their relevance to the search query. All the passages should "
        "be included and listed using identifiers, in descending order of relevance. The output format should be [] > "
        "[], e.g., [B] > [A], Answer concisely and directly and only respond with the ranking results, do not say any "
        "word or explain."
    )


def test_first_orders_a_window_by_the_letters_behind_the_bracket(qwen: Path, tmp_path: Path) -> None:
    teacher = {"part": "transformers", "model": str(qwen)}
    made = exabench.reranker("listwise", teacher=teacher, style="first", replies=tmp_path / "replies.sqlite")
    [(scores, usage)] = made.score_many([(QUERY, PASSAGES)])
    reference = Reference(qwen)
    system = "You are RankLLM, an intelligent assistant that can rank passages based on their relevancy to the query"
    turns = [{"role": "system", "content": system}, {"role": "user", "content": first_prompt(SHOWN)}]
    text = reference.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + "["
    ids = reference.tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = reference.model(ids).logits[0, -1]
    letters = [float(logits[reference.id(letter)]) for letter in "ABCDE"]
    best_first = sorted(range(5), key=lambda place: -letters[place])
    assert sorted(range(5), key=lambda place: -scores[place]) == best_first
    assert (usage.prompts, usage.output_tokens, usage.repairs) == (1, 1, {"malformed": 0, "missing": 0})
    assert made.identity["strategy"].endswith("by likelihood") and made.identity["prompt"].startswith("first@")


def test_pairs_and_sets_go_to_the_likelier_letter(qwen: Path) -> None:
    reference = Reference(qwen)
    teacher = {"part": "transformers", "model": str(qwen)}
    about = f"Query: {QUERY.text}\n\nPassage A: {SHOWN[0]}\n\nPassage B: {SHOWN[1]}\n\n"
    pair = f"Here is a query and two passages. Which of the passages answers the query better?\n\n{about}"
    row = reference.next_token(f"{pair}Answer with its letter alone, A or B.")
    turned = about.replace(SHOWN[0], "*").replace(SHOWN[1], SHOWN[0]).replace("*", SHOWN[1])
    other = reference.next_token(f"{pair.replace(about, turned)}Answer with its letter alone, A or B.")
    a, b = reference.id("A"), reference.id("B")
    points = 0.5 * (2 if row[a] > row[b] and other[b] > other[a] else 1)
    if row[a] < row[b] and other[b] < other[a]:
        points = 0.0
    made = exabench.reranker("pairwise", teacher=teacher, scoring="likelihood")
    scores = made.score(QUERY, PASSAGES[:2])
    assert scores[0] == pytest.approx(points, abs=0.26), "each begins with at most a quarter more"

    asked = f"Here is a query and 2 passages. Which of the passages answers the query best?\n\n{about}"
    row = reference.next_token(f"{asked}Answer with the letter of that passage alone, such as A.")
    best = int(row[b] > row[a])
    made = exabench.reranker("setwise", teacher=teacher, scoring="likelihood")
    scores = made.score(QUERY, PASSAGES[:2])
    assert scores.index(max(scores)) == best


@pytest.mark.real_data
def test_setwise_on_a_t5_scores_as_llm_rankers_does(tmp_path: Path, real_data: Path) -> None:
    """Its prompt, and "Passage" as the beginning of the decoder's answer."""
    tokenizer = real_t5_tokenizer(real_data, tmp_path / "tokenizer")
    folder = t5_folder(tmp_path / "t5", tokenizer, tied=False, gated=True)
    prompt = tmp_path / "authors.jinja"
    prompt.write_text(
        '{{ turn("user") }}Given a query "{{ query }}", which of the following passages is the most relevant one to '
        "the query?\n\n{% for passage in passages %}\nPassage {{ 'ABCDEF'[loop.index0] }}: \"{{ passage }}\"\n\n"
        "{% endfor %}\nOutput only the passage label of the most relevant passage:\n{{ turn('assistant') }}Passage"
    )
    teacher = {"part": "transformers", "model": str(folder)}
    options = {"scoring": "likelihood", "prompt": str(prompt), "children": 4, "k": 1}
    made = exabench.reranker("setwise", teacher=teacher, **options)
    scores = made.score(QUERY, PASSAGES[:4])

    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    listed = "\n\n".join(f'Passage {label}: "{text}"' for label, text in zip("ABCD", SHOWN, strict=False))
    text = (
        f'Given a query "{QUERY.text}", which of the following passages is the most relevant one to the query?\n\n'
        f"{listed}\n\nOutput only the passage label of the most relevant passage:"
    )
    begun = tokenizer("<pad> Passage", return_tensors="pt", add_special_tokens=False)["input_ids"]
    labels = [tokenizer(f"<pad> Passage {label}", add_special_tokens=False)["input_ids"][-1] for label in "ABCD"]
    with torch.inference_mode():
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        logits = model(input_ids=ids, decoder_input_ids=begun).logits[0, -1]
    expected = logits.log_softmax(-1)[labels].tolist()
    assert scores.index(max(scores)) == expected.index(max(expected))
    [turns] = [[("user", text), ("assistant", "Passage")]]
    [reply] = made._engine.complete([Prompt.of_choices("p", tuple(turns), "ABCD")])
    assert reply.likelihoods("ABCD").log_probs == pytest.approx(expected, abs=1e-5)
    assert reply.prompt_tokens == ids.shape[1]


def test_prompts_of_one_batch_are_answered_as_each_alone(qwen: Path) -> None:
    [made] = [exabench.reranker("relevance_generation", teacher={"part": "transformers", "model": str(qwen)})]
    prompts = [
        Prompt.of_choices(f"p{i}", (("user", "the sky " * i),), choices)
        for i, choices in enumerate([("Yes", "No"), ("A", "B", "C"), ("Yes", "No"), ("A",)])
    ]
    written = [Prompt(f"w{i}", (("user", "the sky " * i),), max_tokens=4) for i in range(3)]
    together = {reply.id: reply for reply in made._engine.complete([*prompts, *written])}
    assert len(together) == 7 and all(not together[prompt.id].text.startswith("{") for prompt in written)
    for prompt in prompts:
        [one] = made._engine.complete([prompt])
        expected = one.likelihoods(prompt.choices)
        assert together[prompt.id].likelihoods(prompt.choices).log_probs == pytest.approx(expected.log_probs, abs=1e-5)
        assert expected.missing == 0 and one.finish == "stop"


def test_an_answer_goes_on_from_where_a_prompt_begins_it(qwen: Path) -> None:
    made = exabench.reranker("relevance_generation", teacher={"part": "transformers", "model": str(qwen)})
    [reply] = made._engine.complete([Prompt("p", (("user", "the sky"), ("assistant", "It is")), max_tokens=3)])
    reference = Reference(qwen)
    text = ""
    for _ in range(3):
        text += reference.tokenizer.decode(int(reference.next_token("the sky", f"It is{text}").argmax()))
    assert reply.text == text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"answers": ["Yes"]}, "answers are two different words"),
        ({"answers": ["Yes", "Yes"]}, "answers are two different words"),
        ({"answers": ["Yes|No", "Maybe"]}, "answers are two different words"),
        ({"words": 0}, "words=0 shows nothing"),
    ],
)
def test_options_that_score_nothing_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        RERANKERS["relevance_generation"](Answering(lambda prompt: ""), **options)


def test_a_choice_that_is_no_token_of_the_model_is_refused(qwen: Path) -> None:
    teacher = {"part": "transformers", "model": str(qwen)}
    made = exabench.reranker("relevance_generation", teacher=teacher, answers=["Yes", "Incomprehensible"])
    with pytest.raises(BadInput, match="'Incomprehensible' is not one token of this model's tokenizer but"):
        made.score(QUERY, PASSAGES)


def test_more_passages_than_letters_are_refused() -> None:
    with pytest.raises(BadInput, match="window=27, but style first has a letter for 26 passages"):
        RERANKERS["listwise"](Answering(lambda prompt: ""), style="first", window=27)


# -- servers ---------------------------------------------------------------------------------------


def scored(body: Any) -> dict[str, float]:
    """What a server finds likely: Yes where the passage is about the sky, and the last of some letters."""
    text = str(body.get("prompt") or body["messages"])
    if "Answer with Yes or No" in text:
        is_good = "Light of short waves" in text
        return {"Yes": -0.1 if is_good else -3.0, " Yes": -0.2, "No": -2.0, "the": -4.0}
    letters = [letter for letter in "ABCDEFGH" if f"[{letter}] " in text or f"Passage {letter}:" in text]
    return {letter: -float(len(letters) - place) for place, letter in enumerate(letters)}


def chat(body: Any) -> Any:
    assert body["logprobs"] is True and body["top_logprobs"] == 20 and body["max_tokens"] == 1
    listed = [{"token": token, "logprob": log_prob, "bytes": None} for token, log_prob in scored(body).items()]
    listed.sort(key=lambda one: -one["logprob"])
    content = [{"token": listed[0]["token"], "logprob": listed[0]["logprob"], "top_logprobs": listed}]
    choice = {"message": {"role": "assistant", "content": listed[0]["token"]}, "finish_reason": "length"}
    return {"choices": [choice | {"logprobs": {"content": content}}], "usage": USAGE}


def completions(body: Any) -> Any:
    assert body["logprobs"] == 20 and body["max_tokens"] == 1 and "top_logprobs" not in body
    given = {"tokens": ["x"], "token_logprobs": [-1.0], "top_logprobs": [scored(body)], "text_offset": [0]}
    return {"choices": [{"text": "x", "finish_reason": "length", "logprobs": given}], "usage": USAGE}


USAGE = {"prompt_tokens": 9, "completion_tokens": 1}


def answering(make: Callable[[Any], Any]) -> Callable[[Endpoint, Handler, Any], object]:
    return lambda server, handler, body: handler.send(200, make(body))


@pytest.mark.parametrize(("api", "make"), [("chat", chat), ("completions", completions)])
def test_a_server_s_log_probabilities_rank(tmp_path: Path, api: str, make: Callable[[Any], Any]) -> None:
    with serving(answering(make)) as server:
        teacher = {"part": "openai", "model": "m", "base_url": server.url, "api": api}
        options = {"teacher": teacher, "replies": tmp_path / "replies.sqlite"}
        asked = exabench.reranker("relevance_generation", **options)
        [(scores, usage)] = asked.score_many([(QUERY, PASSAGES)])
        assert scores == pytest.approx([1.9, 1.8, 1.8, 1.8, 1.8]), "the likelier spelling of Yes counts"
        assert (usage.input_tokens, usage.output_tokens, usage.repairs) == (45, 5, {"malformed": 0})
        sets = exabench.reranker("setwise", scoring="likelihood", k=1, children=4, **options)
        assert sets.score(QUERY, PASSAGES)[-1] == 5.0
        pairs = exabench.reranker("pairwise", scoring="likelihood", **options)
        [(scores, usage)] = pairs.score_many([(QUERY, PASSAGES[:2])])
        assert scores == pytest.approx([0.75, 0.625]) and usage.repairs == {"malformed": 0}, "B in both orders"


def test_first_needs_a_server_that_goes_on_with_an_answer(tmp_path: Path) -> None:
    with serving(answering(completions)) as server:
        teacher = {"part": "openai", "model": "m", "base_url": server.url, "api": "completions"}
        made = exabench.reranker("listwise", teacher=teacher, style="first", replies=tmp_path / "replies.sqlite")
        assert made.score(QUERY, PASSAGES) == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert server.asked[0][1]["prompt"].endswith("explain.\n\n[")
    with serving(answering(chat)) as server:
        teacher = {"part": "openai", "model": "m", "base_url": server.url}
        made = exabench.reranker("listwise", teacher=teacher, style="first", replies=tmp_path / "chat.sqlite")
        with pytest.raises(BadInput, match=r"begins its answer with '\[', .*continue_final_message = true"):
            made.score(QUERY, PASSAGES)
        body = {"continue_final_message": True, "add_generation_prompt": False}
        teacher |= {"body": body}
        made = exabench.reranker("listwise", teacher=teacher, style="first", replies=tmp_path / "chat.sqlite")
        made.score(QUERY, PASSAGES)
        assert server.asked[-1][1]["messages"][-1] == {"role": "assistant", "content": "["}


@pytest.mark.parametrize("given", [None, {"content": None}, {"content": []}, {}, [], "no", {"content": [{"token": 1}]}])
def test_a_server_without_log_probabilities_is_told_at_once(tmp_path: Path, given: object) -> None:
    def act(server: Endpoint, handler: Handler, body: Any) -> object:
        choice = {"message": {"content": "Yes"}, "finish_reason": "stop", "logprobs": given}
        return handler.send(200, {"choices": [choice]})

    with serving(act) as server:
        teacher = {"part": "openai", "model": "m", "base_url": server.url, "concurrency": 2}
        made = exabench.reranker("relevance_generation", teacher=teacher, replies=tmp_path / "replies.sqlite")
        with pytest.raises(BadInput, match="gives no log-probabilities") as told:
            made.score(QUERY, [Passage(str(i), f"passage {i}") for i in range(200)])
        assert len(server.asked) < 10 and "\n" not in str(told.value)


def test_a_server_that_refuses_to_give_them_is_told_at_once(tmp_path: Path) -> None:
    def act(server: Endpoint, handler: Handler, body: Any) -> object:
        said = "'logprobs' is not supported with this model"
        return handler.send(400, {"error": {"message": said, "type": "invalid_request_error"}})

    with serving(act) as server:
        teacher = {"part": "openai", "model": "m", "base_url": server.url, "concurrency": 2}
        made = exabench.reranker("relevance_generation", teacher=teacher, replies=tmp_path / "replies.sqlite")
        with pytest.raises(BadInput, match=r"rank by written answers \(scoring = .generation.\)"):
            made.score(QUERY, PASSAGES)


def test_a_reply_without_any_of_the_choices_decides_nothing_and_is_counted() -> None:
    teacher = Answering(lambda prompt: json.dumps({"the": -0.1, "a": -2}))
    passages = PASSAGES[:3]
    [(scores, usage)] = RERANKERS["relevance_generation"](teacher).score_many([(QUERY, passages)])
    assert scores == [0.0, 0.0, 0.0] and usage.repairs == {"malformed": 3}
    [(scores, usage)] = RERANKERS["listwise"](teacher, style="first").score_many([(QUERY, passages)])
    assert scores == [3.0, 2.0, 1.0] and usage.repairs == {"malformed": 1, "missing": 3}
    [(scores, usage)] = RERANKERS["setwise"](teacher, scoring="likelihood").score_many([(QUERY, passages)])
    assert usage.repairs["malformed"] == usage.prompts > 0
    [(scores, usage)] = RERANKERS["pairwise"](teacher, scoring="likelihood").score_many([(QUERY, passages)])
    assert usage.repairs["malformed"] == usage.prompts == 6 and sorted(scores) == scores[::-1]


@settings(max_examples=200, deadline=None)
@given(st.text() | st.dictionaries(st.text(max_size=3), st.floats() | st.integers() | st.none()).map(json.dumps))
def test_whatever_a_reply_holds_each_choice_has_a_finite_number(text: str) -> None:
    log_probs, missing = Reply("r", text, "stop", None, None).likelihoods("ABC")
    assert len(log_probs) == 3 and all(math.isfinite(log_prob) for log_prob in log_probs) and 0 <= missing <= 3

"""Families of causal rerankers: their scores are those of their cards' code, and of sentence-transformers."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fits
import pytest
import torch
import transformers
from hub_client import point_at
from hub_double import HubDouble
from models import bpe_tokenizer, decoder_folder, family_folder, logit_score_folder, t5_folder, t5_tokenizer
from sentence_transformers import CrossEncoder
from toys import contents, write_submission

import exabench
from exabench.bench.estimate import estimate
from exabench.bench.ledger import Ledger
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.models.families import families
from exabench.models.screening import screen_folder
from exabench.parts.recognition import recognise
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [
    Passage("a", "Light of short waves is scattered more than light of long waves.", "The sky"),
    Passage("b", "No."),
    Passage("empty", ""),
    Passage("spaces", " Two  spaces, a tab\t, and a line's end.\n\n"),
    Passage("c", 'A "quoted" passage, with (brackets) and 1.5 numbers. ' * 3),
    Passage("d", "東京 été 😀"),
]
TEXTS = [passage.flat() for passage in PASSAGES]


def plain(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text or piece, without special tokens."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


# -- the code of the cards -------------------------------------------------------------------------


def qwen3(tokenizer: Any, query: str, passage: str, wish: str = "") -> list[int]:
    """The model card of Qwen3-Reranker-0.6B: a body of its own between the tokens of prefix and suffix."""
    prefix = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    wish = wish or "Given a web search query, retrieve relevant passages that answer the query"
    body = f"<Instruct>: {wish}\n<Query>: {query}\n<Document>: {passage}"
    return plain(tokenizer, prefix) + plain(tokenizer, body) + plain(tokenizer, suffix)


def bge(tokenizer: Any, query: str, passage: str, wish: str = "") -> list[int]:
    """FlagEmbedding's BaseLLMReranker: [bos] A: query, sep, B: passage, sep, prompt."""
    wish = wish or (
        "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
        "prediction of either 'Yes' or 'No'."
    )
    pieces = (f"A: {query}", "\n", f"B: {passage}", "\n", wish)
    return [tokenizer.bos_token_id, *sum((plain(tokenizer, piece) for piece in pieces), [])]


def mxbai(tokenizer: Any, query: str, passage: str, wish: str = "") -> list[int]:
    """MxbaiRerankV2.prepare_inputs and concat_input_ids."""
    task = (
        "You are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
        "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
    )
    asked = f"query: {query}"
    if wish:
        asked = f"instruction: {wish}\n{asked}"
    system = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    pieces = (f"{system}<|im_start|>user\n", asked, "\n", f"document: {passage}", "\n", task)
    return sum((plain(tokenizer, piece) for piece in (*pieces, "<|im_end|>\n<|im_start|>assistant\n")), [])


def zerank(tokenizer: Any, query: str, passage: str, wish: str = "") -> list[int]:
    """The query as system turn, the document as user turn, and the assistant's turn begins."""
    if wish:
        query = f"<query>{query}</query>\n<instruction>{wish}</instruction>"
    turns = f"<|im_start|>system\n{query}<|im_end|>\n<|im_start|>user\n{passage}<|im_end|>\n<|im_start|>assistant\n"
    return plain(tokenizer, turns)


def contextual(tokenizer: Any, query: str, passage: str, wish: str = "") -> list[int]:
    """format_prompts of the model card."""
    wish = wish and f" {wish}"
    text = "Check whether a given document contains information helpful to answer the query.\n"
    return list(tokenizer(f"{text}<Document> {passage}\n<Query> {query}{wish} ??")["input_ids"])


class Case(NamedTuple):
    """A family, a Hub id of it, its card's input, and the answers (none: the vocabulary's first)."""

    family: str
    id: str
    ids: Callable[..., list[int]]
    answers: tuple[str, ...]


CASES = [
    Case("qwen3-reranker", "Qwen/Qwen3-Reranker-0.6B", qwen3, ("yes", "no")),
    Case("bge-reranker-v2-gemma", "BAAI/bge-reranker-v2-gemma", bge, ("Yes",)),
    Case("mxbai-rerank-v2", "mixedbread-ai/mxbai-rerank-base-v2", mxbai, ("1", "0")),
    Case("zerank", "zeroentropy/zerank-1-small", zerank, ("Yes",)),
    Case("ctxl-rerank-v2", "ContextualAI/ctxl-rerank-v2-instruct-multilingual-1b", contextual, ()),
]
every_family = pytest.mark.parametrize("case", CASES, ids=lambda case: case.family)


def by_the_card(case: Case, folder: Path, texts: Sequence[str] = TEXTS, wish: str = "") -> list[float]:
    """The card's formula with transformers alone: the logit of one answer, or of one less the other."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    answers = [plain(tokenizer, word)[0] for word in case.answers] or [0]
    scores = []
    for text in texts:
        ids = case.ids(tokenizer, QUERY.text, text, wish)
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1]
        score = logits[answers[0]]
        if len(answers) == 2:
            score = score - logits[answers[1]]
        scores.append(float(score))
    return scores


@every_family
def test_a_family_is_scored_as_its_card_says_by_its_id_and_by_its_name(case, tmp_path, monkeypatch):
    folder = family_folder(tmp_path / "m", case.family)
    expected = pytest.approx(by_the_card(case, folder), abs=1e-5)
    named = exabench.reranker("auto", model=str(folder), family=case.family)
    assert named.score(QUERY, PASSAGES) == expected
    wish = "Prefer what is new; name no field"
    asked = exabench.reranker("auto", model=str(folder), family=case.family, instruction=wish)
    assert asked.score(QUERY, PASSAGES) == pytest.approx(by_the_card(case, folder, wish=wish), abs=1e-5)
    assert asked.identity["template"] != named.identity["template"]
    with HubDouble() as hub:
        point_at(hub.url, tmp_path / "home", monkeypatch)
        hub.commit(f"models/{case.id}", contents(folder))
        found = recognise(case.id)
        assert (found.reranker, found.options) == ("yes_no", {"family": case.family})
        assert found.why == f"{case.id} is of the family {case.family}"
        for part in ("auto", "yes_no"):
            assert exabench.reranker(part, model=case.id).score(QUERY, PASSAGES) == expected


@every_family
def test_a_family_is_evaluated_and_submitted_alike(case, tmp_path):
    folder = family_folder(tmp_path / "m", case.family)
    found = exabench.evaluate(str(folder), "mini", family=case.family, depth=3)
    reranker = exabench.reranker("auto", model=str(folder), family=case.family)
    collection = open_collection(single_task("mini"), None)
    corpus = {passage.id: passage for passage in collection.passages()}
    run = found.runs["mini"]
    query = next(query for query in collection.queries() if query.id in run)
    ids = run.ranking(query.id)
    scores = reranker.score(query, [corpus[id] for id in ids])
    assert scores == sorted(scores, reverse=True) and len(scores) == 3

    board = tmp_path / "board"
    ledger = Ledger(board)
    ledger.create("Families", ["mini"])
    ledger.add_candidates(*exabench.make_candidates("mini", "bm25", 3))
    screen_folder(folder)
    sent = {"name": "acme/asked", "kind": "model", "reranker": "yes_no", "model": str(folder)}
    exabench.submit(write_submission(tmp_path / "sent", **sent, options={"family": case.family}), [], board)
    [result] = exabench.run_board(board, slugs=["acme--asked"])
    measured = json.loads(result.read_text())["measurement"]["metrics"]["nDCG@10"]
    assert measured == pytest.approx(found["mini"]["nDCG@10"])


def test_a_literal_answer_can_be_said_with_and_without_a_space(tmp_path):
    folder = decoder_folder(tmp_path / "m")
    tokenizer = bpe_tokenizer()
    template = "Passage: {passage}\nQuery: {query}\n%s"

    def read(cue: str, pieces: bool = False, **told: Any) -> list[str]:
        text: Any = template % cue
        made = exabench.reranker("yes_no", model=str(folder), template=[text] if pieces else text, **told)
        return tokenizer.convert_ids_to_tokens(made.identity["answers"])

    # Behind a letter, a digit or a colon a word has a space before it; behind all else it is as it is written.
    assert read("Answer:") == read("Say yes or no") == ["Ġyes", "Ġno"]
    assert read("Answer:\n") == read("Is it? (") == read("Answer.") == ["yes", "no"]
    assert read("Answer.", answers=[" yes", " no"]) == read("Answer:", answers=["yes", "no"]) == ["Ġyes", "Ġno"]
    assert read("Answer:", pieces=True) == read("Answer:", pieces=True, answers=["yes", "no"]) == ["yes", "no"]
    assert read("Answer:", answers=["1", "0"]) == ["1", "0"], "no token is a space and a digit"
    assert read("Answer:", answers=["yes"], strategy="logit") == ["Ġyes"]
    assert read("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n") == ["yes", "no"]
    with pytest.raises(BadInput, match="answer 'incomprehensible' is not one token"):
        read("Answer:", answers=["incomprehensible", "no"])


@pytest.mark.parametrize(
    ("part", "options", "said"),
    [
        (
            "auto",
            {"family": "qwen3"},
            "unknown family 'qwen3'; choose from: bge-reranker-v2-gemma, ctxl-rerank-v2, duot5",
        ),
        (
            "yes_no",
            {"family": "qwen3"},
            "unknown family 'qwen3'; choose from: bge-reranker-v2-gemma, ctxl-rerank-v2, d",
        ),
        ("yes_no", {"family": "monot5"}, "family monot5 is read by reranker monot5, not by yes_no, which reads bge-"),
        ("monot5", {"family": "zerank"}, "family zerank is read by reranker yes_no, not by monot5, which reads mono"),
        ("yes_no", {"instruction": "new ones"}, "the template has no {instruction}; name it there, or leave"),
        ("yes_no", {"template": "{query} {passage} {instruction}"}, "the template names {instruction}; give instruc"),
        ("yes_no", {"template": ["{query}", "{query} {passage}"]}, "must name {query} and {passage}, each once"),
        ("yes_no", {"family": "qwen3-reranker", "chat": True}, "the template already has turns, and chat would"),
        ("yes_no", {"template": "<|im_start|>{query} {passage}", "chat": True}, "the template already has turns"),
        ("yes_no", {"family": "qwen3-reranker", "instruction": "{query}"}, "must name {query} and {passage}, each"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(part, options, said, tmp_path):
    folder = decoder_folder(tmp_path / "m")
    with pytest.raises(BadInput) as caught:
        exabench.reranker(part, model=str(folder), **options)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_every_family_has_the_source_of_its_facts_and_a_part_that_reads_it(tmp_path):
    for name, family in families().items():
        assert family.about and family.template and family.strategy, name
        assert family.answers or family.answer_ids or family.reranker == "cross_encoder", name
        assert family.sources or name == "yes_no", name
        readers = ("yes_no", "monot5", "exaranker", "rankt5", "pairwise", "query_likelihood", "cross_encoder")
        assert family.reranker in readers, name
    t5 = str(t5_folder(tmp_path / "t5", t5_tokenizer()))
    plain_scores = exabench.reranker("auto", model=t5).score(QUERY, PASSAGES)
    twolar = exabench.reranker("auto", model=t5, family="twolar")
    assert twolar.identity["strategy"] == "difference"
    portuguese = exabench.reranker("monot5", model=t5, family="ptt5")
    assert plain_scores not in (twolar.score(QUERY, PASSAGES), portuguese.score(QUERY, PASSAGES))
    duo = exabench.reranker("auto", model=t5, family="duot5")
    assert duo.identity["reranker"] == "pairwise"


# -- folders of sentence-transformers --------------------------------------------------------------

TURNS = (
    "{%- set ns = namespace(q='', d='', s='') %}{%- for m in messages %}"
    "{%- if m.role == 'query' %}{%- set ns.q = m.content %}{%- elif m.role == 'document' %}{%- set ns.d = m.content %}"
    "{%- elif m.role == 'system' %}{%- set ns.s = m.content %}{%- endif %}{%- endfor %}"
    "{{- '<|im_start|>system\nJudge.<|im_end|>\n<|im_start|>user\n' }}"
    "{%- if ns.s %}{{- '<Instruct>: ' + ns.s + '\n' }}{%- endif %}"
    "{{- '<Query>: ' + ns.q + '\n<Document>: ' + ns.d + '<|im_end|>\n' }}"
    "{%- if add_generation_prompt is not defined or add_generation_prompt %}"
    "{{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}{%- endif %}"
)
IN_PARTS = TURNS.replace("m.content", "m.content[0].text")
TRIMMED = TURNS.replace("m.content", "m.content | trim")
DOCUMENT_FIRST = (
    "{%- for m in messages if m.role == 'document' %}{{ m.content }}{%- endfor %}"
    "{%- for m in messages if m.role == 'query' %}{{ '\n\n' + m.content + ' ??' }}{%- endfor %}"
)


def token(word: str) -> int:
    [id] = plain(bpe_tokenizer(), word)
    return id


def by_sentence_transformers(folder: Path | str, texts: Sequence[str] = TEXTS, **told: Any) -> list[float]:
    model = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERY.text, text) for text in texts]
    return model.predict(pairs, activation_fn=torch.nn.Identity(), batch_size=1, **told).tolist()


@pytest.mark.parametrize(
    ("template", "words", "told"),
    [
        (TURNS, ("yes", "no"), {}),
        (TURNS, ("yes",), {"kind": "qwen2"}),
        (TURNS, ("no", "yes"), {"kind": "llama", "processing": {"chat_template": {"add_generation_prompt": False}}}),
        (TURNS, ("1", "0"), {"prompts": {"web": "Prefer what is new."}, "prompt_name": "web"}),
        (TURNS, ("1", "0"), {"prompts": {"web": "Prefer what is new."}}),
        (IN_PARTS, ("yes", "no"), {"format": "structured"}),
        (IN_PARTS, ("yes", "no"), {"format": "auto"}),
        (TRIMMED, ("yes", "no"), {"format": "auto"}),
        (DOCUMENT_FIRST, ("yes",), {}),
        (TURNS, ("yes", "no"), {"kind": "gemma2"}),  # whose logits are capped
        (TURNS, ("yes", "no"), {"format": ""}),  # the settings name no message: it is read as a pair of texts
    ],
)
def test_a_logit_score_folder_is_scored_as_sentence_transformers_does(template, words, told, tmp_path):
    folder = logit_score_folder(tmp_path / "m", template, tokens=tuple(map(token, words)), **told)
    screen_folder(folder)
    found = recognise(str(folder))
    assert found[:3] == ("yes_no", {}, "modules.json lists Transformer, LogitScore")
    expected = pytest.approx(by_sentence_transformers(folder), abs=1e-5)
    made = exabench.reranker("auto", model=str(folder))
    assert made.score(QUERY, PASSAGES) == expected
    assert exabench.reranker("yes_no", model=str(folder)).score(QUERY, PASSAGES) == expected
    assert made.identity["answers"] == list(map(token, words))


def test_an_estimate_counts_the_chat_template_of_a_folder(tmp_path):
    folder = logit_score_folder(tmp_path / "m", TURNS, tokens=(token("yes"), token("no")))
    [told] = estimate(str(folder), ["mini"], depth=5)
    made = exabench.reranker("auto", model=str(folder))
    collection = open_collection(single_task("mini"), None)
    # The same texts, as many as an estimate looks at: queries take turns with passages.
    pairs = zip(itertools.cycle(collection.queries()), itertools.islice(collection.passages(), 500), strict=False)
    counted = [usage.input_tokens for _, usage in made.score_many((query, [passage]) for query, passage in pairs)]
    assert told.tokens == pytest.approx(sum(counted) / len(counted))


def test_an_instruction_is_the_prompt_of_sentence_transformers(tmp_path):
    told = {"prompts": {"web": "Prefer what is new."}, "prompt_name": "web"}
    folder = logit_score_folder(tmp_path / "m", TURNS, tokens=(token("yes"), token("no")), **told)
    wish = "Prefer what is old."
    expected = by_sentence_transformers(folder, prompt=wish)
    scores = exabench.reranker("auto", model=str(folder), instruction=wish).score(QUERY, PASSAGES)
    assert scores == pytest.approx(expected, abs=1e-5)
    assert scores != pytest.approx(by_sentence_transformers(folder), abs=1e-5)


def test_a_long_passage_is_cut_where_sentence_transformers_cuts_it(tmp_path):
    folder = logit_score_folder(tmp_path / "m", TURNS, tokens=(token("yes"), token("no")))
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "model_max_length": 120}))
    long = [Passage("long", "The sky scatters the light of short waves. " * 40), *PASSAGES]
    made = exabench.reranker("auto", model=str(folder))
    assert made.identity["max_length"] == 120
    expected = by_sentence_transformers(folder, [passage.flat() for passage in long])
    assert made.score(QUERY, long) == pytest.approx(expected, abs=1e-5)


def test_a_chat_template_of_query_and_document_without_modules_reads_yes_and_no(tmp_path):
    folder = logit_score_folder(tmp_path / "m", TURNS, tokens=(token("yes"), token("no")))
    expected = by_sentence_transformers(folder)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "1_LogitScore")
    assert recognise(str(folder)).why.endswith("with a chat template of query and document")
    assert exabench.reranker("auto", model=str(folder)).score(QUERY, PASSAGES) == pytest.approx(expected, abs=1e-5)
    assert by_sentence_transformers(folder) == pytest.approx(expected, abs=1e-6)


def test_a_template_or_a_family_that_is_given_comes_before_the_folders_own(tmp_path):
    folder = logit_score_folder(tmp_path / "m", TURNS, tokens=(token("1"),))
    own = exabench.reranker("auto", model=str(folder))
    asked = exabench.reranker("auto", model=str(folder), template="{query} {passage}\nGood?\n")
    assert asked.identity["answers"] == own.identity["answers"] == [token("1")]
    assert (asked.identity["strategy"], asked.identity["template"]) == ("logit", "{query} {passage}\nGood?\n")
    other = exabench.reranker("auto", model=str(folder), answers=["yes", "no"], strategy="softmax")
    assert other.identity["answers"] == [token("yes"), token("no")]
    named = exabench.reranker("auto", model=str(folder), family="qwen3-reranker")
    assert named.identity["answers"] == [token("yes"), token("no")]


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("1_LogitScore/config.json", {"true_token_id": "yes"}, "is not the settings of a LogitScore"),
        ("1_LogitScore/config.json", {"true_token_id": None}, "is not the settings of a LogitScore"),
        ("1_LogitScore/config.json", {"true_token_id": 99_999}, "its score is the logit of token 99999, but it has"),
        ("sentence_bert_config.json", {"transformer_task": "any-to-any"}, "is not for a causal language model"),
        ("sentence_bert_config.json", {"processing_kwargs": {"chat_template": {"tokenize": False}}}, "sets tokenize"),
    ],
)
def test_a_broken_logit_score_folder_is_refused_in_one_line(file, change, said, tmp_path):
    folder = logit_score_folder(tmp_path / "m", TURNS, tokens=(token("yes"),))
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**values, **change}))
    with pytest.raises(BadInput) as caught:
        exabench.reranker("auto", model=str(folder))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_chat_template_that_fails_or_loses_the_passage_is_refused(tmp_path):
    for template, said in (
        ("{{ raise_exception('document: never') }}", "the chat template of this model cannot be used"),
        ("{% for m in messages if m.role == 'query' %}{{ m.content }}{% endfor %}", "must name {query} and {passage}"),
    ):
        folder = logit_score_folder(tmp_path / str(len(template)), template, tokens=(token("yes"),))
        with pytest.raises(BadInput) as caught:
            exabench.reranker("auto", model=str(folder))
        assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_logit_score_folder_that_was_trained_is_read_alike_here_and_by_sentence_transformers(tmp_path):
    start = logit_score_folder(tmp_path / "start", TURNS, tokens=(token("yes"), token("no")))
    rows = {"t": ("listwise", {"train": fits.listwise(6)})}
    release = fits.write_release(tmp_path / "release", rows)
    about: dict[str, Any] = {"reranker": "yes_no", "model": str(start), "options": {"max_length": 200}}
    file = fits.recipe(tmp_path / "toy.toml", [{"release": str(release), "table": "t"}], **about, steps={"epochs": 1})
    exabench.train(file, tmp_path / "run")
    folder = tmp_path / "run" / "model"
    scores = exabench.reranker("auto", model=str(folder)).score(QUERY, PASSAGES)
    assert scores == pytest.approx(by_sentence_transformers(folder), abs=1e-5)
    assert scores != pytest.approx(by_sentence_transformers(start), abs=1e-3)


def test_a_model_that_was_trained_from_a_known_id_keeps_its_family(tmp_path, monkeypatch):
    case = CASES[0]
    rows = {"t": ("listwise", {"train": fits.listwise(6)})}
    release = fits.write_release(tmp_path / "release", rows)
    with HubDouble() as hub:
        point_at(hub.url, tmp_path / "home", monkeypatch)
        hub.commit(f"models/{case.id}", contents(family_folder(tmp_path / "m", case.family)))
        about: dict[str, Any] = {"reranker": "yes_no", "model": case.id, "options": {"max_length": 300}}
        data = [{"release": str(release), "table": "t"}]
        exabench.train(fits.recipe(tmp_path / "toy.toml", data, **about, steps={"epochs": 1}), tmp_path / "run")
    folder = tmp_path / "run" / "model"
    assert recognise(str(folder)).options == {"max_length": 300, "family": case.family}
    scores = exabench.reranker("auto", model=str(folder)).score(QUERY, PASSAGES)
    assert scores == pytest.approx(by_the_card(case, folder), abs=1e-5)


@pytest.mark.real_data
def test_the_folder_that_others_met_has_the_scores_of_its_card(real_data):
    folder = real_data.resolve().parent / "cases" / "models" / "model-qwen3-logitscore"
    if not folder.is_dir():
        pytest.skip("the cases are not here")
    query = Query("q", "why is the sky blue")
    said = ["Air scatters blue light.", "Bread.", "The cell cycle of yeast is regulated by cyclin."]
    passages = [Passage(text, text) for text in [*said, "Why the sky is blue: Rayleigh scattering."]]
    right = pytest.approx([-0.1807, 0.5538, 0.1117, 0.6860], abs=5e-5)
    card = families()["qwen3-reranker"]
    template = "".join(card.template).replace("{instruction}", card.instruction)
    for options in ({}, {"family": "qwen3-reranker"}, {"template": template, "answers": ["yes", "no"]}):
        assert exabench.reranker("auto", model=str(folder), **options).score(query, passages) == right

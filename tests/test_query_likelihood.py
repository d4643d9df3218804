"""Query likelihood: the loss of transformers for the query, of T5 and causal models, batched, cut and counted."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models import (
    DECODERS,
    bpe_tokenizer,
    classifier_folder,
    decoder_folder,
    gemma_tokenizer,
    rankt5_folder,
    real_t5_tokenizer,
    t5_folder,
    t5_tokenizer,
)
from torch.utils._python_dispatch import TorchDispatchMode
from toys import write_submission

import exabench
from exabench.bench.ledger import Ledger
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.models import heads
from exabench.parts.recognition import recognise
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [
    Passage("a", "Light of short waves is scattered more than light of long waves.", "The sky"),
    Passage("b", "No."),
    Passage("empty", ""),
    Passage("c", 'A "quoted" passage, with (brackets) and 1.5 numbers. ' * 3),
    Passage("d", "東京 été 😀"),
    Passage("e", "The sky is blue because of Rayleigh scattering.", "Rayleigh"),
]
ASKED = "Please write a question based on this passage."


def made(folder: Path, **options: Any) -> Any:
    return exabench.reranker("query_likelihood", model=str(folder), scores=None, **options)


# -- references: transformers alone, one pair at a time, in double precision ---------------------------


def of_t5(folder: Path, prompts: Sequence[str], answer: str) -> list[float]:
    """ielab/llm-rankers, method qlm: minus the sum of the cross entropies of the labels, which have no special tokens
    but those of the text."""
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    labels = tokenizer.encode(answer, return_tensors="pt", add_special_tokens=False)
    scores = []
    for prompt in prompts:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            logits = model(**inputs, labels=labels).logits
        losses = torch.nn.functional.cross_entropy(logits[0], labels[0], reduction="none")
        scores.append(-float(losses.sum()))
    return scores


def of_decoder(folder: Path, prompts: Sequence[str], answer: str) -> tuple[list[float], int]:
    """The loss of the model itself, whose labels are those tokens of the whole text that are not in the prompt."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    scores = []
    for prompt in prompts:
        ids = tokenizer(prompt + answer, return_tensors="pt")["input_ids"]
        labels = ids.clone()
        labels[:, : len(tokenizer(prompt)["input_ids"])] = -100
        written = int((labels >= 0).sum())
        with torch.inference_mode():
            scores.append(-float(model(ids, labels=labels).loss) * written)
    return scores, written


def shown(template: str) -> list[str]:
    return [template.replace("{passage}", passage.flat()) for passage in PASSAGES]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("models")
    t5_folder(at / "t5", t5_tokenizer())
    t5_folder(at / "flan", t5_tokenizer(), tied=False, gated=True, seed=1)
    t5_folder(at / "mt5", t5_tokenizer(), kind="mt5", tied=False, gated=True, seed=2)
    decoder_folder(at / "llama")
    decoder_folder(at / "qwen3", "qwen3")
    return at


@pytest.mark.parametrize(
    ("name", "answer"), [("t5", ""), ("flan", ""), ("mt5", ""), ("flan", "{query}"), ("t5", "{query}</s>")]
)
def test_a_t5_scores_as_llm_rankers_as_the_paper_and_as_the_paper_s_code(name: str, answer: str, folders: Path) -> None:
    told = {"answer": answer} if answer else {}
    written = (answer or "<pad> {query}").replace("{query}", QUERY.text)
    expected = of_t5(folders / name, shown(f"Passage: {{passage}}\n{ASKED}"), written)
    assert made(folders / name, **told).score(QUERY, PASSAGES) == pytest.approx(expected, rel=1e-6)
    tokens = len(t5_tokenizer().encode(written, add_special_tokens=False))
    means = made(folders / name, reduction="mean", **told).score(QUERY, PASSAGES)
    assert means == pytest.approx([score / tokens for score in expected], abs=1e-5)


@pytest.mark.real_data
def test_t5_s_own_tokenizer_makes_the_labels_of_llm_rankers(real_data: Path, tmp_path: Path) -> None:
    folder = t5_folder(tmp_path / "model", real_t5_tokenizer(real_data, tmp_path / "tokenizer"))
    expected = of_t5(folder, shown(f"Passage: {{passage}}\n{ASKED}"), f"<pad> {QUERY.text}")
    assert made(folder).score(QUERY, PASSAGES) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", [*DECODERS, "smollm3", "olmo3", "glm4"])
def test_a_causal_model_scores_as_its_own_loss_of_the_query(kind: str, tmp_path: Path) -> None:
    tokenizer = gemma_tokenizer() if kind.startswith("gemma") else bpe_tokenizer()
    folder = decoder_folder(tmp_path / kind, kind, tokenizer=tokenizer)
    expected, tokens = of_decoder(folder, shown(f"Passage: {{passage}}\n{ASKED}\nQuestion:"), f" {QUERY.text}")
    assert made(folder).score(QUERY, PASSAGES) == pytest.approx(expected, rel=1e-6)
    means = made(folder, reduction="mean").score(QUERY, PASSAGES)
    assert means == pytest.approx([score / tokens for score in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("template", "prompt", "answer"),
    [
        ("Text: {passage}", "Text: {passage}", f" {QUERY.text}"),
        ("Text: {passage} Query: ", "Text: {passage} Query:", f" {QUERY.text}"),  # a space belongs to the query
        ("{passage}\n", "{passage}\n", QUERY.text),
        ("<|im_start|>{passage}<|im_end|>\n<|im_start|>", "<|im_start|>{passage}<|im_end|>\n<|im_start|>", QUERY.text),
        ("Passage: {passage}\nWrite a question.", "Passage: {passage}\nWrite a question.", f" {QUERY.text}"),
    ],
)
def test_the_query_follows_any_prompt_as_in_one_text(template: str, prompt: str, answer: str, folders: Path) -> None:
    expected, _ = of_decoder(folders / "qwen3", shown(prompt), answer)
    assert made(folders / "qwen3", template=template).score(QUERY, PASSAGES) == pytest.approx(expected, rel=1e-6)


def test_an_instruction_and_the_end_of_the_answer_can_be_said(folders: Path) -> None:
    wish = "Write a headline for this passage."
    expected, _ = of_decoder(
        folders / "llama", shown(f"Passage: {{passage}}\n{wish}\nQuestion:"), f" {QUERY.text}<|im_end|>"
    )
    reranker = made(folders / "llama", instruction=wish, answer="{query}<|im_end|>")
    assert reranker.score(QUERY, PASSAGES) == pytest.approx(expected, rel=1e-6)


def test_the_query_is_the_assistant_s_turn(folders: Path) -> None:
    tokenizer = bpe_tokenizer()
    prompts = []
    for text in shown(f"Passage: {{passage}}\n{ASKED}\nQuestion:"):
        turns = [{"role": "user", "content": text}]
        prompts.append(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    expected, _ = of_decoder(folders / "qwen3", prompts, QUERY.text)
    assert made(folders / "qwen3", chat=True).score(QUERY, PASSAGES) == pytest.approx(expected, rel=1e-6)


def test_a_tokenizer_that_ends_every_text_does_not_end_the_prompt(tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path / "m")
    expected = made(folder).score(QUERY, PASSAGES)
    settings = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    end = {"id": "<|im_end|>", "ids": [2], "tokens": ["<|im_end|>"]}
    pieces = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}}]
    settings["post_processor"] = {
        "type": "TemplateProcessing",
        "single": pieces,
        "pair": [*pieces, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_end|>": end},
    }
    (folder / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("a text")["input_ids"][-1] == tokenizer.eos_token_id == 2
    assert made(folder).score(QUERY, PASSAGES) == pytest.approx(expected, rel=1e-6)


# -- batches, the store, the cut -------------------------------------------------------------------------


def jobs() -> list[tuple[Query, list[Passage]]]:
    words = "why is the sky blue and the honey of bees so sweet".split()
    drawn = random.Random(5)
    found = []
    for number in range(4):
        query = Query(f"q{number}", " ".join(drawn.choices(words, k=drawn.randint(1, 30))))
        passages = []
        for place in range(6):
            passages.append(Passage(f"p{place}", " ".join(drawn.choices(words, k=drawn.randint(0, 90)))))
        found.append((query, passages))
    return found


def scores_of(reranker: Any, lists: Sequence[Any]) -> list[list[float]]:
    return [scores for scores, _ in reranker.score_many(lists)]


@pytest.mark.parametrize(("name", "precision"), [("t5", "float32"), ("llama", "float32"), ("llama", "int8")])
def test_a_score_is_that_of_the_pair_alone_in_any_batch(name: str, precision: str, folders: Path) -> None:
    alone = made(folders / name, precision=precision)
    expected = [[alone.score(query, [passage])[0] for passage in passages] for query, passages in jobs()]
    for budget in (0, 64, 60_000):
        several = made(folders / name, batch_tokens=budget, precision=precision)
        turned = [(query, passages[::-1]) for query, passages in jobs()[::-1]]
        for found in (scores_of(several, jobs()), [row[::-1] for row in scores_of(several, turned)][::-1]):
            for row, wanted in zip(found, expected, strict=True):
                assert row == pytest.approx(wanted, rel=1e-5 if precision == "float32" else 1e-2)


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_a_list_has_the_same_bits_whatever_was_scored_before_it(name: str, folders: Path, tmp_path: Path) -> None:
    lists = (jobs(), jobs()[::-1], jobs()[:2])
    found = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        store = str(tmp_path / f"{order}")
        scores = {}
        for place in order:
            reranker = exabench.reranker("query_likelihood", model=str(folders / name), scores=store)
            scores[place] = scores_of(reranker, lists[place])
            again = exabench.reranker("query_likelihood", model=str(folders / name), scores=store, reduction="mean")
            assert scores_of(again, lists[place]) != scores[place] and again.pairs_per_second is None
        found.append(scores)
    assert found[0] == found[1] == found[2]


class MostLogits(TorchDispatchMode):
    """How many numbers the largest tensor has with so many columns that an operation gives."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.shape[-1:] == (self.columns,):
            self.most = max(self.most, result.numel())
        return result


@pytest.mark.parametrize(("name", "vocabulary"), [("t5", 1_152), ("llama", 1_280)])
def test_the_logits_in_memory_are_bounded(
    name: str, vocabulary: int, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = Query("long", "why is the sky blue " * 10)
    expected = made(folders / name).score(query, PASSAGES)
    monkeypatch.setattr(heads, "LOGITS_AT_ONCE", 50_000)
    reranker = made(folders / name, batch_tokens=8_000)
    with MostLogits(vocabulary) as watched:
        scores = reranker.score(query, PASSAGES)
    assert scores == pytest.approx(expected, rel=1e-5)
    assert 40_000 < watched.most <= 50_000 < 50 * len(PASSAGES) * vocabulary, "of 50 tokens and more for each passage"


@pytest.mark.parametrize("name", ["t5", "llama"])
def test_a_passage_is_cut_before_the_query_and_a_query_alike_for_all(name: str, folders: Path) -> None:
    reranker = made(folders / name, max_length=96)
    tokenizer = bpe_tokenizer() if name == "llama" else t5_tokenizer()
    long = Passage("long", "word " * 1_000)
    longer = Passage("longer", "word " * 2_000)
    why = Query("l", "why " * 1_000)
    query = Query("q", QUERY.text)
    (scores, first), (_, second) = reranker.score_many(
        [(query, [long, longer, PASSAGES[1]]), (why, [long, PASSAGES[1]])]
    )
    assert scores[0] == pytest.approx(scores[1], rel=1e-6), "what is read of both is the same"
    assert (first.cut_passages, first.cut_queries, first.passages) == (2, 0, 3)
    written = len(tokenizer.encode(QUERY.text, add_special_tokens=False)) + (name == "t5")
    assert first.output_tokens == 3 * written
    assert first.input_tokens <= 2 * (96 - written) + 40
    assert (second.cut_passages, second.cut_queries) == (1, 2)
    assert second.output_tokens % 2 == 0, "a short passage leaves a query no more tokens than a long one"
    assert second.input_tokens + second.output_tokens <= 2 * 96
    with pytest.raises(BadInput, match="max_length 9 is shorter than the template itself; raise it"):
        made(folders / name, max_length=9)


# -- what it costs ---------------------------------------------------------------------------------------


def test_the_work_of_a_t5_is_counted(folders: Path) -> None:
    [(_, usage)] = made(folders / "t5").score_many([(QUERY, PASSAGES)])
    flops = 0
    read = 0
    tokenizer = t5_tokenizer()
    o = len(tokenizer.encode(f"<pad> {QUERY.text}", add_special_tokens=False))
    square, ffn = 2 * 32 * 32, 2 * 32 * 48  # of one token: a projection, one of the feed-forward's two products
    for prompt in shown(f"Passage: {{passage}}\n{ASKED}"):
        s = len(tokenizer(prompt)["input_ids"])
        read += s
        flops += 2 * ((4 * square + 2 * ffn) * s + 2 * 2 * 32 * s * s)  # two layers of the encoder
        flops += 2 * ((4 * square + 2 * ffn) * o + 2 * 2 * 32 * (o * (o + 1) // 2))  # and of the decoder: itself,
        flops += 2 * (2 * square * s + 2 * square * o + 2 * 2 * 32 * s * o)  # and what it sees of the prompt
        flops += o * 2 * 32 * 1_152  # every row of the vocabulary for each token of the query
    assert (usage.prompts, usage.input_tokens, usage.output_tokens) == (6, read, 6 * o)
    assert usage.flops_exact == pytest.approx(flops)


def test_the_work_of_a_causal_model_is_counted_but_where_its_kind_is_not_known(folders: Path, tmp_path: Path) -> None:
    [(_, usage)] = made(folders / "llama").score_many([(QUERY, PASSAGES)])
    flops = 0
    read = 0
    tokenizer = bpe_tokenizer()
    o = len(tokenizer(f" {QUERY.text}")["input_ids"])
    token = 2 * 32 * (32 + 32 + 16 + 16 + 3 * 48)  # query, output, keys and values of two heads, gated feed-forward
    for prompt in shown(f"Passage: {{passage}}\n{ASKED}\nQuestion:"):
        s = len(tokenizer(prompt)["input_ids"])
        read += s
        n = s + o - 1  # nothing follows the last token, so it is not read
        flops += 2 * (token * n + 2 * 2 * 32 * (n * (n + 1) // 2)) + o * 2 * 32 * 1_280
    assert (usage.prompts, usage.input_tokens, usage.output_tokens) == (6, read, 6 * o)
    assert usage.flops_exact == pytest.approx(flops)
    unknown = made(decoder_folder(tmp_path / "m", "smollm3"))
    [(_, usage)] = unknown.score_many([(QUERY, PASSAGES)])
    assert usage.flops_exact is usage.flops_paper is None and usage.output_tokens == 6 * o


# -- the front door --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "options", "said"),
    [
        ("t5", {"template": "Passage: {query}"}, "must name {passage}, each once"),
        ("t5", {"template": "{passage} {query}"}, "must name only {passage}: {query} is what the model is to write"),
        ("llama", {"template": "{passage} {passage_b}"}, "must name only {passage}"),
        ("llama", {"template": "{passage}"}, "the template is only {passage}, and an empty passage would leave no"),
        ("llama", {"answer": "yes"}, "answer 'yes' must name {query}, each once"),
        ("llama", {"answer": "{passage} {query}"}, "must name only {query}: the passage is in the template"),
        ("llama", {"template": "{passage}", "instruction": "Ask."}, "the template has no {instruction}"),
        ("llama", {"family": "yes_no"}, "which reads query_likelihood, query_likelihood_t5"),
        ("llama", {"reduction": "max"}, 'reduction must be "sum" or "mean", not'),
        ("llama", {"strategy": "logit"}, "has no option 'strategy'"),
        ("llama", {"template": "<|im_start|>{passage}", "chat": True}, "the template already has turns"),
        ("t5", {"chat": True}, "has no chat template; remove chat"),
        ("bert", {}, "is of type bert (encoder), but this reranker needs a T5 or a Llama"),
        ("head on a qwen2", {}, "is a classifier of type qwen2, but this reranker needs a T5 or a Llama"),
        ("rankt5", {}, "is of type t5 (encoder), but this reranker needs a T5 or a Llama"),
        ("bart", {}, "architecture 'bart' is not supported"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    of: str, options: dict[str, Any], said: str, folders: Path, tmp_path: Path
) -> None:
    folder = folders / of
    if of == "bert":
        folder = classifier_folder(tmp_path / "m")
    elif of == "head on a qwen2":  # tied, so that it holds all weights of a language model
        folder = classifier_folder(tmp_path / "m", "qwen2")
    elif of == "rankt5":
        folder = rankt5_folder(tmp_path / "m", t5_tokenizer())
    elif of == "bart":
        folder = shutil.copytree(folders / "t5", tmp_path / "m")
        config = {"model_type": "bart", "architectures": ["BartForConditionalGeneration"], "is_encoder_decoder": True}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        made(folder, **options)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_others_do_not_take_its_strategy_nor_read_such_a_classifier(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="strategy log_likelihood does not fit a model with 2 answers; use difference"):
        exabench.reranker("monot5", model=str(folders / "t5"), strategy="log_likelihood")
    folder = str(classifier_folder(tmp_path / "m", "qwen2"))
    with pytest.raises(BadInput, match="is a classifier of type qwen2, but this reranker needs a Llama"):
        exabench.reranker("yes_no", model=folder)
    assert recognise(str(folders / "t5")).reranker == "monot5", "it is used where it is named"


def test_it_cannot_be_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ("--set", 'reranker="query_likelihood"', "--dry-run")
    assert main(["train", "run", "minilm-l6", "--to", str(tmp_path / "to"), *changes]) == 2
    said = capsys.readouterr().err
    assert "reranker query_likelihood cannot be trained; use one of bi_encoder, cross_encoder" in said
    assert "query_likelihood" not in said.partition("use one of")[2]


@pytest.mark.parametrize("name", ["flan", "llama"])
def test_it_is_evaluated_and_submitted_alike(name: str, folders: Path, tmp_path: Path) -> None:
    folder = folders / name
    found = exabench.evaluate("query_likelihood", "mini", model=str(folder), depth=3)
    collection = open_collection(single_task("mini"), None)
    corpus = {passage.id: passage for passage in collection.passages()}
    run = found.runs["mini"]
    query = next(query for query in collection.queries() if query.id in run)
    scores = made(folder).score(query, [corpus[id] for id in run.ranking(query.id)])
    assert scores == sorted(scores, reverse=True) and len(scores) == 3

    board = tmp_path / "board"
    ledger = Ledger(board)
    ledger.create("Likelihoods", ["mini"])
    ledger.add_candidates(*exabench.make_candidates("mini", "bm25", 3))
    sent = {"name": "acme/likely", "kind": "model", "reranker": "query_likelihood", "model": str(folder)}
    exabench.submit(write_submission(tmp_path / "sent", **sent, options={"reduction": "mean"}), [], board)
    [result] = exabench.run_board(board, slugs=["acme--likely"])
    values = json.loads(result.read_text())
    assert values["measurement"]["metrics"]["nDCG@10"] == pytest.approx(found["mini"]["nDCG@10"])
    assert values["model"]["strategy"] == "log_likelihood, mean"


def test_a_template_of_the_user_s_is_taken_by_every_entrance(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no {query}, which the templates of other rerankers must have."""
    template = "Passage: {passage} Ask:"
    folder = str(folders / "llama")
    options = ["--task", "mini", "--depth", "2", "--set", f"template={template}"]
    for call in (
        ["query_likelihood", "--set", f"model={folder}"],
        [folder, "--reranker", "query_likelihood"],
        [folder, "--set", "family=query_likelihood"],
    ):
        assert main(["evaluate", *call, *options]) == 0
    capsys.readouterr()
    wrong = ["--task", "mini", "--set", "template=Passage: Ask:"]
    assert main(["evaluate", folder, "--reranker", "query_likelihood", *wrong]) == 2
    assert "template 'Passage: Ask:' must name {passage}, each once" in capsys.readouterr().err
    assert main(["evaluate", folder, "--reranker", "yes_no", *options]) == 2
    assert "must name {query} and {passage}, each once" in capsys.readouterr().err

    board = tmp_path / "board"
    ledger = Ledger(board)
    ledger.create("Templates", ["mini"])
    ledger.add_candidates(*exabench.make_candidates("mini", "bm25", 2))
    sent = {"name": "acme/likely", "kind": "model", "reranker": "query_likelihood", "model": folder}
    exabench.submit(write_submission(tmp_path / "sent", **sent, options={"template": template}), [], board)


def test_a_dry_run_counts_the_query_as_a_part_of_the_input(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["evaluate", "query_likelihood", "--task", "mini", "--set", f"model={folders / 'llama'}", "--dry-run"]
    assert main(call) == 0
    assert "pairs" in capsys.readouterr().out

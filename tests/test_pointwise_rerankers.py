"""Pointwise rerankers: scores are the papers' formulas, worked out with plain transformers one pair at a time."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
import transformers
from models import (
    MINILM,
    bert_tokenizer,
    bpe_tokenizer,
    classifier_folder,
    decoder_folder,
    minilm_folder,
    rankt5_folder,
    real_t5_tokenizer,
    t5_folder,
    t5_tokenizer,
)
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.models.families import families
from exabench.models.flops import exact, shape_of
from exabench.parts.rerankers import RERANKERS

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [
    Passage("a", "Light of short waves is scattered more than light of long waves.", "The sky"),
    Passage("b", "No."),
    Passage("empty", ""),
    Passage("c", 'A "quoted" passage, with (brackets) and 1.5 numbers. ' * 3),
    Passage("d", "東京 été 😀"),
    Passage("e", "The sky is blue because of Rayleigh scattering.", "Rayleigh"),
]
MONOT5 = "Query: {} Document: {} Relevant:"
EXARANKER = 'Is the question: "{}" answered by the document: "{}"? Give an explanation.'


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    at = tmp_path_factory.mktemp("models")
    t5_folder(at / "t5", t5_tokenizer())
    t5_folder(at / "flan", t5_tokenizer(), tied=False, gated=True, seed=1)
    rankt5_folder(at / "rankt5", t5_tokenizer())
    classifier_folder(at / "bert")
    classifier_folder(at / "monobert", labels=2)
    decoder_folder(at / "llama")
    return at


def made(name, folder, **options):
    return RERANKERS[name](str(folder), **options)


def filled(text):
    return [text.format(QUERY.text, passage.flat()) for passage in PASSAGES]


def first_logits(folder, texts):
    """float64 `[n, vocabulary]`: transformers' own logits of the first token, one text at a time."""
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    start = torch.tensor([[model.config.decoder_start_token_id]])
    with torch.inference_mode():
        rows = [model(**tokenizer(text, return_tensors="pt"), decoder_input_ids=start).logits[0, 0] for text in texts]
    return torch.stack(rows).double(), tokenizer


def token(tokenizer, piece):
    id = tokenizer.convert_tokens_to_ids(piece)
    assert id != tokenizer.unk_token_id
    return id


def check_monot5(folder, strategies):
    logits, tokenizer = first_logits(folder, filled(MONOT5))
    yes, no = logits[:, token(tokenizer, "▁true")], logits[:, token(tokenizer, "▁false")]
    formulas = {
        "": yes - torch.logaddexp(yes, no),  # log softmax, the default
        "softmax": yes.exp() / (yes.exp() + no.exp()),
        "difference": yes - no,
    }
    for strategy in strategies:
        reranker = made("monot5", folder, **({"strategy": strategy} if strategy else {}))
        assert reranker.score(QUERY, PASSAGES) == pytest.approx(formulas[strategy].tolist(), abs=2e-5)
        assert reranker.identity["answers"] == [token(tokenizer, piece) for piece in ("▁true", "▁false")]


@pytest.mark.parametrize("name", ["t5", "flan"])
def test_monot5_and_twolar_score_by_their_formulas(name, folders):
    check_monot5(folders / name, ["", "softmax", "difference"])


@pytest.mark.real_data
def test_monot5_with_t5s_own_tokenizer_scores_by_its_formula(real_data, tmp_path):
    folder = t5_folder(tmp_path / "model", real_t5_tokenizer(real_data, tmp_path / "tokenizer"))
    check_monot5(folder, [""])
    positive, *negative = made("exaranker", folder).identity["answers"]
    assert positive == 1176 and 6136 in negative


def test_other_answer_words_are_other_scores_and_another_identity(folders):
    plain = made("monot5", folders / "t5")
    other = made("monot5", folders / "t5", answers=("yes", "no"))
    assert other.score(QUERY, PASSAGES) != plain.score(QUERY, PASSAGES)
    assert other.identity["answers"] != plain.identity["answers"]


@pytest.mark.parametrize("name", ["t5", "flan"])
def test_exaranker_is_the_probability_of_the_token_that_transformers_generates_signed_by_what_it_says(name, folders):
    reranker = made("exaranker", folders / name)
    difference = made("exaranker", folders / name, strategy="difference").score(QUERY, PASSAGES)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folders / name, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / name)
    yes, no = token(tokenizer, "▁true"), token(tokenizer, "▁false")
    told = {"max_new_tokens": 8, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    for place, (passage, text) in enumerate(zip(PASSAGES, filled(EXARANKER), strict=True)):
        own = model.generate(**tokenizer(text, return_tensors="pt"), **told)
        logits = own.logits[0][0]
        p = logits.softmax(-1)[own.sequences[0, 1]].item()
        negative = tokenizer.decode(own.sequences[0, 1]).strip().upper() == "FALSE"
        assert reranker.score(QUERY, [passage]) == pytest.approx([1 - p if negative else 1 + p], abs=2e-5)
        assert difference[place] == pytest.approx(float(logits[yes] - logits[no]), abs=2e-5)
        said = tokenizer.decode(own.sequences[0], skip_special_tokens=True)
        assert reranker.explain(QUERY, passage, max_tokens=8) == said
    with pytest.raises(BadInput, match="at least one token"):
        reranker.explain(QUERY, PASSAGES[0], max_tokens=0)


def test_exaranker_can_say_false(tmp_path):
    folder = t5_folder(tmp_path, t5_tokenizer(), tied=False, gated=True, seed=1)
    weights = load_file(folder / "model.safetensors")
    logits, tokenizer = first_logits(folder, filled(EXARANKER))
    output = weights["lm_head.weight"]
    output[token(tokenizer, "▁False")] = output[int(logits[0].argmax())] * 1.5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert made("exaranker", folder).score(QUERY, PASSAGES)[0] < 1


def test_rankt5_is_one_logit_or_one_dense_layer(folders):
    texts = filled("Query: {} Document: {}")
    logits, tokenizer = first_logits(folders / "flan", texts)
    expected = logits[:, token(tokenizer, "<extra_id_10>")].tolist()
    assert made("rankt5", folders / "flan").score(QUERY, PASSAGES) == pytest.approx(expected, abs=2e-5)

    weights = load_file(folders / "rankt5" / "model.safetensors")
    encoder = transformers.T5EncoderModel.from_pretrained(folders / "rankt5", dtype=torch.float32).eval()
    with torch.inference_mode():
        states = [encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0] for text in texts]
    expected = [float(state @ weights["dense.weight"][0] + weights["dense.bias"]) for state in states]
    assert made("rankt5", folders / "rankt5").score(QUERY, PASSAGES) == pytest.approx(expected, abs=2e-5)


def test_a_cross_encoder_scores_what_sentence_transformers_predicts(folders):
    pairs = [(QUERY.text, passage.flat()) for passage in PASSAGES]
    one, two = (
        CrossEncoder(str(folders / name), device="cpu").predict(pairs, activation_fn=torch.nn.Identity())
        for name in ("bert", "monobert")
    )
    relevant = torch.tensor(two).log_softmax(-1)[:, 1]
    for name, expected in (("bert", one), ("monobert", relevant)):
        scores = made("cross_encoder", folders / name).score(QUERY, PASSAGES)
        assert scores == pytest.approx(expected.tolist(), abs=2e-5)


def test_a_classifier_without_token_types_scores_its_tokenizers_own_pairs(tmp_path):
    folder = classifier_folder(tmp_path, "roberta")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    expected = []
    for passage in PASSAGES:
        pair = bert_tokenizer()([QUERY.text], [passage.flat()], return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            expected.append(model(**pair).logits[0, 0].item())
    assert made("cross_encoder", folder).score(QUERY, PASSAGES) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("chat", [False, True])
def test_yes_no_compares_the_next_tokens_logits(chat, folders):
    model = transformers.AutoModelForCausalLM.from_pretrained(folders / "llama", dtype=torch.float32).eval()
    tokenizer = bpe_tokenizer()
    yes, no = (token(tokenizer, piece) for piece in (("yes", "no") if chat else ("Ġyes", "Ġno")))
    expected = []
    for passage in PASSAGES:
        text = families()["yes_no"].template.replace("{query}", QUERY.text).replace("{passage}", passage.flat())
        turns = [{"role": "user", "content": text}]
        if chat:
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).logits[0, -1]
        expected.append(float(logits[yes] - logits[no]))
    reranker = made("yes_no", folders / "llama", chat=chat)
    assert reranker.score(QUERY, PASSAGES) == pytest.approx(expected, abs=1e-4)
    assert reranker.identity["answers"] == [yes, no]


def test_a_bi_encoder_counts_every_text_of_a_query_whatever_came_before():
    reranker = made("bi_encoder", MINILM, max_length=64)
    long = Passage("long", "light " * 100)
    jobs = [(QUERY, PASSAGES[:2]), (Query("r", "Who?"), [PASSAGES[1], PASSAGES[3]]), (QUERY, PASSAGES[:2])]
    jobs += [(Query("empty", ""), []), (Query("s", "Who?"), [long, long])]
    usage = [used for _, used in reranker.score_many(iter(jobs))]
    assert [used.prompts for used in usage] == [3, 3, 3, 1, 3] and usage[0] == usage[2]
    tokens = [len(bert_tokenizer()(text)["input_ids"]) for text in (QUERY.text, PASSAGES[0].flat(), "No.")]
    assert usage[0].input_tokens == sum(tokens)
    shape = shape_of(json.loads((minilm_folder() / "config.json").read_text()))
    assert usage[0].flops_exact == pytest.approx(sum(exact(shape, n, 0, rows=0) for n in tokens))
    assert [used.cut_passages for used in usage] == [0, 0, 0, 0, 2]
    assert [used.passages for used in usage] == [2, 2, 2, 0, 2]
    assert usage[4].input_tokens == 2 * 64 + len(bert_tokenizer()("Who?")["input_ids"])
    scores = [scored for scored, _ in reranker.score_many(iter(jobs))]
    assert scores[3] == [] and scores[0] == scores[2] and scores[4][0] == scores[4][1]


ALL = [
    *(("monot5", "t5"), ("exaranker", "t5"), ("rankt5", "flan"), ("rankt5", "rankt5"), ("yes_no", "llama")),
    *(("query_likelihood", "flan"), ("query_likelihood", "llama")),
    *(("cross_encoder", "bert"), ("cross_encoder", "monobert"), ("bi_encoder", MINILM)),
]


@pytest.mark.parametrize("which", ALL, ids=lambda which: "-".join(which))
def test_scores_of_many_are_those_of_one_every_token_is_counted_and_strange_texts_are_scored_too(which, folders):
    name, of = which
    reranker = made(name, of if of == MINILM else folders / of)
    assert reranker.reads == "texts" and reranker.precision == "float32" and reranker.parameters > 10_000
    assert json.loads(json.dumps(reranker.identity)) == reranker.identity
    alone = [reranker.score(QUERY, [passage])[0] for passage in PASSAGES]
    jobs = [(QUERY, PASSAGES), (Query("none", "nothing"), []), (QUERY, PASSAGES[::-1])]
    (first, used), (none, nothing), (again, _) = reranker.score_many(jobs)
    assert first == pytest.approx(alone, abs=1e-4) and again[::-1] == pytest.approx(first, abs=1e-6)
    assert none == [] == reranker.score(QUERY, []) == list(reranker.score_many([]))
    if name != "bi_encoder":
        assert used.prompts == 6 and nothing.prompts == 0 == nothing.flops_exact
        assert used.input_tokens > 6 * 10 and used.flops_exact > 0 and used.flops_paper > 0
    strange = ("word " * 10_000, "", "\ud800", "\0\x1b[2J\n", "東京" * 400)
    passages = [Passage("title", "", "no text"), *(Passage("p", text) for text in strange)]
    for text in ("😀👍🏽", "", "why " * 5_000):
        scores = reranker.score(Query("q", text), passages)
        assert len(scores) == 6 and all(type(score) is float and math.isfinite(score) for score in scores)


def test_what_is_cut_is_counted(folders):
    for name, of in (("monot5", "t5"), ("exaranker", "t5"), ("cross_encoder", "bert")):
        reranker = made(name, folders / of, max_length=128)
        long = Passage("long", "word " * 1_000)
        jobs = [(QUERY, [long, PASSAGES[1]]), (Query("l", "why " * 1_000), [long, PASSAGES[1], PASSAGES[2]])]
        (_, first), (_, second) = reranker.score_many(jobs)
        assert (first.cut_passages, first.cut_queries) == (1, 0)
        assert (first.passages, second.passages) == (2, 3)
        assert (second.cut_passages, second.cut_queries) == (1, 3), "a short passage stays whole"
        assert second.input_tokens == 3 * 128


@pytest.mark.parametrize(
    ("name", "of", "options", "said"),
    [
        ("monot5", "t5", {"strategy": "softest"}, "unknown strategy 'softest'"),
        ("monot5", "t5", {"answers": ["true"]}, "does not fit a model with 1 answer; use logit"),
        ("monot5", "t5", {"answers": ["incomprehensibilities", "false"]}, "is not one token"),
        ("monot5", "t5", {"template": "{query}"}, "must name {query} and {passage}"),
        ("monot5", "bert", {}, "is of type bert (encoder)"),
        ("cross_encoder", MINILM, {}, "it is not a BERT with a class"),
        ("cross_encoder", "bert", {"strategy": "difference"}, "does not fit a model with 1 answer and no vocabulary"),
        ("cross_encoder", "monobert", {"strategy": "first_token"}, "use difference or log_softmax or logit or sof"),
        ("rankt5", "rankt5", {"strategy": "softmax"}, "use logit"),
        ("yes_no", "t5", {}, "needs a Llama"),
        ("bi_encoder", "t5", {}, "needs a BERT"),
        ("bi_encoder", MINILM, {"similarity": "euclid"}, "unknown similarity 'euclid'"),
        ("exaranker", "nowhere", {}, "is neither a folder nor a Hub id"),
    ],
)
def test_bad_input_is_refused_in_one_line(name, of, options, said, folders):
    with pytest.raises(BadInput) as caught:
        made(name, of if of == MINILM else folders / of, **options)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_tokenizer_without_a_chat_template_cannot_chat(folders, tmp_path):
    folder = shutil.copytree(folders / "llama", tmp_path / "llama")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match="has no chat template"):
        made("yes_no", folder, chat=True)

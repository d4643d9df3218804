"""Cross-encoders of every kind: scores are those of transformers one pair at a time, or of sentence-transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models import (
    CLASSIFIERS,
    DECODERS,
    UNCOUNTED,
    UNCOUNTED_DECODERS,
    bpe_tokenizer,
    classifier_folder,
    decoder_folder,
    encoder_folder,
    modular_folder,
    t5_folder,
    t5_tokenizer,
)
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from toys import write_submission

import exabench
from exabench.bench.ledger import Ledger
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.parts.recognition import recognise

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [
    Passage("a", "Light of short waves is scattered more than light of long waves.", "The sky"),
    Passage("b", "No!"),
    Passage("c", 'A "quoted" passage, with (brackets) and 1.5 numbers. ' * 3),
    Passage("d", "The sky is blue because of Rayleigh scattering.", "Rayleigh"),
]
PAIRS = [(QUERY.text, passage.flat()) for passage in PASSAGES]
CASES = Path(__file__).parents[2] / "shared" / "cases" / "models"
CLASSIFYING_DECODERS = [kind for kind in DECODERS if kind != "granite"]  # transformers has no head for that one


def edited(folder: Path, name: str = "config.json", **changes: Any) -> Path:
    """The folder after changes of one of its JSON files; None takes a key out."""
    file = folder / name
    values = json.loads(file.read_text()) if file.is_file() else {}
    values = {key: value for key, value in (values | changes).items() if value is not None}
    file.write_text(json.dumps(values))
    return folder


def scores(folder: Path, **options: Any) -> list[float]:
    """The scores of `auto`, each the same alone and in company, and in a whole run."""
    made: Any = exabench.reranker("auto", model=str(folder), **options)
    together = made.score(QUERY, PASSAGES)
    for passage, score in zip(PASSAGES, together, strict=True):
        assert made.score(QUERY, [passage]) == pytest.approx([score], abs=1e-5)
    [(many, usage)] = made.score_many([(QUERY, PASSAGES)])
    assert many == pytest.approx(together, abs=1e-5) and usage.output_tokens == 0
    assert max(together) - min(together) > 1e-4, "the toy tells passages apart"
    return list(together)


def logits_alone(folder: Path, texts: list[Any] | None = None) -> torch.Tensor:
    """transformers' own logits `[n, labels]`, one input at a time."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    with torch.inference_mode():
        for text in texts or PAIRS:
            inputs = dict(tokenizer(*text, return_tensors="pt") if isinstance(text, tuple) else text)
            if (getattr(model.config, "type_vocab_size", 0) or 0) < 2:
                inputs.pop("token_type_ids", None)
            rows.append(model(**inputs).logits[0])
    return torch.stack(rows)


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("kind", [*CLASSIFIERS, *UNCOUNTED, *CLASSIFYING_DECODERS, *UNCOUNTED_DECODERS])
def test_whatever_transformers_classifies_scores_what_its_own_forward_gives(
    kind: str, labels: int, tmp_path: Path
) -> None:
    folder = classifier_folder(tmp_path / "m", kind, labels=labels)
    wanted = logits_alone(folder)
    if labels == 2:
        wanted = wanted.log_softmax(-1)
    assert scores(folder) == pytest.approx(wanted[:, labels - 1].tolist(), abs=1e-5)


def test_flops_are_unknown_where_they_are_not_counted_and_an_estimate_says_so(tmp_path: Path) -> None:
    odd = str(classifier_folder(tmp_path / "odd", "ernie"))
    found = exabench.evaluate(odd, "mini", depth=5)
    assert found["mini"].cost is not None and found["mini"].cost.flops_exact is None
    from exabench.bench.estimate import estimate

    [told] = estimate(odd, ["mini"], depth=5)
    assert told.flops is None and told.seconds is None and told.tokens and "are not counted" in told.basis
    head = exabench.evaluate(str(classifier_folder(tmp_path / "head", "qwen3")), "mini", depth=5)["mini"].cost
    assert head is not None and head.flops_exact and head.output_tokens == 0


@pytest.mark.parametrize("padding", [None, 0, "the end of a passage"])
def test_a_head_on_a_decoder_reads_the_last_token_that_is_no_padding(padding: Any, tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m", "llama")
    if isinstance(padding, str):  # as transformers takes it, a passage that ends with the padding is read before it
        [padding] = bpe_tokenizer()("!", add_special_tokens=False)["input_ids"]
    edited(folder, pad_token_id=padding)
    assert scores(folder) == pytest.approx(logits_alone(folder)[:, 0].tolist(), abs=1e-5)
    edited(folder, "tokenizer_config.json", pad_token=None)
    assert scores(folder) == pytest.approx(logits_alone(folder)[:, 0].tolist(), abs=1e-5)


@pytest.mark.parametrize("limit", [{}, "512", True, 0, -1, float("nan")])
def test_a_tokenizer_whose_limit_is_no_number_of_tokens_is_refused(limit: Any, tmp_path: Path, capsys: Any) -> None:
    folder = edited(classifier_folder(tmp_path / "m"), "tokenizer_config.json", model_max_length=limit)
    for words in ([], ["--dry-run"]):
        assert main(["evaluate", str(folder), "--task", "mini", "--depth", "2", *words]) == 2
        told = capsys.readouterr().err
        assert "tokenizer_config.json: model_max_length is" in told and "Traceback" not in told


def test_a_template_is_what_a_model_was_trained_on(tmp_path: Path) -> None:
    folder = classifier_folder(tmp_path / "m", "llama")
    template = "query: {query} document: {passage}<|im_end|>"
    tokenizer = bpe_tokenizer()
    texts = [template.replace("{query}", query).replace("{passage}", passage) for query, passage in PAIRS]
    wanted = logits_alone(folder, [tokenizer(text, return_tensors="pt") for text in texts])
    assert scores(folder, template=template) == pytest.approx(wanted[:, 0].tolist(), abs=1e-5)
    made: Any = exabench.reranker("cross_encoder", model=str(folder), template=template)
    assert made.identity["template"] == template
    with pytest.raises(BadInput, match="must name {query} and {passage}, each once"):
        exabench.reranker("cross_encoder", model=str(folder), template="query: {query}")


@pytest.mark.parametrize(
    ("names", "relevant", "why"),
    [
        (None, 1, "label 1, LABEL_1, is the relevant one"),
        (("relevant", "not_relevant"), 0, "label 0, relevant, is the relevant one"),
        (("Irrelevant", "Relevant"), 1, "label 1, Relevant, is the relevant one"),
        (("yes", "no"), 0, "label 0, yes, is the relevant one"),
        (("entailment", "not-entailment"), 0, "label 0, entailment, is the relevant one"),
        (("spam", "eggs"), 1, "label 1 is taken for the relevant one: the names spam and eggs do not say it"),
    ],
)
def test_of_two_labels_the_one_counts_that_is_called_relevant(
    names: tuple[str, str] | None, relevant: int, why: str, tmp_path: Path
) -> None:
    folder = classifier_folder(tmp_path / "m", labels=2)
    if names:
        edited(folder, id2label=dict(enumerate(names)), label2id={name: place for place, name in enumerate(names)})
    assert scores(folder) == pytest.approx(logits_alone(folder).log_softmax(-1)[:, relevant].tolist(), abs=1e-5)
    assert why in recognise(str(folder)).why


def test_a_submission_of_each_kind_gets_the_numbers_of_an_evaluation(board: Path, tmp_path: Path) -> None:
    made = {
        "modules": modular_folder(tmp_path / "modules"),
        "head": classifier_folder(tmp_path / "head", "qwen3"),
        "uncounted": classifier_folder(tmp_path / "uncounted", "ernie", labels=2),
    }
    for name, folder in made.items():
        sent = {"name": f"acme/{name}", "kind": "model", "reranker": "cross_encoder", "model": str(folder)}
        exabench.submit(write_submission(tmp_path / f"{name}-sent", **sent), [], board)
    exabench.run_board(board, slugs=[f"acme--{name}" for name in made], trusted=True)
    for name, folder in made.items():
        [result] = Ledger(board).results(f"acme--{name}")
        found = exabench.evaluate(str(folder), "mini", depth=20)["mini"]
        assert result.measurement["nDCG@10"] == found["nDCG@10"]
    assert exabench.check(board) == []


# -- made of modules ---------------------------------------------------------------------------------------------------


def predicted(folder: Path) -> list[float]:
    """The raw scores of sentence-transformers."""
    model = CrossEncoder(str(folder), device="cpu")
    found = model.predict(PAIRS, activation_fn=torch.nn.Identity())
    return [float(score) for score in found]


@pytest.mark.parametrize(
    ("kind", "pooling"), [("modernbert", "cls"), ("bert", "mean"), ("electra", "max"), ("qwen3", "lasttoken")]
)
def test_a_cross_encoder_made_of_modules_scores_what_sentence_transformers_predicts(
    kind: str, pooling: str, tmp_path: Path
) -> None:
    folder = modular_folder(tmp_path / "m", kind, pooling=pooling)
    assert recognise(str(folder)).why == "modules.json lists Transformer, Pooling, Dense, LayerNorm, Dense"
    assert scores(folder) == pytest.approx(predicted(folder), abs=1e-5)


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not beside this checkout")
def test_the_published_layout_scores_as_published() -> None:
    passages = ["Air scatters blue light.", "Bread.", "The cell cycle of yeast is regulated by cyclin."]
    passages.append("Why the sky is blue: Rayleigh scattering.")
    made: Any = exabench.reranker("auto", model=str(CASES / "model-ettin-like"))
    found = made.score(Query("q", "why is the sky blue"), [Passage(text, text) for text in passages])
    assert [round(score, 4) for score in found] == [0.4192, 0.4185, 0.4194, 0.4188]


def test_prompt_limit_and_small_letters_of_a_folder_count(tmp_path: Path) -> None:
    prompts = {"query": "Rank this for me: "}
    folder = modular_folder(tmp_path / "m", prompts=prompts, default_prompt_name="query")
    plain = scores(modular_folder(tmp_path / "plain"))
    assert scores(folder) == pytest.approx(predicted(folder), abs=1e-5) != plain
    made: Any = exabench.reranker("auto", model=str(folder))
    assert made.identity["template"] == "pair with Rank this for me: "
    edited(folder, "sentence_bert_config.json", max_seq_length=12)
    made = exabench.reranker("auto", model=str(folder))
    assert made.identity["max_length"] == 12

    cased = classifier_folder(tmp_path / "cased", "qwen3")
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}]
    (cased / "modules.json").write_text(json.dumps(listed))
    edited(cased, "config_sentence_transformers.json", model_type="CrossEncoder")
    own = {"transformer_task": "sequence-classification", "do_lower_case": True}
    edited(cased, "sentence_bert_config.json", **own)
    lowered = [(query.lower(), passage.lower()) for query, passage in PAIRS]
    wanted = logits_alone(cased, [bpe_tokenizer()(*pair, return_tensors="pt") for pair in lowered])
    assert scores(cased) == pytest.approx(wanted[:, 0].tolist(), abs=1e-5)


def test_a_folder_whose_pairs_are_turns_is_read_by_its_chat_template(tmp_path: Path) -> None:
    chat = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    chat += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    for turn in (False, True):
        folder = classifier_folder(tmp_path / f"m{turn}", "qwen3")
        model = CrossEncoder(str(folder), device="cpu", processor_kwargs={"chat_template": chat})
        if turn:
            model[0].processing_kwargs = {"chat_template": {"add_generation_prompt": True}}
        saved = tmp_path / f"saved{turn}"
        model.save_pretrained(str(saved), create_model_card=False)
        assert scores(saved) == pytest.approx(predicted(saved), abs=1e-5)
    plain = classifier_folder(tmp_path / "plain", "qwen3")
    own = (
        "{{ messages[0].content }}<|im_end|>{% if messages[1].role == 'document' %}{{ messages[1].content }}{% endif %}"
    )
    (plain / "chat_template.jinja").write_text(f"<|im_start|>{own}<|im_end|>")
    assert scores(plain) == pytest.approx(predicted(plain), abs=1e-5)


def test_modules_that_are_not_known_or_not_whole_are_refused_in_one_line(tmp_path: Path) -> None:
    good = modular_folder(tmp_path / "good")

    def spoilt(name: str, file: str, **changes: Any) -> Path:
        return edited(Path(shutil.copytree(good, tmp_path / name)), file, **changes)

    def refused(folder: Path) -> str:
        with pytest.raises(BadInput) as caught:
            exabench.reranker("cross_encoder", model=str(folder))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    code = spoilt("code", "2_Dense/config.json", activation_function="torch.hub.load")
    assert "unknown activation_function 'torch.hub.load'" in refused(code)
    wide = spoilt("wide", "2_Dense/config.json", in_features=48)
    assert "cannot be loaded as a cross-encoder made of modules" in refused(wide)
    mute = spoilt("mute", "4_Dense/config.json", module_output_name="sentence_embedding")
    assert "has no weights for" in refused(mute)  # then it is an encoder without a head
    pickled = Path(shutil.copytree(good, tmp_path / "pickled"))
    (pickled / "4_Dense" / "model.safetensors").rename(pickled / "4_Dense" / "pytorch_model.bin")
    assert "module '4_Dense' has no model.safetensors" in refused(pickled)
    strange = spoilt("strange", "sentence_bert_config.json", query_expansion={"length": 8})
    assert "says query_expansion, which is not read here" in refused(strange)
    lacking = Path(shutil.copytree(good, tmp_path / "lacking"))
    weights = load_file(lacking / "3_LayerNorm" / "model.safetensors")
    save_file({"norm.weight": weights["norm.weight"]}, lacking / "3_LayerNorm" / "model.safetensors")
    assert "cannot be loaded" in refused(lacking)


# -- what still cannot be one ------------------------------------------------------------------------------------------


def test_a_causal_model_whose_sizes_are_not_known_scores_by_its_own_logits_or_not_at_all(tmp_path: Path) -> None:
    folder = decoder_folder(tmp_path / "m", "smollm3")
    made: Any = exabench.reranker("auto", model=str(folder))
    assert len(set(made.score(QUERY, PASSAGES))) == len(PASSAGES)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    scaled = transformers.CohereConfig(**sizes, vocab_size=1_280, pad_token_id=0, logit_scale=0.25)
    transformers.CohereForCausalLM(scaled).save_pretrained(tmp_path / "scaled")
    bpe_tokenizer().save_pretrained(tmp_path / "scaled")
    with pytest.raises(BadInput, match="a cohere makes its logits in a way that is not known here"):
        exabench.reranker("auto", model=str(tmp_path / "scaled"))
    with pytest.raises(BadInput, match="is of type t5 .encoder-decoder., but this reranker needs a BERT"):
        exabench.reranker("cross_encoder", model=str(t5_folder(tmp_path / "t5", t5_tokenizer())))
    with pytest.raises(BadInput, match="an encoder with neither a head that scores pairs"):
        exabench.reranker("auto", model=str(encoder_folder(tmp_path / "encoder")))

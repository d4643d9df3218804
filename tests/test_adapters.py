"""LoRA adapters: merged into their base model whatever is loaded of it, one digest for one model, or refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fits
import peft
import pytest
import torch
import transformers
from hub_client import point_at
from hub_double import HubDouble
from models import classifier_folder, decoder_folder, encoder_folder, t5_folder, t5_tokenizer
from safetensors.torch import load_file, save_file
from toys import contents, write_submission

import exabench
from exabench.bench.ledger import Ledger
from exabench.bench.sandbox import fetch_screened
from exabench.core.errors import BadInput, MissingExtra
from exabench.core.nouns import Passage, Prompt, Query
from exabench.hub.client import model_folder
from exabench.models.screening import SubmissionRefused, screen_folder
from exabench.parts.assembly import teacher
from exabench.parts.recognition import recognise

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [Passage("a", "Light of short waves is scattered."), Passage("b", "No!"), Passage("c", "Rayleigh " * 9)]
PAIRS = [(QUERY.text, passage.flat()) for passage in PASSAGES]
AUTO = {
    "SEQ_CLS": transformers.AutoModelForSequenceClassification,
    "CAUSAL_LM": transformers.AutoModelForCausalLM,
    "SEQ_2_SEQ_LM": transformers.AutoModelForSeq2SeqLM,
    None: transformers.AutoModel,
}


def adapted(base: Path, folder: Path, task: str | None, *, labels: int | None = None, **more: Any) -> Path:
    """The base model with an adapter of random weights next to it, as peft saves it."""
    shutil.copytree(base, folder)
    sizes = {} if labels is None else {"num_labels": labels}
    model = AUTO[task].from_pretrained(base, **sizes)
    settings = peft.LoraConfig(**{"task_type": task, "r": 4, "init_lora_weights": False, **more})
    torch.manual_seed(5)
    fitted = peft.get_peft_model(model, settings)
    for name, weight in fitted.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(weight, std=0.3)
    fitted.save_pretrained(folder)
    return folder


def with_peft(folder: Path, base: Path, task: str | None, **sizes: Any) -> Any:
    """The model as peft loads it, its adapter not merged."""
    return peft.PeftModel.from_pretrained(AUTO[task].from_pretrained(base, **sizes), folder).eval()


def scores(folder: Path, part: str = "auto", **options: Any) -> list[float]:
    made: Any = exabench.reranker(part, model=str(folder), **options)
    return list(made.score(QUERY, PASSAGES))


def logits(model: Any, folder: Path) -> list[float]:
    """The first logit of each pair, alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return [float(model(**tokenizer(*pair, return_tensors="pt")).logits[0, 0]) for pair in PAIRS]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("bert", {"target_modules": ["query", "value"]}),
        ("bert", {"target_modules": ["query"], "use_dora": True, "rank_pattern": {"layer.1.attention.self.query": 2}}),
        ("electra", {"target_modules": ["key", "word_embeddings"], "use_rslora": True, "bias": "lora_only"}),
        ("deberta-v2", {"target_modules": ["query_proj"], "layers_to_transform": [1]}),
        ("modernbert", {"target_modules": "all-linear"}),
        ("qwen3", {"target_modules": ["q_proj", "down_proj"]}),
    ],
)
def test_a_cross_encoder_and_its_adapter_score_as_peft_computes_them(
    kind: str, more: dict[str, Any], tmp_path: Path
) -> None:
    base = classifier_folder(tmp_path / "base", kind)
    folder = adapted(base, tmp_path / "adapted", "SEQ_CLS", **more)
    assert scores(folder) == pytest.approx(logits(with_peft(folder, base, "SEQ_CLS"), base), abs=1e-5)
    assert max(abs(a - b) for a, b in zip(scores(folder), scores(base), strict=True)) > 1e-3
    assert model_folder(str(folder)).revision != model_folder(str(base)).revision
    assert screen_folder(folder).parameters > screen_folder(base).parameters


def test_an_adapter_brings_the_head_that_a_causal_model_lacks(tmp_path: Path) -> None:
    base = decoder_folder(tmp_path / "base", "llama")  # as RankLLaMA: an adapter for one label over Llama 2
    folder = adapted(base, tmp_path / "adapted", "SEQ_CLS", labels=1, target_modules=["q_proj"])
    assert "adapter_config.json brings a classification head" in recognise(str(folder)).why
    wanted = logits(with_peft(folder, base, "SEQ_CLS", num_labels=1), base)
    assert scores(folder) == pytest.approx(wanted, abs=1e-5)
    assert screen_folder(folder).parameters


def test_language_models_encoders_and_teachers_merge_it_too(tmp_path: Path) -> None:
    def saved(base: Path, task: str | None, targets: list[str]) -> tuple[Path, Path]:
        """A folder with the adapter, and one in which peft merged it."""
        folder = adapted(base, base.with_name(f"{base.name}-adapted"), task, target_modules=targets)
        merged = with_peft(folder, base, task).merge_and_unload()
        plain = Path(shutil.copytree(base, base.with_name(f"{base.name}-merged")))
        merged.save_pretrained(plain)
        return folder, plain

    causal = saved(decoder_folder(tmp_path / "llama"), "CAUSAL_LM", ["q_proj", "o_proj"])
    seq2seq = saved(t5_folder(tmp_path / "t5", t5_tokenizer()), "SEQ_2_SEQ_LM", ["q", "v"])
    encoder = saved(encoder_folder(tmp_path / "bert"), None, ["query", "value"])
    for part, (folder, plain) in {"yes_no": causal, "monot5": seq2seq, "bi_encoder": encoder}.items():
        assert scores(folder, part) == pytest.approx(scores(plain, part), abs=1e-4)
    prompt = Prompt("p", (("user", "Why is the sky blue?"),), max_tokens=8)
    replies = []
    for folder in causal:
        [reply] = teacher("transformers", model=str(folder), device="cpu").complete([prompt])
        replies.append(reply.text)
    assert replies[0] == replies[1]


def test_a_training_starts_from_the_merged_model_and_saves_no_adapter(tmp_path: Path) -> None:
    base = classifier_folder(tmp_path / "base")
    folder = adapted(base, tmp_path / "adapted", "SEQ_CLS", target_modules=["query", "value"])
    learner = fits.learner_of(folder, "cross_encoder")
    weights = {name: tensor.detach() for name, tensor in learner.module.state_dict().items()}
    learner.save(tmp_path / "saved", weights)
    assert not list((tmp_path / "saved").glob("adapter*"))
    assert scores(tmp_path / "saved") == pytest.approx(scores(folder), abs=1e-5)


def test_an_adapter_never_depends_on_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = classifier_folder(tmp_path / "base")
    folder = adapted(base, tmp_path / "adapted", "SEQ_CLS", target_modules=["query"])
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match="merging its LoRA adapter needs a package: pip install"):
        exabench.reranker("auto", model=str(folder))


def test_what_is_not_merged_is_refused_in_one_line_and_never_left_out(tmp_path: Path) -> None:
    base = classifier_folder(tmp_path / "base")
    good = adapted(base, tmp_path / "good", "SEQ_CLS", target_modules=["query", "value"])

    def spoilt(name: str, **changes: Any) -> Path:
        folder = Path(shutil.copytree(good, tmp_path / name))
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        return folder

    def refused(folder: Path, *, screened: str) -> str:
        with pytest.raises(BadInput) as caught:
            exabench.reranker("cross_encoder", model=str(folder))
        with pytest.raises(SubmissionRefused) as told:
            screen_folder(folder)
        assert told.value.reason == screened and "\n" not in str(caught.value)
        return str(caught.value)

    other = {"screened": "unsupported-model"}
    assert "an adapter of type IA3; only LORA is merged" in refused(spoilt("ia3", peft_type="IA3"), **other)
    importing = spoilt("importing", megatron_config={"a": 1}, megatron_core="os")
    assert "says megatron_config, which is not merged here" in refused(importing, **other)
    assert "'pissa' changes the base model" in refused(spoilt("pissa", init_lora_weights="pissa"), **other)
    assert "r is a number above 0, not 'x'" in refused(spoilt("rank", r="x"), **other)

    pickled = spoilt("pickled")
    (pickled / "adapter_model.safetensors").unlink()
    assert "has adapter_config.json without adapter_model.safetensors" in refused(pickled, screened="missing-files")
    half = spoilt("half")
    (half / "adapter_config.json").unlink()
    assert "has adapter_model.safetensors without adapter_config.json" in refused(half, screened="missing-files")

    def reweighted(name: str, change: Any) -> Path:
        folder = spoilt(name)
        weights = load_file(folder / "adapter_model.safetensors")
        change(weights)
        save_file(weights, folder / "adapter_model.safetensors")
        return folder

    first = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight"
    wide = reweighted("wide", lambda weights: weights.update({first: torch.ones(4, 48)}))
    assert "cannot be loaded" in refused(wide, screened="unsafe-files")
    stray = first.replace("layer.0", "layer.7")
    strange = reweighted("strange", lambda weights: weights.update({stray: torch.ones(4, 32)}))
    assert "a weight for a layer that its base model has not" in refused(strange, screened="unsafe-files")
    lacking = reweighted("lacking", lambda weights: weights.pop(first))
    with pytest.raises(BadInput, match="has no weights for .*layer.0.*lora_A"):
        exabench.reranker("cross_encoder", model=str(lacking))


# -- adapters whose base model is elsewhere ----------------------------------------------------------------------------


def alone(folder: Path, to: Path, **changes: Any) -> Path:
    """The adapter of a folder without its base model, after changes of its settings."""
    to.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(folder / name, to)
    if changes:
        settings = json.loads((to / "adapter_config.json").read_text()) | changes
        (to / "adapter_config.json").write_text(json.dumps(settings))
    return to


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    with HubDouble() as double:
        point_at(double.url, tmp_path / "home", monkeypatch)
        yield double


def test_an_adapter_and_the_folder_of_its_base_model_are_one_model_with_one_digest(tmp_path: Path) -> None:
    base = classifier_folder(tmp_path / "base")
    other = classifier_folder(tmp_path / "other", seed=3)
    whole = adapted(base, tmp_path / "whole", "SEQ_CLS", target_modules=["query", "value"])
    lonely = alone(whole, tmp_path / "lonely")  # peft writes where the base model was
    assert scores(lonely) == scores(lonely, "cross_encoder") == scores(whole)
    assert scores(lonely) == pytest.approx(logits(with_peft(whole, base, "SEQ_CLS"), base), abs=1e-5)
    assert model_folder(str(lonely)).revision == model_folder(str(whole)).revision
    assert exabench.evaluate(str(lonely), "mini", depth=3)["mini"]["nDCG@10"] > 0
    changed = alone(whole, tmp_path / "changed", base_model_name_or_path=str(other))
    assert model_folder(str(changed)).revision != model_folder(str(lonely)).revision
    assert (
        scores(changed) == pytest.approx(logits(with_peft(whole, other, "SEQ_CLS"), other), abs=1e-5) != scores(whole)
    )
    digest = model_folder(str(lonely)).revision
    made: Any = exabench.reranker("auto", model=str(lonely), revision=digest)
    assert made.identity["revision"] == digest and made.identity["model"] == str(lonely)
    with pytest.raises(BadInput, match="is not at revision sha256:"):
        exabench.reranker("auto", model=str(changed), revision=digest)


def test_an_adapter_is_read_with_the_commit_of_the_hub_that_its_settings_or_the_lock_say(
    hub: HubDouble, tmp_path: Path
) -> None:
    base = classifier_folder(tmp_path / "base")
    whole = adapted(base, tmp_path / "whole", "SEQ_CLS", target_modules=["query", "value"])
    commit = hub.commit("models/acme/base", contents(base))
    lonely = alone(whole, tmp_path / "lonely", base_model_name_or_path="acme/base")
    pinned = alone(whole, tmp_path / "pinned", base_model_name_or_path="acme/base", revision=commit)
    lock = tmp_path / "lock.json"
    assert scores(lonely, "cross_encoder", lock=lock) == scores(pinned) == scores(whole)
    assert json.loads(lock.read_text())["hub"] == {"model acme/base@main": commit}
    before = model_folder(str(pinned)).revision
    # The base moves: what is pinned or locked does not.
    moved = classifier_folder(tmp_path / "moved", seed=3)
    hub.commit("models/acme/base", contents(moved))
    assert scores(lonely, "cross_encoder", lock=lock) == scores(pinned) == scores(whole)
    assert model_folder(str(pinned)).revision == before
    wanted = logits(with_peft(whole, moved, "SEQ_CLS"), moved)
    assert scores(lonely) == pytest.approx(wanted, abs=1e-5) != scores(whole)

    # On the Hub the commit of an adapter says which base only where its settings do.
    at = hub.commit("models/acme/pinned", contents(pinned))
    made: Any = exabench.reranker("auto", model="acme/pinned")
    assert made.score(QUERY, PASSAGES) == scores(whole) and made.identity["revision"] == at
    at = hub.commit("models/acme/loose", contents(lonely))
    made = exabench.reranker("auto", model="acme/loose", revision=at)
    assert made.identity["revision"] == model_folder(str(lonely)).revision


def test_an_adapter_of_a_family_is_asked_as_its_base_model(hub: HubDouble, tmp_path: Path) -> None:
    id = "Qwen/Qwen3-Reranker-0.6B"
    base = decoder_folder(tmp_path / "base", "qwen3")
    commit = hub.commit(f"models/{id}", contents(base))
    whole = adapted(base, tmp_path / "whole", "CAUSAL_LM", target_modules=["q_proj"])
    lonely = alone(whole, tmp_path / "lonely", base_model_name_or_path=id, revision=commit)
    beside = adapted(base, tmp_path / "beside", "CAUSAL_LM", target_modules=["q_proj"])
    settings = json.loads((beside / "adapter_config.json").read_text())
    (beside / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": id}))
    for folder in (lonely, beside):
        found = recognise(str(folder))
        assert (found.reranker, found.options) == ("yes_no", {"family": "qwen3-reranker"})
        assert found.why == f"adapter_config.json names {id}, which is of the family qwen3-reranker"
        assert scores(folder) == scores(whole, "yes_no", family="qwen3-reranker")


def test_a_submitted_adapter_and_its_base_model_are_screened_and_fetched_together(
    hub: HubDouble, tmp_path: Path
) -> None:
    base = classifier_folder(tmp_path / "base")
    whole = adapted(base, tmp_path / "whole", "SEQ_CLS", target_modules=["query", "value"])
    files = {**contents(base), "modeling.py": b"", "pytorch_model.bin": b"PK"}
    commit = hub.commit("models/acme/base", files)
    pinned = alone(whole, tmp_path / "pinned", base_model_name_or_path="acme/base", revision=commit)
    at = hub.commit("models/acme/lora", contents(pinned))
    found = fetch_screened("acme/lora", at)
    assert found.revision == at and not list(found.path.rglob("*.py")) and not list(found.path.rglob("*.bin"))
    assert not any(file.is_symlink() for file in found.path.rglob("*"))
    assert scores(found.path) == scores(whole)

    board = tmp_path / "board"
    Ledger(board).create("Adapters", ["mini"])
    Ledger(board).add_candidates(*exabench.make_candidates("mini", "bm25", 3))
    about = {"name": "acme/lora", "kind": "model", "reranker": "cross_encoder", "model": "acme/lora", "revision": at}
    exabench.submit(write_submission(tmp_path / "sent", **about), [], board)
    [file] = exabench.run_board(board, slugs=["acme--lora"])
    told = json.loads(file.read_text())
    wanted = exabench.evaluate(str(whole), "mini", depth=3)["mini"]["nDCG@10"]
    assert told["measurement"]["metrics"]["nDCG@10"] == pytest.approx(wanted) and told["model"]["revision"] == at

    def refused(name: str, folder: Path) -> str:
        with pytest.raises(SubmissionRefused) as caught:
            fetch_screened(f"acme/{name}", hub.commit(f"models/acme/{name}", contents(folder)))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    loose = alone(whole, tmp_path / "loose", base_model_name_or_path="acme/base")
    assert "its base model is not pinned: merge them, put the files of both" in refused("loose", loose)
    here = alone(whole, tmp_path / "here", base_model_name_or_path=str(base), revision=commit)
    assert "its base model is not pinned" in refused("here", here)
    chained = hub.commit("models/acme/chained", contents(whole))
    twice = alone(whole, tmp_path / "twice", base_model_name_or_path="acme/chained", revision=chained)
    assert "unsupported-model: its base model acme/chained has an adapter itself" in refused("twice", twice)
    wide = hub.commit("models/acme/wide", contents(classifier_folder(tmp_path / "wide", hidden_size=64)))
    unfit = alone(whole, tmp_path / "unfit", base_model_name_or_path="acme/wide", revision=wide)
    assert "unsafe-files" in refused("unfit", unfit)
    with pytest.raises(SubmissionRefused, match="an adapter without its base model: merge them, put the files of both"):
        fetch_screened(str(pinned), "")


def test_an_adapter_whose_base_model_is_not_known_says_what_to_do(tmp_path: Path) -> None:
    good = adapted(classifier_folder(tmp_path / "base"), tmp_path / "good", "SEQ_CLS", target_modules=["query"])

    def refused(name: str, base: str | None) -> str:
        folder = alone(good, tmp_path / name, base_model_name_or_path=base)
        said = set()
        for part in ("auto", "cross_encoder"):
            with pytest.raises(BadInput) as caught:
                exabench.reranker(part, model=str(folder))
            said.add(str(caught.value))
        [line] = said
        assert "\n" not in line
        return line

    elsewhere = refused("elsewhere", "/train/machine/base")
    assert "names the base model '/train/machine/base', which is neither a folder nor a Hub id" in elsewhere
    assert "names no base model: write the base model there (base_model_name_or_path; revision" in refused("none", None)
    assert "is the base model of an adapter, and has an adapter itself" in refused("twice", str(good))

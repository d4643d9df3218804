"""llama-nemotron-rerank: a Llama without its causal mask, scored as NVIDIA's own code does, which is never run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fits
import pytest
import torch
import transformers
from models import TWO_WAY, bpe_tokenizer, two_way_folder
from toys import write_submission

import exabench
from exabench.bench.ledger import Ledger
from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.parts.recognition import recognise

QUERY = Query("q", "Why is the sky blue?")
PASSAGES = [
    Passage("a", "Light of short waves is scattered more than light of long waves.", "The sky"),
    Passage("b", "No."),
    Passage("c", 'A "quoted" passage, with (brackets) and 1.5 numbers. ' * 3),
]
CODE = "llama_bidirectional_model"


def expected(folder: Path, pooling: str = "avg", temperature: float = 1.0) -> list[float]:
    """One pair at a time by transformers' Llama under a mask that hides nothing."""
    torch.manual_seed(3)
    config = transformers.LlamaConfig(**TWO_WAY, num_labels=1, initializer_range=0.3, attn_implementation="eager")
    model = transformers.LlamaForSequenceClassification(config).eval()
    tokenizer = bpe_tokenizer()
    found = []
    for passage in PASSAGES:
        text = f"question:{QUERY.text} \n \n passage:{passage.flat()}"
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        nothing_hidden = torch.zeros(1, 1, ids.shape[1], ids.shape[1])
        with torch.inference_mode():
            states = model.model(input_ids=ids, attention_mask=nothing_hidden).last_hidden_state[0]
            state = {"avg": states.mean(0), "cls": states[0], "last": states[-1]}[pooling]
            found.append(float(model.score(state)) / temperature)
    return found


@pytest.mark.parametrize(("pooling", "temperature"), [("avg", 1.0), ("cls", 1.0), ("last", 0.5)])
def test_a_pair_is_scored_as_by_its_own_code(tmp_path: Path, pooling: str, temperature: float) -> None:
    folder = two_way_folder(tmp_path / "m", pooling=pooling, temperature=temperature)
    (folder / f"{CODE}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    found = recognise(str(folder))
    assert found.reranker == "cross_encoder"
    made: Any = exabench.reranker("auto", model=str(folder))
    wanted = expected(folder, pooling, temperature)
    assert made.score(QUERY, PASSAGES) == pytest.approx(wanted, abs=1e-5)
    [(scores, usage)] = made.score_many([(QUERY, PASSAGES)])
    assert scores == pytest.approx(wanted, abs=1e-5), "in one batch with others, too"
    assert usage.flops_exact is not None and not (tmp_path / "ran").exists()


def test_flops_are_those_of_a_llama_that_sees_everything(tmp_path: Path) -> None:
    made: Any = exabench.reranker("auto", model=str(two_way_folder(tmp_path / "m")))
    [(_, usage)] = made.score_many([(QUERY, PASSAGES[:1])])
    n = len(bpe_tokenizer()(f"question:{QUERY.text} \n \n passage:{PASSAGES[0].flat()}")["input_ids"])
    dense = 2 * 32 * (32 + 16 + 16 + 32 + 3 * 48)  # query, key, value and output of 4 heads on 2, gate, up and down
    assert usage.flops_exact == 2 * (n * dense + 4 * 32 * n * n) + 2 * 32


def test_a_folder_by_another_pooling_is_refused(tmp_path: Path) -> None:
    folder = two_way_folder(tmp_path / "m", pooling="weighted")
    with pytest.raises(BadInput, match=r"config.json: pooling is 'weighted'; it is one of avg, cls, last"):
        exabench.reranker("cross_encoder", model=str(folder))


def test_it_is_submitted_and_scored_on_a_board(tmp_path: Path) -> None:
    folder = two_way_folder(tmp_path / "m")
    board = tmp_path / "board"
    ledger = Ledger(board)
    ledger.create("Two ways", ["mini"])
    ledger.add_candidates(*exabench.make_candidates("mini", "bm25", 3))
    sent = write_submission(
        tmp_path / "sent", name="acme/two-way", kind="model", reranker="cross_encoder", model=str(folder)
    )
    exabench.submit(sent, [], board)
    [result] = exabench.run_board(board, slugs=["acme--two-way"])
    assert json.loads(result.read_text())["measurement"]["queries"] == 24


def test_one_that_was_trained_is_read_as_it_was_fitted(tmp_path: Path) -> None:
    release = fits.write_release(tmp_path / "release", {"t": ("listwise", {"train": fits.listwise(6)})})
    about: dict[str, Any] = {"reranker": "cross_encoder", "model": str(two_way_folder(tmp_path / "m"))}
    file = fits.recipe(tmp_path / "toy.toml", [{"release": str(release), "table": "t"}], **about, steps={"epochs": 1})
    exabench.train(file, tmp_path / "run")
    trained = tmp_path / "run" / "model"
    values = json.loads((trained / "config.json").read_text())
    assert (values["model_type"], values["pooling"]) == ("llama_bidirec", "avg") and "auto_map" not in values
    before: Any = exabench.reranker("auto", model=str(tmp_path / "m"))
    after: Any = exabench.reranker("auto", model=str(trained))
    assert after.identity["template"] == before.identity["template"]
    assert after.score(QUERY, PASSAGES) != before.score(QUERY, PASSAGES)

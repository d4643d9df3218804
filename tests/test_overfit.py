"""Overfitting: 32 groups are learnt by heart, with every loss by every kind of model. What cannot, does not learn."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fits
import pytest
import torch
import transformers
from models import bert_tokenizer, bpe_tokenizer, late_folder, real_t5_tokenizer, t5_tokenizer

from exabench.core.nouns import Passage, Query
from exabench.parts.losses import LOSSES
from exabench.training.evaluation import held_out_ndcg
from exabench.training.groups import Group
from exabench.training.loop import optimiser_of
from exabench.training.recipe import Steps

GROUPS, PASSAGES = 32, 4
WIDE = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 128}
GROUP_LOSSES = sorted(name for name in LOSSES if LOSSES[name].needs != "targets")


def groups(loss: str) -> list[Group]:
    """Groups whose passages hold three words of sixteen each, labelled by chance: they must be learnt by heart."""
    one_best = loss == "contrastive" or LOSSES[loss].needs in ("positive", "binary")  # all that they can tell apart
    rng, made = random.Random(5), []
    for number in range(GROUPS):
        passages = tuple(Passage(f"p{i}", " ".join(rng.sample(fits.WORDS, 3))) for i in range(PASSAGES))
        order = [1.0, *[0.0] * (PASSAGES - 1)] if one_best else [4.0, 3.0, 2.0, 1.0]
        query = Query(f"q{number}", " ".join(rng.sample(fits.WORDS, 2)))
        made.append(Group(f"g{number}", query, passages, tuple(rng.sample(order, PASSAGES))))
    return made


def explained() -> list[Group]:
    """One passage each, its label drawn by chance, and what is to be written of it."""
    rng, made = random.Random(6), []
    for group in groups("pointwise"):
        good = rng.random() < 0.5
        target = f"{'true' if good else 'false'} {' '.join(rng.sample(fits.WORDS, 3))}"
        made.append(Group(group.id, group.query, group.passages[:1], (float(good),), (target,)))
    return made


def bert(folder: Path, _: Path | None) -> Path:
    tokenizer = bert_tokenizer()
    return written(folder, "ForSequenceClassification", tokenizer, "bert", **WIDE, num_labels=1, initializer_range=0.2)


def t5(folder: Path, data: Path | None) -> Path:
    """With T5's own tokenizer where the data has it."""
    tokenizer = real_t5_tokenizer(data, folder / "tokenizer") if data else t5_tokenizer()
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4, "decoder_start_token_id": 0}
    return written(folder, "ForSeq2SeqLM", tokenizer, "t5", **sizes)


def encoder(folder: Path, _: Path | None) -> Path:
    return written(folder, "", bert_tokenizer(), "bert", **WIDE, initializer_range=0.2)


def late(folder: Path, _: Path | None) -> Path:
    return late_folder(folder, "bert", expansion={"strategy": "fixed", "length": 8})


def decoder(folder: Path, _: Path | None) -> Path:
    own = {"num_key_value_heads": 2, "pad_token_id": 0, "initializer_range": 0.1}
    return written(folder, "ForCausalLM", bpe_tokenizer(), "llama", **WIDE, **own)


def written(folder: Path, head: str, tokenizer: Any, kind: str, **sizes: Any) -> Path:
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(kind, vocab_size=len(tokenizer) + (-len(tokenizer)) % 64, **sizes)
    getattr(transformers, f"AutoModel{head}").from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


MODELS: Mapping[str, tuple[str, Callable[[Path, Path | None], Path], float, Mapping[str, Any]]] = {
    "bert": ("cross_encoder", bert, 3e-3, {}),
    "t5": ("monot5", t5, 3e-3, {"strategy": "difference"}),
    "bi_encoder": ("bi_encoder", encoder, 3e-3, {"similarity": "dot"}),
    "late_interaction": ("late_interaction", late, 3e-3, {}),
    "decoder": ("yes_no", decoder, 3e-3, {}),
}
"""Reranker, folder, learning rate and options of each kind."""


def learnt(kind: str, loss: str, folder: Path, data: Path | None = None, *, steps: int = 300) -> bool:
    """Whether some steps over all groups at once are enough: for an nDCG of 1, or to write every word of a target."""
    part, make, rate, options = MODELS[kind]
    learner = fits.learner_of(make(folder, data), part, **options)
    writes = LOSSES[loss].needs == "targets"
    rows = fits.encoded(learner, explained() if writes else groups(loss), written=writes)
    how = {"rate": rate, "decay": 0.0, "dropout": False}
    gradient = fits.gradient_of(learner, loss, gradients="plain", batch_tokens=8192, **how)
    optimiser = optimiser_of(Steps(**how), dict(learner.module.named_parameters()))
    ndcg = held_out_ndcg("nDCG@10", learner, rows)
    for step in range(1, steps + 1):
        gradient(step, rows)
        optimiser.step()
        if step % 5 == 0 and (written_right(learner, rows) if writes else ndcg.value() > 1 - 1e-9):
            return True
    return False


@torch.no_grad()
def written_right(learner: Any, rows: Sequence[Any]) -> bool:
    """Whether the likeliest token of every place is the one that stands there, the label first."""
    targets = learner.targets([target for row in rows for target in row.targets])
    logits = learner.module(*learner.inputs([item for row in rows for item in row.items]), targets)
    return bool(((logits.argmax(-1) == targets) | (targets < 0)).all())


OTHERS = [("t5", "ranknet"), ("bi_encoder", "ranknet"), ("late_interaction", "ranknet"), ("decoder", "ranknet")]
OTHERS += [("t5", "lm"), ("decoder", "lm")]


@pytest.mark.parametrize(("kind", "loss"), [*(("bert", loss) for loss in GROUP_LOSSES), *OTHERS])
def test_every_loss_and_every_kind_of_model_learns_32_groups_to_an_ndcg_of_1_or_word_by_word(tmp_path, kind, loss):
    assert learnt(kind, loss, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "bi_encoder", "late_interaction", "decoder"])
@pytest.mark.parametrize("loss", GROUP_LOSSES)
def test_every_kind_of_model_learns_them_with_every_loss(tmp_path, kind, loss):
    assert learnt(kind, loss, tmp_path)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_t5_with_its_own_vocabulary_learns_them_with_every_loss(tmp_path, real_data, loss):
    assert learnt("t5", loss, tmp_path, real_data)

"""The gradient of a step: the same however it is cut, whatever is cached, and when memory ran out on the way."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from fits import KINDS, WORDS, apart, encoded, gradient_of, gradients, learner_of
from models import CLASSIFIERS, DECODERS, classifier_folder, decoder_folder, minilm_folder
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.parts.losses import LOSSES
from exabench.training.distributed import Ranks
from exabench.training.gradients import CPU_BUDGETS
from exabench.training.groups import Group

GROUP_LOSSES = sorted(name for name in LOSSES if LOSSES[name].needs != "targets")


def groups(loss: str = "ranknet", sizes: tuple[int, ...] = (3, 5, 1, 2, 4), seed: int = 0) -> list[Group]:
    """Groups of unlike sizes with passages of unlike lengths, and labels that the loss is defined for."""
    rng, made = random.Random(seed), []
    needs = LOSSES[loss].needs
    for number, size in enumerate(sizes):
        n = size if needs in ("binary", "targets") else max(size, 2)
        passages = tuple(Passage(f"p{i}", " ".join(rng.choices(WORDS, k=rng.randint(1, 30)))) for i in range(n))
        best = (1.0, *[0.0] * (n - 1))
        labels = best if needs in ("positive", "binary") else tuple(float(n - i) for i in range(n))
        targets = tuple(f"true {' '.join(rng.choices(WORDS, k=rng.randint(0, 6)))}" for _ in passages)
        made.append(Group(f"g{number}", Query(f"q{number}", rng.choice(WORDS)), passages, labels, targets))
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {kind: (part, make(place / kind)) for kind, (part, make) in KINDS.items()}


@pytest.fixture
def bert(folders):
    return learner_of(folders["bert"][1], "cross_encoder")


each_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def step(learner, loss, given, *, micro, mode, dropout=False, **options):
    """Loss and gradients of a step."""
    made = gradient_of(learner, loss, gradients=mode, batch_tokens=micro, dropout=dropout, **options)
    rows = encoded(learner, given, written=LOSSES[loss].needs == "targets")
    value = made(1, rows)
    return value, gradients(learner), made


@pytest.mark.parametrize("loss", GROUP_LOSSES)
def test_cached_gradients_are_the_plain_ones_for_any_budget(bert, loss):
    given = groups(loss)
    value, plain, _ = step(bert, loss, given, micro=100_000, mode="plain")
    assert max(float(abs(row).max()) for row in plain.values()) > 1e-4
    for micro, mode in ((60, "cached"), (60, "plain"), (100, "auto"), (100_000, "cached")):
        other, found, _ = step(bert, loss, given, micro=micro, mode=mode)
        assert other == pytest.approx(value, rel=1e-5)
        assert apart(plain, found) < 1e-5, (micro, mode)


@pytest.mark.parametrize("loss", GROUP_LOSSES)
def test_with_dropout_both_passes_of_the_cache_see_the_same_masks(bert, loss):
    """The plain gradient through the very micro-batches of the cache, all of their graphs alive."""
    given = encoded(bert, groups(loss, sizes=(3, 3)))
    assert 60 < sum(sum(group.lengths) for group in given) <= 60 * CPU_BUDGETS
    found = []
    for mode, dropout in (("plain", True), ("cached", True), ("cached", False)):  # off at last: nothing turns it on
        made = gradient_of(bert, loss, gradients=mode, dropout=dropout)
        made.batches.budget = 60
        found.append((made(7, given), gradients(bert)))
    plain, cached, still = found
    assert cached[0] == pytest.approx(plain[0], rel=1e-5)
    assert apart(plain[1], cached[1]) < 1e-5
    assert apart(plain[1], still[1]) > 1e-3  # dropout was on


def in_batch_groups() -> list[Group]:
    """Four queries with a positive and two negatives each; no text is twice among them."""
    made = []
    for number in range(4):
        texts = [f"{' '.join(WORDS[number : number + 9])} {word}" for word in ("first", "second", "third")]
        passages = tuple(Passage(f"p{number}{i}", text) for i, text in enumerate(texts))
        made.append(Group(f"g{number}", Query(f"q{number}", f"{WORDS[number]} {number}"), passages, (1.0, 0.0, 0.0)))
    return made


ALONE = {"options": {"temperature": 0.05}}
IN_BATCH = {"in_batch": True, **ALONE}


def test_in_batch_negatives_are_those_of_sentence_transformers_and_have_one_gradient():
    """Its MultipleNegativesRankingLoss: a query's positive against all other passages of the batch."""
    folder = minilm_folder()
    given = in_batch_groups()
    learner = learner_of(folder, "bi_encoder")
    value, plain, _ = step(learner, "contrastive", given, micro=100_000, mode="plain", **IN_BATCH)
    theirs = SentenceTransformer(str(folder), device="cpu").eval()
    columns = [[group.query.text for group in given]]
    for place in range(3):
        columns.append([group.passages[place].text for group in given])
    features = [theirs.preprocess(texts) for texts in columns]
    expected = MultipleNegativesRankingLoss(theirs, scale=20.0)(features, None)
    assert value == pytest.approx(expected.item(), rel=1e-4)
    assert value > 1.1 * step(learner, "contrastive", given, micro=100_000, mode="plain", **ALONE)[0]
    for micro, mode in ((60, "cached"), (60, "plain"), (100, "auto")):
        other, found, _ = step(learner, "contrastive", given, micro=micro, mode=mode, **IN_BATCH)
        assert other == pytest.approx(value, rel=1e-5)
        assert apart(plain, found) < 1e-5, (micro, mode)


def test_what_may_be_relevant_is_no_negative_of_another_group(folders):
    """A passage that two groups share counts once, with each group's label; a second group of a query adds nothing."""
    learner = learner_of(folders["bi_encoder"][1], "bi_encoder")
    first, second, *_ = in_batch_groups()
    shared = replace(second, passages=(second.passages[0], first.passages[0], first.passages[2]))
    again = replace(shared, query=first.query)

    def value(*given, **options):
        return step(learner, "contrastive", given, micro=100_000, mode="plain", **options)[0]

    assert value(first, again, **IN_BATCH) == pytest.approx(value(first, again, **ALONE), rel=1e-5)
    longer = replace(first, passages=(*first.passages, second.passages[0]), labels=(1.0, 0.0, 0.0, 0.0))
    other = replace(shared, passages=(*shared.passages, first.passages[1]), labels=(1.0, 0.0, 0.0, 0.0))
    assert value(first, shared, **IN_BATCH) == pytest.approx(value(longer, other, **ALONE), rel=1e-5)


@each_kind
def test_every_kind_of_model_has_one_gradient(folders, kind):
    """Plain or cached, by either implementation of attention; and near it in a lower precision."""
    part, folder = folders[kind]
    value, plain, _ = step(learner_of(folder, part), "ranknet", groups(), micro=100_000, mode="plain")
    for attention in ("eager", "sdpa"):
        learner = learner_of(folder, part)
        other, found, _ = step(learner, "ranknet", groups(), micro=80, mode="cached", attention=attention)
        assert learner.module.model.config._attn_implementation == attention
        assert other == pytest.approx(value, rel=1e-5)
        assert apart(plain, found) < 1e-5
    learner = learner_of(folder, part)
    loss = "lm" if kind == "t5" else "ranknet"
    value, exact, _ = step(learner, loss, groups(loss), micro=200, mode="auto")
    lower, found, _ = step(learner, loss, groups(loss), micro=200, mode="auto", autocast="bfloat16")
    assert lower == pytest.approx(value, rel=0.05) and lower != value
    assert apart(exact, found) < 0.5  # up to .24 with the vocabularies that training a tokenizer has given
    assert {p.dtype for p in learner.module.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", ["t5", "decoder"])
def test_texts_have_one_gradient_however_the_step_is_cut(folders, kind):
    part, folder = folders[kind]
    learner = learner_of(folder, part)
    value, whole, _ = step(learner, "lm", groups("lm"), micro=100_000, mode="auto", options={"label_weight": 3.0})
    for micro in (1, 90, 300):
        other, found, _ = step(learner, "lm", groups("lm"), micro=micro, mode="auto", options={"label_weight": 3.0})
        assert other == pytest.approx(value, rel=1e-5)
        assert apart(whole, found) < 1e-5


def test_the_loss_of_texts_is_the_mean_over_tokens_with_the_label_as_heavy_as_it_is_told(folders):
    learner = learner_of(folders["t5"][1], "monot5")
    one, two = groups("lm", sizes=(1, 1))

    def loss(*given, weight):
        return step(learner, "lm", given, micro=100_000, mode="auto", options={"label_weight": weight})[0]

    rows = encoded(learner, [one, two], written=True)
    for weight in (1.0, 4.0):
        weights = [len(row.targets[0]) - 1 + weight for row in rows]
        alone = [loss(one, weight=weight), loss(two, weight=weight)]
        mean = sum(w * value for w, value in zip(weights, alone, strict=True)) / sum(weights)
        assert loss(one, two, weight=weight) == pytest.approx(mean, rel=1e-5)
    # Of the label alone and of all other tokens, from two weights of the label.
    model, target = learner.module.model, torch.tensor(rows[0].targets[0])[None]
    logits = model(input_ids=torch.tensor(rows[0].items[0].ids)[None].long(), labels=target).logits
    each = torch.nn.functional.cross_entropy(logits[0], target[0], reduction="none")
    assert loss(one, weight=4.0) == pytest.approx(((each.sum() + 3 * each[0]) / (len(each) + 3)).item(), rel=1e-5)


def test_a_group_longer_than_the_budget_is_cached_and_a_short_one_is_not(bert):
    made = gradient_of(bert, "ranknet", gradients="auto", batch_tokens=150)
    graphs = []  # whether each forward keeps its graph
    hook = bert.module.register_forward_pre_hook(lambda *_: graphs.append(torch.is_grad_enabled()))
    short, long = encoded(bert, groups(sizes=(2,))), encoded(bert, groups(sizes=(12,)))
    assert sum(short[0].lengths) <= 150 < sum(long[0].lengths)
    made(1, short)
    assert all(graphs)
    graphs.clear()
    made(1, long)
    half = len(graphs) // 2
    assert graphs == [False] * half + [True] * half  # all scores without a graph, then every micro-batch again
    hook.remove()


def test_the_loss_without_a_gradient_is_the_same_and_leaves_the_model_as_it_was(folders):
    for kind, loss in (("bert", "ranknet"), ("t5", "lm")):
        part, folder = folders[kind]
        learner = learner_of(folder, part)
        options = {"label_weight": 2.0} if loss == "lm" else {}
        value, _, made = step(learner, loss, groups(loss), micro=100_000, mode="plain", options=options)
        assert made.value(encoded(learner, groups(loss), written=loss == "lm")) == pytest.approx(value, rel=1e-5)
        assert learner.module.training


def test_masks_belong_to_seed_rank_step_and_micro_batch(bert):
    given = encoded(bert, groups())

    def of(step=1, seed=5, rank=0):
        ranks = Ranks()
        ranks.rank = rank
        made = gradient_of(bert, "ranknet", ranks=ranks, batch_tokens=90)
        made.batches.seed = seed
        torch.manual_seed(random.randrange(1 << 30))  # what was drawn before does not matter
        made(step, given)
        return gradients(bert)

    first = of()
    assert apart(first, of()) == 0
    assert all(apart(first, other) > 1e-3 for other in (of(step=2), of(seed=6), of(rank=1)))


@pytest.mark.parametrize("kind", [*CLASSIFIERS, *DECODERS, "t5", "rankt5"])
def test_dropout_false_switches_off_every_dropout_of_every_architecture(tmp_path, folders, kind):
    if kind in folders:
        part, folder = folders[kind]
    elif kind in CLASSIFIERS:
        part, folder = "cross_encoder", classifier_folder(tmp_path / kind, kind)
    else:
        part, folder = "yes_no", decoder_folder(tmp_path / kind, kind)
    learner = learner_of(folder, part)
    for module in learner.module.modules():  # some have none by default, and all can have one
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.1)
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    items = encoded(learner, groups(sizes=(4,)))[0].items

    def twice():
        for seed in (1, 2):
            torch.manual_seed(seed)
            yield learner.module(*learner.inputs(items)).detach()

    one, other = twice()
    assert not torch.equal(one, other)
    gradient_of(learner, "ranknet", dropout=False)
    one, other = twice()
    assert learner.module.training and torch.equal(one, other)
    learner.module.eval()
    torch.testing.assert_close(learner.module(*learner.inputs(items)), one, rtol=1e-5, atol=1e-5)


@each_kind
def test_gradient_checkpointing_gives_equal_gradients_with_dropout_on(folders, kind):
    part, folder = folders[kind]
    for mode in ("plain", "cached"):
        found = []
        for checkpointing in (False, True):
            learner = learner_of(folder, part)
            options = {"micro": 120, "mode": mode, "dropout": True, "checkpointing": checkpointing}
            found.append(step(learner, "ranknet", groups(), **options))
            layers = [layer for layer in learner.module.modules() if hasattr(layer, "gradient_checkpointing")]
            assert {layer.gradient_checkpointing for layer in layers} == {checkpointing}
        assert found[0][0] == found[1][0]
        assert apart(found[0][1], found[1][1]) < 1e-6


def test_an_attention_that_cannot_be_had_is_one_line(tmp_path, bert):
    with pytest.raises(BadInput, match="flash_attention_2.*remove steps.attention"):
        gradient_of(bert, "ranknet", attention="flash_attention_2")
    learner = learner_of(classifier_folder(tmp_path / "deberta", "deberta"), "cross_encoder")
    with pytest.raises(BadInput, match="sdpa"):
        gradient_of(learner, "ranknet", attention="sdpa")


@pytest.mark.slow
def test_a_compiled_model_has_the_same_gradient(bert):
    value, plain, _ = step(bert, "ranknet", groups(), micro=200, mode="cached")
    other, found, _ = step(bert, "ranknet", groups(), micro=200, mode="cached", compile=True)
    assert other == pytest.approx(value, rel=1e-5)
    assert apart(plain, found) < 1e-5
    assert set(bert.module.state_dict()) == set(dict(bert.module.named_parameters()))


def poor(learner, tokens, error=torch.OutOfMemoryError, text="out of memory: tried to allocate more than there is"):
    """The device holds no batch of more than so many padded tokens."""

    def check(module, args):
        if args[0].numel() > tokens:
            raise error(text)

    return learner.module.register_forward_pre_hook(check)


@pytest.mark.parametrize(
    ("loss", "error"), [("ranknet", torch.OutOfMemoryError), ("lm", MemoryError), ("ranknet", RuntimeError)]
)
def test_out_of_memory_halves_the_micro_batch_and_the_step_is_that_of_the_small_budget(folders, loss, error):
    part, folder = folders["t5"]
    found = []
    for micro, limit in ((800, 130), (100, 800)):
        learner = learner_of(folder, part, max_length=40)
        poor(learner, limit, error)
        found.append(step(learner, loss, groups(loss), micro=micro, mode="auto", dropout=True))
    assert found[0][2].batches.budget == 100
    assert found[0][0] == found[1][0]
    assert apart(found[0][1], found[1][1]) == 0  # to the bit, dropout and all


def test_memory_that_runs_out_on_the_way_back_leaves_no_gradient_of_the_first_try(bert):
    """Half of the micro-batches have gone back before the device is full."""
    value, wanted, _ = step(bert, "ranknet", groups(), micro=100, mode="cached")
    calls = []

    def full(module, args):
        calls.append(args[0].numel())
        if len(calls) == 6:
            raise torch.OutOfMemoryError("no room")

    handle = bert.module.register_forward_pre_hook(full)
    other, found, made = step(bert, "ranknet", groups(), micro=200, mode="cached")
    handle.remove()
    assert made.batches.budget == 100 and len(calls) > 6
    assert other == value and apart(wanted, found) == 0


def test_an_input_that_never_fits_is_one_line_and_no_other_error_is_taken_for_it(bert, folders):
    handle = poor(bert, 10, RuntimeError, "shapes do not fit")
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        step(bert, "ranknet", groups(), micro=100, mode="cached")
    handle.remove()
    poor(bert, 10)
    with pytest.raises(
        BadInput, match=r"cpu does not have enough memory for one input of 3\d tokens; lower max_length"
    ):
        step(bert, "ranknet", groups(), micro=512, mode="cached")
    with pytest.raises(BadInput, match='enough memory for one group; give steps.gradients = "cached"'):
        step(bert, "ranknet", groups(), micro=512, mode="plain")
    learner = learner_of(folders["t5"][1], "monot5")
    poor(learner, 10)
    with pytest.raises(BadInput, match="enough memory for one input"):
        step(learner, "lm", groups("lm"), micro=512, mode="auto")


def test_ranks_that_hold_parts_of_one_model_do_not_halve_alone(bert):
    ranks = Ranks()
    ranks.sharded = True
    made = gradient_of(bert, "ranknet", ranks=ranks, batch_tokens=512)
    poor(bert, 10)
    with pytest.raises(BadInput, match="lower steps.batch_tokens"):
        made(1, encoded(bert, groups()))

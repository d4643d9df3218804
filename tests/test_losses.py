"""Losses: each formula again in plain loops, and a contract that every loss keeps."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.autograd import gradcheck

from exabench.core.errors import BadInput
from exabench.parts.losses import LOSSES

GROUP_LOSSES = sorted(name for name in LOSSES if LOSSES[name].needs != "targets")
VARIANTS = [
    *((name, {}) for name in GROUP_LOSSES),
    ("ranknet", {"sigma": 2.0, "weights": "difference"}),
    ("lce", {"temperature": 0.5}),
    ("softmax_ce", {"normalised": True}),
    ("listnet", {"temperature": 2.0}),
    ("lambda_ndcg", {"weighting": "lambdarank", "k": 1}),
    ("lambda_ndcg", {"weighting": "ndcg2", "gain": "linear", "log": "natural", "sigma": 0.5}),
    ("lambda_ndcg", {"k": 3, "mu": 4.0}),
    ("margin_mse", {"pairs": "best"}),
    ("kl", {"temperature": 3.0, "squared": True}),
    ("contrastive", {"temperature": 0.1}),
    ("adr_mse", {"temperature": 0.5, "discount": "reciprocal"}),
    ("adr_mse", {"discount": "none"}),
]
each_variant = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)


def made(name, **options):
    return LOSSES[name](**options)


def value(loss, scores, labels):
    """One group's loss, in double precision, as a number."""
    scores, labels = (torch.tensor([list(cells)], dtype=torch.float64) for cells in (scores, labels))
    (number,) = loss(scores, labels, torch.ones_like(scores, dtype=torch.bool)).tolist()
    return number


def slope(loss, scores, labels, mask=None, dtype=torch.float32):
    """Values of groups and the gradient of their sum."""
    scores = torch.tensor(scores, dtype=dtype, requires_grad=True)
    mask = torch.ones_like(scores, dtype=torch.bool) if mask is None else torch.tensor(mask)
    values = loss(scores, torch.tensor(labels, dtype=torch.float32), mask)
    values.sum().backward()
    return values.detach(), scores.grad


LABELS = {
    "binary": lambda n: st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n),
    "positive": lambda n: st.permutations([1.0] + [0.0] * (n - 1)),
    "order": lambda n: st.lists(st.integers(0, 4).map(float), min_size=n, max_size=n).filter(lambda v: len({*v}) > 1),
    "scores": lambda n: st.lists(st.integers(-40, 40).map(lambda i: i / 8), min_size=n, max_size=n, unique=True),
}


@st.composite
def groups(draw, needs, largest=7):
    """Scores, no two alike (a rank must be one), and labels of the kind a loss needs."""
    n = draw(st.integers(1 if needs == "binary" else 2, largest))
    scores = draw(st.lists(st.integers(-64, 64).map(lambda i: i / 8), min_size=n, max_size=n, unique=True))
    return scores, list(draw(LABELS[needs](n)))


# Every formula of a docstring, in plain loops over Python floats.


def softmax(values, temperature=1.0):
    top = max(values)
    powers = [math.exp((v - top) / temperature) for v in values]
    return [power / sum(powers) for power in powers]


def logistic(x):
    """log(1 + exp(-x))."""
    return math.log1p(math.exp(-x)) if x > 0 else -x + math.log1p(math.exp(x))


def mean(values):
    return sum(values) / len(values)


def better(labels):
    return [(i, j) for i, a in enumerate(labels) for j, b in enumerate(labels) if a > b]


def ranknet(s, y, sigma=1.0, weights="none"):
    return mean([logistic(sigma * (s[i] - s[j])) * (y[i] - y[j] if weights != "none" else 1) for i, j in better(y)])


def lce(s, y, temperature=1.0):
    return -math.log(softmax(s, temperature)[y.index(max(y))])


def softmax_ce(s, y, normalised=False):
    total = sum(y) if normalised else 1.0
    return -sum(label / total * math.log(p) for label, p in zip(y, softmax(s), strict=True))


def listnet(s, y, temperature=1.0):
    return -sum(p * math.log(q) for p, q in zip(softmax(y, temperature), softmax(s), strict=True))


def lambda_ndcg(s, y, weighting="ndcg2pp", k=None, gain="exponential", mu=10.0, sigma=1.0, log="binary"):
    gains = [2**label - 1 if gain == "exponential" else label for label in y]
    ideal = sum(g / math.log2(r + 2) for r, g in enumerate(sorted(gains, reverse=True)[:k]))
    rank = [sorted(s, reverse=True).index(score) + 1 for score in s]
    cut = len(s) if k is None else k
    losses = []
    for i, j in better(y):
        if min(rank[i], rank[j]) <= cut:
            rho = abs(1 / math.log2(1 + rank[i]) - 1 / math.log2(1 + rank[j]))
            apart = abs(rank[i] - rank[j])
            delta = abs(1 / math.log2(1 + apart) - 1 / math.log2(2 + apart))
            weight = {"lambdarank": rho, "ndcg2": delta, "ndcg2pp": rho + mu * delta}[weighting]
            losses.append(weight * abs(gains[i] - gains[j]) / ideal * logistic(sigma * (s[i] - s[j])))
    return mean(losses) / (math.log(2) if log == "binary" else 1)


def pointwise(s, y):
    return mean([label * logistic(score) + (1 - label) * logistic(-score) for score, label in zip(s, y, strict=True)])


def margin_mse(s, y, pairs="all"):
    n, best = len(s), y.index(max(y))
    chosen = [(i, j) for i in range(n) for j in range(n) if (i < j if pairs == "all" else i == best != j)]
    return mean([((s[i] - s[j]) - (y[i] - y[j])) ** 2 for i, j in chosen])


def kl(s, y, temperature=1.0, squared=False):
    teacher, student = softmax(y, temperature), softmax(s, temperature)
    divergence = sum(p * math.log(p / q) for p, q in zip(teacher, student, strict=True))
    return divergence * (temperature**2 if squared else 1)


def contrastive(s, y, temperature=1.0):
    positives = [score for score, label in zip(s, y, strict=True) if label == max(y)]
    negatives = [score for score, label in zip(s, y, strict=True) if label < max(y)]
    return mean([-math.log(softmax([p, *negatives], temperature)[0]) for p in positives])


def mse(s, y):
    return mean([(score - wanted) ** 2 for score, wanted in zip(s, y, strict=True)])


def adr_mse(s, y, temperature=1.0, discount="log2"):
    errors = []
    for i, (score, label) in enumerate(zip(s, y, strict=True)):
        behind = [1 / (1 + math.exp((score - other) / temperature)) for j, other in enumerate(s) if j != i]
        tied = [place for place, other in enumerate(sorted(y, reverse=True), 1) if other == label]
        divisor = {"log2": math.log2(1 + mean(tied)), "reciprocal": mean(tied), "none": 1}[discount]
        errors.append((mean(tied) - 1 - sum(behind)) ** 2 / divisor)
    return mean(errors)


def p_listmle(s, y):
    """Python's sorting keeps the order of equal labels."""
    ranked = [score for _, score in sorted(zip(y, s, strict=True), key=lambda pair: -pair[0])]
    weights = [2 ** (len(s) - place) - 1 for place in range(1, len(s) + 1)]
    terms = [-weight * math.log(softmax(ranked[place:])[0]) for place, weight in enumerate(weights)]
    return sum(terms) / sum(weights)


REFERENCE = {
    **{"ranknet": ranknet, "lce": lce, "softmax_ce": softmax_ce, "listnet": listnet, "lambda_ndcg": lambda_ndcg},
    **{"pointwise": pointwise, "margin_mse": margin_mse, "kl": kl, "contrastive": contrastive},
    **{"mse": mse, "adr_mse": adr_mse, "p_listmle": p_listmle},
}


def test_every_loss_has_its_formula_here():
    assert set(REFERENCE) == set(GROUP_LOSSES) and set(LOSSES) - set(REFERENCE) == {"lm"}


@each_variant
def test_a_loss_is_its_formula(name, options):
    loss = made(name, **options)

    @settings(max_examples=25)
    @given(groups(loss.needs))
    def holds(group):
        scores, labels = group
        assert value(loss, scores, labels) == pytest.approx(REFERENCE[name](scores, labels, **options), rel=1e-9)

    holds()


# The contract: what holds for every loss of the shelf, one that is added tomorrow too.

FOUR = {"binary": [1, 0, 0, 1], "positive": [0, 1, 0, 0], "order": [3, 0, 1, 1], "scores": [2.5, -1.0, 0.5, 4.0]}
TWO = {"binary": [0, 1], "positive": [1, 0], "order": [0, 2], "scores": [-1.0, 1.5]}


def padded(name, rest=0.0):
    """A group of four, a group of two, and an empty one; `rest` fills what is masked, in scores and labels."""
    four, two = FOUR[LOSSES[name].needs], TWO[LOSSES[name].needs]
    scores = [[0.5, -1.0, 2.0, 0.25], [1.0, 0.5, rest, rest], [rest] * 4]
    return scores, [four, [*two, rest, rest], [rest] * 4], [[True] * 4, [True, True, False, False], [False] * 4]


@each_variant
def test_gradients_are_those_of_finite_differences(name, options):
    scores, labels, mask = padded(name)
    scores = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    labels, mask = torch.tensor(labels, dtype=torch.float64), torch.tensor(mask)
    assert gradcheck(lambda s: made(name, **options)(s, labels, mask), (scores,))


@each_variant
@pytest.mark.parametrize("rest", [math.nan, -math.inf, 1e30])
def test_masked_cells_change_nothing_whatever_they_hold(name, options, rest):
    values, gradient = slope(made(name, **options), *padded(name, rest))
    clean_values, clean_gradient = slope(made(name, **options), *padded(name))
    assert torch.equal(values, clean_values) and torch.equal(gradient, clean_gradient)
    assert (gradient[~torch.tensor(padded(name)[2])] == 0).all() and values[2] == 0, "an empty group is nothing"
    assert values[0] != 0 and (gradient[0] != 0).any()
    alone, alone_gradient = slope(made(name, **options), [[1.0, 0.5]], [TWO[LOSSES[name].needs]])
    torch.testing.assert_close(values[1:2], alone)
    torch.testing.assert_close(gradient[1:2, :2], alone_gradient)


@each_variant
@pytest.mark.parametrize("scores", [[1e4, -1e4, 0.0, -1e4], [-1e4, 1e4, -1e4, 1e4], [1e4] * 4])
def test_extreme_scores_have_finite_values_and_gradients(name, options, scores):
    values, gradient = slope(made(name, **options), [scores], [FOUR[LOSSES[name].needs]])
    assert values.isfinite().all() and gradient.isfinite().all()


@each_variant
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_of_low_precision_are_raised_before_anything_else(name, options, dtype):
    low, _ = slope(made(name, **options), *padded(name), dtype=dtype)
    full, _ = slope(made(name, **options), *padded(name))  # these scores are exact in eight bits
    assert low.dtype == torch.float32 and torch.equal(low, full)


@each_variant
def test_from_equal_scores_the_best_is_pushed_up_and_the_worst_down(name, options):
    labels = FOUR[LOSSES[name].needs]
    _, gradient = slope(made(name, **options), [[0.0] * 4], [labels])
    assert gradient[0, labels.index(max(labels))] < 0 < gradient[0, labels.index(min(labels))]


def test_gains_of_long_lists_do_not_overflow():
    n = 300
    labels = torch.arange(n, 0, -1.0)[None]
    scores = torch.zeros(1, n, requires_grad=True)
    loss = made("lambda_ndcg", k=10)(scores, labels, torch.ones(1, n, dtype=torch.bool))
    loss.sum().backward()
    assert loss.isfinite().all() and loss > 0 and scores.grad.isfinite().all()


def test_a_long_list_has_weights_that_fall_by_half_from_place_to_place():
    n = 300
    labels = torch.arange(n, 0, -1.0)[None]
    _, gradient = slope(made("p_listmle"), [[0.0] * n], labels.tolist())
    assert gradient.isfinite().all()
    # From equal scores the first passage is pulled by its own place alone, and each next one by half as much.
    assert -gradient[0, 0].item() == pytest.approx(0.5 * (1 - 1 / n), rel=1e-5)


@pytest.mark.parametrize("name", ["softmax_ce", "lambda_ndcg"])
def test_labels_below_zero_are_refused_where_they_are_gains(name):
    with pytest.raises(BadInput, match="0 or more"):
        value(made(name), [1.0, 2.0], [1.0, -1.0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lce", {"temperature": 0}, "temperature of a loss must be a number above 0, not 0"),
        ("ranknet", {"sigma": 0.0}, "sigma"),
        ("contrastive", {"temperature": math.nan}, "temperature"),
        ("adr_mse", {"temperature": -1.0}, "temperature"),
        ("lambda_ndcg", {"k": 0}, "k of a loss must be a whole number from 1"),
        ("lm", {"label_weight": math.inf}, "label_weight"),
    ],
)
def test_an_option_out_of_range_is_refused(name, options, message):
    with pytest.raises(BadInput, match=message):
        made(name, **options)


# The one loss on tokens.


def tokens(seed=5, dtype=torch.float64):
    """Logits of two targets of three tokens over seven words, the targets, and weights: 4 for the label, 0 padding."""
    logits = torch.randn(2, 3, 7, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return logits, torch.tensor([[1, 5, 2], [3, 6, -100]]), torch.tensor([[4.0, 1, 1], [4, 1, 0]])


def test_lm_is_its_formula():
    logits, targets, weights = tokens()
    expected = [0.0, 0.0]
    for item, place in itertools.product(range(2), range(3)):
        if weights[item, place] > 0:
            probability = softmax(logits[item, place].tolist())[targets[item, place]]
            expected[item] -= weights[item, place].item() * math.log(probability)
    assert made("lm")(logits, targets, weights).tolist() == pytest.approx(expected)


def test_lm_has_the_gradient_of_finite_differences():
    logits, targets, weights = tokens()
    assert gradcheck(lambda z: made("lm")(z, targets, weights.double()), (logits.requires_grad_(),))


@pytest.mark.parametrize("rest", [math.nan, math.inf, -1e30])
def test_lm_does_not_look_where_the_weight_is_zero(rest):
    results = []
    for fill in (0.0, rest):
        logits, targets, weights = tokens()
        logits[1, 2] = fill
        logits.requires_grad_()
        values = made("lm")(logits, targets, weights)
        values.sum().backward()
        results.append((values.detach(), logits.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    assert (results[1][1][1, 2] == 0).all()


def test_lm_of_padding_alone_is_exactly_nothing():
    logits = torch.full((2, 3, 5), math.nan, requires_grad=True)
    values = made("lm")(logits, torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3))
    values.sum().backward()
    assert values.tolist() == [0, 0] and (logits.grad == 0).all()


def test_lm_raises_low_precision_and_bears_extreme_logits():
    logits, targets, weights = tokens(dtype=torch.float32)
    low = made("lm")(logits.bfloat16(), targets, weights)
    assert low.dtype == torch.float32
    assert torch.equal(low, made("lm")(logits.bfloat16().float(), targets, weights))
    extreme = (logits * 1e4).requires_grad_()
    values = made("lm")(extreme, targets, weights)
    values.sum().backward()
    assert values.isfinite().all() and extreme.grad.isfinite().all()


# Against the losses of sentence-transformers, one group at a time (theirs is a mean over the pairs of a whole batch).


class Echo:
    """The least that a loss of sentence-transformers asks of a cross-encoder: the passage's text is its score."""

    num_labels, device = 1, torch.device("cpu")

    def preprocess(self, pairs, **_):
        return {"scores": torch.tensor([float(text) for _, text in pairs])}

    def __call__(self, features):
        return features


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("ranknet", {"sigma": 2.0}, lambda losses: losses.RankNetLoss(Echo(), reduction_log="natural", sigma=2.0)),
        ("listnet", {}, lambda losses: losses.ListNetLoss(Echo())),
        ("lambda_ndcg", {"k": 2}, lambda losses: losses.LambdaLoss(Echo(), k=2)),
        (
            *("lambda_ndcg", {"weighting": "lambdarank", "log": "natural"}),
            lambda losses: losses.LambdaLoss(Echo(), losses.LambdaRankScheme(), reduction_log="natural"),
        ),
        ("lambda_ndcg", {"weighting": "ndcg2"}, lambda losses: losses.LambdaLoss(Echo(), losses.NDCGLoss2Scheme())),
        ("adr_mse", {"temperature": 0.5}, lambda losses: losses.ADRMSELoss(Echo(), alpha=2.0)),
        ("p_listmle", {}, lambda losses: losses.PListMLELoss(Echo(), respect_input_order=False)),
    ],
    ids=lambda value: "theirs" if callable(value) else str(value),  # no address: all processes must agree
)
def test_values_are_those_of_sentence_transformers(name, options, theirs):
    loss = theirs(pytest.importorskip("sentence_transformers.cross_encoder.losses"))

    @settings(max_examples=25)
    @given(groups("scores" if name == "p_listmle" else "order"))  # theirs puts equal labels in no order
    def holds(group):
        scores, labels = group
        expected = loss([["query"], [[str(score) for score in scores]]], [torch.tensor(labels)]).item()
        assert value(made(name, **options), scores, labels) == pytest.approx(expected, rel=1e-4, abs=1e-5)

    holds()

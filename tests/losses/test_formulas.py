"""Every loss, with every option, against its formula in float64 NumPy, value and gradients."""

import jax
import numpy as np
import pytest

from jaxcl.losses import LOSSES, nce_log_normalizer
from tests.losses.cases import evaluate64, rows

TEMPERATURE = 0.4


def negatives_in(s, i, positives, where):
    return np.array([s[i, k] for k in range(s.shape[1]) if where[i, k] and k != positives[i]])


def each_row(formula):
    """Turns a formula of (positive, negatives, tau) into an oracle of the whole matrix."""

    def oracle(s, positives, where, tau):
        return np.array(
            [
                formula(s[i, positives[i]], negatives_in(s, i, positives, where), tau)
                for i in range(len(s))
            ]
        )

    return oracle


def hardest(negatives, k):
    return np.sort(negatives)[::-1][:k]


def softmax_loss(p, negatives, tau, epsilon=0.0):
    mass = np.exp(p / tau)
    return -np.log(mass / (mass + np.exp(negatives / tau).sum()) + epsilon)


def decoupled(p, negatives, tau):
    return -p / tau + np.log(np.exp(negatives / tau).sum())


def top_with_positive(p, negatives, count):
    """The `count` largest of all candidates, and whether the positive is one of them."""
    kept = hardest(np.append(negatives, p), count)
    return kept, p in kept


def hard_counting_positive(p, negatives, tau, k, epsilon=0.0):
    kept, _ = top_with_positive(p, negatives, k + 1)
    return -np.log(np.exp(p / tau) / np.exp(kept / tau).sum() + epsilon)


def share(k_of_alpha, count):
    return max(1, round(k_of_alpha * count))


def weighted_decoupled(s, positives, where, tau, sigma=0.5):
    positive = s[np.arange(len(s)), positives]
    weights = 2 - np.exp(positive / sigma) / np.exp(positive / sigma).mean()
    plain = each_row(decoupled)(s, positives, where, tau)
    return plain + positive / tau - weights * positive / tau


def distances(s):
    return np.sqrt(2 - 2 * s)


def spring(p, negatives, tau, margin=1.0):
    return distances(p) + np.maximum(margin - distances(negatives), 0).sum()


def triplet(p, negatives, tau, margin=1.0):
    return np.maximum(distances(p) - distances(negatives) + margin, 0).sum()


def noise_contrastive(s, positives, where, tau, num_data=8, log_normalizer=None, epsilon=0.0):
    counted = where.copy()
    counted[np.arange(len(s)), positives] = True
    z = np.exp(s[counted] / tau).mean() * num_data
    if log_normalizer is not None:
        z = np.exp(log_normalizer)

    def row(p, negatives, tau):
        m = len(negatives)
        of_positive, of_negatives = np.exp(p / tau) / z, np.exp(negatives / tau) / z
        noise = m / num_data
        return (
            -np.log(of_positive / (of_positive + noise + epsilon))
            - np.log(noise / (of_negatives + noise + epsilon)).sum()
        )

    return each_row(row)(s, positives, where, tau)


def two_way(s, positives, where, tau):
    forth = each_row(softmax_loss)(s, positives, where, tau)
    anchors = np.argsort(positives)
    back = each_row(softmax_loss)(s.T, anchors, where.T, tau)
    return 0.5 * forth + 0.5 * back[positives]


def sigmoids(bias):
    def row(p, negatives, tau):
        def log_sigmoid(x):
            return -np.log1p(np.exp(-x))

        return -log_sigmoid(p / tau + bias) - log_sigmoid(-(negatives / tau + bias)).sum()

    return each_row(row)


def reweighted(p, negatives, tau, beta=1.0, tau_plus=0.1):
    m = len(negatives)
    weights = np.exp(beta * negatives / tau)
    mass = (weights * np.exp(negatives / tau)).sum() / weights.mean()
    corrected = (mass - m * tau_plus * np.exp(p / tau)) / (1 - tau_plus)
    g = max(corrected, m * np.exp(-1 / tau))
    return -np.log(np.exp(p / tau) / (np.exp(p / tau) + g))


def aligned_and_uniform(s, positives, where, tau, alpha=2.0, t=2.0, attract=1.0, repel=1.0):
    pairs = np.concatenate([negatives_in(s, i, positives, where) for i in range(len(s))])
    uniformity = np.log(np.exp(-t * (2 - 2 * pairs)).mean())
    positive = s[np.arange(len(s)), positives]
    return attract * distances(positive) ** alpha + repel * uniformity


def miss(p, negatives, tau):
    return 1 - np.exp(-softmax_loss(p, negatives, tau))


def entropy(negatives, tau):
    r = np.exp(negatives / tau) / np.exp(negatives / tau).sum()
    return -(r[r > 0] * np.log(r[r > 0])).sum()


def at_fixed_entropy(p, negatives, tau, target=None, k=None):
    negatives = hardest(negatives, k or len(negatives))
    target = np.log(len(negatives)) / 2 if target is None else target
    low, high = 1e-3, 10.0
    for _ in range(60):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if entropy(negatives, middle) < target else (low, middle)
    return softmax_loss(p, negatives, low)


# Name, constants, oracle. Where the gradient stops on purpose, the derivative is another.
CASES = [
    *((name, {}, each_row(softmax_loss)) for name in ("contrastive", "nt_xent", "softmax")),
    ("contrastive", {"epsilon": 1e-2}, each_row(lambda p, k, tau: softmax_loss(p, k, tau, 1e-2))),
    ("simple", {}, each_row(lambda p, k, tau: -p + k.mean())),
    ("simple", {"negative_weight": 0.3}, each_row(lambda p, k, tau: -p + 0.3 * k.sum())),
    (
        "simple",
        {"count_positive": True},
        each_row(lambda p, k, tau: -p + np.append(k, p).mean()),
    ),
    ("hard", {}, each_row(softmax_loss)),
    ("hard", {"num_negatives": 2}, each_row(lambda p, k, t: softmax_loss(p, hardest(k, 2), t))),
    (
        "hard",
        {"alpha": 0.5},
        each_row(lambda p, k, t: softmax_loss(p, hardest(k, share(0.5, len(k))), t)),
    ),
    (
        "hard",
        {"num_negatives": 2, "count_positive": True},
        each_row(lambda p, k, t: hard_counting_positive(p, k, t, 2)),
    ),
    (
        "hard",
        {"num_negatives": 2, "count_positive": True, "epsilon": 1e-2},
        each_row(lambda p, k, t: hard_counting_positive(p, k, t, 2, 1e-2)),
    ),
    ("hard_simple", {}, each_row(lambda p, k, tau: -p + k.mean())),
    (
        "hard_simple",
        {"num_negatives": 2},
        each_row(lambda p, k, tau: -p + hardest(k, 2).mean()),
    ),
    (
        "hard_simple",
        {"num_negatives": 2, "negative_weight": 0.3},
        each_row(lambda p, k, tau: -p + 0.3 * hardest(k, 2).sum()),
    ),
    (
        "hard_simple",
        {"num_negatives": 2, "count_positive": True},
        each_row(lambda p, k, tau: -p + top_with_positive(p, k, 3)[0].mean()),
    ),
    ("zero_temperature", {}, each_row(lambda p, k, tau: max(k.max() - p, 0))),
    ("fixed_entropy", {}, each_row(at_fixed_entropy)),
    ("fixed_entropy", {"entropy": 0.5}, each_row(lambda p, k, t: at_fixed_entropy(p, k, t, 0.5))),
    (
        "fixed_entropy",
        {"num_negatives": 2, "entropy": 0.5},
        each_row(lambda p, k, t: at_fixed_entropy(p, k, t, 0.5, 2)),
    ),
    ("dcl", {}, each_row(decoupled)),
    ("dclw", {}, weighted_decoupled),
    ("dclw", {"sigma": 2.0}, lambda *a: weighted_decoupled(*a, sigma=2.0)),
    ("dclw", {"detach_weights": True}, weighted_decoupled),
    ("spring", {}, each_row(spring)),
    ("spring", {"margin": 1.5}, each_row(lambda *a: spring(*a, margin=1.5))),
    ("spring", {"form": "printed"}, each_row(lambda *a: 0.5 * spring(*a))),
    ("triplet", {"form": "printed"}, each_row(triplet)),
    ("triplet", {"margin": 0.3}, each_row(lambda *a: triplet(*a, margin=0.3) + 0.3)),
    ("triplet", {}, each_row(lambda *a: triplet(*a) + 1)),
    ("nce", {}, noise_contrastive),
    ("nce", {"num_data": 100}, lambda *a: noise_contrastive(*a, num_data=100)),
    ("nce", {"log_normalizer": 3.0}, lambda *a: noise_contrastive(*a, log_normalizer=3.0)),
    ("nce", {"epsilon": 0.1}, lambda *a: noise_contrastive(*a, epsilon=0.1)),
    ("nce", {"detach_normalizer": True}, noise_contrastive),
    ("clip", {}, two_way),
    ("sigmoid", {}, sigmoids(-10.0)),
    ("sigmoid", {"bias": 0.5}, sigmoids(0.5)),
    ("supcon", {}, each_row(softmax_loss)),
    (
        "supcon",
        {"base_temperature": 0.07},
        each_row(lambda p, k, tau: softmax_loss(p, k, tau) * tau / 0.07),
    ),
    ("debiased", {}, each_row(lambda *a: reweighted(*a, beta=0.0))),
    ("debiased", {"tau_plus": 0.6}, each_row(lambda *a: reweighted(*a, beta=0.0, tau_plus=0.6))),
    ("hcl", {}, each_row(reweighted)),
    ("hcl", {"beta": 0.5, "tau_plus": 0.0}, each_row(lambda *a: reweighted(*a, 0.5, 0.0))),
    ("alignment_uniformity", {}, aligned_and_uniform),
    (
        "alignment_uniformity",
        {"alpha": 1.0, "t": 3.0, "alignment_weight": 3.0, "uniformity_weight": 0.5},
        lambda *a: aligned_and_uniform(*a, 1.0, 3.0, 3.0, 0.5),
    ),
    ("spectral", {}, each_row(lambda p, k, tau: -2 * p + (k**2).mean())),
    ("spectral", {"mu": 4.0}, each_row(lambda p, k, tau: (-2 * p + (k**2).mean()) / 4)),
    ("dual_temperature", {"ratio": 1.0}, each_row(softmax_loss)),
    (
        "dual_temperature",
        {},
        each_row(lambda p, k, t: miss(p, k, 10 * t) / miss(p, k, t) * softmax_loss(p, k, t)),
    ),
]
# The temperature of fixed entropy is only as exact as its 20 bisections.
INEXACT = {"fixed_entropy"}
STOPS_GRADIENT = {"fixed_entropy", "dual_temperature"}


def label(case):
    return f"{case[0]}({', '.join(f'{k}={v}' for k, v in case[1].items())})"


def stops_gradient(case):
    name, constants, _ = case
    detached = any(key.startswith("detach") for key in constants)
    return detached or (name in STOPS_GRADIENT and constants != {"ratio": 1.0})


def test_every_loss_has_an_oracle():
    assert {case[0] for case in CASES} == set(LOSSES)


@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_value_is_that_of_the_formula(case):
    name, constants, oracle = case
    for seed in (0, 1):
        s, positives, where = rows(seed)
        got, _, _ = evaluate64(name, s, positives, where, TEMPERATURE, **constants)
        tolerance = 1e-4 if name in INEXACT else 1e-12
        np.testing.assert_allclose(
            got, oracle(s, positives, where, TEMPERATURE), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("case", [c for c in CASES if not stops_gradient(c)], ids=label)
def test_the_gradients_are_the_central_differences_of_the_formula(case):
    name, constants, oracle = case
    s, positives, where = rows(2)
    _, by_similarity, by_temperature = evaluate64(
        name, s, positives, where, TEMPERATURE, **constants
    )
    step = 1e-6
    expected = np.zeros_like(s)
    for index in np.ndindex(s.shape):
        change = np.zeros_like(s)
        change[index] = step
        above, below = (oracle(s + e, positives, where, TEMPERATURE) for e in (change, -change))
        expected[index] = (above - below).sum() / (2 * step)
    np.testing.assert_allclose(by_similarity, expected, rtol=1e-6, atol=1e-7)
    above, below = (oracle(s, positives, where, TEMPERATURE + e) for e in (step, -step))
    expected = (above - below).sum() / (2 * step)
    np.testing.assert_allclose(by_temperature, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "constants", "frozen"),
    [
        ("dclw", {"detach_weights": True}, "weights"),
        ("nce", {"detach_normalizer": True}, "log_normalizer"),
    ],
)
def test_detaching_what_rows_share_is_passing_it_as_a_constant(name, constants, frozen):
    s, positives, where = rows(3)
    positive = s[np.arange(len(s)), positives]
    shared = {
        "weights": 2 - np.exp(positive / 0.5) / np.exp(positive / 0.5).mean(),
        "log_normalizer": None,
    }[frozen]
    with jax.enable_x64(True):
        if frozen == "log_normalizer":
            shared = nce_log_normalizer(s, positives, temperature=TEMPERATURE, where=where)
        detached = evaluate64(name, s, positives, where, TEMPERATURE, **constants)
        attached = evaluate64(name, s, positives, where, TEMPERATURE)
        given = jax.grad(
            lambda x: LOSSES[name](
                x, positives, temperature=TEMPERATURE, where=where, **{frozen: shared}
            ).sum()
        )(s)
    np.testing.assert_allclose(detached[0], attached[0], rtol=1e-12)
    np.testing.assert_allclose(detached[1], given, rtol=1e-9, atol=1e-12)
    assert np.abs(detached[1] - attached[1]).max() > 1e-2


def test_supcon_with_many_positives_is_the_mean_outside_of_the_logarithm():
    generator = np.random.default_rng(5)
    s = generator.uniform(-1, 1, (8, 8))
    positives = generator.random((8, 8)) < 0.4
    positives[0] = False
    where = generator.random((8, 8)) < 0.8
    expected = np.zeros(8)
    for i in range(1, 8):
        everyone = s[i, positives[i] | where[i]]
        log_probabilities = s[i, positives[i]] / 0.4 - np.log(np.exp(everyone / 0.4).sum())
        expected[i] = -log_probabilities.mean()
    with jax.enable_x64(True):
        got = LOSSES["supcon"](s, positives, temperature=0.4, where=where)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_sigmoid_with_many_positives_signs_each_pair():
    generator = np.random.default_rng(6)
    s = generator.uniform(-1, 1, (8, 8))
    positives = generator.random((8, 8)) < 0.4
    where = generator.random((8, 8)) < 0.8
    z = np.where(positives, 1, -1)
    terms = np.log1p(np.exp(-z * (s / 0.4 - 1)))
    with jax.enable_x64(True):
        got = LOSSES["sigmoid"](s, positives, temperature=0.4, where=where, bias=-1.0)
    np.testing.assert_allclose(got, (terms * (positives | where)).sum(1), rtol=1e-12)

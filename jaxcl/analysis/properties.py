"""The properties of the theory that a loss may have, in words."""

from collections.abc import Mapping

# What each property says of a loss L of similarities s, with the pull -dL/ds_pos, the pushes
# dL/ds_neg, and the relative penalties r = |push| / |pull|.
PROPERTIES: Mapping[str, str] = {
    "attracts the positive": "the pull is never negative, and somewhere positive",
    "repels negatives": "no push is negative, and some are positive",
    "hardness-aware": "of two negatives the nearer is pushed no less, and some are pushed more",
    "penalties sum to one": "the pushes add up to the pull",
    "ratio independent of the positive": "the similarity of the positive does not change r",
    "entropy monotone in tau": "the entropy of r increases with the temperature",
    "shift invariant": "L(s + c) = L(s)",
    "scale covariant": "L(c s, c tau) = L(s, tau)",
    "negatives alike": "shuffling the negatives of an anchor changes no loss",
    "convex": "L is convex in the similarities",
    "non-negative": "L >= 0",
    "nearest negative as tau -> 0": (
        "tau L tends to s_max - s_pos, or to its positive part, s_max the nearest negative"
    ),
    "uniform as tau -> infinity": "all negatives that are pushed are pushed alike",
    "full pull": "the pull is 1 / tau whatever the similarities (no coupling)",
    "rows independent": "the loss of an anchor does not depend on other anchors",
    "mask obeyed": "a candidate that does not count has no gradient and no effect",
    "finite at tau = 0.005": "value and all gradients are finite in float32, in the hardest cases",
    "precise at tau = 0.005": "the gradient in float32 is that in float64, within 0.1 %",
}

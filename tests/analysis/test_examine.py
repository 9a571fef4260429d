"""The examination: right about the family, and able to find fault with a bad loss."""

import functools
import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.analysis import PROPERTIES, examine
from jaxcl.analysis.verdicts import examine_family, verdict_page
from jaxcl.losses import LOSSES, ROW_COUPLED, TEMPERATURE_FREE, contrastive

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "examine.md"


@pytest.fixture(scope="module")
def family():
    return examine_family()


def test_the_page_in_the_documentation_is_true(family):
    """Every word as generated; a violation, one digit of a rounded number, within a factor."""
    number = re.compile(r"(?<=\*\*no\*\* )[\d.e+-]+")
    written, generated = PAGE.read_text(), verdict_page(family)
    assert number.sub("", written) == number.sub("", generated), (
        "run: python -m jaxcl.analysis.verdicts > docs/examine.md"
    )
    pair = [np.array(number.findall(text), float) for text in (written, generated)]
    np.testing.assert_array_less(np.abs(np.log(pair[0] / pair[1])), np.log(2.1))


# What the theory says of each loss, independent of the measurement. Each set is complete.
NOT = {
    "penalties sum to one": {
        "dclw",  # its weights multiply the pull alone
        "spring",  # one pull against all pushes
        "triplet",  # the slope of a distance differs between positive and negative
        "nce",  # a binary decision each
        "clip",  # half of the pull comes from the column
        "sigmoid",
        "debiased",  # where the clamp holds, the pushes vanish
        "hcl",
        "alignment_uniformity",
        "spectral",
    },
    "shift invariant": {
        "dclw",
        "spring",
        "triplet",
        "sigmoid",
        "debiased",  # its clamp is not shifted along
        "hcl",
        "alignment_uniformity",
        "spectral",
    },
    "non-negative": {
        "simple",
        "hard_simple",
        "dcl",
        "dclw",
        "alignment_uniformity",
        "spectral",
    },
    "repels negatives": {
        "hcl",  # the weight of an easy negative falls when it comes nearer
        "spectral",  # towards orthogonality, from both sides
    },
    "rows independent": set(ROW_COUPLED),
    "mask obeyed": set(),
    "finite at tau = 0.005": set(),
    "precise at tau = 0.005": set(),
}


@pytest.mark.parametrize("name", NOT)
def test_verdicts_on_the_family_are_those_of_the_theory(family, name):
    found = {loss for loss, result in family.items() if result.verdicts[name].holds is False}
    assert found == NOT[name]


def test_only_losses_without_temperature_are_spared(family):
    spared = {
        name for name, result in family.items() if result.verdicts["scale covariant"].holds is None
    }
    assert spared == set(TEMPERATURE_FREE)


def test_the_limits_are_told_apart(family):
    remarks = {
        name: family[name].verdicts["nearest negative as tau -> 0"].remark
        for name in ("contrastive", "hard", "dcl")
    }
    assert remarks == {
        "contrastive": "[s_max - s_pos]+",
        "hard": "[s_max - s_pos]+",
        "dcl": "s_max - s_pos",
    }
    full = {name for name, result in family.items() if result.verdicts["full pull"].holds}
    assert full == {"dcl"}


def naive(similarities, positives, *, temperature, where=None):
    """Exponentials first, as in much published code: right until it is not."""
    own = jnp.arange(similarities.shape[1])[None, :] == positives[:, None]
    masses = jnp.exp(similarities / temperature)
    if where is not None:
        masses = masses * (where | own)
    return -jnp.log(jnp.sum(masses * own, axis=1) / jnp.sum(masses, axis=1))


def test_a_naive_softmax_is_found_out_at_low_temperature():
    verdicts = examine(naive, quiet=True).verdicts
    assert verdicts["finite at tau = 0.005"].holds is False
    assert verdicts["precise at tau = 0.005"].holds is False
    assert verdicts["penalties sum to one"].holds and verdicts["convex"].holds


BROKEN = {
    "attracts the positive": lambda s, p, **k: -contrastive(s, p, **k),
    "hardness-aware": lambda s, p, **k: jnp.sum(jnp.log(2 + s), axis=1),
    "ratio independent of the positive": lambda s, p, **k: (
        contrastive(s, p, **k) - jnp.take_along_axis(s, p[:, None], axis=1)[:, 0] ** 2
    ),
    "entropy monotone in tau": lambda s, p, *, temperature, **k: contrastive(
        s, p, temperature=1 / temperature, **k
    ),
    "negatives alike": lambda s, p, **k: contrastive(
        s * jnp.linspace(0.5, 1, s.shape[1], dtype=s.dtype)[None], p, **k
    ),
    "convex": lambda s, p, **k: jnp.sqrt(contrastive(s, p, **k) + 1),
    "rows independent": lambda s, p, **k: contrastive(s, p, **k) + jnp.mean(s),
    "mask obeyed": lambda s, p, *, where, **k: contrastive(s, p, **k),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_loss_broken_in_one_property_is_found_out(name):
    verdict = examine(BROKEN[name], name="broken", quiet=True).verdicts[name]
    assert verdict.holds is False and "NO" in str(verdict)


def test_the_table_is_printed_with_the_size_of_each_violation(capsys):
    examination = examine(LOSSES["simple"])
    printed = capsys.readouterr().out
    assert printed == f"{examination}\n"
    assert printed.startswith("simple\n------\n")
    for name in PROPERTIES:
        assert name in printed
    assert re.search(r"non-negative +NO   violated by \d", printed)
    assert "hardness-aware" in examination.violated and "convex" not in examination.violated
    examine(LOSSES["simple"], quiet=True)
    assert capsys.readouterr().out == ""


def test_constants_and_partial_functions_are_examined():
    three = functools.partial(LOSSES["hard"], num_negatives=3)
    remark = examine(three, name="three", quiet=True).verdicts["uniform as tau -> infinity"].remark
    assert remark == "over 3 of 15"


def test_a_loss_without_temperature_or_mask_is_examined_on_the_rest():
    def bare(similarities, positives):
        return jnp.sum(similarities**2, axis=1)

    verdicts = examine(bare, quiet=True).verdicts
    assert verdicts["mask obeyed"].holds is None
    assert verdicts["scale covariant"].holds is None
    assert verdicts["convex"].holds


def test_a_loss_that_is_already_averaged_is_refused():
    def averaged(similarities, positives, *, temperature):
        return jnp.mean(contrastive(similarities, positives, temperature=temperature))

    with pytest.raises(ValueError, match="averaged must return one value an anchor"):
        examine(averaged)

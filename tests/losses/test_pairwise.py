"""Streaming changes the memory that a loss takes, and no number."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.losses import (
    DECOUPLED_BY,
    LOSSES,
    ROW_COUPLED,
    choose_evaluation,
    clip,
    contrastive,
    dcl,
    dclw,
    dclw_weights,
    nce,
    positive_similarities,
    sigmoid,
    streamed_mean,
    streamed_values,
    supcon,
)
from jaxcl.losses.chunks import rows_at_once
from jaxcl.losses.problem import COUPLED
from tests.losses.cases import UNOPTIMIZED
from tests.losses.embedded import (
    CONSTANTS,
    NOT_SELF,
    POSITIVES,
    ROWS,
    SIZE,
    STREAMABLE,
    WITH_SLOW,
    check_against_reference,
    dense,
    differentiated,
    embeddings,
    relative_error,
)

CHUNK = 10  # Five chunks of 10 rows: two of them are filled in.
LABELS = ROWS // 6
OTHER_LABEL = LABELS[:, None] != LABELS[None, :]


def streamed(name, **options):
    """A loss as a function of (anchors, candidates, temperature, what couples its rows)."""

    def mean(anchors, candidates, temperature, shared):
        if name == "dclw":
            shared = {"per_anchor": shared}
        return streamed_mean(
            LOSSES[name],
            anchors,
            candidates,
            POSITIVES,
            temperature=temperature,
            exclude=ROWS,
            **{"chunk": CHUNK, **shared, **CONSTANTS.get(name, {}), **options},
        )

    return differentiated(mean)


def agree(ours, theirs, *arguments, bound=1e-12):
    """Asserts that two functions have the same value and gradients by all arguments, in float64."""
    with jax.enable_x64(True):
        arguments = tuple(jnp.asarray(x, jnp.float64) for x in arguments)
        everything = tuple(range(len(arguments)))

        def both(*arguments):
            return tuple(
                jax.value_and_grad(function, argnums=everything)(*arguments)
                for function in (ours, theirs)
            )

        results = jax.jit(both, compiler_options=UNOPTIMIZED)(*arguments)
        for actual, exact in zip(*map(jax.tree.leaves, results), strict=True):
            assert relative_error(actual, np.asarray(exact)) <= bound


@pytest.mark.parametrize("name", STREAMABLE)
def test_every_loss_is_exact_in_float64(name):
    with jax.enable_x64(True):
        check_against_reference(name, "float64", streamed(name))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", WITH_SLOW)
def test_every_loss_is_exact_in_float32_also_of_bfloat16_embeddings(name, dtype):
    check_against_reference(name, dtype, streamed(name))


@pytest.mark.parametrize("chunk", [1, 7, SIZE, 10 * SIZE])
def test_any_chunk_will_do(chunk):
    check_against_reference("contrastive", "float32", streamed("contrastive", chunk=chunk))


def test_labels_padding_and_weights_are_those_of_the_dense_form():
    usable = ROWS % 5 != 3

    def ours(z, temperature, weights):
        return streamed_mean(
            contrastive,
            z,
            z,
            POSITIVES,
            temperature=temperature,
            exclude=ROWS,
            anchor_labels=LABELS,
            candidate_labels=LABELS,
            candidate_where=usable,
            anchor_weights=weights,
            chunk=CHUNK,
        )

    def theirs(z, temperature, weights):
        where = NOT_SELF & OTHER_LABEL & usable[None, :]
        losses = dense(contrastive, z, z, POSITIVES, temperature=temperature, where=where)
        return jnp.sum(weights * losses) / jnp.sum(weights)

    agree(ours, theirs, embeddings("float64"), 0.1, (ROWS % 3).astype(float))


@pytest.mark.parametrize("loss", [supcon, sigmoid])
def test_positives_by_label_are_handed_over_as_a_mask(loss):
    def ours(a, b, temperature):
        labels = {"anchor_labels": LABELS, "candidate_labels": LABELS}
        return streamed_mean(
            loss, a, b, None, temperature=temperature, exclude=ROWS, chunk=CHUNK, **labels
        )

    def theirs(a, b, temperature):
        return jnp.mean(dense(loss, a, b, ~OTHER_LABEL & NOT_SELF, temperature=temperature))

    z = embeddings("float64")
    agree(ours, theirs, z, z, 0.1)


def test_a_temperature_for_each_anchor_has_a_gradient_for_each():
    def ours(z, temperature):
        return streamed_mean(dcl, z, z, POSITIVES, temperature=temperature, chunk=CHUNK)

    def theirs(z, temperature):
        return jnp.mean(dense(dcl, z, z, POSITIVES, temperature=temperature, where=None))

    agree(ours, theirs, embeddings("float64"), np.linspace(0.05, 1, SIZE))


def test_an_array_among_the_constants_is_differentiated():
    def loss(similarities, positives, *, temperature, where, bias, table):
        scaled = (similarities + bias) / temperature + table[None, :2].sum()
        return contrastive(jnp.tanh(scaled), positives, temperature=1.0, where=where)

    table = np.arange(3)  # Not floating: passed on, not differentiated.

    def ours(z, temperature, bias):
        constants = {"bias": bias, "table": jnp.asarray(table), "chunk": CHUNK}
        return streamed_mean(loss, z, z, POSITIVES, temperature=temperature, **constants)

    def theirs(z, temperature, bias):
        constants = {"bias": bias, "table": jnp.asarray(table), "where": None}
        return dense(loss, z, z, POSITIVES, temperature=temperature, **constants).mean()

    agree(ours, theirs, embeddings("float64"), 0.5, 0.1)


@pytest.mark.parametrize("detach", [False, True])
def test_dclw_streams_with_its_weights_computed_beforehand(detach):
    def ours(a, b, temperature):
        weights = dclw_weights(positive_similarities(a, b, POSITIVES))
        weights = jax.lax.stop_gradient(weights) if detach else weights
        shared = {"per_anchor": {"weights": weights}, "chunk": CHUNK}
        return streamed_mean(dclw, a, b, POSITIVES, temperature=temperature, **shared)

    def theirs(a, b, temperature):
        constants = {"where": None, "detach_weights": detach}
        return dense(dclw, a, b, POSITIVES, temperature=temperature, **constants).mean()

    z = embeddings("float64")
    agree(ours, theirs, z, z, 0.1)


def test_what_couples_the_rows_can_itself_be_streamed():
    """NCE whose normalizer is that of the batch, with the gradient through it."""

    def log_mass(similarities, positives, *, temperature, where):
        del positives, where
        return jax.nn.logsumexp(similarities / temperature, axis=1)

    def ours(z, temperature):
        options = {"temperature": temperature, "chunk": CHUNK}
        masses = streamed_values(log_mass, z, z, POSITIVES, **options)
        log_z = jax.nn.logsumexp(masses) - jnp.log(SIZE)
        return streamed_mean(nce, z, z, POSITIVES, log_normalizer=log_z, **options)

    def theirs(z, temperature):
        return dense(nce, z, z, POSITIVES, temperature=temperature, where=None).mean()

    agree(ours, theirs, embeddings("float64"), 0.2)


def test_the_two_way_loss_streams_as_both_ways():
    def ours(a, b, temperature):
        one_way = functools.partial(
            streamed_mean, contrastive, temperature=temperature, exclude=ROWS, chunk=CHUNK
        )
        return 0.5 * (one_way(a, b, POSITIVES) + one_way(b, a, POSITIVES))

    def theirs(a, b, temperature):
        return dense(clip, a, b, POSITIVES, temperature=temperature).mean()

    z = embeddings("float64")
    agree(ours, theirs, z, np.roll(z, 2, axis=0), 0.1)


def test_exactly_the_coupled_losses_are_refused_without_what_couples_them():
    z = embeddings()
    assert {loss.__name__: key for loss, key in COUPLED.items()} == {
        name: DECOUPLED_BY.get(name) for name in ROW_COUPLED
    }
    for loss in COUPLED:
        for given in (loss, functools.partial(loss, where=None)):
            with pytest.raises(ValueError, match=f"{loss.__name__} couples"):
                streamed_mean(given, z, z, POSITIVES, temperature=0.1)


def test_values_are_those_of_the_dense_form_and_differentiable():
    def ours(z, temperature):
        options = {"temperature": temperature, "exclude": ROWS, "chunk": CHUNK}
        return jnp.sum(streamed_values(contrastive, z, z, POSITIVES, **options) ** 2)

    def theirs(z, temperature):
        return jnp.sum(dense(contrastive, z, z, POSITIVES, temperature=temperature) ** 2)

    agree(ours, theirs, embeddings("float64"), 0.1)


def test_a_grid_of_temperatures_is_one_vmap():
    z = jnp.asarray(embeddings())

    def mean(temperature):
        return streamed_mean(contrastive, z, z, POSITIVES, temperature=temperature, chunk=CHUNK)

    compiled = functools.partial(jax.jit, compiler_options=UNOPTIMIZED)
    one, grid = compiled(jax.value_and_grad(mean)), jnp.asarray([0.05, 0.2, 1.0])
    many = compiled(jax.vmap(jax.value_and_grad(mean)))(grid)
    expected = np.transpose([one(temperature) for temperature in grid])
    np.testing.assert_allclose(many, expected, rtol=1e-5)


def test_the_gradient_is_scaled_by_what_follows_the_mean():
    def ours(z):
        return jnp.exp(streamed_mean(dcl, z, z, POSITIVES, temperature=0.3, chunk=CHUNK))

    def theirs(z):
        return jnp.exp(dense(dcl, z, z, POSITIVES, temperature=0.3, where=None).mean())

    agree(ours, theirs, embeddings("float64"))


def test_second_derivatives_are_those_of_the_dense_form():
    def slope(mean):
        def sum_of_squares(z, temperature):
            by_z, by_temperature = jax.grad(mean, argnums=(0, 1))(z, temperature)
            return jnp.sum(by_z**2) + by_temperature

        return sum_of_squares

    def ours(z, temperature):
        return streamed_mean(contrastive, z, z, POSITIVES, temperature=temperature, chunk=CHUNK)

    def theirs(z, temperature):
        return dense(contrastive, z, z, POSITIVES, temperature=temperature, where=None).mean()

    agree(slope(ours), slope(theirs), embeddings("float64"), 0.2, bound=1e-11)


def test_a_row_without_weight_does_not_count_even_if_it_is_nan():
    z = embeddings()
    poisoned = z.copy()
    poisoned[-2:] = np.nan
    weights = (ROWS < SIZE - 2).astype(np.float32)
    usable = ROWS < SIZE - 2

    def mean(anchors, candidates):
        masks = {"candidate_where": usable, "anchor_weights": weights, "chunk": CHUNK}
        return streamed_mean(contrastive, anchors, candidates, POSITIVES, temperature=0.1, **masks)

    assert mean(poisoned, z) == pytest.approx(float(mean(z, z)), rel=1e-6)


def test_the_mean_over_no_anchor_is_zero():
    z = jnp.asarray(embeddings())
    nobody = jnp.zeros(SIZE)

    def mean(z):
        return streamed_mean(
            contrastive, z, z, POSITIVES, temperature=0.1, anchor_weights=nobody, chunk=CHUNK
        )

    value, gradient = jax.value_and_grad(mean)(z)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def count_products(function, *arguments):
    return str(jax.make_jaxpr(function)(*arguments)).count("dot_general")


def test_no_time_is_spent_on_what_is_not_differentiated():
    z = jnp.asarray(embeddings())

    def mean(anchors, candidates):
        return streamed_mean(contrastive, anchors, candidates, POSITIVES, temperature=0.1)

    assert count_products(mean, z, z) == 1
    assert count_products(jax.grad(mean), z, z) == 2
    assert count_products(lambda a, b: jax.grad(mean)(a, jax.lax.stop_gradient(b)), z, z) == 2
    assert count_products(jax.grad(mean, argnums=(0, 1)), z, z) == 3


def temporary_bytes(size, chunk):
    x = jax.ShapeDtypeStruct((size, 128), jnp.float32)
    rows = jax.ShapeDtypeStruct((size,), jnp.int32)

    def mean(anchors, candidates, temperature, rows):
        return streamed_mean(
            contrastive, anchors, candidates, rows, temperature=temperature, chunk=chunk
        )

    compiled = (
        jax.jit(jax.value_and_grad(mean, argnums=(0, 1, 2)))
        .lower(x, x, jax.ShapeDtypeStruct((), jnp.float32), rows)
        .compile()
    )
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("rows", [65_536, 131_072], ids=["one view", "both views"])
def test_65536_pairs_take_320_mib(rows):
    assert temporary_bytes(rows, 256) <= 320 * 2**20


def test_past_very_many_candidates_fewer_anchors_go_at_a_time():
    assert rows_at_once(256, 65_536) == 256
    assert rows_at_once(256, 131_072) == 128
    assert rows_at_once(256, 2**25) == 1


def test_the_choice_follows_the_size_of_the_dense_form():
    assert choose_evaluation(64, 1000) == "dense"
    assert choose_evaluation(65_536, 65_536) == "streamed"
    assert choose_evaluation(100, 100, limit_bytes=3 * 4 * 100 * 100) == "dense"
    assert choose_evaluation(100, 100, limit_bytes=3 * 4 * 100 * 100 - 1) == "streamed"


Z = np.eye(4, dtype=np.float32)
P = np.arange(4)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((Z, Z, P), {"chunk": 0}, ValueError, "chunk 0 must be at least 1"),
        ((Z.astype(int), Z, P), {}, TypeError, "anchors have dtype int"),
        ((Z, Z[:, :3], P), {}, ValueError, r"\[n, d\] and \[m, d\]"),
        ((Z, Z, P[:3]), {}, ValueError, r"positives has shape \(3,\)"),
        ((Z, Z, P + 1), {}, ValueError, r"positives lie in \[1, 4\]"),
        ((Z, Z, P * 1.0), {}, TypeError, "positives have dtype float"),
        ((Z, Z, None), {}, ValueError, "labels, which are missing"),
        ((Z, Z, P), {"exclude": P - 2}, ValueError, r"exclude lie in \[-2, 1\]"),
        ((Z, Z, P), {"anchor_labels": P}, ValueError, "go together"),
        ((Z, Z, P), {"temperature": 0.0}, ValueError, "temperature 0.0 must be positive"),
        ((Z, Z, P), {"temperature": np.ones(3)}, ValueError, r"temperature has shape \(3,\)"),
        ((Z, Z, P), {"per_anchor": {"w": np.ones(3)}}, ValueError, r"w has shape \(3,\)"),
        ((Z, Z, P), {"anchor_weights": np.ones(3)}, ValueError, "anchor_weights has shape"),
        ((Z, Z, P), {"candidate_where": P}, TypeError, "candidate_where has dtype int"),
    ],
)
def test_a_mistake_is_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        streamed_mean(contrastive, *arguments, **{"temperature": 0.1, **options})


def test_values_take_no_weights():
    with pytest.raises(ValueError, match="streamed_values takes none"):
        streamed_values(contrastive, Z, Z, P, temperature=0.1, anchor_weights=np.ones(4))

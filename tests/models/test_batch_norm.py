"""BatchNorm by groups, computing again instead of keeping, and low precision: what changes and what must not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl import sharding
from jaxcl.models import build_model
from jaxcl.models.batch_norm import BatchNorm
from jaxcl.models.resnet import BasicBlock, ResNet

SMALL = {"channels": (6,), "batch_norm": True, "pool": "mean", "dimension": 4}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)
    return rows + np.linspace(-2, 3, 16, dtype=np.float32)[:, None, None, None]


def test_each_group_is_normalised_as_if_it_were_the_batch(images):
    whole, groups = BatchNorm(False, momentum=0.9), BatchNorm(False, momentum=0.9, groups=4)
    variables = whole.init(jax.random.key(0), images)
    assert jax.tree.structure(groups.init(jax.random.key(0), images)) == jax.tree.structure(
        variables
    )
    y, kept = groups.apply(variables, images, mutable=["batch_stats"])
    each = [
        whole.apply(variables, images[i : i + 4], mutable=["batch_stats"]) for i in range(0, 16, 4)
    ]
    np.testing.assert_allclose(y, np.concatenate([one[0] for one in each]), atol=2e-6)
    means = jax.tree.map(lambda *values: sum(values) / 4, *[one[1] for one in each])
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(means), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_groups_of_the_devices_exchange_nothing_but_the_kept_statistics(images):
    """The same numbers on one device and on eight, and no collective but one for what is kept."""
    model = build_model("small_conv", batch_norm_groups=8, **SMALL)
    variables = model.init(jax.random.key(0), (8, 8, 3))
    found = []
    for devices in (1, 8):
        mesh = sharding.make_mesh(jax.devices()[:devices])
        with jax.set_mesh(mesh):
            split = jax.device_put(images, sharding.split(mesh))
            apply = jax.jit(lambda v, x: model.apply(v, x, train=True))
            placed = sharding.place(variables, mesh)
            outputs, kept = apply(placed, split)
            text = apply.lower(placed, split).compile().as_text() or ""
        found.append([np.asarray(x) for x in jax.tree.leaves((outputs.projection, kept))])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
    assert text.count(" all-reduce(") == 1 and " all-gather(" not in text


@pytest.mark.parametrize("name", ["small_conv", "resnet18", "resnet50"])
def test_of_a_model_in_bfloat16_parameters_statistics_outputs_and_gradients_are_float32(
    images, name
):
    options = SMALL if name == "small_conv" else {"width": 0.0625, "dimension": 4}
    model = build_model(name, dtype="bfloat16", **options)

    def everything():
        variables = model.init(jax.random.key(0), (8, 8, 3))

        def value(params):
            outputs, kept = model.apply(variables | {"params": params}, images, train=True)
            return (outputs.projection**2).mean(), (outputs, kept)

        return variables, jax.value_and_grad(value, has_aux=True)(variables["params"])

    shapes = jax.eval_shape(everything)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    assert "bf16" in str(jax.make_jaxpr(everything)())


@pytest.mark.parametrize("groups", [1, 2])
def test_statistics_of_a_model_in_bfloat16_are_not_sums_of_bfloat16(images, groups):
    """A mean of many bfloat16 values that was summed in bfloat16 would be wrong by percents."""
    norm = BatchNorm(False, momentum=0.0, dtype=jnp.bfloat16, groups=groups)
    wide = jnp.asarray(np.tile(images, (1, 8, 8, 1)), jnp.bfloat16)
    _, kept = norm.apply(norm.init(jax.random.key(0), wide), wide, mutable=["batch_stats"])
    exact = np.asarray(wide, np.float64).reshape(groups, -1, 3)
    np.testing.assert_allclose(kept["batch_stats"]["var"], exact.var(1).mean(0), rtol=1e-5)


@pytest.mark.slow
def test_blocks_computed_again_have_the_same_names_and_the_same_gradient(images):
    keep, again = (ResNet(BasicBlock, (1, 1), channels=4, remat=remat) for remat in (False, True))
    variables = keep.init(jax.random.key(0), images, True)
    shapes = jax.eval_shape(lambda: again.init(jax.random.key(0), images, True))
    assert jax.tree.structure(variables) == jax.tree.structure(shapes)
    assert set(variables["params"]) >= {"BasicBlock_0", "BasicBlock_1"}

    def gradient(model):
        def value(params):
            rest = {"params": params, "batch_stats": variables["batch_stats"]}
            outputs, _ = model.apply(rest, images, True, mutable=["batch_stats"])
            return jnp.sin(outputs).mean()

        return jax.jit(jax.grad(value))

    two = [gradient(model)(variables["params"]) for model in (keep, again)]
    for a, b in zip(*map(jax.tree.leaves, two), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
    assert "remat" in str(jax.make_jaxpr(gradient(again))(variables["params"]))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"remat": True}, "blocks of a ResNet again; small_conv has none"),
        ({"batch_norm_groups": 0}, "batch_norm_groups must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        build_model("small_conv", **wrong)

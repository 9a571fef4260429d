"""The forms that stand for a convolution have its values and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.models.convolve import convolve

SETTINGS = {
    "lhs_dilation": (1, 1),
    "rhs_dilation": (1, 1),
    "dimension_numbers": jax.lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)),
    "feature_group_count": 1,
    "precision": None,
}


@pytest.mark.parametrize(
    ("shape", "size", "stride", "pad"),
    [
        ((11, 14, 3), 4, 2, 1),
        pytest.param((12, 14, 3), 4, 2, 1, marks=pytest.mark.slow),
        pytest.param((11, 14, 3), 5, 3, 0, marks=pytest.mark.slow),
        pytest.param((4, 6, 9), 4, 2, 1, marks=pytest.mark.slow),
    ],
)
def test_every_form_is_the_convolution(shape, size, stride, pad):
    keys = jax.random.split(jax.random.key(0), 3)
    images = jax.random.normal(keys[0], (2, *shape))
    kernel = jax.random.normal(keys[1], (size, size, shape[2], 5))
    padding = ((pad, pad), (pad, pad))

    def values(convolution, images, kernel):
        return convolution(images, kernel, (stride, stride), padding, **SETTINGS)

    weights = jax.random.normal(keys[2], values(jax.lax.conv_general_dilated, images, kernel).shape)

    def of(convolution):
        def total(images, kernel):
            made = values(convolution, images, kernel)
            return jnp.sum(made * weights), made

        return jax.grad(total, (0, 1), has_aux=True)(images, kernel)

    expected, found = of(jax.lax.conv_general_dilated), of(convolve)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)


def test_other_kernels_stay_a_convolution():
    def primitives(shape, size):
        images, kernel = jnp.zeros((2, *shape)), jnp.zeros((size, size, shape[2], 5))
        traced = jax.make_jaxpr(lambda a, b: convolve(a, b, (2, 2), ((1, 1), (1, 1)), **SETTINGS))(
            images, kernel
        )
        return {each.primitive.name for each in traced.eqns}

    assert primitives((16, 16, 24), 3) == {"conv_general_dilated"}
    assert primitives((15, 16, 24), 4) == {"conv_general_dilated"}
    assert "cond" in primitives((16, 16, 24), 4)  # a branch by platform
    assert "cond" in primitives((16, 16, 3), 4)

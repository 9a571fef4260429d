"""Encoders, heads and streams: sizes, and what each stream sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl.models import MODELS, build_model, count_parameters

REPORT = {"channels": (12, 24, 48, 24), "head": "none", "dimension": 384}


def convolutions(inputs: int, channels: tuple[int, ...]) -> int:
    """Weights and biases of 4x4 convolutions in a row."""
    pairs = zip((inputs, *channels[:-1]), channels, strict=True)
    return sum((16 * before + 1) * after for before, after in pairs)


def test_the_streams_of_the_report_have_41772_and_41964_parameters():
    model = build_model("small_conv", streams=2, **REPORT)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), (64, 64, 3)))["params"]
    assert count_parameters(params["first"]) == convolutions(1, REPORT["channels"]) == 41_772
    assert count_parameters(params["second"]) == convolutions(2, REPORT["channels"]) == 41_964
    # What the report prints is that of an encoder of three channels.
    assert convolutions(3, REPORT["channels"]) == 588 + 4_632 + 18_480 + 18_456 == 42_156


@pytest.mark.parametrize("name", MODELS)
def test_two_streams_give_one_embedding_and_two_interleaved_projections(name):
    model = build_model(name, streams=2, width=0.25, dimension=16)
    one = build_model(name, streams=1, width=0.25, dimension=16)
    images = jnp.zeros((3, 32, 32, 3))

    def forward(model):
        variables = model.init(jax.random.key(0), (32, 32, 3))
        return model.apply(variables, images, train=True)[0]

    two, single = (jax.eval_shape(lambda m=m: forward(m)) for m in (model, one))
    assert two.embedding.shape == (3, 2 * single.embedding.shape[1])
    assert two.projection.shape == (6, 16)


def test_each_stream_sees_its_own_channels():
    model = build_model("small_conv", streams=2, channels=(4,), dimension=5)
    variables = model.init(jax.random.key(0), (8, 8, 3))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    other = images.copy()
    other[..., 0] += 1.0
    before, after = (model.apply(variables, x, train=False)[0] for x in (images, other))
    half = before.embedding.shape[1] // 2
    np.testing.assert_array_equal(before.projection[1::2], after.projection[1::2])
    np.testing.assert_array_equal(before.embedding[:, half:], after.embedding[:, half:])
    assert np.all(np.abs(before.projection[::2] - after.projection[::2]).max(1) > 0)
    assert np.all(np.abs(before.embedding[:, :half] - after.embedding[:, :half]).max(1) > 0)


def test_without_a_head_the_projection_is_the_embedding():
    model = build_model("small_conv", streams=2, **REPORT)
    variables = model.init(jax.random.key(0), (64, 64, 3))
    images = jax.random.normal(jax.random.key(1), (2, 64, 64, 3))
    outputs = model.apply(variables, images, train=False)[0]
    assert outputs.embedding.shape == (2, 768)
    np.testing.assert_array_equal(outputs.projection.reshape(2, 768), outputs.embedding)
    assert float(outputs.embedding.min()) >= 0  # the last convolution ends in a ReLU


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"streams": 3}, "unknown streams 3; there are: 1, 2"),
        ({"head": "two"}, "unknown head 'two'; there are: linear, mlp, none"),
    ],
)
def test_an_unknown_choice_lists_those_that_there_are(wrong, match):
    with pytest.raises(ValueError, match=match):
        build_model("small_conv", **wrong)

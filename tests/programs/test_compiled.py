"""Communication read from a compiled program's text, and work counted from its jaxpr: loops as often as they run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcl import sharding
from jaxcl.programs.compiled import collectives
from jaxcl.programs.counting import count_work


def test_bytes_of_collectives_are_those_of_their_results():
    text = """
  %a = f32[128,16]{1,0} all-gather(f32[16,16]{1,0} %x), replica_groups=[1,8]<=[8]
  %b = (f32[3,3]{1,0}, f32[]) all-reduce(f32[3,3]{1,0} %y, f32[] %z), replica_groups={}
  %c = (bf16[2]{0}, bf16[16]{0}) all-gather-start(bf16[2]{0} %w), dimensions={0}
  %d = f32[9]{0} all-reduce(f32[9]{0} %v), replica_groups={{0}}
  %e = f32[9]{0} all-reduce(f32[9]{0} %v), replica_groups={{0},{1}}
  %f = f32[9]{0} all-reduce(f32[9]{0} %v), replica_groups=[8,1]<=[8]
  %g = f32[5]{0} all-reduce(f32[5]{0} %v), replica_groups={{0,1},{2,3}}
"""
    assert collectives(text) == [("all-gather", 2, 8192 + 32), ("all-reduce", 2, 40 + 20)]


def test_a_gather_that_goes_on_beside_other_work_is_one():
    """As the TPU compiler writes it: once in the work that it starts with, and again in each that it goes on beside."""
    piece = """
%fusion.{i} (p: f32[2,4]) -> f32[16,4] {{
  ROOT %g.{i} = f32[16,4] all-gather(%p), channel_id={channel}, frontend_attributes={{chain_id="0"}}
}}
"""
    pieces = "".join(piece.format(i=i, channel=7 if i < 3 else 8) for i in range(4))
    calls = "".join(f"  %c.{i} = f32[16,4] fusion(%p), calls=%fusion.{i}\n" for i in range(4))
    text = f"{pieces}ENTRY %main (p: f32[2,4]) -> f32[16,4] {{\n{calls}}}\n"
    assert collectives(text) == [("all-gather", 2, 2 * 256)]


# As the TPU's compiler writes a loop of 4 trips within one of 3, and a loop whose trips nobody knows.
LOOPS = """
%inner_body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %r = f32[4]{0:T(128)} all-reduce(%x), replica_groups={}
}
%inner_condition (p: (s32[], f32[4])) -> pred[] {
  %limit = s32[]{:T(128)} constant(4), metadata={op_name="x"}
  ROOT %lt = pred[] compare(%counter, %limit), direction=LT
}
%outer_body (p: s32[]) -> s32[] {
  %w = (s32[], f32[4]) while(%t), condition=%inner_condition, body=%inner_body
}
%outer_condition (p: s32[]) -> pred[] {
  ROOT %lt = pred[] compare(%counter, %other), direction=LT
}
ENTRY %main (p: s32[]) -> s32[] {
  %a = s32[] while(%t), condition=%outer_condition, body=%outer_body, backend_config={"known_trip_count":{"n":"3"}}
  %b = s32[] while(%t), condition=%outer_condition, body=%inner_body
  %c = f32[2]{0} all-gather(%x), replica_groups={}
}
"""


def test_a_collective_in_a_loop_counts_as_often_as_it_runs():
    assert collectives(LOOPS) == [("all-gather", 1, 8), ("all-reduce", 13, 13 * 16)]


def test_a_loop_that_xla_compiled_is_counted_too():
    mesh = sharding.make_mesh(jax.devices()[:2])

    def body(carry, _):
        return jax.lax.psum(carry, "data") / 2, None

    def loop(x):
        return jax.lax.scan(body, x, None, length=5)[0]

    with jax.set_mesh(mesh):
        mapped = jax.shard_map(
            loop,
            mesh=mesh,
            in_specs=sharding.SPLIT,
            out_specs=sharding.SPLIT,
            check_vma=False,
        )
        x = jax.device_put(np.ones(6, np.float32), sharding.split(mesh))
        text = jax.jit(mapped).lower(x).compile().as_text()
    assert collectives(text or "") == [("all-reduce", 5, 5 * 3 * 4)]


def work_of(function, *shapes):
    return count_work(jax.make_jaxpr(function)(*(jnp.zeros(shape) for shape in shapes)))


def test_a_product_takes_two_operations_for_each_multiplication():
    work = work_of(lambda a, b: jnp.sin(a @ b), (3, 5), (5, 7))
    assert work == (2 * 3 * 5 * 7, 4 * (15 + 35 + 21), 2 * 3 * 5 * 7)


def test_a_product_of_the_highest_precision_takes_six_passes():
    work = work_of(lambda a, b: jnp.matmul(a, b, precision="highest"), (3, 5), (5, 7))
    assert work.passes == 6 * work.flops == 6 * 2 * 3 * 5 * 7
    low = jax.make_jaxpr(lambda a: jnp.matmul(a, a, precision="highest"))(
        jnp.zeros((2, 2), "bfloat16")
    )
    assert count_work(low).passes == count_work(low).flops == 16


def test_a_loop_is_counted_as_often_as_it_runs_and_of_branches_the_longest():
    def loop(a, b):
        body = jax.checkpoint(lambda x, _: (x @ b, None))
        x = jax.lax.scan(body, a, None, length=6)[0]
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ b @ b, lambda x: x, x)

    assert work_of(loop, (4, 4), (4, 4)).flops == (6 + 2) * 2 * 4**3


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_and_its_gradients_take_three_times_as_much_as_itself(stride):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ).sum()

    shapes = (2, 8 + stride, 8 + stride, 3), (stride + 1, stride + 1, 3, 5)
    forward = work_of(convolve, *shapes).flops
    side = 8 // stride
    assert forward == 2 * (2 * side * side * 5) * ((stride + 1) ** 2 * 3)
    both = work_of(jax.grad(convolve, (0, 1)), *shapes).flops
    # The images' gradient has a border, whose pixels are counted as if they were whole; zeros between pixels are not.
    assert 3 * forward <= both <= 3.6 * forward


def test_what_the_mesh_splits_is_counted_by_parts():
    mesh = sharding.make_mesh()
    rows, whole = np.zeros((16, 4), np.float32), np.zeros((4, 8), np.float32)
    with jax.set_mesh(mesh):
        split = jax.device_put(rows, sharding.split(mesh))
        everywhere = sharding.place(whole, mesh)
        outside = count_work(jax.make_jaxpr(lambda a, b: a @ b)(split, everywhere))
        mapped = sharding.per_device(lambda a, b: a @ b, mesh, (True, False))
        inside = count_work(jax.make_jaxpr(mapped)(split, everywhere))
    flops = 2 * 2 * 4 * 8
    assert outside == inside == (flops, 4 * (2 * 4 + 4 * 8 + 2 * 8), flops)

"""The work of a program, counted from its jaxpr: products and convolutions, a loop's body as often as it runs.

XLA's own cost analysis counts a loop's body once. Only products and convolutions are counted: everything else is
cheap beside them, and is taken to be fused with them.
"""

import math
from typing import Any, NamedTuple

import jax
from jax.extend import core

PASSES = {jax.lax.Precision.HIGH: 3, jax.lax.Precision.HIGHEST: 6}


class Work(NamedTuple):
    """What one device does in one run of a program.

    Attributes:
      flops: multiplications and additions of products and convolutions.
      size: bytes that these read and write.
      passes: the operations of a unit for bfloat16 on them: one for each, but three or six where a product of float32
        is asked for in high or the highest precision.
    """

    flops: float = 0.0
    size: float = 0.0
    passes: float = 0.0


def count_work(jaxpr: Any) -> Work:
    """The work of one device; arrays that the mesh splits count by their parts.

    Args:
      jaxpr: of the program, traced on the mesh; open or closed.
    """
    total = Work()
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        total = _plus(total, _of_equation(equation))
    return total


def _of_equation(equation: Any) -> Work:
    name = equation.primitive.name
    if name in ("dot_general", "conv_general_dilated"):
        flops = _product(equation) if name == "dot_general" else _convolution(equation)
        arrays = [variable.aval for variable in (*equation.invars, *equation.outvars)]
        share = math.prod(
            dict(axis for aval in arrays[:2] for axis in _axes(aval).items()).values()
        )
        size = sum(_size(aval) / math.prod(_axes(aval).values()) for aval in arrays)
        return Work(flops / share, size, _passes(equation) * flops / share)
    inner = [count_work(jaxpr) for jaxpr in _jaxprs(equation)]
    if name == "cond":
        return max(inner, default=Work())
    total = Work()
    for work in inner:
        total = _plus(total, work)
    times = equation.params["length"] if name == "scan" else 1
    return Work(*(times * each for each in total))


def _jaxprs(equation: Any) -> list[Any]:
    found = []
    for name, value in equation.params.items():
        if name.startswith(("fwd", "bwd", "jvp", "transpose")):
            continue  # rules of a custom derivative, not what runs
        values = value if isinstance(value, tuple | list) else (value,)
        found += [v for v in values if isinstance(v, core.Jaxpr | core.ClosedJaxpr)]
    return found


def _passes(equation: Any) -> int:
    """A float32 is the sum of three bfloat16; six of the nine products of two matter."""
    precision = equation.params["precision"]
    precise = precision[0] if isinstance(precision, tuple) else precision
    wide = all(variable.aval.dtype.itemsize > 2 for variable in equation.invars)
    return PASSES.get(precise, 1) if wide else 1


def _product(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * depth


def _convolution(equation: Any) -> float:
    """Zeros between pixels, which the gradient of a stride has, are not counted; those at the border are."""
    kernel = equation.invars[1].aval.shape
    outputs = equation.params["dimension_numbers"].rhs_spec[0]
    depth = math.prod(kernel) / kernel[outputs] / math.prod(equation.params["lhs_dilation"])
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * depth


def _axes(aval: Any) -> dict[str, int]:
    """The axes of the mesh over which an array is split, with their sizes."""
    sharding = getattr(aval, "sharding", None)
    if sharding is None:
        return {}
    names = [
        name
        for entry in sharding.spec
        if entry is not None
        for name in (entry if isinstance(entry, tuple) else (entry,))
    ]
    return {name: sharding.mesh.shape[name] for name in names}


def _size(aval: Any) -> int:
    return math.prod(aval.shape) * aval.dtype.itemsize


def _plus(a: Work, b: Work) -> Work:
    return Work(*(x + y for x, y in zip(a, b, strict=True)))

"""What an examination asks of a loss: the cases, the asking, and the answers.

All cases are put to the loss at once, so that each dtype costs one compilation. Nothing here knows
which loss it is, nor what the answers should be.
"""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcl.analysis.gradients import Loss

SMALL, LARGE, LOW = 1e-4, 1e3, 0.005
TEMPERATURES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
# Enough negatives that a debiased loss subtracts more than it has.
ANCHORS = 16
MATRICES = 6


def quick_compilation() -> dict[str, Any] | None:
    """Compiler options for what runs once, in no time, and takes a second to compile."""
    return {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None


class Case(NamedTuple):
    """What a loss is asked, and (leading axis added) what it is asked in one batch."""

    similarities: Any  # [n, n], positives on the diagonal
    where: Any  # [n, n]
    temperature: Any


class Answer(NamedTuple):
    values: Any  # [n]
    slopes: Any  # [n, n, n], of the value of each anchor by all similarities
    by_temperature: Any  # [n]

    def own(self) -> np.ndarray:
        """The gradient of each anchor by its own row, ``[..., n, n]``."""
        return np.einsum("...iij->...ij", self.slopes)


class Interview:
    """Asks a loss for values and derivatives of batches of cases, in one compilation a dtype."""

    def __init__(self, loss: Loss, constants: Mapping[str, Any], name: str) -> None:
        parameters = inspect.signature(loss).parameters
        self._open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        self._names = set(parameters)

        def values(similarities: jax.Array, where: jax.Array, temperature: jax.Array) -> jax.Array:
            given = {"temperature": temperature, "where": where}
            keywords = {key: value for key, value in given.items() if self.takes(key)}
            positives = jnp.arange(ANCHORS, dtype=jnp.int32)
            result = loss(similarities, positives, **keywords, **constants)
            if jnp.shape(result) != (ANCHORS,):
                raise ValueError(
                    f"{name} must return one value an anchor, [{ANCHORS}] here, "
                    f"but returned shape {jnp.shape(result)}"
                )
            return result

        def answer(case: Case) -> Answer:
            def of(similarities: jax.Array, temperature: jax.Array) -> jax.Array:
                return values(similarities, case.where, temperature)

            result, pull_back = jax.vjp(of, case.similarities, case.temperature)
            slopes, by_temperature = jax.vmap(pull_back)(jnp.eye(ANCHORS, dtype=result.dtype))
            return Answer(result, slopes, by_temperature)

        self._answer = jax.jit(jax.vmap(answer), compiler_options=quick_compilation())

    def takes(self, keyword: str) -> bool:
        """Whether the loss has this keyword."""
        return self._open or keyword in self._names

    def __call__(self, cases: Mapping[str, Case], dtype: Any) -> dict[str, Answer]:
        """Answers to each batch of cases; all are asked at once."""
        counts = [len(case.temperature) for case in cases.values()]
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *cases.values())
        joined = Case(
            jnp.asarray(joined.similarities, dtype),
            jnp.asarray(joined.where),
            jnp.asarray(joined.temperature, dtype),
        )
        answers = jax.tree.map(np.asarray, self._answer(joined))
        ends = np.cumsum(counts)
        return {
            key: jax.tree.map(lambda leaf, a=end - count, b=end: leaf[a:b], answers)
            for key, end, count in zip(cases, ends, counts, strict=True)
        }


def build_cases() -> dict[str, Case]:
    """All that a loss is asked. The grid is ordered by matrix, then by temperature."""
    draw = np.random.default_rng(20201215)
    n = ANCHORS
    own = np.eye(n, dtype=bool)
    matrices = draw.uniform(-0.85, 0.85, (MATRICES, n, n))
    # Half of the anchors have a positive as good as training makes it, a quarter far negatives,
    # too.
    near_positive = own & (np.arange(n) % 2 == 0)[:, None]
    far_negatives = ~own & (np.arange(n) % 4 == 0)[:, None]
    matrices = np.where(near_positive, draw.uniform(0.6, 0.85, matrices.shape), matrices)
    matrices = np.where(far_negatives, draw.uniform(-0.85, -0.2, matrices.shape), matrices)
    # Exactly representable, so that float32 and float64 are asked the same.
    matrices = matrices.astype(np.float32).astype(np.float64)
    # A near neighbour of each matrix, for convexity at short range.
    near = np.clip(matrices + draw.normal(0, 0.05, matrices.shape), -1, 1)
    far = np.roll(matrices, 1, axis=0)
    shuffled = np.stack([_shuffle_negatives(matrix, draw) for matrix in matrices])
    moved = np.where(own[None], draw.uniform(-0.85, 0.85, matrices.shape), matrices)
    masked = ~own & (draw.random((n, n)) < 0.7) | own
    changed = np.where(masked[None], matrices, -matrices)
    extreme = np.stack(
        [
            np.zeros((n, n)),
            np.ones((n, n)),
            np.where(own, 1.0, -1.0),
            np.where(own, -1.0, 1.0),
            np.where(own, 1.0, 1.0 - 1e-6 * np.arange(n)[None]),
        ]
    )

    def ask(similarities: np.ndarray, temperatures: Any, where: Any = None) -> Case:
        count = len(temperatures)
        rows = np.repeat(similarities, count, axis=0)
        where = np.ones((n, n), bool) if where is None else where
        return Case(
            rows,
            np.broadcast_to(where, rows.shape),
            np.tile(np.asarray(temperatures, float), len(similarities)),
        )

    few = (0.1, 0.5, 1.0)
    alone = ask(extreme, (LOW,), own)
    crowded = ask(extreme, (LOW,))
    return {
        "grid": ask(matrices, TEMPERATURES),
        "base": ask(matrices, few),
        "shifted": ask(matrices + 0.1, few),
        "scaled": ask(0.5 * matrices, [0.5 * t for t in few]),
        "shuffled": ask(shuffled, few),
        "moved": ask(moved, few),
        "near": ask(near, few),
        "halfway moved": ask((matrices + moved) / 2, few),
        "halfway near": ask((matrices + near) / 2, few),
        "far": ask(far, few),
        "halfway far": ask((matrices + far) / 2, few),
        "small": ask(matrices, (SMALL,)),
        "large": ask(matrices, (LARGE,)),
        "masked": ask(matrices, few, masked),
        "changed": ask(changed, few, masked),
        "low": ask(matrices, (LOW,)),
        "extreme": jax.tree.map(lambda *leaves: np.concatenate(leaves), alone, crowded),
    }


def _shuffle_negatives(matrix: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    shuffled = matrix.copy()
    for i in range(len(matrix)):
        others = np.delete(np.arange(len(matrix)), i)
        shuffled[i, others] = matrix[i, draw.permutation(others)]
    return shuffled


def pulls_and_pushes(answer: Answer) -> tuple[np.ndarray, np.ndarray]:
    """Pulls ``[..., n]`` on the positives and pushes ``[..., n, n - 1]`` on the negatives."""
    return -np.einsum("...ii->...i", answer.own()), negatives_of(answer.own())


def negatives_of(rows: np.ndarray) -> np.ndarray:
    """The entries off the diagonal, ``[..., n, n - 1]``."""
    n = rows.shape[-1]
    columns = np.stack([np.delete(np.arange(n), i) for i in range(n)])
    return np.take_along_axis(rows, np.broadcast_to(columns, (*rows.shape[:-2], n, n - 1)), -1)


def penalties_of(answer: Answer) -> np.ndarray:
    pulls, pushes = pulls_and_pushes(answer)
    some = np.abs(pulls) > 0
    return np.where(
        some[..., None], np.abs(pushes) / np.where(some, np.abs(pulls), 1)[..., None], 0
    )

"""What the loss did to the embedding: uniformity, alignment, tolerance, local separation, penalties of the negatives.

Measured on the test split, on projections on the unit sphere, at the temperature that the run was trained with.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcl import metrics
from jaxcl.analysis import penalty_statistics
from jaxcl.losses import contrastive, normalize
from jaxcl.programs import assemble, frozen, identity
from jaxcl.programs import workdir as directory
from jaxcl.programs.embed import embed
from jaxcl.programs.terminal import terminal
from jaxcl.training.log import Console

NEAREST = 10  # negatives in the panels of local separation, as Wang & Liu, Figure 8


def run(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    step: int | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure the embedding of a checkpoint; write ``analysis.npz`` and append one row.

    Args:
      config: of the run.
      workdir: the run directory.
      step: of the checkpoint; None for the last.
      console: None for the terminal.

    Returns:
      The row: uniformity (t = 2), alignment (alpha = 2), tolerance (mean cosine of pairs of one class), means of local
      separation and of the penalties' entropy in nats.
    """
    console, workdir = console or terminal(), pathlib.Path(workdir)
    mesh = assemble.mesh()
    test = assemble.source(config, config.data.test_split)
    step, variables = frozen.restore(config, workdir, test.image_shape[2], mesh, step)
    count = min(config.evaluate.count, len(test))
    with jax.set_mesh(mesh):
        central = embed(config, test, variables, mesh)
        pairs = embed(config, test, variables, mesh, views=2, seed=config.seed)
    plain = normalize(jnp.asarray(central.projection[:count]))
    views = normalize(jnp.asarray(pairs.projection[: 2 * count])).reshape(count, 2, -1)
    measured = measure(
        plain,
        views,
        jnp.asarray(central.labels[:count]),
        num_classes=test.num_classes,
        temperature=config.loss.temperature,
    )
    arrays = {name: np.asarray(value) for name, value in measured.items()}
    np.savez(workdir / "analysis.npz", **{k: v for k, v in arrays.items() if v.ndim})
    row = identity.row(config, "analyze", step) | {
        "features": "projection",
        "split": config.data.test_split,
        "count": count,
        "uniformity": float(arrays["uniformity"]),
        "alignment": float(arrays["alignment"]),
        "tolerance": float(arrays["tolerance"]),
        "positive_similarity": float(arrays["positive_similarities"].mean()),
        "top_negative_similarities": arrays["top_negative_similarities"].mean(0).tolist(),
        "penalty_entropy": float(arrays["penalty_entropy"].mean()),
        "penalty_effective_negatives": float(np.exp(arrays["penalty_entropy"]).mean()),
        "penalty_top1": float(arrays["relative_penalty_top"][:, 0].mean()),
    }
    directory.append_rows(workdir, [row])
    console.print(
        f"  -uniformity {-row['uniformity']:.3f}, tolerance {row['tolerance']:.3f}, "
        f"alignment {row['alignment']:.3f}, entropy of penalties {row['penalty_entropy']:.2f} nats"
    )
    return row


def measure(
    embeddings: jax.Array,
    views: jax.Array,
    labels: jax.Array,
    *,
    num_classes: int,
    temperature: float,
) -> dict[str, jax.Array]:
    """All measurements of one set of images.

    Args:
      embeddings: ``[n, d]`` on the sphere, of the images as they are.
      views: ``[n, 2, d]`` on the sphere, of two random views of each.
      labels: int ``[n]``.
      num_classes: c.
      temperature: of the relative penalties.

    Returns:
      Scalars ``uniformity``, ``alignment``, ``tolerance``; per anchor ``positive_similarities [n]``,
      ``top_negative_similarities [n, 10]``, ``penalty_entropy [n]``, ``relative_penalty_top [n, 10]``. The anchor is the
      first view; its positive the second; its negatives the second views of all other images.
    """
    anchors, others = views[:, 0], views[:, 1]
    n = anchors.shape[0]
    nearest = min(NEAREST, n - 1)
    rows = jnp.arange(n)
    separation = metrics.local_separation(
        anchors, others, others, k=nearest, exclude=rows, normalize=False
    )
    # Eq. 5 of Wang & Liu at the run's temperature, whatever loss it was trained with: comparable over losses.
    penalties = penalty_statistics(
        contrastive, anchors, others, rows, temperatures=[temperature], normalize=False, k=nearest
    )
    return {
        "uniformity": metrics.uniformity(embeddings, t=2, normalize=False),
        "alignment": metrics.alignment(anchors, others, alpha=2, normalize=False),
        "tolerance": metrics.tolerance(
            embeddings, labels, num_classes=num_classes, conditional=True, normalize=False
        ),
        "positive_similarities": separation.positive_similarities,
        "top_negative_similarities": separation.negative_similarities,
        "penalty_entropy": penalties.entropy[0],
        "relative_penalty_top": penalties.top_penalties[0],
    }


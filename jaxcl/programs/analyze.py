"""What the loss did to the embedding: uniformity, alignment, tolerance, local separation, penalties of the negatives.

Measured on the test split, on projections on the unit sphere, at the temperature that the run was trained with.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcl import metrics, paths
from jaxcl.analysis import pair_gradients, penalty_statistics
from jaxcl.losses import contrastive, normalize
from jaxcl.programs import assemble, frozen, hosts, identity
from jaxcl.programs import workdir as directory
from jaxcl.programs.embed import embed
from jaxcl.programs.terminal import terminal
from jaxcl.training.log import Console

MAPPED = 1000  # images on a map
NEAREST = 10  # negatives in the panels of local separation, as Wang & Liu, Figure 8


def run(
    config: ConfigDict,
    workdir: str | pathlib.Path,
    *,
    step: int | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure the embedding of a checkpoint; write ``analysis.npz`` and ``embeddings.npz`` and append one row.

    Args:
      config: of the run.
      workdir: the run directory.
      step: of the checkpoint; None for the last.
      console: None for the terminal.

    Returns:
      The row: uniformity (t = 2), alignment (alpha = 2), tolerance (mean cosine of pairs of one class), means of local
      separation and of the penalties' entropy in nats.
    """
    console, workdir = console or terminal(), paths.parse(workdir)
    mesh = assemble.mesh()
    test = assemble.source(config, config.data.test_split)
    step, variables = frozen.restore(config, workdir, test.image_shape[2], mesh, step)
    count = min(config.evaluate.count, len(test))
    with jax.set_mesh(mesh):
        central = embed(config, test, variables, mesh)
        pairs = central  # of two streams, the views are the streams
        if config.model.streams == 1:
            pairs = embed(config, test, variables, mesh, views=2, seed=config.seed)
    views = normalize(jnp.asarray(pairs.projection[: 2 * count])).reshape(count, 2, -1)
    plain = views
    if config.model.streams == 1:
        plain = normalize(jnp.asarray(central.projection[:count]))[:, None]
    measured = measure(
        plain,
        views,
        jnp.asarray(central.labels[:count]),
        num_classes=test.num_classes,
        temperature=config.loss.temperature,
    )
    about = {}
    if config.candidates.kind == "batch":
        pairs = pair_gradients(
            views,
            temperature=config.loss.temperature,
            batch_size=min(config.train.batch_size, count),
        )
        measured |= {f"pair_{name}": values for name, values in pairs._asdict().items()}
        about = {"pair_batch_size": min(config.train.batch_size, count)}
    arrays = {name: np.asarray(value) for name, value in measured.items()}
    if hosts.first():
        kept = {name: value for name, value in arrays.items() if value.ndim}
        paths.write_arrays(workdir / "analysis.npz", kept)
        save_embeddings(
            workdir / "embeddings.npz",
            np.asarray(plain),
            np.asarray(views),
            central.labels[:count],
            tsne=config.evaluate.tsne,
        )
    row = identity.row(config, "analyze", step) | {
        "features": "projection",
        "split": config.data.test_split,
        "count": count,
        **about,
        **summarize(arrays),
    }
    directory.append_rows(workdir, [row])
    console.print(
        f"  -uniformity {-row['uniformity']:.3f}, tolerance {row['tolerance']:.3f}, "
        f"alignment {row['alignment']:.3f}, entropy of penalties {row['penalty_entropy']:.2f} nats"
    )
    return row


def save_embeddings(
    path: pathlib.Path,
    embeddings: np.ndarray,
    views: np.ndarray,
    labels: np.ndarray,
    *,
    tsne: bool,
) -> None:
    """Write the unit vectors that were measured, float32, and their t-SNE.

    Args:
      path: of the ``.npz``: ``embeddings [n, s, d]``, ``views [n, 2, d]``, ``labels [n]`` and, of the first `MAPPED`
        images, ``tsne [m, 2]``.
      embeddings: ``[n, s, d]``, of the images as they are, of s streams.
      views: ``[n, 2, d]``, of two random views of each, or its two streams.
      labels: ``[n]``.
      tsne: whether the plane is computed too, which takes seconds.
    """
    arrays = {"embeddings": embeddings, "views": views, "labels": labels}
    if tsne:
        arrays["tsne"] = plane(embeddings[:MAPPED].reshape(min(MAPPED, len(embeddings)), -1))
    paths.write_arrays(path, arrays)


def plane(points: np.ndarray) -> np.ndarray:
    """t-SNE (van der Maaten and Hinton, 2008) of ``[n, d]``: float32 ``[n, 2]``, a function of the points alone."""
    from sklearn.manifold import TSNE  # slow to import, and seldom needed

    perplexity = min(30.0, (len(points) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(points)


def summarize(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What a row says of measurements: means over anchors."""
    summary = {
        name: float(arrays[name])
        for name in ("uniformity", "alignment", "tolerance")
        if name in arrays
    }
    if "uniformity_of_streams" in arrays:
        summary["uniformity_of_streams"] = arrays["uniformity_of_streams"].tolist()
    if "positive_similarities" in arrays:
        summary |= {
            "positive_similarity": float(arrays["positive_similarities"].mean()),
            "top_negative_similarities": arrays["top_negative_similarities"].mean(0).tolist(),
            "penalty_entropy": float(arrays["penalty_entropy"].mean()),
            "penalty_effective_negatives": float(np.exp(arrays["penalty_entropy"]).mean()),
            "penalty_top1": float(arrays["relative_penalty_top"][:, 0].mean()),
        }
    if "pair_multipliers" in arrays:
        summary |= _quarters(arrays)
    return summary


def _quarters(arrays: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Means over the quarters of the pairs by their similarity, the hardest (least similar) first."""
    order = np.argsort(arrays["pair_positive_similarities"], kind="stable")
    q, norms = arrays["pair_multipliers"], arrays["pair_decoupled_norms"]
    values = {
        "pair_multipliers": q,
        "pair_decoupled_norms": norms,
        "pair_coupled_norms": q * norms,
    }
    return {
        name: [float(part.mean()) for part in np.array_split(value[order], 4)]
        for name, value in values.items()
    }


def measure(
    embeddings: jax.Array,
    views: jax.Array | None,
    labels: jax.Array,
    *,
    num_classes: int,
    temperature: float,
) -> dict[str, jax.Array]:
    """All measurements of one set of images.

    Args:
      embeddings: ``[n, s, d]`` on the sphere, of the images as they are, of s streams.
      views: ``[n, 2, d]`` on the sphere, of two random views of each, or its two streams; None: nothing of pairs.
      labels: int ``[n]``.
      num_classes: c.
      temperature: of the relative penalties.

    Returns:
      Scalars ``uniformity`` and ``tolerance`` (means over the streams), ``alignment``; per stream
      ``uniformity_of_streams [s]``; per anchor ``positive_similarities [n]``,
      ``top_negative_similarities [n, 10]``, ``penalty_entropy [n]``, ``relative_penalty_top [n, 10]``. The anchor is
      the first view; its positive the second; its negatives the second views of all other images.
    """
    streams = [embeddings[:, stream] for stream in range(embeddings.shape[1])]
    uniformities = jnp.stack([metrics.uniformity(x, t=2, normalize=False) for x in streams])
    tolerances = [
        metrics.tolerance(x, labels, num_classes=num_classes, conditional=True, normalize=False)
        for x in streams
    ]
    found = {"uniformity": uniformities.mean(), "tolerance": jnp.stack(tolerances).mean()}
    if len(streams) > 1:
        found["uniformity_of_streams"] = uniformities
    return found if views is None else found | _pairs(views, temperature)


def _pairs(views: jax.Array, temperature: float) -> dict[str, jax.Array]:
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
        "alignment": metrics.alignment(anchors, others, alpha=2, normalize=False),
        "positive_similarities": separation.positive_similarities,
        "top_negative_similarities": separation.negative_similarities,
        "penalty_entropy": penalties.entropy[0],
        "relative_penalty_top": penalties.top_penalties[0],
    }

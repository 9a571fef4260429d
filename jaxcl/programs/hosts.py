"""Several processes as one run: how they find one another, and how the first one decides for all."""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxcl.training.peers import Journal, Peers


def join(
    coordinator: str | None,
    processes: int | None,
    process_id: int | None,
    *,
    journal: Journal,
    command: str,
    patience: float,
) -> Peers:
    """Become one of the processes of a run; before anything touches a device.

    Args:
      coordinator: ``host:port`` of process 0; None to ask the cluster (Cloud TPU, GKE, Slurm, Open MPI).
      processes: how many there are; None with ``coordinator``.
      process_id: of this one; None with ``coordinator``.
      journal: told the step.
      command: what starts the run again.
      patience: seconds without a sign of life after which a process is lost.

    Returns:
      The processes, watching one another from now on.

    Raises:
      ValueError: there is no cluster that jax knows, or the numbers do not fit.
    """
    # Its SIGTERM handler would take the signal from ours, and keeps programs that do not train from ending.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        if coordinator is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(
                coordinator, processes, process_id, cluster_detection_method="deactivate"
            )
    except ValueError as error:
        raise ValueError(
            f"--multihost found no cluster that jax knows (Cloud TPU, GKE, Slurm, Open MPI): {error} Elsewhere, give "
            "--coordinator=HOST:PORT --processes=N --process-id=I on each process"
        ) from None
    # jax has no public name for the key-value store of its coordinator.
    from jax._src import distributed

    client: Any = distributed.global_state.client
    peers = Peers(client, jax.process_index(), jax.process_count(), journal, command, patience)
    peers.start()
    return peers


def leave(peers: Peers) -> None:
    """End together, so that nobody takes another's end for a death."""
    peers.close()
    jax.distributed.shutdown()


def first() -> bool:
    """Whether this is the process that writes text."""
    return jax.process_index() == 0


def from_first(value: int) -> int:
    """The value that process 0 has, on every process; all must call."""
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def from_each(value: np.ndarray) -> np.ndarray:
    """The arrays ``[...]`` of every process as one ``[processes, ...]``; all must call."""
    gathered = multihost_utils.process_allgather(value)
    return np.asarray(gathered).reshape(jax.process_count(), *np.shape(value))


def read(array: jax.Array) -> np.ndarray:
    """A global array whole on every host; all must call."""
    if array.is_fully_replicated or array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))

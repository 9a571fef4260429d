"""Where programs speak: the console of process 0, silence on the others."""

import jax
import rich.console

from jaxcl.training.log import Console, Silence


def terminal() -> Console:
    """The console of process 0; silence elsewhere."""
    if jax.process_index() != 0:
        return Silence()
    return rich.console.Console(highlight=False, soft_wrap=True)  # pyright: ignore[reportReturnType]

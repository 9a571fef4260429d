"""Images per second of a whole run: the loop, the step alone on data that is there, the input alone.

    python benchmarks/loop.py --config=configs/cifar10.py:cpu --config.data.data_dir=...

The loop is that of `main.py pretrain` with its log and without checkpoints, on images that lie on
the devices and on images that the host reads. The step alone is fed the same batch again and again.
All of them take the same number of steps in turn, several rounds; the best round counts.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import main as entry  # noqa: E402

KINDS = ("device", "host")


class Quiet:
    """Stands for a console and for checkpoints: nothing is shown, nothing is saved."""

    def print(self, text: str) -> None: ...
    def save(self, step: int, items: Any) -> None: ...
    def wait(self) -> None: ...


def measure(name: str, overrides: dict[str, str], steps: int, rounds: int) -> dict[str, float]:
    """Images per second of each case."""
    import jax

    from jaxcl import config as configs
    from jaxcl import sharding
    from jaxcl.data import pipeline
    from jaxcl.programs import assemble, pretrain, resident
    from jaxcl.training.log import MetricsFile
    from jaxcl.training.loop import Run
    from jaxcl.training.loop import train as run_loop

    base = configs.load(name)
    config = configs.override(base, configs.parse_overrides(base, overrides))
    config = configs.override(config, {"train.steps": steps, "candidates.initial": "random"})
    train, mesh, batch = pretrain.check(config), assemble.mesh(), config.train.batch_size
    feeds = {
        kind: resident.build_feed(configs.override(config, {"data.resident": kind}), train, mesh)
        for kind in KINDS
    }
    settings = {"batch_size": batch, "seed": 0, "start_step": 0, "num_steps": steps}
    step = assemble.step(config, train, mesh)
    hyper = sharding.place(assemble.hyper(config), mesh)
    arrays = feeds["host"](next(iter(pipeline.batches(train, **settings)))[1])

    def alone() -> float:
        state, scalars = pretrain.initial_state(config, train, mesh), None
        state, scalars = jax.block_until_ready(step(state, arrays, hyper))
        begun = time.perf_counter()
        for _ in range(steps):
            state, scalars = step(state, arrays, hyper)
        jax.block_until_ready((state, scalars))
        return time.perf_counter() - begun

    def loop(kind: str) -> float:
        state = pretrain.initial_state(config, train, mesh)
        jax.block_until_ready(feeds[kind](next(iter(pipeline.batches(train, **settings)))[1]))
        batches = pipeline.batches(train, with_images=kind == "host", **settings)
        with tempfile.TemporaryDirectory() as folder:
            metrics = MetricsFile(pathlib.Path(folder) / "metrics.jsonl")
            begun = time.perf_counter()
            state = run_loop(
                step,
                state,
                batches,
                hyper,
                feeds[kind],
                start=0,
                num_steps=steps,
                batch_size=batch,
                steps_per_epoch=assemble.length(config, train).steps_per_epoch,
                log_every=config.train.log_every,
                checkpoint_every=steps + 1,
                runs=[Run(Quiet(), metrics)],  # pyright: ignore[reportArgumentType]
                console=Quiet(),
            )
            jax.block_until_ready(state)
            return time.perf_counter() - begun

    def pipe(kind: str) -> float:
        begun = time.perf_counter()
        for _, rows in pipeline.batches(train, with_images=kind == "host", **settings):
            made = feeds[kind](rows)
        jax.block_until_ready(made)
        return time.perf_counter() - begun

    cases: dict[str, Callable[[], float]] = {"step alone": alone}
    for kind in KINDS:
        cases[f"loop, images of the {kind}"] = lambda kind=kind: loop(kind)
        cases[f"input alone, images of the {kind}"] = lambda kind=kind: pipe(kind)
    with jax.set_mesh(mesh):
        alone()
        turns = [{case: call() for case, call in cases.items()} for _ in range(rounds)]
    taken = {case: min(turn[case] for turn in turns) for case in cases}
    return {case: steps * batch / seconds for case, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", default=str(ROOT / "configs" / "digits.py"))
    parser.add_argument(
        "--devices", type=int, help="simulated devices (default: one for each core)"
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parsed, rest = parser.parse_known_args()
    texts = dict(word.removeprefix("--config.").split("=", 1) for word in rest)
    entry.use_devices(parsed.devices)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    rates = measure(parsed.config, texts, parsed.steps, parsed.rounds)
    for case, rate in rates.items():
        print(f"  {case:34} {rate:12,.0f} images/s  {rate / rates['step alone']:8.2f} of the step")


if __name__ == "__main__":
    main()

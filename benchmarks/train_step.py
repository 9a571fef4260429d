"""A training step of two views with NT-Xent: ours against PyTorch, eager and compiled.

    python benchmarks/train_step.py --peer_python=/path/to/an/environment/with/torch/bin/python

Forward, backward and update (SGD with momentum and weight decay) of the same network on as many
views, which lie ready as uint8 (ours) or as float32 in channels-last (PyTorch). BatchNorm runs over
all views in each. Every case has a process of its own with all cores, several rounds in turn; the
median over all steps counts. Ours is the step of `main.py`, with one device for each core, or on
one device for comparison. Networks: `small_conv`, four convolutions of 24 to 192 channels with
BatchNorm; `resnet18` with the CIFAR stem.
"""

import argparse
import os
import pathlib
import statistics
import sys
from collections.abc import Callable

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import isolated  # noqa: E402

CHANNELS = (24, 48, 96, 192)
DIMENSION, TEMPERATURE, SIDE = 128, 0.1, 32
RATE, MOMENTUM, DECAY = 0.03, 0.9, 5e-4
# Of each network: width (of ResNet-18's channels) and images in a batch.
NETWORKS = {"small_conv": (1.0, 256), "resnet18": (0.5, 64)}
CASES = ("jaxcl", "jaxcl_one_device", "torch", "torch_compiled")

# A call that takes a step and returns its loss.
Call = Callable[[], float]


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def build_jaxcl(network: str) -> tuple[Call, int]:
    """Our step, and the number of parameters."""
    import jax
    import jax.numpy as jnp

    from jaxcl import sharding
    from jaxcl.losses import LOSSES
    from jaxcl.models import build_model, count_parameters
    from jaxcl.training.candidates import build_candidates
    from jaxcl.training.optimizer import build_optimizer, build_schedule
    from jaxcl.training.state import Hyper, init_state
    from jaxcl.training.step import Parts, build_step

    width, batch = NETWORKS[network]
    mesh = sharding.make_mesh()
    model = build_model(network, width=width, channels=CHANNELS, batch_norm=True, pool="mean")
    candidates = build_candidates("batch", batch_size=batch, size=batch, dimension=DIMENSION)
    schedule = build_schedule("constant", total_steps=1)
    optimizer = build_optimizer("sgd", schedule, momentum=MOMENTUM, weight_decay=DECAY)

    def views(key, images, index):
        del key, index
        pixels = images.astype(jnp.float32) / 255.0
        return jnp.stack([pixels, pixels[:, :, ::-1]], axis=1)

    parts = Parts(model.apply, views, LOSSES["contrastive"], candidates, optimizer, schedule)
    with jax.set_mesh(mesh):
        variables = model.init(jax.random.key(0), (SIDE, SIDE, 3))
        state = sharding.place(init_state(variables, optimizer), mesh)
        hyper = Hyper(jnp.float32(TEMPERATURE), jnp.float32(RATE), jax.random.key(1))
        hyper, step = sharding.place(hyper, mesh), build_step(parts, mesh)
        rows = {"image": pictures(batch), "index": np.arange(batch, dtype=np.int32)}
        arrays = sharding.global_batch(rows, mesh)

    def call() -> float:
        nonlocal state
        with jax.set_mesh(mesh):
            state, scalars = step(state, arrays, hyper)
        return float(jax.block_until_ready((state, scalars))[1]["loss"])

    return call, count_parameters(variables["params"])


def build_torch(network: str, compiled: bool) -> tuple[Call, int]:
    """PyTorch's step, and the number of parameters."""
    import torch

    width, batch = NETWORKS[network]
    torch.manual_seed(0)
    encoder = torch_resnet18(torch.nn, round(64 * width)) if network == "resnet18" else None
    model = encoder or torch_small_conv(torch.nn)
    model = model.to(memory_format=torch.channels_last).train()
    pixels = torch.from_numpy(pictures(batch)).permute(0, 3, 1, 2).float() / 255
    both = torch.stack([pixels, pixels.flip(3)], 1).reshape(2 * batch, 3, SIDE, SIDE)
    both = both.contiguous(memory_format=torch.channels_last)
    positives = torch.arange(2 * batch) ^ 1
    diagonal = torch.eye(2 * batch, dtype=torch.bool)
    settings = {"lr": RATE, "momentum": MOMENTUM, "weight_decay": DECAY}
    optimizer = torch.optim.SGD(model.parameters(), **settings)

    def objective(x):
        z = torch.nn.functional.normalize(model(x))
        similarities = (z @ z.T).masked_fill(diagonal, -torch.inf)
        return torch.nn.functional.cross_entropy(similarities / TEMPERATURE, positives)

    loss_of = torch.compile(objective) if compiled else objective

    def call() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(both)
        loss.backward()
        optimizer.step()
        return loss.item()

    return call, sum(parameter.numel() for parameter in model.parameters())


def torch_small_conv(nn):
    """`jaxcl.models.small_conv` with a linear head."""
    layers, inputs = [], 3
    for count in CHANNELS:
        layers += [nn.Conv2d(inputs, count, 4, 2, 1), nn.BatchNorm2d(count), nn.ReLU()]
        inputs = count
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pool, nn.Linear(inputs, DIMENSION))


def torch_resnet18(nn, channels: int):
    """`jaxcl.models.resnet` with the CIFAR stem and a linear head."""

    def conv(inputs, outputs, size, stride):
        layer = nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, bias=False)
        return [layer, nn.BatchNorm2d(outputs)]

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            first = [*conv(inputs, outputs, 3, stride), nn.ReLU()]
            self.inside = nn.Sequential(*first, *conv(outputs, outputs, 3, 1))
            same = inputs == outputs
            self.shortcut = nn.Identity() if same else nn.Sequential(*conv(inputs, outputs, 1, 2))
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.inside(x) + self.shortcut(x))

    layers, inputs = [*conv(3, channels, 3, 1), nn.ReLU()], channels
    for stage in range(4):
        outputs = channels * 2**stage
        layers += [Block(inputs, outputs, 2 if stage else 1), Block(outputs, outputs, 1)]
        inputs = outputs
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pool, nn.Linear(inputs, DIMENSION))


def run_case(case: str, network: str, seconds: float) -> None:
    """Measure one case in this process."""
    ours = case.startswith("jaxcl")
    call, parameters = build_jaxcl(network) if ours else build_torch(network, case != "torch")
    first = call()
    for _ in range(9):
        last = call()
    if not last < first:
        raise RuntimeError(f"ten steps did not lower the loss: {first:.4f} to {last:.4f}")
    result = isolated.measure(call, seconds=seconds, most=200)
    isolated.report({**result, "parameters": parameters, "first_loss": first})


def environment(case: str) -> dict[str, str]:
    devices = 1 if case == "jaxcl_one_device" else len(os.sched_getaffinity(0))
    flags = f"--xla_force_host_platform_device_count={devices}"
    flags += " --xla_cpu_enable_concurrency_optimized_scheduler=false"
    return {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags, "PJRT_NPROC": "8"}


def compare(networks: list[str], cases: list[str], peer: str, seconds: float, rounds: int) -> None:
    """Run all cases in turn and print the table."""
    for network in networks:
        width, batch = NETWORKS[network]
        print(f"{network}, width {width:g}, {2 * batch} views of {SIDE} px", flush=True)
        found: dict[str, list[dict]] = {case: [] for case in cases}
        for _ in range(rounds):
            for case in cases:
                python = sys.executable if case.startswith("jaxcl") else peer
                words = [f"--case={case}", f"--networks={network}", f"--seconds={seconds}"]
                os.environ.update(environment(case))
                found[case].append(isolated.run([python, __file__, *words], timeout=900))
                result = found[case][-1]
                print(f"  {case}: {result.get('median_ms', result.get('failure'))}", flush=True)
        print_table(found, batch)


def print_table(found: dict[str, list[dict]], batch: int) -> None:
    """Images (not views) per second of each case, and ours against the best of PyTorch's."""
    rates: dict[str, float] = {}
    for case, results in found.items():
        good = [result for result in results if "failure" not in result]
        if not good:
            print(f"  {case:18} {results[0]['failure']}")
            continue
        ms = statistics.median(result["median_ms"] for result in good)
        rates[case] = 1e3 * batch / ms
        print(
            f"  {case:18} {rates[case]:8,.0f} images/s  {ms:8.1f} ms  "
            f"{good[0]['parameters']:,} parameters, {good[0]['growth_mb']:,.0f} MB"
        )
    for peer in ("torch", "torch_compiled"):
        if "jaxcl" in rates and peer in rates:
            print(f"  ours / {peer:14} {rates['jaxcl'] / rates[peer]:5.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer_python", default=sys.executable, help="has torch installed")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--case", choices=CASES, help="run this case alone in this process")
    parsed = parser.parse_args()
    if parsed.case:
        run_case(parsed.case, parsed.networks[0], parsed.seconds)
    else:
        compare(parsed.networks, parsed.cases, parsed.peer_python, parsed.seconds, parsed.rounds)


if __name__ == "__main__":
    main()

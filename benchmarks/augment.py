"""Two random views of each image: ours against torchvision, albumentations and kornia.

    python benchmarks/augment.py --peer_python=/path/to/an/environment/with/the/peers/bin/python

Every case runs in a process of its own, some seconds after a warm-up, several rounds in turn; the
best round counts. Everybody may use all cores: libraries that take one image at a time run one
process for each core, kornia both as one process with threads and as single-threaded processes (the
better counts), ours as one device for each core. Settings: crop of 0.2-1 of the area, flip 0.5,
colour jitter 0.8 of (0.4, 0.4, 0.4, 0.1), grayscale 0.2; at 96 pixels also a 9x9 Gaussian blur 0.5
of sigma 0.1-2. Peers return what they return (albumentations and torchvision uint8), ours float32.
"""

import argparse
import multiprocessing
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

BATCH = 256
SIZES = (32, 96)
CASES = ("jaxcl", "torchvision", "albumentations", "kornia", "kornia_processes")


def pictures(size: int) -> np.ndarray:
    """Smooth random images: noise would not compress, and some libraries branch on content."""
    coarse = np.random.default_rng(0).integers(0, 256, (BATCH, 4, 4, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2))


def build_jaxcl(size: int, images: np.ndarray) -> Callable[[], int]:
    import jax

    from jaxcl import sharding
    from jaxcl.data import views

    settings = {
        "size": size,
        "crop_scale": (0.2, 1.0),
        "flip": 0.5,
        "jitter": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
        "grayscale": 0.2,
        "blur": 0.5 if size == 96 else 0.0,
    }
    mesh = sharding.make_mesh()
    batch = {"image": images, "index": np.arange(BATCH, dtype=np.int32)}
    placed = sharding.global_batch(batch, mesh)
    key = sharding.place(jax.random.key(0), mesh)

    def make(key, images, indices):
        return views.two_crops(key, images, indices, **settings)

    with jax.set_mesh(mesh):
        compiled = jax.jit(sharding.per_device(make, mesh, (False, True, True)))

    def run() -> int:
        with jax.set_mesh(mesh):
            compiled(key, placed["image"], placed["index"]).block_until_ready()
        return BATCH

    return run


def build_torchvision(size: int, images: np.ndarray) -> Callable[[], int]:
    import torch

    torch.set_num_threads(1)
    _load_torchvision_operators(torch)
    from torchvision.transforms import v2

    steps = [
        v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v2.RandomGrayscale(0.2),
    ]
    if size == 96:
        steps.append(v2.RandomApply([v2.GaussianBlur(9, (0.1, 2.0))], 0.5))
    transform = v2.Compose(steps)
    tensors = [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images]

    def run() -> int:
        for tensor in tensors[:32]:
            transform(tensor)
            transform(tensor)
        return 32

    return run


def build_albumentations(size: int, images: np.ndarray) -> Callable[[], int]:
    import albumentations
    import cv2

    cv2.setNumThreads(1)
    steps = [
        albumentations.RandomResizedCrop((size, size), scale=(0.2, 1.0)),
        albumentations.HorizontalFlip(p=0.5),
        albumentations.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=0.8),
        albumentations.ToGray(p=0.2),
    ]
    if size == 96:
        steps.append(albumentations.GaussianBlur(blur_limit=(9, 9), sigma_limit=(0.1, 2.0), p=0.5))
    transform = albumentations.Compose(steps)

    def run() -> int:
        for image in images[:32]:
            transform(image=image)
            transform(image=image)
        return 32

    return run


def build_kornia(size: int, images: np.ndarray, threads: int) -> Callable[[], int]:
    import torch

    torch.set_num_threads(threads)
    from kornia import augmentation

    steps = [
        augmentation.RandomResizedCrop((size, size), scale=(0.2, 1.0)),
        augmentation.RandomHorizontalFlip(),
        augmentation.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
    ]
    if size == 96:
        steps.append(augmentation.RandomGaussianBlur((9, 9), (0.1, 2.0), p=0.5))
    transform = torch.nn.Sequential(*steps)
    stored = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    @torch.no_grad()
    def run() -> int:
        pixels = stored.float() / 255
        transform(pixels)
        transform(pixels)
        return BATCH

    return run


def build(case: str, size: int) -> Callable[[], int]:
    """A function that makes two views of some images and returns their number."""
    images = pictures(size)
    if case == "jaxcl":
        return build_jaxcl(size, images)
    if case == "torchvision":
        return build_torchvision(size, images)
    if case == "albumentations":
        return build_albumentations(size, images)
    return build_kornia(size, images, threads=cores() if case == "kornia" else 1)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def count_images(case: str, size: int, seconds: float, ready) -> int:
    """Images done in ``seconds`` by one process, once all processes are warm."""
    run = build(case, size)
    run()
    ready.wait()
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        done += run()
    return done


def _worker(case: str, size: int, seconds: float, ready, results) -> None:
    results.put(count_images(case, size, seconds, ready))


def measure(case: str, size: int, seconds: float) -> float:
    """Source images per second of one case, with all cores."""
    processes = 1 if case in ("jaxcl", "kornia") else cores()
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(processes), context.Queue()
    settings = (case, size, seconds, ready, results)
    workers = [context.Process(target=_worker, args=settings) for _ in range(processes)]
    for worker in workers:
        worker.start()
    total = sum(results.get(timeout=600) for _ in workers)
    for worker in workers:
        worker.join()
    return total / seconds


def compare(sizes: list[int], peer_python: str, seconds: float, rounds: int) -> None:
    """Runs all cases in turn and prints the table."""
    best: dict[tuple[str, int], float] = {}
    for _ in range(rounds):
        for size in sizes:
            for case in CASES:
                rate = _run_case(case, size, peer_python, seconds)
                if rate is not None:
                    best[case, size] = max(best.get((case, size), 0.0), rate)
    for size in sizes:
        print(f"\n{size} px{', with blur' if size == 96 else ''}: source images/s, two views each")
        peers = [best[case, size] for case in CASES[1:] if (case, size) in best]
        for case in CASES:
            rate = best.get((case, size))
            print(f"  {case:17} {'did not run' if rate is None else f'{rate:9,.0f}'}")
        if peers and ("jaxcl", size) in best:
            print(f"  ours / best peer  {best['jaxcl', size] / max(peers):9.2f}")


def _run_case(case: str, size: int, peer_python: str, seconds: float) -> float | None:
    root = pathlib.Path(__file__).resolve().parent.parent
    flags = f"--xla_force_host_platform_device_count={cores()}"
    flags += " --xla_cpu_enable_concurrency_optimized_scheduler=false"
    environment = {**os.environ, "PYTHONPATH": str(root), "XLA_FLAGS": flags}
    python = sys.executable if case == "jaxcl" else peer_python
    settings = [f"--case={case}", f"--sizes={size}", f"--seconds={seconds}"]
    finished = subprocess.run(
        [python, __file__, *settings], env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        reason = finished.stderr.strip().splitlines()[-1:] or ["no message"]
        print(f"{case} at {size} px did not run: {reason[0]}", flush=True)
        return None
    rate = float(finished.stdout.split()[-1])
    print(f"{case} at {size} px: {rate:,.0f} images/s", flush=True)
    return rate


def _load_torchvision_operators(torch) -> None:
    """Wheels made for CUDA do not load on a CPU; the transforms need only the names to exist."""
    import importlib.util

    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("torchvision is not installed")
    try:
        torch.ops.load_library(f"{spec.submodule_search_locations[0]}/_C.so")
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        _load_torchvision_operators.kept = library  # the names vanish with it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer_python", default=sys.executable, help="has the peers installed")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--case", choices=CASES, help="run this case alone and print images/s")
    arguments = parser.parse_args()
    if arguments.case:
        print(measure(arguments.case, arguments.sizes[0], arguments.seconds))
    else:
        compare(arguments.sizes, arguments.peer_python, arguments.seconds, arguments.rounds)


if __name__ == "__main__":
    main()

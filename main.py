"""Run a program of jaxcl: ``python main.py PROGRAM --config=FILE --workdir=DIRECTORY [--config.key=value ...]``.

This file holds what belongs to a process and not to a library: arguments, simulated CPU devices, exit codes.
"""

import argparse
import os
import sys

PROGRAMS = {
    "pretrain": "train one configuration (resumes the run in --workdir)",
    "probe": "linear readout and kNN of a checkpoint",
    "analyze": "gradients and geometry of a checkpoint, or the theory without any",
    "sweep": "every cell of a config's grid: pretrain, probe, analyze (skips what is done), then the report",
    "report": "tables and figures of everything below --workdir",
    "prepare": "download and prepare a data set of TensorFlow Datasets",
}
PREEMPTED = 143  # exit code after SIGTERM, once the state is saved
MISTAKE = 2  # exit code of a mistake in arguments or configuration


def parse(argv: list[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    """Split the command line into this file's flags and the overrides ``--config.key=value``."""
    parser = argparse.ArgumentParser(
        "main.py",
        description=__doc__.splitlines()[0] if __doc__ else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="programs:\n" + "\n".join(f"  {name:10} {text}" for name, text in PROGRAMS.items()),
    )
    parser.add_argument("program", choices=PROGRAMS, metavar="PROGRAM", help="see below")
    parser.add_argument("--config", metavar="FILE[:ARG]", help="a config file, with its argument")
    parser.add_argument("--workdir", metavar="DIRECTORY", help="of the run, the grid or the report")
    parser.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help="simulated devices on a CPU (default: one for each core; XLA's convolutions use about one core)",
    )
    parser.add_argument(
        "--force", action="store_true", help="move a run of another config aside instead of refusing"
    )
    parser.add_argument("--step", type=int, help="probe, analyze: the checkpoint (default: the last)")
    parser.add_argument("--list", action="store_true", help="sweep: print the cells and stop")
    parser.add_argument("--cell", type=int, metavar="I", help="sweep: run only this cell")
    parser.add_argument("--dataset", metavar="NAME", help="prepare: a data set of TFDS")
    parser.add_argument("--data_dir", metavar="DIRECTORY", help="prepare: where to")
    parsed, rest = parser.parse_known_args(argv)
    overrides = {}
    for argument in rest:
        name, equals, value = argument.partition("=")
        if not name.startswith("--config.") or not equals:
            parser.error(f"unknown argument {argument!r} (a config key is set by --config.key=value)")
        overrides[name.removeprefix("--config.")] = value
    for name in ("config", "workdir"):
        needed = {"config": ("pretrain", "sweep"), "workdir": tuple(set(PROGRAMS) - {"prepare"})}
        if parsed.program in needed[name] and getattr(parsed, name) is None:
            if not (name == "workdir" and parsed.list):
                parser.error(f"{parsed.program} needs --{name}")
    if parsed.program == "prepare" and not parsed.dataset:
        parser.error("prepare needs --dataset")
    return parsed, overrides


def use_devices(count: int | None) -> None:
    """One simulated CPU device for each core, unless told otherwise; harmless where there is an accelerator.

    With more devices than cores XLA's concurrency-optimised CPU scheduler can deadlock two collectives, so whoever sets
    the number of devices also turns it off.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        count = count or min(len(os.sched_getaffinity(0)), 8)
        flags += f" --xla_force_host_platform_device_count={count}"
    if "xla_cpu_enable_concurrency_optimized_scheduler" not in flags:
        flags += " --xla_cpu_enable_concurrency_optimized_scheduler=false"
    os.environ["XLA_FLAGS"] = flags.strip()


def main(argv: list[str]) -> int:
    """Run one program; the exit code."""
    arguments, overrides = parse(argv)
    use_devices(arguments.devices)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # jaxcl is imported only now, because the environment above is read when its dependencies start.
    from jaxcl.programs import command

    return command.run(arguments, overrides)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

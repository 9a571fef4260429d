"""Run a program of jaxcl: ``python main.py PROGRAM --config=FILE --workdir=DIRECTORY [--config.key=value ...]``.

This file holds what belongs to a process and not to a library: arguments, simulated CPU devices, exit codes.
"""

import argparse
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxcl.launch import Journal

PROGRAMS = {
    "pretrain": "train one configuration (resumes the run in --workdir)",
    "probe": "linear readout and kNN of a checkpoint",
    "analyze": "gradients and geometry of a checkpoint, or the theory without any",
    "sweep": "every cell of a config's grid: pretrain, probe, analyze (skips what is done), then the report",
    "report": "tables and figures of everything below --workdir",
    "claims": "the paper's claims, each with its verdict on the runs below --workdir",
    "verify": "the sharded step against one device's, before a long run",
    "plan": "the train step compiled for a pod that is not here: memory, communication, an estimate",
    "export": "the weights of a checkpoint as a safetensors file",
    "prepare": "download and prepare a data set of TensorFlow Datasets",
}

# Of XLA's pools on a CPU; more than the simulated devices that anybody uses, and harmless: they mostly wait.
THREADS = 32


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
        "--force",
        action="store_true",
        help="move a run of another config aside instead of refusing",
    )
    parser.add_argument(
        "--step", type=int, help="probe, analyze, export: the checkpoint (default: the last)"
    )
    parser.add_argument("--list", action="store_true", help="sweep: print the cells and stop")
    parser.add_argument("--cell", type=int, metavar="I", help="sweep: run only this cell")
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="sweep: a trial; every cell takes N real steps and nothing is written",
    )
    parser.add_argument(
        "--together",
        type=int,
        metavar="N",
        help="sweep: pretrain at most N cells at once, each on its share of the devices (default: as many as divide "
        "the devices; 1: one after another); plan: the step of N cells at once (default: 1)",
    )
    several = parser.add_argument_group("several processes (hosts) as one run")
    several.add_argument(
        "--multihost",
        action="store_true",
        help="every process runs this same command; Cloud TPU, GKE, Slurm and Open MPI need no other flag",
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="elsewhere: of process 0")
    several.add_argument("--processes", type=int, metavar="N", help="elsewhere: how many")
    several.add_argument("--process-id", type=int, metavar="I", help="elsewhere: which, 0 to N-1")
    several.add_argument(
        "--patience",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="without a sign of life, after which a process is lost and the others leave (default: 3)",
    )
    parser.add_argument(
        "--embeddings", metavar="FILE.npz", help="analyze: features and labels of any model"
    )
    parser.add_argument(
        "--topology",
        metavar="CHIP:SHAPE",
        help="plan: v5e:8x8, v4:2x2x4, v5p:..., v6e:..., h100:8, cpu:8",
    )
    parser.add_argument(
        "--publish",
        metavar="DIRECTORY",
        help="report: freeze the runs there: rows, tables, claims and figures for a repository",
    )
    parser.add_argument(
        "--command",
        default="",
        metavar="TEXT",
        help="report --publish: the command that made the runs (default: as published before)",
    )
    parser.add_argument("--output", metavar="FILE.safetensors", help="export: where to")
    parser.add_argument("--dataset", metavar="NAME", help="prepare: a data set of TFDS")
    parser.add_argument("--data_dir", metavar="DIRECTORY", help="prepare: where to")
    parsed, rest = parser.parse_known_args(argv)
    overrides = {}
    for argument in rest:
        name, equals, value = argument.partition("=")
        if not name.startswith("--config.") or not equals:
            parser.error(
                f"unknown argument {argument!r} (a config key is set by --config.key=value)"
            )
        overrides[name.removeprefix("--config.")] = value
    for name in ("config", "workdir"):
        needed = {
            "config": ("pretrain", "sweep", "verify", "plan"),
            "workdir": tuple(set(PROGRAMS) - {"prepare", "verify", "plan"}),
        }
        if parsed.program in needed[name] and getattr(parsed, name) is None:
            if not (name == "workdir" and (parsed.list or parsed.steps)):
                parser.error(f"{parsed.program} needs --{name}")
    if parsed.embeddings and (parsed.program != "analyze" or parsed.config):
        parser.error("--embeddings goes with analyze, without --config")
    if parsed.steps is not None and (parsed.program != "sweep" or parsed.steps < 1):
        parser.error("--steps goes with sweep and is at least 1")
    if parsed.together is not None and (
        parsed.program not in ("sweep", "plan") or parsed.together < 1
    ):
        parser.error("--together goes with sweep and plan and is at least 1")
    if parsed.program == "plan" and not parsed.topology:
        parser.error("plan needs --topology")
    if (parsed.publish or parsed.command) and parsed.program != "report":
        parser.error("--publish and --command go with report")
    if parsed.command and not parsed.publish:
        parser.error("--command goes with --publish")
    if (parsed.program == "export") != bool(parsed.output):
        parser.error("export needs --output, and --output goes with export")
    if parsed.program == "prepare" and not parsed.dataset:
        parser.error("prepare needs --dataset")
    if problem := multihost_mistake(parsed):
        parser.error(problem)
    return parsed, overrides


def multihost_mistake(parsed: argparse.Namespace) -> str:
    """What is wrong with the flags of several processes; empty if nothing."""
    flags = {
        "--coordinator": parsed.coordinator,
        "--processes": parsed.processes,
        "--process-id": parsed.process_id,
    }
    given = [name for name, value in flags.items() if value is not None]
    if given and not parsed.multihost:
        return f"{given[0]} needs --multihost"
    if given and len(given) < len(flags):
        missing = ", ".join(name for name in flags if name not in given)
        return f"{given[0]} needs {missing} too (or none of them, on Cloud TPU, GKE, Slurm and Open MPI)"
    if given and not 0 <= parsed.process_id < parsed.processes:
        return f"--process-id {parsed.process_id} must lie in 0 to {parsed.processes - 1}"
    if given and not parsed.coordinator.rpartition(":")[2].isdigit():
        return f"--coordinator {parsed.coordinator!r} must be HOST:PORT"
    if parsed.multihost and parsed.program in ("report", "claims", "prepare", "plan"):
        return f"{parsed.program} is a program of one process; run it without --multihost"
    return ""


def use_devices(count: int | None) -> None:
    """One simulated CPU device for each core, unless told otherwise; harmless where there is an accelerator.

    On few cores XLA's collectives of simulated devices can deadlock: they wait for one another in the threads of a
    pool, and a device may find none left to arrive in. Whoever sets the number of devices therefore also turns off the
    concurrency-optimised scheduler, which starts several collectives at once, and asks for threads enough.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        count = count or min(len(os.sched_getaffinity(0)), 8)
        flags += f" --xla_force_host_platform_device_count={count}"
    if "xla_cpu_enable_concurrency_optimized_scheduler" not in flags:
        flags += " --xla_cpu_enable_concurrency_optimized_scheduler=false"
    os.environ["XLA_FLAGS"] = flags.strip()
    os.environ.setdefault("PJRT_NPROC", str(THREADS))


def main(argv: list[str]) -> int:
    """Run one program; the exit code."""
    arguments, overrides = parse(argv)
    devices = arguments.devices
    if arguments.program == "plan":
        # The compiler of libtpu is asked for by name; this process must not look for a TPU.
        os.environ["JAX_PLATFORMS"] = "cpu"
        kind, _, count = arguments.topology.partition(":")
        if kind == "cpu" and count.isdigit():
            devices = int(count)
    use_devices(devices)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if arguments.multihost:
        from jaxcl.launch import supervise

        return supervise(lambda journal: run(arguments, overrides, journal))
    return run(arguments, overrides, None)


def run(arguments: argparse.Namespace, overrides: dict[str, str], journal: "Journal | None") -> int:
    """Run one program in this process."""
    # jaxcl is imported only now, because the environment above is read when its dependencies start.
    from jaxcl.programs import command

    return command.run(arguments, overrides, journal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

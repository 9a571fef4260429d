"""From parsed arguments to a program, and from its errors to one line and an exit code."""

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxcl import config as configs
from jaxcl import paths
from jaxcl.launch import Journal, restart_command

if TYPE_CHECKING:
    from jaxcl.training.peers import Peers

MISTAKE, PREEMPTED, FAILED = 2, 143, 1


def run(
    arguments: argparse.Namespace, overrides: Mapping[str, str], journal: Journal | None = None
) -> int:
    """Run the program that the arguments name.

    Args:
      arguments: of ``main.py``.
      overrides: of the configuration, as texts.
      journal: where a process of several notes its step.

    Returns:
      0, or 2 for a mistake of the user's, 143 after SIGTERM with the state saved, 75 where another process was lost, 1
      for a run that failed.
    """
    if arguments.program in ("report", "claims"):
        return _summarize(arguments)
    # Imported before a process joins the others: loading libraries can keep it from giving signs of life.
    from absl import logging
    from jax.errors import JaxRuntimeError

    from jaxcl.programs import hosts, sweep  # noqa: F401
    from jaxcl.training.loop import NonFiniteLoss, Preempted

    # Orbax logs, with a stack, the errors of background writes that `Checkpoints` raises in a line.
    logging.set_verbosity(logging.FATAL)
    peers = None
    try:
        if arguments.multihost:
            peers = hosts.join(
                arguments.coordinator,
                arguments.processes,
                arguments.process_id,
                journal=journal or Journal(),
                command=restart_command(),
                patience=arguments.patience,
            )
        code = _dispatch(arguments, overrides, peers)
    except Preempted as stop:
        if hosts.first():
            print(f"{stop}. The same command goes on from there.", file=sys.stderr)
        code = PREEMPTED
    except (ValueError, FileNotFoundError) as mistake:
        return _failed(MISTAKE, mistake, peers)
    except (NonFiniteLoss, OSError) as failure:
        if peers is not None and isinstance(failure, OSError):
            peers.suspect()  # all take part in a write, which fails too where another process is lost
        return _failed(FAILED, failure, peers)
    except JaxRuntimeError as failure:
        if peers is None:
            raise
        peers.suspect()  # does not return if another process is lost
        return _failed(FAILED, failure, peers)
    except BaseException as failure:
        if peers is None or isinstance(failure, SystemExit):
            raise
        sys.excepthook(type(failure), failure, failure.__traceback__)
        peers.fail(FAILED, f"{type(failure).__name__}: {failure}")
    if peers is not None:
        hosts.leave(peers)
    return code


def _failed(code: int, error: Exception, peers: "Peers | None") -> int:
    sys.stderr.write(f"error: {error}\n")  # at once, as threads of the libraries may write too
    if peers is not None:
        peers.fail(code, str(error))
    return code


def _summarize(arguments: argparse.Namespace) -> int:
    """The programs that read what others wrote; they need no jax."""
    from jaxcl.programs import claims, report

    try:
        if arguments.program == "claims":
            print(claims.run(arguments.workdir))
        else:
            freeze = {"publish": arguments.publish, "command": arguments.command}
            print(report.run(arguments.workdir, **freeze))
    except ValueError as mistake:
        return _failed(MISTAKE, mistake, None)
    return 0


def _dispatch(
    arguments: argparse.Namespace, overrides: Mapping[str, str], stop: "Peers | None"
) -> int:
    from jaxcl.programs import hosts

    program, force = arguments.program, arguments.force
    if program == "prepare":
        from jaxcl.programs import prepare

        prepare.run(arguments.dataset, arguments.data_dir)
        return 0
    workdir = paths.parse(arguments.workdir or ".")
    if program == "export":
        from jaxcl.programs import export

        path = export.run(workdir, arguments.output, step=arguments.step)
        if hosts.first():
            print(path)
        return 0
    if arguments.embeddings:
        from jaxcl.programs import features

        if hosts.first():
            print(features.run(arguments.embeddings, workdir))
        return 0
    if arguments.config:
        base = configs.load(arguments.config)
    else:
        from jaxcl.programs.workdir import load_config

        base = load_config(workdir)
    config = configs.override(base, configs.parse_overrides(base, overrides))
    if program == "sweep":
        from jaxcl.programs import sweep

        cells = configs.load_sweep(arguments.config)
        if arguments.list:
            if hosts.first():
                sweep.show(config, cells)
            return 0
        if arguments.steps is not None:
            from jaxcl.programs import trial

            chosen = sweep.choose(config, cells, arguments.cell)
            found = trial.run(chosen, steps=arguments.steps)
            return 0 if all(cell.finite for cell in found.values()) else FAILED
        page = sweep.run(
            config,
            workdir,
            cells=cells,
            only=arguments.cell,
            together=arguments.together,
            force=force,
            stop=stop,
        )
        if page is not None and hosts.first():
            print(page)
    elif program == "analyze" and "theory" in config:
        from jaxcl.programs import theory

        if hosts.first():
            print(theory.run(workdir, **config.theory))
    elif program == "pretrain":
        from jaxcl.programs import pretrain

        pretrain.run(config, workdir, force=force, stop=stop)
    elif program == "verify":
        from jaxcl.programs import verify

        return 0 if verify.run(config) else FAILED
    elif program == "plan":
        from jaxcl.programs import plan

        plan.run(
            config,
            arguments.topology,
            name=arguments.config,
            workdir=arguments.workdir,
            together=arguments.together or 1,
        )
    elif program == "probe":
        from jaxcl.programs import probe

        probe.run(config, workdir, step=arguments.step)
    else:
        from jaxcl.programs import analyze

        analyze.run(config, workdir, step=arguments.step)
    return 0

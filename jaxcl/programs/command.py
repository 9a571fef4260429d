"""From parsed arguments to a program, and from its errors to one line and an exit code."""

import argparse
import pathlib
import sys
from collections.abc import Mapping

from jaxcl import config as configs

MISTAKE, PREEMPTED, FAILED = 2, 143, 1


def run(arguments: argparse.Namespace, overrides: Mapping[str, str]) -> int:
    """Run the program that the arguments name.

    Returns:
      0, or 2 for a mistake of the user's, 143 after SIGTERM with the state saved, 1 for a run that failed.
    """
    if arguments.program == "report":
        from jaxcl.programs import report

        print(report.run(arguments.workdir))
        return 0
    from jaxcl.training.loop import NonFiniteLoss, Preempted

    try:
        _dispatch(arguments, overrides)
    except Preempted as stop:
        print(f"{stop}. The same command goes on from there.", file=sys.stderr)
        return PREEMPTED
    except (ValueError, FileNotFoundError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return MISTAKE
    except NonFiniteLoss as failure:
        print(f"error: {failure}", file=sys.stderr)
        return FAILED
    return 0


def _dispatch(arguments: argparse.Namespace, overrides: Mapping[str, str]) -> None:
    program, force = arguments.program, arguments.force
    if program == "prepare":
        from jaxcl.programs import prepare

        prepare.run(arguments.dataset, arguments.data_dir)
        return
    workdir = pathlib.Path(arguments.workdir) if arguments.workdir else pathlib.Path()
    if program == "sweep":
        from jaxcl.programs import sweep

        base = configs.load(arguments.config)
        fixed = configs.parse_overrides(base, overrides)
        cells = configs.load_sweep(arguments.config)
        if arguments.list:
            sweep.show(configs.override(base, fixed), cells)
            return
        fixed_config = configs.override(base, fixed)
        print(sweep.run(fixed_config, workdir, cells=cells, only=arguments.cell, force=force))
        return
    if arguments.config:
        base = configs.load(arguments.config)
    else:
        from jaxcl.programs.workdir import load_config

        base = load_config(workdir)
    config = configs.override(base, configs.parse_overrides(base, overrides))
    if program == "analyze" and "theory" in config:
        from jaxcl.programs import theory

        print(theory.run(workdir, **config.theory))
    elif program == "pretrain":
        from jaxcl.programs import pretrain

        pretrain.run(config, workdir, force=force)
    elif program == "probe":
        from jaxcl.programs import probe

        probe.run(config, workdir, step=arguments.step)
    else:
        from jaxcl.programs import analyze

        analyze.run(config, workdir, step=arguments.step)

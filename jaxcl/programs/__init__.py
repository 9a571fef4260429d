"""The programs: pretrain, probe, analyze, sweep, report, prepare.

Each is ``run(config, workdir)`` and speaks to the others through files in the run directory. The only folder that sees
a configuration, an environment variable or a work directory.
"""

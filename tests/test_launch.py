"""The launcher and the supervisor, with processes that do not start JAX."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from jaxcl import launch


def script(tmp_path, text: str) -> str:
    path = tmp_path / "program.py"
    path.write_text("import os, sys, time, signal\n" + textwrap.dedent(text))
    return str(path)


def test_every_process_is_told_who_it_is_and_its_lines_bear_its_number(tmp_path, capfd):
    program = script(tmp_path, "print(*sys.argv[1:], os.environ['JAX_PLATFORMS'])")
    assert launch.launch([program, "pretrain"], processes=2, devices=3) == 0
    lines = sorted(capfd.readouterr().out.splitlines())
    for number, line in enumerate(lines):
        assert line.startswith(f"[{number}] pretrain --multihost --coordinator=127.0.0.1:")
        assert f"--processes=2 --devices=3 --process-id={number} cpu" in line


def test_lines_of_the_runtime_are_left_out_unless_asked_for(tmp_path, capfd):
    program = script(tmp_path, "print('E1122 12:15:58.2 agent.cc:289] Polled', file=sys.stderr)")
    launch.launch([program], processes=1, devices=1)
    assert capfd.readouterr().err == ""
    launch.launch([program], processes=1, devices=1, verbose=True)
    assert "Polled" in capfd.readouterr().err


def test_the_first_failure_stops_all_and_gives_the_exit_code(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "GRACE", 0.2)
    program = script(tmp_path, "sys.exit(7) if '--process-id=1' in sys.argv else time.sleep(60)")
    begun = time.monotonic()
    assert launch.launch([program], processes=2, devices=1) == 7
    assert time.monotonic() - begun < 30


def test_the_restart_command_is_the_launchers(tmp_path, capfd, monkeypatch):
    monkeypatch.delenv(launch.RESTART, raising=False)
    launch.launch(
        [script(tmp_path, "print(os.environ['JAXCL_RESTART'])"), "pretrain"], processes=1, devices=2
    )
    command = capfd.readouterr().out
    assert re.search(
        r"-m jaxcl.launch --processes=1 --devices-per-process=2 -- \S+ pretrain$", command.strip()
    )


def test_sigterm_reaches_every_process(tmp_path):
    program = script(
        tmp_path,
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        print("ready", flush=True)
        time.sleep(60)
        """,
    )
    command = [sys.executable, "-m", "jaxcl.launch", "--processes=2", "--", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(2):
        assert "ready" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    process.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "no command; give it after --"),
        (["--processes=0", "--", "main.py"], "--processes must be at least 1, got 0"),
        (["--devices-per-process=0", "--", "main.py"], "--devices-per-process must be at least 1"),
    ],
)
def test_a_mistake_of_the_command_line_is_named(arguments, match, capsys):
    with pytest.raises(SystemExit):
        launch.main(arguments)
    assert match in capsys.readouterr().err


SUPERVISED = """
    from jaxcl.launch import supervise

    def run(journal):
        journal.note(12)
        {body}

    sys.exit(supervise(run))
"""


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("return 0", 0, ""),
        ("return 2", 2, ""),
        ("os.abort()", 75, "ended by SIGABRT at step 12, most likely because process 0 is gone"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "ended by SIGKILL at step 12"),
        ("journal.explained(); os.abort()", 75, ""),
    ],
)
def test_the_supervisor_explains_an_end_that_the_process_could_not(tmp_path, body, code, says):
    program = script(tmp_path, SUPERVISED.format(body=body))
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd(), launch.RESTART: "the command"},
    )
    assert done.returncode == code
    assert says in done.stderr
    assert (
        "The same command resumes from the last checkpoint: the command" in done.stderr
    ) == bool(says)

"""A shell as process 1 keeps SIGTERM to itself: pyentry below it says so."""

import os
import pty
import shutil
import subprocess

import pytest

from harness import PYENTRY, PYTHON, clean_env, run

PROGRAM = [PYENTRY, "-I", "-S", "-c", "print('ran')"]
WARNING = b"pyentry: process 1 is a shell, which does not pass SIGTERM on: "
# Another command behind it, so that no shell can spare itself the fork.
SCRIPT = '"$@"; true'


@pytest.mark.parametrize("shell", [name for name in ("sh", "bash", "dash") if shutil.which(name)])
def test_below_a_shell_it_is_said_in_one_line(pid_one, shell):
    done = run([*pid_one, shell, "-c", SCRIPT, shell, *PROGRAM])
    assert done.stdout == b"ran\n"
    assert done.stderr.startswith(WARNING) and done.stderr.count(b"\n") == 1, done.stderr


def test_after_exec_there_is_nothing_to_say(pid_one):
    done = run([*pid_one, "sh", "-c", 'exec "$@"', "sh", *PROGRAM])
    assert (done.stdout, done.stderr) == (b"ran\n", b"")


def test_below_another_program_there_is_nothing_to_say(pid_one):
    code = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    done = run([*pid_one, PYTHON, "-I", "-S", "-c", code, *PROGRAM])
    assert (done.stdout, done.stderr) == (b"ran\n", b"")


def test_at_a_terminal_somebody_knows_what_he_does(pid_one):
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run([*pid_one, "sh", "-c", SCRIPT, "sh", *PROGRAM], stdin=theirs, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=clean_env(), timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.stdout, done.stderr) == (b"ran\n", b"")

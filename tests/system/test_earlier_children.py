"""Children that were there before pyentry was: a shell started them, and then executed pyentry in its own place.

The other end of `exec > >(tee log)` must read the last line, and a helper is not Python's to end. As PID 1 the init ends
them last.
"""

import os
import time

import pytest

from harness import PYENTRY, Child, first_child, is_gone, until
from test_init import KILL, MODES, SETTING, TERM, command, mode  # noqa: F401  (a fixture)

LINES = 1500
# Slower than what it reads from, and tells an end from a kill.
READER = 'exec > >(while read -r line; do echo "$line"; done; echo "the end") 2>&1; exec "$@"'
WORK = ("import os, time\n"
        "if os.fork() == 0:\n    os.setsid(); print('left', flush=True); time.sleep(600)\n"
        "try: print('ready'); time.sleep(600)\n"
        f"finally:\n    for n in range({LINES}): print('clean-up', n)\n")
HELPER = '(trap "echo told; exit" TERM; echo "helper $BASHPID end"; while :; do sleep 0.05; done) 2>/dev/null & exec "$@"'


def below_bash(how, script, *args):
    """The command line: bash runs the script, which executes pyentry with these arguments, in bash's place."""
    argv = command(how, *args)
    at = argv.index(PYENTRY)
    return [*argv[:at], "bash", "-c", script, "bash", *argv[at:]]


def pyentry_of(child, how):
    """The process that the shell became."""
    return child.pid if how != "pid1" else until(lambda: first_child(child.pid), "PID 1")


@pytest.mark.parametrize("how", ["never", *MODES])
def test_the_reader_of_the_log_reads_all(how, pid_one):
    """Every line of the clean-up arrives, and the reader ends by itself."""
    with Child(*below_bash(how, READER, "-c", WORK)) as child:
        child.out.wait("left\n")
        child.out.wait("ready\n")
        os.kill(pyentry_of(child, how), TERM)
        assert child.wait() == (128 + TERM if how == "pid1" else -TERM)
        child.out.wait("the end\n")
        assert child.out.data.decode().splitlines()[-LINES - 1:] == [*(f"clean-up {n}" for n in range(LINES)), "the end"]


def test_the_reader_of_the_log_reads_the_last_words(mode):
    """The init's own lines arrive, too, and what Python had left behind holds up nobody."""
    with Child(*below_bash(mode, READER, "--signal-map=TERM=KILL", "-c", WORK)) as child:
        child.out.wait("left\n")
        child.out.wait("ready\n")
        os.kill(pyentry_of(child, mode), TERM)
        assert child.wait() == 128 + KILL
        child.out.wait("the end\n")
        assert "pyentry: Python was ended by signal 9" in child.out.data.decode().splitlines()[-2]


def test_a_helper(mode):
    """A helper is no business of a subreaper's; as PID 1, with which all ends, it is told last, and soon."""
    with Child(*below_bash(mode, HELPER, *SETTING, "-c", "input(); print('python ends')")) as child:
        at = child.out.wait("helper ")
        end = child.out.wait(" end\n", at)
        helper = int(child.out.data[at:end].split()[0])
        began = time.monotonic()
        child.type("\n")
        assert (child.wait(), child.err.data) == (0, b"")
        assert time.monotonic() - began < 2
        if mode == "pid1":
            assert child.out.all().endswith(b"python ends\ntold\n")
        else:
            assert not is_gone(helper)
            os.kill(helper, TERM)
            assert child.out.all().endswith(b"python ends\ntold\n")

"""SIGTERM while the main thread waits in subprocess.run(), call(), check_call() or check_output().

These kill their child when an exception passes through. The child was told to end before Terminated is raised, and so
may finish its clean-up; what never ends is left behind after some seconds.
"""

import contextlib
import os
import signal
import time

import pytest

from harness import PYENTRY, Child, is_gone, wait_asleep

TERM = signal.SIGTERM

# A child that cleans up, for as long as the test wants: until it reads a line.
CHILD = """
import os, sys, time
report = int(sys.argv[1])
def tell(words): os.write(report, (words + "\\n").encode())
try:
    tell("child %d" % os.getpid())
    time.sleep(600)
finally:
    tell("child is told")
    sys.stdin.readline()
    WORK
    tell("child cleaned up")
"""

PARENT = """
import os, subprocess, sys
report = int(sys.argv[1])
def tell(words): os.write(report, (words + "\\n").encode())
def child(): return [sys.executable, "-c", sys.argv[2], str(report)]
keep = dict(pass_fds=[report])
try:
    {code}
except BaseException as error:
    tell(type(error).__name__)
    raise
finally:
    tell("parent cleaned up")
"""

CALLS = {
    "run": "subprocess.run(child(), **keep)",
    "run, check": "subprocess.run(child(), check=True, **keep)",
    "run, time-out": "subprocess.run(child(), timeout=600, **keep)",
    "run, captured": "subprocess.run(child(), capture_output=True, **keep)",
    "run, captured, time-out": "subprocess.run(child(), capture_output=True, text=True, timeout=600, **keep)",
    "call": "subprocess.call(child(), **keep)",
    "call, time-out": "subprocess.call(child(), timeout=600, **keep)",
    "check_call": "subprocess.check_call(child(), **keep)",
    "check_output": "subprocess.check_output(child(), **keep)",
    "in a loop": "while True: subprocess.run(child(), **keep)",
    "in a loop that swallows": "while True:\n        try: subprocess.check_call(child(), **keep)\n"
                               "        except subprocess.CalledProcessError: tell('swallowed')",
    "in asyncio": "import asyncio\n    async def main(): subprocess.run(child(), **keep)\n    asyncio.run(main())",
}


@contextlib.contextmanager
def running(code, *options, work="pass", **extra):
    """A parent that waits for its child, and the process ID that this has told."""
    program, child = PARENT.format(code=code), CHILD.replace("WORK", work)
    with Child(PYENTRY, *options, "-c", program, "REPORT", child, report=True, **extra) as parent:
        at = parent.report.wait("child ")
        pid = int(bytes(parent.report.data[at:parent.report.wait("\n", at)]))
        wait_asleep(pid)
        wait_asleep(parent.pid)
        yield parent, pid


def words_of(parent):
    return parent.report.all().decode().splitlines()[1:]


@pytest.mark.parametrize("name", CALLS)
def test_the_child_cleans_up(name):
    """The exception comes when the child has ended by itself, and before anything else does."""
    with running(CALLS[name]) as (parent, pid):
        parent.send()
        parent.report.wait("child is told\n")
        wait_asleep(pid)
        parent.type("go\n")
        assert parent.wait() == -TERM
        assert words_of(parent) == ["child is told", "child cleaned up", "Terminated", "parent cleaned up"]
        assert (parent.out.all(), parent.err.all()) == (b"", b"")


def test_the_output_is_read_meanwhile():
    """A clean-up that prints more than a pipe holds gets on."""
    with running(CALLS["run, captured"], work="print('x' * 1000000, flush=True)") as (parent, _):
        parent.send()
        parent.report.wait("child is told\n")
        parent.type("go\n")
        assert parent.wait() == -TERM
        assert words_of(parent) == ["child is told", "child cleaned up", "Terminated", "parent cleaned up"]


def test_forward_group():
    """A child in the group is told with it, and waited for."""
    with running(CALLS["run"], "--forward=group", start_new_session=True) as (parent, _):
        parent.send()
        parent.report.wait("child is told\n")
        parent.type("go\n")
        assert parent.wait() == -TERM
        assert words_of(parent) == ["child is told", "child cleaned up", "Terminated", "parent cleaned up"]


@pytest.mark.parametrize("options, code", [
    (["--forward=main"], CALLS["run"]),
    (["--forward=group"], "subprocess.run(child(), start_new_session=True, **keep)"),
])
def test_who_is_not_told_is_not_waited_for(options, code):
    """The exception comes at once where it is not known that the child will end."""
    with running(code, *options, start_new_session=True) as (parent, pid):
        parent.send()
        assert parent.wait() == -TERM
        assert words_of(parent) == ["Terminated", "parent cleaned up"]
        assert is_gone(pid)


def test_a_child_that_stays():
    """It is killed after some seconds, and the program cleans up."""
    with running(CALLS["check_output"]) as (parent, pid):
        parent.send()
        assert parent.wait() == -TERM
        assert words_of(parent) == ["child is told", "Terminated", "parent cleaned up"]
        assert is_gone(pid) and parent.err.all() == b""


def test_a_second_sigterm():
    """Somebody does not want to wait; the child is killed."""
    with running(CALLS["run"]) as (parent, pid):
        parent.send()
        parent.report.wait("child is told\n")
        sent = 0
        while b"Terminated" not in parent.report.data:
            time.sleep(0.1)
            parent.send()
            sent += 1
        assert sent < 30, "it was raised because the time was over"
        assert parent.wait() == -TERM
        assert words_of(parent) == ["child is told", "Terminated", "parent cleaned up"]
        assert is_gone(pid)


def test_the_time_out_counts():
    """What run() was given stays in force: it kills the child, and Terminated comes in the place of TimeoutExpired."""
    code = "try: subprocess.run(child(), timeout=3, **keep)\n" \
           "    except BaseException as error: tell(type(error.__context__).__name__); raise"
    with running(code) as (parent, _):
        parent.send()
        assert parent.wait() == -TERM
        assert words_of(parent) == ["child is told", "TimeoutExpired", "Terminated", "parent cleaned up"]


def test_a_pipe_that_a_grandchild_holds():
    """It is the child that is waited for, not the end of its output."""
    code = "subprocess.run('sleep 600 & echo child $! >/dev/fd/%d; wait' % report, shell=True, stdout=subprocess.PIPE, **keep)"
    with running(code) as (parent, grandchild):
        try:
            parent.send()
            assert parent.wait() == -TERM
            parent.report.wait("Terminated\nparent cleaned up\n")
            assert not is_gone(grandchild)
        finally:
            os.kill(grandchild, signal.SIGKILL)


def test_the_stop_report():
    """It says where the program is, also while it waits for its child."""
    with running(CALLS["run"], "--stop-report=1s") as (parent, _):
        parent.send()
        parent.err.wait("still running")
        parent.err.wait("in run\n")
        parent.type("go\n")
        assert parent.wait() == -TERM
        assert words_of(parent) == ["child is told", "child cleaned up", "Terminated", "parent cleaned up"]

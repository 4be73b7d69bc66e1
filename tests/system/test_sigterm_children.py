"""Who else gets the SIGTERM: with --forward=auto the direct children, before Terminated is raised; with main
nobody; with group the process group. Where the program has its own handler, it alone decides.

multiprocessing's workers end with exitcode -15, as under python, after their own clean-up.
"""

import os
import signal

import pytest

from harness import (PROBES, PYENTRY, PYTHON, Child, clean_env, gather, is_gone, status_field, until, wait_asleep)

FAMILY = str(PROBES / "family.py")
TERM = signal.SIGTERM
DIRECT = {"plain", "group", "session", "from-thread", "from-ended-thread", "forked"}


class Family:
    """A running probes/family.py whose descendants are found by a mark in their environment, and ended."""

    count = 0

    def __init__(self, *args, options=(), variables=None, **extra):
        Family.count += 1
        self.mark = f"{os.getpid()}-{Family.count}"
        env = clean_env(LISTENER_PYTHON=PYTHON, FAMILY=self.mark, **(variables or {}))
        self.child = Child(PYENTRY, *options, FAMILY, "REPORT", *args, report=True, env=env, **extra)

    def __enter__(self):
        return self.child

    def __exit__(self, *exc_info):
        self.child.__exit__(*exc_info)
        for pid in self.members():
            os.kill(pid, signal.SIGKILL)

    def members(self):
        """Processes of the family that are alive."""
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/environ", "rb") as environ:
                    if f"FAMILY={self.mark}".encode() in environ.read().split(b"\0"):
                        found.append(int(entry))
            except OSError:
                continue
        return [pid for pid in found if not is_gone(pid)]


def stop_family(*args, options=(), members=DIRECT | {"grandchild"}, **extra):
    """(status, {member: number of SIGTERMs that it got}) of a family that is stopped.

    What a member did not get it never will: it has answered a signal that is handled later than SIGTERM.
    """
    with Family(*args, options=options, **extra) as child:
        child.report.wait("ready\n")
        pids = {}
        for name in members:
            at = child.report.wait(f"up {name} ")
            pids[name] = int(child.report.data[at:child.report.wait("\n", at)])
        wait_asleep(child.pid)
        child.send()
        child.report.wait("stopping\n")
        for name, pid in pids.items():
            os.kill(pid, signal.SIGRTMIN)
            child.report.wait(f"{name} done\n")
        child.type("go\n")
        status = child.wait()
        lines = bytes(child.report.data).decode().splitlines()
        return status, {name: lines.count(f"{name} got it") for name in members}


def test_direct_children_get_it():
    """auto: every direct child gets it exactly once, of any thread, group or session; no grandchild does."""
    expected = {**dict.fromkeys(DIRECT, 1), "grandchild": 0}
    assert stop_family("direct") == (-TERM, expected)


def test_forward_main():
    """main: nobody but the program itself gets it."""
    expected = dict.fromkeys(DIRECT | {"grandchild"}, 0)
    assert stop_family("direct", options=["--forward=main"]) == (-TERM, expected)


def test_forward_group():
    """group: everybody in the program's process group gets it once; other groups and sessions do not."""
    expected = {**dict.fromkeys(DIRECT | {"grandchild"}, 1), "group": 0, "session": 0}
    assert stop_family("direct", options=["--forward=group"], start_new_session=True) == (-TERM, expected)


def test_forward_by_environment():
    """PYENTRY_FORWARD=main is the same as the option."""
    expected = dict.fromkeys(DIRECT | {"grandchild"}, 0)
    assert stop_family("direct", variables={"PYENTRY_FORWARD": "main"}) == (-TERM, expected)


def test_an_own_handler_decides_alone():
    """The children of a program with its own SIGTERM handler are left alone."""
    assert stop_family("own_handler", members={"plain"}) == (4, {"plain": 0})


def test_clean_up_can_wait_for_the_children():
    """The children have their signal before Terminated is raised: communicate() in an except clause returns."""
    with Family("order") as child:
        child.report.wait("ready\n")
        wait_asleep(child.pid)
        child.send()
        assert child.wait() == -TERM
        assert child.report.all() == b"ready\nchild cleaned -15\n" and child.err.all() == b""


METHODS = ["fork", "spawn", "forkserver"]


def test_terminate_of_multiprocessing():
    """Process.terminate(): exitcode -15 and the worker's finally, for every start method."""
    def check(method):
        with Family("terminate", method) as child:
            child.report.wait("worker up\n")
            child.type("go\n")
            status = child.wait()
            return status, child.report.all().decode().splitlines()[-2:], child.err.all()

    assert gather(check, METHODS) == [(0, ["worker cleaned", "exitcode -15"], b"")] * 3


def test_stop_with_multiprocessing_workers():
    """SIGTERM to the main program: the workers clean up, end with exitcode -15, and nothing is printed."""
    def check(method):
        with Family("stop_with_worker", method) as child:
            child.report.wait("worker up\n")
            wait_asleep(child.pid)
            child.send()
            status = child.wait()
            return status, child.report.all().decode().splitlines()[-2:], child.err.all()

    assert gather(check, METHODS) == [(-TERM, ["worker cleaned", "exitcode -15"], b"")] * 3


def test_a_sigterm_to_the_fork_server():
    """It goes on to the workers that there are, every time; the server stays, and ends with its clients."""
    running = Family("fork_server")
    with running as child:
        at = child.report.wait("server ")
        server = int(child.report.data[at:child.report.wait("\n", at)])
        up = 0
        for times in (1, 2):
            for _ in range(2):
                up = child.report.wait("worker up\n", up)
            wait_asleep(server)
            os.kill(server, TERM)
            child.report.wait(f"exitcodes {times} [-15, -15]\n")
        wait_asleep(server)
        os.kill(server, TERM)  # it has no children now
        wait_asleep(server)
        child.type("go\n")
        assert child.wait() == 0
        until(lambda: not running.members(), f"no process of the family is left: {running.members()}")
        words = child.report.all().decode().splitlines()
        assert words.count("worker cleaned") == 4 and words[-1] == "exitcode 3"
        assert child.err.all() == b""


def test_pools_leave_no_process():
    """Pools and executors of every start method: the program ends by SIGTERM and no process is left."""
    def check(method):
        running = Family("nobody", method)
        with running as child:
            child.report.wait("ready\n")
            wait_asleep(child.pid)
            child.send()
            status = child.wait()
            until(lambda: not running.members(), f"no process of the family is left: {running.members()}")
            return status

    assert gather(check, METHODS) == [-TERM] * 3


def test_children_do_not_inherit_the_handling():
    """A child that execs has SIGTERM's default action and an empty mask, as under python."""
    with Child(PYENTRY, "-c", "import subprocess; subprocess.run(['sleep', '600'])") as child:
        def sleeper():
            with open(f"/proc/{child.pid}/task/{child.pid}/children") as children:
                return [int(pid) for pid in children.read().split()]
        pid = until(sleeper, "the child runs")[0]
        until(lambda: status_field(pid, "Name") == "sleep", "it is sleep")
        for name in ("SigBlk", "SigIgn", "SigCgt"):
            assert int(status_field(pid, name), 16) >> (TERM - 1) & 1 == 0, name
        wait_asleep(child.pid)  # in run(), not in Popen() still, which nobody would wait for
        child.send()
        assert child.wait() == -TERM
        assert is_gone(pid)


@pytest.mark.parametrize("start", ["os.fork()", "pty.fork()[0]"])
def test_a_forked_child_has_its_own_sigterm(start):
    """SIGTERM to a forked child raises Terminated there, once, also when the parent has had its own."""
    code = f"""
import os, pty, sys, time
report = int(sys.argv[1])
def tell(words): os.write(report, (words + "\\n").encode())
if {start} == 0:
    try:
        tell("child %d" % os.getpid())
        time.sleep(600)
    finally:
        tell("child cleaned")
tell("parent status %d" % os.waitstatus_to_exitcode(os.wait()[1]))
try:
    tell("ready")
    time.sleep(600)
finally:
    tell("parent cleaned")
    if os.fork() == 0:
        try:
            os.kill(os.getpid(), 15)
            tell("nothing happened")
            os._exit(0)
        finally:
            tell("second child cleaned")
    tell("second status %d" % os.waitstatus_to_exitcode(os.wait()[1]))
"""
    with Child(PYENTRY, "-c", code, "REPORT", report=True) as child:
        at = child.report.wait("child ")
        end = child.report.wait("\n", at)
        pid = int(bytes(child.report.data[at:end]))
        wait_asleep(pid)
        os.kill(pid, TERM)
        child.report.wait("ready\n")
        wait_asleep(child.pid)
        child.send()
        assert child.wait() == -TERM
        lines = child.report.all().decode().splitlines()[1:]
    assert lines[:4] == ["child cleaned", "parent status -15", "ready", "parent cleaned"]
    assert lines[4:] in (["second child cleaned", "second status -15"], ["nothing happened", "second status 0"])

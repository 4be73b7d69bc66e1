"""The init passes signals on: each that can be caught, once, with its value, to whom --forward says.

What arrives is told by probes/init_signals.py. That nothing else arrived is shown by a signal that is sent after it
and must be the next: SIGRTMAX is the last to be taken of all that wait.
"""

import ctypes
import itertools
import os
import signal
import subprocess
import time

import pytest

from harness import (PROBES, PYENTRY, PYTHON, TIMEOUT, Child, first_child, gather, is_gone, run, state_of, status_field,
                     traced_calls, until, wait_asleep)
from test_init import (CONT, INT, KILL, SETTING, STOP, TERM, Init, after_signal, children_of, command, executable,
                       init_below, with_timeout, mode)  # noqa: F401  (a fixture)

PROGRAM = os.path.realpath(PYENTRY)
SIGNALS = str(PROBES / "init_signals.py")
LAST = signal.SIGRTMAX
NUMBERS = [n for n in range(1, 65) if n not in (KILL, STOP, 32, 33)]  # those two are the C library's own
USER, QUEUED = 0, -1
libc = ctypes.CDLL(None, use_errno=True)


def queue(pid, number, value):
    """sigqueue(3)"""
    libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    if libc.sigqueue(pid, number, value & 0xffffffff) < 0:
        raise OSError(ctypes.get_errno(), "sigqueue")


class Probe(Init):
    """A running probes/init_signals.py under the init; got() is what it was sent since the last call."""

    def __init__(self, mode, *names, options=(), **more):
        super().__init__(mode, *options, *SETTING, SIGNALS, *names, **more)
        self.count = itertools.count(1)
        self.grouped = "--forward=group" in options  # values do not come along then
        self.at = self.out.wait("ready\n")
        until(lambda: self.out.data.count(b"ready\n") == 1 + len(names), "everybody ready")
        self.at = len(self.out.data)

    def got(self):
        value = 0 if self.grouped else next(self.count)
        queue(self.init, LAST, value)
        begin, sentinel = self.at, f"\n{LAST} {USER if self.grouped else QUEUED} {value}\n"
        self.at = self.out.wait(sentinel, begin - 1)
        return bytes(self.out.data[begin:self.at]).decode()[:1 - len(sentinel)]

    def finish(self):
        queue(self.init, LAST, -1)
        assert (self.wait(), self.err.all()) == (7, b"")


def test_every_signal_once(mode):
    """1 to 64, sent with kill(2): each arrives, once, and nothing else does."""
    with Probe(mode) as probe:
        for number in NUMBERS:
            probe.tell(number)
            assert probe.got() == f"{number} {USER} 0\n"
        probe.finish()


def test_every_signal_with_a_value(mode):
    """1 to 64, sent with sigqueue(3): the value comes along."""
    with Probe(mode) as probe:
        for number in NUMBERS:
            queue(probe.init, number, number * 1000)
            assert probe.got() == f"{number} {QUEUED} {number * 1000}\n"
        queue(probe.init, signal.SIGRTMIN, -5)
        assert probe.got() == f"{int(signal.SIGRTMIN)} {QUEUED} -5\n"
        probe.finish()


def test_real_time_signals_are_counted(mode):
    """Real-time signals do not coalesce: a hundred of them are a hundred, in their order."""
    with Probe(mode) as probe:
        for value in range(100):
            queue(probe.init, signal.SIGRTMIN + 1, value)
        assert probe.got() == "".join(f"{signal.SIGRTMIN + 1} {QUEUED} {value}\n" for value in range(100))
        probe.finish()


def test_into_handlers(mode):
    """Python handlers run, once for each signal; SIGTERM's, too, where a program has its own."""
    code = ("import signal\n"
            "def note(number, frame): print('got', number)\n"
            "for number in sorted(signal.valid_signals() - {9, 19, 32, 33}): signal.signal(number, note)\n"
            "print('ready')\nwhile True: signal.pause()")
    with Init(mode, *SETTING, "-c", code) as child:
        at = child.out.wait("ready\n")
        for number in NUMBERS:
            child.tell(number)
            at = child.out.wait(f"got {number}\n", at)
        seen = child.out.data.decode().split("ready\n")[1]
        # Python sends itself the SIGTERM that waits for the main thread again, and SIGCHLD is the kernel's too.
        assert seen == "".join(f"got {number}\n" for number in NUMBERS)


def test_before_python_is_there(mode):
    """What arrives before Python has even been loaded is not lost: SIGUSR1, blocked by the parent, waits for it."""
    def block():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, LAST])

    for _ in range(20):
        with Child(*command(mode, *SETTING, SIGNALS), preexec_fn=block) as child:
            target = until(lambda: init_below(child.pid), "an init")
            os.kill(target, signal.SIGUSR1)
            child.out.wait(f"{int(signal.SIGUSR1)} {USER} 0\n")
            queue(target, LAST, -1)
            assert child.wait() == 7
            assert child.out.all().decode().count(f"{int(signal.SIGUSR1)} ") == 1


def test_an_alarm_from_before(mode):
    """An alarm that was set before pyentry was started comes to Python: the timer outlives exec."""
    if mode == "pid1":
        return  # the timer is unshare's there, and not its child's
    with Child(*command(mode, *SETTING, SIGNALS),
               preexec_fn=lambda: signal.setitimer(signal.ITIMER_REAL, 0.5)) as child:
        child.out.wait(f"{int(signal.SIGALRM)} ")


# --- --signal-map

def mapped(mode, mapping, *sent):
    with Probe(mode, options=[f"--signal-map={mapping}"]) as probe:
        seen = []
        for number in sent:
            probe.tell(number)
            seen.append([int(line.split()[0]) for line in probe.got().splitlines()])
        probe.finish()
        return seen


def test_signal_map(mode):
    """One for another, two exchanged, dropped, not chained, real-time ones; what is not named stays what it is."""
    assert mapped(mode, "TERM=QUIT", TERM, signal.SIGQUIT, INT) == [[3], [3], [2]]
    assert mapped(mode, "TERM=INT,INT=TERM", TERM, INT) == [[2], [15]]
    assert mapped(mode, "USR1=0,HUP=0", signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2) == [[], [], [12]]
    assert mapped(mode, "TERM=0", TERM, TERM, INT) == [[], [], [2]]
    assert mapped(mode, "USR1=USR2,USR2=TERM", signal.SIGUSR1, signal.SIGUSR2) == [[12], [15]]
    assert mapped(mode, "RTMIN+1=RTMIN+2,CHLD=WINCH", 35, 36, signal.SIGCHLD) == [[36], [36], [28]]


def test_signal_map_keeps_the_value(mode):
    """A signal that is rewritten brings its value."""
    with Probe(mode, options=["--signal-map=RTMIN=RTMIN+5"]) as probe:
        queue(probe.init, signal.SIGRTMIN, 77)
        assert probe.got() == f"{signal.SIGRTMIN + 5} {QUEUED} 77\n"
        probe.finish()


def test_signal_map_in_the_whole_program(mode):
    """TERM=INT is a KeyboardInterrupt, USR1=TERM raises Terminated, TERM=KILL kills, TERM=0 does nothing."""
    code = "import time\ntry: print('ready'); time.sleep(600)\nfinally: print('finally')"
    cases = [("TERM=INT", TERM, INT, b"finally\n"), ("USR1=TERM", signal.SIGUSR1, TERM, b"finally\n"),
             ("TERM=KILL", TERM, KILL, b"")]
    for mapping, sent, ends, words in cases:
        with Init(mode, f"--signal-map={mapping}", "-c", code) as child:
            child.out.wait("ready\n")
            child.tell(sent)
            assert child.wait() == after_signal(mode, ends), mapping
            assert child.out.all() == b"ready\n" + words, mapping


def test_signal_map_is_used_once():
    """The init rewrites, Python does not once more: USR1=USR2,USR2=USR1 is not undone on the way."""
    assert mapped("always", "USR1=USR2,USR2=USR1", signal.SIGUSR1) == [[12]]


# --- --forward

@pytest.mark.parametrize("who", ["auto", "main", "group"])
def test_forward(mode, who):
    """group: the child in Python's process group gets it as well; otherwise it does not. In its own session never."""
    with Probe(mode, "group", "own", options=[f"--forward={who}"]) as probe:
        for number in (signal.SIGUSR1, TERM, signal.SIGRTMIN + 3, INT):
            probe.tell(number)
            lines = sorted(probe.got().splitlines())
            expected = [f"{int(number)} {USER} 0"]
            if who == "group":
                until(lambda: count(probe, f"+{int(number)} {USER} 0\n") == 1, "the other member")
                lines = [line for line in lines if line[0] != "+"]
            assert lines == expected
        assert who == "group" or b"+1" not in probe.out.data.replace(b"+ready", b"")
        assert count(probe, "+ready\n") == 2


def count(probe, words):
    return bytes(probe.out.data).decode().count(words)


def test_forward_sigterm_to_children(mode):
    """SIGTERM through the init: auto reaches the direct children once, main does not, group reaches the group."""
    # The second signal may interrupt the handler of the first: it only lets the child end.
    code = ("import os, signal, subprocess, sys, time\n"
            "child = subprocess.Popen([sys.argv[1], '-c', 'import os, signal\\nreader, writer = os.pipe()\\n"
            "signal.signal(15, lambda *a: os.write(1, b\"child\\\\n\"))\\n"
            "signal.signal(28, lambda *a: os.write(writer, b\".\"))\\n"
            "os.write(1, b\"up\\\\n\"); os.read(reader, 1)'])\n"
            "try: time.sleep(600)\n"
            "finally: child.send_signal(28); child.wait(); print('end')")
    for who, times in (("auto", 1), ("main", 0), ("group", 1)):
        with Init(mode, f"--forward={who}", "-c", code, PYTHON) as child:
            child.out.wait("up\n")
            wait_asleep(child.python)
            child.tell(TERM)
            assert child.wait() == after_signal(mode, TERM)
            assert child.out.all().count(b"child\n") == times, who


def test_python_is_told_once_by_a_group_above():
    """A SIGTERM to pyentry's own process group is one SIGTERM to Python."""
    code = ("import os, signal\nsignal.signal(15, lambda *a: print('got'))\n"
            "signal.signal(10, lambda *a: os._exit(3))\nprint('ready')\nwhile True: signal.pause()")
    with Init("always", "-c", code, start_new_session=True) as child:
        child.out.wait("ready\n")
        os.killpg(child.pid, TERM)
        at = child.out.wait("got\n")
        child.tell(signal.SIGUSR1)
        assert child.wait() == 3 and child.out.all()[at:] == b""


# --- SIGTERM at any moment of the start

MOMENTS = 200
WINDOW = "import time\ntime.sleep(600)"


def test_sigterm_at_any_moment(mode):
    """200 moments from the start on: never dropped, gone within a second, and never a success.

    As PID 1 from the moment that SIGTERM is handled or blocked: before, it is the kernel that drops it.
    """
    def stop(moment):
        with Child(*command(mode, "-c", WINDOW)) as child:
            target = until(lambda: protected(child), "a pyentry that takes SIGTERM")
            with_timeout(child, moment)
            began = time.monotonic()
            os.kill(target, TERM)
            status = child.wait(TIMEOUT)
            took = time.monotonic() - began
            if status == after_signal(mode, TERM) and took < 1 and not child.err.all() and is_gone(target):
                return None
            return f"after {moment * 1000:.1f} ms: {status} in {took:.2f} s, {child.seen()}"

    moments = [0.0004 * n for n in range(MOMENTS)]
    assert list(filter(None, gather(stop, moments, 3))) == []


def protected(child):
    """The first pyentry from the child down, once it has a handler for SIGTERM or a child of its own."""
    pid = child.pid
    while pid is not None and executable(pid) != PROGRAM:
        pid = first_child(pid)
    if pid is None:
        return None
    masks = [status_field(pid, name) or "0" for name in ("SigCgt", "SigBlk")]
    taken = any(int(mask, 16) >> (TERM - 1) & 1 for mask in masks)
    return pid if taken or first_child(pid) is not None else None


def test_sigterm_at_every_file_of_the_start():
    """SIGTERM during each call of the start that looks for or opens a file ends it: what was imported just then is
    no reason to drop Terminated.
    """
    def opened(*inject):
        return ["strace", "-qq", "-o", "/dev/null", *inject, PYENTRY, "--init=never", "-c"]

    calls = len(traced_calls([PYENTRY, "--init=never", "-c", "pass"], "openat"))
    loaded = len(traced_calls([PYENTRY, "--init=never", "--version"], "openat"))  # by the dynamic loader
    found = gather(lambda number: run([*opened("-e", f"inject=openat:signal=TERM:when={number}"),
                                       "import time; time.sleep(2)"]).returncode, range(loaded + 1, calls + 1))
    assert calls - loaded > 15
    assert [loaded + 1 + n for n, status in enumerate(found) if status not in (-TERM, 128 + TERM)] == []


def test_sigterm_while_the_program_starts_children(mode):
    """SIGTERM while children come and go: a clean end, nobody left."""
    code = ("import os, subprocess\ntry:\n    os.write(1, b'ready\\n')\n    while True: subprocess.run(['true'])\n"
            "finally: os.write(1, b'finally\\n')")

    def stop(number):
        with Init(mode, "-c", code) as child:
            child.out.wait("ready\n")
            with_timeout(child, number * 0.0037)
            child.tell(TERM)
            end = child.wait(), child.out.all(), child.err.all()
            return None if end == (after_signal(mode, TERM), b"ready\nfinally\n", b"") else end

    assert list(filter(None, gather(stop, range(30), 3))) == []


# --- stopped

STOPPING = ("import os, signal, time\n"
            "try: print('ready'); os.kill(os.getpid(), signal.{}); time.sleep(600)\nfinally: print('end')")
LINE = "pyentry: Python was stopped by signal {}; SIGCONT resumes it\n"


@pytest.mark.parametrize("name", ["SIGSTOP", "SIGTSTP"])
def test_python_stops_itself(mode, name):
    """One line; SIGCONT resumes it; the init is not stopped."""
    number = int(getattr(signal, name))
    with Init(mode, "-c", STOPPING.format(name)) as child:
        child.err.wait(LINE.format(number))
        child.tell(CONT)
        wait_asleep(child.python)
        child.tell(TERM)
        assert (child.wait(), child.out.all()) == (after_signal(mode, TERM), b"ready\nend\n")
        assert child.err.all().decode() == LINE.format(number)


@pytest.mark.parametrize("mapping, sent", [("", TERM), ("USR1=TERM", signal.SIGUSR1), ("TERM=INT", TERM)])
def test_sigterm_ends_a_stopped_python(mode, mapping, sent):
    """A stopped Python hears that it is to end: clean-up runs, whatever the map says."""
    options = [f"--signal-map={mapping}"] if mapping else []
    with Init(mode, *options, "-c", STOPPING.format("SIGSTOP")) as child:
        child.err.wait(LINE.format(int(STOP)))
        child.tell(sent)
        assert child.wait(10) == after_signal(mode, INT if mapping == "TERM=INT" else TERM)
        assert child.out.all() == b"ready\nend\n"


def test_sigterm_that_arrives_together_with_the_stop(mode):
    """The init finds SIGTERM and the news of the stop at once: Python must not stay stopped."""
    code = "import time\ntry: print('ready'); time.sleep(600)\nfinally: print('end')"

    def stop(number):
        with Init(mode, "-c", code) as child:
            child.out.wait("ready\n")
            wait_asleep(child.python)
            init, python = child.init, child.python
            if number % 2:
                os.kill(python, STOP)
                os.kill(init, TERM)
            else:  # the init is held while both happen
                os.kill(init, STOP)
                until(lambda: state_of(init) == "T", "the init stopped")
                os.kill(python, STOP)
                until(lambda: state_of(python) == "T", "Python stopped")
                os.kill(init, TERM)
                os.kill(init, CONT)
            try:
                end = child.wait(5), child.out.all()
            except AssertionError as failure:
                return f"{number}: {failure}"
            return None if end == (after_signal(mode, TERM), b"ready\nend\n") else (number, end)

    assert list(filter(None, gather(stop, range(20), 4))) == []


def test_stopped_while_orphans_end(mode):
    """A stopped Python does not keep the init from its duties."""
    code = ("import os, signal\n"
            "if os.fork() == 0:\n"
            "    for n in range(50):\n        if os.fork() == 0: signal.pause()\n"
            "    os._exit(0)\nos.wait()\n"
            "os.kill(os.getpid(), signal.SIGSTOP)\nos._exit(6)")
    with Init(mode, *SETTING, "-c", code) as child:
        child.err.wait("pyentry: ")
        orphans = set(children_of(child.init)) - {child.python}
        assert len(orphans) == 50
        for pid in orphans:
            os.kill(pid, KILL)
        until(lambda: set(children_of(child.init)) == {child.python}, "the orphans reaped")
        child.tell(CONT)
        assert child.wait() == 6

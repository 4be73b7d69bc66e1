"""--signal-map=FROM=TO[,...]: a signal that arrives is handled as another; TO of 0 drops it."""

import signal

import pytest

from harness import PYENTRY, Child, clean_env, pyentry, wait_asleep

START = """
import os, signal, sys, time
try: from pyentry import Terminated
except ImportError: Terminated = SystemExit
def note(signum, frame): os.write(1, b"got %d\\n" % signum)
"""
WAIT = """
try:
    os.write(1, b"ready\\n")
    while True: time.sleep(600)
except Terminated as stop:
    os.write(1, b"terminated %d\\n" % stop.code)
    raise
except KeyboardInterrupt:
    os.write(1, b"interrupted\\n")
    sys.exit(3)
finally:
    os.write(1, b"finally\\n")
"""
NAMES = ("TERM", "INT", "USR1", "USR2", "HUP", "QUIT")
TERM, INT, USR1, USR2, HUP, QUIT = (getattr(signal, "SIG" + name) for name in NAMES)


def deliver(mapping, *signals, code="", options=(), env=None):
    """(status, words after "ready", stderr) of a program with this map that gets the signals in turn."""
    given = [f"--signal-map={mapping}"] if mapping else []
    with Child(PYENTRY, *given, *options, "-c", START + code + WAIT, env=clean_env(**(env or {}))) as child:
        at = child.out.wait("ready\n")
        wait_asleep(child.pid)
        for number, signum in enumerate(signals):
            child.send(signum)
            if number + 1 < len(signals):
                wait_asleep(child.pid)
        status = child.wait()
        return status, child.out.all()[at:].decode(), child.err.all().decode()


TERMINATED = "terminated 143\nfinally\n"


@pytest.mark.parametrize("mapping, signum", [
    ("USR1=TERM", USR1), ("HUP=TERM", HUP), ("SIGUSR1=SIGTERM", USR1), ("10=15", USR1), ("INT=TERM", INT),
    ("USR2=INT,USR1=TERM", USR1), ("QUIT=TERM", QUIT), ("USR1=15,HUP=TERM", HUP)])
def test_another_signal_as_sigterm(mapping, signum):
    """A signal mapped to TERM raises Terminated, with clean-up and the end by SIGTERM."""
    assert deliver(mapping, signum) == (-TERM, TERMINATED, "")


def test_sigterm_as_another():
    """TERM=INT raises KeyboardInterrupt; TERM=QUIT, =HUP, =KILL take that signal's default action."""
    assert deliver("TERM=INT", TERM) == (3, "interrupted\nfinally\n", "")
    for name, signum in (("HUP", HUP), ("USR1", USR1), ("KILL", signal.SIGKILL)):
        assert deliver(f"TERM={name}", TERM) == (-signum, "", ""), name


def test_into_handlers_of_the_program():
    """The handler that runs is the one of TO, with its number; the one of FROM does not run."""
    code = "signal.signal(signal.SIGUSR1, note)\nsignal.signal(signal.SIGUSR2, note)\n"
    for mapping, sent, seen in (("USR1=USR2", USR1, 12), ("USR2=USR1", USR2, 10), ("HUP=USR2", HUP, 12)):
        status, words, _ = deliver(f"{mapping},QUIT=TERM", sent, QUIT, code=code)
        assert (status, words) == (-TERM, f"got {seen}\n{TERMINATED}"), mapping


def test_sigterm_into_a_handler_of_the_program():
    """TERM=QUIT for a framework that stops on SIGQUIT: its handler gets it, also where it handles both."""
    quits = "signal.signal(signal.SIGQUIT, lambda *a: note(*a) or sys.exit(4))\n"
    assert deliver("TERM=QUIT", TERM, code=quits) == (4, "got 3\nfinally\n", "")
    both = quits + "signal.signal(signal.SIGTERM, note)\n"
    assert deliver("TERM=QUIT", TERM, code=both) == (4, "got 3\nfinally\n", "")


def test_dropped():
    """TO of 0 drops the signal, whatever the program's handlers are."""
    for mapping, sent in (("USR1=0", USR1), ("HUP=0,USR2=0", HUP), ("TERM=0,USR1=INT", TERM)):
        ender = USR1 if "TERM" in mapping else TERM
        expected = (3, "interrupted\nfinally\n", "") if ender == USR1 else (-TERM, TERMINATED, "")
        assert deliver(mapping, sent, sent, ender) == expected, mapping
    code = "signal.signal(signal.SIGUSR1, note)\n"
    assert deliver("USR1=0", USR1, TERM, code=code) == (-TERM, TERMINATED, "")


def test_no_chains():
    """Each signal is mapped once: two that are exchanged are exchanged."""
    assert deliver("TERM=INT,INT=TERM", TERM) == (3, "interrupted\nfinally\n", "")
    assert deliver("TERM=INT,INT=TERM", INT) == (-TERM, TERMINATED, "")
    assert deliver("USR1=USR2,USR2=TERM,HUP=USR1", USR2) == (-TERM, TERMINATED, "")


def test_real_time_signals():
    """Real-time signals can be mapped, by number."""
    number = signal.SIGRTMIN + 3
    assert deliver(f"{number}=TERM", number) == (-TERM, TERMINATED, "")


def test_environment_and_precedence():
    """PYENTRY_SIGNAL_MAP does the same, and the command line wins over it."""
    variable = {"PYENTRY_SIGNAL_MAP": "USR1=TERM"}
    assert deliver("", USR1, env=variable) == (-TERM, TERMINATED, "")
    assert deliver("USR1=INT", USR1, env=variable) == (3, "interrupted\nfinally\n", "")


def test_with_the_other_options():
    """A mapped SIGTERM obeys --term-status and is known to --stop-report."""
    assert deliver("USR1=TERM", USR1, options=["--term-status=6"]) == (6, "terminated 6\nfinally\n", "")
    code = "import atexit\natexit.register(time.sleep, 1)\n"
    status, words, err = deliver("USR1=TERM", USR1, code=code, options=["--stop-report=200ms"])
    assert (status, words) == (-TERM, TERMINATED) and err.startswith("pyentry: ")


def test_children():
    """A child that is no Python is not mapped; one under pyentry is, through the environment."""
    code = ("import os, subprocess, sys\n"
            "print(subprocess.run(['sh', '-c', 'kill -USR1 $$']).returncode)\n"
            "print(subprocess.run([sys.executable, '-c', 'import os; os.kill(os.getpid(), 10)']).returncode)\n"
            "print(os.environ['PYENTRY_SIGNAL_MAP'])\n")
    done = pyentry("--signal-map=USR1=TERM", "-c", code)
    assert (done.returncode, done.stdout) == (0, b"-10\n-15\nUSR1=TERM\n")


def test_getsignal_of_what_is_mapped():
    """The program sees its signals as under python: a mapped one is not taken away from it."""
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert pyentry("--signal-map=USR1=TERM", "-c", code).stdout == b"True\n"
    code = "import signal; s = signal; print(s.signal(s.SIGUSR1, print) == s.SIG_DFL, s.getsignal(s.SIGUSR1) is print)"
    assert pyentry("-c", code).stdout == b"True True\n"


def test_a_signal_that_python_needs_is_not_lost():
    """SIGCHLD, SIGWINCH and others that are not named in the map keep their meaning."""
    code = ("import os, subprocess\nassert subprocess.run(['true']).returncode == 0\n"
            "os.kill(os.getpid(), 28)\nos.kill(os.getpid(), 17)")
    assert pyentry("--signal-map=USR1=TERM", "-c", code).returncode == 0

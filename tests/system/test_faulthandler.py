"""A crash prints the Python traceback, by faulthandler, on by default; the program stays in charge of it."""

import os
import signal

import pytest

from harness import PYENTRY, PYTHON, clean_env, gather, no_core, pyentry, records, run

SEGV, ABRT, FPE, BUS, ILL = signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL
CRASH = "import ctypes\ndef crash(): ctypes.string_at(0)\ncrash()"


def crash(code, *options, **extra):
    return pyentry(*options, "-c", code, preexec_fn=no_core, **extra)


def test_on_by_default():
    """SEGV, ABRT, FPE, BUS and ILL: the traceback, then death by that signal."""
    for signum in (SEGV, ABRT, FPE, BUS, ILL):
        done = crash(f"import os\ndef crash(): os.kill(os.getpid(), {int(signum)})\ncrash()")
        assert done.returncode == -signum
        assert b"Fatal Python error: " in done.stderr and b"in crash\n" in done.stderr, done.stderr
        assert b'File "<string>", line 3 in <module>' in done.stderr


def test_a_real_crash():
    """A null pointer: the same words as `python -X faulthandler`."""
    ours = crash(CRASH)
    theirs = run([PYTHON, "-X", "faulthandler", "-c", CRASH], preexec_fn=no_core)
    assert ours.returncode == theirs.returncode == -SEGV
    assert ours.stderr.split(b"Extension modules")[0].splitlines()[:1] == theirs.stderr.splitlines()[:1]
    assert b"in crash\n" in ours.stderr and ours.stdout == b""


def test_crash_in_a_thread():
    """Every thread's traceback is printed, whichever crashed."""
    code = ("import ctypes, threading, time\ndef other(): time.sleep(600)\ndef crash(): ctypes.string_at(0)\n"
            "threading.Thread(target=other, daemon=True).start()\ntime.sleep(0.1)\n"
            "t = threading.Thread(target=crash); t.start(); t.join()\n")
    done = crash(code)
    assert done.returncode == -SEGV and b"in crash\n" in done.stderr and b"in other\n" in done.stderr


def test_stack_overflow():
    """A stack that overflowed is a crash with a traceback too: the handler has its own stack."""
    code = ("import sys, ctypes\nf = ctypes.CFUNCTYPE(None)(lambda: g())\ndef g(): f()\n"
            "sys.setrecursionlimit(10**6)\ng()\n")
    done = crash(code)
    theirs = run([PYTHON, "-X", "faulthandler", "-c", code], preexec_fn=no_core)
    assert done.returncode == theirs.returncode
    assert (b"Fatal Python error" in done.stderr) == (b"Fatal Python error" in theirs.stderr)


@pytest.mark.parametrize("options, variable", [
    (["--faulthandler=off"], None), ([], "off"), (["--faulthandler=off"], "on"), (["--faulthandler", "off"], None)])
def test_off(options, variable):
    """--faulthandler=off and PYENTRY_FAULTHANDLER=off: as python without it."""
    env = clean_env(PYENTRY_FAULTHANDLER=variable)
    done = crash(CRASH, *options, env=env)
    assert (done.returncode, done.stderr) == (-SEGV, b"")
    code = "import faulthandler; print(faulthandler.is_enabled())"
    assert pyentry(*options, "-c", code, env=env).stdout == b"False\n"


def test_off_leaves_the_signals_alone():
    """With it off, signal.getsignal of the crash signals is python's."""
    code = "import signal as s; print([s.getsignal(n) for n in (s.SIGSEGV, s.SIGABRT, s.SIGFPE, s.SIGBUS, s.SIGILL)])"
    assert pyentry("--faulthandler=off", "-c", code).stdout == run([PYTHON, "-c", code]).stdout


def test_on_over_the_environment():
    """The command line wins."""
    assert b"in crash" in crash(CRASH, "--faulthandler=on", env=clean_env(PYENTRY_FAULTHANDLER="off")).stderr


def test_pythons_own_switches():
    """-X faulthandler, PYTHONFAULTHANDLER and -X dev turn it on also where pyentry's option is off."""
    off = ["--faulthandler=off"]
    for args, env in ((["-X", "faulthandler"], {}), ([], {"PYTHONFAULTHANDLER": "1"}), (["-X", "dev"], {})):
        assert b"in crash" in crash(CRASH, *off, *args, env=clean_env(**env)).stderr
        assert b"in crash" in crash(CRASH, *args, env=clean_env(**env)).stderr


def test_the_program_is_in_charge():
    """faulthandler.disable() is respected; enable(file=...) and register() do what they say."""
    assert crash("import faulthandler; faulthandler.disable()\n" + CRASH).stderr == b""
    code = "import faulthandler, sys; print(faulthandler.is_enabled()); faulthandler.enable(file=sys.stdout)\n"
    done = crash(code + CRASH)
    assert (done.stdout[:5], b"in crash" in done.stdout, done.stderr) == (b"True\n", True, b"")
    code = ("import faulthandler, signal, sys\nfaulthandler.register(signal.SIGUSR1, chain=False)\n"
            "def here(): signal.raise_signal(signal.SIGUSR1)\nhere(); print('went on')\n"
            "faulthandler.dump_traceback_later(0.1); import time; time.sleep(0.4); print('still')")
    done = pyentry("-c", code)
    assert done.returncode == 0 and done.stdout == b"went on\nstill\n"
    assert b"in here\n" in done.stderr and b"Timeout (0:00:00.1" in done.stderr


def test_a_handler_of_the_programs():
    """A SIGSEGV or SIGABRT handler of the program's own is not replaced."""
    code = ("import os, signal\nsignal.signal(signal.SIGABRT, lambda *a: print('mine'))\n"
            "os.kill(os.getpid(), signal.SIGABRT)\n")
    done = pyentry("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"mine\n", b"")


def test_without_stderr(tmp_path):
    """With descriptor 2 closed nothing is written into the file that took its place."""
    file = tmp_path / "file"

    def close():
        no_core()
        os.close(2)

    code = f"import os\nfds = [os.open({str(file)!r}, os.O_CREAT | os.O_WRONLY) for n in range(3)]\n{CRASH}"
    done = pyentry("-c", code, preexec_fn=close)
    assert done.returncode == -SEGV and file.read_bytes() == b""


def test_replaced_stderr():
    """A program that gave its stderr another descriptor: the traceback goes where descriptor 2 goes."""
    code = ("import os, sys\nos.dup2(1, 2)\n" + CRASH)
    done = crash(code)
    assert done.returncode == -SEGV and b"in crash" in done.stdout and done.stderr == b""


def test_children():
    """multiprocessing's and subprocess's Python children print their crashes too; other children nothing."""
    code = ("import ctypes, multiprocessing, subprocess, sys\ndef crash_here(): ctypes.string_at(0)\n"
            "p = multiprocessing.get_context('fork').Process(target=crash_here)\n"
            "p.start(); p.join(); print(p.exitcode)\n"
            "print(subprocess.run([sys.executable, '-c', 'import ctypes; ctypes.string_at(0)']).returncode)\n"
            "print(subprocess.run(['sh', '-c', 'kill -SEGV $$']).returncode)\n")
    done = crash(code)
    assert done.stdout.split() == [b"-11"] * 3
    assert done.stderr.count(b"Fatal Python error") == 2 and b"in crash_here" in done.stderr


def test_nothing_is_printed_without_a_crash():
    """Enabling it says nothing and changes no exit."""
    results = gather(lambda code: records([PYENTRY, "-c", code], which=("stderr",)), ["pass", "import os; os._exit(3)"])
    assert results == [(0, []), (3, [])]

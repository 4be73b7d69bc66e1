"""os.system() is python's, but that Python's signal handlers run while it waits: SIGTERM ends the wait."""

import signal

import pytest

from harness import (PYENTRY, Child, attempt, differences, differing_calls, first_child, pyentry, show, state_of, stock,
                     wait_asleep)
from test_init import Init, after_signal, mode  # noqa: F401  (a fixture)

TERM, USR1 = signal.SIGTERM, signal.SIGUSR1

# --- as python

CALLS = {
    "status": "os.system('exit 3')",
    "by a signal": "os.system('kill -9 $$')",
    "bytes": "os.system(b'exit 4')",
    "bytes that are no text": "os.system(b'echo \\xff')",
    "surrogates": "os.system('echo \\udcff')",
    "a path": "os.system(pathlib.Path('/bin/false'))",
    "a keyword": "os.system(command='exit 5')",
    "empty": "os.system('')",
    "begins with a dash": "os.system('-x')",
    "not there": "os.system('/nonexistent')",
    "too long": "os.system('x' * 200000)",
    "no argument": "os.system()",
    "two arguments": "os.system('a', 'b')",
    "twice": "os.system('a', command='b')",
    "another keyword": "os.system(x='a')",
    "a number": "os.system(1)",
    "a zero byte": "os.system('a\\0b')",
    "help": "(os.system.__doc__, os.system.__text_signature__, os.system.__module__, repr(os.system)[:26])",
    "environment": "(os.environ.update(A='b c'), os.system('echo \"$A\"'))",
    "children that reap themselves": "(signal.signal(signal.SIGCHLD, signal.SIG_IGN), os.system('exit 6'))",
    "no more processes": "(resource.setrlimit(resource.RLIMIT_AS, (0, 0)), os.system('exit 6'))",
}


def test_arguments_and_results():
    """Every kind of command, status and error."""
    found = differing_calls("import os, pathlib, resource, signal", CALLS)
    assert not found, show(found)


SIGNALS = """
import os, signal, sys, threading


def show(process):
    asleep = f"until grep -q '^State:.S' /proc/{process}/status; do :; done"
    os.system(f"{asleep if process != 'self' else ':'}; exec grep -E '^Sig(Blk|Ign)' /proc/{process}/status")


PREPARED
show("self")                # the command
show("$PPID")               # who waits
show("$PPID/task/$PPID")
show(os.getpid())
print(sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))))
print(open("/proc/self/status").read().partition("SigIgn")[2][:20])
print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT)])
"""
PREPARED = {
    "nothing": "",
    "SIGINT ignored": "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "SIGQUIT ignored": "signal.signal(signal.SIGQUIT, signal.SIG_IGN)",
    "by default": "signal.signal(signal.SIGINT, signal.SIG_DFL)",
    "a blocked signal": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})",
    "SIGCHLD blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})",
    "a handler": "signal.signal(signal.SIGUSR1, print)",
}


def test_signals_of_both():
    """What is blocked and ignored in the command, in the process while it waits, and afterwards."""
    found = differences([(name, ["-c", SIGNALS.replace("PREPARED", code)], {}) for name, code in PREPARED.items()])
    assert not found, show(found)


SIGCHLD = """
import os, signal
signal.signal(signal.SIGCHLD, lambda *_: print("a child", os.waitpid(-1, os.WNOHANG) if wait else ""))
for wait in (False, True):
    try:
        print(os.system("exit 7"))
    except ChildProcessError:
        print("no child")
"""


def test_handler_for_sigchld():
    """It runs when the call is over, and finds no child."""
    assert pyentry("-c", SIGCHLD).stdout == stock("-u", "-c", SIGCHLD).stdout


def test_audit():
    """One event, with the command as bytes; a hook may forbid it."""
    code = ("import os, sys\ndef hook(event, args):\n if event.startswith(('os.', 'subprocess')):\n  print(event, args)\n"
            "  if b'no' in args: raise PermissionError\n"
            "sys.addaudithook(hook)\nos.system('echo yes')\nos.system('no')")
    found = differences([("audit", ["-c", code], {})])
    assert not found, show(found)
    assert pyentry("-c", code).stdout.count(b"os.system (b'echo yes',)") == 1


def test_other_threads_run():
    """The command reads what another thread of the program writes meanwhile."""
    code = ("import os, threading\nr, w = os.pipe()\nos.set_inheritable(r, True)\nstarted = threading.Event()\n"
            "def write():\n started.wait()\n os.write(w, b'word\\n')\n"
            "threading.Thread(target=write).start()\nstarted.set()\n"
            "print(os.system(f'read word <&{r}; test $word = word') )")
    assert pyentry("-c", code).stdout == b"0\n"


def test_nested():
    """SIGINT is heard again when the last of two calls in two threads has come back, and not before."""
    code = ("import os, signal, threading\n"
            "def ignored(): return int(open('/proc/self/status').read().partition('SigIgn:')[2].split()[0], 16) & 2\n"
            "r, w = os.pipe()\nos.set_inheritable(r, True)\n"
            "t = threading.Thread(target=os.system, args=(f'read word <&{r}',))\nt.start()\n"
            "while not ignored(): pass\n"
            "os.system('')\nprint(ignored())\nos.write(w, b'\\n')\nt.join()\nprint(ignored())")
    assert pyentry("-c", code).stdout == stock("-u", "-c", code).stdout == b"2\n0\n"


# --- signals

TOLD = """
import os
try:
    os.system("trap 'echo told; exit 1' TERM; echo READY; while :; do sleep 0.1; done")
finally:
    print("finally", input())
"""


def test_below_an_init(mode):  # noqa: F811
    """The command is told, and the process ends by SIGTERM."""
    with Init(mode, "-c", TOLD) as child:
        child.out.wait("READY\n")
        child.tell(TERM)
        child.out.wait("told\n")
        child.type("word\n")
        assert child.wait() == after_signal(mode, TERM)
        lines = child.out.all().splitlines()
        # The init may tell it once more, before it is gone.
        assert lines[:2] == [b"READY", b"told"] and set(lines[2:]) - {b"told"} == {b"finally word"} and child.err.all() == b""


LEFT = """
import os, signal, sys


def is_ours(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1]) == os.getpid()
    except OSError:
        return False


def children():
    return [number for number in os.listdir("/proc") if number.isdigit() and is_ours(number)]


def leave(*unused):
    raise TimeoutError


signal.signal(signal.SIGUSR1, leave)
try:
    os.system("echo READY; exec sleep 600")
except (TimeoutError, SystemExit) as error:
    child, = children()
    print(type(error).__name__, signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)
    sys.stdin.readline()
    os.kill(int(child), 9)
    while children():
        pass
    print("none", os.system("exit 7"))
"""


@pytest.mark.parametrize("number, name", [(TERM, "Terminated"), (USR1, "TimeoutError")])
def test_command_that_goes_on(number, name):
    """A command that is not told stays as it is when an exception leaves the call, and no zombie when it ends."""
    with Child(PYENTRY, "--forward=main", "-c", LEFT) as child:
        child.out.wait("READY\n")
        wait_asleep(child.pid)
        child.send(number)
        child.out.wait(f"{name} <built-in function default_int_handler> set()\n")
        assert state_of(first_child(child.pid)) == "S"
        child.type("\n")
        child.out.wait("none 1792\n")
        assert child.wait() == 0


HANDLED = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
signal.signal(signal.SIGUSR2, lambda *_: signal.signal(signal.SIGINT, signal.SIG_DFL))
print(os.system("trap '' INT QUIT; echo READY; read word; exit 5"), signal.getsignal(signal.SIGINT).__class__.__name__)
print(open("/proc/self/status").read().partition("SigIgn:")[2].split()[0])
"""


def test_handler_that_returns():
    """It runs at once, and the wait goes on. SIGINT and SIGQUIT are not for who waits."""
    with Child(PYENTRY, "-c", HANDLED) as child:
        child.out.wait("READY\n")
        wait_asleep(child.pid)
        for number in (signal.SIGINT, signal.SIGQUIT, USR1):
            child.send(number)
        at = child.out.wait("handled\n")
        wait_asleep(child.pid)
        child.send(USR1)
        child.out.wait("handled\n", at)
        child.type("\n")
        assert child.wait() == 0
        assert child.out.all().count(b"1280 builtin_function_or_method\n") == 1


def test_handler_that_sets_a_handler():
    """What a handler sets for SIGINT meanwhile is not undone."""
    with Child(PYENTRY, "-c", HANDLED) as child:
        child.out.wait("READY\n")
        wait_asleep(child.pid)
        child.send(signal.SIGUSR2)
        child.send(USR1)
        child.out.wait("handled\n")
        wait_asleep(child.pid)
        child.send(signal.SIGINT)
        assert child.wait() == -signal.SIGINT


IN_THREAD = """
import os, threading, time
thread = threading.Thread(target=lambda: print(os.system("trap 'exit 8' TERM; echo READY; while :; do sleep .01; done")))
try:
    thread.start()
    WAIT
finally:
    print("finally")
    thread.join()
"""


def stop_in_thread(wait):
    with Child(PYENTRY, "-c", IN_THREAD.replace("WAIT", wait)) as child:
        child.out.wait("READY\n")
        if "sleeps" in wait:
            wait_asleep(child.pid)
        child.send()
        assert (child.wait(), sorted(child.out.all().split()), child.err.all()) == (
            -TERM, [b"2048", b"READY", b"finally"], b"")


def test_in_another_thread():
    """Its command is told, and its call ends when the command does; the main thread has the exception."""
    waits = ["time.sleep(600)  # sleeps", "os.system('exec sleep 600')  # sleeps", "while True: pass"]
    assert [failure for wait in waits if (failure := attempt(stop_in_thread, wait))] == []


def test_in_clean_up():
    """After Terminated it waits to the end, whatever comes."""
    code = "import os\ntry:\n os.system('echo READY; exec sleep 600')\nfinally:\n print(os.system('echo AGAIN; read word'))"
    with Child(PYENTRY, "-c", code) as child:
        child.out.wait("READY\n")
        child.send()
        child.out.wait("AGAIN\n")
        wait_asleep(child.pid)
        child.send()
        wait_asleep(child.pid)
        child.type("\n")
        assert child.wait() == -TERM and child.out.all().endswith(b"AGAIN\n0\n")

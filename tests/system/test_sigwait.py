"""signal.sigwait() is python's, but that Python's signal handlers run while it waits: SIGTERM ends the wait."""

import signal

from harness import PYENTRY, Child, differing_calls, show, wait_asleep

TERM, HUP, USR1 = signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1

CALLS = {
    "no argument": "signal.sigwait()",
    "two arguments": "signal.sigwait({1}, {2})",
    "no set": "signal.sigwait(1)",
    "zero": "signal.sigwait({0})",
    "too large": "signal.sigwait({65})",
    "much too large": "signal.sigwait({10**30})",
    "no number": "signal.sigwait({'a'})",
    "no argument below": "_signal.sigwait()",
    "a keyword below": "_signal.sigwait(sigset={1})",
    "a name": "repr(got(signal.SIGUSR1, signal.sigwait, [signal.SIGUSR1, signal.SIGUSR2]))",
    "a keyword": "repr(got(signal.SIGUSR1, lambda s: signal.sigwait(sigset=s), {signal.SIGUSR1}))",
    "no name": "repr(got(signal.SIGRTMIN + 2, signal.sigwait, iter([signal.SIGRTMIN + 2])))",
    "a number below": "repr(got(signal.SIGUSR1, _signal.sigwait, {signal.SIGUSR1}))",
    "help": "(_signal.sigwait.__doc__, _signal.sigwait.__text_signature__, _signal.sigwait.__module__)",
}
PRELUDE = """
import _signal, os, signal


def got(number, call, numbers):
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    os.kill(os.getpid(), number)
    return call(numbers)
"""


def test_arguments_and_results():
    """Every kind of set, result and error."""
    found = differing_calls(PRELUDE, CALLS)
    assert not found, show(found)


HANDLED = """
import signal
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
print("READY")
print(repr(signal.sigwait({signal.SIGHUP})))
"""


def test_handler_that_returns():
    """It runs at once, and the wait goes on."""
    with Child(PYENTRY, "-c", HANDLED) as child:
        at = child.out.wait("READY\n")
        for _ in range(2):
            wait_asleep(child.pid)
            child.send(USR1)
            at = child.out.wait("handled\n", at)
        wait_asleep(child.pid)
        child.send(HUP)
        assert child.wait() == 0
        assert child.out.all()[at:] == b"<Signals.SIGHUP: 1>\n"


IN_THREAD = """
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
thread = threading.Thread(target=lambda: print(repr(signal.sigwait({signal.SIGHUP}))))
try:
    thread.start()
    print("READY")
    threading.Event().wait()
finally:
    print("finally")
"""


def test_in_another_thread():
    """The main thread has the exception; the wait in the other one goes on."""
    with Child(PYENTRY, "-c", IN_THREAD) as child:
        child.out.wait("READY\n")
        wait_asleep(child.pid)
        child.send(TERM)
        child.out.wait("finally\n")
        child.send(HUP)
        assert child.wait() == -TERM
        assert child.out.all() == b"READY\nfinally\n<Signals.SIGHUP: 1>\n" and child.err.all() == b""

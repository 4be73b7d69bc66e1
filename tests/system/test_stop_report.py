"""Still alive some time after SIGTERM: every thread's Python traceback goes to stderr in one block, also while
the main thread sits in a C call that never returns. The program goes on as if nothing had happened.

The programs are in probes/stuck.py.
"""

import os
import re
import signal
import socket
import time

import pytest

from harness import PROBES, PYENTRY, Child, attempt, clean_env, first_child, gather, until, wait_asleep

STUCK = str(PROBES / "stuck.py")
TERM = signal.SIGTERM
HALF = "--stop-report=500ms"


class Stuck(Child):
    """A running probes/stuck.py whose stderr keeps each write apart, in self.blocks."""

    def __init__(self, place, *options, **extra):
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)
        super().__init__(PYENTRY, *options, STUCK, "REPORT", place, report=True, stderr=theirs, **extra)
        theirs.close()
        self.blocks = []
        self.report.wait("ready\n")

    def stop(self):
        self.sent = time.monotonic()
        self.send()

    def read_block(self):
        try:
            block = self.ours.recv(1 << 20)
        except BlockingIOError:
            return None
        if block:
            self.blocks.append((time.monotonic() - self.sent, block.decode()))
        return block

    def wait_for_block(self):
        """(seconds after SIGTERM, text) of the next block."""
        until(self.read_block, f"a report, so far {self.blocks}")
        return self.blocks[-1]

    def __exit__(self, *exc_info):
        super().__exit__(*exc_info)
        self.ours.close()


def report_of(place, *functions, options=(HALF,)):
    """"" when a program that is stuck in a place gets the promised report once, else what is wrong."""
    with Stuck(place, *options) as stuck:
        wait_asleep(stuck.pid)
        stuck.stop()
        after, text = stuck.wait_for_block()
        missing = [name for name in functions if not re.search(rf'File ".*stuck\.py", line \d+ in {name}\b', text)]
        if missing or not text.startswith("pyentry: ") or not text.endswith("\n") or after < 0.5:
            return f"{place}: after {after} s, without {missing}: {text}"
        if not re.search(r"\b0\.5 ?s|\b500 ?ms", text):
            return f"{place}: does not say how long: {text}"
        time.sleep(0.6)  # room for a second report, which there must not be
        return f"{place}: a second block {stuck.blocks}" if stuck.read_block() else ""


PLACES = [("stuck_without_gil", "stuck_without_gil", "locked_mutex"),
          ("stuck_with_gil", "stuck_with_gil", "locked_mutex"),
          ("threads_without_gil", "stuck_without_gil", "with_workers", "waiting_worker", "looping_worker"),
          ("threads_with_gil", "stuck_with_gil", "with_workers", "waiting_worker", "looping_worker"),
          ("slow_clean_up", "slow_clean_up"), ("long_clean_up", "long_clean_up"), ("swallowed", "swallowed"),
          ("own_handler_that_hangs", "hanging_handler", "own_handler_that_hangs"),
          ("own_handler_that_goes_on", "own_handler_that_goes_on"), ("asyncio_that_goes_on", "asyncio_that_goes_on"),
          ("waiting_for_a_thread", "waiting_for_a_thread"), ("deep_recursion", "down")]


def test_every_place():
    """One block that begins "pyentry: ", says how long, and names the functions of every thread."""
    found = gather(lambda place: attempt(report_of, *place), PLACES, at_once=6)
    assert "\n".join(filter(None, found)) == ""


def test_as_pid_one(pid_one):
    """PID 1 without an init reports too."""
    code = "import time\ntry: print('ready'); time.sleep(600)\nfinally:\n def clean(): time.sleep(1.2)\n clean()"
    with Child(*pid_one, PYENTRY, "--init=never", HALF, "-c", code) as child:
        child.out.wait("ready\n")
        os.kill(first_child(child.pid), TERM)
        assert child.wait() == 128 + TERM
        assert b"pyentry: " in child.err.all() and b"in clean" in child.err.all()


def test_the_program_goes_on_after_the_report():
    """The report ends nothing and shortens nothing: sleeps, reads and clean-up go on, then the end by SIGTERM."""
    with Stuck("slow_clean_up", HALF) as stuck:
        stuck.stop()
        assert stuck.wait() == -TERM
        assert stuck.report.all() == b"ready\nslept True\n"
        stuck.wait_for_block()
    with Stuck("long_clean_up", HALF) as stuck:
        stuck.stop()
        stuck.wait_for_block()
        wait_asleep(stuck.pid)
        stuck.type("go\n")
        assert stuck.wait() == -TERM
        assert stuck.report.all() == b"ready\ncleaned\n"


def test_nothing_is_printed_in_time():
    """A program that ends in time prints nothing."""
    for options in ([HALF], [], ["--stop-report=1ms"]):
        with Stuck("ends_at_once", *options) as stuck:
            wait_asleep(stuck.pid)
            stuck.stop()
            assert stuck.wait() == -TERM
            if options != ["--stop-report=1ms"]:
                assert not stuck.read_block(), stuck.blocks


@pytest.mark.parametrize("options, variable", [(["--stop-report=0"], None), ([], "0"), (["--stop-report=0"], "100ms")])
def test_never(options, variable):
    """0 means never, from the command line, the environment, and the command line over the environment."""
    env = clean_env(PYENTRY_STOP_REPORT=variable)
    with Stuck("slow_clean_up", *options, env=env) as stuck:
        stuck.stop()
        assert stuck.wait() == -TERM
        assert not stuck.read_block(), stuck.blocks


def test_eight_seconds_by_default():
    """Without an option the report comes after 8 s, not before."""
    with Stuck("long_clean_up") as stuck:
        stuck.stop()
        after, text = stuck.wait_for_block()
        assert 8 <= after < 14 and re.search(r"\b8 ?s|\b8\.0 ?s|8000 ?ms", text)


def test_no_report_without_a_sigterm():
    """Only SIGTERM starts the clock: SIGINT, SIGHUP or a long life do not."""
    code = "import os, signal, time\nsignal.signal(10, lambda *a: 0)\ntry: os.kill(os.getpid(), 2)\n" \
           "except KeyboardInterrupt: pass\nos.kill(os.getpid(), 10)\ntime.sleep(0.8)"
    with Child(PYENTRY, "--stop-report=200ms", "-c", code) as child:
        assert (child.wait(), child.err.all()) == (0, b"")


def test_the_report_is_not_a_signal_of_the_programs(tmp_path):
    """SIGSTKFLT (16), which carries the report, is the program's still: it handles its own, and there is a report."""
    code = ("import os, signal, sys, time\n"
            "signal.signal(16, lambda *a: os.write(1, b'got it\\n'))\n"
            "os.kill(os.getpid(), 16)\n"
            "try: print('ready'); time.sleep(600)\nfinally: time.sleep(0.7)\n")
    with Child(PYENTRY, "--stop-report=300ms", "-c", code) as child:
        child.out.wait("got it\nready\n")
        wait_asleep(child.pid)
        child.send()
        assert child.wait() == -TERM
        assert child.out.all() == b"got it\nready\n", "the report's own signal reached the program"
        assert child.err.all().count(b"pyentry: still running") == 1


def test_a_forked_child_has_its_own_clock():
    """A child that was forked after SIGTERM, or that lives on, is not reported for its parent's SIGTERM."""
    code = ("import os, sys, time\n"
            "try:\n    print('ready'); time.sleep(600)\n"
            "finally:\n"
            "    if os.fork() == 0:\n        time.sleep(0.8)\n        os.write(1, b'child done\\n'); os._exit(0)\n"
            "    os._exit(0)\n")
    with Child(PYENTRY, "--stop-report=300ms", "-c", code) as child:
        child.out.wait("ready\n")
        wait_asleep(child.pid)
        child.send()
        assert child.wait() == 0
        child.out.wait("child done\n")
        assert child.err.all() == b""


def test_a_file_in_the_place_of_stderr(tmp_path):
    """With descriptor 2 closed, the report is not written into the file that took its place."""
    file = tmp_path / "file"
    code = (f"import os, time\nfds = [os.open({str(file)!r}, os.O_CREAT | os.O_WRONLY) for n in range(3)]\n"
            "try: print('ready', 2 in fds); time.sleep(600)\nfinally: time.sleep(0.6)\n")
    with Child(PYENTRY, "--stop-report=200ms", "-c", code, preexec_fn=lambda: os.close(2)) as child:
        child.out.wait("ready True\n")
        wait_asleep(child.pid)
        child.send()
        assert child.wait() == -TERM
        assert file.read_bytes() == b""


def test_stderr_that_is_full_or_closed():
    """A stderr that nobody reads, or that is closed, keeps the program from nothing."""
    for close in (True, False):
        ours, theirs = os.pipe()
        code = ("import os, time\ntry: print('ready'); time.sleep(600)\n"
                "finally: time.sleep(0.6); os.write(1, b'cleaned\\n')")
        with Child(PYENTRY, "--stop-report=200ms", "-c", code, stderr=theirs) as child:
            os.close(theirs)
            if close:
                os.close(ours)
            child.out.wait("ready\n")
            wait_asleep(child.pid)
            child.send()
            assert child.wait() == -TERM and child.out.all() == b"ready\ncleaned\n"
        if not close:
            os.close(ours)

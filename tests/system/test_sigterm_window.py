"""No window without a handler: at every moment from exec to exit SIGTERM ends the program, and its clean-up runs.

Accepted are only: an end before the program's first statement, with nothing said at all; Terminated, with
the word of the program's finally block; and a normal end where the program had come to its own end already.
"""

import os
import signal
import subprocess
import time

import pytest

from harness import (PROBES, PYENTRY, TIMEOUT, Child, attempt, clean_env, first_child, gather, run, status_field,
                     traced_calls, wait_asleep)

WINDOW = str(PROBES / "window.py")
TERM = signal.SIGTERM
MOMENTS = 200
AT_ONCE = 10  # the program mostly sleeps


def spread():
    """Moments in seconds: half of them evenly to past the end of the program, half in its busy first 0.2 s."""
    took = max(gather(lambda _: duration(), range(AT_ONCE), AT_ONCE))
    even = [took * 1.05 * n / (MOMENTS // 2) for n in range(MOMENTS // 2)]
    early = [0.2 * n / (MOMENTS // 2) for n in range(MOMENTS // 2)]
    return [moment for pair in zip(even, early) for moment in pair]


def duration():
    began = time.monotonic()
    assert run([PYENTRY, WINDOW]).returncode == 0
    return time.monotonic() - began


def start(*command):
    return subprocess.Popen(command, env=clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def finish(process):
    """(status, stdout, stderr); the status of a program that hangs is "hung"."""
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return "hung", out, err
    return process.returncode, out, err


def judge(moment, status, out, err, stopped):
    """"" when the end is one of the accepted ones, else a line about it."""
    words = out.decode().split()
    if not err and (
            (status == stopped and words == [])
            or (status == stopped and words[0] == "start" and words[-1] in ("finally", "end") and "finally" in words)
            or (status == 0 and words == ["start", "imported", "finally", "end"])):
        return ""
    return f"after {moment * 1000:.1f} ms: status {status}, said {words}, stderr {err[-600:]!r}"


def test_any_moment():
    """200 moments from exec to exit of an ordinary process."""
    def check(moment):
        process = start(PYENTRY, WINDOW)
        time.sleep(moment)  # the moment is what is tested
        process.send_signal(TERM)
        status, out, err = finish(process)
        ends.append((status, out))
        return judge(moment, status, out, err, -TERM)

    ends = []
    assert "\n".join(filter(None, gather(check, spread(), AT_ONCE))) == ""
    silent = [out for status, out in ends if not out]
    cleaned = [out for status, out in ends if status == -TERM and b"finally" in out]
    assert len(silent) > 5 and len(cleaned) > 50, "the moments did not cover the start and the middle"


def test_any_moment_as_pid_one(pid_one):
    """200 moments as PID 1 without an init, from the moment its handler stands: never lost, never late."""
    def check(moment):
        process = start(*pid_one, PYENTRY, "--init=never", WINDOW)
        pid = when_guarded(process)
        time.sleep(moment)
        if pid is not None:
            try:
                os.kill(pid, TERM)
            except ProcessLookupError:
                pass  # it has ended already
        return judge(moment, *finish(process), 128 + TERM)

    assert "\n".join(filter(None, gather(check, spread(), AT_ONCE))) == ""


def when_guarded(unshare):
    """The id of the PID 1 of the namespace as soon as it has a SIGTERM handler; None when it is gone."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        pid = first_child(unshare.pid)
        if pid is None:
            if unshare.poll() is not None:
                return None
            continue
        caught = status_field(pid, "SigCgt")
        if caught and int(caught, 16) >> (TERM - 1) & 1 and is_pyentry(pid):
            return pid
    raise AssertionError("PID 1 never had a handler for SIGTERM")


def is_pyentry(pid):
    try:
        return os.path.samefile(f"/proc/{pid}/exe", PYENTRY)
    except OSError:
        return False


def test_the_guard_comes_first():
    """The first handler for SIGTERM stands before pyentry opens a file or reads anything of Python's."""
    calls = traced_calls([PYENTRY, "-c", "pass"], "%file,rt_sigaction")
    guard = next(n for n, call in enumerate(calls) if call.startswith("rt_sigaction(SIGTERM, {"))
    before = [call for call in calls[1:guard] if not of_the_loader(call)]
    assert before == []


def of_the_loader(call):
    """Whether a call is older than main: the loader looks for libraries, an allocator at its machine."""
    name = call.split('"')[1] if '"' in call else ""
    library = ".so" in name or "glibc-hwcaps" in name or ("/lib" in name and "python3" not in name)
    return name == "" or name.startswith("/proc/sys/") or library


def test_the_last_moments():
    """SIGTERM while the interpreter shuts down, in fine steps from the program's last statement on."""
    code = ("import os, json, threading\n"
            "class Late:\n    def __del__(self): [n * n for n in range(20000)]\n"
            "keep = [Late() for n in range(10)]\n"
            "try: os.write(1, b'start\\nimported\\n')\nfinally: os.write(1, b'finally\\nend\\n')\n")

    def check(number):
        process = start(PYENTRY, "-c", code)
        out = b""
        while b"end\n" not in out:
            out += os.read(process.stdout.fileno(), 100)
        time.sleep(number * 0.0005)
        process.send_signal(TERM)
        status, rest, err = finish(process)
        return judge(number * 0.0005, status, out + rest, err, -TERM)

    assert "\n".join(filter(None, gather(check, range(100), 4))) == ""


def end_in_steps(code, count, step):
    """SIGTERM after no, one, two, ... steps of so many seconds: what went wrong."""
    def check(number):
        process = start(PYENTRY, "-c", code)
        assert os.read(process.stdout.fileno(), 100) == b"start\n"
        time.sleep(number * step)
        process.send_signal(TERM)
        status, rest, err = finish(process)
        return judge(number * step, status, b"start\n" + rest, err, -TERM)

    return "\n".join(filter(None, gather(check, range(count), 4)))


def test_while_starting_children():
    """SIGTERM while a program starts and ends children all the time: one clean end, nobody left, no word."""
    code = ("import os, subprocess, sys\n"
            "try:\n    os.write(1, b'start\\n')\n"
            "    while True: subprocess.run(['true'])\n"
            "finally: os.write(1, b'finally\\n')\n")
    assert end_in_steps(code, 60, 0.0037) == ""


@pytest.mark.parametrize("statement, error", [
    ("from _ssl import no_such_name", "ImportError"), ("int('none')", "ValueError"), ("float('none')", "ValueError"),
    ("type('Owner', (), {'name': cached_property(len)})", "ValueError")])
def test_where_the_interpreter_drops_exceptions(statement, error):
    """SIGTERM in what C code calls only to go on, or to raise an error of its own, whatever came of it."""
    code = ("import os\nfrom functools import cached_property\n"
            "try:\n    os.write(1, b'start\\n')\n"
            f"    while True:\n        try: {statement}\n        except {error}: pass\n"
            "finally: os.write(1, b'finally\\n')\n")
    assert end_in_steps(code, 40, 0.0017) == ""


def test_while_an_event_loop_is_busy():
    """SIGTERM between any two steps of busy asyncio tasks: they are cancelled, their finally runs, no loop hangs.

    An exception that the loop itself sees between taking a task's next step and running it loses that task.
    """
    def check(number):
        with Child(PYENTRY, str(PROBES / "blocking.py"), "REPORT", "asyncio_busy", report=True) as child:
            child.report.wait("ready\n")
            time.sleep(number * 0.0017)
            child.send(TERM)
            status = child.wait(timeout=10)
            return status, child.report.all(), child.err.all()

    expected = (-TERM, b"ready\ntask\ncaught 143\nfinally\natexit\n", b"")
    ends = gather(lambda number: attempt(check, number), range(60), 4)
    assert [end for end in ends if end != expected] == []


def test_stopped_and_continued():
    """A SIGTERM that arrives while the process is stopped is handled when it continues."""
    code = "import os, time\ntry: os.write(1, b'start\\n'), time.sleep(600)\nfinally: os.write(1, b'finally\\n')"
    process = start(PYENTRY, "-c", code)
    assert os.read(process.stdout.fileno(), 100) == b"start\n"
    wait_asleep(process.pid)
    for signum in (signal.SIGSTOP, TERM, signal.SIGCONT):
        process.send_signal(signum)
    assert finish(process) == (-TERM, b"finally\n", b"")

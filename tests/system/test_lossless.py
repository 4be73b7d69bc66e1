"""Nothing that was said is lost, doubled, torn or out of order: in slow, full and non-blocking pipes, with
signal handlers running in the middle, from many threads and processes, across fork, at the end.

What cannot be written at all is an error, as under python -u. The programs are in probes/lossless.py.
"""

import contextlib
import fcntl
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

import pytest

from harness import (PROBES, PYENTRY, PYTHON, TIMEOUT, Child, attempt, clean_env, differences, gather, pyentry, run,
                     show, until, wait_asleep)

PROGRAM = str(PROBES / "lossless.py")
TEXT = "\n".join(f"{n:07d}" for n in range((4 << 20) // 8)).encode() + b"\n"


def channel(kind):
    """(our descriptor, theirs) of a small pipe or socket; nonblocking on their side where asked for."""
    if "socket" in kind:
        ours, theirs = (s.detach() for s in socket.socketpair())
    else:
        ours, theirs = os.pipe()
    if "nonblocking" in kind:
        os.set_blocking(theirs, False)
    return ours, theirs


def read_slowly(fd, pause=0.004):
    data = bytearray()
    while piece := os.read(fd, 32768):
        data += piece
        time.sleep(pause)  # what makes it slow, not what it waits for
    os.close(fd)
    return bytes(data)


def slowly(*args, kind="pipe", stream="stdout", program=PYENTRY, meanwhile=None):
    """(status, what arrived slowly on the stream, the other stream) of a probe."""
    ours, theirs = channel(kind)
    other = "stderr" if stream == "stdout" else "stdout"
    options = {stream: theirs, other: subprocess.PIPE, "stdin": subprocess.DEVNULL, "env": clean_env()}
    with subprocess.Popen([program, "-u", PROGRAM, *args], **options) as process:
        guard = threading.Timer(2 * TIMEOUT, process.kill)
        guard.start()
        if meanwhile:
            meanwhile(theirs)
        os.close(theirs)
        data = read_slowly(ours)
        rest = getattr(process, other).read()
        status = process.wait()
        guard.cancel()
        return status, data, rest


def whole(data, expected=TEXT):
    """"" when the bytes are the expected ones, else how they differ."""
    if data == expected:
        return ""
    same = len(os.path.commonprefix([data, expected]))
    return f"{len(data)} bytes for {len(expected)}, first difference at {same}: {data[same:same + 80]!r}"


KINDS = ["pipe", "nonblocking pipe", "socket", "nonblocking socket"]
WAYS = ["print", "pieces", "write", "buffer", "view", "lines", "prints"]


@pytest.mark.parametrize("handlers", [[], ["count"]], ids=["quiet", "200 handlers a second"])
@pytest.mark.parametrize("kind", KINDS)
def test_four_mebibytes(kind, handlers):
    """4 MiB by one call into a slow reader arrive complete and in order, whatever the call and the channel."""
    ways = WAYS if kind == "nonblocking pipe" else ["print", "write", "buffer"]
    results = gather(lambda way: slowly("big", way, *handlers, kind=kind), ways)
    for way, (status, data, ticks) in zip(ways, results):
        assert (status, whole(data)) == (0, ""), way
        assert not handlers or way in ("lines", "prints") or int(ticks) > 20, f"{way}: handlers hardly ran"


def test_the_method_sees_pythons_losses():
    """The check above can fail: python -u loses the rest in the same places."""
    assert whole(slowly("big", "print", kind="nonblocking pipe", program=PYTHON)[1]) != ""
    assert whole(slowly("big", "print", "count", program=PYTHON)[1]) != ""


def test_stderr():
    """The same holds on stderr, for print, logging and a last traceback."""
    cases = [("big", "stderr"), ("big", "stderr", "count"), ("big", "logging"), ("big", "logging", "count")]
    for kind in ("pipe", "nonblocking pipe"):
        results = gather(lambda args: slowly(*args, kind=kind, stream="stderr"), cases)
        assert [(status, whole(data)) for status, data, _ in results] == [(0, "")] * len(cases)
        status, data, _ = slowly("error", kind=kind, stream="stderr")
        assert status == 1 and whole(data[data.index(b"0000000"):]) == ""


def test_a_channel_that_changes_in_between():
    """Another process switches O_NONBLOCK on and off while the text is on its way."""
    stop = threading.Event()

    def toggle(fd):
        other = os.dup(fd)

        def work():
            while not stop.is_set():
                os.set_blocking(other, False)
                os.set_blocking(other, True)
            os.close(other)
        threading.Thread(target=work, daemon=True).start()

    def finish(args):
        threading.Timer(1, stop.set).start()
        return slowly(*args, meanwhile=toggle)

    status, data, _ = finish(("big", "print"))
    assert (status, whole(data)) == (0, "")


def test_a_handler_that_prints():
    """A signal handler that prints in the middle: the text stays whole around its lines, none is missing."""
    for kind in ("pipe", "nonblocking pipe"):
        status, data, ticks = slowly("big", "print", "speak", kind=kind)
        said = re.findall(rb"<tick (\d+)>\n", data)
        assert status == 0 and whole(re.sub(rb"<tick \d+>\n", b"", data)) == ""
        assert len(said) == int(ticks) > 3 and said == sorted(said, key=int)


def test_a_handler_that_raises():
    """A handler's exception reaches the program, and the rest of the text follows before anything else."""
    for kind in ("pipe", "nonblocking pipe"):
        status, data, rest = slowly("raising", "print", kind=kind)
        assert (status, whole(data, TEXT + b"stopped\n"), rest) == (0, "", b"")
        status, data, rest = slowly("raising", "exit", kind=kind)
        assert (status, whole(data), rest) == (0, "", b"stopped\n")
        status, data, rest = slowly("raising", "raise", kind=kind)
        assert (status, whole(data)) == (1, "") and rest.endswith(b"Stop\n")


def test_handlers_that_run_at_the_end():
    """A timer that runs on while the rest of an interrupted text is written at the exit does not cut it off again."""
    for kind in ("pipe", "nonblocking pipe"):
        status, data, rest = slowly("ticking", kind=kind)
        assert (status, whole(data)) == (-signal.SIGINT, "") and rest.count(b"Traceback") == 1, rest


def test_ctrl_c_while_the_reader_reads_nothing(tmp_path):
    """It ends the program, as under python, and what it cut off does not hold that up; a second one adds no words."""
    codes = ["while True: print('x' * 100)", "print('x' * 1000000)", "print('x' * 1000000, 5)"]

    def interrupt(case):
        arguments, times = case
        ours, theirs = channel("pipe")
        with Child(PYENTRY, *arguments, stdout=theirs) as child:
            os.close(theirs)
            until(lambda: waiting_bytes(ours) > 60000, "the pipe is full")
            for _ in range(times):
                wait_asleep(child.pid)
                child.send(signal.SIGINT)
            status, said = child.wait(), child.err.all()
        os.close(ours)
        return status, said[:9], said[-19:], said.count(b"KeyboardInterrupt")

    files = [tmp_path / f"{number}.py" for number in range(len(codes))]
    for path, code in zip(files, codes):
        path.write_text(code)
    cases = [(arguments, times) for arguments in [*(["-c", code] for code in codes), *([path] for path in files)]
             for times in (1, 2)]
    expected = (-signal.SIGINT, b"Traceback", b"\nKeyboardInterrupt\n", 1)
    ends = gather(lambda case: attempt(interrupt, case), cases)
    assert [end for end in ends if end != expected] == []


def test_a_reader_that_goes_away_at_the_end():
    """Before the rest of an interrupted text is written: that this failed shows in the status, as under python."""
    code = ("import signal, sys, time\n"
            "def stop(*args): raise KeyboardInterrupt\n"
            "signal.signal(signal.SIGALRM, stop)\nsignal.setitimer(signal.ITIMER_REAL, 0.1)\n"
            "try: print('x' * 1000000)\n"
            "except KeyboardInterrupt: print('caught', file=sys.stderr)\nsys.stdin.readline()\n")
    ours, theirs = channel("pipe")
    with Child(PYENTRY, "-c", code, stdout=theirs) as child:
        os.close(theirs)
        child.err.wait("caught\n")
        os.close(ours)
        child.type("\n")
        assert child.wait() == 120
        assert b"BrokenPipeError" in child.err.all()


def test_sigterm_in_the_middle():
    """SIGTERM while a text is on its way to a slow reader: all of it arrives, then what clean-up says."""
    for kind in ("pipe", "nonblocking pipe"):
        status, data, rest = slowly("terminated", kind=kind)
        assert (status, whole(data, TEXT + b"cleaned\n"), rest) == (-signal.SIGTERM, "", b"")


def line(who, n):
    return f"{who}:{n}:".encode() + bytes([97 + n % 26]) * (200 + (n * 7919 + who * 31) % 800)


def torn(data, writers, each):
    """What is wrong where the lines should be those of the writers, each once and each writer's in order."""
    lines = data.split(b"\n")
    if lines.pop() != b"":
        return ["no newline at the end"]
    if sorted(lines) == sorted(line(who, n) for who in range(writers) for n in range(each)):
        order = {who: [found for found in lines if found.startswith(b"%d:" % who)] for who in range(writers)}
        return [who for who in order if order[who] != [line(who, n) for n in range(each)]]
    good = {line(who, n) for who in range(writers) for n in range(each)}
    bad = [found[:100] for found in lines if found not in good]
    return bad[:5] or [f"{len(lines)} lines, expected {writers * each}"]


def test_threads():
    """8 threads x 5000 lines of 200 to 1000 bytes into one pipe: no torn, lost or doubled line."""
    done = pyentry(PROGRAM, "threads", "8", "5000", timeout=2 * TIMEOUT)
    assert (done.returncode, done.stderr, torn(done.stdout, 8, 5000)) == (0, b"", [])


def test_processes():
    """4 processes x 5000 lines of 200 to 1000 bytes into one pipe: no torn, lost or doubled line."""
    done = pyentry(PROGRAM, "processes", "4", "5000", timeout=2 * TIMEOUT)
    assert (done.returncode, done.stderr, torn(done.stdout, 4, 5000)) == (0, b"", [])


def test_threads_and_processes_into_slow_channels():
    """The same into slow and non-blocking channels, where every writer has to wait."""
    cases = [("pipe", "threads"), ("pipe", "processes"), ("nonblocking pipe", "threads"),
             ("nonblocking pipe", "processes"), ("nonblocking socket", "threads")]
    results = gather(lambda case: slowly(case[1], "4", "500", kind=case[0]), cases)
    assert [(status, torn(data, 4, 500)) for status, data, _ in results] == [(0, [])] * len(cases)


def test_long_texts_of_threads():
    """Texts far longer than PIPE_BUF, from four threads at once, come one after the other."""
    for kind in ("pipe", "nonblocking pipe"):
        status, data, _ = slowly("blocks", "4", "4", "200000", kind=kind)
        expected = sorted([bytes([65 + who]) * 200000 + b" end %d" % who for who in range(4)] * 4)
        assert status == 0 and sorted(data.splitlines()) == expected


@pytest.mark.parametrize("exits", ["os", "sys"])
def test_fork_while_threads_print(exits):
    """Children forked while other threads print: they can print, and no line appears twice or is lost."""
    for kind in ("pipe", "nonblocking pipe"):
        status, data, rest = slowly("forks", "40", exits, kind=kind)
        lines = data.splitlines()
        children = [found for found in lines if found.startswith(b"child ")]
        assert (status, rest) == (0, b"")
        assert sorted(children) == sorted(b"child %d" % n for n in range(40))
        assert torn(b"".join(found + b"\n" for found in lines if found not in children), 4, 300) == []


def test_fork_in_the_middle_of_a_print():
    """fork in a handler, in an except clause and in __str__ during a print: each text exactly once."""
    status, data, _ = slowly("big", "print", "child")
    assert status == 0 and data.count(b"<child>\n") == 1 and whole(data.replace(b"<child>\n", b"")) == ""
    status, data, _ = slowly("raising", "fork")
    assert data.count(b"child\n") == 1  # where it stands is up to the two processes
    assert (status, whole(data.replace(b"child\n", b""), TEXT + b"stopped\n")) == (0, "")
    assert pyentry(PROGRAM, "fork_in_str").stdout == b"child here\nit is parent here\n"


def test_other_threads_run_while_print_waits():
    """While print waits for a full pipe the GIL is free."""
    with Child(PYENTRY, PROGRAM, "busy", stdout=(ends := os.pipe())[1]) as child:
        os.close(ends[1])
        child.err.wait("working")
        assert whole(read_slowly(ends[0], 0), b"".join(b"%07d\n" % n for n in range((1 << 20) // 8))) == ""
        assert child.wait() == 0


def test_asyncio_pipe():
    """asyncio made stdout non-blocking: prints are complete still."""
    status, data, rest = slowly("asyncio_pipe")
    assert (status, whole(data), rest) == (0, "", b"")


CLOSED_READER = ["""
for n in range(100000): print("x" * 100)
""", """
print("x" * (4 << 20))
""", """
import sys
while True: sys.stdout.write("x" * 100)
""", """
import sys
while True: sys.stdout.buffer.write(b"x" * 100)
""", """
try:
    while True: print("x" * 100)
except BrokenPipeError: raise SystemExit(7)
""", """
try:
    while True: print("x" * 100)
except BrokenPipeError: pass
""", """
import signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
while True: print("x" * 100)
""", """
import threading
def work():
    while True: print("x" * 100)
thread = threading.Thread(target=work, name="t")
thread.start()
thread.join()
"""]


def test_closed_reader():
    """A reader that went away is BrokenPipeError, with the status and the last words of python -u."""
    def read_a_little(case):
        program, code = case
        with Child(program, "-u", "-c", code, stdout=(ends := os.pipe())[1]) as child:
            os.close(ends[1])
            os.read(ends[0], 10)
            os.close(ends[0])
            return child.wait(), child.err.all()

    results = gather(read_a_little, [(p, code) for code in CLOSED_READER for p in (PYTHON, PYENTRY)])
    assert results[1::2] == results[::2]


def test_closed_reader_of_stderr():
    """An uncaught error whose reader went away ends the program with python's status."""
    for code in ("1/0", "import sys; sys.exit('words')", "import logging; logging.warning('x')",
                 "import warnings; warnings.warn('x')"):
        status = []
        for program in (PYTHON, PYENTRY):
            ends = os.pipe()
            os.close(ends[0])
            status.append(run([program, "-u", "-c", code], stderr=ends[1]).returncode)
            os.close(ends[1])
        assert status[1] == status[0], code


def test_full_device():
    """/dev/full is OSError as under python -u; a program that catches it goes on."""
    full = os.open("/dev/full", os.O_WRONLY)
    codes = ["print('x')", "print('x', 'y', flush=True)", "import sys; sys.stdout.write('x')",
             "import sys; sys.stdout.buffer.write(b'x')", "import atexit; atexit.register(print, 'x')",
             "import sys\ntry: print('x')\nexcept OSError as e: sys.exit(e.errno)",
             "import threading; t = threading.Thread(target=print, args=('x',), name='t'); t.start(); t.join()"]
    found = differences([(code, ["-c", code], {"stdout": full}) for code in codes])
    codes = ["1/0", "import sys; sys.stderr.write('x')"]
    found.update(differences([(code, ["-c", code], {"stderr": full}) for code in codes]))
    os.close(full)
    assert not found, show(found)


def test_a_file_that_may_not_grow(tmp_path):
    """Where the kernel takes a part and then refuses, the part is kept and the refusal is raised."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    with open(tmp_path / "out", "wb") as out:
        done = pyentry("-c", "print('x' * 600, 'y' * 600)", stdout=out, preexec_fn=limit)
    assert (tmp_path / "out").read_bytes() == b"x" * 600 + b" " + b"y" * 399
    assert done.returncode == 1 and b"OSError: [Errno 27]" in done.stderr


def test_the_end_does_not_wait_for_a_daemon_thread():
    """A daemon thread that waits in print for a full pipe does not keep the program, as under python -u."""
    code = ("import threading\n"
            "threading.Thread(target=print, args=('x' * (1 << 20),), daemon=True).start()\n"
            "input()\n")
    ours, theirs = channel("pipe")
    with Child(PYENTRY, "-c", code, stdout=theirs) as child:
        os.close(theirs)
        until(lambda: waiting_bytes(ours) == 65536, "the pipe is full")
        child.type("\n")
        assert child.wait() == 0
        os.close(ours)


def waiting_bytes(fd):
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def test_output_of_a_program_that_was_stopped_and_continued():
    """SIGSTOP and SIGCONT in the middle of a text: nothing is lost."""
    ours, theirs = channel("pipe")
    with Child(PYENTRY, PROGRAM, "big", "print", "count", stdout=theirs) as child:
        os.close(theirs)
        until(lambda: waiting_bytes(ours) == 65536, "the pipe is full")
        for _ in range(5):
            child.send(signal.SIGSTOP)
            child.send(signal.SIGCONT)
        assert whole(read_slowly(ours)) == ""
        assert child.wait() == 0


def test_exit_status_is_kept_when_output_is_slow():
    """The status of a program whose last words take long is its own."""
    ours, theirs = channel("nonblocking pipe")
    with Child(PYENTRY, "-c", "import sys; print('x' * 300000); sys.exit(5)", stdout=theirs) as child:
        os.close(theirs)
        assert len(read_slowly(ours)) == 300001
        assert child.wait() == 5


def test_pyentrys_own_lines_wait_for_a_full_pipe():
    """On a full non-blocking stderr the line is there once somebody reads; where nobody does the end is not held up."""
    for reads in (True, False):
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(writer, b"x" * 4096):
                pass
        with subprocess.Popen([PYENTRY, "--term-status=999"], stderr=writer, env=clean_env()) as child:
            os.close(writer)
            if reads:
                wait_asleep(child.pid)
                with open(reader, "rb", closefd=False) as stream:
                    assert stream.read().lstrip(b"x").startswith(b"pyentry: --term-status=")
            assert child.wait(30) == 2
        os.close(reader)

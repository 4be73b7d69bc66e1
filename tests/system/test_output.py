"""One thing said is one write(2): a print, a log line, a traceback, a warning, in any thread.

The programs are in probes/single_writes.txt. A SOCK_SEQPACKET socket in the place of a stream keeps each
write as one record, so that boundaries and bytes can both be checked; strace confirms the count for pipes,
files and terminals.
"""

import os
import pty
import zipfile

import pytest

from harness import (PYENTRY, PYTHON, VERSION, Stream, clean_env, gather, outcome, pyentry, records, run, sections,
                     stock, traced_writes, without_names, write_tree)

CASES = {}
for _title, _code in sections("single_writes.txt").items():
    _stream, _count = _code.split("\n")[0].split()[1:]
    CASES[_title] = (_stream, int(_count), _code)
if VERSION < (3, 10):
    del CASES["uncaught error at exit"]  # 3.9 writes it by itself, in pieces, and asks no hook


def said(case):
    """(number of writes expected, number seen, bytes expected, bytes seen) of one program."""
    stream, count, code = case
    _, seen = records([PYENTRY, "-c", code], which=(stream,))
    expected = getattr(stock("-u", "-c", code), stream)
    return count, len(seen), without_names(expected), without_names(b"".join(seen))


def test_one_write_each():
    """Each program's output reaches the kernel in the promised number of writes, with python's bytes."""
    results = dict(zip(CASES, gather(said, CASES.values())))
    torn = {title: result[:2] for title, result in results.items() if result[0] != result[1]}
    other = {title: result[2:] for title, result in results.items() if result[2] != result[3]}
    assert torn == {}, "number of writes (expected, seen)"
    assert other == {}, "bytes (python's, pyentry's)"


def test_the_method_sees_pythons_writes():
    """The check above can fail: python -u does write a print in pieces."""
    assert len(records([PYTHON, "-u", "-c", "print('a', 'b')"])[1]) == 4


CORE = ["print of one value", "print of two values", "print without an end", "logging.warning", "uncaught error",
        "sys.stderr.write", "print in another thread", "logging in another thread", "uncaught error in a thread",
        "error in __del__", "warnings.warn", "warning from C before warnings was imported"]


@pytest.mark.parametrize("place", ["pipe", "file", "terminal"])
def test_writes_counted_by_strace(place, tmp_path):
    """The same as the kernel sees it, for each kind of file that a stream can be."""
    def count(title):
        stream, expected, code = CASES[title]
        done, found = traced_writes([PYENTRY, "-c", code], **streams(place, tmp_path / title.replace(" ", "_")))
        number = {"stdout": 1, "stderr": 2}[stream]
        return title, [fd for fd, _ in found] == [number] * expected, found, done.returncode

    wrong = [result for result in gather(count, CORE) if not result[1]]
    assert wrong == []


def streams(place, path):
    """Options for run() that make stdout and stderr a pipe, a file or a terminal."""
    if place == "pipe":
        return {}
    if place == "file":
        file = open(path, "wb")
        return {"stdout": file, "stderr": file}
    ours, theirs = pty.openpty()
    Stream(ours)  # keeps the terminal drained
    return {"stdout": theirs, "stderr": theirs}


def test_a_print_is_out_when_print_returns():
    """A program killed right after a print has said it: SIGKILL, os._exit and a crash lose nothing."""
    ends = ["os._exit(0)", "os.kill(os.getpid(), 9)", "os.execv('/bin/true', ['true'])",
            "import faulthandler; faulthandler.disable(); os.abort()"]
    program = ("import os, sys\nprint('a', 'b')\nprint('c', end='')\nprint('d', file=sys.stderr)\n"
               "sys.stdout.write('e')\n")

    def end(code):
        done = pyentry("-c", program + code)
        return done.stdout, done.stderr

    assert gather(end, ends) == [(b"a b\nce", b"d\n")] * len(ends)


def test_the_order_of_stdout_and_stderr():
    """What goes to stdout and to stderr arrives in the order in which it was said."""
    code = ("import sys, logging\nfor n in range(50):\n    print('out', n)\n    print('err', n, file=sys.stderr)\n"
            "    logging.warning('log')\n    sys.stdout.write('w')\n1/0\n")
    _, seen = records([PYENTRY, "-c", code], which=("stdout", "stderr"))
    expected = b"".join(b"out %d\nerr %d\nWARNING:root:log\nw" % (n, n) for n in range(50))
    assert b"".join(seen[:-1]) == expected
    assert seen[-1].startswith(b"Traceback") and seen[-1].endswith(b"ZeroDivisionError: division by zero\n")


def test_tracebacks_of_every_kind_of_target(tmp_path):
    """An uncaught error is one write from a file, a module, a package, a zip, stdin, and in a spawned child."""
    failing = "def f():\n    1/0\n\n\nf()\n"
    write_tree(tmp_path, {"prog.py": failing, "pkg/__init__.py": "", "pkg/__main__.py": failing, "bad.py": "x = (\n"})
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.write(tmp_path / "prog.py", "__main__.py")
    targets = [["prog.py"], ["-m", "prog"], ["-m", "pkg"], ["app.zip"], ["bad.py"], ["-m", "bad"],
               ["-X", "dev", "prog.py"], ["-E", "-s", "prog.py"], ["-O", "-m", "prog"]]

    def seen(args):
        return records([PYENTRY, *args], which=("stderr",), cwd=tmp_path)

    for args, (status, found) in zip(targets, gather(seen, targets)):
        expected = run([PYTHON, *args], cwd=tmp_path)
        assert (status, len(found)) == (1, 1), (args, found)
        assert without_names(found[0]) == without_names(expected.stderr), args
    with open(tmp_path / "prog.py") as script:
        status, found = records([PYENTRY], which=("stderr",), stdin=script)
    assert (status, len(found)) == (1, 1)


def test_early_warnings():
    """Warnings from the command line's own code and from -X dev are whole lines too."""
    code = "x = 1 is 1"
    for args in (["-c", code], ["-W", "always", "-c", "x = '\\d'"], ["-S", "-c", code], ["-I", "-c", code],
                 ["-X", "dev", "-c", "open('/dev/null'); pass"], ["-W", "nonsense", "-c", "pass"],
                 ["-b", "-W", "always", "-c", "b'' == ''"]):
        expected = stock(*args).stderr
        _, found = records([PYENTRY, *args], which=("stderr",))
        assert without_names(b"".join(found)) == without_names(expected), args
        warnings = expected.count(b"Warning:") + expected.count(b"Invalid -W")
        assert len(found) <= max(1, warnings), (args, found)


def test_interleaved_threads_write_whole_records():
    """Eight threads that print to stdout and log to stderr at once: each record is one whole line."""
    code = """
import logging, threading
def work(name):
    for n in range(200):
        print(name, n, 'p' * (n % 50), sep=':')
        logging.warning('%s %d', name, n)
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for t in threads: t.start()
for t in threads: t.join()
"""
    status, seen = records([PYENTRY, "-c", code], which=("stdout", "stderr"))
    assert status == 0 and len(seen) == 8 * 200 * 2
    prints = {b"%d:%d:%s\n" % (i, n, b"p" * (n % 50)) for i in range(8) for n in range(200)}
    logs = {b"WARNING:root:%d %d\n" % (i, n) for i in range(8) for n in range(200)}
    assert set(seen) == prints | logs


def on_a_terminal(argv):
    ours, theirs = pty.openpty()
    stream = Stream(ours)
    done = run(argv, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return done.returncode, stream.all()


def test_terminal():
    """On a terminal the streams say and do what they do under python -u."""
    code = "import sys; print(sys.stdout.isatty(), sys.stdout.line_buffering); print('a\\nb', 'c', end='')"
    ours = on_a_terminal([PYENTRY, "-c", code])
    assert ours == on_a_terminal([PYTHON, "-u", "-c", code])
    assert ours[1].endswith(b"\r\na\r\nb c")


CAPTURE = """
import os, subprocess, sys


def test_capsys(capsys):
    print("a", "b")
    print("e", file=sys.stderr)
    assert capsys.readouterr() == ("a b\\n", "e\\n")


def test_capfd(capfd):
    print("a", "b")
    os.write(1, b"c")
    subprocess.run(["echo", "d"])
    assert capfd.readouterr().out == "a b\\ncd\\n"


def test_fails():
    print("shown", "once")
    assert 0
"""


def test_pytest_of_the_embedded_python(tmp_path):
    """pytest's capture works, by sys, by descriptor and off: the same passes and the same captured text."""
    write_tree(tmp_path, {"test_x.py": CAPTURE})
    for capture in ("sys", "fd", "no", "tee-sys"):
        args = ["-m", "pytest", "-p", "no:cacheprovider", "-q", f"--capture={capture}", "test_x.py"]
        done = [run([p, "-u", *args], cwd=tmp_path, env=clean_env(COLUMNS="80")) for p in (PYTHON, PYENTRY)]
        theirs, ours = ({**outcome(d), "stdout": d.stdout.split(b" in 0.")[0]} for d in done)
        assert ours == theirs, capture

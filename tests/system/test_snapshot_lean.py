"""What is done before the snapshot, so that no start has to do it: nobody can tell."""

import json
import os
import pty
import socket
import subprocess

import pytest

from harness import PYENTRY, clean_env, run
from snapshots import needed, preloading, said, take

pytestmark = needed

snap = preloading("json,asyncio,decimal")


# Of sys.stdout and sys.stderr, into the file that the environment names.
REPORT = """
import json, os, sys
def ask(question):
    try:
        return question()
    except OSError as error:
        return error.errno
with open(os.environ["REPORT"], "w") as file:
    json.dump([[one.name, one.isatty(), one.line_buffering, one.seekable(), one.buffer.seekable(), ask(one.tell),
                one.buffer.fileno(), one.encoding, one.errors, one.writable(), one.buffer.name]
               for one in (sys.stdout, sys.stderr)], file)
print("out")
print("err", file=sys.stderr)
"""


def kinds(directory):
    """{kind of file: (descriptor to write to, descriptors to close)}"""
    master, terminal = pty.openpty()
    one, other = socket.socketpair()
    reader, pipe = os.pipe()
    (directory / "old").write_text("before")
    file = os.open(directory / "new", os.O_WRONLY | os.O_CREAT)
    more = os.open(directory / "old", os.O_WRONLY | os.O_APPEND)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    return {"pipe": (pipe, [pipe, reader]), "socket": (one.detach(), [other.detach()]), "terminal": (terminal, [terminal, master]),
            "file": (file, [file]), "appending": (more, [more]), "null": (nowhere, [nowhere])}


@pytest.mark.parametrize("taken", ["pipe", "file", "terminal"])
def test_streams(taken, tmp_path):
    """The standard streams are those of the new process, whatever those of the builder were."""
    builder = kinds(tmp_path)[taken][0]
    command = [PYENTRY, "--snapshot", "-o", tmp_path / "a.snap", "--preload", "json"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, stdout=builder, stderr=builder, env=clean_env()).returncode == 0
    for kind in kinds(tmp_path):
        for words in ({}, {"stderr": subprocess.STDOUT}, {"stderr": subprocess.PIPE}, {"stderr": subprocess.DEVNULL}):
            reports = []
            for options in ([], ["--restore-or-fail", f"--restore={tmp_path / 'a.snap'}"]):
                target, rest = kinds(tmp_path)[kind]
                report = tmp_path / "report"
                subprocess.run([PYENTRY, *options, "-c", REPORT], stdin=subprocess.DEVNULL, check=True, timeout=60,
                               env=clean_env(REPORT=str(report)), stdout=target, **{"stderr": target, **words})
                reports.append(json.loads(report.read_text()))
                for descriptor in {target, *rest}:
                    os.close(descriptor)
            assert reports[0] == reports[1], (kind, words)


def test_builder_without_streams(tmp_path):
    """What is closed for the builder is open for those who start."""
    script = f"'{PYENTRY}' --snapshot -o '{tmp_path / 'a.snap'}' --preload json <&- >&- 2>&-"
    assert run(["sh", "-c", script]).returncode == 0
    code = "import sys; print(sys.stdin.read(), file=sys.stderr); print('out')"
    done = run([PYENTRY, "--restore-or-fail", f"--restore={tmp_path / 'a.snap'}", "-c", code], input=b"in")
    assert (done.stdout, done.stderr) == (b"out\n", b"in\n")


def test_mark_at_the_beginning(tmp_path):
    """An encoding that begins with a mark begins with it in each process."""
    env = clean_env(PYTHONIOENCODING="utf-8-sig")
    take(tmp_path / "a.snap", "--preload", "json", env=env)
    plain = run([PYENTRY, "-c", "print('hi')"], env=env).stdout
    assert said(tmp_path / "a.snap", "-c", "print('hi')", env=env).encode() == plain


def test_both_on_one_pipe(snap):
    """Lines of two threads to stdout and stderr do not get into each other where both are one pipe."""
    code = ("import sys, threading\n"
            "def write(file):\n    for _ in range(300):\n        print('x' * 7000, file=file)\n"
            "threads = [threading.Thread(target=write, args=(file,)) for file in (sys.stdout, sys.stderr)]\n"
            "[one.start() for one in threads]; [one.join() for one in threads]")
    done = subprocess.run([PYENTRY, "--restore-or-fail", f"--restore={snap}", "-c", code], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=clean_env(), timeout=60)
    assert done.stdout.split() == [b"x" * 7000] * 600


def test_new_objects_lie_together(snap):
    """Small objects come from one arena, where they would fill the gaps of all that were there. What the start itself has
    freed elsewhere is used again."""
    code = ("new = [bytes(n) for n in range(2, 400, 16)]; arenas = [id(one) >> 20 for one in new];"
            "print(max(map(arenas.count, arenas)) / len(new))")
    assert float(said(snap, "-c", code)) > 2 / 3


@pytest.mark.parametrize("allocator", ["malloc", "pymalloc_debug", "debug"])
def test_other_allocators(allocator, tmp_path):
    """Where Python's own allocator serves nobody, or not all, there is nothing to fill."""
    env = clean_env(PYTHONMALLOC=allocator)
    take(tmp_path / "a.snap", "--preload", "json", env=env)
    assert said(tmp_path / "a.snap", "-c", "print(len([bytes(n) for n in range(600)]))", env=env) == "600\n"


GROWING = """
import mmap
numbers = list(range(100_000))
data = bytearray(b"x" * 1_000_000)
# Pages that begin as such a block does, of sizes that are none.
alike = b"".join((bytes(8) + (size | 2).to_bytes(8, "little")).ljust(4096, b"y")
                 for size in (0, 4096, 8192, 12288, 1 << 40, 2 ** 64 - 4096, 2 ** 64 - 8192, 2 ** 64 - (1 << 40))) * 20
place = mmap.mmap(-1, len(alike), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
place[:] = alike
words = {str(n): n for n in range(50_000)}
long, short = list(range(1_000_000)), bytearray(b"z" * 400_000)
"""

GROW = """
from growing import *
numbers.extend(range(100_000, 3_000_000))
assert numbers == list(range(3_000_000))
data.extend(bytes(50_000_000))
assert data == b"x" * 1_000_000 + bytes(50_000_000)
words.update({str(n): n for n in range(50_000, 300_000)})
assert list(words.values()) == list(range(300_000))
assert place[:] == alike
del long[100_000:]
long.extend(range(100_000, 5_000_000))
assert long == list(range(5_000_000))
for left in (3000, 100, 0):
    del short[left:]
    short.extend(bytes(70_000_000))
    assert short == b"z" * left + bytes(70_000_000)
print("well")
"""


def test_large_objects_grow(tmp_path):
    """What the C library mapped for one object is in the file, and is not made longer there, not even when it was made
    shorter before."""
    (tmp_path / "growing.py").write_text(GROWING)
    take(tmp_path / "a.snap", "--preload", "growing", cwd=tmp_path)
    assert said(tmp_path / "a.snap", "-c", GROW, cwd=tmp_path) == "well\n"


WIPED = """
import mmap
page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
page.madvise(18)  # MADV_WIPEONFORK
page[0] = 1
"""

FORKED = """
import os, wiped
print(wiped.page[0], flush=True)
wiped.page[0] = 2
pid = os.fork()
if pid == 0:
    print(wiped.page[0], flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(wiped.page[0])
"""


def test_memory_that_is_wiped_in_children(tmp_path):
    """A start is a child of a fork, and so are those that it forks: libraries see it by such a page, and seed anew."""
    (tmp_path / "wiped.py").write_text(WIPED)
    take(tmp_path / "a.snap", "--preload", "wiped", cwd=tmp_path)
    assert said(tmp_path / "a.snap", "-c", FORKED, cwd=tmp_path) == "0\n0\n2\n"


HOOKS = {
    "a closure": "def make():\n    own = threading._after_fork\n    return lambda: own()\n"
                 "threading._after_fork = make()\n",
    "no function": "import functools\nthreading._after_fork = functools.partial(threading._after_fork)\n",
    "an audit hook": "import sys\ndef refuse(event, arguments):\n    if event == 'object.__setattr__':\n"
                     "        raise PermissionError(event)\nsys.addaudithook(refuse)\n",
    "much output": "import os\nos.register_at_fork(after_in_child=lambda: print('x' * 300_000))\n",
}


@pytest.mark.parametrize("name", HOOKS)
def test_hooks_of_others(name, tmp_path):
    """Whatever an app does to threading's hook, and its own hooks do, a snapshot can be taken."""
    (tmp_path / "app.py").write_text("import threading\n" + HOOKS[name])
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path, timeout=30)
    assert said(tmp_path / "a.snap", "-c", "print('well')").endswith("well\n")


FORKING = """
import os, threading, warnings
warnings.simplefilter("ignore")  # from 3.12 on, fork warns
busy = []
def hook():
    if busy:
        return
    busy.append(True)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    pid = os.fork()
    if pid == 0:
        with open("seen", "w") as file:
            print([one.name for one in threading.enumerate()], file=file)
        os._exit(0)
    os.waitpid(pid, 0)
    stop.set()
    thread.join()
    busy.clear()
os.register_at_fork(after_in_child=hook)
"""


def test_hook_that_forks(tmp_path):
    """threading's hook is in place again when the app's hooks run."""
    (tmp_path / "app.py").write_text(FORKING)
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    (tmp_path / "seen").unlink()
    assert said(tmp_path / "a.snap", "-c", "pass", cwd=tmp_path) == ""
    assert (tmp_path / "seen").read_text() == "['MainThread']\n"


WARM = """
import sys
def warm():
    with open("seen", "a") as file:
        print(sys.argv, getattr(sys, "orig_argv", None), file=file)
"""


def test_both_warm_ups_see_one_command_line(tmp_path):
    (tmp_path / "app.py").write_text(WARM)
    take(tmp_path / "a.snap", "--preload", "app", "--warm-up", "app:warm", "-m", "json.tool", "a", "b", cwd=tmp_path)
    first, second = (tmp_path / "seen").read_text().splitlines()
    assert first == second


FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")  # from 3.12 on, fork warns
stop = threading.Event()
worker = threading.Thread(target=stop.wait, name="worker")
worker.start()
print([one.name for one in threading.enumerate()], flush=True)
pid = os.fork()
if pid == 0:
    print([one.name for one in threading.enumerate()], worker.is_alive(), threading.current_thread().ident ==
          threading.get_ident(), threading._after_fork.__code__.co_name, flush=True)
    again = threading.Thread(target=print, args=("again",))
    again.start()
    again.join()
    os._exit(0)
os.waitpid(pid, 0)
stop.set()
worker.join()
"""


POOL = """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
assert list(pool.map(abs, [-1, -2])) == [1, 2]
"""


@pytest.mark.parametrize("app", ["", POOL], ids=["alone", "pool"])
def test_threads_of_forked_children(app, tmp_path):
    """threading's own function for children of fork does its work, at the start where there is something to do, and later."""
    (tmp_path / "app.py").write_text("import threading\n" + app)
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    plain = run([PYENTRY, "-c", FORK]).stdout.decode()
    assert said(tmp_path / "a.snap", "-c", FORK) == plain
    assert plain.splitlines()[1] == "['MainThread'] False True _after_fork"

"""pyentry --snapshot: what goes in, what is told, and what is refused, by name."""

import os
import re
import signal
import stat
import subprocess
import time

import pytest

from harness import PYENTRY, clean_env, is_gone, run, until
from snapshots import needed, said, start, take, try_to_take

pytestmark = needed


def app(tmp_path, text):
    (tmp_path / "app.py").write_text(text)
    return tmp_path


def refused(tmp_path, text, *words):
    """The line that refuses a snapshot of an app of this text; nothing may be left behind."""
    before = set(os.listdir(app(tmp_path, text)))
    done = try_to_take(tmp_path / "a.snap", *(words or ("--preload", "app")), cwd=tmp_path)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert {name for name in os.listdir(tmp_path) if "snap" in name} == {n for n in before if "snap" in n}
    return done.stderr.decode()


REFUSED = [
    ("connected socket", "import socket\nl = socket.create_server(('127.0.0.1', 0))\ns = socket.create_connection("
     "l.getsockname())\nl.close()", r"descriptor \d+ is a socket \(<socket.socket .*close it before"),
    ("listening socket", "import socket\nl = socket.create_server(('127.0.0.1', 0))",
     r"is a listening socket.*listen in the program itself"),
    ("thread", "import threading, time\ndef work():\n    time.sleep(60)\nthreading.Thread(target=work, daemon=True,"
     " name='worker').start()", r"the thread 'worker' runs: stop it(.|\n)*in work"),
    ("busy executor", "from concurrent.futures import ThreadPoolExecutor\nimport time\nat = ThreadPoolExecutor(1)\n"
     "at.submit(time.sleep, 1.5)", r"the thread 'ThreadPoolExecutor-0_0' runs"),
    ("thread without an object", "import _thread, time\n_thread.start_new_thread(time.sleep, (60,))\ntime.sleep(0.2)",
     r"the thread of _thread.start_new_thread\(\) runs"),
    ("timer", "import signal\nsignal.alarm(100)", r"a timer runs \(.*alarm\): set it in a function given"),
    ("memory kept from children", "import mmap\nm = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
     "m.madvise(10)  # MADV_DONTFORK", r"the memory at [0-9a-f-]+ is kept from children"),
    ("child", "import subprocess\nchild = subprocess.Popen(['sleep', '5'], stdout=-3, stderr=-3)", r"the child process \d+ \(sleep\) runs"),
    ("orphan", "import os, time\nos.system('sleep 5 >/dev/null 2>&1 </dev/null &')\ntime.sleep(0.3)",
     r"the child process \d+ \(sleep\) runs, or was not waited for: end it"),
    ("half a pipe", "import os\nr, w = os.pipe()\nos.close(w)",
     r"is an end of a pipe whose other end"),
    ("pipe of packets", "import os\nr, w = os.pipe2(os.O_DIRECT)\nos.write(w, b'x')", r"is a pipe with packets in it"),
    ("full pipe", "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(w, 1031, 1 << 17)\nos.write(w, bytes(100_000))",
     r"is a pipe with much data in it"),
    ("half a pair", "import socket\na, b = socket.socketpair()\nb.close()", r"is a (socket|Unix socket)"),
    ("pair that is shut down", "import socket\na, b = socket.socketpair()\na.shutdown(socket.SHUT_WR)",
     r"is a socket whose other end is shut down"),
    ("pair of which one only reads", "import socket\na, b = socket.socketpair(type=socket.SOCK_DGRAM)\n"
     "a.shutdown(socket.SHUT_WR)", r"is a socket whose other end is not here"),
    ("socket without another end", "import socket\na = socket.socket(socket.AF_UNIX)",
     r"is a socket whose other end is not here"),
    ("terminal", "import os\nmaster, slave = os.openpty()", r"is an end of a terminal, /dev/(pts/)?ptmx"),
    ("file of the process", "f = open('/proc/self/status')", r"is a file of this process, /proc/\d+/status"),
    ("epoll with a closed number", "import os, select\nr, w = os.pipe()\np = select.epoll()\np.register(r)\n"
     "s = os.dup(r)\nos.close(r)", r"is an epoll that watches the descriptor \d+, which is not of the snapshot"),
    ("deleted file", "import tempfile\nf = tempfile.TemporaryFile()", r"is a deleted file"),
    ("memfd", "import os\nfd = os.memfd_create('x')", r"is a memfd"),
    ("inotify", "import ctypes\nfd = ctypes.CDLL(None).inotify_init()",
     r"is anon_inode:inotify: it cannot be made again"),
    ("timerfd", "import ctypes\nfd = ctypes.CDLL(None).timerfd_create(1, 0)", r"is anon_inode:\[timerfd\]"),
    ("signalfd", "import ctypes\nfd = ctypes.CDLL(None).signalfd(-1, bytes(128), 0)", r"is anon_inode:\[signalfd\]"),
    ("datagram socket", "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", r"is a socket \("),
    ("named socket", "import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.bind('s')",
     r"is a Unix socket with a name"),
    ("named pipe", "import os\nos.mkfifo('p')\nfd = os.open('p', os.O_RDWR)", r"only regular files and devices"),
    ("rollback journal", "import sqlite3\nc = sqlite3.connect('x.db')\nc.execute('create table t (a)')\n"
     "c.execute('insert into t values (1)')", r"a database's journal, .*x.db-journal"),
    ("lock of an open file", "import fcntl\nf = open('l', 'w')\nfcntl.flock(f, fcntl.LOCK_EX)",
     r"a file with a lock on it, .*/l \(_io.TextIOWrapper 'l'\): release it .* and take it in one given to pyentry.after"),
    ("lock of a process", "import fcntl\nf = open('l', 'w')\nfcntl.lockf(f, fcntl.LOCK_EX)", r"a file with a lock on it"),
    ("transaction", "import sqlite3\nc = sqlite3.connect('x.db', isolation_level=None)\n"
     "c.execute('pragma journal_mode=memory')\nc.execute('begin exclusive')", r"a file with a lock on it, .*/x.db: release it"),
    ("directory", "import os\nfd = os.open('.', os.O_RDONLY)", r"only regular files and devices"),
    ("mere path", "import os\nfd = os.open('/etc/passwd', os.O_PATH)", r"is /etc/passwd, opened with O_PATH: close it"),
    ("journal", "import sqlite3\nc = sqlite3.connect('x.db', isolation_level=None)\n"
     "c.execute('pragma journal_mode=wal')\nc.execute('create table t (a)')", r"a database's journal, .*x.db-(wal|shm)"),
    ("shared map", "import mmap\nf = open('map', 'w+b')\nf.truncate(4096)\nm = mmap.mmap(f.fileno(), 4096)\nf.close()",
     r"(map is mapped to be written to and shared|descriptor \d+)"),
]


@pytest.mark.parametrize("text,words", [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_carried(tmp_path, text, words):
    """Each is refused by name, with what to do about it."""
    told = refused(tmp_path, text)
    assert told.startswith("pyentry: the snapshot was not taken: ") and re.search(words, told), told


def test_processes_that_are_no_reason(tmp_path):
    """Orphans that have ended, in whatever way; and those of a script that executes the builder. SIGCHLD may be ignored."""
    app(tmp_path, "import os, time, signal\nos.system('(exit 3) &')\ntime.sleep(0.2)\n"
                  "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n")
    script = f"trap '' CHLD; sleep 20 2>/dev/null & echo $!; exec '{PYENTRY}' --snapshot -o a.snap --preload app"
    began = time.monotonic()
    done = run(["sh", "-c", script], cwd=tmp_path, stdout=(tmp_path / "out").open("wb"))
    took = time.monotonic() - began
    os.kill(int((tmp_path / "out").read_text().split()[0]), signal.SIGKILL)
    assert (done.returncode, done.stderr) == (0, b"") and took < 15
    code = "import signal; print(signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN)"
    assert said(tmp_path / "a.snap", "-c", code) == "True\n"


MALLOC = """
#include <stddef.h>
void *__libc_malloc(size_t bytes);
void *malloc(size_t bytes) { return __libc_malloc(bytes); }
"""


def test_another_malloc(tmp_path):
    """jemalloc and its like count on zeros where the file's bytes would come again."""
    (tmp_path / "m.c").write_text(MALLOC)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libm0.so", tmp_path / "m.c"], check=True)
    app(tmp_path, "")
    done = try_to_take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path, env=clean_env(LD_PRELOAD=str(tmp_path / "libm0.so")))
    assert done.returncode == 1 and b"malloc is that of %b/libm0.so" % bytes(tmp_path) in done.stderr, done.stderr
    assert not (tmp_path / "a.snap").exists()


def test_io_uring(tmp_path):
    code = ("import ctypes\nroom = ctypes.create_string_buffer(200)\nfd = ctypes.CDLL(None).syscall(425, 1, room)\n"
            "print('fd', fd)")
    if run(["/usr/bin/python3", "-c", code]).stdout.strip() == b"fd -1":
        pytest.skip("this kernel has no io_uring for us")
    assert "io_uring" in refused(tmp_path, code)


def test_on_a_kernel_that_does_not_tell(tmp_path):
    """Where the C library keeps its thread: a start has to know."""
    app(tmp_path, "")
    done = run(["strace", "-f", "-e", "trace=prctl", "-e", "inject=prctl:error=EINVAL", "-o", tmp_path / "trace", PYENTRY,
                "--snapshot", "-o", tmp_path / "a.snap", "--preload", "app"], cwd=tmp_path, timeout=60)
    assert done.returncode == 1 and b"this kernel does not tell where" in done.stderr
    assert not (tmp_path / "a.snap").exists()


def test_what_can_be_carried(tmp_path):
    """Files, pipes, pairs, an event loop, eventfd, an idle executor, shared memory: made again at each start."""
    app(tmp_path, """if 1:
        import asyncio, mmap, os, socket
        from concurrent.futures import ThreadPoolExecutor
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        full_reader, full_writer = os.pipe()
        os.write(full_writer, b"full")
        left, right = socket.socketpair()
        loop = asyncio.new_event_loop()
        pool = ThreadPoolExecutor(2)
        assert pool.submit(int, "5").result() == 5
        text = open(__file__); text.readline()
        shared = mmap.mmap(-1, 10000)
        shared[:5] = b"early"
        event = os.eventfd(3) if hasattr(os, "eventfd") else None
    """)
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    code = """if 1:
        import asyncio, os, app
        assert app.shared[:5] == b"early"
        child = os.fork()
        if child == 0:
            app.shared[:5] = b"child"; os._exit(0)
        os.waitpid(child, 0)
        assert app.shared[:5] == b"child"
        os.write(app.writer, b"x"); assert os.read(app.reader, 9) == b"x" and not os.get_blocking(app.reader)
        assert os.read(app.full_reader, 9) == b"full" and os.get_blocking(app.full_reader)
        app.left.send(b"y"); assert app.right.recv(9) == b"y"
        app.loop.call_soon_threadsafe(print, "soon"); app.loop.run_until_complete(asyncio.sleep(0.01))
        assert app.pool.submit(int, "6").result(20) == 6
        assert app.text.readline().strip().startswith("import asyncio")
        assert app.event is None or os.eventfd_read(app.event) == 3
    """
    for _ in range(2):
        assert said(tmp_path / "a.snap", "-c", code, cwd=tmp_path) == "soon\n"


def test_hooks(tmp_path):
    """before_snapshot: the last one first, at the build; after_restore: in order, at each start, in the new process."""
    app(tmp_path, "import os, pyentry\n"
                  "for n in 1, 2: pyentry.before_snapshot(lambda n=n: print('before', n))\n"
                  "@pyentry.after_restore\ndef one(): print('after 1', os.environ['WORD'])\n"
                  "@pyentry.after_restore\ndef two(): print('after 2')\n")
    report = take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    assert report.splitlines()[:2] == ["before 2", "before 1"]
    assert said(tmp_path / "a.snap", "-c", "print('program')", env=clean_env(WORD="w")) \
        == "after 1 w\nafter 2\nprogram\n"


def test_hook_that_fails(tmp_path):
    """ends the start, with its traceback; the program never runs."""
    app(tmp_path, "import pyentry\n@pyentry.after_restore\ndef broken(): 1 / 0\n"
                  "pyentry.after_restore(lambda: print('next'))\n")
    take(tmp_path / "a.snap", "--preload", "app", cwd=tmp_path)
    done = start(tmp_path / "a.snap", "-c", "print('program')")
    assert (done.returncode, done.stdout) == (1, b"") and done.stderr.endswith(b"ZeroDivisionError: division by zero\n")
    assert b"in broken" in done.stderr


def test_checkpoint(tmp_path):
    """The program runs up to its checkpoint at the build, and from its beginning at each start."""
    app(tmp_path, "state = []\n")
    (tmp_path / "prog.py").write_text(
        "import sys, traceback, app, pyentry\napp.state.append(__name__)\nprint('before', sys.path[0] == sys.argv[1])\n"
        "pyentry.checkpoint()\nprint('after', app.state, sys.argv[2:])\ntraceback.print_stack(file=sys.stdout)\n")
    report = take(tmp_path / "a.snap", "prog.py", tmp_path, "x", cwd=tmp_path)
    assert report.startswith("before True\nmodules: ")
    first, second, *stack = said(tmp_path / "a.snap", cwd=tmp_path).splitlines()
    assert (first, second) == ("before True", "after ['__main__', '__main__'] ['x']")
    assert len(stack) == 2 and "prog.py" in stack[0]
    assert "after" in said(tmp_path / "a.snap", "prog.py", tmp_path, "y", cwd=tmp_path)
    plain = run([PYENTRY, "prog.py", str(tmp_path), "z"], cwd=tmp_path)
    assert b"after ['__main__'] ['z']" in plain.stdout


def test_checkpoint_in_an_import(tmp_path):
    """Whoever imports that module at a start would get half of it."""
    (tmp_path / "half.py").write_text("import pyentry\npyentry.checkpoint()\n")
    assert "called while half is imported" in refused(tmp_path, "import half", "app.py")


def test_thread_that_is_about_to_end(tmp_path):
    """The last of an executor's, which ends when that is collected."""
    code = ("from concurrent.futures import ThreadPoolExecutor\nclass Service: pass\ndef warm():\n    service = Service()\n"
            "    service.me, service.pool = service, ThreadPoolExecutor(2)\n    service.pool.submit(int).result()\n")
    app(tmp_path, code)
    for _ in range(3):
        take(tmp_path / "a.snap", "--preload=app", "--warm-up=app:warm", cwd=tmp_path)


PLACES = {
    "depth": ("def ask(n): ask(n - 1) if n else pyentry.checkpoint()\nask(900)\n",
              "def down(n): return n and down(n - 1)\nprint(down(950))\n"),
    "C depth": ("class A:\n    def __init__(self, n): self.n = n\n"
                "    def __repr__(self): return repr(A(self.n - 1)) if self.n else str(pyentry.checkpoint())\nrepr(A(200))\n",
                "class B:\n    def __init__(self, n): self.n = n\n"
                "    def __repr__(self): return repr(B(self.n - 1)) if self.n else 'bottom'\nprint(B(300))\n"),
    "exception": ("try: 1 / 0\nexcept ZeroDivisionError:\n    try: int('x')\n    except ValueError: pyentry.checkpoint()\n", ""),
    "generator": ("def ask():\n    try: 1 / 0\n    except ZeroDivisionError:\n        pyentry.checkpoint()\n        yield\n"
                  "try: int('x')\nexcept ValueError: list(ask())\n", ""),
    "context": ("import contextvars\ndef ask():\n    app.inner.set(1)\n    pyentry.checkpoint()\n"
                "contextvars.Context().run(contextvars.Context().run, ask)\n", ""),
}


@pytest.mark.parametrize("asking,program", PLACES.values(), ids=PLACES)
def test_where_the_checkpoint_was(tmp_path, asking, program):
    """What stood there at the build, the program at a start does not stand in."""
    app(tmp_path, "import contextvars\ninner = contextvars.ContextVar('inner')\n"
                  "outer = contextvars.ContextVar('outer')\nouter.set('kept')\n")
    (tmp_path / "prog.py").write_text("import app, pyentry\n" + asking)
    program += ("import sys, traceback, app\nprint(sys.exc_info()[0], app.inner.get(None), app.outer.get(None))\n"
                "try: raise KeyError\nexcept KeyError as error: print(error.__context__)\n")
    take(tmp_path / "a.snap", "prog.py", cwd=tmp_path)
    found = said(tmp_path / "a.snap", "-c", program, cwd=tmp_path)
    assert found.splitlines()[-2:] == ["None None kept", "None"], found


def test_program_without_a_checkpoint(tmp_path):
    assert "ended (0) without pyentry.checkpoint()" in refused(tmp_path, "print(1)", "app.py")


def test_warm_up(tmp_path):
    """A function is called before the snapshot; what it makes is there."""
    app(tmp_path, "seen = []\nclass A:\n    @staticmethod\n    def warm(): seen.append(1)\n")
    take(tmp_path / "a.snap", "--preload", "app", "--warm-up=app:A.warm", cwd=tmp_path)
    assert said(tmp_path / "a.snap", "-c", "import app; print(app.seen)") == "[1]\n"
    told = refused(tmp_path, "def warm(): 1 / 0", "--preload=app", "--warm-up", "app:warm")
    assert "ZeroDivisionError" in told and "not taken: see above" in told
    assert "MODULE:FUNCTION" in refused(tmp_path, "", "--preload=app", "--warm-up", "app")


def test_first_start(tmp_path):
    """The builder starts from the file once, with the warm-up, of which nothing is seen; where it cannot, there is no
    snapshot."""
    text = "import os\nseen = []\ndef warm():\n    seen.append(os.getpid())\n    {}\n"
    app(tmp_path, text.format("os.write(2, b'warm\\n'), open('count', 'a').write('x')"))
    done = try_to_take(tmp_path / "a.snap", "--preload=app", "--warm-up=app:warm", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"warm\n")
    assert (tmp_path / "count").read_text() == "xx"
    for ending in ("len(seen) > 1 and os._exit(3)", "len(seen) > 1 and 1 / 0", "len(seen) > 1 and exit(3)"):
        app(tmp_path, text.format(ending))
        take(tmp_path / "a.snap", "--preload=app", "--warm-up=app:warm", cwd=tmp_path)
        assert said(tmp_path / "a.snap", "-c", "import app; print(len(app.seen))") == "1\n"
    (tmp_path / "a.snap").unlink()
    for ending, words in (("os.abort", "ended by signal 6"), ("lambda: os._exit(3)", "ended with status 3")):
        assert f"a first start from it: {words}" in refused(tmp_path, f"import os\nos.register_at_fork(after_in_child={ending})")


@pytest.mark.parametrize("crash,number", [("os.abort()", 6), ("os.kill(os.getpid(), 11)", 11)])
def test_crash_in_the_second_warm_up(tmp_path, crash, number):
    """Every start would come to it, too."""
    told = refused(tmp_path, f"import os\nseen = []\ndef warm():\n    seen.append(1)\n    len(seen) > 1 and {crash}\n",
                   "--preload=app", "--warm-up=app:warm")
    assert told.splitlines()[-1] == ("pyentry: the snapshot was not taken: a first start from it: ended by signal "
                                     f"{number}, in the warm-up"), told


def test_first_start_that_hangs(tmp_path):
    """What waits in the warm-up for a thread that is not in the snapshot would do so in every start."""
    app(tmp_path, "import time\nseen = []\ndef warm():\n    seen.append(1)\n    time.sleep(len(seen) > 1 and 600)\n")
    done = run(["strace", "-f", "-o", tmp_path / "trace", "-e", "trace=poll", "-e", "inject=poll:retval=0:when=2+", PYENTRY,
                "--snapshot", "-o", tmp_path / "a.snap", "--preload=app", "--warm-up=app:warm"], cwd=tmp_path, timeout=60,
               env=clean_env())
    assert done.returncode == 1 and b"its warm-up comes to no end" in done.stderr, (done.stderr, done.stdout)


def test_module_that_fails(tmp_path):
    """The traceback is the module's own; a file that was there stays as it was."""
    (tmp_path / "a.snap").write_text("old")
    told = refused(tmp_path, "import no_such_thing")
    assert "No module named 'no_such_thing'" in told and told.endswith("the snapshot was not taken: see above\n")
    assert (tmp_path / "a.snap").read_text() == "old"


def test_module_that_exits_or_crashes(tmp_path):
    assert refused(tmp_path, "import sys; sys.exit('enough')").startswith("enough")
    assert "ended by signal 6" in refused(tmp_path, "import os; os.abort()")


def test_file(tmp_path):
    """Only the owner may read it unless asked otherwise; it takes the old one's place in one step."""
    path = tmp_path / "a.snap"
    for words, mode in (([], 0o600), (["--mode", "0644"], 0o644)):
        assert re.search(r"^.*a\.snap: [\d.]+ MB", take(path, *words, "--preload", "json"), re.MULTILINE)
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["a.snap"]


def test_same_modules_other_addresses(tmp_path):
    """Each image lies at addresses of its own."""
    places = set()
    for name in "abc":
        take(tmp_path / name, "--preload", "json")
        places.add(said(tmp_path / name, "-c", "import json; print(id(json))"))
    assert len(places) == 3


@pytest.mark.parametrize("words,line", [
    (["-o", "x"], "nothing to do: name modules"), (["--preload", "json"], "-o FILE is missing"),
    (["-o"], "-o needs a value"), (["-o", "x", "--preload"], "--preload needs a value"),
    (["-o", "x", "--mode", "9", "--preload", "json"], "--mode='9' is not valid"),
    (["-o", "x", "--mode=0666", "--preload", "json"], "only the owner may write to"),
    (["-o", "x", "--preload="], "--preload= needs a value")])
def test_usage(tmp_path, words, line):
    done = run([PYENTRY, "--snapshot", *words], cwd=tmp_path)
    assert (done.returncode, done.stdout, os.listdir(tmp_path)) == (2, b"", []) and line in done.stderr.decode()


def test_directory_that_is_not_there(tmp_path):
    done = try_to_take(tmp_path / "no" / "a.snap", "--preload", "json")
    assert done.returncode == 1 and b"cannot be written: No such file" in done.stderr


def test_disk_that_is_full(tmp_path):
    """A snapshot that cannot be written whole is not there at all."""
    script = f"ulimit -f 2000; exec '{PYENTRY}' --snapshot -o '{tmp_path}/a.snap' --preload json"
    done = run(["sh", "-c", f"trap '' XFSZ; {script}"])
    assert done.returncode == 1 and b"the snapshot was not taken: writing" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [[], ["--warm-up=app:warm"]], ids=["import", "first start"])
def test_builder_that_is_ended(tmp_path, number, words):
    """The temporary file goes, which holds the memory of the process, and so do the processes that were to write it."""
    app(tmp_path, "import os, time\nseen = []\ndef warm():\n    seen.append(1)\n    len(seen) > 1 and show()\n"
                  "def show():\n    with open('pid', 'w') as file: print(os.getpid(), file=file)\n    time.sleep(60)\n"
                  + ("" if words else "show()\n"))
    command = [PYENTRY, "--snapshot", "-o", "a.snap", "--preload=app", *words]
    with subprocess.Popen(command, env=clean_env(), cwd=tmp_path, stdout=-3, stderr=-3,
                          preexec_fn=lambda: signal.signal(number, signal.SIG_DFL)) as builder:  # not as nohup left it
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"), "the process")
        assert [name for name in os.listdir(tmp_path) if name.startswith("a.snap.")]
        builder.send_signal(number)
        assert builder.wait(20) == -number
    assert not [name for name in os.listdir(tmp_path) if "snap" in name]
    until(lambda: is_gone(int((tmp_path / "pid").read_text())), "its end")


def test_builder_that_ignores_the_terminal_s_end(tmp_path):
    """as nohup(1) wants it"""
    app(tmp_path, "import os, signal\nos.kill(int(os.environ['BUILDER']), signal.SIGHUP)\n")
    script = f"trap '' HUP; BUILDER=$$ exec '{PYENTRY}' --snapshot -o a.snap --preload app"
    done = run(["sh", "-c", script], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"") and (tmp_path / "a.snap").exists()


@pytest.mark.parametrize("limit,remedy", [("-v 4000000", b"ulimit -v unlimited"), ("-s unlimited", b"ulimit -s 8192")])
def test_under_limits(tmp_path, limit, remedy):
    """Where the kernel would not place memory in the arena, the line says what to change."""
    done = run(["sh", "-c", f"ulimit {limit}; exec '{PYENTRY}' --snapshot -o '{tmp_path}/a' --preload json"])
    assert done.returncode == 1 and remedy in done.stderr and os.listdir(tmp_path) == []


def test_in_a_plain_process():
    """A program that says what to do about snapshots runs as ever where there are none."""
    code = ("import pyentry\n@pyentry.before_snapshot\ndef f(): print('no')\npyentry.after_restore(f)\n"
            "pyentry.checkpoint()\nprint(callable(f))")
    assert run([PYENTRY, "-c", code]).stdout == b"True\n"

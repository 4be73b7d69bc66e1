"""What the system tests share: the two interpreters, a clean environment, children that are always ended.

PYENTRY is the program under test, PYTHON the stock interpreter of the version that it embeds. Programs
are watched by the words that they write; every wait has a deadline and ends in a failure that shows
what was seen so far.
"""

import contextlib
import functools
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PYENTRY = os.path.abspath(os.environ["PYENTRY"])
PYTHON = os.path.abspath(os.environ["PYTHON"])
HERE = Path(__file__).resolve().parent
PROBES = HERE / "probes"
ROOT = HERE.parent.parent

TIMEOUT = 30  # seconds that a program may take before it counts as hung
AT_ONCE = 4   # programs that a test keeps running side by side


def clean_env(**changes):
    """The environment for programs under test: no PYTHON*, PYENTRY*, LC_* or Cloud Run's; None removes a name."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("PYTHON", "PYENTRY", "LC_", "K_", "CLOUD_RUN_")) and name != "LANGUAGE"}
    env["LANG"] = "C.UTF-8"
    env.update(changes)
    return {name: value for name, value in env.items() if value is not None}


def run(argv, *, env=None, timeout=TIMEOUT, **options):
    """Run a program to its end; its output is kept as bytes."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.run(argv, env=clean_env() if env is None else env, timeout=timeout, **options)


def pyentry(*args, **options):
    return run([PYENTRY, *args], **options)


def stock(*args, **options):
    return run([PYTHON, *args], **options)


def python_version():
    return tuple(json.loads(stock("-c", "import sys; print(list(sys.version_info[:3]))").stdout))


VERSION = python_version()


def gather(function, cases, at_once=AT_ONCE):
    """function(case) for every case, several at once: the results in the order of the cases."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(function, cases))


def attempt(function, *args):
    """The function's value, or the text of its failed assertion: one bad case does not hide the others."""
    try:
        return function(*args)
    except AssertionError as failure:
        return f"{args!r:.100}: {failure}"


def both(*args, **options):
    """The same command line under the stock interpreter and under pyentry."""
    return gather(lambda program: run([program, *args], **options), [PYTHON, PYENTRY], 2)


def without_names(text):
    """Output with what must differ taken out: the interpreter's own name and addresses."""
    for name in {PYENTRY, PYTHON, os.path.realpath(PYENTRY), os.path.realpath(PYTHON)}:
        text = text.replace(os.fsencode(name), b"EXE")
    text = text.replace(b"\n\nExtension modules: _pyentry (total: 1)", b"")  # in a fatal error's report
    return re.sub(rb"0x[0-9a-f]{6,}", b"0xADDR", text)


def outcome(result):
    """Everything that a user sees of a finished program."""
    return {"status": result.returncode,
            "stdout": without_names(result.stdout or b""),
            "stderr": without_names(result.stderr or b"")}


def differences(cases, at_once=AT_ONCE, unbuffered=True):
    """The cases (name, args, options) that end differently under pyentry than under `python -u`.

    -u is left out where unbuffered is false, for programs that show their own command line.
    """
    flags = ["-u"] if unbuffered else []

    def compare(case):
        name, args, options = case
        theirs = outcome(run([PYTHON, *flags, *args], **options))
        ours = outcome(run([PYENTRY, *args], **options))
        return None if theirs == ours else (name, {"python": theirs, "pyentry": ours})

    return dict(filter(None, gather(compare, cases, at_once)))


def differing_calls(prelude, calls):
    """differences() over {name: expression}, of each of which the value is printed, or the exception, behind the prelude."""
    code = prelude + "\ntry:\n    print({})\nexcept Exception as error:\n    print(repr(error))\n"
    return differences([(name, ["-c", code.replace("{}", call)], {}) for name, call in calls.items()])


def show(found):
    """A readable account of what differences() found: each text from shortly before where it differs."""
    lines = []
    for name, sides in found.items():
        lines.append(f"--- {name}")
        for key in ("status", "stdout", "stderr"):
            theirs, ours = sides["python"][key], sides["pyentry"][key]
            if theirs == ours:
                continue
            start = 0 if key == "status" else max(0, len(os.path.commonprefix([theirs, ours])) - 60)
            for side, text in (("python ", theirs), ("pyentry", ours)):
                lines.append(f"  {key}: {side} {text if key == 'status' else text[start:start + 400]!r}")
    return "\n".join(lines)


def until(condition, what, timeout=TIMEOUT):
    """Poll until condition() holds and return its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {what}")
        time.sleep(0.005)


def end(process):
    """Kill what still runs, and reap it."""
    if process.poll() is None:
        process.kill()
    process.wait()


class Stream:
    """Reads a descriptor in a thread, so that nobody's pipe fills up, and waits for words in it."""

    def __init__(self, fd):
        self.data = bytearray()
        self.changed = threading.Condition()
        self.ended = False
        self.thread = threading.Thread(target=self._read, args=(fd,), daemon=True)
        self.thread.start()

    def _read(self, fd):
        while True:
            try:
                piece = os.read(fd, 65536)
            except OSError:  # EIO: a terminal whose other side was closed
                piece = b""
            with self.changed:
                self.data += piece
                self.ended = not piece
                self.changed.notify_all()
            if not piece:
                os.close(fd)
                return

    def wait(self, words, start=0, timeout=TIMEOUT):
        """Wait until the words are there after offset start; returns the offset behind them."""
        words = words.encode() if isinstance(words, str) else words
        with self.changed:
            found = self.changed.wait_for(
                lambda: self.ended or self.data.find(words, start) >= 0, timeout)
            at = self.data.find(words, start)
        assert found and at >= 0, f"no {words!r} in {bytes(self.data[start:])!r}"
        return at + len(words)

    def all(self, timeout=TIMEOUT):
        """Everything up to the end of the stream."""
        self.thread.join(timeout)
        assert not self.thread.is_alive(), f"stream still open after {bytes(self.data)[-2000:]!r}"
        return bytes(self.data)


class Child:
    """A running program: out, err and, when asked for, report are Streams.

    With report=True the program gets a pipe for words that must not travel on stdout: its descriptor
    replaces the argument "REPORT". Use as a context manager; what still runs at the end is killed.
    """

    def __init__(self, *argv, report=False, merge=False, **options):
        self.out = self.err = self.report = None
        options.setdefault("env", clean_env())
        options.setdefault("stdin", subprocess.PIPE)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.STDOUT if merge else subprocess.PIPE)
        argv = [os.fspath(a) if isinstance(a, Path) else a for a in argv]
        ours = theirs = None
        if report:
            ours, theirs = os.pipe()
            argv = [str(theirs) if a == "REPORT" else a for a in argv]
            options["pass_fds"] = (*options.get("pass_fds", ()), theirs)
        self.process = subprocess.Popen(argv, bufsize=0, **options)
        if report:
            os.close(theirs)
            self.report = Stream(ours)
        if self.process.stdout:
            self.out = Stream(os.dup(self.process.stdout.fileno()))
            self.process.stdout.close()
        if self.process.stderr:
            self.err = Stream(os.dup(self.process.stderr.fileno()))
            self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        end(self.process)
        if self.process.stdin and not self.process.stdin.closed:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    @property
    def pid(self):
        return self.process.pid

    def send(self, signum=signal.SIGTERM):
        self.process.send_signal(signum)

    def type(self, text):
        self.process.stdin.write(text.encode() if isinstance(text, str) else text)

    def wait(self, timeout=TIMEOUT):
        """The exit status; a program that does not end is a failure that shows what it said."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s: {self.seen()}") from None

    def seen(self):
        return {name: bytes(stream.data)[-2000:] for name in ("out", "err", "report")
                if (stream := getattr(self, name))}


def state_of(pid):
    """The one-letter state of a process's main thread, or "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def wait_asleep(pid, times=8):
    """Wait until the main thread was seen asleep several times in a row without having woken up in between:
    it is in its blocking call, not waiting for the GIL.
    """
    seen = []

    def settled():
        state = state_of(pid)
        assert state not in ("", "Z", "X"), f"process {pid} ended instead of waiting"
        seen.append((state, status_field(pid, "voluntary_ctxt_switches")))
        return len(seen) >= times and set(seen[-times:]) == {("S", seen[-1][1])}

    until(settled, f"process {pid} sleeps")


def is_gone(pid):
    return state_of(pid) in ("", "Z", "X")


def status_field(pid, name):
    """A field of /proc/PID/status as text, or None when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return line.split(":", 1)[1].strip()
    return None


def catches(pid, signum):
    """Whether the process has a handler for the signal."""
    mask = status_field(pid, "SigCgt")
    return bool(mask) and bool(int(mask, 16) >> (signum - 1) & 1)


def no_core():
    """For preexec_fn: a crash that a test wants leaves no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@functools.lru_cache
def in_pid_namespace():
    """The command that makes what follows PID 1 of a new namespace, or None where that is forbidden."""
    as_root = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    for command in (as_root, ["unshare", "--user", "--map-root-user", *as_root[1:]]):
        with contextlib.suppress(OSError):
            if run([*command, "/bin/true"]).returncode == 0:
                return command
    return None


def first_child(pid):
    """The process id of the first child of a single-threaded process, or None."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return None


def receive(peer):
    """Every record up to the end. An empty record looks like the end, which repeats itself."""
    got, empty = [], 0
    while empty < 64:
        record = peer.recv(1 << 20)
        if record:
            got += [b""] * empty + [record]
            empty = 0
        else:
            empty += 1
    return got


def records(argv, *, which=("stdout",), timeout=TIMEOUT, **options):
    """Run with a SOCK_SEQPACKET socket as the named streams: one record for each write.

    Returns (status, records); streams that are named together share one socket.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    options.setdefault("env", clean_env())
    options.setdefault("stdin", subprocess.DEVNULL)
    for name in ("stdout", "stderr"):
        options[name] = theirs if name in which else options.get(name, subprocess.DEVNULL)
    with ours, subprocess.Popen(argv, **options) as process:
        theirs.close()
        ours.settimeout(timeout)
        try:
            got = receive(ours)
            return process.wait(timeout), got
        except socket.timeout:
            raise AssertionError(f"silent for {timeout} s: {argv!r:.500}") from None
        finally:
            end(process)


WRITE = re.compile(r"^(write|writev|pwrite64|sendto|sendmsg)\((\d+), (.*)\) += (-?\d+)")


def traced_writes(argv, descriptors=(1, 2), **options):
    """Run under strace: (finished process, [(descriptor, bytes written)]) over all of its threads."""
    with tempfile.TemporaryDirectory() as folder:
        calls = "trace=write,writev,pwrite64,sendto,sendmsg"
        done = run(["strace", "-ff", "-qq", "-s", "0", "-e", "signal=none", "-e", calls,
                    "-o", f"{folder}/t", *argv], **options)
        found = []
        for path in sorted(Path(folder).iterdir()):
            for line in path.read_text(errors="replace").splitlines():
                match = WRITE.match(line)
                if match and int(match[2]) in descriptors:
                    found.append((int(match[2]), int(match[4])))
        return done, found


def traced_calls(argv, calls):
    """The system calls of a program, in order, as strace writes them."""
    with tempfile.NamedTemporaryFile("r", errors="replace") as log:
        run(["strace", "-qq", "-s", "200", "-e", "signal=none", "-e", f"trace={calls}", "-o", log.name, *argv])
        return log.read().splitlines()


def compile_c(source, out, *flags, kind=("-shared", "-fPIC")):
    """Compile and link one file; a shared library, unless kind says otherwise."""
    compiler = os.environ.get("CC", "cc").split()
    done = run([*compiler, *kind, "-x", "c", "-", "-o", str(out), *flags], input=source.encode())
    assert done.returncode == 0, done.stderr


def write_tree(folder, files):
    """Write {relative name: text} below a folder and return the folder."""
    folder = Path(folder)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def sections(name):
    """The programs in a text file of probes/: {title: code}, each begun by a line "=== title"."""
    parts = re.split(r"^=== (.*)\n", (PROBES / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2]))
    assert len(found) == len(parts) // 2, f"{name}: a title is used twice"
    return found


def stock_can(code):
    """Whether the stock interpreter has what the code needs (an import, usually)."""
    return stock("-c", code).returncode == 0


if sys.platform != "linux":
    raise RuntimeError("pyentry and its tests are for Linux")

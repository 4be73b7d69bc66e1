"""What the init takes from its surroundings, what it leaves to Python as it was, and surroundings that are bad."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import termios
from pathlib import Path

import pytest

from groups import groups, inside, memory
from harness import PROBES, PYENTRY, PYTHON, Child, clean_env, first_child, run, until
from test_init import KILL, SETTING, TERM, Init, after_signal, command, executable, mode  # noqa: F401  (a fixture)

AROUND = str(PROBES / "init_around.py")
SLEEP = "print('ready')\nimport time; time.sleep(600)"
NOBODY = 65534


def around(argv, **options):
    done = run(argv, **options)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def alike(mode, prefix=(), **options):
    """What Python finds under the init, and under none, in the same kind of namespace."""
    found = []
    for program in ([PYENTRY, f"--init={'auto' if mode == 'pid1' else 'always'}", "--faulthandler=off",
                     "--stop-report=0"], [PYTHON]):
        outside = command(mode)[:command(mode).index(PYENTRY)]
        found.append(around([*outside, *prefix, *program, AROUND], **options))
        found[-1].pop("listen")
    return found


# --- signals

def with_signals(blocked, ignored):
    """The command that sets signals for what follows it, also where that is PID 1."""
    given = [(f"--{verb}-signal", ",".join(str(int(number)) for number in numbers))
             for verb, numbers in (("block", blocked), ("ignore", ignored)) if numbers]
    return ["env", *map("=".join, given)]


MOST = sorted(signal.valid_signals() - {9, 19, 32, 33})


@pytest.mark.parametrize("blocked, ignored", [
    ([], []), ([10, 37], []), ([], [1, 12, 50]), ([TERM], []), ([], [TERM]), ([], [signal.SIGINT]),
    ([], [signal.SIGCHLD]), ([signal.SIGCHLD], [signal.SIGCHLD]), (MOST, []), ([], MOST)], ids=lambda n: str(len(n)))
def test_signals_as_received(mode, blocked, ignored):
    """Mask, ignored signals and Python's own view of the dispositions are stock python's, here and after exec."""
    ours, theirs = alike(mode, prefix=with_signals(blocked, ignored))
    assert ours == theirs


def start_with_signals(mode, blocked, ignored, *args):
    argv = command(mode, *args)
    at = argv.index(PYENTRY)
    return [*argv[:at], *with_signals(blocked, ignored), *argv[at:]]


def test_an_ignored_sigchld_loses_no_status(mode):
    """pyentry started with SIGCHLD ignored knows how Python ended, and reaps; Python finds it ignored."""
    code = "import signal, sys; sys.exit(40 + (signal.getsignal(17) == signal.SIG_IGN))"
    done = run(start_with_signals(mode, [], [signal.SIGCHLD], "-c", code))
    assert (done.returncode, done.stderr) == (41, b"")
    done = run(start_with_signals(mode, [], [signal.SIGCHLD], "-c", "import os; os.kill(os.getpid(), 9)"))
    assert done.returncode == 128 + KILL and b"ended by signal 9" in done.stderr


def test_an_ignored_sigterm(mode):
    """SIGTERM ignored at the start stays ignored, as under python; --stop-timeout ends it all the same."""
    argv = start_with_signals(mode, [], [TERM], "--stop-timeout=500ms", "--stop-report=0", "-c", SLEEP)
    with Child(*argv) as child:
        child.out.wait("ready\n")
        os.kill(child.pid if mode == "always" else until(lambda: pyentry_below(child.pid), "pyentry"), TERM)
        assert child.wait() == 128 + KILL


# --- descriptors and directories

@contextlib.contextmanager
def descriptors():
    """Some open descriptors, as a careless parent leaves them: a file, a pipe, a socket-like high number."""
    with tempfile.TemporaryFile() as file:
        ends = os.pipe()
        high = fcntl.fcntl(file, fcntl.F_DUPFD, 200)
        try:
            yield (file.fileno(), *ends, high)
        finally:
            for fd in (*ends, high):
                os.close(fd)


def test_descriptors_of_python(mode):
    """Python has the descriptors that pyentry received, and no other."""
    with descriptors() as fds:
        ours, theirs = alike(mode, pass_fds=fds)
        assert ours["descriptors"] == theirs["descriptors"]
        assert {fd for fd, _ in ours["descriptors"]} >= set(fds)


def of(pid):
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))


def test_descriptors_and_directory_of_the_init(mode, tmp_path):
    """The init keeps stderr only, and is in /; Python stays where it was. A pipe that Python closes is closed."""
    code = "import os, sys\nprint('ready'); os.close(1)\ninput()"
    with descriptors() as fds, Init(mode, "-c", code, pass_fds=fds, cwd=tmp_path) as child:
        child.out.wait("ready\n")
        if mode == "always":  # unshare has it open, too
            assert child.out.all() == b"ready\n", "the end of stdout is not seen while the init lives"
        assert of(child.init) == [2]
        assert os.readlink(f"/proc/{child.init}/cwd") == "/"
        assert os.readlink(f"/proc/{child.python}/cwd") == str(tmp_path)
        child.type("\n")
        child.wait()


def with_terminal(fd):
    def take():
        os.setsid()
        fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    return take


@pytest.mark.parametrize("closed", [(), (0,), (0, 1, 2)], ids=repr)
def test_descriptors_with_a_terminal(mode, closed, tmp_path):
    """With a controlling terminal the init has that, too; Python has nothing of it, and closed streams stay closed."""
    master, slave = pty.openpty()

    def prepare():
        with_terminal(slave)()
        for fd in closed:
            os.close(fd)
    code = ("import os, sys\nfound = []\n"
            "for fd in os.listdir('/proc/self/fd'):\n"
            "    try: found.append((int(fd), os.readlink('/proc/self/fd/' + fd)))\n    except OSError: pass\n"
            "with open(sys.argv[1], 'w') as out: print(sorted(fd for fd, name in found if 'self' not in name"
            " and not name.endswith('/fd')), sys.stdin is None, file=out)\n")
    found = []
    stock = command(mode)[:-1 if mode == "pid1" else -2]
    for number, argv in enumerate(([*stock, PYTHON], command(mode))):
        file = tmp_path / str(number)
        done = run([*argv, "-c", code, str(file)], preexec_fn=prepare, pass_fds=[slave])
        assert done.returncode == 0, done
        found.append(file.read_text())
    os.close(master)
    os.close(slave)
    assert found[1] == found[0]


@pytest.mark.parametrize("closed", [(0,), (2,), (0, 1), (0, 1, 2)], ids=repr)
def test_closed_streams(mode, closed):
    """With streams closed the status is Python's, also of a death, a stop and of what is left behind."""
    def close():
        for fd in closed:
            os.close(fd)
    for code, status in (("import os; os._exit(5)", 5), ("import os; os.kill(os.getpid(), 9)", 137), ("1/0", 1),
                         ("import os, time\nif os.fork() == 0: os.setsid(); time.sleep(600)\nos._exit(4)", 4)):
        assert run(command(mode, *SETTING, "-c", code), preexec_fn=close).returncode == status, code


# --- LISTEN_PID

def test_listen_pid(mode):
    """Socket activation: rewritten where it named pyentry, untouched where it names another, or nobody."""
    argv = command(mode, AROUND)
    inner = argv[argv.index(PYENTRY):]
    named = [*argv[:argv.index(PYENTRY)], "sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *inner]
    found = around(named, env=clean_env(LISTEN_FDS="1"))["listen"]
    assert found[0] == str(found[1])
    for text in ("99999", "", "x", "1x", "-1", "0"):
        assert around(argv, env=clean_env(LISTEN_PID=text))["listen"][0] == text
    assert around(argv)["listen"][0] is None


# --- memory

PRELOADED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static int (*next)(clockid_t, struct timespec *);
__attribute__((constructor)) static void find(void) { next = dlsym(RTLD_NEXT, "clock_gettime"); }
int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (next == NULL) /* libpython 3.13 asks in a constructor of its own */
        find();
    return next(clock, now);
}
"""


def test_a_preloaded_library(mode, tmp_path):
    """A library that was put in front of libc's functions (an allocator, a faked clock) works in the init for ever."""
    source = tmp_path / "preloaded.c"
    source.write_text(PRELOADED)
    library = tmp_path / "preloaded.so"
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    env = clean_env(LD_PRELOAD=str(library))
    with Init(mode, "-c", SLEEP, env=env) as child:
        child.out.wait("ready\n")
        child.tell(TERM)
        assert (child.wait(), child.err.all()) == (after_signal(mode, TERM), b"")


# --- what cannot be had

def test_fork_fails(tmp_path):
    """No process for Python: one line that says so, and status 1."""
    done = run(["strace", "-qq", "-o", "/dev/null", "-e", "trace=clone,clone3,fork,vfork", "-e",
                "inject=clone,clone3,fork,vfork:error=EAGAIN", PYENTRY, "--init=always", "-c", "pass"])
    assert (done.returncode, done.stdout) == (1, b"")
    assert re.fullmatch(rb"pyentry: [^\n]*fork: [^\n]+\n", done.stderr), done.stderr


def test_too_many_processes(pid_one, tmp_path):
    """RLIMIT_NPROC, as a user who is not root: the same, as PID 1."""
    copy = Path(tempfile.mkdtemp(dir="/tmp")) / "pyentry"
    try:
        shutil.copy(PYENTRY, copy)
        copy.parent.chmod(0o755)
        done = run([*pid_one, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",  # a libpython in /root
                    "prlimit", "--nproc=1", str(copy), "-c", "print('ran')"], cwd="/")
    finally:
        shutil.rmtree(copy.parent)
    assert (done.returncode, done.stdout) == (1, b""), done
    assert re.fullmatch(rb"pyentry: [^\n]*fork: [^\n]+\n", done.stderr), done.stderr


def without_proc(mode, *args, path="/proc"):
    argv = command(mode, *args)
    inner = argv[argv.index(PYENTRY):]
    namespaces = ["unshare", "--mount"] + (["--pid", "--fork", "--kill-child"] if mode == "pid1" else [])
    return [*namespaces, "sh", "-c", f'umount -l {path} && exec "$@"', "sh", *inner]


def test_without_proc(mode):
    """/proc is not mounted: codes, deaths, SIGTERM and the stop timeline work."""
    for code, status in (("import os; os._exit(5)", 5), ("import os; os.kill(os.getpid(), 9)", 137)):
        done = run(without_proc(mode, *SETTING, "-c", code))
        assert done.returncode == status and done.stderr.count(b"\n") == (status == 137), done
    code = ("import os, sys, time\n"
            "try: os.write(1, b'ready\\n'); time.sleep(600)\nfinally: time.sleep(0.7); os.write(1, b'end\\n')")
    with Child(*without_proc(mode, "--stop-report=200ms", "-c", code)) as child:
        child.out.wait("ready\n")
        pid = child.pid if mode == "always" else until(lambda: pyentry_below(child.pid), "pyentry")
        os.kill(pid, TERM)
        assert child.wait() == after_signal(mode, TERM)
        assert child.out.all() == b"ready\nend\n"
        assert child.err.all().count(b"pyentry: still running 0.2 s after SIGTERM") == 1


def pyentry_below(pid):
    below = first_child(pid)
    return below if below and executable(below) == os.path.realpath(PYENTRY) else None


def test_what_is_left_without_proc(mode):
    """Without /proc a subreaper cannot see who is below: nobody is left, or a line says so. It never says otherwise."""
    with tempfile.TemporaryFile("w+") as file:
        code = (f"import os, time\npid = os.fork()\nif pid == 0: os.setsid(); time.sleep(20)\n"
                f"os.write({file.fileno()}, b'x'); os._exit(4)")
        ours, theirs = os.pipe()
        with Child(*without_proc(mode, *SETTING, "-c", code), pass_fds=[file.fileno(), theirs]) as child:
            os.close(theirs)
            assert child.wait() == 4
            os.set_blocking(ours, False)
            try:
                gone = os.read(ours, 1) == b""
            except BlockingIOError:
                gone = False
            os.close(ours)
            words = bytes(child.err.data)  # whoever is left has it open
        assert gone or (b"pyentry: " in words and b"killed" not in words), words


def test_without_control_groups(mode):
    """Control groups that cannot be read are no error: the line has nothing about memory."""
    done = run(without_proc(mode, *SETTING, "-c", "import os; os.kill(os.getpid(), 9)", path="-a -t cgroup,cgroup2"))
    assert done.returncode == 137
    assert re.fullmatch(rb"pyentry: Python was ended by signal 9 \(Killed\) after \d+\.\d s\n", done.stderr)


# --- out of memory

LEAK = "x = []\nwhile True: x.append(bytearray(1 << 20))"
OOM = r"pyentry: Python was ended by signal 9 \(Killed\) after \d+\.\d s: out of memory, by the kernel's OOM killer"


def test_out_of_memory(mode):
    """The kernel's OOM killer is named, with limit and peak; the status is 137. Its name has a colon."""
    with groups("memory", memory(64)) as directory:
        done = run(command(mode, *SETTING, "-c", LEAK), preexec_fn=inside(directory))
        assert done.returncode == 128 + KILL
        assert re.fullmatch(OOM + r", limit 64 MiB, peak 6[34] MiB\n", done.stderr.decode()), done


def test_out_of_memory_above(mode):
    """The limit that was hit is a group's further up."""
    with groups("memory", memory(64), memory(None)) as directory:
        done = run(command(mode, *SETTING, "-c", LEAK), preexec_fn=inside(directory))
        assert done.returncode == 128 + KILL
        assert re.fullmatch(OOM + r", limit 64 MiB, peak 6[0-4] MiB\n", done.stderr.decode()), done


def test_denied_control_groups(mode):
    """Files of the control group that may not be read: the death and its status are told, nothing about memory."""
    with groups("memory", memory(64)) as directory:
        files = [word for path in directory.glob("memory.*") for word in ("-P", str(path))]
        done = run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=openat", "-e",
                    "inject=openat:error=EACCES", *files, *command(mode, *SETTING, "-c", LEAK)],
                   preexec_fn=inside(directory))
        assert done.returncode == 128 + KILL
        assert re.fullmatch(rb"pyentry: Python was ended by signal 9 \(Killed\) after \d+\.\d s\n", done.stderr), done


def test_another_one_ran_out_of_memory(mode):
    """A child of Python's that the OOM killer ended is Python's affair: its -9, and no word of ours."""
    code = f"import subprocess, sys; sys.exit(50 + subprocess.call([sys.argv[1], '-c', {LEAK!r}]))"
    with groups("memory", memory(64)) as directory:
        done = run(command(mode, "-c", code, PYTHON), preexec_fn=inside(directory))
        assert (done.returncode, done.stderr) == (41, b"")


def test_killed_in_a_group_with_memory(mode):
    """SIGKILL by somebody is not the OOM killer's."""
    with groups("memory", memory(64)) as directory:
        done = run(command(mode, *SETTING, "-c", "import os; os.kill(os.getpid(), 9)"), preexec_fn=inside(directory))
        assert done.returncode == 137 and b"memory" not in done.stderr and done.stderr.count(b"\n") == 1

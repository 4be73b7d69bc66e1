"""A start from a snapshot before there is a C library, and pyentry's own call of the dynamic loader where there is none to
start from."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from harness import PYENTRY, clean_env, gather, run
from snapshots import ORDINARY, can_be_quick, header, needed, preloading, said, take

pytestmark = [needed, pytest.mark.skipif(not can_be_quick(), reason="this pyentry leaves the loader to the kernel")]

WORLD = """
import json, os, pyentry, signal, sys, threading, time
status = open("/proc/self/status").read().splitlines()
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv[1:] if hasattr(sys, "orig_argv") else None, "path": sys.path,
    "executable": sys.executable, "environment": dict(os.environ), "flags": list(sys.flags), "cwd": os.getcwd(),
    "descriptors": sorted(os.listdir("/proc/self/fd")), "threads": threading.active_count(),
    "signals": [line for line in status if line.startswith(("SigBlk", "SigIgn", "SigCgt", "NoNewPrivs"))],
    "term": str(signal.getsignal(signal.SIGTERM)).partition(" at ")[0], "main": sorted(vars(sys.modules["__main__"])),
    "libraries": sorted({line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}),
}))
"""

snap = preloading("json,threading")


def world(snap, **variables):
    return json.loads(said(snap, "-c", WORLD, "a", "--restore=b", env=clean_env(**variables)))


def traced(tmp_path, *words, calls="execve,open,openat", env=None, **options):
    """(what became of it, its system calls)"""
    done = run(["strace", "-qq", "-o", tmp_path / "calls", "-e", f"trace={calls}", *words], env=env or clean_env(), **options)
    return done, (tmp_path / "calls").read_text()


def test_no_library_is_loaded(snap, tmp_path):
    """The first file is the snapshot; of the C library's only the build id is looked at, once all is there."""
    done, calls = traced(tmp_path, PYENTRY, "--restore-or-fail", f"--restore={snap}", "-c", "print(1)")
    assert (done.stdout, done.stderr) == (b"1\n", b"")
    assert str(snap) in re.findall(r"^open.*", calls, re.MULTILINE)[0]
    assert "ld.so.cache" not in calls and "/proc/self/maps" not in calls


@pytest.mark.parametrize("options", [["--restore-or-fail", "--restore={}"], ["--restore={}", "--restore-or-fail"],
                                     ["--stop-report=2s", "--restore={}", "--log-format=text"]])
def test_words_before(snap, tmp_path, options):
    options = [option.format(snap) for option in options]
    done, calls = traced(tmp_path, PYENTRY, *options, "-c", "print(1)")
    assert (done.stdout, done.stderr) == (b"1\n", b"") and "ld.so.cache" not in calls


def test_the_variable(snap, tmp_path):
    done, calls = traced(tmp_path, PYENTRY, "-c", "import os; print([n for n in os.environ if 'RESTORE' in n])",
                         env=clean_env(PYENTRY_RESTORE=str(snap)))
    assert (done.stdout, done.stderr) == (b"[]\n", b"") and "ld.so.cache" not in calls


def test_both_ways_are_the_same(snap):
    """What the program can see of its process."""
    quick, ordinary = world(snap), world(snap, **ORDINARY)
    assert quick == ordinary
    assert quick["argv"] == ["-c", "a", "--restore=b"]


@pytest.mark.parametrize("words,told", [
    (["--restore={}", "--no-such-option"], "unknown option"), (["--restore={}", "--stop-report=x"], "--stop-report"),
    (["--restore={}", "-c", "1", "--restore={}"], None), (["--restore={}", "-B", "--restore={}"], "behind python's option")])
def test_what_is_wrong_is_said_once(snap, words, told):
    """A mistake in the command line: the line and the status of the ordinary way."""
    words = [PYENTRY, *(word.format(snap) for word in words)]
    quick, ordinary = run(words), run(words, env=clean_env(**ORDINARY))
    assert (quick.returncode, quick.stdout, quick.stderr) == (ordinary.returncode, ordinary.stdout, ordinary.stderr)
    assert told is None or told in quick.stderr.decode() and quick.returncode == 2


def test_other_commands(snap):
    """--restore is for Python: what else there is does its work as ever."""
    for words in (["--version"], ["--help"]):
        quick, ordinary = (run([PYENTRY, f"--restore={snap}", *words], env=clean_env(**more)) for more in ({}, ORDINARY))
        assert (quick.returncode, quick.stdout, quick.stderr) == (0, ordinary.stdout, ordinary.stderr), words
    assert run([PYENTRY, f"--restore={snap}", "--info"]).stdout.startswith(run([PYENTRY, "--info"]).stdout[:20])


def test_beginning_anew(snap, tmp_path):
    """Where the process that stands finds that the snapshot does not fit, it begins anew as it was: the words, the
    environment, the signals, the descriptors."""
    code = ("import os, signal, sys; print(1, sys.argv, sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "
            "[n for n in os.environ if n.startswith('PYENTRY')], sorted(os.listdir('/proc/self/fd')), "
            "signal.getsignal(signal.SIGHUP))")

    def prepare():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    env = clean_env(LC_ALL="C.UTF-8")
    done, calls = traced(tmp_path, PYENTRY, f"--restore={snap}", "-c", code, "x", env=env, preexec_fn=prepare)
    plain = run([PYENTRY, "-c", code, "x"], env=env, preexec_fn=prepare)
    assert done.stdout == plain.stdout and b"LC_ALL is set" in done.stderr and done.stderr.count(b"\n") == 1
    assert calls.count("execve(") == 2


IGNORING = """if True:
    import signal, pyentry
    for one in signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD:
        signal.signal(one, signal.SIG_IGN)
    pyentry.checkpoint()
    print(open("/proc/self/comm").read().strip(),
          [line.split()[1] for line in open("/proc/self/status") if line.startswith(("SigIgn", "SigBlk"))])
"""


def test_beginning_anew_without_what_the_snapshot_ignores(tmp_path):
    """The signals that the snapshot ignores, and the name that the process has in ps."""
    (tmp_path / "ignoring.py").write_text(IGNORING)
    take(tmp_path / "a.snap", tmp_path / "ignoring.py")
    words = [PYENTRY, f"--restore={tmp_path / 'a.snap'}", "-c", IGNORING.partition("checkpoint()")[2].strip()]
    quick, ordinary = (run(words, env=clean_env(LC_ALL="C.UTF-8", **more)) for more in ({}, ORDINARY))
    assert (quick.stdout, quick.stderr) == (ordinary.stdout, ordinary.stderr)
    assert quick.stdout.startswith(os.path.basename(PYENTRY).encode()), quick.stdout


def test_with_the_owner_s_rights(snap, tmp_path):
    """The loader takes variables away that such a program must not believe."""
    shutil.copy(PYENTRY, tmp_path / "pyentry")
    (tmp_path / "pyentry").chmod(0o4755)
    tmp_path.chmod(0o755)
    command = ["setpriv", "--reuid=65534", "--clear-groups", tmp_path / "pyentry", f"--restore={snap}", "-c",
               "import os; print('GCONV_PATH' in os.environ, os.geteuid())"]
    for parent in list(tmp_path.parents)[:3]:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    done = run(command, env=clean_env(GCONV_PATH="/nowhere"))
    assert done.stdout == b"False 0\n", done.stderr


def test_an_init_does_not_go_this_way(snap, tmp_path):
    """PID 1 is an init, whose child goes the ordinary way."""
    done, calls = traced(tmp_path, "unshare", "--fork", "--pid", "--mount-proc", PYENTRY, "--restore-or-fail",
                         f"--restore={snap}", "-c", "import os; print(os.getpid())")
    assert done.stdout == b"2\n", done.stderr
    done, calls = traced(tmp_path, PYENTRY, "--init=always", "--restore-or-fail", f"--restore={snap}", "-c",
                         "import os; print(os.getpid() != os.getppid())")
    assert (done.stdout, done.stderr) == (b"True\n", b"")


def test_under_a_limit_on_address_space(snap, tmp_path):
    done, calls = traced(tmp_path, "sh", "-c", f"ulimit -v 4000000; exec '{PYENTRY}' --restore='{snap}' -c 'print(1)'")
    assert done.stdout == b"1\n" and "ld.so.cache" in calls


def test_a_kernel_without_memory(snap, tmp_path):
    """Wherever a mapping fails on this way, the ordinary one is gone from the beginning."""
    command = [PYENTRY, "--restore-or-fail", f"--restore={snap}", "-c", "print(1)"]
    _, calls = traced(tmp_path, *command, calls="mmap")
    fields = header(snap)
    starts = [int(line.split("(")[1].split(",")[0].replace("NULL", "0"), 16) for line in calls.splitlines()]
    last = max(n for n, at in enumerate(starts, 1) if fields["arena_start"] <= at < fields["arena_end"])

    def one(n):
        return run(["strace", "-qq", "-o", tmp_path / f"calls-{n}", "-e", "trace=mmap", "-e",
                    f"inject=mmap:error=ENOMEM:when={n}", *command])

    for n, done in enumerate(gather(one, range(1, last - 1)), 1):
        assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b""), n


### The loader


def test_the_loader_s_view():
    """What a program finds of itself: as if the kernel had called the loader."""
    code = """if True:
        import ctypes, os, re
        class Info(ctypes.Structure):
            _fields_ = [("base", ctypes.c_void_p), ("name", ctypes.c_char_p), ("headers", ctypes.c_void_p),
                        ("count", ctypes.c_uint16)]
        kinds, names = [], []
        def look(info, size, data):
            names.append(info.contents.name)
            if len(names) == 1:
                kinds.extend(ctypes.c_uint32.from_address(info.contents.headers + 56 * n).value
                             for n in range(info.contents.count))
            return 0
        visit = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Info), ctypes.c_size_t, ctypes.c_void_p)(look)
        ctypes.CDLL(None).dl_iterate_phdr(visit, None)
        getauxval = ctypes.CDLL(None).getauxval
        getauxval.restype = ctypes.c_ulong
        loader = next(line for line in open("/proc/self/maps") if "/ld-" in line)
        print(kinds.count(3), kinds.count(2), names.count(b""), getauxval(7) == int(loader.split("-")[0], 16),
              getauxval(9) != 0)
    """
    assert run([PYENTRY, "-c", code]).stdout == b"1 1 1 True True\n"


def test_variables_of_the_loader(tmp_path):
    """LD_PRELOAD, LD_LIBRARY_PATH and ldd."""
    (tmp_path / "loud.c").write_text('#include <unistd.h>\n__attribute__((constructor)) static void loud(void) '
                                     '{ if (write(2, "loud\\n", 5) < 0) _exit(9); }\n')
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", tmp_path / "loud.so", tmp_path / "loud.c"], check=True)
    done = run([PYENTRY, "-c", "print(1)"], env=clean_env(LD_PRELOAD=str(tmp_path / "loud.so")))
    assert (done.stdout, done.stderr) == (b"1\n", b"loud\n")
    shown = run(["ldd", PYENTRY]).stdout.decode()
    assert "libc.so.6 => /" in shown and "not found" not in shown
    needed = run([PYENTRY, "-c", "pass"], env=clean_env(LD_TRACE_LOADED_OBJECTS="1")).stdout.decode()
    assert "libc.so.6 => /" in needed


def test_the_loader_called_by_its_name():
    """ld.so PROGRAM: the loader is there already."""
    code = "import _pyentry; print(_pyentry.loader)"
    loader = run([PYENTRY, "-c", code]).stdout.decode().strip()
    assert run([loader, PYENTRY, "-c", code]).stdout.decode().strip() == loader


def test_without_a_loader(tmp_path):
    """A root with nothing in it: the line says what is missing, and the status is a shell's for that."""
    shutil.copy(PYENTRY, tmp_path / "pyentry")
    done = run(["chroot", tmp_path, "/pyentry", "-c", "print(1)"])
    assert (done.returncode, done.stdout) == (127, b"")
    assert re.fullmatch(rb"pyentry: the dynamic loader cannot be used: /\S+\n", done.stderr)


def test_debuggers(tmp_path):
    """gdb finds the libraries of a process that began so."""
    if shutil.which("gdb") is None:
        pytest.skip("no gdb")
    done = run(["gdb", "-batch", "-nx", "-ex", "set confirm off", "-ex", "break Py_RunMain", "-ex", "run", "-ex",
                "info sharedlibrary", "--args", PYENTRY, "-c", "pass"], timeout=120)
    assert b"libc.so.6" in done.stdout and b"Breakpoint 1, " in done.stdout, (done.stdout, done.stderr)
